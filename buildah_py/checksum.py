"""SHA-256 of short texts, without the library of all algorithms: that takes 2 ms to import, this a tenth."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from hashlib import sha256
else:
    try:
        from _sha2 import sha256  # as the interpreter has it since 3.12
    except ImportError:
        try:
            from _sha256 import sha256  # and before
        except ImportError:
            from hashlib import sha256


def sha256_hex(data: bytes) -> str:
    """Return the SHA-256 of `data` as 64 lower-case hexadecimal digits."""
    return sha256(data).hexdigest()

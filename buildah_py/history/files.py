"""Files in which the store's history has its builds, beside the output of their steps. docs/reports.md."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Final

from buildah_py.checksum import sha256_hex

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

RECORD: Final = "build.json"
_TRIMMED_FROM: Final = 150  # builds


def build_id(name: str) -> str:
    """Return the id of a build, by the name of its directory of logs; it begins with a letter, as no step's number."""
    return f"b{sha256_hex(name.encode())[:9]}"


def put(root: str, name: str, text: str) -> str:
    """Write the record of a build into the store at `root`; its path. With many builds, remove the oldest ones.

    `name` is the build's lease. Raises OSError.
    """
    logs = os.path.join(root, "logs")
    directory = os.path.join(logs, name)
    os.makedirs(directory, mode=0o700, exist_ok=True)
    path = os.path.join(directory, RECORD)
    descriptor = os.open(f"{path}.new", os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    with open(descriptor, "w", encoding="ascii") as file:
        file.write(text)
    os.replace(f"{path}.new", path)
    if len(os.listdir(logs)) > _TRIMMED_FROM:
        from buildah_py.store.disk_usage import trim_logs
        from buildah_py.store.locks import living_leases

        trim_logs(logs, living_leases(os.path.join(root, "leases")))
    return path


def filled(pieces: Sequence[str], values: Mapping[str, str]) -> str:
    """Join the pieces of a text, where each second one is the name of a value that stands there."""
    return "".join(values[piece] if number % 2 else piece for number, piece in enumerate(pieces))

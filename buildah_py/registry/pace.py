"""How fast an answer comes: one that drips is as good as none."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final

from buildah_py.registry.patience import Trouble
from buildah_py.registry.transport import trouble_of

if TYPE_CHECKING:
    from urllib3 import BaseHTTPResponse

_SLOWEST: Final = 100
"""Fewer bytes in a second than these are silence."""


class Pace:
    """Reads an answer, and measures how long it waits for it; the time that the reader takes does not count."""

    def __init__(self, response: BaseHTTPResponse, host: str, silence: float) -> None:
        self._response = response
        self._host = host
        self._silence = silence
        self._waited = 0.0
        self._got = 0

    def read(self, size: int) -> bytes:
        """Read some bytes, at most `size`; b"" at the end. Raises Trouble, and closes the answer then."""
        from urllib3.exceptions import HTTPError

        begun = time.monotonic()
        try:
            data: bytes = self._response.read1(size, decode_content=False)
        except (HTTPError, OSError) as error:
            self._response.close()
            raise trouble_of(error, self._host, self._silence) from error
        self._waited += time.monotonic() - begun
        self._got += len(data)
        if self._waited >= self._silence:
            if self._got < _SLOWEST * self._silence:
                self._response.close()
                raise Trouble(f"{self._host} gave {self._got} bytes in {self._waited:.0f} seconds", tries=2)
            self._waited, self._got = 0.0, 0
        return data

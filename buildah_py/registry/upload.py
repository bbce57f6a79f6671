"""Blobs on their way up: asked for first, mounted if another repository has them, else sent whole or in pieces."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, BinaryIO, Final, NamedTuple

from buildah_py import debug
from buildah_py.errors import OutputError, RegistryError
from buildah_py.http.retry import RetryableError
from buildah_py.image.numbers import decimal
from buildah_py.registry.download import exists
from buildah_py.registry.session import PUSH

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from typing import Literal

    from buildah_py.http.response import Response
    from buildah_py.http.retry import Retries
    from buildah_py.image.descriptor import Descriptor
    from buildah_py.registry.options import Sizes
    from buildah_py.registry.session import Session

    Outcome = Literal["exists", "mounted", "uploaded"]

_STEP: Final = 1 << 20
_RANGE: Final = re.compile(r"(?:bytes=)?(\d{1,18})-(\d{1,18})")
_NO_PIECES: Final = frozenset({400, 404, 405, 411, 415, 416, 501})
"""Statuses with which registries answer that take a blob only whole."""
_MOUNTS: Final = 3
"""Repositories that are asked for a blob before it is sent."""


class _Upload(NamedTuple):
    """An upload that a registry has begun: where it goes on, and the least that a piece may be."""

    url: str
    least: int = 0


class _Gone(Exception):
    """The registry knows nothing of the upload any more."""


def push(
    session: Session,
    descriptor: Descriptor,
    open_blob: Callable[[], BinaryIO],
    mount_from: Sequence[str],
    sizes: Sizes,
) -> Outcome:
    """Bring a blob into a repository, with as little as can be sent. `mount_from` are repositories of the same server.

    `open_blob` is called once for each time that the blob has to be read from its start. Raises RegistryError.
    """
    if exists(session, descriptor.digest, PUSH):
        return "exists"
    session = session.about(f"blob {descriptor.digest}")
    for repository in mount_from[:_MOUNTS]:
        if _mount(session, descriptor, repository):
            return "mounted"
    source = _Source(descriptor, open_blob)
    retries = session.retries()
    piece = sizes.piece if descriptor.size > sizes.whole else 0
    made_small = False
    try:
        while True:
            try:
                if not piece:
                    _send_whole(session, source)
                elif not _send_pieces(session, source, piece, retries):
                    piece = 0
                    continue
            except RegistryError as error:
                # Something before the registry takes no more at once: less may pass.
                if error.status != 413 or made_small or descriptor.size <= sizes.small:
                    raise
                piece, made_small = sizes.small, True
            except RetryableError as failure:
                retries.wait(failure)
                if exists(session, descriptor.digest, PUSH):  # the cut came after the last byte
                    return "uploaded"
            else:
                return "uploaded"
    finally:
        source.close()


def try_rights(session: Session) -> None:
    """See whether a repository would take a blob: an upload is begun, and given up. Raises RegistryError."""
    upload = session.retries().run(lambda: _begin(session))
    try:
        session.once("DELETE", upload.url, actions=PUSH).finish()
    except RetryableError as failure:  # the registry forgets it by itself, some time
        debug.log("%s: the upload was not given up: %s", session.what, failure.text)


def _mount(session: Session, descriptor: Descriptor, repository: str) -> bool:
    """Have the registry take a blob from another of its repositories; False where it does not, for whatever reason.

    A mount only saves bytes, and what is wrong with the registry itself the upload that follows will say.
    """
    from urllib.parse import urlencode

    query = urlencode({"mount": descriptor.digest, "from": repository})
    try:
        response = session.once(
            "POST", f"blobs/uploads/?{query}", actions=PUSH, scopes=(f"repository:{repository}:pull",), body=b""
        )
        if response.status == 202:  # it began an upload instead, which we do not use
            upload = _begun(session, response)
            session.once("DELETE", upload.url, actions=PUSH).finish()
        else:
            response.finish()
    except (RegistryError, RetryableError):  # as by a token server that knows us not there
        return False
    return response.status == 201


def _begin(session: Session) -> _Upload:
    response = session.once("POST", "blobs/uploads/", actions=PUSH, body=b"")
    if response.status != 202:
        raise session.failure(response)
    return _begun(session, response)


def _begun(session: Session, response: Response) -> _Upload:
    least = decimal(response.headers.get("OCI-Chunk-Min-Length") or "")
    response.finish()
    return _Upload(session.location(response), max(least, 0))


def _send_whole(session: Session, source: _Source) -> None:
    upload = _begin(session)
    _put(session, upload.url, source, source.size)


def _put(session: Session, url: str, source: _Source, size: int) -> None:
    """End an upload, with a body of `size` bytes: the whole blob, or nothing."""
    from urllib.parse import quote

    joint = "&" if "?" in url else "?"
    response = session.once(
        "PUT",
        f"{url}{joint}digest={quote(source.digest, safe='')}",
        actions=PUSH,
        headers={"Content-Type": "application/octet-stream", "Content-Length": str(size)},
        body=(lambda: source.piece(0, size)) if size else b"",
        silence=session.policy.commit,
    )
    if response.status == 404:
        response.finish()
        raise RetryableError(f"{session.endpoint.host} has forgotten the upload", status=404)
    if response.status not in (201, 204):
        raise session.failure(response)
    response.finish()


def _send_pieces(session: Session, source: _Source, length: int, retries: Retries) -> bool:
    """Send a blob in pieces, going on after a cut from where the registry says; False where it takes no pieces."""
    upload = _begin(session)
    length = max(length, upload.least)
    offset = best = 0
    while offset < source.size:
        end = min(offset + length, source.size)
        try:
            response = session.once(
                "PATCH",
                upload.url,
                actions=PUSH,
                headers={
                    "Content-Type": "application/octet-stream",
                    "Content-Length": str(end - offset),
                    "Content-Range": f"{offset}-{end - 1}",
                },
                body=lambda start=offset, stop=end: source.piece(start, stop),  # type: ignore[misc]
                silence=session.policy.commit,
            )
            if response.status in (202, 204):
                upload = upload._replace(url=session.location(response))
                held = _held(response)
                response.finish()
                offset = end if held is None else held
            elif response.status == 416 and best:
                response.finish()
                upload, offset = _ask(session, upload)
            elif response.status in _NO_PIECES and not best:
                response.finish()
                return False
            else:
                raise session.failure(response)
        except RetryableError as failure:
            retries.wait(failure)
            try:
                upload, offset = _ask(session, upload)
            except _Gone:
                upload, offset = _begin(session), 0
        retries.progressed(max(0, offset - best))
        best = max(best, offset)
    _put(session, upload.url, source, 0)
    return True


def _ask(session: Session, upload: _Upload) -> tuple[_Upload, int]:
    """Ask how much of an upload the registry holds. Raises _Gone."""
    response = session.send("GET", upload.url, actions=PUSH)
    held = _held(response)
    response.finish()
    if response.status != 204 or held is None:
        raise _Gone
    if response.headers.get("Location"):
        upload = upload._replace(url=session.location(response))
    return upload, held


def _held(response: Response) -> int | None:
    """Read how many bytes a registry holds, from its `Range: 0-LAST`; None where it does not say.

    `0-0` is what registries say that hold nothing.
    """
    found = _RANGE.fullmatch((response.headers.get("Range") or "").strip())
    if found is None:
        return None
    last = int(found[2])
    return last + 1 if last else 0


class _Source:
    """The bytes to send; opened again where an earlier one is wanted again."""

    def __init__(self, descriptor: Descriptor, open_blob: Callable[[], BinaryIO]) -> None:
        self.size = descriptor.size
        self.digest = descriptor.digest
        self._open = open_blob
        self._file: BinaryIO | None = None
        self._position = 0

    def close(self) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None

    def piece(self, start: int, end: int) -> Iterator[bytes]:
        """Give the bytes from `start` to `end`. Raises OutputError where there are fewer, or more at the very end."""
        if self._file is None or self._position > start:
            self.close()
            self._file, self._position = self._open(), 0
        file = self._file
        while self._position < end:
            data = file.read(min(_STEP, (start if self._position < start else end) - self._position))
            if not data:
                raise OutputError(f"blob {self.digest} has {self._position} bytes, and not {self.size}")
            skipped = self._position < start
            self._position += len(data)
            if not skipped:
                yield data

"""A cache in a directory, which is an OCI layout (image-layout.md) that may hold other caches and images too."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import json
import os
import shutil
import tempfile
from typing import TYPE_CHECKING, Any, BinaryIO, Final

from buildah_py.errors import CacheError, ImageError
from buildah_py.image import descriptor, digest
from buildah_py.image.index import REF_NAME
from buildah_py.image.media_types import OCI_INDEX, OCI_MANIFEST
from buildah_py.sharing.artifact import ARTIFACT, MAX_MANIFEST
from buildah_py.sharing.backend import ABSENT, MAX_NOTE, StoredNote

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from buildah_py.image.descriptor import Descriptor
    from buildah_py.sharing.backend import Open

_NO_LOCKS: Final = (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP)
_LAYOUT: Final = b'{"imageLayoutVersion":"1.0.0"}'
_MAX_INDEX: Final = 8 << 20
LATEST: Final = "latest"
_NOTES: Final = "notes"


class LocalCache:
    """The cache `tag` (or the one whose manifest has the digest `wanted`) of the directory `path`."""

    kind = "layout"
    claim_ttl = 30.0
    claims_are_dear = False

    def __init__(self, path: str, tag: str = LATEST, wanted: str = "") -> None:
        self._path = os.path.abspath(path)
        self._tag = tag or LATEST
        self._wanted = wanted
        self.name = f"local {path}"
        self.location = self._path

    def manifest(self) -> bytes | None:
        """Return the manifest."""
        with self._naming():
            for entry in self._index().get("manifests") or ():
                if isinstance(entry, dict) and self._is_meant(entry):
                    name = str(entry.get("digest"))
                    if not digest.is_digest(name):
                        raise CacheError(f"{self.name}: index.json names no manifest")
                    with self._open(name) as file:
                        data = file.read(MAX_MANIFEST + 1)
                    if digest.sha256_of(data) != name:
                        raise CacheError(f"{self.name}: the manifest {name} is damaged")
                    return data
        return None

    def open(self, blob: Descriptor) -> BinaryIO:
        """Open a blob."""
        with self._naming():
            return self._open(blob.digest)

    def has(self, blob: Descriptor) -> bool:
        """Whether it is there."""
        with self._naming():
            try:
                return os.stat(self._file(blob.digest)).st_size == blob.size
            except FileNotFoundError:
                return False

    def put(self, blob: Descriptor, source: Open) -> None:
        """Copy a blob into its place."""
        with self._naming(), source() as file:
            self._write(self._file(blob.digest), file)

    def put_manifest(self, data: bytes) -> None:
        """Name the manifest in index.json; blobs that the cache of this tag alone had go away."""
        own = descriptor.of(OCI_MANIFEST, data)
        entry = {**own.to_dict(), "artifactType": ARTIFACT, "annotations": {REF_NAME: self._tag}}
        with self._naming(), self._locked():
            self._write_bytes(self._file(own.digest), data)
            self._write_bytes(os.path.join(self._path, "oci-layout"), _LAYOUT)
            index = self._index()
            before = [one for one in index.get("manifests") or () if isinstance(one, dict)]
            kept = [one for one in before if not self._has_tag(one)]
            index |= {"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": [*kept, entry]}
            self._write_bytes(os.path.join(self._path, "index.json"), json.dumps(index).encode())
            self._sweep([one for one in before if self._has_tag(one)], [*kept, entry])

    def unconditional(self) -> str:
        """Try a lock: some network file systems have none."""
        try:
            with self._naming(), self._locked(_NOTES):
                return ""
        except CacheError as error:
            if isinstance(error.__cause__, OSError) and error.__cause__.errno in _NO_LOCKS:
                return f"its file system has no locks: {error.__cause__.strerror}"
            raise

    def read_note(self, name: str) -> StoredNote | None:
        """Return the file of a note; its version is its digest."""
        with self._naming():
            return self._note(name)

    def write_note(self, name: str, data: bytes, *, over: str | None, blobs: Sequence[Descriptor] = ()) -> str:  # noqa: ARG002 - nothing is swept where there are notes
        """Write a file, while nobody else writes one."""
        with self._naming(), self._locked(_NOTES):
            before = self._note(name)
            if over is not None and over != (before.version if before else ABSENT):
                return ABSENT
            self._write_bytes(os.path.join(self._path, _NOTES, name), data)
        return digest.sha256_of(data)

    def _note(self, name: str) -> StoredNote | None:
        try:
            with open(os.path.join(self._path, _NOTES, name), "rb") as file:
                data = file.read(MAX_NOTE)
        except FileNotFoundError:
            return None
        return StoredNote(data, digest.sha256_of(data))

    def _is_meant(self, entry: dict[str, Any]) -> bool:
        return entry.get("digest") == self._wanted if self._wanted else self._has_tag(entry)

    def _has_tag(self, entry: dict[str, Any]) -> bool:
        annotations = entry.get("annotations")
        return isinstance(annotations, dict) and annotations.get(REF_NAME) == self._tag

    def _sweep(self, old: list[dict[str, Any]], new: list[dict[str, Any]]) -> None:
        """Remove what the manifests `old` needed and `new` do not; blobs of other writers are left alone."""
        if os.path.isdir(os.path.join(self._path, _NOTES)):
            return  # builders that share it name blobs there
        if any(one.get("mediaType") != OCI_MANIFEST for one in new):
            return  # an index, or Docker's: what that needs is not looked for
        needed = self._blobs(new)
        for name in self._blobs(old) - needed:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(self._file(name))

    def _blobs(self, entries: list[dict[str, Any]]) -> set[str]:
        found = set()
        for entry in entries:
            name = str(entry.get("digest"))
            if not digest.is_digest(name):
                continue
            found.add(name)
            try:
                with self._open(name) as file:
                    raw = json.load(file)
            except (CacheError, ValueError, OSError, RecursionError):  # what cannot be read needs nothing
                continue
            if isinstance(raw, dict):
                parts = [raw.get("config"), *(raw.get("layers") or ())]
                found |= {str(part.get("digest")) for part in parts if isinstance(part, dict)}
        return {name for name in found if digest.is_digest(name)}

    def _index(self) -> dict[str, Any]:
        try:
            with open(os.path.join(self._path, "index.json"), "rb") as file:
                raw = json.loads(file.read(_MAX_INDEX))
        except FileNotFoundError:
            return {}
        except (ValueError, RecursionError) as error:
            raise CacheError(f"{self.name}: index.json is damaged: {error}") from error
        if not isinstance(raw, dict) or not isinstance(raw.get("manifests") or [], list):
            raise CacheError(f"{self.name}: index.json is not an index")
        return raw

    def _file(self, name: str) -> str:
        try:
            algorithm, digits = digest.split(name)
        except ImageError as error:
            raise CacheError(f"{self.name}: {error.message}") from error
        return os.path.join(self._path, "blobs", algorithm, digits)

    def _open(self, name: str) -> BinaryIO:
        return open(self._file(name), "rb")

    def _write(self, path: str, source: BinaryIO) -> None:
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=os.path.dirname(path), prefix=".new-", delete=False) as file:
            try:
                shutil.copyfileobj(source, file, 1 << 20)
                os.fchmod(file.fileno(), 0o644)
                file.close()
                os.rename(file.name, path)
            except BaseException:
                os.unlink(file.name)
                raise

    def _write_bytes(self, path: str, data: bytes) -> None:
        import io

        self._write(path, io.BytesIO(data))

    @contextlib.contextmanager
    def _locked(self, name: str = "") -> Iterator[None]:
        """Keep other pybuilds from writing index.json meanwhile, or what lies in the directory of that name."""
        path = os.path.join(self._path, name)
        os.makedirs(path, exist_ok=True)
        directory = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            fcntl.flock(directory, fcntl.LOCK_EX)
            yield
        finally:
            os.close(directory)

    @contextlib.contextmanager
    def _naming(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise CacheError(f"{self.name}: {error.strerror}: {error.filename}") from error

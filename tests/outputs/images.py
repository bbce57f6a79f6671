"""Images for the tests of the outputs: small ones, with the layers' tars made by the standard library."""

from __future__ import annotations

import hashlib
import io
import tarfile
from typing import TYPE_CHECKING

from buildah_py.image import config, platform
from buildah_py.outputs.layer_source import Blob, LayerSource

if TYPE_CHECKING:
    from pathlib import Path

    from buildah_py.image.config import ImageConfig
    from buildah_py.outputs.layer_source import Write

CREATED = "2026-01-01T00:00:00Z"


def tar_of(files: dict[str, bytes | None]) -> bytes:
    """A tar of directories (None) and executable files."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.USTAR_FORMAT) as archive:
        for name, data in files.items():
            member = tarfile.TarInfo(name)
            member.mode = 0o755
            if data is None:
                member.type = tarfile.DIRTYPE
                archive.addfile(member)
            else:
                member.size = len(data)
                archive.addfile(member, io.BytesIO(data))
    return buffer.getvalue()


def digest(data: bytes) -> str:
    return "sha256:" + hashlib.sha256(data).hexdigest()


def source(tar: bytes, *, piece: int = 100_000, diff_id: str = "") -> LayerSource:
    def write_tar(write: Write) -> str:
        for start in range(0, len(tar), piece):
            write(tar[start : start + piece])
        return digest(tar)

    return LayerSource(diff_id or digest(tar), write_tar)


def with_blob(tar: bytes, compression: str, data: bytes, path: Path) -> LayerSource:
    """A layer that lies compressed in a file, and cannot be packed again."""

    def write_tar(_write: Write) -> str:
        raise AssertionError("the blob was not used")

    path.write_bytes(data)
    return LayerSource(digest(tar), write_tar, (Blob(compression, digest(data), len(data), str(path)),))


def config_of(layers: list[LayerSource]) -> ImageConfig:
    made = config.new(platform.host()).with_created(CREATED).with_env("PATH", "/bin").with_cmd(["/bin/hello", "you"])
    for number, layer in enumerate(layers):
        made = made.with_layer(layer.diff_id, f"COPY {number} /", created=CREATED)
    return made

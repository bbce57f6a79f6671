"""Make a layer's compressed blob ahead of time, for the outputs and pushes that will want it."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from buildah_py.outputs import target
from buildah_py.outputs.archive import spool
from buildah_py.outputs.compress import LayerStreams
from buildah_py.outputs.layer_source import Blob

if TYPE_CHECKING:
    from buildah_py.outputs.layer_source import LayerSource


def make_blob(
    source: LayerSource, directory: str, compression: str, level: int | None = None, *, threads: int = 0
) -> Blob:
    """Write the compressed layer to `directory/<hex>`; a file of that name is replaced by the same bytes.

    Record the name that `compress.compressor` gives beside it: another version of the compressor makes other bytes.
    Raises OutputError that names `directory`, and leaves nothing there.
    """
    with target.naming(directory):
        part = target.beside(os.path.join(directory, "blob"))
        out = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o644)
    try:
        try:
            with LayerStreams([source], compression, level, threads=threads) as streams:
                digest, size = spool(streams.pieces(), out, directory, "")
        finally:
            os.close(out)
        path = os.path.join(directory, digest.partition(":")[2])
        with target.naming(directory):
            os.rename(part, path)
    except BaseException:
        with target.naming(directory):
            os.unlink(part)
        raise
    return Blob(compression, digest, size, path)

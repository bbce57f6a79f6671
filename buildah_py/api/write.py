"""Writing a built image where `--output` asks for it."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from buildah_py.errors import UsageError
from buildah_py.image.media_types import GZIP
from buildah_py.layers.tar import pack
from buildah_py.layers.view import LayerTree, MergedView
from buildah_py.outputs import precheck
from buildah_py.outputs.layer_source import LayerSource

if TYPE_CHECKING:
    from collections.abc import Sequence

    from buildah_py.image.config import ImageConfig
    from buildah_py.outputs.layer_source import Write
    from buildah_py.outputs.spec import Output
    from buildah_py.store import Store


def check_outputs(outputs: Sequence[Output]) -> None:
    """Refuse, before anything is built, what cannot be written. Raises UsageError."""
    for output in outputs:
        if output.type in ("oci", "docker", "tar") and not output.dest:
            raise UsageError(
                f"--output type={output.type} needs a destination", hint="add dest=FILE.tar, or dest=- for stdout"
            )
        if output.push:
            raise UsageError(
                "--output push=true is not supported yet", hint="write an archive and push that with skopeo"
            )
        precheck.check(output)


def write_output(output: Output, store: Store, config: ImageConfig, names: Sequence[str]) -> None:
    """Write one output. Raises OutputError naming its destination; nothing half-written is left there."""
    if output.type in ("image", "cacheonly"):
        return
    assert output.dest
    if output.type == "tar":
        from buildah_py.outputs.tar import write_tar

        write_tar(output.dest, _view(store, config))
        return
    if output.type == "local":
        from buildah_py.outputs.local import write_local

        write_local(output.dest, _view(store, config), delete=output.mode == "delete")
        return
    from buildah_py.outputs.oci import write_oci

    write_oci(
        output.dest,
        config,
        [_source(store, diff_id) for diff_id in config.diff_ids],
        names=output.names or names,
        tar=output.tar,
        compression=output.compression or GZIP,
        level=output.level,
        annotations={one.key: one.value for one in output.annotations if one.level == "manifest"},
        docker=output.type == "docker",
        oci_media_types=output.oci_media_types is not False,
        threads=os.cpu_count() or 1,
        scratch=store.stage(),
    )


def _view(store: Store, config: ImageConfig) -> MergedView:
    trees = [LayerTree(store.layers.fs(one), store.layers.inventory(one)) for one in reversed(config.diff_ids)]
    return MergedView(trees)


def _source(store: Store, diff_id: str) -> LayerSource:
    def write_tar(write: Write) -> str:
        return pack(store.layers.inventory(diff_id), store.layers.fs(diff_id), write)

    return LayerSource(diff_id, write_tar)

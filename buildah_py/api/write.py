"""Writing a built image where `--output` asks for it."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from buildah_py.api.clamp import ClampedTree, clamp_layers, layer_source
from buildah_py.errors import UsageError
from buildah_py.image.media_types import GZIP
from buildah_py.outputs import precheck
from buildah_py.outputs.annotations import choose

if TYPE_CHECKING:
    from collections.abc import Sequence

    from buildah_py.api.clamp import Clamp
    from buildah_py.image.config import ImageConfig
    from buildah_py.image.descriptor import Descriptor
    from buildah_py.layers.tree import Tree
    from buildah_py.outputs.layer_source import LayerSource
    from buildah_py.outputs.spec import Output
    from buildah_py.store import Store


def check_outputs(outputs: Sequence[Output], *, epoch: int | None = None) -> None:
    """Refuse, before anything is built, what cannot be written. Raises UsageError."""
    for output in outputs:
        if output.rewrite_timestamp and epoch is None:
            raise UsageError("rewrite-timestamp=true needs a time", hint="add --source-date-epoch SECONDS")
        if output.type in ("oci", "docker", "tar") and not output.dest:
            raise UsageError(
                f"--output type={output.type} needs a destination", hint="add dest=FILE.tar, or dest=- for stdout"
            )
        if output.push:
            raise UsageError(
                "--output push=true is not supported yet", hint="write an archive and push that with skopeo"
            )
        precheck.check(output)


def write_output(
    output: Output, store: Store, config: ImageConfig, names: Sequence[str], clamp: Clamp | None = None
) -> Descriptor | None:
    """Write one output, with times clamped where the output asks for it or all do; what it calls the image by.

    Raises OutputError naming its destination; nothing half-written is left there.
    """
    if clamp is not None and not (clamp.always or output.rewrite_timestamp):
        clamp = None
    if output.type in ("image", "cacheonly"):
        return None
    assert output.dest
    if output.type == "tar":
        from buildah_py.outputs.tar import write_tar

        write_tar(output.dest, _tree(store, config, clamp))
        return None
    if output.type == "local":
        from buildah_py.outputs.local import write_local

        write_local(output.dest, _tree(store, config, clamp), delete=output.mode == "delete")
        return None
    from buildah_py.outputs.oci import write_oci

    layers: Sequence[LayerSource] = [layer_source(store, diff_id) for diff_id in config.diff_ids]
    if clamp is not None:
        config, layers = clamp_layers(store, config, clamp)
    return write_oci(
        output.dest,
        config,
        layers,
        names=output.names or names,
        tar=output.tar,
        compression=output.compression or GZIP,
        level=output.level,
        force=output.force_compression,
        annotations=choose(output.annotations, config.platform),
        docker=output.type == "docker",
        oci_media_types=output.oci_media_types is not False,
        threads=os.cpu_count() or 1,
        scratch=store.stage(),
    ).descriptor


def _tree(store: Store, config: ImageConfig, clamp: Clamp | None) -> Tree:
    view = store.view(config.diff_ids)
    return view if clamp is None else ClampedTree(view, clamp)

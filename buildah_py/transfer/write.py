"""Writing an image of the store where `--output` asks for it."""

from __future__ import annotations

import os
from contextlib import ExitStack
from typing import TYPE_CHECKING

from buildah_py import debug
from buildah_py.errors import UsageError
from buildah_py.frozen import replace
from buildah_py.outputs import precheck
from buildah_py.progress import events

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from types import TracebackType
    from typing import Self

    from buildah_py.image.config import ImageConfig
    from buildah_py.image.descriptor import Descriptor
    from buildah_py.layers.tree import Tree
    from buildah_py.outputs.clamp import Clamp
    from buildah_py.outputs.spec import Output
    from buildah_py.registry import Registry, RegistryOptions
    from buildah_py.store import Store, StoredBlob
    from buildah_py.transfer.export import ImageExport


def check_outputs(
    outputs: Sequence[Output],
    *,
    names: Sequence[str] = (),
    environ: Mapping[str, str] = os.environ,
) -> None:
    """Refuse, before anything is built, what cannot be written. Raises UsageError, OutputError."""
    for output in outputs:
        if output.type == "docker" and output.dest is None:
            from buildah_py.outputs.engine_api import Daemon, find_engine

            Daemon(find_engine(environ)).check()
        if output.push and not (output.names or names):
            raise UsageError("an image is pushed under a name", hint="give one with -t, or name= of the output")
        if output.type == "image":
            from buildah_py.image import reference

            for name in output.names:
                if reference.parse(name).digest:
                    raise UsageError(f"{name} is pinned to a digest, which only its content decides", hint="name a tag")
        precheck.check(output)
    if sum(output.dest == "-" for output in outputs) > 1:
        raise UsageError("two outputs cannot both go to the standard output", hint="name a file for one of them")


def check_times(outputs: Sequence[Output], epoch: int | None) -> None:
    """Refuse times that are to be rewritten to none. Raises UsageError."""
    if epoch is None and any(output.rewrite_timestamp for output in outputs):
        raise UsageError("rewrite-timestamp=true needs a time", hint="add --source-date-epoch SECONDS")


class Exporter:
    """Writes one image, whose layers are in the store; a context manager.

    `registry` gives how registries are spoken to. `raw` is the config as it was pulled, `clamp` how times are changed
    where an output asks for that (or all do). `fetch` brings a blob of an absent layer here.
    """

    def __init__(
        self,
        store: Store,
        config: ImageConfig,
        names: Sequence[str],
        *,
        registry: Callable[[], RegistryOptions],
        raw: bytes = b"",
        clamp: Clamp | None = None,
        fetch: Callable[[str], StoredBlob] | None = None,
        emit: Callable[[events.Event], None] = lambda _: None,
    ) -> None:
        self._store = store
        self._config = config
        self._names = names
        self._registry_options = registry
        self._raw = raw
        self._clamp = clamp
        self._fetch = fetch
        self._emit = emit
        self._open = ExitStack()
        self.loaded = ""
        """The id that an engine has for the image, once it was loaded into one."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._open.close()

    def write(self, output: Output) -> Descriptor | None:
        """Write one output; what that calls the image by, None where it has no name for an image.

        Raises OutputError naming its destination, RegistryError; nothing half-written is left there.
        """
        debug.log("output: type %s, destination %s", output.type, output.dest)
        if output.type == "image":
            return self._push(output) if output.push else None
        if output.type == "cacheonly":
            return None
        if output.type in ("tar", "local"):
            self._write_tree(output)
            return None
        if output.dest is None:
            from buildah_py.transfer.daemon import load_image

            loaded = load_image(
                self.outgoing(output),
                output.names or self._names,
                self._emit,
                os.environ,
                scratch=self._store.stage(),
            )
            self.loaded = loaded.id
            return loaded.descriptor
        return self._write_layout(output)

    def _write_tree(self, output: Output) -> None:
        assert output.dest
        if output.type == "tar":
            from buildah_py.outputs.tar import write_tar

            write_tar(output.dest, self.tree())
        else:
            from buildah_py.outputs.local import write_local

            write_local(
                output.dest,
                self.tree(),
                delete=output.mode == "delete",
                warn=lambda text: self._emit(events.Warning(text)),
            )

    def tree(self) -> Tree:
        """Give the files of the image, all of one time where one was asked for: here no base is shared with others."""
        view = self._store.view(self._config.diff_ids)
        if self._clamp is None:
            return view
        from buildah_py.outputs.clamp import ClampedTree

        return ClampedTree(view, self._clamp._replace(exact=True))

    def _write_layout(self, output: Output) -> Descriptor:
        from buildah_py.outputs.oci import write_oci

        assert output.dest
        image = self.outgoing(output)
        form = image.blobs.form
        return write_oci(
            output.dest,
            image.config,
            image.sources(),
            names=output.names or self._names,
            tar=output.tar,
            compression=form.compression,
            level=form.level,
            force=form.force,
            assembled=image.assembled,
            keep=image.blobs.keep,
            docker=output.type == "docker",
            oci_media_types=not form.docker_types,
            threads=os.cpu_count() or 1,
            scratch=self._store.stage(),
        ).descriptor

    def _push(self, output: Output) -> Descriptor:
        from buildah_py.image import reference
        from buildah_py.transfer.push import push_image

        names = [reference.parse(name).with_default_tag() for name in output.names or self._names]
        image = self.outgoing(output)
        return push_image(
            image, names, self.registry(output.insecure), by_digest=output.push_by_digest, emit=self._emit
        )

    def outgoing(self, output: Output, *, in_index: bool = False) -> ImageExport:
        """Return the image for one output; `in_index` where an index is made around it and others."""
        from buildah_py.outputs.annotations import choose
        from buildah_py.transfer.export import ImageExport
        from buildah_py.transfer.layer_blobs import LayerBlobs, form_of

        clamp, annotations = self._clamp, choose(output.annotations, self._config.platform)
        if clamp is not None and not (clamp.always or output.rewrite_timestamp):
            clamp = None
        return ImageExport(
            self._store,
            self._config,
            LayerBlobs(self._store, form_of(output), fetch=self._fetch),
            raw=self._raw,
            annotations=replace(annotations, index={}, index_descriptor={}) if in_index else annotations,
            clamp=clamp,
            oci=output.oci_media_types,
        )

    def registry(self, insecure: bool | None) -> Registry:
        """Return a client of registries, which is closed with this exporter."""
        from buildah_py.registry import Registry

        options = self._registry_options()
        if insecure is not None:
            options = replace(options, tls_verify=not insecure)
        return self._open.enter_context(Registry(options))

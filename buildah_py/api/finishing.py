"""The end of a build: the image takes its shape, and goes where it is asked for."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from buildah_py.api.output_options import ShapeOptions
from buildah_py.sharing import INLINE_PROPERTY

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from buildah_py.api.request import BuildRequest
    from buildah_py.cache import Record
    from buildah_py.engine import Result, Worker
    from buildah_py.image.config import ImageConfig
    from buildah_py.image.descriptor import Descriptor
    from buildah_py.layers.stamps import Stamps
    from buildah_py.outputs.clamp import Clamp
    from buildah_py.outputs.spec import Output
    from buildah_py.plan import Node, Plan
    from buildah_py.progress.events import Event
    from buildah_py.registry import RegistryOptions
    from buildah_py.sharing.remote import BuildCaches
    from buildah_py.store import Store
    from buildah_py.transfer.ahead import Ahead


def compress_ahead(outputs: Sequence[Output], store: Store, request: BuildRequest) -> Ahead | None:
    """Give what compresses layers as they are made, where an output wants them as they are."""
    shaped = request.outputs.shape
    if not outputs or shaped.squash or shaped.timestamp is not None or request.outputs.rewrite_timestamp:
        return None
    from buildah_py.transfer.ahead import Ahead

    return Ahead(store, outputs)


def layers_taken(ahead: Ahead | None, plan: Plan) -> Callable[[Node, Result], None]:
    """Give what hands on the layers of the plan's target, as its steps are done."""
    own: set[int] = set()
    index: int | None = plan.target
    while index is not None:
        own.add(index)
        index = plan.nodes[index].parent
    return lambda node, result: ahead.take(result.layers) if ahead and node.index in own else None


def shape_image(
    config: ImageConfig,
    base: ImageConfig,
    request: BuildRequest,
    epoch: int | None,
    worker: Worker,
    stamps: tuple[Stamps, ...],
) -> tuple[ImageConfig, int, tuple[Stamps, ...]]:
    """Give the image as the request wants it, how many of its layers are those of its base, and its layers' stamps."""
    shaped = request.outputs.shape
    if shaped == ShapeOptions() and epoch is None:
        return config, len(base.diff_ids), stamps
    from buildah_py.api.shape import shape

    times = list(stamps)

    def squash_layers(layers: Sequence[str], first: int) -> str:
        from buildah_py.engine.squash import squash

        made = squash(worker.file_systems, worker.cache, layers, stamps, first)
        times[first:] = [made.stamps]
        return made.diff_id

    config, base_layers = shape(config, base, shaped, squash=squash_layers, labels=request.labels, epoch=epoch)
    return config, base_layers, tuple(times)


def clamp_of(request: BuildRequest, epoch: int | None, base_layers: int, stamps: tuple[Stamps, ...]) -> Clamp | None:
    """Give what becomes of file times in all that is written out, None where they stay."""
    from buildah_py.outputs.clamp import Clamp

    exact = request.outputs.shape.timestamp
    if exact is not None:
        return Clamp(exact, base_layers, stamps, always=True, exact=True)
    if epoch is not None:
        return Clamp(epoch, base_layers, stamps, always=request.outputs.rewrite_timestamp)
    return None


class WrittenImage(NamedTuple):
    """What outputs call an image by: a registry that it was pushed to, else the first that can call it something.

    `loaded` is the id that an engine has for it, "" where it was loaded into none.
    """

    descriptor: Descriptor | None = None
    pushed: bool = False
    loaded: str = ""


def write_outputs(
    outputs: Sequence[Output],
    store: Store,
    config: ImageConfig,
    names: Sequence[str],
    registry: Callable[[], RegistryOptions],
    clamp: Clamp | None,
    emit: Callable[[Event], None],
    ahead: Ahead | None,
) -> WrittenImage:
    """Write the image where it is asked for."""
    from buildah_py.transfer.write import Exporter

    if ahead is not None:
        ahead.finish()
    with Exporter(store, config, names, registry=registry, clamp=clamp, emit=emit) as exporter:
        written = [(exporter.write(output), output.push) for output in outputs]
    pushed = [found for found, push in written if found is not None and push]
    called = pushed or [found for found, _ in written if found is not None]
    return WrittenImage(called[0] if called else None, bool(pushed), exporter.loaded)


def carry_cache(
    config: ImageConfig, caches: BuildCaches | None, plan: Plan, records: Mapping[int, Record]
) -> ImageConfig:
    """Put the build's records into the image's config, where `type=inline` was asked for."""
    if caches is None or not caches.shared.to:
        return config.with_property(INLINE_PROPERTY, None)
    from buildah_py.sharing.exporting import inline_property

    return config.with_property(INLINE_PROPERTY, inline_property(caches, plan, records))


def export_cache(caches: BuildCaches | None, plan: Plan, records: Mapping[int, Record], names: Sequence[str]) -> None:
    """Send the cache to all other places, and say what the caches were good for.

    Raises the first error of a place that may not fail; the others get theirs.
    """
    if caches is None:
        return
    caches.shared.report()
    if caches.shared.to:
        from buildah_py.sharing.exporting import export_all

        export_all(caches, plan, records, names)


def not_executable(worker: Worker, config: ImageConfig, layers: Sequence[str]) -> list[str]:
    """Warn where the program that the image starts is a file of it that nobody may execute.

    Nothing is fetched for that: an image whose layers are not all here is not looked at.
    """
    from buildah_py.layers.entry import FILE
    from buildah_py.layers.tree import resolve

    command = config.entrypoint or config.cmd
    if not command or not command[0].startswith("/") or worker.store.layers.missing(layers):
        return []
    view = worker.file_systems.view(tuple(layers))
    entry = view.entry(resolve(view, command[0]))
    if entry is None or entry.kind != FILE or entry.mode & 0o111:
        return []
    what = "ENTRYPOINT" if config.entrypoint else "CMD"
    fault = f"{what}: `{command[0]}` is not executable (mode {entry.mode & 0o7777:04o})"
    return [f"{fault}, so that the image cannot be run: copy it with `COPY --chmod=755`"]

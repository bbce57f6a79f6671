"""The end of a build: the image takes its shape, and goes where it is asked for."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from buildah_py.api.output_options import ShapeOptions
from buildah_py.sharing import INLINE_PROPERTY

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from buildah_py.api.opening import BuildSession
    from buildah_py.api.request import BuildRequest
    from buildah_py.cache import Record
    from buildah_py.engine import Result, Worker
    from buildah_py.image.config import ImageConfig
    from buildah_py.image.descriptor import Descriptor
    from buildah_py.layers.stamps import Stamps
    from buildah_py.outputs.attestation import Predicate
    from buildah_py.outputs.clamp import Clamp
    from buildah_py.outputs.spec import Output
    from buildah_py.plan import Node, Plan
    from buildah_py.progress.events import Event
    from buildah_py.sharing.remote import BuildCaches
    from buildah_py.store import Store
    from buildah_py.transfer.ahead import Ahead
    from buildah_py.transfer.write import Exporter
    from buildah_py.transfer.write_index import IndexExporter


class FinishedImage(NamedTuple):
    """An image that a build has made for a platform: its config, and how many of its layers are those of its base.

    `stamps` tell of its layers which times are not content, `recorded` says how it was built, `predicates` what is
    attested of it.
    """

    platform: str
    config: ImageConfig
    base_layers: int
    stamps: tuple[Stamps, ...]
    recorded: bytes | None = None
    predicates: tuple[Predicate, ...] = ()

    @property
    def id(self) -> str:
        """The digest of the config."""
        return self.config.digest()


def finish_image(
    plan: Plan,
    plans: Sequence[Plan],
    results: Mapping[int, Result],
    request: BuildRequest,
    session: BuildSession,
    records: Mapping[int, Record],
) -> FinishedImage:
    """Make the image of one of a build's plans, in the shape that the request wants."""
    from buildah_py.plan.assemble import MadeLayer, finish_config

    made = {index: MadeLayer(result.layers[-1], result.created) for index, result in results.items() if result.layers}
    epoch, stamps = session.settled.epoch, results[plan.target].stamps
    config = finish_config(plan, made)
    config, base_layers, stamps = shape_image(config, plan.config, request, epoch, session.worker, stamps)
    if len(plans) > 1 and session.caches is not None:
        needed = plan.needed()
        records = {index: one for index, one in records.items() if index in needed}
    config = carry_cache(config, session.caches, plan, records)
    return FinishedImage(plan.platform, config, base_layers, stamps)


def keep_images(store: Store, images: Sequence[FinishedImage], names: Sequence[str]) -> FinishedImage:
    """Have the store keep the images of a build; the one that its names mean here.

    Of several that is the one for this machine, or else the first; the others are found by the names and their
    platforms, and all of them together, with what is attested of them, by the manifest list of that name.
    """
    if len(images) == 1 and not images[0].predicates:
        (own,) = images
        store.images.put(own.id, own.config.to_bytes(), own.config.diff_ids, names, own.recorded)
        for name in names:
            store.images.forget_list(name)
        return own
    from buildah_py.image import platform as platforms
    from buildah_py.transfer.lists import Listed, keep_built

    own = images[platforms.choose(platforms.host(), [platforms.parse(one.platform) for one in images]) or 0]
    with store.manifest_lists.editing():
        for one in images:
            there = names if one is own else ()
            store.images.put(one.id, one.config.to_bytes(), one.config.diff_ids, there, one.recorded)
        for name in names:
            listed = [(one.platform, Listed(one.id, one.config.platform, predicates=one.predicates)) for one in images]
            keep_built(store, name, own.id, listed)
    return own


def ids_of(images: Sequence[FinishedImage]) -> tuple[tuple[str, str], ...]:
    """Return the ids of several images with their platforms; nothing for one."""
    return tuple((one.platform, one.id) for one in images) if len(images) > 1 else ()


def provenance_of(images: Sequence[FinishedImage]) -> tuple[tuple[str, Mapping[str, Any]], ...]:
    """Return what is said of how the images were built, with their platforms."""
    said = ((one.platform, predicate) for one in images for predicate in one.predicates)
    return tuple((platform, one.body) for platform, one in said if "provenance" in one.type)


def twins(images: Sequence[FinishedImage]) -> list[str]:
    """Warn of platforms whose images are the same one."""
    found: dict[str, list[str]] = {}
    for one in images:
        found.setdefault(one.id, []).append(one.platform)
    return [
        f"the images for {' and '.join(some)} are one and the same, which is there once, and says that it is for "
        f"{images[0].config.platform}: is a `--platform` in FROM too much?"
        for some in found.values()
        if len(some) > 1
    ]


def compress_ahead(outputs: Sequence[Output], store: Store, request: BuildRequest) -> Ahead | None:
    """Give what compresses layers as they are made, where an output wants them as they are."""
    shaped = request.outputs.shape
    if (
        not outputs
        or shaped.squash
        or shaped.without
        or shaped.timestamp is not None
        or request.outputs.rewrite_timestamp
    ):
        return None
    from buildah_py.transfer.ahead import Ahead

    return Ahead(store, outputs)


def layers_taken(ahead: Ahead | None, plans: Sequence[Plan]) -> Callable[[Node, Result], None]:
    """Give what hands on the layers of the plans' targets, as their steps are done."""
    own: set[int] = set()
    for plan in plans:
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

        made = squash(worker.file_systems, worker.cache, layers, times, first)
        times[first:] = [made.stamps]
        return made.diff_id

    def leave_out(layers: Sequence[str], first: int) -> list[str]:
        from buildah_py.engine.squash import squash, touches

        left = list(layers)
        worker.store.need(left)  # what they say of the paths stands in them
        for place in range(first, len(layers)):
            if touches(worker.store, layers[place], shaped.without):
                here = slice(place + 1)
                made = squash(worker.file_systems, worker.cache, layers[here], stamps[here], place, shaped.without)
                left[place], times[place] = made.diff_id, made.stamps
        return left

    config, base_layers = shape(
        config, base, shaped, squash=squash_layers, leave=leave_out, labels=request.labels, epoch=epoch
    )
    return config, base_layers, tuple(times)


def _clamp_of(request: BuildRequest, epoch: int | None, image: FinishedImage) -> Clamp | None:
    """Give what becomes of an image's file times in all that is written out, None where they stay."""
    from buildah_py.outputs.clamp import Clamp

    exact = request.outputs.shape.timestamp
    if exact is not None:
        return Clamp(exact, image.base_layers, image.stamps, always=True, exact=True)
    if epoch is not None:
        return Clamp(epoch, image.base_layers, image.stamps, always=request.outputs.rewrite_timestamp)
    return None


class WrittenImage(NamedTuple):
    """Name that outputs call an image by: a registry that it was pushed to, else the first that can call it something.

    `loaded` is the id that an engine has for it, "" where it was loaded into none.
    """

    descriptor: Descriptor | None = None
    pushed: bool = False
    loaded: str = ""


def write_outputs(
    outputs: Sequence[Output],
    images: Sequence[FinishedImage],
    names: Sequence[str],
    request: BuildRequest,
    session: BuildSession,
    emit: Callable[[Event], None],
    ahead: Ahead | None,
) -> WrittenImage:
    """Write the images where they are asked for."""
    if ahead is not None:
        ahead.finish()
    store = session.worker.store
    clamps = [_clamp_of(request, session.settled.epoch, one) for one in images]
    loaded = ""
    if len(images) == 1 and not images[0].predicates and not any(one.platform_split for one in outputs):
        from buildah_py.transfer.write import Exporter

        config = images[0].config
        with Exporter(store, config, names, registry=session.registries, clamp=clamps[0], emit=emit) as exporter:
            written = [(_written(exporter, output, names, request, emit), output.push) for output in outputs]
            loaded = exporter.loaded
    else:
        from buildah_py.transfer.write_index import IndexExporter, PlatformImage

        several = [
            PlatformImage(one.platform, one.config, clamp=clamp, predicates=one.predicates)
            for one, clamp in zip(images, clamps, strict=True)
        ]
        with IndexExporter(store, several, names, registry=session.registries(), emit=emit) as together:
            written = [(_written(together, output, names, request, emit), output.push) for output in outputs]
            loaded = together.loaded
    pushed = [found for found, push in written if found is not None and push]
    called = pushed or [found for found, _ in written if found is not None]
    return WrittenImage(called[0] if called else None, bool(pushed), loaded)


def _written(
    exporter: Exporter | IndexExporter,
    output: Output,
    names: Sequence[str],
    request: BuildRequest,
    emit: Callable[[Event], None],
) -> Descriptor | None:
    """Write an output, and sign what it has pushed."""
    written = exporter.write(output)
    if request.sign is not None:
        from buildah_py.attest.signing import sign_pushed

        sign_pushed(output, written, names, exporter.registry, request.sign, emit)
    return written


def carry_cache(
    config: ImageConfig, caches: BuildCaches | None, plan: Plan, records: Mapping[int, Record]
) -> ImageConfig:
    """Put the build's records into the image's config, where `type=inline` was asked for."""
    if caches is None or not caches.shared.to:
        return config.with_property(INLINE_PROPERTY, None)
    from buildah_py.sharing.exporting import inline_property

    return config.with_property(INLINE_PROPERTY, inline_property(caches, plan, records))


def export_cache(
    caches: BuildCaches | None, plans: Sequence[Plan], records: Mapping[int, Record], names: Sequence[str]
) -> None:
    """Send the cache to all other places, and say what the caches were good for.

    Raises the first error of a place that may not fail; the others get theirs.
    """
    if caches is None:
        return
    caches.shared.report()
    if caches.shared.to:
        from buildah_py.sharing.exporting import export_all

        export_all(caches, plans, records, names)


def share_cache(
    caches: BuildCaches | None, plans: Sequence[Plan], records: Mapping[int, Record], names: Sequence[str]
) -> None:
    """Leave what a build knows where its steps were shared."""
    if caches is not None and caches.shared.work is not None:
        from buildah_py.sharing.exporting import share_all

        share_all(caches, plans, records, names)


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

"""Building an image: from a build file and a context to a named image in the store and whatever else was asked for."""

from __future__ import annotations

import time
from contextlib import contextmanager, nullcontext
from typing import TYPE_CHECKING, NamedTuple

from buildah_py.api.bases import Images
from buildah_py.api.caching import CacheOptions
from buildah_py.api.container import ContainerOptions
from buildah_py.api.contexts import ContextOptions, Contexts, effective, parse_contexts
from buildah_py.api.finishing import compress_ahead, shape_image, write_outputs
from buildah_py.api.images import familiar_name, full_name
from buildah_py.api.main_context import open_main, parse_build_file
from buildah_py.api.output_options import OutputOptions, meant_for_pushes, names_in_store, read_outputs
from buildah_py.api.recorded import record
from buildah_py.api.reuse import BuildNames, ReuseOptions, build_names
from buildah_py.api.sharing import Sharing
from buildah_py.api.state import Registries, open_store
from buildah_py.cache import Cache
from buildah_py.engine import Engine, Result, Workshop
from buildah_py.engine.run import MAX_OUTPUT
from buildah_py.errors import LayersLost, UsageError
from buildah_py.frozen import dataclass, field, replace
from buildah_py.image import platform as platforms
from buildah_py.layers.resolve import read
from buildah_py.plan import PlanOptions, make_plan
from buildah_py.plan.assemble import MadeLayer, finish_config
from buildah_py.plan.steps import OUTPUT
from buildah_py.progress import events
from buildah_py.sharing import INLINE

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from contextlib import AbstractContextManager

    from buildah_py.api.ahead import Ahead
    from buildah_py.api.main_context import MainContext
    from buildah_py.api.record_file import Recorder
    from buildah_py.api.secrets import SecretReaders
    from buildah_py.buildfile.tree import BuildFile
    from buildah_py.engine.reasons import LookUp
    from buildah_py.image.config import ImageConfig
    from buildah_py.image.descriptor import Descriptor
    from buildah_py.plan import Node
    from buildah_py.progress.events import Event
    from buildah_py.registry import RegistryOptions
    from buildah_py.sandbox import Sandbox
    from buildah_py.sources.named import NamedContext
    from buildah_py.store import Store


@dataclass(frozen=True, slots=True, kw_only=True)
class BuildRequest:
    """What to build and how. `context` and `file` are what `open_main` takes.

    `text` is the build file's text where that is known already. `record` is a file to write the build's record to.
    `pull` says when base images are looked for in their registries, `registries` gives what the command line says of
    these. No time in the image is later than `epoch` (seconds since 1970).
    """

    context: str | None = "."
    file: str | None = None
    names: tuple[str, ...] = ()
    target: str = ""
    build_args: Mapping[str, str] = field(default_factory=dict)
    env: Mapping[str, str] = field(default_factory=dict)
    labels: Mapping[str, str] = field(default_factory=dict)
    reuse: ReuseOptions = field(default_factory=ReuseOptions)
    network: str = "default"
    allow: frozenset[str] = frozenset()
    platform: str = ""
    outputs: OutputOptions = field(default_factory=OutputOptions)
    extensions: bool = False
    container: ContainerOptions = field(default_factory=ContainerOptions)
    caching: CacheOptions = field(default_factory=CacheOptions)
    secrets: tuple[str, ...] = ()
    ssh: tuple[str, ...] = ()
    contexts: tuple[str, ...] = ()
    sources: ContextOptions = field(default_factory=ContextOptions)
    epoch: int | None = None
    text: str | None = None
    record: str = ""
    pull: str = "missing"
    registries: Callable[[], RegistryOptions] | None = None
    environ: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class BuildResult:
    """The image's id, its full names, and how many steps were hits and how many ran.

    `descriptor` is what the first output called the image by, None where none wrote it as one.
    """

    image: str
    names: tuple[str, ...]
    hits: int
    ran: int
    descriptor: Descriptor | None = None


def build(request: BuildRequest, emit: Callable[[Event], None]) -> BuildResult:
    """Build the target; events go to `emit`.

    Raises BuildFileError, NotFound, StepFailed with the command's status, Interrupted, StoreError, SandboxError.
    """
    started = time.monotonic()
    given = tuple(dict.fromkeys(map(full_name, request.names)))
    outputs = read_outputs(request.outputs, names=given, epoch=request.epoch)
    names = names_in_store(given, outputs)
    request = replace(request, registries=meant_for_pushes(request.registries, outputs, given))
    with open_build(request, names, emit) as opened:
        request, store, workshop, build_file = opened.request, opened.store, opened.workshop, opened.build_file
        sharing = opened.sharing
        for lost in store.lost:
            emit(events.Warning(f"the image {familiar_name(lost)} was lost in a power cut"))
        recorder = _recorder(request)
        ahead: Ahead | None = None
        engine = Engine(workshop, lookup=opened.lookup, observe=recorder.observe if recorder else None)

        def evaluate(nodes: Sequence[Node], stages: Mapping[str, int]) -> str:
            refuse_what_is_not_allowed(nodes, request)
            while True:
                result = engine.run(nodes, stages)[nodes[-1].index]
                try:
                    return read_output(workshop, result)
                except LayersLost as lost:
                    engine.forget(lost)

        try:
            plan = make_plan(build_file, plan_options(request, opened.images, evaluate, opened.named))
            for warning in plan.warnings:
                emit(events.Warning(warning))
            refuse_what_is_not_allowed(plan.nodes, request)
            emit(events.BuildStarted(len(plan.nodes)))
            recorded = record(request, opened.main, build_file, plan.nodes) if names else None
            ahead = compress_ahead(outputs, store, request, plan, engine)
            while True:
                try:
                    results = engine.run(plan.nodes, plan.stages)
                    workshop.release_containers()
                    made = {
                        index: MadeLayer(result.layers[-1], result.created)
                        for index, result in results.items()
                        if result.layers
                    }
                    config, base_layers = shape_image(finish_config(plan, made), plan.config, request, workshop)
                    config = config.with_property(INLINE, sharing.inline(plan, engine.records))
                    image = config.digest()
                    store.images.put(image, config.to_bytes(), config.diff_ids, names, recorded)
                    descriptor = None
                    if outputs:
                        descriptor = write_outputs(outputs, store, config, given, request, base_layers, emit, ahead)
                    break
                except LayersLost as lost_layers:
                    engine.forget(lost_layers)
            store.make_durable()
            sharing.export(plan, engine.records, names)
            if recorder is not None:
                recorder.write(request, build_file, plan, image)
            if engine.ran:
                _make_room(store, request, emit)
                _warn(build_file, opened.main, request, plan.bases, emit)
        except BaseException:
            if ahead is not None:
                ahead.stop()
            emit(events.BuildFailed(time.monotonic() - started))
            raise
    shown = tuple(map(familiar_name, names))
    emit(events.BuildDone(image, shown, time.monotonic() - started, engine.hits, engine.ran))
    return BuildResult(image, names, engine.hits, engine.ran, descriptor)


class Opened(NamedTuple):
    """What a build works with; `request` with what the configuration adds to it."""

    request: BuildRequest
    store: Store
    main: MainContext
    build_file: BuildFile
    named: Mapping[str, NamedContext]
    images: Images
    cache: Cache
    sharing: Sharing
    workshop: Workshop
    lookup: LookUp


@contextmanager
def open_build(request: BuildRequest, names: Sequence[str], emit: Callable[[Event], None]) -> Iterator[Opened]:
    """Open the store and the contexts and read the build file; `names` are the image's full names."""
    with (
        open_store(request.environ) as store,
        Registries(request.environ, request.registries) as registries,
        _agents(request) as agents,
    ):
        main = open_main(
            request.context,
            request.file,
            lambda: store,
            secret=secret_reader(request),
            build_args=request.build_args,
            text=request.text,
        )
        build_file = parse_build_file(main, extensions=request.extensions)
        named = parse_contexts(request.contexts)
        request = replace(request, sources=effective(request.sources, request.environ))
        contexts = Contexts(main, request.sources, store, named, secret_reader(request))
        cache = _cache(store, request, build_names(main, build_file, names))
        images = Images(store, registries, policy=request.pull, emit=emit)
        sharing = Sharing(request.caching, store, cache, request.environ, request.platform, emit, request.registries)
        workshop = _open_workshop(request, store, cache, contexts, agents, emit, sharing.carried.directory)
        images.openers, images.cancelled = sharing.openers, workshop.cancelled
        try:
            lookup = request.reuse.lookup(build_file)
            yield Opened(request, store, main, build_file, named, images, cache, sharing, workshop, lookup)
        finally:
            workshop.close()
            contexts.close()


def _cache(store: Store, request: BuildRequest, names: BuildNames) -> Cache:
    if request.reuse.apart:
        from buildah_py.cache.apart import ApartCache

        return ApartCache(store)
    return Cache(store, **names._asdict())


def _open_workshop(
    request: BuildRequest,
    store: Store,
    cache: Cache,
    contexts: Contexts,
    agents: Mapping[str, str],
    emit: Callable[[Event], None],
    cache_directory: Callable[[str], str | None],
) -> Workshop:
    return Workshop(
        store,
        cache,
        open_context=contexts.open,
        make_sandbox=lambda: _make_sandbox(store),
        emit=emit,
        trust=request.container.trust(request.environ),
        shape=request.container.apply,
        **_secret_readers(request),
        agents=agents,
        cache_directory=cache_directory,
    )


def _recorder(request: BuildRequest) -> Recorder | None:
    if not request.record:
        return None
    from buildah_py.api.record_file import Recorder

    return Recorder()


def _make_room(store: Store, request: BuildRequest, emit: Callable[[Event], None]) -> None:
    """Keep the store within its limits; an image that was built stays, whatever is wrong with these."""
    from buildah_py.api.prune import after_build

    try:
        done = after_build(store, request.environ)
    except UsageError as error:
        emit(events.Warning(f"the limits of the store are not kept: {error.message}"))
        return
    if done is not None and done.goal is not None and done.used > done.goal:
        excess = f"the store takes {done.used} bytes, more than the limit of {done.goal}"
        emit(events.Warning(f"{excess}: the rest is in use or has names"))


def _warn(
    build_file: BuildFile,
    main: MainContext,
    request: BuildRequest,
    bases: Mapping[tuple[str, str], ImageConfig],
    emit: Callable[[Event], None],
) -> None:
    """Say what the checks find. Where nothing ran, nothing changed, and they have been shown before."""
    from buildah_py.api.checks import check_build

    for warning in check_build(
        build_file,
        main.ignore(request.sources.ignore_file),
        build_args=request.build_args,
        target=request.target,
        platform=request.platform,
        contexts=parse_contexts(request.contexts),
        bases=bases,
    ):
        emit(events.Warning(f"{build_file.source.name}:{warning.line}: {warning.rule}: {warning.message}"))


def secret_reader(request: BuildRequest) -> Callable[[str], bytes | None]:
    """Give what reads the secrets that a build was given, by their ids."""
    return _secret_readers(request).get("secret", lambda _: None)


def _secret_readers(request: BuildRequest) -> SecretReaders:
    if not request.secrets:
        return {}
    from buildah_py.api.secrets import parse_secrets, readers

    return readers(parse_secrets(request.secrets, request.environ), request.environ)


def _agents(request: BuildRequest) -> AbstractContextManager[Mapping[str, str]]:
    if not request.ssh:
        return nullcontext({})
    from buildah_py.api.secrets import Agents

    return Agents(request.ssh, request.environ)


def plan_options(
    request: BuildRequest,
    images: Images,
    evaluate: Callable[[Sequence[Node], Mapping[str, int]], str],
    named: Mapping[str, NamedContext],
) -> PlanOptions:
    """Give what a request adds to its build file; `evaluate` is that of `PlanOptions`."""
    host = str(platforms.host())
    if "," in request.platform:
        raise UsageError(
            f"--platform {request.platform}: a build is for one platform",
            hint="build for each, and join the images: `pybuild manifest create NAME IMAGE…`",
        )
    platform = str(platforms.parse(request.platform)) if request.platform else host

    return PlanOptions(
        resolve=images.resolve,
        evaluate=evaluate,
        build_args=request.build_args,
        target=request.target,
        platform=platform,
        build_platform=host,
        network=request.network,
        labels=request.labels,
        env=request.env,
        contexts=named,
        hostname=request.container.hostname or "pybuild",
        container=request.container.key(),
    )


def read_output(workshop: Workshop, result: Result) -> str:
    """Give what the command of a CaptureStep printed."""
    return read(workshop.view(result.layers), OUTPUT, MAX_OUTPUT).decode("utf-8", "surrogateescape")


def refuse_what_is_not_allowed(nodes: Sequence[Node], request: BuildRequest) -> None:
    """Whatever weakens the sandbox has to be asked for on the command line, not only in the file."""
    from buildah_py.plan.steps import RunStep

    allowed = request.allow | ({"network.host"} if request.network == "host" else set())
    for node in nodes:
        if isinstance(node.step, RunStep):
            asked = {"security.insecure": node.step.security == "insecure", "network.host": node.step.network == "host"}
            for right in sorted(right for right, wanted in asked.items() if wanted and right not in allowed):
                raise UsageError(f"`{node.text}` asks for {right}, which is not allowed", hint=f"add --allow {right}")


def _make_sandbox(store: Store) -> Sandbox:
    from buildah_py.sandbox import Sandbox

    return Sandbox(store.path("sandbox"))

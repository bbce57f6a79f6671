"""Session of a build, opened: for `build`, and for `why`, which only looks."""

from __future__ import annotations

import functools
import os
from contextlib import contextmanager, nullcontext
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

from buildah_py.api.config import configured
from buildah_py.api.epoch import settle_epoch
from buildah_py.api.reuse import BuildNames, build_names
from buildah_py.api.state import open_store
from buildah_py.cache import Cache
from buildah_py.contexts.main import open_main, parse_build_file
from buildah_py.contexts.named import Contexts, parse_contexts
from buildah_py.engine import Worker
from buildah_py.engine.containers import Cancellation, Containers
from buildah_py.engine.file_systems import FileSystems
from buildah_py.engine.worker import Reporter
from buildah_py.errors import BuildFileError, UsageError
from buildah_py.image import platform as platforms
from buildah_py.linux.identity import in_user_namespace, may_lend_all, may_mount
from buildah_py.plan import PlanOptions
from buildah_py.progress import events
from buildah_py.sources.reach import Reach
from buildah_py.transfer.base_images import BaseImages
from buildah_py.transfer.provider import NoPromises, OriginProvider, Registries, VerifiedProvider, waited_for

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from contextlib import AbstractContextManager

    from buildah_py.api.container import ContainerOptions
    from buildah_py.api.epoch import Settled
    from buildah_py.api.request import BuildRequest
    from buildah_py.buildfile.named import NamedContext
    from buildah_py.buildfile.tree import BuildFile
    from buildah_py.cache.records import CachePolicy
    from buildah_py.contexts.main import MainContext
    from buildah_py.contexts.named import ContextOptions
    from buildah_py.history.recording import BuildSource
    from buildah_py.plan import Node
    from buildah_py.registry import RegistryOptions
    from buildah_py.sandbox import Sandbox
    from buildah_py.sharing.backends import Backends
    from buildah_py.sharing.build_mounts import Mounts
    from buildah_py.sharing.meeting_place import MeetingPlace
    from buildah_py.sharing.options import MountOption
    from buildah_py.sharing.remote import BuildCaches, SharedCaches
    from buildah_py.sharing.work import BuildWork, JointWork
    from buildah_py.sources.policy import SourcePolicy
    from buildah_py.sources.secrets import SecretReaders
    from buildah_py.store import LayerProvider, Store
    from buildah_py.store.cache_mounts import CacheName


class BuildSession(NamedTuple):
    """Parts that a build works with beside its request; `sources` are its options of contexts with the configuration's.

    `registries` gives what holds of registries. `used` has what was fetched so far, but for images: digests by URLs.
    """

    settled: Settled
    sources: ContextOptions
    main: MainContext
    build_file: BuildFile
    named: Mapping[str, NamedContext]
    images: BaseImages
    caches: BuildCaches | None
    worker: Worker
    policy: CachePolicy
    registries: Callable[[], RegistryOptions]
    contexts: Contexts
    used: Mapping[str, str] = {}

    @property
    def source(self) -> BuildSource:
        """Source that the build's record names."""
        from buildah_py.history.recording import BuildSource

        return BuildSource(self.worker.store, self.build_file.source.name, self.main.lasting)


@contextmanager
def open_build(
    request: BuildRequest,
    names: Sequence[str],
    emit: Callable[[events.Event], None],
    *,
    registries: Callable[[], RegistryOptions] | None = None,
    provider: LayerProvider | None = None,
    unread: Callable[[Store, MainContext, BuildFileError], None] = lambda *_: None,
    within: BuildSession | None = None,
    elsewhere: str | None = None,
) -> Iterator[BuildSession]:
    """Open the store and the contexts and read the build file; `names` are the image's full names.

    `registries` gives what holds of registries, else the environment does. Layers that are not in the store come from
    `provider`, or else from wherever they can be had. `unread` is told of a build file that does not parse. `within` is
    another build, in whose store, sandbox and caches this one takes place, and with which it ends. `elsewhere` is under
    which restrictions steps are executed, where that is not done here.
    """
    ended, reporter = Cancellation(), Reporter(emit)
    if within is not None:
        ended, reporter = within.worker.cancellation, within.worker.reporter

    def warn(text: str) -> None:
        emit(events.Warning(text))

    leaving = registries
    registries = waited_for(registries, request.environ, reporter.note, ended.is_set)
    backends = functools.cache(partial(_backends, request, registries, reporter.note, ended.is_set))
    shared = _shared_caches(request, backends, emit, within, ended.is_set)
    work = shared.work if shared is not None and not request.reuse.apart else None
    openers = shared.openers if shared is not None else lambda: backends().openers()
    with Registries(request.environ, registries) as client, agents_of(request) as agents:
        origins = OriginProvider(client, openers=openers, tell=reporter.note, cancelled=ended.is_set)
        provider = provider or VerifiedProvider(origins, shared or NoPromises())
        opened = within and nullcontext(within.worker.store)
        with opened or open_store(
            request.environ, provider=provider, cancelled=ended.is_set, tell=reporter.note
        ) as store:
            if request.container.isolation == "in-place" and within is None:
                _recover(store, warn)
            readers = readers_of(request, ended.is_set)
            used: dict[str, str] = {}
            reach = reach_of(request, agents, readers, ended.is_set, reporter.note)._replace(used=used.__setitem__)
            main = open_main(
                request.context,
                request.file,
                lambda: store,
                reach=reach,
                build_args=request.build_args,
                text=request.text,
                warn=warn,
            )
            try:
                build_file = parse_build_file(main, extensions=request.extensions)
            except BuildFileError as error:
                unread(store, main, error)
                raise
            named = parse_contexts(request.contexts)
            if reach.policy is not None:
                _check_directories(reach.policy, main, named)
            settled = settle_epoch(request, main, build_file, warn)
            sources = configured(request.sources, request.environ)
            contexts = Contexts(main, sources, store, named, reach, warn)
            own_names = build_names(main, build_file, names)
            cache = _cache(store, shared, request, own_names)
            images = BaseImages(store, client, policy=request.pull, emit=emit, sources=reach.policy)
            mounts = functools.cache(partial(_mounts, request, request.caching.backed(), store, shared, warn))
            caches = shared.of_build(store, cache, mounts, emit) if shared is not None else None
            shape = request.container.shaper(request.environ, store)
            beside = within and within.worker.containers
            containers = Containers(
                lambda: _make_sandbox(store, request),
                ended,
                shape,
                beside=beside,
                isolation=_rung(request.container.isolation, _path(request)),
                tracers=_path(request),
            )
            file_systems = within.worker.file_systems if within is not None else FileSystems(store)
            restricted = restrictions_of(request.container, _path(request)) if elsewhere is None else elsewhere

            def cache_directory(name: CacheName) -> str | None:
                return mounts().directory(name)

            worker = Worker(
                store,
                cache,
                file_systems,
                contexts,
                containers,
                Reporter(work.hearing(reporter.emit)) if work is not None and within is None else reporter,
                ended,
                reach,
                cache_directory,
                restricted,
                own_names.own[0],
                request.reuse.observe,
                _build_work(work, caches) if work is not None and caches is not None else None,
            )
            if restricted and shared is not None:
                reporter.note(
                    f"steps are executed {restricted}, where not all can be done: what a RUN makes is a hit in "
                    "the same case alone"
                )
            try:
                policy = request.reuse.policy(build_file)
                yield BuildSession(
                    settled,
                    sources,
                    main,
                    build_file,
                    named,
                    images,
                    caches,
                    worker,
                    policy,
                    registries,
                    contexts,
                    used,
                )
            finally:
                if work is not None and within is None:
                    work.close(partial(_leaving, request, leaving))
                containers.close()
                contexts.close()


def _path(request: BuildRequest) -> str:
    """Give the directories in which a build's programs are."""
    return request.environ.get("PATH") or os.defpath


def _rung(isolation: str, path: str) -> str:
    """Give the rung of isolation that is taken, with PRoot from `path`."""
    if may_mount():  # as nearly everybody may: nothing else is asked then
        return isolation
    from buildah_py.sandbox.rungs import taken

    return taken(isolation, path)


def restrictions_of(options: ContainerOptions, path: str = os.defpath) -> str:
    """Say under which restrictions containers with these options run, "" for none; PRoot is looked for in `path`."""
    isolation = _rung(options.isolation, path)
    usual = isolation in ("container", "full", "chroot")
    if not options.uid_map and usual and may_lend_all():
        return ""
    from buildah_py.engine.restrictions import restrictions, without_container
    from buildah_py.sandbox.rungs import NESTED, WITHOUT_CONTAINER

    if isolation in WITHOUT_CONTAINER:
        return without_container(isolation)
    nested = isolation == NESTED  # which has a user namespace for each step, with the same ids
    own = ((0, 0, 65536),) if nested and not in_user_namespace() else ()
    return restrictions(options.uid_map or own, options.gid_map)


def _backends(
    request: BuildRequest,
    registries: Callable[[], RegistryOptions],
    tell: Callable[[str], object],
    cancelled: Callable[[], bool],
) -> Backends:
    from buildah_py.http.retry import Waiter
    from buildah_py.sharing.backends import Backends

    return Backends(request.environ, target_platforms(request)[0], registries, Waiter(tell, cancelled))


def _build_work(work: JointWork, caches: BuildCaches) -> BuildWork:
    from buildah_py.sharing.exporting import pack_step

    return work.of_build(partial(pack_step, caches))


def _leaving(request: BuildRequest, registries: Callable[[], RegistryOptions] | None) -> Sequence[MeetingPlace]:
    """Give the shared places for a build that was interrupted: nobody waits any more but it."""
    from buildah_py.sharing.backends import Backends
    from buildah_py.sharing.remote import SharedCaches

    backends = Backends(request.environ, target_platforms(request)[0], registries)
    shared = SharedCaches(request.caching, backends, lambda _: None)
    return shared.work.places if shared.work is not None else ()


def _shared_caches(
    request: BuildRequest,
    backends: Callable[[], Backends],
    emit: Callable[[events.Event], None],
    within: BuildSession | None,
    cancelled: Callable[[], bool],
) -> SharedCaches | None:
    """Give the shared caches of a build, None where none is named."""
    if within is not None and within.caches is not None:
        return within.caches.shared.sending(request.caching)
    if not request.caching.is_shared:
        return None
    from buildah_py.sharing.remote import SharedCaches

    return SharedCaches(request.caching, backends(), emit, cancelled)


def _mounts(
    request: BuildRequest,
    backed: Mapping[str, MountOption],
    store: Store,
    shared: SharedCaches | None,
    warn: Callable[[str], object],
) -> Mounts:
    from buildah_py.sharing.build_mounts import Mounts

    caches = zip(shared.imports, shared.from_, strict=True) if shared is not None else ()
    filling = [(one, place.mounts) for one, place in caches]
    return Mounts(store, backed, filling, request.environ, warn)


def _cache(store: Store, shared: SharedCaches | None, request: BuildRequest, names: BuildNames) -> Cache:
    if request.reuse.apart:
        from buildah_py.cache.apart import IsolatedCache

        return IsolatedCache(store)
    return Cache(store, shared if shared is not None and shared.imports else None, **names._asdict())


def reach_of(
    request: BuildRequest,
    agents: Mapping[str, str],
    readers: SecretReaders | None,
    cancelled: Callable[[], bool] = lambda: False,
    tell: Callable[[str], object] = lambda _: None,
) -> Reach:
    """Give what a build may use to get at what is elsewhere; `readers` are those of its secrets."""
    reach = Reach(
        policy=_source_policy(request),
        local_redirects=request.sources.local_redirects,
        agents=agents,
        cancelled=cancelled,
        limits=request.sources.limits(),
        tell=tell,
    )
    return reach if readers is None else reach._replace(secret=readers.value, secret_digest=readers.digest)


def _source_policy(request: BuildRequest) -> SourcePolicy | None:
    if not request.source_policy:
        return None
    from buildah_py.sources.policy import read_policy

    return read_policy(request.source_policy)


def _check_directories(policy: SourcePolicy, main: MainContext, named: Mapping[str, NamedContext]) -> None:
    """See that the directories of this machine that are contexts may be used. Raises SourceError."""
    if not main.remote:
        policy.local("context")
        policy.local("dockerfile")
    for one in named.values():
        if one.kind == "directory":
            policy.local(one.name)


def readers_of(request: BuildRequest, cancelled: Callable[[], bool] = lambda: False) -> SecretReaders | None:
    """Give what reads the secrets of a build, made once: a value is read once too."""
    if not request.secrets:
        return None
    from buildah_py.sources.secrets import parse_secrets, readers

    return readers(parse_secrets(request.secrets, request.environ), request.environ, cancelled)


def agents_of(request: BuildRequest) -> AbstractContextManager[Mapping[str, str]]:
    """Give the sockets of the ssh agents that a build may use, by their ids."""
    if not request.ssh:
        return nullcontext({})
    from buildah_py.sources.secrets import Agents

    return Agents(request.ssh, request.environ)


def target_platforms(request: BuildRequest) -> tuple[str, ...]:
    """Return the platforms that a build is for, each once; this machine's where none is named. Raises UsageError."""
    given = [text for text in request.platform.split(",") if text.strip()]
    if request.platform and not given:
        raise UsageError(f"--platform {request.platform} names no platform")
    return tuple(dict.fromkeys(str(platforms.asked_for(text)) for text in given)) or (str(platforms.host()),)


def plan_options(request: BuildRequest, session: BuildSession) -> list[PlanOptions]:
    """Give what a request adds to its build file, for each platform."""
    host = str(platforms.host())
    resolve = functools.cache(session.images.resolve)  # the same one whenever the file is planned again
    return [
        PlanOptions(
            resolve=resolve,
            build_args=session.settled.build_args,
            target=request.target,
            platform=platform,
            build_platform=host,
            network=request.network,
            labels=request.labels,
            env=request.env,
            contexts=session.named,
            hostname=request.container.hostname or "pybuild",
            container=request.container.key(),
        )
        for platform in target_platforms(request)
    ]


def refuse_what_is_not_allowed(nodes: Sequence[Node], request: BuildRequest) -> None:
    """Whatever weakens the sandbox has to be asked for on the command line, not only in the file."""
    from buildah_py.plan.steps import RunStep

    allowed = request.allow | ({"network.host"} if request.network == "host" else set())
    for node in nodes:
        if isinstance(node.step, RunStep):
            asked = {"security.insecure": node.step.security == "insecure", "network.host": node.step.network == "host"}
            for right in sorted(right for right, wanted in asked.items() if wanted and right not in allowed):
                raise UsageError(f"`{node.text}` asks for {right}, which is not allowed", hint=f"add --allow {right}")


def refuse_what_cannot_run(nodes: Sequence[Node], session: BuildSession) -> None:
    """Raise PybuildError for a command of another machine that nothing here runs, before anything is built."""
    from buildah_py.plan.steps import CaptureStep, RunStep

    host = str(platforms.host())
    for node in nodes:
        step = node.step.run if isinstance(node.step, CaptureStep) else node.step
        if isinstance(step, RunStep) and step.platform != host:
            from buildah_py.engine.foreign import check_nodes

            check_nodes(nodes, session.worker.cache)
            return


def _recover(store: Store, warn: Callable[[str], object]) -> None:
    """Have caches where they belong, before a step looks for them, though an earlier build in place was interrupted."""
    from buildah_py.sandbox.in_place import INTERRUPTED, recover

    if recover(store.path("cache-mounts")):
        warn(INTERRUPTED)


def _make_sandbox(store: Store, request: BuildRequest) -> Sandbox:
    from buildah_py.sandbox import Sandbox
    from buildah_py.sandbox.rungs import IN_PLACE

    left: tuple[str, ...] = ()
    if request.container.isolation == IN_PLACE:
        from buildah_py.api.places import places_of

        left = (store.root, *places_of(request))
    return Sandbox(store.path("sandbox"), left=left, tracers=_path(request))

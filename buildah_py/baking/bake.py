"""Building several targets as one graph: equal steps once, one store, one record in the history, one end."""

from __future__ import annotations

import time
from contextlib import ExitStack
from functools import partial
from typing import TYPE_CHECKING, Final, NamedTuple

from buildah_py import debug
from buildah_py.api.build import attest, make_room, put_down, read_value
from buildah_py.api.finishing import (
    compress_ahead,
    export_cache,
    finish_image,
    ids_of,
    keep_images,
    layers_taken,
    not_executable,
    provenance_of,
    share_cache,
    twins,
    write_outputs,
)
from buildah_py.api.opening import (
    open_build,
    plan_options,
    refuse_what_cannot_run,
    refuse_what_is_not_allowed,
    target_platforms,
)
from buildah_py.api.output_options import check_epoch, meant_for_pushes, names_in_store, read_outputs
from buildah_py.api.request import BuildResult
from buildah_py.baking.durations import Urgency
from buildah_py.contexts.several import SeveralContexts
from buildah_py.engine import Engine
from buildah_py.engine.runner import Workplace
from buildah_py.errors import PybuildError, UsageError
from buildah_py.frozen import replace
from buildah_py.history.files import build_id
from buildah_py.history.recording import BuildHistory, BuildSource
from buildah_py.meter import Listening
from buildah_py.outputs.target import STDOUT
from buildah_py.plan import NeedsValue
from buildah_py.plan.graph import BUILT, GraphPart
from buildah_py.plan.planner import plan_together
from buildah_py.plan.steps import BaseStep, CaptureStep, CopyStep, RunStep
from buildah_py.progress import events
from buildah_py.sharing.options import CacheOptions
from buildah_py.store.names import familiar_name, full_name

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from buildah_py.api.finishing import FinishedImage
    from buildah_py.api.opening import BuildSession
    from buildah_py.api.request import BuildRequest
    from buildah_py.cluster.address import ClusterOptions
    from buildah_py.contexts.main import MainContext
    from buildah_py.engine import Result
    from buildah_py.engine.elsewhere import Elsewhere
    from buildah_py.errors import BuildFileError
    from buildah_py.outputs.spec import Output
    from buildah_py.plan import Node, Plan, PlanOptions
    from buildah_py.plan.steps import Step
    from buildah_py.progress.events import Event
    from buildah_py.registry import RegistryOptions
    from buildah_py.store import LayerProvider, Store
    from buildah_py.transfer.ahead import Ahead


_JOBS_ELSEWHERE: Final = 512
"""Steps of a cluster that are waited for at once."""


class BakeItem(NamedTuple):
    """A target to be built: it stands behind those that it `takes`, whose results are contexts of it.

    One that is not `exported` is there for others alone. `explain` says of an error in the request where that stands.
    """

    name: str
    request: BuildRequest
    takes: tuple[str, ...] = ()
    exported: bool = True
    explain: Callable[[UsageError], PybuildError] = lambda error: error


class Bake(NamedTuple):
    """Outcome of a bake: the results of exported targets by their names."""

    results: Mapping[str, BuildResult]


class OpenTarget(NamedTuple):
    """A target with all that its build works with; `number` is its part of the graph."""

    item: BakeItem
    number: int
    given: tuple[str, ...]
    names: tuple[str, ...]
    outputs: Sequence[Output]
    session: BuildSession
    options: Sequence[PlanOptions]
    platforms: Sequence[str]

    @property
    def request(self) -> BuildRequest:
        """Give what is asked for."""
        return self.item.request


class _Checked(NamedTuple):
    """Facts about a target from before a store is opened: its full names, those in the store, and its outputs."""

    given: tuple[str, ...]
    names: tuple[str, ...]
    outputs: Sequence[Output]
    registries: Callable[[], RegistryOptions] | None


class Elsewheres(NamedTuple):
    """The steps of each target on a cluster, and how urgent each is."""

    steps: Sequence[Elsewhere]
    urgency: Urgency


def _elsewhere(
    builds: Sequence[OpenTarget], emit: Callable[[Event], None], stack: ExitStack, options: ClusterOptions | None
) -> Elsewheres | None:
    """Give what executes steps on a cluster; nothing is connected before one has to be executed."""
    if options is None:
        return None
    if any(build.request.caching.share for build in builds):
        raise UsageError(
            "--cluster and --share: the scheduler of a cluster has each step executed once by itself",
            hint="leave out one of them; the configuration or PYBUILD_SHARE may say --share as well",
        )
    from buildah_py.cluster.client import Cluster
    from buildah_py.cluster.place import SharedPlace, choose_place
    from buildah_py.cluster.steps import ClusterSteps, SharedWork

    spec = choose_place(text for build in builds for text in build.request.caching.to)
    session = builds[0].session
    caches = next(build.session.caches for build in builds if build.session.caches is not None)
    cluster = Cluster(options, emit, session.worker.cancellation)
    stack.callback(cluster.close)
    work = SharedWork.of(cluster, spec, SharedPlace(spec, caches.shared), session.worker.store)
    urgency = Urgency(session.worker.store.root)
    steps = [
        ClusterSteps(work, build.item.name, build.session.worker, build.request.container, urgency.of)
        for build in builds
    ]
    return Elsewheres(steps, urgency)


def image_of(target: str) -> str:
    """Return the name by which build files of one bake take what a target makes, as an image's."""
    return f"{BUILT}{target}"


def bake(
    items: Sequence[BakeItem],
    file: str,
    emit: Callable[[Event], None],
    tell: Callable[[Bake], None] = lambda _: None,
    remember: Callable[[str], object] = lambda _: None,
    cluster: ClusterOptions | None = None,
) -> Bake:
    """Build targets together; `file` is the bake file's name. `emit`, `tell` and `remember` are those of `build`.

    Steps are executed by the workers of a `cluster`, where one is named.

    Raises whatever `build` raises; the first error ends all.
    """
    started = time.monotonic()
    checked = [_check(item) for item in items]
    _check_together(items, checked, emit)
    if cluster is not None:
        from buildah_py.cluster.place import choose_place

        choose_place(text for item in items for text in item.request.caching.to)
    shown = ", ".join(item.name for item in items if item.exported)
    counted = _Counted(BuildHistory(shown, "", emit))

    def unread(store: Store, main: MainContext, error: BuildFileError) -> None:
        remember(counted.history.write(BuildSource(store, error.source.name, main.lasting), {}, "", (), error))

    with Listening(counted), ExitStack() as stack:
        there = None if cluster is None else cluster.restrictions
        builds = list(_opened(items, checked, counted, stack, unread=unread, elsewhere=there))
        done = _Baking(builds, counted, file, _elsewhere(builds, counted, stack, cluster)).run(started, tell, remember)
    seconds = time.monotonic() - started
    for result in done.results.values():
        names = tuple(map(familiar_name, result.names))
        emit(events.BuildDone(result.image, names, seconds, result.hits, result.ran, result.loaded))
    tell(done)
    return done


class _Baking:
    """One bake, with everything open."""

    def __init__(
        self, builds: Sequence[OpenTarget], counted: _Counted, file: str, elsewhere: Elsewheres | None
    ) -> None:
        self._builds = builds
        self._counted = counted
        self._history = counted.history
        self._file = file
        self._worker = builds[0].session.worker
        self._store = self._worker.store
        self._elsewhere = elsewhere
        places = [
            Workplace(build.session.worker, build.session.policy, elsewhere and elsewhere.steps[build.number])
            for build in builds
        ]
        jobs = builds[0].request.jobs or (_JOBS_ELSEWHERE if elsewhere is not None else 0)
        self._engine = Engine(self._worker, jobs=jobs, places=places)
        self._steps = self._engine.runner
        self._plans: tuple[Plan, ...] = ()
        self._aheads: dict[int, Ahead] = {}
        self._done: Bake | None = None
        self._began = time.time()

    def run(self, started: float, tell: Callable[[Bake], None], remember: Callable[[str], object]) -> Bake:
        """Plan, execute, write; `started` is when the bake began."""
        emit, store, history = self._counted, self._store, self._history
        if store.begins_anew:
            emit(events.Note("the store is of an older pybuild: its images stay, its steps are executed once more"))
        for lost in store.lost:
            emit(events.Warning(f"the image {familiar_name(lost)} was lost in a power cut"))
        try:
            self._plans = plans = self._plan()
            for warning in dict.fromkeys(text for one in plans for text in one.warnings):
                emit(events.Warning(warning))
            debug.log("plan: %d steps", len(plans[0].nodes))
            emit(events.BuildStarted(len(plans[0].nodes), build_id(store.lease.name)))
            done, warnings = self._engine.run(plans[0].nodes, plans[0].stages, self._finish, self._hand_on())
            history.begin("durable")
            store.make_durable()
            for build in self._builds:
                store.failures.forget(build.session.worker.build)
            history.begin("cache")
            self._export_caches()
            if self._steps.ran:
                make_room(store, self._builds[0].request, emit)
            for text in warnings:
                emit(events.Warning(text))
            path = self._record(done)
            remember(path)
            return Bake({name: replace(result, history=path) for name, result in done.results.items()})
        except BaseException as error:
            for ahead in self._aheads.values():
                ahead.stop()
            remember(self._record(self._done, error))
            emit(events.BuildFailed(time.monotonic() - started))
            if self._done is not None:
                tell(self._done)
            raise

    def _plan(self) -> tuple[Plan, ...]:
        """Plan all targets in one graph; steps that the plans depend on are executed on the way."""
        pairs = [(build.session.build_file, options) for build in self._builds for options in build.options]
        values: list[str] = []
        while True:
            plans = plan_together(pairs, values)
            nodes = plans.nodes if isinstance(plans, NeedsValue) else plans[0].nodes
            self._history.nodes = nodes
            for build in self._builds:
                needed = None if isinstance(plans, NeedsValue) else _needed(self._own(build, plans))
                own = [
                    node for node in nodes if (node.part == build.number if needed is None else node.index in needed)
                ]
                refuse_what_is_not_allowed(own, build.request)
            if self._elsewhere is None:
                refuse_what_cannot_run(nodes, self._builds[0].session)
            else:
                self._elsewhere.urgency.begin(nodes)
            if not isinstance(plans, NeedsValue):
                return plans
            values.append(self._engine.run(nodes, plans.stages, partial(read_value, self._store, plans)))

    def _own(self, build: OpenTarget, plans: Sequence[Plan] | None = None) -> list[Plan]:
        """Give the plans of a target."""
        first = sum(len(other.options) for other in self._builds[: build.number])
        return list((plans or self._plans)[first : first + len(build.options)])

    def _exported(self, build: OpenTarget) -> list[Plan]:
        """Give the plans that a target's images are made of: not those that only others need."""
        return [plan for plan in self._own(build) if plan.platform in build.platforms]

    def _hand_on(self) -> Callable[[Node, Result], None]:
        """Give what has layers compressed as they are made, where outputs want them."""
        takers: list[Callable[[Node, Result], object]] = []
        for build in self._builds:
            ahead = compress_ahead(build.outputs, self._store, build.request) if build.item.exported else None
            if ahead is not None:
                self._aheads[build.number] = ahead
                takers.append(layers_taken(ahead, self._exported(build)))

        def hand_on(node: Node, result: Result) -> None:
            for take in takers:
                take(node, result)

        return hand_on

    def _finish(self, results: Mapping[int, Result]) -> tuple[Bake, list[str]]:
        """Make the images of all targets, then write them out; with the last warnings."""
        self._history.begin("image")
        self._worker.containers.release()
        made: dict[str, BuildResult] = {}
        images: dict[int, list[FinishedImage]] = {}
        warnings: list[str] = []
        exported = [build for build in self._builds if build.item.exported]
        for build in exported:
            images[build.number], found = self._images(build, results)
            warnings += [*found, *twins(images[build.number])]
            own = keep_images(self._store, images[build.number], build.names)
            hits, ran = self._counted.of(self._exported(build))
            made[build.item.name] = BuildResult(
                own.id,
                build.names,
                hits,
                ran,
                images=ids_of(images[build.number]),
                provenance=provenance_of(images[build.number]),
            )
        self._done = Bake(made)
        self._history.begin("outputs")
        for build in exported:
            if build.outputs:
                ahead, emit = self._aheads.get(build.number), self._counted
                some = images[build.number]
                written = write_outputs(build.outputs, some, build.given, build.request, build.session, emit, ahead)
                made[build.item.name] = replace(made[build.item.name], **written._asdict())
        return self._done, list(dict.fromkeys(warnings))

    def _images(self, build: OpenTarget, results: Mapping[int, Result]) -> tuple[list[FinishedImage], list[str]]:
        """Make a target's images; what there is to say of them."""
        found: list[FinishedImage] = []
        warnings: list[str] = []
        request, session = build.request, build.session
        # What other targets have made cannot be written down: it is no image that a later build would find.
        names = () if build.item.takes else build.names
        for plan in self._exported(build):
            image = finish_image(plan, self._plans, results, request, session, self._steps.records)
            faults, recorded = put_down(request, session, plan, self._plans, results, image, names)
            if self._steps.ran or self._store.images.raw(image.id) is None:
                faults = [*faults, *not_executable(session.worker, image.config, results[plan.target].layers)]
            warnings += faults
            attested = attest(request, session, plan, image, build.names, self._steps.records, self._began)
            found.append(image._replace(recorded=recorded, predicates=attested))
        return found, warnings

    def _export_caches(self) -> None:
        """Send caches to where targets have them sent: the steps that each needs, and those of all to one place."""
        exported = [build for build in self._builds if build.item.exported]
        places: dict[tuple[str, ...], list[OpenTarget]] = {}
        for build in exported:
            for place in build.request.caching.to or ("",):
                places.setdefault((place,) if place else (), []).append(build)
        share_cache(self._builds[0].session.caches, self._plans, self._steps.records, ())
        failed: list[PybuildError] = []
        for to, builds in places.items():
            own = [plan for build in builds for plan in self._exported(build)]
            needed = _needed(own)
            records = {index: record for index, record in self._steps.records.items() if index in needed}
            names = list(dict.fromkeys(name for build in builds for name in build.names))
            caches = builds[0].session.caches
            if caches is not None and to:
                caches = caches._replace(shared=caches.shared.sending(CacheOptions(to=to)))
            try:
                export_cache(caches, own, records, names)
            except PybuildError as error:
                failed.append(error)
        if failed:
            raise failed[0]

    def _record(self, done: Bake | None, error: BaseException | None = None) -> str:
        """Write the record of the bake; its path."""
        results = done.results if done is not None else {}
        image = next((one.image for one in results.values()), "")
        names = [name for result in results.values() for name in result.names]
        source = self._builds[0].session.source._replace(store=self._store, file=self._file)
        return self._history.write(source, self._steps.records, image, names, error)


class _Counted:
    """Sink of a bake's events, which are the history's: it knows how each step ended."""

    def __init__(self, history: BuildHistory) -> None:
        self.history = history
        self._outcomes: dict[int, str] = {}

    def __call__(self, event: Event) -> None:
        if isinstance(event, events.StepDone):
            self._outcomes[event.id - 1] = event.outcome
        self.history(event)

    def of(self, plans: Sequence[Plan]) -> tuple[int, int]:
        """Tell how many of the steps of plans were hits, and how many were executed."""
        needed = _needed(plans)
        steps = [node.index for node in plans[0].nodes if node.index in needed and not isinstance(node.step, BaseStep)]
        outcomes = [self._outcomes.get(index) for index in steps]
        return outcomes.count(events.HIT), outcomes.count(events.RAN)


def _needed(plans: Sequence[Plan]) -> frozenset[int]:
    return frozenset(index for plan in plans for index in plan.needed())


def _check(item: BakeItem) -> _Checked:
    """Check what a target asks for before anything is built. Raises UsageError, OutputError."""
    try:
        return _check_request(item.request, item.exported)
    except UsageError as error:
        raise item.explain(error) from error


def _check_request(request: BuildRequest, exported: bool) -> _Checked:
    from buildah_py.api.rights import check_rights, refuse_deletion

    given = tuple(dict.fromkeys(map(full_name, request.names))) if exported else ()
    options, platforms = request.outputs, target_platforms(request)
    outputs = read_outputs(options, names=given, epoch=request.epoch, platforms=platforms) if exported else []
    check_rights(request.allow)
    refuse_deletion(outputs, request)
    registries = meant_for_pushes(request.registries, outputs, given)
    if request.attest and exported:
        from buildah_py.attest.options import check_outputs_for

        check_outputs_for(request.attest, outputs)
    if request.sign is not None and exported:
        from buildah_py.attest.signing import check_signed

        check_signed(outputs)
    return _Checked(given, names_in_store(given, outputs), outputs, registries)


def _check_together(items: Sequence[BakeItem], checked: Sequence[_Checked], emit: Callable[[Event], None]) -> None:
    """See that targets do not get in each other's way. Raises UsageError."""
    owners: dict[str, str] = {}
    writers: list[str] = []
    for item, one in zip(items, checked, strict=True):
        for name in one.names:
            other = owners.setdefault(name, item.name)
            if other != item.name:
                text = f"the targets {other} and {item.name} are both named {familiar_name(name)}: the latter keeps it"
                emit(events.Warning(text))
        if any(output.dest == STDOUT for output in one.outputs):
            writers.append(item.name)
    if len(writers) > 1:
        raise UsageError(
            f"the targets {' and '.join(writers)} both write to the standard output",
            hint='give each a file: output = ["type=tar,dest=FILE"]',
        )


def opened_together(
    items: Sequence[BakeItem], emit: Callable[[Event], None], stack: ExitStack, provider: LayerProvider
) -> list[OpenTarget]:
    """Open targets that are only looked at, until `stack` ends; layers come from `provider`."""
    return list(_opened(items, [_check(item) for item in items], emit, stack, provider=provider))


def _opened(
    items: Sequence[BakeItem],
    checked: Sequence[_Checked],
    emit: Callable[[Event], None],
    stack: ExitStack,
    *,
    unread: Callable[[Store, MainContext, BuildFileError], None] = lambda *_: None,
    provider: LayerProvider | None = None,
    elsewhere: str | None = None,
) -> Iterator[OpenTarget]:
    """Open what each target works with: one store, one sandbox, and one of each context."""
    contexts = SeveralContexts()
    from_ = tuple(dict.fromkeys(text for item in items for text in item.request.caching.from_))
    share = tuple(dict.fromkeys(text for item in items for text in item.request.caching.share))
    platforms = _platforms(items)
    lead: BuildSession | None = None
    for number, (item, one) in enumerate(zip(items, checked, strict=True)):
        request = item.request
        own = CacheOptions(request.caching.to if item.exported else (), from_, request.caching.mounts, share)
        try:
            session = stack.enter_context(
                open_build(
                    replace(request, caching=own),
                    one.names,
                    emit,
                    registries=one.registries,
                    provider=provider,
                    unread=unread,
                    within=lead,
                    elsewhere=elsewhere,
                )
            )
        except UsageError as error:
            raise item.explain(error) from error
        lead = lead or session
        check_epoch(request.outputs, one.outputs, session.settled.epoch)
        if len(target_platforms(request)) > 1 or request.attest:
            from buildah_py.transfer.lists import refuse_to_replace

            refuse_to_replace(session.worker.store, one.names)
        names = contexts.add(session.contexts, session.main, session.sources, session.named)
        session = session._replace(worker=session.worker._replace(contexts=contexts))
        part = GraphPart(number, item.name, names, _apart(request, session), request.pull, image_of(item.name))
        options = [
            replace(option, part=part)
            for option in plan_options(replace(request, platform=",".join(platforms[item.name])), session)
        ]
        yield OpenTarget(item, number, one.given, one.names, one.outputs, session, options, target_platforms(request))


def _platforms(items: Sequence[BakeItem]) -> dict[str, list[str]]:
    """Tell for which platforms each target is planned: its own, and those of the targets that take it."""
    found = {item.name: dict.fromkeys(target_platforms(item.request)) for item in items if item.exported}
    for item in reversed(items):
        own = found.setdefault(item.name, {})
        for other in item.takes:
            found.setdefault(other, {}).update(own)
    return {name: list(some) for name, some in found.items()}


def _apart(request: BuildRequest, session: BuildSession) -> Callable[[Step, str], str]:
    """Give what tells which steps of a target are not another's, though they look alike."""
    secrets = repr((request.secrets, request.ssh))
    limits = repr((request.container, request.caching.mounts))
    policy = session.policy

    def apart(step: Step, stage: str) -> str:
        found = [f"executed {policy.ttl}" if policy.forbids(stage) else f"known {policy.ttl}"]
        run = step.run if isinstance(step, CaptureStep) else step
        if isinstance(run, RunStep):
            found.append(limits)
            if any(mount.type in ("secret", "ssh") for mount in run.mounts):
                found.append(secrets)
        elif isinstance(run, CopyStep) and run.add:
            found.append(secrets)
        return "\n".join(found)

    return apart

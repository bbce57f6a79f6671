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
    refuse_what_cannot_run,
    refuse_what_is_not_allowed,
)
from buildah_py.api.request import BuildResult
from buildah_py.baking.elsewhere import on_cluster
from buildah_py.baking.opening import check, check_together, opened
from buildah_py.engine import Engine
from buildah_py.engine.runner import Workplace
from buildah_py.errors import PybuildError
from buildah_py.frozen import replace
from buildah_py.history.files import build_id
from buildah_py.history.recording import BuildHistory, BuildSource
from buildah_py.meter import Listening
from buildah_py.plan import NeedsValue
from buildah_py.plan.planner import plan_together
from buildah_py.plan.steps import BaseStep
from buildah_py.progress import events
from buildah_py.sharing.options import CacheOptions
from buildah_py.store.names import familiar_name

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from buildah_py.api.finishing import FinishedImage
    from buildah_py.baking.elsewhere import Elsewheres
    from buildah_py.baking.opening import BakeItem, OpenTarget
    from buildah_py.cluster.address import ClusterOptions
    from buildah_py.contexts.main import MainContext
    from buildah_py.engine import Result
    from buildah_py.errors import BuildFileError
    from buildah_py.plan import Node, Plan
    from buildah_py.progress.events import Event
    from buildah_py.store import Store
    from buildah_py.transfer.ahead import Ahead


_JOBS_ELSEWHERE: Final = 512
"""Steps of a cluster that are waited for at once."""


class Bake(NamedTuple):
    """Outcome of a bake: the results of exported targets by their names."""

    results: Mapping[str, BuildResult]


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
    checked = [check(item) for item in items]
    check_together(items, checked, emit)
    if cluster is not None:
        from buildah_py.cluster.place import choose_place

        choose_place(text for item in items for text in item.request.caching.to)
    shown = ", ".join(item.name for item in items if item.exported)
    counted = _Counted(BuildHistory(shown, "", emit))

    def unread(store: Store, main: MainContext, error: BuildFileError) -> None:
        remember(counted.history.write(BuildSource(store, error.source.name, main.lasting), {}, "", (), error))

    with Listening(counted), ExitStack() as stack:
        there = None if cluster is None else cluster.restrictions
        builds = list(opened(items, checked, counted, stack, unread=unread, elsewhere=there))
        done = _Baking(builds, counted, file, on_cluster(builds, counted, stack, cluster)).run(started, tell, remember)
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

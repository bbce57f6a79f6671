"""Building an image: from a build file and a context to a named image in the store and whatever else was asked for."""

from __future__ import annotations

import os
import time
from functools import partial
from typing import TYPE_CHECKING

from buildah_py import debug, meter
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
from buildah_py.api.recorded import record, warned
from buildah_py.api.request import BuildRequest, BuildResult
from buildah_py.engine import Engine
from buildah_py.errors import UsageError
from buildah_py.frozen import replace
from buildah_py.history.files import build_id
from buildah_py.history.recording import BuildHistory, BuildSource
from buildah_py.meter import Listening
from buildah_py.plan import NeedsValue, make_plans
from buildah_py.progress import events
from buildah_py.store.names import familiar_name, full_name

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from buildah_py.api.finishing import FinishedImage
    from buildah_py.api.opening import BuildSession
    from buildah_py.cache import Record
    from buildah_py.contexts.main import MainContext
    from buildah_py.engine import Result
    from buildah_py.errors import BuildFileError
    from buildah_py.explain.record_file import BuildOptions, Recorder
    from buildah_py.image.config import ImageConfig
    from buildah_py.outputs.attestation import Predicate
    from buildah_py.plan import Plan
    from buildah_py.progress.events import Event
    from buildah_py.store import Store
    from buildah_py.transfer.ahead import Ahead


def build(
    request: BuildRequest,
    emit: Callable[[Event], None],
    tell: Callable[[BuildResult], None] = lambda _: None,
    remember: Callable[[str], object] = lambda _: None,
) -> BuildResult:
    """Build the target; events go to `emit`.

    `tell` is told of an image that is in the store, also where it could not be written or its cache not be sent then;
    `remember` of the file that the store's history has of the build, however it ended.
    Raises BuildFileError, NotFound, StepFailed with the command's status, Interrupted, StoreError, SandboxError.
    """
    started, began = time.monotonic(), time.time()
    given = tuple(dict.fromkeys(map(full_name, request.names)))
    platforms = target_platforms(request)
    outputs = read_outputs(request.outputs, names=given, epoch=request.epoch, platforms=platforms)
    if request.allow or outputs:
        from buildah_py.api.rights import check_rights, refuse_deletion

        check_rights(request.allow)
        refuse_deletion(outputs, request)
    names = names_in_store(given, outputs)
    registries = meant_for_pushes(request.registries, outputs, given)
    if request.attest:
        from buildah_py.attest.options import check_outputs_for

        check_outputs_for(request.attest, outputs)
    if request.sign is not None:
        from buildah_py.attest.signing import check_signed

        check_signed(outputs)
    emit = history = BuildHistory(request.target, request.platform, emit)

    def unread(store: Store, main: MainContext, error: BuildFileError) -> None:
        remember(history.write(BuildSource(store, error.source.name, main.lasting), {}, "", (), error))

    with Listening(emit), open_build(request, names, emit, registries=registries, unread=unread) as session:
        worker, caches = session.worker, session.caches
        store, epoch = worker.store, session.settled.epoch
        check_epoch(request.outputs, outputs, epoch)
        if len(platforms) > 1 or request.attest:
            from buildah_py.transfer.lists import refuse_to_replace

            refuse_to_replace(store, names)
        if store.begins_anew:
            emit(events.Note("the store is of an older pybuild: its images stay, its steps are executed once more"))
        for lost in store.lost:
            emit(events.Warning(f"the image {familiar_name(lost)} was lost in a power cut"))
        recorder = _recorder(request)
        ahead: Ahead | None = None
        done: BuildResult | None = None
        observe = recorder.observe if recorder else None
        engine = Engine(worker, policy=session.policy, observe=observe, jobs=request.jobs)
        steps = engine.runner
        try:
            plans = plan_build(request, session, engine, history)
            plan = plans[0]
            for warning in dict.fromkeys(text for one in plans for text in one.warnings):
                emit(events.Warning(warning))
            debug.log("plan: %d steps", len(plan.nodes))
            emit(events.BuildStarted(len(plan.nodes), build_id(store.lease.name)))
            ahead = compress_ahead(outputs, store, request)

            def finish(results: Mapping[int, Result]) -> tuple[BuildResult, list[str]]:
                """Make the image and write it out; what there is to say of it in the end, and the last warnings."""
                nonlocal done
                history.begin("image")
                worker.containers.release()
                images, warnings = [], []
                for one in plans:
                    finished = finish_image(one, plans, results, request, session, steps.records)
                    faults, recorded = put_down(request, session, one, plans, results, finished, names)
                    if steps.ran or store.images.raw(finished.id) is None:
                        faults = [*faults, *not_executable(worker, finished.config, results[one.target].layers)]
                    warnings += faults
                    attested = attest(request, session, one, finished, names, steps.records, began)
                    images.append(finished._replace(recorded=recorded, predicates=attested))
                own = keep_images(store, images, names)
                for platform, one_id in ids_of(images):
                    emit(events.Note(f"{platform}: {one_id}"))
                done = BuildResult(
                    own.id, names, steps.hits, steps.ran, images=ids_of(images), provenance=provenance_of(images)
                )
                if outputs:
                    history.begin("outputs")
                    written = write_outputs(outputs, images, given, request, session, emit, ahead)
                    done = replace(done, **written._asdict())
                return done, list(dict.fromkeys([*warnings, *twins(images)]))

            done, warnings = engine.run(plan.nodes, plan.stages, finish, layers_taken(ahead, plans))
            history.begin("durable")
            store.make_durable()
            if os.path.isdir(store.path("failed")):
                store.failures.forget(worker.build)
            history.begin("cache")
            share_cache(caches, plans, steps.records, names)
            export_cache(caches, plans, steps.records, names)
            if recorder is not None:
                recorder.write(request.record, build_options(request, session), plan, done.image)
            if steps.ran:
                make_room(store, request, emit)
            for text in warnings:
                emit(events.Warning(text))
            done = replace(done, history=history.write(session.source, steps.records, done.image, names))
            if request.command is not None and not steps.ran:
                from buildah_py.api.remember import remember as remember_command

                remember_command(request, session, plan, steps.records, history, done)
            remember(done.history)
        except BaseException as error:
            if ahead is not None:
                ahead.stop()
            image, own = (done.image, names) if done is not None else ("", ())
            remember(history.write(session.source, steps.records, image, own, error))
            emit(events.BuildFailed(time.monotonic() - started))
            if done is not None:
                tell(done)
            raise
    shown = tuple(map(familiar_name, names))
    emit(events.BuildDone(done.image, shown, time.monotonic() - started, steps.hits, steps.ran, done.loaded))
    tell(done)
    return done


def plan_build(
    request: BuildRequest, session: BuildSession, engine: Engine, history: BuildHistory | None = None
) -> tuple[Plan, ...]:
    """Plan the target for each platform; steps that the plans depend on are executed on the way."""
    options = plan_options(request, session)
    values: list[str] = []
    while True:
        plans = make_plans(session.build_file, options, values)
        plan = plans if isinstance(plans, NeedsValue) else plans[0]
        if history is not None:
            history.nodes = plan.nodes
        refuse_what_is_not_allowed(plan.nodes, request)
        refuse_what_cannot_run(plan.nodes, session)
        if not isinstance(plans, NeedsValue):
            return plans
        assert isinstance(plan, NeedsValue)
        values.append(engine.run(plan.nodes, plan.stages, partial(read_value, session.worker.store, plan)))


def attest(
    request: BuildRequest,
    session: BuildSession,
    plan: Plan,
    image: FinishedImage,
    names: Sequence[str],
    records: Mapping[int, Record],
    started: float,
) -> tuple[Predicate, ...]:
    """Return what is to be attested of an image of the build that began at `started` (seconds since 1970)."""
    if not request.attest:
        return ()
    from buildah_py.api.attesting import provenance
    from buildah_py.attest.bill import bill_of_materials

    wanted, worker = request.attest, session.worker
    found = []
    if wanted.sbom is not None:
        name = familiar_name(names[0]) if names else ""
        check = worker.cancellation.check
        with meter.start("listing packages", waits=True):
            found.append(bill_of_materials(wanted.sbom, worker.store, image.config, name, worker.reporter.warn, check))
    if wanted.provenance is not None:
        build = build_id(worker.store.lease.name)
        found.append(provenance(wanted.provenance, request, session, plan, records, build, started))
    return tuple(found)


def put_down(
    request: BuildRequest,
    session: BuildSession,
    plan: Plan,
    plans: Sequence[Plan],
    results: Mapping[int, Result],
    image: FinishedImage,
    names: Sequence[str],
) -> tuple[list[str], bytes | None]:
    """Return what the checks find, and for an image with a name the record of how to build it again."""
    nodes, used = plan.nodes, results
    if len(plans) > 1:
        request = replace(request, platform=plan.platform)
        needed = plan.needed()
        nodes = tuple(node for node in nodes if node.index in needed)
        used = {index: results[index] for index in needed}
    look = partial(_find_faults, request, session, plan.bases)
    if not names:
        return look(), None
    layers = {one for result in used.values() for one in result.layers}
    before = session.worker.store.images.build_of(image.id)
    return warned(before, partial(record, request, session, nodes, layers, names, before), look)


def read_value(store: Store, plan: NeedsValue, results: Mapping[int, Result]) -> str:
    """Give what the last node of a plan that waits for it has printed."""
    from buildah_py.engine.ops.capture import read_output

    return read_output(store, results[plan.nodes[-1].index])


def build_options(request: BuildRequest, session: BuildSession) -> BuildOptions:
    """Give what a record of the build says of its options."""
    from buildah_py.explain.record_file import BuildOptions

    return BuildOptions(
        session.build_file.source.name, request.target, request.platform, request.network, session.settled.build_args
    )


def _recorder(request: BuildRequest) -> Recorder | None:
    if not request.record:
        return None
    from buildah_py.explain.record_file import Recorder

    return Recorder()


def make_room(store: Store, request: BuildRequest, emit: Callable[[Event], None]) -> None:
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


def _find_faults(
    request: BuildRequest, session: BuildSession, bases: Mapping[tuple[str, str], ImageConfig]
) -> list[str]:
    """Ask the checks about the build file; a line for each finding."""
    from buildah_py.api.checks import check_build

    build_file = session.build_file
    found = check_build(
        build_file,
        session.main.ignore(request.sources.ignore_file),
        build_args=session.settled.build_args,
        target=request.target,
        platform=request.platform,
        contexts=session.named,
        env=request.env,
        bases=bases,
    )
    return [f"{build_file.source.name}:{one.line}: {one.rule}: {one.message}" for one in found]

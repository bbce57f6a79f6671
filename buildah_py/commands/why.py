"""Why a build would hit or miss at each step, without building: against the records here, or another build's."""

from __future__ import annotations

from typing import TYPE_CHECKING

from buildah_py.api.build import build_options
from buildah_py.api.opening import open_build, plan_options, refuse_what_is_not_allowed
from buildah_py.cache import Record
from buildah_py.cache.differences import UNKNOWN
from buildah_py.cache.explain import explain_miss
from buildah_py.engine.dry_run import DryRun, LayersStay
from buildah_py.engine.ops.capture import read_output
from buildah_py.errors import UsageError
from buildah_py.explain.report import FOLLOWS, MISS, UNKNOWN_YET, Nearest, Report, StepReport, follows, head_of
from buildah_py.frozen import replace
from buildah_py.plan import NeedsValue, make_plans
from buildah_py.sharing.options import CacheOptions
from buildah_py.store.names import full_name

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from buildah_py.api.opening import BuildSession
    from buildah_py.api.request import BuildRequest
    from buildah_py.cache import Cache
    from buildah_py.cache.records import CachePolicy
    from buildah_py.engine.dry_run import DryStep
    from buildah_py.explain.record_file import BuildRecord
    from buildah_py.plan import Node
    from buildah_py.store import Store


def why(request: BuildRequest, *, against: str = "", fetch: bool = False) -> Report:
    """Say for each step whether it would hit, and if not, what differs from the nearest record.

    With `against`, a file that `--record` wrote, what differs from that build instead. With `fetch`, what ADD names on
    the network is fetched. Nothing is built, and nothing written but what is remembered of the context's files.

    Raises what planning a build raises, and CacheError for a file that is not a record.
    """
    other = None
    if against:
        from buildah_py.explain.record_file import read_record_file

        other = read_record_file(against)
    # Other caches are not looked at: that would be fetched and kept.
    request = replace(request, caching=CacheOptions())
    names, stay = [full_name(name) for name in request.names], LayersStay()
    with open_build(request, names, lambda _: None, registries=request.registries, provider=stay) as session:
        worker, policy = session.worker, session.policy
        if other is not None:  # keys are compared, whatever else would hit here
            worker = worker._replace(observe="off")
        cache = worker.cache
        dry_run = DryRun(worker, record_finder(worker.store, cache, policy, other), fetch=fetch)
        nodes, totals, note = plan_unexecuted(request, session, dry_run)
        steps = dry_run.look(nodes)
        if other is not None:
            from buildah_py.explain.against import compare

            return compare(build_options(request, session), cache, steps, totals, other, against, note)
        texts = frozenset((node.stage, node.text) for node in nodes)
        reports = [_report(cache, policy, one, steps, totals, texts) for one in steps]
        return Report(tuple(reports), note)


def select(report: Report, wanted: str) -> Report:
    """Leave what the word asks for: `all`, a step's number in the build (`3`, `#3`), a stage, or `STAGE/NUMBER`.

    Raises UsageError where there is no such step.
    """
    if wanted == "all":
        return report
    stage, _, number = wanted.removeprefix("#").rpartition("/")
    chosen = [one for one in report.steps if number.isdecimal() and stage and _is_place(one, stage, int(number))]
    chosen = chosen or [one for one in report.steps if one.stage and one.stage == wanted.lower()]
    chosen = chosen or [one for one in report.steps if not stage and number.isdecimal() and one.id == int(number)]
    if not chosen:
        stages = ", ".join(dict.fromkeys(one.stage for one in report.steps if one.stage))
        hint = f"steps have numbers from 1 to {len(report.steps)}" + (f"; stages: {stages}" if stages else "")
        raise UsageError(f"there is no step `{wanted}`", hint=hint)
    return replace(report, steps=tuple(chosen))


def _is_place(one: StepReport, stage: str, number: int) -> bool:
    return one.stage == stage.lower() and one.number == number


# planning without executing


def plan_unexecuted(
    request: BuildRequest, session: BuildSession, dry_run: DryRun
) -> tuple[Sequence[Node], Mapping[str, int], str]:
    """Plan as far as that can be known; the nodes, how many each stage has, and why there are no more."""
    store = session.worker.store
    options = plan_options(request, session)
    values: list[str] = []
    while True:
        plans = make_plans(session.build_file, options, values)
        plan = plans if isinstance(plans, NeedsValue) else plans[0]
        refuse_what_is_not_allowed(plan.nodes, request)
        if not isinstance(plan, NeedsValue):
            return plan.nodes, plan.stages, ""
        dry_run.look(plan.nodes)
        last = plan.nodes[-1]
        result = dry_run.result(last)
        if result is None or store.layers.missing(result.layers):
            return plan.nodes, plan.stages, f"what follows `{last.text}` is not known before that has run"
        values.append(read_output(store, result))


def record_finder(
    store: Store, cache: Cache, policy: CachePolicy, other: BuildRecord | None
) -> Callable[[Node, str], Record | None]:
    """Give what finds the record of a key that a build would use; or else that of the other build."""
    theirs = {one.key: one for one in other.steps if one.ingredients} if other else {}

    def find(node: Node, key: str) -> Record | None:
        record = cache.lookup(key)
        if record is not None and other is not None:
            return record
        if record is not None and not policy.forbids(node.stage) and not policy.is_too_old(record.made):
            layer = store.layers.get(record.diff_id)
            if layer is not None and (layer.absent or store.layers.is_there(record.diff_id)):
                return record
        step = theirs.get(key)
        if step is None or step.ingredients is None:
            return None
        known = {name: digest for name, digest in step.ingredients.inputs.items() if digest is not None}
        return Record(
            key, str(step.ingredients.parent), step.ingredients.canonical, known, step.content, step.diff_id, 0, 0
        )

    return find


# against the records here


def _report(
    cache: Cache,
    policy: CachePolicy,
    one: DryStep,
    steps: Sequence[DryStep],
    totals: Mapping[str, int],
    texts: frozenset[tuple[str, str]],
) -> StepReport:
    head = head_of(one, totals)
    if one.ingredients is None:
        return head
    if one.record is not None:
        return head._replace(nearest=_nearest(one.record), reason=one.read)
    found = explain_miss(cache, policy, one.ingredients, one.key, one.lists, texts)
    report = head._replace(
        verdict=MISS,
        reason=found.reason,
        nearest=_nearest(found.nearest) if found.nearest else None,
        differences=found.differences,
    )
    if one.read:
        return report._replace(reason=one.read)
    if one.key is not None or policy.forbids(one.node.stage) or found.nearest is None:
        return report
    if any(difference.kind != UNKNOWN for difference in found.differences):
        return report
    if one.unknown and not one.roots:
        return report._replace(verdict=UNKNOWN_YET, reason=one.unknown)
    return report._replace(verdict=FOLLOWS, reason=follows(one, steps))


def _nearest(record: Record) -> Nearest:
    about = record.about
    return Nearest(record.key, record.made, record.seconds, about.pybuild, about.text, record.source)

"""Why a build would hit or miss at each step, without building: against the records here, or another build's."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from buildah_py.api.build import build_options
from buildah_py.api.opening import open_build, plan_options, read_output, refuse_what_is_not_allowed
from buildah_py.cache import Record
from buildah_py.cache.differences import UNKNOWN
from buildah_py.engine.foresight import Foresight, LayersStay
from buildah_py.engine.reasons import explain_miss
from buildah_py.errors import UsageError
from buildah_py.explain.report import FOLLOWS, MISS, UNKNOWN_YET, Nearest, Report, StepReport, follows, head_of
from buildah_py.plan import make_plan
from buildah_py.sharing.options import CacheOptions
from buildah_py.store.names import full_name

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from buildah_py.api.build import BuildRequest
    from buildah_py.api.opening import Session
    from buildah_py.cache import Cache
    from buildah_py.engine.foresight import Foreseen
    from buildah_py.engine.reasons import LookUp
    from buildah_py.explain.record_file import BuildRecord
    from buildah_py.plan import Node, Plan, PlanOptions
    from buildah_py.store import Store


class _Stop(Exception):
    """Planning has come to what only execution could tell."""

    def __init__(self, node: Node) -> None:
        super().__init__(node)
        self.node = node


def why(request: BuildRequest, *, against: str = "", fetch: bool = False) -> Report:
    """Say for each step whether it would hit, and if not, what differs from the nearest record.

    With `against`, a file that `--record` wrote, what differs from that build instead. With `fetch`, what ADD names on
    the network is fetched. Nothing is built, and nothing written but what is remembered of the context's files.

    Raises what planning a build raises, and CacheError for a file that is no record.
    """
    other = None
    if against:
        from buildah_py.explain.record_file import read_record_file

        other = read_record_file(against)
    # What other caches hold is not looked at: that would be fetched and kept.
    request = replace(request, caching=CacheOptions())
    with open_build(request, [full_name(name) for name in request.names], lambda _: None, LayersStay()) as opened:
        cache, lookup = opened.cache, opened.lookup
        foresight = Foresight(opened.workshop, _finder(opened.store, cache, lookup, other), fetch=fetch)
        nodes, totals, note = _plan(opened, foresight)
        steps = foresight.look(nodes)
        if other is not None:
            from buildah_py.explain.against import compare

            return compare(build_options(request, opened.build_file), cache, steps, totals, other, against, note)
        texts = frozenset((node.stage, node.text) for node in nodes)
        reports = [_report(cache, lookup, one, steps, totals, texts) for one in steps]
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


def _plan(opened: Session, foresight: Foresight) -> tuple[Sequence[Node], Mapping[str, int], str]:
    request, store = opened.request, opened.store
    seen: list[tuple[Sequence[Node], Mapping[str, int]]] = []

    def evaluate(nodes: Sequence[Node], stages: Mapping[str, int]) -> str:
        seen.append((nodes, stages))
        refuse_what_is_not_allowed(nodes, request)
        foresight.look(nodes)
        result = foresight.result(nodes[-1])
        if result is None or store.layers.missing(result.layers):
            raise _Stop(nodes[-1])
        return read_output(opened.workshop, result)

    options: PlanOptions = plan_options(request, opened.images, evaluate, opened.named)
    try:
        plan: Plan = make_plan(opened.build_file, options)
    except _Stop as stop:
        nodes, totals = seen[-1]
        return list(nodes), dict(totals), f"what follows `{stop.node.text}` is not known before that has run"
    refuse_what_is_not_allowed(plan.nodes, request)
    return plan.nodes, plan.stages, ""


def _finder(
    store: Store, cache: Cache, lookup: LookUp, other: BuildRecord | None
) -> Callable[[Node, str], Record | None]:
    """Give what finds the record of a key that a build would use; or else that of the other build."""
    theirs = {one.key: one for one in other.steps if one.ingredients} if other else {}

    def find(node: Node, key: str) -> Record | None:
        record = cache.lookup(key)
        if record is not None and other is not None:
            return record
        if record is not None and not lookup.forbidden(node.stage) and not lookup.is_too_old(record.made):
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
    lookup: LookUp,
    one: Foreseen,
    steps: Sequence[Foreseen],
    totals: Mapping[str, int],
    texts: frozenset[tuple[str, str]],
) -> StepReport:
    head = head_of(one, totals)
    if one.ingredients is None:
        return head
    if one.record is not None:
        return head._replace(nearest=_nearest(one.record))
    found = explain_miss(cache, lookup, one.ingredients, one.key, one.lists, texts)
    report = head._replace(
        verdict=MISS,
        reason=found.reason,
        nearest=_nearest(found.nearest) if found.nearest else None,
        differences=found.differences,
    )
    if one.key is not None or lookup.forbidden(one.node.stage) or found.nearest is None:
        return report
    if any(difference.kind != UNKNOWN for difference in found.differences):
        return report
    if one.unknown and not one.roots:
        return report._replace(verdict=UNKNOWN_YET, reason=one.unknown)
    return report._replace(verdict=FOLLOWS, reason=follows(one, steps))


def _nearest(record: Record) -> Nearest:
    about = record.about
    return Nearest(record.key, record.made, record.seconds, about.pybuild, about.text, record.source)

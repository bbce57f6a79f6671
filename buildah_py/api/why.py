"""Why a build would hit or miss at each step, without building: against the records here, or another build's."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, NamedTuple

from buildah_py import __version__
from buildah_py.api.build import open_build, plan_options, read_output, refuse_what_is_not_allowed
from buildah_py.api.caching import CacheOptions
from buildah_py.api.images import full_name
from buildah_py.cache import Record
from buildah_py.cache.differences import OWN, UNKNOWN, Difference, differences, summary
from buildah_py.cache.keys import KEY_VERSION
from buildah_py.engine.foresight import Foresight
from buildah_py.engine.reasons import explain_miss
from buildah_py.errors import UsageError
from buildah_py.plan import make_plan
from buildah_py.plan.steps import BaseStep

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from buildah_py.api.build import BuildRequest, Opened
    from buildah_py.api.record_file import BuildRecord, RecordedStep
    from buildah_py.cache import Cache
    from buildah_py.engine.foresight import Foreseen
    from buildah_py.engine.reasons import LookUp
    from buildah_py.plan import Node, Plan, PlanOptions
    from buildah_py.store import Store

HIT = "hit"
MISS = "miss"
FOLLOWS = "follows"
UNKNOWN_YET = "unknown"
SAME = "same"
DIFFERS = "differs"
ONLY_HERE = "only here"
ONLY_THERE = "only there"


class Nearest(NamedTuple):
    """The record that a step was compared with: `made` is when, in ns since 1970; `pybuild` by which version."""

    key: str
    made: int
    seconds: float
    pybuild: str
    text: str
    source: str


class StepReport(NamedTuple):
    """What would become of a step, and why.

    `verdict` is HIT, MISS, FOLLOWS (its own ingredients are known ones, and it depends on a step that misses) or
    UNKNOWN_YET; when compared with another build SAME, DIFFERS, FOLLOWS, UNKNOWN_YET, ONLY_HERE or ONLY_THERE.
    """

    id: int
    stage: str
    number: int
    total: int
    text: str
    place: str
    verdict: str
    reason: str = ""
    key: str | None = None
    nearest: Nearest | None = None
    differences: tuple[Difference, ...] = ()


@dataclass(frozen=True, slots=True)
class Report:
    """What was found of all steps. `against` is the file of the other build, whose `facts` differ beside the steps.

    `note` says why steps are missing at the end.
    """

    steps: tuple[StepReport, ...]
    note: str = ""
    against: str = ""
    facts: tuple[Difference, ...] = ()


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
        from buildah_py.api.record_file import read_record_file

        other = read_record_file(against)
    # What other caches hold is not looked at: that would be fetched and kept.
    request = replace(request, caching=CacheOptions())
    with open_build(request, [full_name(name) for name in request.names], lambda _: None) as opened:
        cache, lookup = opened.cache, opened.lookup
        foresight = Foresight(opened.workshop, _finder(opened.store, cache, lookup, other), fetch=fetch)
        nodes, totals, note = _plan(opened, foresight)
        steps = foresight.look(nodes)
        if other is not None:
            return _compare(request, cache, steps, totals, other, against, note)
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


def _plan(opened: Opened, foresight: Foresight) -> tuple[Sequence[Node], Mapping[str, int], str]:
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
            key, str(step.ingredients.parent), step.ingredients.canonical, known, step.layer_digest, step.diff_id, 0, 0
        )

    return find


# against the records here


def _head(one: Foreseen, totals: Mapping[str, int]) -> StepReport:
    node = one.node
    return StepReport(
        node.index + 1, node.stage, node.number, totals.get(node.stage, 0), node.text, node.place, HIT, "", one.key
    )


def _report(
    cache: Cache,
    lookup: LookUp,
    one: Foreseen,
    steps: Sequence[Foreseen],
    totals: Mapping[str, int],
    texts: frozenset[tuple[str, str]],
) -> StepReport:
    head = _head(one, totals)
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
    return report._replace(verdict=FOLLOWS, reason=_follows(one, steps))


def _follows(one: Foreseen, steps: Sequence[Foreseen]) -> str:
    labels = [_label(steps[root].node) for root in one.roots]
    return f"follows from step {' and step '.join(labels)}" if labels else one.unknown


def _label(node: Node) -> str:
    return f"{node.number} of {node.stage}" if node.stage else str(node.number)


def _nearest(record: Record) -> Nearest:
    about = record.about
    return Nearest(record.key, record.made, record.seconds, about.pybuild, about.text, record.source)


# against another build


def _compare(
    request: BuildRequest,
    cache: Cache,
    steps: Sequence[Foreseen],
    totals: Mapping[str, int],
    other: BuildRecord,
    path: str,
    note: str,
) -> Report:
    pairs = _pairs(steps, other.steps)
    paired = {id(theirs) for theirs in pairs.values()}
    reports = [_against(cache, one, pairs.get(one.node.index), steps, totals, other) for one in steps]
    reports += (
        StepReport(0, theirs.stage, theirs.number, 0, theirs.text, "", ONLY_THERE)
        for theirs in other.steps
        if id(theirs) not in paired and not note
    )
    return Report(tuple(reports), note, path, tuple(_facts(request, other)))


def _pairs(ours: Sequence[Foreseen], theirs: Sequence[RecordedStep]) -> dict[int, RecordedStep]:
    """Find the step of the other build for each of ours: the same text in the same stage, else the same place."""
    found: dict[int, RecordedStep] = {}
    left = list(theirs)

    def take(one: Foreseen, fits: Callable[[RecordedStep], bool]) -> None:
        if one.node.index not in found:
            for other in left:
                if other.stage == one.node.stage and (other.base is None) != (one.ingredients is None) and fits(other):
                    found[one.node.index] = other
                    left.remove(other)
                    return

    for one in ours:
        take(one, lambda other, node=one.node: other.text == node.text and other.number == node.number)  # type: ignore[misc]
    for one in ours:
        take(one, lambda other, node=one.node: other.text == node.text)  # type: ignore[misc]
    for one in ours:
        take(one, lambda other, one=one: other.number == one.node.number and _kind(other) == _kind_of(one))  # type: ignore[misc]
    return found


def _kind(other: RecordedStep) -> str:
    return other.ingredients.kind if other.ingredients else ""


def _kind_of(one: Foreseen) -> str:
    return one.ingredients.kind if one.ingredients else ""


def _against(
    cache: Cache,
    one: Foreseen,
    theirs: RecordedStep | None,
    steps: Sequence[Foreseen],
    totals: Mapping[str, int],
    other: BuildRecord,
) -> StepReport:
    head = _head(one, totals)
    if theirs is None:
        return head._replace(verdict=ONLY_HERE, reason="the other build has no such step")
    if theirs.base is not None and isinstance(one.node.step, BaseStep):
        step = one.node.step
        if (step.name, step.image) == theirs.base:
            return head._replace(verdict=SAME)
        before, after = (" ".join(filter(None, pair)) for pair in (theirs.base, (step.name, step.image)))
        phrase = f"base {step.name}: {_of_base(before)} there, {_of_base(after)} here"
        return head._replace(
            verdict=DIFFERS, reason=phrase, differences=(Difference(OWN, "base", before, after, phrase),)
        )
    assert one.ingredients is not None
    assert theirs.ingredients is not None

    def load(digest: str) -> bytes | None:
        return one.lists[digest]() if digest in one.lists else cache.input_list(digest)

    if one.key is not None and one.key == theirs.key:
        if one.record is not None and one.record.layer_digest != theirs.layer_digest:
            phrase = "the same key, and yet another result: the step does not make the same each time"
            result = Difference(OWN, "result", theirs.layer_digest, one.record.layer_digest, phrase)
            return head._replace(verdict=DIFFERS, reason=phrase, differences=(result,))
        return head._replace(verdict=SAME)
    found = differences(theirs.ingredients, one.ingredients, other.input_list, load)
    report = head._replace(verdict=DIFFERS, differences=tuple(found))
    if any(difference.kind != UNKNOWN for difference in found) or not found:
        return report._replace(reason=summary(found) if found else "the keys differ, and nothing that they are made of")
    if one.unknown and not one.roots and any(difference.kind == UNKNOWN for difference in found):
        return report._replace(verdict=UNKNOWN_YET, reason=one.unknown)
    return report._replace(verdict=FOLLOWS, reason=_follows(one, steps) if one.roots else summary(found))


def _of_base(text: str) -> str:
    name, _, image = text.rpartition(" ")
    return f"{name} {image.removeprefix('sha256:')[:12]}".strip()


def _facts(request: BuildRequest, other: BuildRecord) -> list[Difference]:
    """Say what differs of the builds as wholes."""
    found: list[Difference] = []

    def compare(what: str, there: object, here: object) -> None:
        if there != here:
            one, two = (None if value is None else str(value) for value in (there, here))
            shown = [repr(text) if text else "not given" for text in (one, two)]
            found.append(Difference(OWN, what, one, two, f"{what}: {shown[0]} there, {shown[1]} here"))

    compare("pybuild's version", other.pybuild, __version__)
    if other.key_version != KEY_VERSION:
        phrase = f"the version of keys: {other.key_version} there, {KEY_VERSION} here: no step can hit"
        found.append(Difference(OWN, "version of keys", str(other.key_version), str(KEY_VERSION), phrase))
    for name in ("target", "platform", "network"):
        compare(f"--{name}", other.build.get(name, ""), getattr(request, name))
    given = other.build.get("build_args")
    theirs = given if isinstance(given, dict) else {}
    from buildah_py.plan.variables import PROXY_NAMES

    for name in sorted((theirs.keys() | request.build_args.keys()) - PROXY_NAMES):
        compare(f"--build-arg {name}", theirs.get(name), request.build_args.get(name))
    return found

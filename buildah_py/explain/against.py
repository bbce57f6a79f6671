"""How the steps of a build differ from those of another one, which a file describes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from buildah_py.buildfile.variables import PROXY_NAMES
from buildah_py.cache.differences import OWN, UNKNOWN, Difference, differences, summary
from buildah_py.cache.keys import KEY_VERSION
from buildah_py.errors import PybuildError
from buildah_py.explain.report import (
    DIFFERS,
    FOLLOWS,
    ONLY_HERE,
    ONLY_THERE,
    SAME,
    UNKNOWN_YET,
    Report,
    StepReport,
    follows,
    head_of,
)
from buildah_py.plan.steps import BaseStep
from buildah_py.version import __version__

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from buildah_py.cache import Cache
    from buildah_py.engine.dry_run import DryStep
    from buildah_py.explain.record_file import BuildOptions, BuildRecord, RecordedStep


def compare(
    options: BuildOptions,
    cache: Cache,
    steps: Sequence[DryStep],
    totals: Mapping[str, int],
    other: BuildRecord,
    path: str,
    note: str,
) -> Report:
    """Pair the steps, and say what differs; `totals` give the number of steps of each stage."""
    pairs = _pairs(steps, other.steps)
    paired = {id(theirs) for theirs in pairs.values()}
    reports = [_against(cache, one, pairs.get(one.node.index), steps, totals, other) for one in steps]
    reports += (
        StepReport(0, theirs.stage, theirs.number, 0, theirs.text, "", ONLY_THERE)
        for theirs in other.steps
        if id(theirs) not in paired and not note
    )
    return Report(tuple(reports), note, path, tuple(_facts(options, other)))


def _pairs(ours: Sequence[DryStep], theirs: Sequence[RecordedStep]) -> dict[int, RecordedStep]:
    """Find the step of the other build for each of ours: the same text in the same stage, else the same place."""
    found: dict[int, RecordedStep] = {}
    left = list(theirs)

    def take(one: DryStep, fits: Callable[[RecordedStep], bool]) -> None:
        if one.node.index not in found:
            for other in left:
                if other.stage == one.node.label and (other.base is None) != (one.ingredients is None) and fits(other):
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


def _kind_of(one: DryStep) -> str:
    return one.ingredients.kind if one.ingredients else ""


def _against(
    cache: Cache,
    one: DryStep,
    theirs: RecordedStep | None,
    steps: Sequence[DryStep],
    totals: Mapping[str, int],
    other: BuildRecord,
) -> StepReport:
    head = head_of(one, totals)
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
        if one.record is not None and one.record.content != theirs.content:
            phrase = "the same key, and yet another result: the step does not make the same each time"
            result = Difference(OWN, "result", theirs.content, one.record.content, phrase)
            return head._replace(verdict=DIFFERS, reason=phrase, differences=(result,))
        return head._replace(verdict=SAME)
    found = differences(theirs.ingredients, one.ingredients, other.input_list, load)
    report = head._replace(verdict=DIFFERS, differences=tuple(found))
    if any(difference.kind != UNKNOWN for difference in found) or not found:
        return report._replace(reason=summary(found) if found else "the keys differ, and nothing that they are made of")
    if one.unknown and not one.roots and any(difference.kind == UNKNOWN for difference in found):
        return report._replace(verdict=UNKNOWN_YET, reason=one.unknown)
    reason = follows(one, steps) if one.roots else summary(found)
    return report._replace(verdict=FOLLOWS, reason=reason + _read(one, theirs))


def _read(one: DryStep, theirs: RecordedStep) -> str:
    """Say what of the files that a step read there is different here, where that is known."""
    if theirs.learned is None or one.slots is None:
        return ""
    try:
        unlike = theirs.learned.unlike(one.slots())
    except PybuildError:  # layers that are not here
        return ""
    return f"; {unlike.text}" if unlike is not None else "; nothing that it read there is different here"


def _of_base(text: str) -> str:
    name, _, image = text.rpartition(" ")
    return f"{name} {image.removeprefix('sha256:')[:12]}".strip()


def _facts(options: BuildOptions, other: BuildRecord) -> list[Difference]:
    """Say what differs of the builds as wholes."""
    found: list[Difference] = []

    def note(what: str, there: object, here: object) -> None:
        if there != here:
            one, two = (None if value is None else str(value) for value in (there, here))
            shown = [repr(text) if text else "not given" for text in (one, two)]
            found.append(Difference(OWN, what, one, two, f"{what}: {shown[0]} there, {shown[1]} here"))

    note("pybuild's version", other.pybuild, __version__)
    if other.key_version != KEY_VERSION:
        phrase = f"the version of keys: {other.key_version} there, {KEY_VERSION} here: no step can hit"
        found.append(Difference(OWN, "version of keys", str(other.key_version), str(KEY_VERSION), phrase))
    for name in ("target", "platform", "network"):
        note(f"--{name}", other.build.get(name, ""), getattr(options, name))
    given = other.build.get("build_args")
    theirs = given if isinstance(given, dict) else {}
    for name in sorted((theirs.keys() | options.build_args.keys()) - PROXY_NAMES):
        note(f"--build-arg {name}", theirs.get(name), options.build_args.get(name))
    return found

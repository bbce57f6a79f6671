"""The report of `pybuild why` as lines for people."""

from __future__ import annotations

from typing import TYPE_CHECKING

from buildah_py.cli.tables import one_line

if TYPE_CHECKING:
    from buildah_py.cache.differences import Difference
    from buildah_py.explain.report import Report, StepReport

_SHOWN_FILES = 20
_WIDTH = 60


def lines(report: Report) -> list[str]:
    """Return the report for people."""
    found = [f"compared with {one_line(report.against)}"] if report.against else []
    found += (f"  {one_line(fact.phrase)}" for fact in report.facts)
    for step in report.steps:
        told = _step(step, "DIFFERS" if report.against else "MISS")
        found += ["", *told] if found else told
    if any(step.verdict == "follows" for step in report.steps):
        found += [
            "",
            "A step that only follows from others hits after all where those make the same content as before.",
        ]
    if report.note:
        found += ["", one_line(report.note)]
    return found


def title(step: StepReport) -> str:
    """Return the title of a step: its number in the build, its place, its text."""
    place = f"{step.stage} {step.number}/{step.total}".strip() if step.total else f"{step.stage} {step.number}".strip()
    return f"{f'#{step.id} ' if step.id else ''}[{place}] {' '.join(step.text.split())}"


def _step(step: StepReport, follows: str) -> list[str]:
    from buildah_py.cache.differences import UNKNOWN
    from buildah_py.explain.report import FOLLOWS

    found = [one_line(title(step))]
    verdict = follows if step.verdict == FOLLOWS else step.verdict.upper()
    found.append(f"  {verdict}{f': {one_line(step.reason)}' if step.reason else ''}")
    if step.nearest is not None and step.verdict not in ("hit", "same"):
        found.append(f"  nearest record: {nearest(step)}")
    for one in step.differences:
        if one.kind != UNKNOWN:
            found += _difference(one)
    return found


def nearest(step: StepReport) -> str:
    """Say which record a step was compared with."""
    from datetime import UTC, datetime

    record = step.nearest
    assert record is not None
    made = datetime.fromtimestamp(record.made / 1e9, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
    by = f" by pybuild {one_line(record.pybuild)}" if record.pybuild else ""
    source = f", from {one_line(record.source)}" if record.source else ""
    text = "" if record.text == step.text else f", of `{one_line(' '.join(record.text.split()), _WIDTH)}`"
    return f"made {made}{by} in {record.seconds:.1f}s{source}{text}"


def _difference(one: Difference) -> list[str]:
    if not one.files:
        if one.before is None and one.after is None:
            return [f"    {one_line(one.phrase)}"]
        before, after = (_value(value) for value in (one.before, one.after))
        return [f"    {one_line(one.what)}: {before} → {after}"]
    found = [f"    {one_line(one.what)}:"]
    for file in one.files[:_SHOWN_FILES]:
        what = one_line(file.what)
        values = f" {_value(file.before)} → {_value(file.after)}" if file.before or file.after else ""
        found.append(f"      {one_line(file.path)}: {what}{values}")
    if len(one.files) > _SHOWN_FILES:
        found.append(f"      and {len(one.files) - _SHOWN_FILES} more; --format json lists them all")
    return found


def _value(value: str | None) -> str:
    if value is None:
        return "(none)"
    if value.startswith("sha256:"):
        return value[7:19]
    return one_line(value, _WIDTH) or '""'

"""Projects of the oracle, built by a script where there is but a shell, such as in a cage."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING

from hypothesis import HealthCheck, Phase, given, seed, settings

from tests.truth.histories import histories
from tests.truth.images import Failure, read_archive, without_arbitrary
from tests.truth.projects import Mounted, render

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from tests.truth.images import Outcome
    from tests.truth.inputs import Build


def projects(number: int, *, start: int) -> list[Build]:
    """Give so many projects; `start` makes them others."""
    found: list[Build] = []
    chosen = settings(
        max_examples=number,
        database=None,
        deadline=None,
        phases=(Phase.generate,),
        suppress_health_check=tuple(HealthCheck),
    )
    seed(start)(chosen(given(histories(1))(lambda history: found.append(render(history.project, Mounted())))))()
    return found


def script(builds: Sequence[Build], out: Path, kind: str, program: str, first: Sequence[str]) -> str:
    """Give a script that builds projects, which lie in `out` by their numbers, after commands that are `first`.

    Archives and errors go there too, under names with the `kind`.
    """
    lines = [f"{program} {words}" for words in first]
    for number, build in enumerate(builds):
        words = [f"--build-arg={name}={value}" for name, value in build.args.items()]
        words += [f"--target={build.target}"] if build.target else []
        words += [f"--source-date-epoch={build.epoch}"] if build.epoch is not None else []
        words += ["--rewrite-timestamp"] if build.rewrite else []
        words += ["-f", f"{out}/{number}.file", "-o", f"type=oci,dest={out}/{number}.{kind}.tar", f"{out}/{number}"]
        if build.base:
            lines.append(f"{program} build -q -t onb {out}/{number}.onb")
        lines.append(f"{program} build --network=host -q {shlex.join(words)} 2>{out}/{number}.{kind} || true")
    return "\n".join([*lines, f"{program} fsck"])


def outcome(out: Path, number: int, kind: str, epoch: int | None) -> Outcome:
    """Read what the script has left of a project."""
    archive = out / f"{number}.{kind}.tar"
    if archive.exists():
        return without_arbitrary(read_archive(str(archive), 1), epoch=epoch)
    return Failure((out / f"{number}.{kind}").read_text(), fault=False)

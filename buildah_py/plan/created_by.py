"""Texts for instructions in the history of an image, in the forms that readers of `docker history` know."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from buildah_py.plan.steps import CopyStep

_MARK = "# pybuild"


def pairs(keyword: str, values: Sequence[tuple[str, str]]) -> str:
    """ENV and LABEL."""
    return " ".join([keyword, *(f"{key}={value}" for key, value in values)])


def command(keyword: str, args: Sequence[str]) -> str:
    """CMD, ENTRYPOINT and SHELL, always in exec form."""
    return f"{keyword} {json.dumps(list(args), ensure_ascii=False)}"


def run(args: Sequence[str], arguments: Mapping[str, str]) -> str:
    """RUN, with the number and values of the ARGs that it saw."""
    seen = [f"|{len(arguments)}", *(f"{name}={value}" for name, value in arguments.items())] if arguments else []
    return " ".join(["RUN", *seen, *args, _MARK])


def copy(keyword: str, names: Sequence[str], step: CopyStep, destination: str) -> str:
    """COPY and ADD, with the flags that change the result."""
    flags = [f"--chown={step.chown}"] * bool(step.chown) + [f"--chmod={step.chmod}"] * bool(step.chmod)
    return " ".join([keyword, *flags, *names, destination, _MARK])

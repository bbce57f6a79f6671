"""SOURCE_DATE_EPOCH: no time in an image is later (reproducible-builds.org/specs/source-date-epoch)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from buildah_py.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Mapping

NAME = "SOURCE_DATE_EPOCH"


def read_epoch(option: str | None, build_args: Mapping[str, str], environ: Mapping[str, str]) -> int | None:
    """The seconds that the option, a build argument or the environment say; None where nobody does.

    Raises UsageError.
    """
    text = option if option is not None else build_args.get(NAME, environ.get(NAME, ""))
    if not text:
        return None
    if not text.isdecimal() or not text.isascii() or len(text) > 11:
        raise UsageError(f"{NAME} is `{text}`", hint="it is a number of seconds since 1970")
    return int(text)

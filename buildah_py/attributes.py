"""Values of options in the form of buildx: comma-separated attributes `key=value`.

In all errors, `where` names the option.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from buildah_py.errors import UsageError
from buildah_py.image import numbers
from buildah_py.image.media_types import COMPRESSIONS, UNCOMPRESSED, ZSTD
from buildah_py.suggest import did_you_mean

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


def split(text: str, where: str, *, example: str, quoted: str) -> list[str]:
    """Split a line of comma-separated values; one with commas stands in double quotes. Raises UsageError."""
    if not text.strip():
        raise wrong(where, "it is empty", example)
    if '"' not in text:
        return text.split(",")
    import csv

    try:
        return next(csv.reader([text], strict=True))
    except csv.Error as error:
        raise wrong(where, str(error), f"quotes stand around a whole attribute: {quoted}") from error


def boolean(where: str, values: Mapping[str, str], key: str) -> bool | None:
    """Read a truth value; None where it is missing. Raises UsageError."""
    text = values.get(key)
    if text is None:
        return None
    value = numbers.boolean(text)
    if value is None:
        raise wrong(where, f"`{key}={text}` is neither true nor false", f"write {key}=true or {key}=false")
    return value


def compression(where: str, values: Mapping[str, str]) -> str | None:
    """Read `compression`; None where it is missing. Raises UsageError."""
    name = values.get("compression")
    if name is not None and name not in COMPRESSIONS:
        raise unknown(where, f"there is no compression `{name}`", name, COMPRESSIONS)
    return name


def level(where: str, values: Mapping[str, str]) -> int | None:
    """Read `compression-level`; None where it is missing. Raises UsageError."""
    text = values.get("compression-level")
    if text is None:
        return None
    name = values.get("compression")
    highest = {ZSTD: 22, UNCOMPRESSED: 0}.get(name or "", 9)
    if not 0 <= numbers.decimal(text) <= highest:
        raise wrong(where, f"`{text}` is not a level of {name or 'gzip'}", f"the levels go from 0 to {highest}")
    return int(text)


def unknown(where: str, why: str, name: str, known: Sequence[str]) -> UsageError:
    """Make the error for a name that is not one of `known`."""
    choice = f"choose from {', '.join(known)}" if known else "there are none"
    return wrong(where, why, did_you_mean(name, known) or choice)


def wrong(where: str, why: str, hint: str = "") -> UsageError:
    """Make the error for a faulty attribute."""
    return UsageError(f"{where}: {why}", hint=hint)

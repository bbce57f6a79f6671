"""JSON as pybuild writes it: compact, UTF-8, in the order given; and the reading of JSON that others wrote."""

from __future__ import annotations

from typing import Any

from buildah_py.errors import ImageError
from buildah_py.image.numbers import MOST

MAX_BYTES = 8 << 20
"""Larger metadata is refused: registries allow manifests of 4 MiB, and no config comes near this."""


def to_bytes(value: Any) -> bytes:
    """Encode `value`; dictionaries keep the order in which they were filled.

    Raises ImageError for text that has no UTF-8 form (undecodable bytes kept as surrogate escapes).
    """
    import json

    try:
        return json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False).encode()
    except UnicodeEncodeError as error:
        around = ascii(error.object[max(error.start - 20, 0) : error.end + 20])
        raise ImageError(
            f"the image's metadata holds text that is not UTF-8: {around}",
            hint="image configs are JSON, which knows no other encoding; remove these bytes",
        ) from error


def from_bytes(data: bytes, what: str) -> dict[str, Any]:
    """Decode the JSON object `data`; `what` names it in the ImageError that is raised where it is not one."""
    if len(data) > MAX_BYTES:
        raise ImageError(f"{what} is {len(data)} bytes long; more than {MAX_BYTES} are refused")
    try:
        value = loads(data)
    except ValueError as error:
        raise ImageError(f"{what} is not JSON: {error}") from error
    if not isinstance(value, dict):
        raise ImageError(f"{what} is not a JSON object")
    return value


def loads(data: bytes | str) -> Any:
    """Read JSON that others wrote. Raises ValueError, also where it is nested deeper than it can be read."""
    import json

    try:
        return json.loads(data)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None


def text(raw: dict[str, Any], key: str, what: str) -> str:
    """Return the string `raw[key]`, `""` where it is missing or null."""
    value = raw.get(key)
    if value is None:
        return ""
    if not isinstance(value, str):
        raise ImageError(f"{what}: `{key}` is not a string")
    return value


def number(raw: dict[str, Any], key: str, what: str) -> int:
    """Return the integer `raw[key]`, 0 where it is missing or null."""
    value = raw.get(key)
    if value is None:
        return 0
    if isinstance(value, float) and value.is_integer() and abs(value) <= MOST:
        value = int(value)
    if not isinstance(value, int) or isinstance(value, bool):
        raise ImageError(f"{what}: `{key}` is not an integer")
    if abs(value) > MOST:
        raise ImageError(f"{what}: `{key}` is larger than any number of 64 bits")
    return value


def texts(raw: dict[str, Any], key: str, what: str) -> tuple[str, ...]:
    """Return the list of strings `raw[key]`, empty where it is missing or null."""
    value = raw.get(key)
    if value is None:
        return ()
    if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
        raise ImageError(f"{what}: `{key}` is not a list of strings")
    return tuple(value)


def pairs(raw: dict[str, Any], key: str, what: str) -> dict[str, str]:
    """Return the object of strings `raw[key]`, sorted by key; empty where it is missing or null."""
    value = table(raw, key, what)
    if not all(isinstance(item, str) for item in value.values()):
        raise ImageError(f"{what}: `{key}` holds values that are not strings")
    return dict(sorted(value.items()))


def table(raw: dict[str, Any], key: str, what: str) -> dict[str, Any]:
    """Return the object `raw[key]`, empty where it is missing or null."""
    value = raw.get(key)
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise ImageError(f"{what}: `{key}` is not an object")
    return value


def tables(raw: dict[str, Any], key: str, what: str) -> list[dict[str, Any]]:
    """Return the list of objects `raw[key]`, empty where it is missing or null."""
    value = raw.get(key)
    if value is None:
        return []
    if not isinstance(value, list) or not all(isinstance(item, dict) for item in value):
        raise ImageError(f"{what}: `{key}` is not a list of objects")
    return value

"""What `--output` says: `type=oci,dest=image.tar`, spelled as buildx spells it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from buildah_py.errors import UsageError
from buildah_py.image.media_types import COMPRESSIONS, UNCOMPRESSED, ZSTD
from buildah_py.image.numbers import decimal
from buildah_py.outputs.annotations import LEVELS, Annotation

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

STDOUT: Final = "-"

_CONTENT: Final = (
    "name",
    "compression",
    "compression-level",
    "force-compression",
    "oci-mediatypes",
    "rewrite-timestamp",
)
_REGISTRY: Final = (*_CONTENT, "push", "push-by-digest", "registry.insecure")
_KEYS: Final = {
    "image": _REGISTRY,
    "registry": _REGISTRY,
    "oci": (*_CONTENT, "dest", "tar"),
    "docker": (*_CONTENT, "dest", "tar"),
    "tar": ("dest",),
    "local": ("dest", "mode"),
    "cacheonly": (),
}
ANNOTATED: Final = frozenset({"image", "registry", "oci", "docker"})
_TRUE: Final = frozenset({"1", "t", "T", "TRUE", "true", "True"})
_FALSE: Final = frozenset({"0", "f", "F", "FALSE", "false", "False"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Output:
    """One `--output`. None means that nothing was said; `dest` is `-` for the standard output."""

    type: str
    dest: str | None = None
    tar: bool = True
    names: tuple[str, ...] = ()
    push: bool = False
    push_by_digest: bool = False
    insecure: bool | None = None
    compression: str | None = None
    level: int | None = None
    force_compression: bool = False
    oci_media_types: bool | None = None
    rewrite_timestamp: bool = False
    mode: str = "copy"
    annotations: tuple[Annotation, ...] = ()


def parse(text: str) -> Output:
    """Read one `--output`: a CSV line of `key=value`, or a directory alone, or `-` for a tar on the standard output.

    Raises UsageError that names the faulty part.
    """
    fields = _fields(text)
    if fields == [STDOUT]:
        return Output(type="tar", dest=STDOUT)
    if len(fields) == 1 and "=" not in fields[0]:
        return Output(type="local", dest=fields[0])
    values: dict[str, str] = {}
    for field in fields:
        key, equals, value = field.partition("=")
        if not equals:
            raise _wrong(text, f"`{field}` has no value", "attributes look like dest=FILE")
        bare = key.strip()
        name = bare if bare.lower().startswith("annotation") else bare.lower()
        if name in values:
            raise _wrong(text, f"`{name}` is given twice", "")
        values[name] = value
    return _output(text, values)


def _output(text: str, values: dict[str, str]) -> Output:
    kind = values.pop("type", None)
    if kind is None:
        raise _wrong(text, "it does not say which type", f"the types are {', '.join(_KEYS)}")
    if kind not in _KEYS:
        raise _wrong(text, f"there is no type `{kind}`", _did_you_mean(kind, _KEYS) or f"there are {', '.join(_KEYS)}")
    annotations = tuple(
        _annotation(text, key, values.pop(key))
        for key in list(values)
        if key.lower().startswith("annotation") and kind in ANNOTATED
    )
    for key in values:
        if key not in _KEYS[kind]:
            there = ", ".join(_KEYS[kind]) or "no attributes"
            raise _wrong(
                text, f"type={kind} has no attribute `{key}`", _did_you_mean(key, _KEYS[kind]) or f"it has {there}"
            )
    dest = values.get("dest", STDOUT if kind in ("oci", "tar") else None)  # docker alone is for a daemon
    if dest == "":
        raise _wrong(text, "`dest` is empty", "name a file or a directory")
    if kind == "local" and (dest is None or dest == STDOUT):
        raise _wrong(text, "it does not say which directory", "add dest=DIRECTORY")
    tar = _flag(text, values, "tar", default=True)
    if not tar and (dest is None or dest == STDOUT):
        raise _wrong(text, "tar=false does not say which directory", "add dest=DIRECTORY")
    mode = values.get("mode", "copy")
    if mode not in ("copy", "delete"):
        raise _wrong(text, f"there is no mode `{mode}`", "the modes are copy and delete")
    return Output(
        type="image" if kind == "registry" else kind,
        dest=dest,
        tar=tar,
        names=tuple(name for name in values.get("name", "").split(",") if name),
        push=_flag(text, values, "push", default=kind == "registry"),
        push_by_digest=_flag(text, values, "push-by-digest", default=False),
        insecure=_maybe(text, values, "registry.insecure"),
        compression=_compression(text, values),
        level=_level(text, values),
        force_compression=_flag(text, values, "force-compression", default=False),
        oci_media_types=_maybe(text, values, "oci-mediatypes"),
        rewrite_timestamp=_flag(text, values, "rewrite-timestamp", default=False),
        mode=mode,
        annotations=annotations,
    )


def _fields(text: str) -> list[str]:
    """Split a line of comma-separated values; a value with commas stands in double quotes."""
    if not text.strip():
        raise _wrong(text, "it is empty", "name a directory, or type=...")
    if "\n" in text or "\r" in text:
        raise _wrong(text, "it has several lines", "")
    if '"' not in text:
        return text.split(",")
    import csv

    try:
        return next(csv.reader([text], strict=True))
    except csv.Error as error:
        raise _wrong(text, str(error), 'quotes stand around a whole attribute: "name=a,b"') from error


def _compression(text: str, values: Mapping[str, str]) -> str | None:
    compression = values.get("compression")
    if compression is not None and compression not in COMPRESSIONS:
        raise _wrong(
            text,
            f"there is no compression `{compression}`",
            _did_you_mean(compression, COMPRESSIONS) or f"there are {', '.join(COMPRESSIONS)}",
        )
    return compression


def _level(text: str, values: Mapping[str, str]) -> int | None:
    level = values.get("compression-level")
    if level is None:
        return None
    compression = values.get("compression")
    highest = {ZSTD: 22, UNCOMPRESSED: 0}.get(compression or "", 9)
    if not 0 <= decimal(level) <= highest:
        raise _wrong(text, f"`{level}` is no level of {compression or 'gzip'}", f"the levels go from 0 to {highest}")
    return int(level)


def _flag(text: str, values: Mapping[str, str], key: str, *, default: bool) -> bool:
    said = _maybe(text, values, key)
    return default if said is None else said


def _maybe(text: str, values: Mapping[str, str], key: str) -> bool | None:
    value = values.get(key)
    if value is None:
        return None
    if value in _TRUE:
        return True
    if value in _FALSE:
        return False
    raise _wrong(text, f"`{key}={value}` is neither true nor false", f"write {key}=true or {key}=false")


def _annotation(text: str, name: str, value: str) -> Annotation:
    import re

    match = re.fullmatch(r"annotation(?:-([a-z-]+))?(?:\[([^\]]*)\])?\.(.+)", name)
    if match is None or (match[1] or "manifest") not in LEVELS:
        raise _wrong(
            text,
            f"`{name}` is no annotation",
            f"annotations look like annotation.KEY=VALUE or annotation-LEVEL.KEY=VALUE, LEVEL: {', '.join(LEVELS)}",
        )
    return Annotation(match[1] or "manifest", match[2] or "", match[3], value)


def _did_you_mean(word: str, words: Iterable[str]) -> str:
    from difflib import get_close_matches

    near = get_close_matches(word, list(words), 1)
    return f"did you mean `{near[0]}`?" if near else ""


def _wrong(text: str, why: str, hint: str) -> UsageError:
    return UsageError(f"--output {text}: {why}", hint=hint)

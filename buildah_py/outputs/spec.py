"""Values of `--output`: `type=oci,dest=image.tar`, spelled as buildx spells it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from buildah_py import attributes
from buildah_py.attributes import wrong
from buildah_py.frozen import dataclass, replace
from buildah_py.outputs.annotations import LEVELS, Annotation

if TYPE_CHECKING:
    from collections.abc import Mapping

STDOUT: Final = "-"

_CONTENT: Final = (
    "name",
    "compression",
    "compression-level",
    "force-compression",
    "oci-mediatypes",
    "rewrite-timestamp",
)
_FILES: Final = ("platform-split", "attestation-prefix")
_REGISTRY: Final = (*_CONTENT, "oci-artifact", "push", "push-by-digest", "registry.insecure")
KEYS: Final = {
    "image": _REGISTRY,
    "registry": _REGISTRY,
    "oci": (*_CONTENT, "oci-artifact", "dest", "tar"),
    "docker": (*_CONTENT, "dest", "tar"),
    "tar": ("dest", *_FILES),
    "local": ("dest", "mode", *_FILES),
    "cacheonly": (),
}
"""Types, and the attributes of each."""
_SO_ANYWAY: Final[Mapping[str, Mapping[str, bool | None]]] = {
    "image": {"name-canonical": None, "store": True, "unpack": None},
    "registry": {"name-canonical": None, "unpack": None},
}
"""Attributes of BuildKit's that ask for what is so anyway: with this value, or with either."""
ANNOTATED: Final = frozenset({"image", "registry", "oci", "docker"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Output:
    """One `--output`. None means that nothing was said; `dest` is `-` for the standard output.

    `platform_split` gives each platform a directory, `attestation_prefix` stands in front of the names of files that
    attest something; `oci_artifact` has such manifests be artifacts that refer to their images.
    """

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
    platform_split: bool | None = None
    attestation_prefix: str = ""
    oci_artifact: bool = False
    annotations: tuple[Annotation, ...] = ()


def parse(text: str) -> Output:
    """Read one `--output`: a CSV line of `key=value`, or a directory alone, or `-` for a tar on the standard output.

    Raises UsageError that names the faulty part.
    """
    where = f"--output {text}"
    if "\n" in text or "\r" in text:
        raise wrong(where, "it has several lines")
    fields = attributes.split(text, where, example="name a directory, or type=...", quoted='"name=a,b"')
    if fields == [STDOUT]:
        return Output(type="tar", dest=STDOUT)
    if len(fields) == 1 and "=" not in fields[0]:
        return Output(type="local", dest=fields[0])
    values: dict[str, str] = {}
    for field in fields:
        key, equals, value = field.partition("=")
        if not equals:
            raise wrong(where, f"`{field}` has no value", "attributes look like dest=FILE")
        bare = key.strip()
        name = bare if bare.lower().startswith("annotation") else bare.lower()
        if name in values:
            raise wrong(where, f"`{name}` is given twice")
        values[name] = value
    return _output(where, values)


def with_usual(output: Output, usual: Output) -> Output:
    """Give an output the media types and the compression of another one, as far as it says nothing of them."""
    if output.type not in ANNOTATED:
        return output
    return replace(
        output,
        compression=output.compression or usual.compression,
        level=usual.level if output.level is None and output.compression is None else output.level,
        force_compression=output.force_compression or usual.force_compression,
        oci_media_types=usual.oci_media_types if output.oci_media_types is None else output.oci_media_types,
    )


def _output(where: str, values: dict[str, str]) -> Output:
    kind = values.pop("type", None)
    if kind is None:
        raise wrong(where, "it does not say which type", f"the types are {', '.join(KEYS)}")
    if kind not in KEYS:
        raise attributes.unknown(where, f"there is no type `{kind}`", kind, tuple(KEYS))
    annotations = tuple(
        _annotation(where, key, values.pop(key))
        for key in list(values)
        if key.lower().startswith("annotation") and kind in ANNOTATED
    )
    for key in values:
        if _is_so_anyway(where, kind, key, values):
            continue
        if key not in KEYS[kind]:
            raise attributes.unknown(where, f"type={kind} has no attribute `{key}`", key, KEYS[kind])
    dest = values.get("dest", STDOUT if kind in ("oci", "tar") else None)  # docker alone is for a daemon
    if dest == "":
        raise wrong(where, "`dest` is empty", "name a file or a directory")
    if kind == "local" and (dest is None or dest == STDOUT):
        raise wrong(where, "it does not say which directory", "add dest=DIRECTORY")
    tar = _flag(where, values, "tar", default=True)
    if not tar and (dest is None or dest == STDOUT):
        raise wrong(where, "tar=false does not say which directory", "add dest=DIRECTORY")
    mode = values.get("mode", "copy")
    if mode not in ("copy", "delete"):
        raise wrong(where, f"there is no mode `{mode}`", "the modes are copy and delete")
    return Output(
        type="image" if kind == "registry" else kind,
        dest=dest,
        tar=tar,
        names=tuple(name for name in values.get("name", "").split(",") if name),
        push=_flag(where, values, "push", default=kind == "registry"),
        push_by_digest=_flag(where, values, "push-by-digest", default=False),
        insecure=attributes.boolean(where, values, "registry.insecure"),
        compression=attributes.compression(where, values),
        level=attributes.level(where, values),
        force_compression=_flag(where, values, "force-compression", default=False),
        oci_media_types=attributes.boolean(where, values, "oci-mediatypes"),
        rewrite_timestamp=_flag(where, values, "rewrite-timestamp", default=False),
        mode=mode,
        platform_split=attributes.boolean(where, values, "platform-split"),
        attestation_prefix=_prefix(where, values.get("attestation-prefix", "")),
        oci_artifact=_flag(where, values, "oci-artifact", default=False),
        annotations=annotations,
    )


def _is_so_anyway(where: str, kind: str, key: str, values: Mapping[str, str]) -> bool:
    known = _SO_ANYWAY.get(kind, {})
    if key not in known:
        return False
    value = attributes.boolean(where, values, key)
    return known[key] is None or value == known[key]


def _prefix(where: str, text: str) -> str:
    if "/" in text or "\0" in text:
        raise wrong(where, f"`{text}` is not the beginning of a file's name", "leave / out")
    return text


def _flag(where: str, values: Mapping[str, str], key: str, *, default: bool) -> bool:
    value = attributes.boolean(where, values, key)
    return default if value is None else value


def _annotation(where: str, name: str, value: str) -> Annotation:
    import re

    match = re.fullmatch(r"annotation(?:-([a-z-]+))?(?:\[([^\]]*)\])?\.(.+)", name)
    if match is None or (match[1] or "manifest") not in LEVELS:
        raise wrong(
            where,
            f"`{name}` is not an annotation",
            f"annotations look like annotation.KEY=VALUE or annotation-LEVEL.KEY=VALUE, LEVEL: {', '.join(LEVELS)}",
        )
    return Annotation(match[1] or "manifest", match[2] or "", match[3], value)

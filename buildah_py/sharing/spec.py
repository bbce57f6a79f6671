"""Values of `--cache-to`, `--cache-from` and `--share`, spelled as buildx does: `type=registry,ref=NAME,mode=max`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from buildah_py import attributes
from buildah_py.attributes import unknown, wrong
from buildah_py.frozen import dataclass, field

if TYPE_CHECKING:
    from collections.abc import Mapping

LOCAL: Final = "local"
REGISTRY: Final = "registry"
INLINE: Final = "inline"
S3: Final = "s3"
GHA: Final = "gha"
REAPI: Final = "reapi"
SERVICES: Final = (S3, GHA, REAPI)
"""Types whose blobs nobody else knows how to open: their origins are written as `--cache-from` is."""
ALL: Final = "all"

_S3: Final = (
    "region",
    "bucket",
    "name",
    "prefix",
    "blobs_prefix",
    "manifests_prefix",
    "endpoint_url",
    "access_key_id",
    "secret_access_key",
    "session_token",
    "use_path_style",
)
_GHA: Final = ("scope", "url", "url_v2", "token", "timeout", "version", "repository", "ghtoken")
_REAPI: Final = ("endpoint", "instance", "name", "cacert", "cert", "key", "servername", "token", "header.")
_WHERE: Final = {REGISTRY: ("ref", "registry.insecure"), S3: _S3, GHA: _GHA, REAPI: _REAPI, INLINE: ()}
_BOTH: Final = ("type", "mounts", "ignore-error")
_TO: Final = (*_BOTH, "mode", "compression", "compression-level", "force-compression", "oci-mediatypes",
              "image-manifest", "sign")  # fmt: skip
_FROM: Final = (*_BOTH, "verify")
_SHARE: Final = ("type", "mounts", "compression", "compression-level", "force-compression", "sign", "verify",
                 "claim-ttl")  # fmt: skip
_OWN: Final = {"--cache-to": _TO, "--cache-from": _FROM, "--share": _SHARE}
_LEAST_TTL: Final = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class CacheSpec:
    """One `--cache-to`, `--cache-from` or `--share`: what keeps the cache, and how to reach it (`where`).

    `whole` is mode=max. `compression` is None where nothing was said. `mounts` are ids of cache mounts, or `all`;
    `sign` is the file of a secret key, `verify` are public ones. `claim_ttl` is in seconds, 0 for what suits the place.
    """

    option: str
    type: str
    where: Mapping[str, str] = field(default_factory=dict)
    whole: bool = False
    compression: str | None = None
    level: int | None = None
    ignore_error: bool = False
    mounts: tuple[str, ...] = ()
    sign: str = ""
    verify: tuple[str, ...] = ()
    claim_ttl: float = 0.0

    @property
    def is_inline(self) -> bool:
        """Whether the image itself is to carry the cache."""
        return self.type == INLINE

    def __str__(self) -> str:
        """Name it for people, without anything that is secret."""
        names = ("dest", "src", "ref", "bucket", "scope", "endpoint")
        return " ".join([self.type, *(self.where[name] for name in names if name in self.where)])


def parse_to(text: str) -> CacheSpec:
    """Read one `--cache-to`. Raises UsageError that names the faulty part."""
    return _parse(text, "--cache-to")


def parse_from(text: str) -> CacheSpec:
    """Read one `--cache-from`; what begins with a name is a registry's image or cache. Raises UsageError."""
    return _parse(text, "--cache-from")


def parse_share(text: str) -> CacheSpec:
    """Read one `--share`; what begins with a name is a registry's repository. Raises UsageError."""
    return _parse(text, "--share")


def keys(option: str) -> dict[str, tuple[str, ...]]:
    """Return the types that one of the options has, and the attributes of each, with those of all.

    One that ends with a dot is the beginning of names.
    """
    types = (LOCAL, *_WHERE) if option == "--cache-to" else (LOCAL, REGISTRY, *SERVICES)
    place = ("src", "tag", "digest") if option == "--cache-from" else ("dest", "tag")
    return {kind: (*(place if kind == LOCAL else _WHERE[kind]), *_OWN[option]) for kind in types}


def _parse(text: str, option: str) -> CacheSpec:
    fields = attributes.split(text, option, example="write type=registry,ref=… or type=local,…", quoted='"mounts=a,b"')
    if "=" not in fields[0]:
        fields = ["type=registry", f"ref={fields[0]}", *fields[1:]]
    values: dict[str, str] = {}
    verify: list[str] = []
    key = ""
    for part in fields:
        name, equals, value = part.partition("=")
        if not equals:
            if key != "mounts":
                raise wrong(option, f"`{part}` has no value", "attributes look like dest=DIRECTORY")
            values[key] += f",{part}"
            continue
        key = name.strip().lower()
        if key == "verify":
            verify.append(value)
        elif key in values:
            raise wrong(option, f"`{key}` is given twice")
        values[key] = value
    kind = values.get("type", "")
    _check_keys(option, kind, values)
    mode = values.get("mode", "min")
    if mode not in ("min", "max"):
        raise wrong(option, f"there is no mode `{mode}`", "the modes are min and max")
    own = {name for name in values if name in _OWN[option]}
    return CacheSpec(
        option=option,
        type=kind,
        where={name: value for name, value in values.items() if name not in own},
        whole=mode == "max" or option == "--share",
        compression=attributes.compression(option, values),
        level=attributes.level(option, values),
        ignore_error=flag(option, values, "ignore-error"),
        mounts=tuple(dict.fromkeys(filter(None, values.get("mounts", "").split(",")))),
        sign=values.get("sign", ""),
        verify=tuple(verify),
        claim_ttl=_claim_ttl(option, values.get("claim-ttl", "")),
    )


def _check_keys(option: str, kind: str, values: Mapping[str, str]) -> None:
    types = keys(option)
    if kind not in types:
        if kind == INLINE:
            hint = "an inline cache is imported with the image's name: type=registry,ref=IMAGE"
            raise wrong(option, f"there is no type `{kind}`", hint)
        says = f"there is no type `{kind}`" if kind else "it does not say which type"
        raise unknown(option, says, kind, tuple(types))
    for name in values:
        if name not in types[kind] and not any(one.endswith(".") and name.startswith(one) for one in types[kind]):
            raise unknown(option, f"type={kind} has no attribute `{name}`", name, types[kind])
    needed = {LOCAL: types[LOCAL][0], REGISTRY: "ref", REAPI: "endpoint"}.get(kind)
    if needed and not values.get(needed):
        raise wrong(option, f"type={kind} does not say where", f"add {needed}=…")
    if kind == INLINE and values.get("mounts"):
        raise wrong(option, "an image carries no cache mounts", "carry them with another type")


def _claim_ttl(option: str, text: str) -> float:
    """Read after how many seconds a claim is stale, 0 where nothing is said."""
    if not text:
        return 0.0
    from buildah_py.buildfile.durations import parse_duration

    try:
        found = parse_duration(text) / 1e9
    except ValueError:
        found = 0.0
    if found < _LEAST_TTL:
        raise wrong(option, f"claim-ttl={text} is not a time of at least a second", "write it as 30s or 5m")
    return found


def flag(option: str, values: Mapping[str, str], key: str) -> bool:
    """Read a truth value, false where it is missing. Raises UsageError."""
    return attributes.boolean(option, values, key) or False

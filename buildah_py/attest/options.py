"""Attestations that a build is asked for: `--attest`, and `--provenance` and `--sbom`, which are short for it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from buildah_py import attributes
from buildah_py.attributes import unknown, wrong
from buildah_py.errors import UsageError
from buildah_py.frozen import dataclass
from buildah_py.image import numbers

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from buildah_py.outputs.spec import Output

PROVENANCE: Final = "provenance"
SBOM: Final = "sbom"
MODES: Final = ("min", "max")
VERSIONS: Final = ("v1", "v0.2")
SPDX: Final = "spdx"
CYCLONEDX: Final = "cyclonedx"
FORMATS: Final = (SPDX, CYCLONEDX)
OWN_SCANNER: Final = "pybuild"
KEYS: Final = {
    PROVENANCE: ("mode", "version", "builder-id", "filename", "reproducible", "inline-only", "disabled"),
    SBOM: ("generator", "format", "filename", "disabled"),
}
"""Types, and the attributes of each."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ProvenanceOptions:
    """How an image was built: `mode` says how much is told, `version` of which predicate.

    `filename` is what it is called beside files; with `inline_only` it is not written there.
    """

    mode: str = "min"
    version: str = "v1"
    builder_id: str = ""
    filename: str = "provenance.json"
    reproducible: bool = False
    inline_only: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class SbomOptions:
    """A bill of materials, in one of FORMATS."""

    format: str = SPDX
    filename: str = ""


@dataclass(frozen=True, slots=True)
class AttestOptions:
    """Attestations that are wanted; None for those that are not."""

    provenance: ProvenanceOptions | None = None
    sbom: SbomOptions | None = None

    def __bool__(self) -> bool:
        return self.provenance is not None or self.sbom is not None


def read_attestations(specs: Iterable[str], provenance: str = "", sbom: str = "") -> AttestOptions:
    """Read `--attest`s, and what the short options say, which counts more. Raises UsageError."""
    found: dict[str, Mapping[str, str] | None] = {}
    for text in specs:
        values = _values(text, f"--attest {text}")
        kind = values.pop("type", "")
        if kind not in KEYS:
            why = f"there is no type `{kind}`" if kind else "it does not say which type"
            raise unknown(f"--attest {text}", why, kind, tuple(KEYS))
        found[kind] = _checked(f"--attest {text}", kind, values)
    for kind, text in ((PROVENANCE, provenance), (SBOM, sbom)):
        if text:
            where = f"--{kind}={text}"
            found[kind] = _checked(where, kind, _short(kind, text, where))
    told, listed = found.get(PROVENANCE), found.get(SBOM)
    return AttestOptions(None if told is None else _provenance(told), None if listed is None else _sbom(listed))


def check_outputs_for(attest: AttestOptions, outputs: Sequence[Output]) -> None:
    """Refuse outputs that cannot be what they are asked to be with attestations. Raises UsageError."""
    if attest and any(one.oci_media_types is False and one.type in ("image", "oci") for one in outputs):
        raise UsageError(
            "Docker's media types know no attestations", hint="leave out oci-mediatypes=false, --format docker"
        )


def _short(kind: str, text: str, where: str) -> dict[str, str]:
    """Read what a short option says: whether, in which mode, or attributes."""
    truth = numbers.boolean(text.lower())
    if truth is not None:
        return {} if truth else {"disabled": "true"}
    return {"mode": text} if kind == PROVENANCE and text in MODES else _values(text, where)


def _values(text: str, where: str) -> dict[str, str]:
    fields = attributes.split(text, where, example="write type=provenance,mode=max", quoted='"builder-id=a,b"')
    values: dict[str, str] = {}
    for one in fields:
        key, equals, value = one.partition("=")
        name = key.strip().lower()
        if not equals:
            raise wrong(where, f"`{one}` has no value", "attributes look like mode=max")
        if name in values:
            raise wrong(where, f"`{name}` is given twice")
        values[name] = value
    return values


def _checked(where: str, kind: str, values: dict[str, str]) -> Mapping[str, str] | None:
    """Return the attributes of an attestation, None of one that is switched off."""
    for name in values:
        if name not in KEYS[kind]:
            raise unknown(where, f"type={kind} has no attribute `{name}`", name, KEYS[kind])
    if attributes.boolean(where, values, "disabled"):
        return None
    for name, known in (("mode", MODES), ("version", VERSIONS), ("format", FORMATS)):
        if values.get(name, known[0]) not in known:
            raise unknown(where, f"there is no {name} `{values[name]}`", values[name], known)
    if kind == SBOM and values.get("generator", OWN_SCANNER) != OWN_SCANNER:
        raise wrong(
            where,
            f"the generator {values['generator']} is an image, and pybuild lists packages itself",
            "leave generator= out; `pybuild save` writes the image for another scanner",
        )
    if "/" in values.get("filename", ""):
        raise wrong(where, f"`{values['filename']}` is not the name of a file", "leave / out")
    for name in ("reproducible", "inline-only"):
        attributes.boolean(where, values, name)
    return values


def _provenance(values: Mapping[str, str]) -> ProvenanceOptions:
    return ProvenanceOptions(
        mode=values.get("mode", MODES[0]),
        version=values.get("version", VERSIONS[0]),
        builder_id=values.get("builder-id", ""),
        filename=values.get("filename") or "provenance.json",
        reproducible=bool(numbers.boolean(values.get("reproducible", ""))),
        inline_only=bool(numbers.boolean(values.get("inline-only", ""))),
    )


def _sbom(values: Mapping[str, str]) -> SbomOptions:
    return SbomOptions(format=values.get("format", SPDX), filename=values.get("filename", ""))

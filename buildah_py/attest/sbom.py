"""Lists of what is in an image (SBOM): SPDX 2.3 (spdx.github.io/spdx-spec/v2.3) and CycloneDX 1.6, as JSON.

Both say the same, and nothing but the image decides what: times and ids in them are those of the image.
"""

from __future__ import annotations

import hashlib
import uuid
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from buildah_py.attest.licenses import expression
from buildah_py.version import __version__

if TYPE_CHECKING:
    from buildah_py.attest.packages import Package
    from buildah_py.attest.scan import Scanned

SPDX: Final = "https://spdx.dev/Document"
CYCLONEDX: Final = "https://cyclonedx.org/bom"
_NOTHING: Final = "NOASSERTION"
_NO_TIME: Final = "1970-01-01T00:00:00Z"
_ROOT: Final = "SPDXRef-Image"
_DOCUMENT: Final = "SPDXRef-DOCUMENT"
_NAMESPACE: Final = uuid.UUID("5b0f0a5c-6a3f-5d5e-9f0b-0c6a3f1f7a11")
_MOST_PATHS: Final = 20


class Described(NamedTuple):
    """The image that a list is about: its familiar name, "" for none, its id, and when it was made (RFC 3339)."""

    name: str
    id: str
    created: str

    @property
    def shown(self) -> str:
        """Its name."""
        return self.name or self.id

    @property
    def time(self) -> str:
        """When it was made, in whole seconds, as SPDX wants it."""
        if len(self.created) < 20:
            return _NO_TIME
        return self.created[:19] + "Z"


def spdx(image: Described, found: Scanned) -> dict[str, Any]:
    """Return the list as an SPDX document."""
    packages = [
        {
            "name": image.shown,
            "SPDXID": _ROOT,
            "versionInfo": image.id,
            "supplier": _NOTHING,
            "downloadLocation": _NOTHING,
            "filesAnalyzed": False,
            "licenseConcluded": _NOTHING,
            "licenseDeclared": _NOTHING,
            "copyrightText": _NOTHING,
            "primaryPackagePurpose": "CONTAINER",
            **({"summary": found.system.name} if found.system.name else {}),
        },
        *(_spdx_package(one, found) for one in found.packages),
    ]
    contained = [
        {"spdxElementId": _ROOT, "relationshipType": "CONTAINS", "relatedSpdxElement": one["SPDXID"]}
        for one in packages[1:]
    ]
    creation: dict[str, Any] = {"created": image.time, "creators": [f"Tool: pybuild-{__version__}"]}
    if found.unread:
        creation["comment"] = f"Not read: {'; '.join(found.unread)}"
    return {
        "spdxVersion": "SPDX-2.3",
        "dataLicense": "CC0-1.0",
        "SPDXID": _DOCUMENT,
        "name": image.shown,
        "documentNamespace": f"urn:uuid:{_unique(image, found)}",
        "creationInfo": creation,
        "packages": packages,
        "relationships": [
            {"spdxElementId": _DOCUMENT, "relationshipType": "DESCRIBES", "relatedSpdxElement": _ROOT},
            *contained,
        ],
    }


def _spdx_package(one: Package, found: Scanned) -> dict[str, Any]:
    declared = expression(one.license) if one.is_expression else ""
    return {
        "name": one.name,
        "SPDXID": f"SPDXRef-Package-{one.kind}-{hashlib.sha256(one.purl.encode()).hexdigest()[:16]}",
        **({"versionInfo": one.version} if one.version else {}),
        "supplier": _supplier(one.supplier),
        "downloadLocation": _NOTHING,
        "filesAnalyzed": False,
        "sourceInfo": f"found in {_places(one, found)}",
        "licenseConcluded": _NOTHING,
        "licenseDeclared": declared or _NOTHING,
        **({"licenseComments": f"declared as: {one.license}"} if one.license and not declared else {}),
        "copyrightText": _NOTHING,
        "externalRefs": [
            {"referenceCategory": "PACKAGE-MANAGER", "referenceType": "purl", "referenceLocator": one.purl}
        ],
    }


def _supplier(text: str) -> str:
    """Return who a package comes from, as SPDX spells people: `Person: NAME (ADDRESS)`."""
    text = " ".join(text.split())
    name, found, address = text.partition("<")
    address = address.partition(">")[0].strip()
    if not name.strip() and not address:
        return _NOTHING
    name = name.strip().replace("(", "[").replace(")", "]")
    return f"Organization: {name or address}" + (
        f" ({address})" if found and address and name and "@" in address else ""
    )


def _places(one: Package, found: Scanned) -> str:
    places = [f"/{path}" for path in found.paths.get(one.purl, [one.path])]
    more = f", and {len(places) - _MOST_PATHS} more" if len(places) > _MOST_PATHS else ""
    return ", ".join(places[:_MOST_PATHS]) + more


def cyclonedx(image: Described, found: Scanned) -> dict[str, Any]:
    """Return the list as a CycloneDX bill of materials."""
    properties = [{"name": "pybuild:unread", "value": text} for text in found.unread]
    components = [_component(one, found) for one in found.packages]
    if found.system.id:
        components.append(
            {
                "type": "operating-system",
                "bom-ref": f"os:{found.system.distro}",
                "name": found.system.id,
                **({"version": found.system.version} if found.system.version else {}),
                **({"description": found.system.name} if found.system.name else {}),
            }
        )
    return {
        "$schema": "http://cyclonedx.org/schema/bom-1.6.schema.json",
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "serialNumber": f"urn:uuid:{_unique(image, found)}",
        "version": 1,
        "metadata": {
            "timestamp": image.time,
            "tools": {"components": [{"type": "application", "name": "pybuild", "version": __version__}]},
            "component": {"type": "container", "bom-ref": image.id, "name": image.shown, "version": image.id},
            **({"properties": properties} if properties else {}),
        },
        "components": components,
    }


def _component(one: Package, found: Scanned) -> dict[str, Any]:
    declared = expression(one.license) if one.is_expression else ""
    licenses: list[dict[str, Any]] = []
    if declared:
        licenses = [{"expression": declared}]
    elif one.license:
        licenses = [{"license": {"name": one.license}}]
    supplier = " ".join(one.supplier.partition("<")[0].split())
    return {
        "type": "library",
        "bom-ref": one.purl,
        **({"supplier": {"name": supplier}} if supplier else {}),
        "name": one.name,
        **({"version": one.version} if one.version else {}),
        **({"licenses": licenses} if licenses else {}),
        "purl": one.purl,
        "properties": [
            {"name": "pybuild:path", "value": f"/{path}"}
            for path in found.paths.get(one.purl, [one.path])[:_MOST_PATHS]
        ],
    }


def _unique(image: Described, found: Scanned) -> uuid.UUID:
    """Return an id of the document: another one for another image, or for what another version finds in it."""
    told = "\n".join((image.shown, image.id, __version__, *(one.purl for one in found.packages), *found.unread))
    return uuid.uuid5(_NAMESPACE, told)

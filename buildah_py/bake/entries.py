"""Entries of a target that are short texts or objects: outputs, caches, attestations, secrets, agents.

A text is a line of CSV of `key=value`s; an object has the same keys. Both become a dict.
"""

from __future__ import annotations

import csv
import io
from typing import TYPE_CHECKING, Any, Final

from buildah_py.bake.values import ValueFault
from buildah_py.image import numbers

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

EntryFields = dict[str, Any]
"""An entry by its keys: values are strings, of `disabled` True, of `paths` a list."""


def fields(text: str) -> list[str]:
    """Split a line of CSV. Raises ValueFault."""
    try:
        rows = list(csv.reader(io.StringIO(text), strict=True))
    except csv.Error as error:
        raise ValueFault(f"`{text}` is not a line of CSV: {error}") from None
    if len(rows) > 1:
        raise ValueFault(f"`{text}` is more than one line")
    if text and '"' in text.replace('""', "").replace(',"', "").replace('",', "").strip('"'):
        raise ValueFault(f"`{text}`: quotation marks stand around a whole field", 'write "key=a,b" for a comma')
    return rows[0] if rows else []


def line(items: list[str]) -> str:
    """Join fields to a line of CSV."""
    out = io.StringIO()
    csv.writer(out, lineterminator="").writerow(items)
    return out.getvalue()


def _pairs(text: str) -> EntryFields:
    found: EntryFields = {}
    for field in fields(text):
        key, equals, value = field.partition("=")
        if not equals:
            raise ValueFault(f"`{field}` in `{text}` is not `key=value`")
        found[key.strip().lower()] = value
    return found


def _texts(entry: Mapping[str, Any]) -> EntryFields:
    return {key: value if isinstance(value, str | list) else str(value) for key, value in entry.items()}


def output(given: str | Mapping[str, Any]) -> EntryFields:
    """Read an output."""
    if isinstance(given, str):
        parts = fields(given)
        if len(parts) == 1 and not parts[0].lower().startswith("type="):
            return {"type": "tar", "dest": "-"} if parts[0] == "-" else {"type": "local", "dest": parts[0]}
        found = _pairs(given)
    else:
        found = _texts(given)
    if not found.get("type"):
        raise ValueFault("an output needs a type", "write type=local,dest=DIR, or another type")
    if found["type"] in ("oci", "tar") and not found.get("dest"):
        found["dest"] = "-"
    return found


def caches(given: str | Mapping[str, Any]) -> list[EntryFields]:
    """Read caches: a text without `=` names several in registries."""
    if isinstance(given, str):
        parts = fields(given)
        if parts and not any("=" in part for part in parts):
            return [{"type": "registry", "ref": part} for part in parts]
        found = _pairs(given)
    else:
        found = _texts(given)
    if not found.get("type"):
        raise ValueFault("a cache needs a type", "write type=registry,ref=NAME, or another type")
    return [found]


def attestation(given: str | Mapping[str, Any]) -> EntryFields:
    """Read an attestation."""
    found = _pairs(given) if isinstance(given, str) else _texts(given)
    if isinstance(given, str) and not found.get("type"):
        raise ValueFault("an attestation needs a type", "write type=provenance or type=sbom")
    found.setdefault("type", "")
    if "disabled" in found:
        disabled = numbers.boolean(str(found.pop("disabled")).lower())
        if disabled is None:
            raise ValueFault("`disabled` is neither true nor false")
        if disabled:
            found["disabled"] = True
    return found


def attestation_of(name: str, text: str) -> EntryFields:
    """Read the value of `sbom` or `provenance`: true, false, or attributes. Raises ValueFault."""
    if text == "true":
        return {"type": name}
    if text == "false":
        return {"type": name, "disabled": True}
    return attestation(f"type={name},{text}")


def secret(given: str | Mapping[str, Any]) -> EntryFields:
    """Read a secret: what it is follows from its keys, so that its type is left out."""
    found = _pairs(given) if isinstance(given, str) else _texts(given)
    kind = found.pop("type", "")
    if kind not in ("", "file", "env"):
        raise ValueFault(f"`{kind}` is not a type of secrets", "there are file and env")
    entry = {
        "id": found.pop("id", ""),
        "src": found.pop("source", "") or found.pop("src", ""),
        "env": found.pop("env", ""),
    }
    found.pop("src", "")
    if found and isinstance(given, str):
        raise ValueFault(f"`{next(iter(found))}` is not a key of secrets", "there are id, src and env")
    if not entry["id"]:
        raise ValueFault("a secret needs an id")
    return {key: value for key, value in entry.items() if value}


def agent(given: str | Mapping[str, Any]) -> EntryFields:
    """Read an ssh agent or its keys."""
    if isinstance(given, str):
        name, equals, paths = given.partition("=")
        return {"id": name, "paths": paths.split(",")} if equals else {"id": name}
    found = {"id": str(given.get("id", ""))}
    return {**found, "paths": given["paths"]} if given.get("paths") else found


def text_of(kind: str, entry: EntryFields) -> str:
    """Write an entry as the command line of a build takes it."""
    if kind == "agents":
        return f"{entry['id']}={','.join(entry['paths'])}" if entry.get("paths") else str(entry["id"])
    plain = {key: "true" if value is True else value for key, value in entry.items()}
    ordered = sorted(plain, key=lambda key: (key not in ("type", "id"), key))
    return line([f"{key}={plain[key]}" for key in ordered])


READERS: Final[Mapping[str, Callable[[Any], list[EntryFields]]]] = {
    "outputs": lambda given: [output(given)],
    "caches": caches,
    "attestations": lambda given: [attestation(given)],
    "secrets": lambda given: [secret(given)],
    "agents": lambda given: [agent(given)],
}

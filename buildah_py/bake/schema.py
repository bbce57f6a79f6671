"""JSON Schema of bake files in YAML, made of the tables that they are read by: docs/schema/bake.json."""

from __future__ import annotations

from typing import Any, Final

from buildah_py.bake.definition import NAME
from buildah_py.bake.targets import ATTRIBUTES

_TEXT: Final = {"type": ["string", "number", "boolean", "null"]}
_TEXTS: Final = {"type": ["array", "null"], "items": _TEXT}
_MAP: Final = {"type": ["object", "null"], "additionalProperties": _TEXT}
_ENTRIES: Final = {
    "type": "array",
    "items": {
        "oneOf": [{"type": "string"}, {"type": "object", "additionalProperties": {"type": ["array", *_TEXT["type"]]}}]
    },
}
_MEANINGS: Final = {
    "annotations": "annotations of what is written out, as --annotation takes them",
    "args": "values of ARGs",
    "attest": "attestations, such as type=provenance",
    "cache-from": "caches to look steps up in",
    "cache-to": "where the cache goes",
    "call": "what to do instead of building: check, outline, targets, graph",
    "context": "build context: a directory or a URL",
    "contexts": "further contexts by name: directories, URLs, docker-image://IMAGE, target:TARGET",
    "description": "what --list says of the target",
    "dockerfile": "build file, in the context",
    "dockerfile-inline": "text of the build file",
    "entitlements": "rights that the build asks for; --allow gives them",
    "extra-hosts": "addresses of hosts by name",
    "inherits": "targets whose attributes hold where this one says nothing",
    "labels": "labels of the image",
    "matrix": "lists of values by axis: a target for each combination",
    "name": "name of each target of a matrix, a template of its values",
    "network": "network of RUN steps",
    "no-cache": "execute every step",
    "no-cache-filter": "stages whose steps are all executed",
    "output": "what to write, as --output takes it",
    "platforms": "platforms of the image",
    "pull": "always ask registries for base images",
    "secret": "secrets, such as id=ID,src=FILE",
    "shm-size": "size of /dev/shm",
    "ssh": "ssh agents or keys, such as default or ID=FILE",
    "tags": "names of the image",
    "target": "stage of the build file",
    "ulimits": "limits such as nofile=1024:2048",
}


def schema() -> dict[str, Any]:
    """Return the schema. Every string may be a template: `${…}`."""
    kinds: dict[str, dict[str, Any]] = {
        "text": _TEXT,
        "texts": _TEXTS,
        "map": _MAP,
        "flag": {"type": ["boolean", "string", "null"]},
    }
    attributes: dict[str, dict[str, Any]] = {
        name: {**kinds.get(kind.kind, _ENTRIES), "description": _MEANINGS[name]} for name, kind in ATTRIBUTES.items()
    }
    attributes["name"] = {"type": "string", "description": _MEANINGS["name"]}
    attributes["matrix"] = {
        "type": "object",
        "additionalProperties": {"type": "array"},
        "description": _MEANINGS["matrix"],
    }
    validation = _closed(
        {"condition": {"type": ["string", "boolean"]}, "error_message": {"type": "string"}}, "condition"
    )
    variable = _closed(
        {
            "default": {"description": "value where neither the environment nor --var gives one"},
            "type": {"type": "string", "description": "such as string, number, bool, list(string), object({a=string})"},
            "description": {"type": "string"},
            "validation": {"oneOf": [validation, {"type": "array", "items": validation}]},
        }
    )
    function = _closed(
        {
            "params": {"type": "array", "items": {"type": "string"}},
            "variadic_params": {"type": "string"},
            "result": {"description": "what the function gives, such as ${upper(name)}"},
        },
        "params",
        "result",
    )
    group = _closed({"targets": {"type": "array", "items": {"type": "string"}}, "description": {"type": "string"}})
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Bake file of pybuild in YAML",
        "description": "Targets that `pybuild bake` builds. Strings are templates: `${…}` holds an expression.",
        "type": "object",
        "additionalProperties": False,
        "patternProperties": {"^x-": {}},
        "properties": {
            "targets": _named({"oneOf": [_closed(attributes), {"type": "null"}]}, "targets by name"),
            "groups": _named(
                {"oneOf": [{"type": "array", "items": {"type": "string"}}, group]},
                "groups by name: lists of targets and groups",
            ),
            "variables": {
                "type": "object",
                "additionalProperties": {"anyOf": [{"not": {"type": "object"}}, variable]},
                "description": "variables by name: a default, or an object",
            },
            "functions": {"type": "object", "additionalProperties": function, "description": "functions by name"},
        },
    }


def _closed(properties: dict[str, Any], *required: str) -> dict[str, Any]:
    found: dict[str, Any] = {"type": "object", "additionalProperties": False, "properties": properties}
    return {**found, "required": list(required)} if required else found


def _named(value: dict[str, Any], description: str) -> dict[str, Any]:
    return {
        "type": "object",
        "additionalProperties": False,
        "patternProperties": {f"^{NAME.pattern}$": value},
        "description": description,
    }

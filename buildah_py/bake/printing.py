"""Output of `bake --print` and `bake --list`: as buildx does, so that whoever reads that can read this."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from buildah_py.bake.functions.encodings import json_string, to_json
from buildah_py.bake.targets import ATTRIBUTES
from buildah_py.bake.values import DYNAMIC, Type, Value

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from buildah_py.bake.definition import Evaluated
    from buildah_py.bake.resolving import Baked
    from buildah_py.bake.targets import Target, TargetGroup


def as_data(baked: Baked) -> dict[str, Any]:
    """Give what is built as plain data, with everything in its order."""
    return {
        "group": {name: _group(group) for name, group in baked.groups.items()},
        "target": {name: _target(target) for name, target in baked.targets.items()},
    }


def _group(group: TargetGroup) -> dict[str, Any]:
    described = {"description": group.description} if group.description else {}
    return {**described, "targets": list(group.targets) or None}


def _target(target: Target) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, kind in ATTRIBUTES.items():
        value = target.values.get(name)
        if value is None or value in ([], {}) or (name == "description" and not value):
            continue
        if kind.kind == "map":
            value = {key: one for key, one in sorted(value.items()) if one is not None}
            if not value:
                continue
        elif kind.kind in ("caches", "attestations", "outputs"):
            value = [dict(sorted(entry.items())) for entry in value]
        found[name] = value
    return found


def to_text(data: Any, indent: str = "") -> str:
    """Write data as JSON with two spaces for each level; `${` and `%{` are escaped, so that it can be read again."""
    inner = f"{indent}  "
    if isinstance(data, dict) and data:
        lines = (f"{inner}{json_string(key)}: {to_text(value, inner)}" for key, value in data.items())
        return "{\n" + ",\n".join(lines) + f"\n{indent}}}"
    if isinstance(data, list | tuple) and data:
        return "[\n" + ",\n".join(f"{inner}{to_text(value, inner)}" for value in data) + f"\n{indent}]"
    if isinstance(data, str):
        return _string(data)
    if data is None or isinstance(data, bool):
        return {None: "null", True: "true", False: "false"}[data]
    return "{}" if isinstance(data, dict) else "[]" if isinstance(data, list | tuple) else str(data)


def _string(text: str) -> str:
    return json_string(text.replace("${", "$${").replace("%{", "%%{"))


def list_targets(evaluated: Evaluated) -> list[dict[str, Any]]:
    """Describe targets and groups, by name."""
    found: dict[str, dict[str, Any]] = {}
    for name, target in evaluated.targets.items():
        described = target.text("description")
        found[name] = {"name": name, **({"description": described} if described else {})}
    for name, group in evaluated.groups.items():
        members = ", ".join(sorted(group.targets))
        shown = f"{group.description} ({members})" if group.description else members
        found[name] = {"name": name, "description": shown, "group": True}
    return [found[name] for name in sorted(found)]


def list_variables(evaluated: Evaluated) -> list[dict[str, Any]]:
    """Describe variables, by name."""
    found = []
    for one in evaluated.variables:
        described: dict[str, Any] = {"name": one.name}
        if one.description:
            described["description"] = one.description
        if one.type is not None:
            described["type"] = friendly(one.type)
        if one.value.raw is not None:
            described["value"] = one.value.raw if isinstance(one.value.raw, str) else _value(one.value, one.type)
        found.append(described)
    return found


def _value(value: Value, of: Type | None) -> str:
    if of == DYNAMIC:
        return f'{{"value":{to_json(value)},"type":{_json_type(value.type)}}}'
    return to_json(value)


def _json_type(of: Type) -> str:
    if of.kind in ("list", "set", "map"):
        return f'["{of.kind}",{_json_type(of.of)}]'
    if of.kind == "tuple":
        return f'["tuple",[{",".join(map(_json_type, of.of))}]]'
    if of.kind == "object":
        return '["object",{' + ",".join(f"{json_string(name)}:{_json_type(one)}" for name, one in of.of) + "}]"
    return f'"{of.kind}"'


def friendly(of: Type) -> str:
    """Name a type as cty does."""
    if of.kind in ("list", "set", "map"):
        return f"{of.kind} of {'any single type' if of.of == DYNAMIC else friendly(of.of)}"
    return "any type" if of == DYNAMIC else of.kind


def table(rows: Sequence[Sequence[str]]) -> str:
    """Align columns with tabs of eight."""
    widths = [max(len(row[at]) for row in rows) // 8 * 8 + 8 for at in range(len(rows[0]) - 1)]
    lines = []
    for row in rows:
        line = ""
        for cell, width in zip(row[:-1], widths, strict=True):
            line += cell + "\t" * -(-(width - len(cell)) // 8)
        lines.append(line + row[-1])
    return "\n".join(lines)


def target_rows(listed: Sequence[Mapping[str, Any]]) -> list[list[str]]:
    """Make a table of what `list_targets` gives."""
    return [["TARGET", "DESCRIPTION"], *([one["name"], one.get("description", "")] for one in listed)]


def variable_rows(listed: Sequence[Mapping[str, Any]]) -> list[list[str]]:
    """Make a table of what `list_variables` gives."""
    return [
        ["VARIABLE", "TYPE", "VALUE", "DESCRIPTION"],
        *([one["name"], one.get("type", ""), one.get("value", "<null>"), one.get("description", "")] for one in listed),
    ]

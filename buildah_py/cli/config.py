"""`pybuild config`: show the defaults that hold here, and change the configuration file."""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING, Any

from buildah_py.api.config import SETTINGS, config_path, effective, named, parse, read_config, user_path
from buildah_py.cli.printing import SCHEMA, say, say_json
from buildah_py.cli.tables import FORMATS, table
from buildah_py.errors import OutputError, UsageError

if TYPE_CHECKING:
    import argparse

    from buildah_py.api.config import Setting

_TAKES = {"list": 0, "get": 1, "set": 2, "unset": 1, "path": 0, "schema": 0}
"""Actions, and whether they take a name and values."""


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    add = parser.add_argument
    add("action", choices=tuple(_TAKES), nargs="?", default="list", help="default: list")
    add("name", metavar="NAME", nargs="?", help="setting: " + ", ".join(setting.name for setting in SETTINGS))
    add("values", metavar="VALUE", nargs="*", help="for `set`; several for a setting that is a list")
    add("--format", choices=FORMATS, default="table", help="default: %(default)s")


def run(args: argparse.Namespace) -> int:
    """Do what `action` says."""
    wanted = _TAKES[args.action]
    given = (args.name is not None) + bool(args.values)
    if given != wanted:
        words = " ".join(("NAME", "VALUE")[:wanted])
        raise UsageError(f"`config {args.action}` takes {words or 'nothing more'}", hint="`pybuild config --help`")
    if args.action == "path":
        say(config_path(os.environ) or user_path(os.environ))
    elif args.action == "schema":
        say_json(schema())
    elif args.action == "get":
        say(effective(named(args.name), os.environ, read_config(os.environ)).value)
    elif args.action == "list":
        _list(args.format)
    else:
        _change(named(args.name).name, args.values)
    return 0


def schema() -> dict[str, Any]:
    """Return the JSON schema of the file, for editors; docs/schema/config.json is the same."""
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Configuration of pybuild",
        "type": "object",
        "additionalProperties": False,
        "properties": {setting.name: _described(setting) for setting in SETTINGS},
        "patternProperties": {
            f"^{setting.name.replace('-', '_')}$": {"$ref": f"#/properties/{setting.name}"}
            for setting in SETTINGS
            if "-" in setting.name
        },
    }


def _described(setting: Setting) -> dict[str, Any]:
    found: dict[str, Any] = {"description": setting.meaning}
    if setting.choices:
        found["enum"] = sorted({*setting.choices, *dict(setting.spelled)})
    elif setting.kind == "list":
        found |= {"type": ["string", "array"], "items": {"type": "string"}}
    elif setting.kind == "number":
        found |= {"type": ["integer", "string"], "minimum": 0, "pattern": "^[0-9]+$"}
    elif setting.kind == "size":
        found |= {"type": ["integer", "string"], "minimum": 0, "pattern": "^[0-9.]+ ?([kKmMgGtT]([iI]?[bB])?|[bB])?$"}
    else:
        found["type"] = "string"
    return found | ({"default": setting.usual} if setting.usual else {})


def _list(form: str) -> None:
    file = read_config(os.environ)
    found = [(setting, effective(setting, os.environ, file)) for setting in SETTINGS]
    if form == "json":
        say_json({
            setting.name: {"schema": SCHEMA,
                           "value": one.value.split("\n") if setting.kind == "list" and one.value else one.value,
                           "from": one.origin or "default"}
            for setting, one in found
        })  # fmt: skip
        return
    rows = [("SETTING", "VALUE", "FROM")]
    rows += [(setting.name, one.value.replace("\n", " ") or "-", one.origin or "default") for setting, one in found]
    say(table(rows))


def _change(name: str, values: list[str]) -> None:
    """Write the file that counts, changed, to this user's place for it; without values the setting goes."""
    import yaml

    if len(values) > 1 and named(name).kind != "list":
        raise UsageError(f"{name} has one value", hint=f"`pybuild config set {name} {values[0]}`")
    path = config_path(os.environ)
    target = os.environ.get("PYBUILD_CONFIG") or user_path(os.environ)
    text = ""
    if path is not None:
        with open(path, encoding="utf-8") as file:
            text = file.read()
    spelled = name.replace("-", "[-_]")
    rest = re.sub(rf"(?m)^{spelled}[ \t]*:.*\n?(?:[ \t-].*\n?)*", "", text)
    if values:
        value = values if named(name).kind == "list" else values[0]
        written = yaml.safe_dump(value, default_flow_style=True, width=1 << 30).removesuffix("...\n")
        rest = f"{rest.rstrip()}\n".lstrip("\n") + f"{name}: {written}"
    parse(rest, target)  # raises for what would not be understood
    try:
        os.makedirs(os.path.dirname(os.path.abspath(target)), exist_ok=True)
        from buildah_py.cli.outputs import write_whole

        write_whole(target, rest.encode())
    except OSError as error:
        raise OutputError(f"{target} cannot be written: {error.strerror}") from error

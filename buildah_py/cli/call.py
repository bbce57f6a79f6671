"""`pybuild build --call=check|outline|targets|graph`: look at a build file instead of building it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from buildah_py.cli.call_graph import FORMATS as GRAPH_FORMATS
from buildah_py.cli.printing import say, say_data
from buildah_py.cli.tables import table
from buildah_py.errors import BuildFileError, UsageError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from buildah_py.buildfile.named import NamedContext
    from buildah_py.buildfile.stage import Settings
    from buildah_py.buildfile.tree import BuildFile

METHODS = ("check", "outline", "targets", "graph")


class Asked(NamedTuple):
    """Further options of the build that is only looked at; see `buildfile.checks.find`."""

    build_args: Mapping[str, str] = {}
    target: str | None = None
    platform: str = ""
    contexts: Mapping[str, NamedContext] = {}
    env: Mapping[str, str] = {}
    ignored: Callable[[str], bool] | None = None


def run_call(call: str, file: BuildFile, asked: Asked, answer: Callable[[dict[str, Any]], object] | None = None) -> int:
    """Do what `--call` asks for: a method, then perhaps `,format=json`; the exit status.

    `answer` is told what would be printed as JSON.

    Raises:
        UsageError: there is no such method, format or target.

    """
    method, form = _read(call)
    if method == "check":
        return _check(form, file, asked, answer or say_data)
    try:
        if method == "graph":
            return _graph(form, file, asked, answer or say_data)
        value = _outline(file, asked) if method == "outline" else _targets(file)
    except BuildFileError as error:
        from buildah_py.cli.check import report_fault

        return report_fault(error, form, answer)
    if form == "json":
        (answer or say_data)(value)
    elif method == "outline":
        _print_outline(value)
    else:
        _print_targets(value)
    return 0


def _read(call: str) -> tuple[str, str]:
    method, *options = call.split(",")
    if method.startswith("subrequests."):
        method = method.removeprefix("subrequests.")
    if method not in METHODS:
        from buildah_py.suggest import did_you_mean

        hint = did_you_mean(method, METHODS) or f"use build, {', '.join(METHODS)}"
        raise UsageError(f"--call={call}: there is no method {method}", hint=hint)
    form = "text"
    for option in options:
        key, _, value = option.partition("=")
        forms = GRAPH_FORMATS if method == "graph" else ("text", "json")
        if key != "format" or value not in forms:
            raise UsageError(
                f"--call={call}: {option} means nothing", hint=f"the one option is format={'|'.join(forms[1:])}"
            )
        form = value
    return method, form


def _check(form: str, file: BuildFile, asked: Asked, answer: Callable[[dict[str, Any]], object]) -> int:
    from buildah_py.buildfile.checks import find
    from buildah_py.cli.check import EXIT_FINDINGS, as_json, print_text, report_fault

    findings = find(file, **asked._asdict())
    if findings.error is not None:
        return report_fault(findings.error, form, answer)
    if form == "json":
        answer(as_json(file, findings))
    else:
        print_text(file, findings)
    return EXIT_FINDINGS if findings.fails else 0


def _graph(form: str, file: BuildFile, asked: Asked, answer: Callable[[dict[str, Any]], object]) -> int:
    from buildah_py.buildfile.stage_graph import stage_graph
    from buildah_py.cli.call_graph import as_data, lines

    found = stage_graph(file, _settings(asked))
    if form == "json":
        answer(as_data(found))
    else:
        say("\n".join(lines(found, form)))
    return 0


def _settings(asked: Asked) -> Settings:
    from buildah_py.buildfile.checks import settings_of

    return settings_of(
        build_args=asked.build_args,
        target=asked.target,
        platform=asked.platform,
        contexts=asked.contexts,
        env=asked.env,
    )


def _targets(file: BuildFile) -> dict[str, Any]:
    last = len(file.stages) - 1
    return {
        "targets": [
            {
                "name": stage.name or "",
                "description": _description(stage.base.doc, stage.name or ""),
                "default": stage.index == last,
                "base": stage.base.image.text,
                "platform": stage.base.platform.text if stage.base.platform else "",
                "line": stage.base.span.start.line,
            }
            for stage in file.stages
        ]
    }


def _description(doc: tuple[str, ...], name: str) -> str:
    """Return the description of `name` in the comments above it: that of the first that begins with the name."""
    for comment in doc:
        if name and comment.startswith(f"{name} "):
            return comment[len(name) + 1 :]
    return ""


def _outline(file: BuildFile, asked: Asked) -> dict[str, Any]:
    from buildah_py.buildfile.outline import outline

    found = outline(file, _settings(asked))
    return {
        "name": found.name,
        "description": _description(found.doc, found.name),
        "args": [
            {
                "name": argument.name,
                "value": argument.value,
                "description": _description(argument.doc, argument.name),
                "line": argument.line,
            }
            for argument in found.arguments
        ],
        "secrets": [{"name": item.name, "required": item.required, "line": item.line} for item in found.secrets],
        "ssh": [{"name": item.name, "required": item.required, "line": item.line} for item in found.ssh],
    }


def _print_outline(value: Mapping[str, Any]) -> None:
    if value["name"]:
        say(f"TARGET  {value['name']}")
    if value["description"]:
        say(f"  {value['description']}")
    _table(("BUILD ARG", "VALUE", "DESCRIPTION"), [(a["name"], a["value"], a["description"]) for a in value["args"]])
    for kind in ("secrets", "ssh"):
        title = "SECRET" if kind == "secrets" else "SSH"
        _table((title, "REQUIRED"), [(item["name"], "yes" if item["required"] else "no") for item in value[kind]])


def _print_targets(value: Mapping[str, Any]) -> None:
    rows = [
        (item["name"] or "-", "yes" if item["default"] else "", item["base"], item["description"])
        for item in value["targets"]
    ]
    _table(("TARGET", "DEFAULT", "BASE", "DESCRIPTION"), rows)


def _table(head: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> None:
    if rows:
        say(table((head, *rows)) + "\n")

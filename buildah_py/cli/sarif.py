"""Findings in SARIF 2.1.0, the form that code-scanning services read."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from buildah_py.buildfile.checks import Findings
    from buildah_py.errors import BuildFileError

_SCHEMA = "https://json.schemastore.org/sarif-2.1.0.json"


def sarif(name: str, findings: Findings | None, error: BuildFileError | None) -> dict[str, Any]:
    """Return a log with one run over the file `name`."""
    from buildah_py.buildfile.rules import RULES
    from buildah_py.version import __version__

    results: list[dict[str, Any]] = []
    used: dict[str, dict[str, Any]] = {}
    for fault in (error, *error.others) if error is not None else ():
        used.setdefault("InvalidBuildFile", _rule("InvalidBuildFile", "the build file can be built", ""))
        region = {"startLine": fault.span.start.line, "startColumn": fault.span.start.column}
        results.append(_result("InvalidBuildFile", "error", fault.message, name, region))
    for warning in findings.warnings if findings is not None else ():
        rule = RULES[warning.rule]
        used.setdefault(rule.name, _rule(rule.name, rule.description, rule.url))
        results.append(_result(rule.name, warning.level, warning.message, name, {"startLine": warning.line}))
    driver = {"name": "pybuild", "version": __version__, "rules": list(used.values())}
    return {"$schema": _SCHEMA, "version": "2.1.0", "runs": [{"tool": {"driver": driver}, "results": results}]}


def _rule(name: str, description: str, url: str) -> dict[str, Any]:
    rule: dict[str, Any] = {"id": name, "shortDescription": {"text": description}}
    if url.startswith("https://"):
        rule["helpUri"] = url
    return rule


def _result(rule: str, level: str, message: str, name: str, region: dict[str, int]) -> dict[str, Any]:
    where = {"artifactLocation": {"uri": name}, "region": region}
    return {
        "ruleId": rule,
        "level": level,
        "message": {"text": message},
        "locations": [{"physicalLocation": where}],
    }

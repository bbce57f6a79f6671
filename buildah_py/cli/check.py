"""`pybuild check`: find mistakes in a build file without building it."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from buildah_py.cli.printing import complain, say, say_data, say_json
from buildah_py.errors import BuildFileError

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable

    from buildah_py.buildfile.checks import Findings
    from buildah_py.buildfile.tree import BuildFile

EXIT_FINDINGS = 1


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    add = parser.add_argument
    add("context", metavar="CONTEXT", nargs="?", default=".", help="directory whose build and ignore files to read")
    add(
        "-f",
        "--file",
        metavar="FILE",
        help="build file; default: Buildfile, Dockerfile or Containerfile in CONTEXT; - for stdin",
    )
    add("--format", choices=("text", "json", "sarif"), default="text", help="how to print; default: %(default)s")
    add("--strict", action="store_true", help="fail for warnings and notes, too")
    add("--build-arg", metavar="K=V", action="append", default=[], help="value of an ARG")
    add("--target", metavar="STAGE", default="", help="check only what this stage needs")
    add(
        "--platform",
        metavar="OS/ARCH[,…]",
        action="joined",
        default="",
        help="platforms to check for; default: this machine's",
    )
    add("--extensions", action="store_true", help="allow pybuild's extensions of the language")


def run(args: argparse.Namespace) -> int:
    """Check; 0 if the file is valid, 1 if it is not or if its findings count as errors."""
    from buildah_py.api.checks import ignored_by
    from buildah_py.api.state import opened
    from buildah_py.buildfile.checks import find
    from buildah_py.cli.arguments import key_values
    from buildah_py.contexts.main import parse_build_file
    from buildah_py.sources.reach import Reach

    build_args = key_values(args.build_arg, "--build-arg", dict(os.environ))
    with opened(args.context, args.file, os.environ, reach=Reach(tell=complain)) as main:
        try:
            file = parse_build_file(main, extensions=args.extensions)
        except BuildFileError as error:
            return report_fault(error, args.format)
        ignored = ignored_by(main.ignore())
    findings = find(
        file,
        build_args=build_args,
        target=args.target or None,
        platform=args.platform,
        ignored=ignored,
    )
    if findings.error is not None:
        return report_fault(findings.error, args.format)
    if args.format == "json":
        say_data(as_json(file, findings))
    elif args.format == "sarif":
        from buildah_py.cli.sarif import sarif

        say_json(sarif(file.source.name, findings, None))
    else:
        print_text(file, findings)
    return EXIT_FINDINGS if findings.fails or (args.strict and findings.warnings) else 0


def as_json(file: BuildFile, findings: Findings) -> dict[str, Any]:
    """Return the output of `--format=json` for a valid file."""
    from buildah_py.buildfile.tree import every

    return {
        "valid": True,
        "stages": [
            {
                "name": stage.name,
                "base": stage.base.image.text,
                "commands": [instruction.keyword.upper() for instruction in every(stage.instructions)],
            }
            for stage in file.stages
        ],
        "warnings": [
            {
                "rule": warning.rule,
                "line": file.source.place(warning.line)[1],
                "message": warning.message,
                "url": warning.url,
            }
            for warning in findings.warnings
        ],
    }


def fault_json(error: BuildFileError) -> dict[str, Any]:
    """Return the output of `--format=json` for a file that is not valid."""
    return {
        "valid": False,
        "errors": [
            {
                "line": fault.source.place(fault.span.start.line)[1],
                "column": fault.span.start.column,
                "message": fault.message,
            }
            for fault in (error, *error.others)
        ],
    }


def report_fault(error: BuildFileError, form: str, answer: Callable[[dict[str, Any]], object] | None = None) -> int:
    """Print what makes a file invalid; the exit status. `answer` is told what would be printed as JSON."""
    if form == "json":
        (answer or say_data)(fault_json(error))
    elif form == "sarif":
        from buildah_py.cli.sarif import sarif

        say_json(sarif(error.source.name, None, error))
    else:
        complain(str(error))
    return EXIT_FINDINGS


def _reachable(url: str) -> str:
    """Give a place that whoever has no checkout can look at."""
    return f"`pybuild help {url[5:].replace('.md', '')}`" if url.startswith("docs/") else url


def print_text(file: BuildFile, findings: Findings) -> None:
    """Print the findings for people."""
    name = file.source.name
    for warning in findings.warnings:
        where, line = file.source.place(warning.line)
        say(f"{where}:{line}: {warning.level}: {warning.message} [{warning.rule}]")
        say(f"  {file.source.line(warning.line).strip()}")
    count = len(findings.warnings)
    if count:
        urls = dict.fromkeys(warning.url for warning in findings.warnings if warning.url)
        say("\n".join(["", "see", *(f"  {_reachable(url)}" for url in urls)]))
    verdict = "no findings" if not count else f"{count} finding{'s' if count > 1 else ''}"
    say(f"{name}: {verdict}" + (", which count as errors (check=error=true)" if findings.fails else ""))

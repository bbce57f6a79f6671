"""Asks the real `docker buildx bake` about the cases in tests/bake/, and compares with what is written there.

    scripts/run python scripts/bake_cases.py BUILDX [--write | --each N]

BUILDX is the plugin, such as /usr/libexec/docker/cli-plugins/docker-buildx. It needs no daemon for --print and --list.
With --each, each Nth case is asked about. With --write its answers are written down instead. Another version
than VERSION may answer otherwise.

Each case has `files` by name, `args`, `env`; `expected` is what buildx prints, of an `expression` its value, null
where it fails. A case with `pybuild` is one where pybuild answers that instead, for the reason in `because`.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

VERSION = "0.29.1"
"""The buildx whose answers are written down."""
CASES = Path(__file__).parent.parent / "tests" / "bake"
_VALUE = 'target "default" {\n  args = {\n    v = jsonencode(%s)\n  }\n}\n'


def version_of(buildx: str) -> str:
    """Return the version of a buildx, such as 0.29.1."""
    told = subprocess.run([buildx, "version"], capture_output=True, text=True, check=True).stdout
    return told.split()[1].lstrip("v").partition("+")[0]


def read(name: str) -> list[dict[str, Any]]:
    """Read cases; those of expressions are a file with that expression."""
    found: list[dict[str, Any]] = json.loads((CASES / name).read_text(encoding="utf-8"))
    return found


def text_of(case: dict[str, Any]) -> str:
    """Return a file that evaluates a case's expression."""
    expression: str = case["expression"]
    return _VALUE % expression


def laid_out(case: dict[str, Any], directory: Path) -> list[str]:
    """Write a case's files to a directory; the arguments behind `bake`."""
    files = case.get("files") or {"docker-bake.hcl": text_of(case)}
    for name, text in files.items():
        path = directory / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8", errors="surrogateescape")
    args: list[str] = case.get("args", [])
    return args if any(arg.startswith("--list") for arg in args) else ["--print", *args]


def environ_of(case: dict[str, Any]) -> dict[str, str]:
    """Give the environment of a case."""
    return {"PATH": os.environ["PATH"], "HOME": "/nobody", "BUILDX_BAKE_ENTITLEMENTS_FS": "0", **case.get("env", {})}


def ask(buildx: str, case: dict[str, Any]) -> str | None:
    """Have buildx answer; None where it fails."""
    with tempfile.TemporaryDirectory() as directory:
        arguments = laid_out(case, Path(directory))
        environ = {**environ_of(case), "BUILDX_CONFIG": f"{directory}.config"}
        done = subprocess.run(
            [buildx, "bake", *arguments], cwd=directory, env=environ, capture_output=True, check=False
        )
        return answer_of(case, done.stdout.decode("utf-8", "replace")) if done.returncode == 0 else None


def answer_of(case: dict[str, Any], printed: str) -> str | None:
    """Give what is kept of what was printed: all of it, of an expression its value."""
    if "expression" not in case:
        return printed
    value: str | None = json.loads(printed)["target"]["default"].get("args", {}).get("v")
    return value


def main() -> int:
    """Compare, or write."""
    buildx, write = sys.argv[1], "--write" in sys.argv
    each = int(sys.argv[3]) if "--each" in sys.argv else 1
    status = 0
    for name in ("cases.json", "expressions.json"):
        cases = read(name)[::each]
        with ThreadPoolExecutor(2) as pool:
            answers = list(pool.map(lambda case: ask(buildx, case), cases))
        for case, answer in zip(cases, answers, strict=True):
            if write:
                case["expected"] = answer
            elif case["expected"] != answer:
                sys.stdout.write(f"{name}: {case.get('title') or case['expression']}: buildx says {answer!r}\n")
                status = 1
        if write:
            (CASES / name).write_text(
                "[\n" + ",\n".join(json.dumps(case, ensure_ascii=False) for case in cases) + "\n]\n", encoding="utf-8"
            )
        sys.stdout.write(f"{name}: {len(cases)} cases\n")
    return status


if __name__ == "__main__":
    sys.exit(main())

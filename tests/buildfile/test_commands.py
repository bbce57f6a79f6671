"""`pybuild check`, `pybuild fmt` and `pybuild build --call`, as a person runs them."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from buildah_py.buildfile import parse
from buildah_py.buildfile.stage_graph import GraphedEdge, GraphedStage, StageGraph
from buildah_py.cli import main
from buildah_py.cli.call import Asked, run_call
from buildah_py.cli.call_graph import lines
from buildah_py.errors import UsageError

if TYPE_CHECKING:
    from pathlib import Path

VALID = """\
# syntax=docker/dockerfile:1
# base does it all
FROM scratch AS base
# NAME is who to greet
ARG NAME=you
RUN --mount=type=secret,id=key,required --mount=type=ssh echo $NAME
FROM base
CMD hello
"""


@pytest.fixture
def context(tmp_path: Path) -> Path:
    """A context with a valid build file."""
    (tmp_path / "Dockerfile").write_text(VALID)
    return tmp_path


def test_check_as_json(context: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", "--format=json", str(context)]) == 0
    assert json.loads(capsys.readouterr().out) == {
        "schema": 1,
        "valid": True,
        "stages": [
            {"name": "base", "base": "scratch", "commands": ["ARG", "RUN"]},
            {"name": None, "base": "base", "commands": ["CMD"]},
        ],
        "warnings": [
            {
                "rule": "JSONArgsRecommended",
                "line": 8,
                "message": "CMD in shell form keeps signals from the program; write a JSON array",
                "url": "https://docs.docker.com/go/dockerfile/rule/json-args-recommended/",
            }
        ],
    }


def test_check_as_text(context: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", str(context)]) == 0
    out = capsys.readouterr().out
    assert f"{context}/Dockerfile:8: warning: CMD in shell form" in out
    assert "[JSONArgsRecommended]\n  CMD hello" in out
    assert main(["check", "--strict", str(context)]) == 1


def test_error_true_fails(context: Path) -> None:
    (context / "Dockerfile").write_text("# check=error=true\nFROM scratch\nCMD x\n")
    assert main(["check", str(context)]) == 1
    (context / "Dockerfile").write_text('# check=error=true\nFROM scratch\nCMD ["x"]\n')
    assert main(["check", str(context)]) == 0


def test_faults(context: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (context / "Dockerfile").write_text("FROM scratch\nRUM x\nENV a\n")
    assert main(["check", str(context)]) == 1
    shown = capsys.readouterr().err
    assert ":2:1: unknown instruction: RUM\n  RUM x\n  ^^^\n  hint: did you mean RUN?" in shown
    assert main(["check", "--format=json", str(context)]) == 1
    assert json.loads(capsys.readouterr().out) == {
        "schema": 1,
        "valid": False,
        "errors": [
            {"line": 2, "column": 1, "message": "unknown instruction: RUM"},
            {"line": 3, "column": 5, "message": "ENV must have two arguments"},
        ],
    }


def test_faults_that_show_when_variables_are_expanded(context: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (context / "Dockerfile").write_text("ARG x\nFROM $x\n")
    assert main(["check", "--format=json", str(context)]) == 1
    assert json.loads(capsys.readouterr().out)["errors"][0]["line"] == 2
    assert main(["check", "--build-arg", "x=scratch", str(context)]) == 0


def test_sarif(context: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", "--format=sarif", str(context)]) == 0
    log: dict[str, Any] = json.loads(capsys.readouterr().out)
    (run,) = log["runs"]
    assert log["version"] == "2.1.0"
    assert [rule["id"] for rule in run["tool"]["driver"]["rules"]] == ["JSONArgsRecommended"]
    (result,) = run["results"]
    assert result["level"] == "warning"
    assert result["locations"][0]["physicalLocation"]["region"] == {"startLine": 8}
    (context / "Dockerfile").write_text("FROM\n")
    assert main(["check", "--format=sarif", str(context)]) == 1
    assert json.loads(capsys.readouterr().out)["runs"][0]["results"][0]["level"] == "error"


def test_ignored_files(context: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (context / "Dockerfile").write_text("FROM scratch\nCOPY a b/c /x/\n")
    (context / ".dockerignore").write_text("b\n")
    assert main(["check", str(context)]) == 0
    assert '"b/c"' in capsys.readouterr().out
    (context / ".dockerignore").write_text("b\n!b/c\n")
    assert main(["check", str(context)]) == 0
    assert "no findings" in capsys.readouterr().out
    (context / ".dockerignore").write_text("*\n!b/c\n!*.log\n")
    (context / "Dockerfile").write_text("FROM scratch\nCOPY . b b/c *.txt b/d /x/\n")
    assert main(["check", str(context)]) == 0
    out = capsys.readouterr().out
    assert '"b/d"' in out
    assert "1 finding" in out


def test_include_is_relative_to_the_build_file(context: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (context / "Dockerfile").write_text("FROM scratch\nINCLUDE more\n")
    (context / "more").write_text("CMD x\n")
    assert main(["check", "--extensions", str(context)]) == 0
    assert "more:1: warning" in capsys.readouterr().out
    (context / "Dockerfile").write_text("FROM scratch\nINCLUDE ../../etc/passwd\n")
    assert main(["check", "--extensions", str(context)]) == 1
    assert "outside of the build file's directory" in capsys.readouterr().err
    (context / "Dockerfile").write_text("FROM scratch\nINCLUDE more\n")
    (context / "more").unlink()
    assert main(["check", "--extensions", str(context)]) == 1
    assert "cannot read more: No such file" in capsys.readouterr().err


def test_fmt(context: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = context / "Dockerfile"
    path.write_text("from  scratch  as a\n\n\n#note\nenv  a=b   \\\n\n  c=d\ncmd [ 'x' ]\n")
    expected = "FROM scratch AS a\n\n# note\nENV a=b \\\n    c=d\nCMD [ 'x' ]\n"
    assert main(["fmt", str(context)]) == 0
    assert capsys.readouterr().out == expected
    assert main(["fmt", "--check", str(context)]) == 1
    assert main(["fmt", "-w", str(context)]) == 0
    assert path.read_text() == expected
    assert main(["fmt", "--check", str(context)]) == 0


def call(method: str, capsys: pytest.CaptureFixture[str], target: str | None = None) -> Any:
    """What `--call=METHOD,format=json` prints."""
    assert run_call(f"{method},format=json", parse(VALID, "Dockerfile"), Asked({"NAME": "me"}, target)) == 0
    return json.loads(capsys.readouterr().out)


def test_targets(capsys: pytest.CaptureFixture[str]) -> None:
    targets = call("targets", capsys)["targets"]
    assert [(target["name"], target["description"], target["default"]) for target in targets] == [
        ("base", "does it all", False),
        ("", "", True),
    ]


def test_outline(capsys: pytest.CaptureFixture[str]) -> None:
    outline = call("outline", capsys)
    assert outline["args"] == [{"name": "NAME", "value": "me", "description": "is who to greet", "line": 5}]
    assert outline["secrets"] == [{"name": "key", "required": True, "line": 6}]
    assert outline["ssh"] == [{"name": "default", "required": False, "line": 6}]
    assert call("outline", capsys, "base")["description"] == "does it all"


GRAPH = """\
FROM debian AS base
FROM base AS make
RUN --mount=type=bind,from=tools,target=/t true
COPY --from=golang:1.22 /go /go
FROM scratch
COPY --from=make /x /x
COPY --from=make /y /y
"""


def test_graph(capsys: pytest.CaptureFixture[str]) -> None:
    file = parse(GRAPH, "Dockerfile")
    assert run_call("graph", file, Asked()) == 0
    assert capsys.readouterr().out.splitlines() == [
        "base: 0 steps",
        "  FROM  debian",
        "make: 2 steps",
        "  FROM  base",
        "  mount tools",
        "  COPY  golang:1.22",
        "stage-2 (target): 2 steps",
        "  COPY  make",
    ]
    assert run_call("graph,format=json", file, Asked(target="base")) == 0
    assert json.loads(capsys.readouterr().out) == {
        "schema": 1,
        "nodes": [
            {"kind": "image", "name": "debian", "line": 0, "steps": 0, "target": False},
            {"kind": "stage", "name": "base", "line": 1, "steps": 0, "target": True},
        ],
        "edges": [{"source": 0, "target": 1, "kind": "from"}],
    }
    assert run_call("graph,format=mermaid", file, Asked()) == 0
    mermaid = capsys.readouterr().out.splitlines()
    assert (mermaid[0], mermaid[1], mermaid[-1]) == (
        "flowchart LR",
        '    n0[("debian")]',
        "    style n5 stroke-width:3px",
    )
    assert '    n2("make<br>line 2, 2 steps")' in [line.replace("n4", "n2") for line in mermaid]
    assert sum(" -. COPY .-> " in line for line in mermaid) == 2
    with pytest.raises(UsageError, match="format=svg means nothing"):
        run_call("graph,format=svg", file, Asked())


def test_names_in_a_graph_end_no_string() -> None:
    graph = StageGraph((GraphedStage("image", 'a"b\\'), GraphedStage("stage", "x", 1, 1)), (GraphedEdge(0, 1, "copy"),))
    assert lines(graph, "dot")[3:] == [
        '  n0 [label="a\\"b\\\\", shape=cylinder, style=solid];',
        '  n1 [label="x\\nline 1, 1 step"];',
        '  n0 -> n1 [style=dashed, label="COPY"];',
        "}",
    ]
    assert lines(graph, "mermaid")[1] == '    n0[("a#34;b#92;")]'


def test_call_as_text(capsys: pytest.CaptureFixture[str]) -> None:
    file = parse(VALID, "Dockerfile")
    assert run_call("outline", file, Asked()) == 0
    assert run_call("targets", file, Asked()) == 0
    assert run_call("check", file, Asked()) == 0
    out = capsys.readouterr().out
    assert "NAME        you     is who to greet" in out
    assert "base" in out
    assert "[JSONArgsRecommended]" in out


def test_wrong_calls() -> None:
    file = parse(VALID, "Dockerfile")
    with pytest.raises(UsageError, match="no method outlin"):
        run_call("outlin", file, Asked())
    with pytest.raises(UsageError, match="format=xml means nothing"):
        run_call("check,format=xml", file, Asked())
    with pytest.raises(UsageError, match="could not be found"):
        run_call("check", file, Asked(target="nope"))

"""The extensions of the language, and that a file has to ask for them."""

from __future__ import annotations

import pytest

from buildah_py.buildfile import parse
from buildah_py.buildfile.checks import find
from buildah_py.buildfile.conditions import holds
from buildah_py.buildfile.printer import render
from buildah_py.buildfile.tree import Copy, Env, EnvFromRun, If, Include, Run, Unset, every
from buildah_py.errors import BuildFileError, NotFound

HEAD = "# syntax=pybuild/1\nFROM scratch\n"


def fault(text: str) -> BuildFileError:
    """What is wrong with `text`."""
    with pytest.raises(BuildFileError) as caught:
        parse(text, "Buildfile")
    return caught.value


@pytest.mark.parametrize(
    "text",
    ["INCLUDE x", "UNSET ENV x", "ENV --from-run x y", "IF a\nEND", "COPY --from=$x a /b", "RUN --mount=from=$x y"],
)
def test_each_has_to_be_asked_for(text: str) -> None:
    fault(f"FROM scratch\n{text}")
    fault(f"# syntax=docker/dockerfile:1\nFROM scratch\n{text}")
    parse(f"{HEAD}{text}", "Buildfile")
    parse(f"FROM scratch\n{text}", "Buildfile", extensions=True)


def test_from_run_and_unset() -> None:
    file = parse(f"{HEAD}ENV --from-run V  git describe | head\nUNSET env A 'B C'", "Buildfile")
    env, unset = file.stages[0].instructions
    assert isinstance(env, EnvFromRun)
    assert (env.name, env.command.text) == ("V", "git describe | head")
    assert isinstance(unset, Unset)
    assert (unset.kind, [word.text for word in unset.names]) == ("ENV", ["A", "'B C'"])
    assert "did you mean UNSET ENV" in fault(f"{HEAD}UNSET ENF a").hint
    assert "needs a variable's name" in fault(f"{HEAD}ENV --from-run a-b c").message


def test_unset_variables_are_undefined() -> None:
    file = parse(f"{HEAD}ENV A=1\nUSER $A\nUNSET ENV A\nUSER $A", "Buildfile")
    assert [(warning.rule, warning.line) for warning in find(file).warnings] == [("UndefinedVar", 6)]


@pytest.mark.parametrize(
    ("condition", "expected"),
    [
        ("A", True),
        ("ZERO", False),
        ("NO", False),
        ("MISSING", False),
        ("!A", False),
        ("! MISSING", True),
        ("A == one", True),
        ('A=="one"', True),
        ("A != one", False),
        ("A == $A", True),
        ("${A}x == onex", True),
        ("MISSING == ''", True),
        ("defined EMPTY", True),
        ("defined MISSING", False),
        ("A && MISSING || defined EMPTY", True),
        ("A && (MISSING || NO)", False),
        ("!(A && MISSING)", True),
    ],
)
def test_conditions(condition: str, expected: bool) -> None:
    file = parse(f"{HEAD}IF {condition}\nEND", "Buildfile")
    (node,) = file.stages[0].instructions
    assert isinstance(node, If)
    env = {"A": "one", "ZERO": "0", "NO": "No", "EMPTY": ""}
    assert holds(node.condition, env, file.source) is expected


def test_branches_nest() -> None:
    text = f"{HEAD}IF A\n  RUN a\n  IF B\n    RUN b\n  END\nELSE\n  RUN c\nEND\nRUN d\n"
    outer, last = parse(text, "Buildfile").stages[0].instructions
    assert isinstance(outer, If)
    assert isinstance(last, Run)
    assert [type(node).__name__ for node in outer.then] == ["Run", "If"]
    assert len(outer.otherwise) == 1
    assert (outer.span.start.line, outer.span.end.line) == (3, 10)
    assert [node.span.start.line for node in every([outer, last])] == [3, 4, 5, 6, 9, 11]


@pytest.mark.parametrize(
    ("text", "message", "line"),
    [
        ("IF A\nRUN x", "no END", 3),
        ("END", "END without IF", 3),
        ("ELSE", "ELSE without IF", 3),
        ("IF A\nELSE\nELSE\nEND", "has an ELSE already", 5),
        ("IF A ==\nEND", "not a condition", 3),
        ("IF\nEND", "needs a condition", 3),
        ("IF A\nFROM b\nEND", "FROM cannot stand in an IF", 4),
        ("IF A\nEND x", "takes no arguments", 4),
        ("IF A\n" * 3000 + "RUN x\n" + "END\n" * 3000, "nested too deeply", 53),
        ("IF " + "(" * 5000 + "A" + ")" * 5000 + "\nEND", "nested too deeply", 3),
    ],
)
def test_faulty_branches(text: str, message: str, line: int) -> None:
    error = fault(HEAD + text)
    faults = [(error.message, error.span.start.line), *((one.message, one.span.start.line) for one in error.others)]
    assert any(message in one and line == where for one, where in faults)


def test_the_branch_that_holds_is_checked() -> None:
    text = "# syntax=pybuild/1\nFROM scratch\nARG A\nIF A\nUSER $b\nELSE\nUSER $c\nEND"
    file = parse(text, "Buildfile")
    assert [warning.line for warning in find(file).warnings] == [7]
    assert [warning.line for warning in find(file, build_args={"A": "1"}).warnings] == [5]


def reader(files: dict[str, str]):  # type: ignore[no-untyped-def]  # noqa: ANN201
    """An INCLUDE reader over a dict."""

    def read(path: str) -> tuple[str, str]:
        if path not in files:
            raise NotFound("no such file")
        return path, files[path]

    return read


def test_include() -> None:
    files = {"a": "ENV a=1\nINCLUDE b\nENV c=3\n", "b": "# note\nENV b=2"}
    text = f"{HEAD}RUN <<E\nINCLUDE x\nE\ninclude a\nENV d=4\n"
    file = parse(text, "Buildfile", include=reader(files))
    run, *envs = file.stages[0].instructions
    assert isinstance(run, Run)
    assert run.heredocs[0].body == "INCLUDE x\n"
    assert [node.pairs[0][0].text for node in envs if isinstance(node, Env)] == ["a", "b", "c", "d"]
    assert [file.source.place(node.span.start.line) for node in envs] == [
        ("a", 1),
        ("b", 2),
        ("a", 3),
        ("Buildfile", 7),
    ]


def test_faults_in_included_files_name_them() -> None:
    with pytest.raises(BuildFileError) as caught:
        parse(f"{HEAD}INCLUDE a\nRUM y", "Buildfile", include=reader({"a": "ENV x=1\nRUM z\n"}))
    assert str(caught.value).startswith("a:2:1: unknown instruction: RUM\n  RUM z\n  ^^^")
    assert "Buildfile:4:1: unknown instruction: RUM\n  RUM y" in str(caught.value)


@pytest.mark.parametrize(
    ("files", "message"),
    [({}, "no such file"), ({"a": "INCLUDE a"}, "includes itself"), ({"a": "INCLUDE"}, "exactly one")],
)
def test_faulty_includes(files: dict[str, str], message: str) -> None:
    with pytest.raises(BuildFileError, match=message):
        parse(f"{HEAD}INCLUDE a", "Buildfile", include=reader(files))


def test_without_a_reader_the_node_stays() -> None:
    (node,) = parse(f"{HEAD}INCLUDE a/b", "Buildfile").stages[0].instructions
    assert isinstance(node, Include)
    assert node.path.text == "a/b"


def test_variables_in_from_and_exclude() -> None:
    (copy,) = parse(f"{HEAD}COPY --from=$a --exclude=$b x /y", "Buildfile").stages[0].instructions
    assert isinstance(copy, Copy)
    assert copy.from_ is not None
    assert (copy.from_.text, copy.exclude[0].text) == ("$a", "$b")


def test_printing() -> None:
    text = f"{HEAD}if  A==b\n# one\nRUN x \\\n  y\nelse\ninclude z\nEND\nunset env  a b\nenv --from-run v cmd  a"
    printed = render(parse(text, "Buildfile"))
    assert printed == (
        "# syntax=pybuild/1\nFROM scratch\nIF A==b\n    # one\n    RUN x \\\n  y\nELSE\n    INCLUDE z\nEND\n"
        "UNSET ENV a b\nENV --from-run v cmd  a\n"
    )
    assert render(parse(printed, "Buildfile")) == printed

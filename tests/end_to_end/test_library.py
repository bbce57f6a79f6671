"""pybuild as a library: what `import buildah_py` gives, used by programs of root and of ordinary users."""

from __future__ import annotations

import inspect
import json
import pickle
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest

import buildah_py
from buildah_py.errors import BuildFileError, PybuildError, RegistryError, StepFailed

if TYPE_CHECKING:
    from tests.end_to_end.conftest import Pybuild

SEES_SECRET = """FROM busybox
RUN --mount=type=secret,id=tok test "$(cat /run/secrets/tok | od -An -tx1)" = " 73 00 e9 0a"
ARG WORD
RUN echo "$WORD" >/said
"""


def script(pybuild: Pybuild, text: str, *, status: int = 0) -> Any:
    """Run a program that uses the library, and give what it printed as JSON in its last line."""
    command = [*pybuild.command[:-3], "-P", "-c", text] if pybuild.owner else [sys.executable, "-c", text]
    result = subprocess.run(
        command, check=False, capture_output=True, text=True, env=pybuild.environ(), cwd=pybuild.work, timeout=200
    )
    assert result.returncode == status, (result.stdout, result.stderr)
    return json.loads(result.stdout.splitlines()[-1])


@pytest.mark.either_user
def test_a_program_builds_lists_explains_and_removes(busybox: Pybuild) -> None:
    context = busybox.context(SEES_SECRET)
    found = script(
        busybox,
        f"""
import json, buildah_py as pybuild
events = []
def build():
    return pybuild.build({str(context)!r}, tags=["app", "other:1"], build_args={{"WORD": "hello"}},
                         secrets={{"tok": b"s\\0\\xe9\\n"}}, on_event=events.append)
first, second = build(), build()
report = pybuild.why({str(context)!r}, tags=["app"], build_args={{"WORD": "bye"}},
                     secrets={{"tok": b"another"}})
gone = pybuild.remove("other:1")
print(json.dumps([first, second, sorted({{type(one).__name__ for one in events}}),
                  [[one.verdict, one.reason] for one in report.steps], gone,
                  [[one.repository, one.tag] for one in pybuild.images()]]))
""",
    )
    first, second, events, reasons, gone, images = found
    assert first[2:] == [0, 2, ""]
    assert second[:4] == [first[0], first[1], 2, 0]
    assert {"BuildStarted", "StepStarted", "StepDone", "BuildDone"} <= set(events)
    assert reasons[:2] == [["hit", ""], ["hit", ""]]
    assert reasons[2][0] == "miss"
    assert "WORD" in reasons[2][1]
    assert gone == ["untagged other:1"]
    assert ["app", "latest"] in images
    assert busybox.run("cat", "app:/said").stdout == "hello\n"


@pytest.mark.either_user
def test_errors_arrive_as_they_were_raised(busybox: Pybuild) -> None:
    failing = busybox.context("FROM busybox\nRUN echo told >&2; exit 7\n", "failing")
    faulty = busybox.context("FROM busybox\nRUNN x\n", "faulty")
    found = script(
        busybox,
        f"""
import json, buildah_py as pybuild
found = []
for context in ({str(failing)!r}, {str(faulty)!r}, "/nowhere"):
    try:
        pybuild.build(context)
    except pybuild.PybuildError as error:
        found.append([type(error).__name__, error.exit_status, error.message, error.hint, str(error)])
print(json.dumps(found))
""",
    )
    failed, wrong, missing = found
    assert failed[:2] == ["StepFailed", 7]
    assert "status 7" in failed[2]
    assert wrong[:2] == ["BuildFileError", 125]
    assert "Buildfile:2:1" in wrong[4]
    assert missing[1] in (2, 125)


@pytest.mark.either_user
def test_a_command_runs_on_the_programs_own_streams(busybox: Pybuild) -> None:
    found = script(
        busybox,
        """
import json, buildah_py as pybuild
status = pybuild.run("busybox", ["sh", "-c", "echo out $WORD; exit 3"], env={"WORD": "word"})
print(json.dumps(status))
""",
    )
    assert found == 3


def test_builds_in_threads_do_not_disturb_each_other(busybox: Pybuild) -> None:
    contexts = [str(busybox.context(f"FROM busybox\nRUN echo {n} >/n\n", f"c{n}")) for n in range(3)]
    found = script(
        busybox,
        f"""
import json, buildah_py as pybuild
from concurrent.futures import ThreadPoolExecutor
with ThreadPoolExecutor(3) as pool:
    made = list(pool.map(lambda one: pybuild.build(one[1], tags=[f"t{{one[0]}}"]).ran, enumerate({contexts!r})))
print(json.dumps(made))
""",
    )
    assert found == [1, 1, 1]
    assert [busybox.run("cat", f"t{n}:/n").stdout for n in range(3)] == ["0\n", "1\n", "2\n"]


def test_importing_the_library_imports_nothing_else() -> None:
    code = "import sys, buildah_py; print([name for name in sys.modules if name.startswith('buildah_py.')])"
    result = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert result.stdout == "[]\n"


def test_everything_that_is_public_is_there_and_described() -> None:
    assert set(dir(buildah_py)) == set(buildah_py.__all__)
    for name in set(buildah_py.__all__) - {"__version__"}:
        thing = getattr(buildah_py, name)
        assert inspect.getdoc(thing), name
        if inspect.isfunction(thing):
            assert all(one.annotation is not one.empty for one in inspect.signature(thing).parameters.values()), name
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = buildah_py.nothing


@pytest.mark.parametrize(
    "error",
    [
        StepFailed("it failed", 9, hint="look"),
        RegistryError("no", hint="log in", status=401),
        PybuildError("plain"),
    ],
)
def test_errors_survive_pickling(error: PybuildError) -> None:
    again = pickle.loads(pickle.dumps(error))
    assert type(again) is type(error)
    assert vars(again) == vars(error)
    assert str(again) == str(error)


def test_a_build_file_error_survives_pickling() -> None:
    from buildah_py.buildfile.parser import parse

    with pytest.raises(BuildFileError) as caught:
        parse("FROM x\nRUNN y\nCPY z\n", "Buildfile")
    assert str(pickle.loads(pickle.dumps(caught.value))) == str(caught.value)

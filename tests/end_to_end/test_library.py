"""pybuild as a library: what `import buildah_py` gives, used by programs of root and of ordinary users."""

from __future__ import annotations

import inspect
import json
import os
import pickle
import subprocess
import sys
import tarfile
from pathlib import Path
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
    assert first[2:5] == [0, 2, ""]
    assert second[:4] == [first[0], first[1], 2, 0]
    assert [step[3] for step in (*first[5], *second[5])] == ["hit", "ran", "ran", "hit", "hit", "hit"]
    assert first[5][2][:3] == ["", 3, 'RUN echo "$WORD" >/said']
    assert {"BuildStarted", "StepStarted", "StepDone", "BuildDone"} <= set(events)
    assert reasons[:2] == [["hit", ""], ["hit", ""]]
    assert reasons[2][0] == "miss"
    assert "WORD" in reasons[2][1]
    assert gone == ["untagged other:1"]
    assert ["app", "latest"] in images
    assert busybox.run("cat", "app:/said").stdout == "hello\n"


@pytest.mark.root
def test_how_far_an_image_is_that_is_saved(busybox: Pybuild) -> None:
    moved = script(
        busybox,
        """
import json, buildah_py as pybuild
from buildah_py.meter import Listening
Listening.__init__.__kwdefaults__["interval"] = 0  # or a small image is through before anything is said
events = []
built = pybuild.build(None, text="FROM busybox\\nLABEL a=b\\n", tags=["app"])
built.save("app.tar", on_event=events.append)
pybuild.save("app", "dir", form="oci-dir", on_event=events.append)
print(json.dumps([[type(one).__name__, one.what, one.done, one.ended] for one in events]))
""",
    )
    assert {kind for kind, *_ in moved} == {"Moved"}
    assert max(done for _, what, done, ended in moved if ended and what == "writing app.tar") > 100_000
    assert "dir" in os.listdir(busybox.work)


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


@pytest.mark.either_user
def test_the_page_on_the_library_is_true(busybox: Pybuild) -> None:
    page = Path(__file__).parents[2] / "docs" / "python.md"
    found = script(
        busybox,
        f"""
import doctest, json
flags = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE
print(json.dumps(doctest.testfile({str(page)!r}, module_relative=False, optionflags=flags)))
""",
    )
    assert found[0] == 0
    assert found[1] >= 10
    with tarfile.open(busybox.work / "app.tar") as archive:
        assert "manifest.json" in archive.getnames()


def test_a_build_is_watched_by_a_task_and_stopped(busybox: Pybuild) -> None:
    found = script(
        busybox,
        """
import asyncio, json, buildah_py as pybuild
async def watch():
    seen = []
    with pybuild.start_build(None, text="FROM busybox\\nRUN echo begun; sleep 100\\n") as building:
        async for event in building:
            seen.append(type(event).__name__)
            if getattr(event, "data", b"") == b"begun\\n":
                building.stop()
    try:
        building.result()
    except pybuild.Interrupted as error:
        return [seen[0], seen[-1], error.exit_status]
print(json.dumps(asyncio.run(watch())))
""",
    )
    assert found[:2] == ["BuildStarted", "BuildFailed"]
    assert found[2] == 130


def test_the_fixture_builds_once_and_shows_what_failed(busybox: Pybuild) -> None:
    (busybox.work / "test_it.py").write_text("""
import buildah_py, pytest
TEXT = "FROM busybox\\nRUN echo 1 >/x\\n"
@pytest.mark.parametrize("again", [0, 1])
def test_it(pybuild_image, again):
    image = pybuild_image(None, text=TEXT)
    assert image.ran == 1
    assert image is pybuild_image(None, text=TEXT)
def test_no(pybuild_image):
    pybuild_image(None, text="FROM busybox\\nRUN echo this is why; exit 3\\n")
""")
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "no:xdist", "test_it.py"]
    if (
        "pybuild_image"
        not in subprocess.run(
            [*command, "--fixtures"], capture_output=True, text=True, cwd=busybox.work, check=False
        ).stdout
    ):
        command[3:3] = ["-p", "buildah_py.pytest_plugin"]  # installed before there was the entry point
    result = subprocess.run(
        command, check=False, capture_output=True, text=True, env=busybox.environ(), cwd=busybox.work, timeout=200
    )
    assert "2 passed, 1 error" in result.stdout or "1 failed, 2 passed" in result.stdout, result.stdout
    assert "this is why" in result.stdout


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

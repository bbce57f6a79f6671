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


@pytest.mark.either_user
def test_containers_in_the_background(busybox: Pybuild) -> None:
    found = script(
        busybox,
        """
import json, socket, buildah_py as pybuild
SERVE = "trap 'exit 5' TERM; echo begun; printf half; echo oops >&2; while :; do sleep 0.05; done"
with pybuild.start_container("busybox", ["sh", "-c", SERVE], name="it", env={"A": "b"}, labels={"x": "y"}) as one:
    said = [one.wait_for_output("beg"), one.wait_for_output("hal"), one.wait_for_output("oops"), one.status]
    same = pybuild.StartedContainer("it")
    inside = one.exec(["sh", "-c", "cat; echo $A; id -u >&2; exit 3"], stdin=b"in\\n", user="7")
    problems = []
    for call in (lambda: one.wait(timeout=0.1), lambda: one.wait_for_output("never", timeout=0.1),
                 lambda: one.wait_for_port(80, timeout=0.1), lambda: one.address(80), lambda: one.exec(["nope"]),
                 lambda: pybuild.start_container("busybox", ["nope"]),
                 lambda: pybuild.start_container("busybox", name="it"),
                 lambda: one.exec(["true"], user="NOBODY")):
        try:
            problems.append(call())
        except (pybuild.PybuildError, TimeoutError) as error:
            problems.append(f"{type(error).__name__}: {error}")
    said += [same.id == one.id, one.stop(), len(one.logs()), sorted(same.lines()), one.status]
    try:
        one.wait_for_output("never")
    except pybuild.SandboxError as error:
        problems.append(str(error))
try:
    one.logs()
except pybuild.NotFound as error:
    problems.append(str(error))
one.remove()
print(json.dumps([said, inside, problems]))
""",
    )
    said, inside, problems = found
    assert said == ["begun", "half", "oops", None, True, 5, 15, ["begun", "half", "oops"], 5]
    assert inside == [3, "in\nb\n", "7\n"]
    expected = [
        "TimeoutError: the container `it` still runs",
        "TimeoutError: the container `it` did not print `never` in time",
        "TimeoutError: the container `it` did not listen on port 80/tcp in time",
        "NotFound: the port 80/tcp of the container `it` is not published",
        [127, "", "pybuild: nope: command not found\n"],
        "SandboxError: the command of the container cannot be executed: nope: command not found",
        "UsageError: --name it: the container",
        "SandboxError: cannot run the container: USER",
        "the container `it` has ended with status 5, and did not print `never`\n  hint: the end of what it printed:",
        "the container `it` has been removed",
    ]
    assert [one[: len(text)] for one, text in zip(problems, expected, strict=True)] == expected
    assert json.loads(busybox.run("ps", "-a", "--format=json").stdout)["containers"] == []


@pytest.mark.either_user
def test_a_container_in_the_foreground_has_ports(busybox: Pybuild) -> None:
    found = script(
        busybox,
        """
import contextlib, json, queue, socket, threading, buildah_py as pybuild
serve = ["sh", "-c", "while ! [ -e /end ]; do busybox nc -l -p 7 -e sh -c 'touch /end; echo hello'; done"]
notes = queue.SimpleQueue()
work = lambda: pybuild.run("busybox", serve, ports=["127.0.0.1::7"], on_event=lambda event: notes.put(event.text))
thread = threading.Thread(target=work, daemon=True)
thread.start()
note = notes.get(timeout=30)
number = int(note.partition("->")[0].rpartition(":")[2])
said = b""
while not said and thread.is_alive():
    with contextlib.suppress(ConnectionError), socket.create_connection(("127.0.0.1", number)) as one:
        said = one.recv(10)
thread.join(30)
print(json.dumps([note.startswith("published 127.0.0.1:"), said.decode()]))
""",
    )
    assert found == [True, "hello\n"]


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
@pytest.mark.parametrize("again", [0, 1])
def test_container(pybuild_image, pybuild_container, again):
    server = ["sh", "-c", "trap exit TERM; sleep 100 & wait"]
    one = pybuild_container(pybuild_image(None, text=TEXT).id, server, name="same", network="none")
    assert one.exec(["cat", "/x"]).stdout == "1\\n"
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
    assert "4 passed, 1 error" in result.stdout or "1 failed, 4 passed" in result.stdout, result.stdout
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

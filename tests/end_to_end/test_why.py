"""Why steps hit or miss: a build, then one thing is changed, and that one has to be the reason."""

from __future__ import annotations

import json
import os
import re
import subprocess
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest

from buildah_py.api.build import build
from buildah_py.api.container import ContainerOptions
from buildah_py.api.request import BuildRequest
from buildah_py.api.reuse import ReuseOptions
from buildah_py.cache.keys import canonical_json
from buildah_py.commands.why import why
from buildah_py.errors import CacheError, StepFailed
from buildah_py.progress import events
from buildah_py.sandbox.spec import ResourceLimits
from tests.end_to_end.conftest import PYBUILD
from tests.pages.reader import Page

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from buildah_py.explain.report import Report

pytestmark = pytest.mark.root

TEXT = """\
FROM start AS build
ARG VERSION=1.2
ENV MODE=fast
WORKDIR /src
COPY src ./
RUN --mount=type=cache,target=/cache --mount=type=secret,id=token --mount=type=bind,source=data,target=/data \\
    echo $MODE > made
ARG LATE
FROM start
LABEL about=this
COPY --from=build /src/made /made
COPY docs/*.md /docs/
COPY <<note /note
first
note
RUN --network=none echo done
CMD ["sh"]
"""
WORKDIR, SOURCES, MAKE = "build/1", "build/2", "build/3"
ALONE = "build/4"
"""The last step of the first stage where that is the target: then it counts its base."""
MADE, DOCS, NOTE, DONE = "stage-1/2", "stage-1/3", "stage-1/4", "stage-1/5"
FILES = {
    "src/app.py": "app",
    "src/b.py": "b",
    "data/d.txt": "d",
    "docs/a.md": "a",
    "docs/b.txt": "b",
    "other.txt": "x",
}
SECRET = "id=token,env=TOKEN"


class Change(NamedTuple):
    """What is changed, and the reasons of the steps that are not to hit then."""

    name: str
    change: Callable[[Project], object]
    reasons: dict[str, str]


@dataclass
class Project:
    """A context with its build file, and how it is built."""

    path: Path
    options: dict[str, Any] = field(default_factory=dict)

    def write(self, name: str, text: str) -> None:
        (self.path / name).parent.mkdir(exist_ok=True, parents=True)
        (self.path / name).write_text(text)

    def edit(self, old: str, new: str) -> None:
        text = (self.path / "Buildfile").read_text()
        assert text.count(old) == 1, (old, text)
        self.write("Buildfile", text.replace(old, new))

    def arg(self, **values: str) -> None:
        self.options["build_args"] = values

    def container(self, **values: Any) -> None:
        self.options["container"] = ContainerOptions(**values)

    def reuse(self, **values: Any) -> None:
        self.options["reuse"] = ReuseOptions(observe="off", **values)

    def environ(self, **values: str) -> None:
        self.options["environ"] = {**self.options["environ"], **values}

    def request(self, **changes: Any) -> BuildRequest:
        options = {"reuse": ReuseOptions(observe="off"), **self.options}
        return replace(BuildRequest(context=str(self.path), **options), **changes)


@pytest.fixture(scope="module")
def started(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Give a store with the images `start` and `moved`."""
    root = tmp_path_factory.mktemp("why")
    state = root / "state"
    environ = {"PYBUILD_ROOT": str(state)}
    subprocess.run([PYBUILD, "bootstrap", "busybox"], check=True, env={**os.environ, **environ}, capture_output=True)
    for name, text in (("start", "FROM busybox"), ("moved", "FROM busybox\nCOPY <<a /\na\n")):
        build(BuildRequest(context=str(root), text=text, names=(name,), environ=environ), lambda _: None)
    return root


@pytest.fixture(scope="module")
def built(started: Path) -> Project:
    """Give a project that was built."""
    project = Project(started / "project", {"environ": {"PYBUILD_ROOT": str(started / "state"), "TOKEN": "one"}})
    project.options |= {"secrets": (SECRET,)}
    fill(project)
    build(project.request(), lambda _: None)
    return project


def fill(project: Project, text: str = TEXT) -> None:
    for name, content in FILES.items():
        project.write(name, content)
        (project.path / name).chmod(0o644)
    (project.path / "src/link").unlink(missing_ok=True)
    (project.path / "src/link").symlink_to("app.py")
    project.write("Buildfile", text)


@pytest.fixture
def project(built: Project) -> Iterator[Project]:
    """Give the project that was built, to be changed."""
    import shutil

    yield Project(built.path, dict(built.options))
    shutil.rmtree(built.path)
    fill(built)


def verdicts(report: Report) -> dict[str, str]:
    """Give the reasons of the steps that would not hit."""
    return {
        f"{step.stage}/{step.number}": step.reason or step.verdict
        for step in report.steps
        if step.verdict != "hit" and not step.text.startswith("FROM")
    }


def remove(project: Project, name: str) -> None:
    (project.path / name).unlink()


def relink(project: Project, name: str, target: str) -> None:
    remove(project, name)
    (project.path / name).symlink_to(target)


def touch(project: Project) -> None:
    for directory, _, names in os.walk(project.path):
        for name in names:
            os.utime(os.path.join(directory, name), (1, 1), follow_symlinks=False)


def anew(project: Project) -> None:
    for name, content in FILES.items():
        remove(project, name)
        project.write(name, content)
        (project.path / name).chmod(0o644)


def under_umask(project: Project) -> None:
    old = os.umask(0o077)
    try:
        project.write("Buildfile", TEXT)
    finally:
        os.umask(old)


BUILD = "follows from step 2 of build"
AFTER_SOURCES = {MAKE: BUILD, MADE: BUILD, DOCS: BUILD, NOTE: BUILD, DONE: BUILD}
MADE_FOLLOWS = "follows from step 3 of build"
AFTER_MAKE = {MADE: MADE_FOLLOWS, DOCS: MADE_FOLLOWS, NOTE: MADE_FOLLOWS, DONE: MADE_FOLLOWS}


def after(label: str, *steps: str) -> dict[str, str]:
    return dict.fromkeys(steps, f"follows from step {label}")


def sources(reason: str) -> dict[str, str]:
    return {SOURCES: f"COPY src: {reason}", **AFTER_SOURCES}


def make(reason: str) -> dict[str, str]:
    return {MAKE: reason, **AFTER_MAKE}


CHANGES = [
    # files
    Change("content", lambda p: p.write("src/app.py", "APP"), sources("src/app.py changed")),
    Change("mode", lambda p: (p.path / "src/app.py").chmod(0o755), sources("mode of src/app.py 644 → 755")),
    Change(
        "mode that git does not keep",
        lambda p: (p.path / "src/app.py").chmod(0o664),
        sources("mode of src/app.py 644 → 664; modes alone differ, in what --context-modes=git leaves out"),
    ),
    Change("file added", lambda p: p.write("src/new.py", ""), sources("src/new.py added")),
    Change("file removed", lambda p: remove(p, "src/b.py"), sources("src/b.py removed")),
    Change(
        "file renamed",
        lambda p: (p.path / "src/b.py").rename(p.path / "src/c.py"),
        sources("src/b.py removed, and 1 more"),
    ),
    Change("link's target", lambda p: relink(p, "src/link", "b.py"), sources("target of src/link app.py → b.py")),
    Change("kind", lambda p: relink(p, "src/b.py", "app.py"), sources("kind of src/b.py file → symlink")),
    Change("empty directory", lambda p: (p.path / "src/empty").mkdir(), sources("src/empty added")),
    Change("hidden by the ignore file", lambda p: p.write(".dockerignore", "src/b.py"), sources("src/b.py removed")),
    Change(
        "pattern's matches",
        lambda p: p.write("docs/new.md", ""),
        {DOCS: "COPY docs/*.md: docs/new.md added", **after("3 of stage-1", NOTE, DONE)},
    ),
    Change(
        "content of a match",
        lambda p: p.write("docs/a.md", "A"),
        {DOCS: "COPY docs/*.md: docs/a.md changed", **after("3 of stage-1", NOTE, DONE)},
    ),
    Change("bind mount", lambda p: p.write("data/d.txt", "D"), make("mount /data: data/d.txt changed")),
    Change("bind mount's new file", lambda p: p.write("data/e.txt", ""), make("mount /data: data/e.txt added")),
    Change("times", touch, {}),
    Change("files of equal content", anew, {}),
    Change(
        "order of variables",
        lambda p: p.edit("ARG VERSION=1.2\nENV MODE=fast", "ENV MODE=fast\nARG VERSION=1.2"),
        {},
    ),
    Change("file that nothing takes", lambda p: p.write("other.txt", "y"), {}),
    Change("file beside a pattern", lambda p: p.write("docs/b.txt", "B"), {}),
    Change("ignore file that hides nothing of it", lambda p: p.write(".dockerignore", "other.txt"), {}),
    Change("umask", under_umask, {}),
    # what changes no file system
    Change("comment", lambda p: p.edit("LABEL", "# a comment\nLABEL"), {}),
    Change("formatting", lambda p: p.edit("COPY src ./", "copy   src    ./"), {}),
    Change("label", lambda p: p.edit("about=this", "about=that"), {}),
    Change("command of the image", lambda p: p.edit('CMD ["sh"]', 'CMD ["ls"]\nEXPOSE 80\nVOLUME /x'), {}),
    Change("name of a stage's user only", lambda p: p.edit('CMD ["sh"]', "USER 7"), {}),
    Change("label of the command line", lambda p: p.options.update(labels={"x": "y"}), {}),
    Change("name of the image", lambda p: p.options.update(names=("other",)), {}),
    # variables
    Change("default of an ARG", lambda p: p.edit("VERSION=1.2", "VERSION=1.3"), make("ARG VERSION 1.2 → 1.3")),
    Change("build argument", lambda p: p.arg(VERSION="1.3"), make("ARG VERSION 1.2 → 1.3")),
    Change("build argument declared later", lambda p: p.arg(LATE="1"), {}),
    Change("build argument that nothing declares", lambda p: p.arg(OTHER="1"), {}),
    Change("proxy", lambda p: p.arg(HTTP_PROXY="http://user:pass@proxy", no_proxy="x"), {}),
    Change(
        "ARG of one stage",
        lambda p: p.edit("RUN --network", "ARG DONE=1\nRUN --network"),
        {DONE: "ARG DONE=1 added"},
    ),
    Change("ENV", lambda p: p.edit("MODE=fast", "MODE=slow"), make("environment MODE fast → slow")),
    Change("ENV added", lambda p: p.edit("WORKDIR", "ENV NEW=1\nWORKDIR"), make("environment NEW added")),
    Change(
        "long value",
        lambda p: p.edit("MODE=fast", f"MODE={'x' * 40}"),
        make("environment MODE differs"),
    ),
    # the step itself
    Change("command", lambda p: p.edit("echo done", "echo ready"), {DONE: "command `echo done` → `echo ready`"}),
    Change(
        "shell",
        lambda p: p.edit("RUN --network", 'SHELL ["/bin/sh", "-ec"]\nRUN --network'),
        {DONE: 'shell ["/bin/sh", "-c"] → ["/bin/sh", "-ec"]'},
    ),
    Change("user", lambda p: p.edit("RUN --network", "USER 7\nRUN --network"), {DONE: "user 7 added"}),
    Change("network", lambda p: p.edit("--network=none ", ""), {DONE: "network none → any"}),
    Change(
        "destination",
        lambda p: p.edit("/docs/", "/texts/"),
        {DOCS: "destination /docs/ → /texts/", **after("3 of stage-1", NOTE, DONE)},
    ),
    Change(
        "--chmod",
        lambda p: p.edit("COPY docs", "COPY --chmod=600 docs"),
        {DOCS: "--chmod 600 added, and 1 more", **after("3 of stage-1", NOTE, DONE)},
    ),
    Change(
        "--chown",
        lambda p: p.edit("COPY --from", "COPY --chown=7:7 --from"),
        {MADE: "--chown 7:7 added, and 1 more", **after("2 of stage-1", DOCS, NOTE, DONE)},
    ),
    Change(
        "--link",
        lambda p: p.edit("COPY docs", "COPY --link docs"),
        {DOCS: "--link false → true", **after("3 of stage-1", NOTE, DONE)},
    ),
    Change("--exclude", lambda p: p.edit("COPY src", "COPY --exclude=b.py src"), sources("src/b.py removed")),
    Change(
        "here-document",
        lambda p: p.edit("first", "second"),
        {NOTE: "here-document note: content differs", **after("4 of stage-1", DONE)},
    ),
    Change(
        "mount's target", lambda p: p.edit("target=/cache", "target=/other"), make("--mount /cache removed, and 1 more")
    ),
    Change(
        "working directory",
        lambda p: p.edit("WORKDIR /src", "WORKDIR /work"),
        {
            WORKDIR: "path /src → /work",
            SOURCES: "destination /src/ → /work/",
            MAKE: "working directory /src → /work",
            **after("1 of build", MADE, DOCS, NOTE, DONE),
        },
    ),
    Change("cache mount's sharing", lambda p: p.edit("target=/cache", "target=/cache,sharing=locked"), {}),
    Change(
        "cache mount's id",
        lambda p: p.edit("target=/cache", "target=/cache,id=mine"),
        make("--mount /cache: id differs"),
    ),
    # what is lent
    Change("secret's value", lambda p: p.environ(TOKEN="two"), {}),
    Change(
        "secret not given", lambda p: p.options.update(secrets=()), make("secret token was given, and is not given now")
    ),
    # options of containers
    Change(
        "--hostname",
        lambda p: p.container(hostname="other"),
        {MAKE: "host name pybuild → other", **AFTER_MAKE, DONE: "host name pybuild → other"},
    ),
    Change(
        "--add-host",
        lambda p: p.container(add_hosts=(("db", "10.0.0.1"),)),
        {MAKE: "--add-host db added", **AFTER_MAKE, DONE: "--add-host db added"},
    ),
    Change(
        "--cap-drop",
        lambda p: p.container(cap_drop=("CAP_CHOWN",)),
        {MAKE: "--cap-drop CAP_CHOWN added", **AFTER_MAKE, DONE: "--cap-drop CAP_CHOWN added"},
    ),
    Change("--memory", lambda p: p.container(limits=ResourceLimits(memory=1 << 30)), {}),
    Change("--ulimit and --shm-size", lambda p: p.container(rlimits=(("nofile", 99, 99),), shm_size=1 << 20), {}),
    Change("--dns", lambda p: p.container(dns=("10.0.0.2",)), {}),
    Change("--network=host", lambda p: p.options.update(network="host"), {}),
    # order and stages
    Change(
        "instruction added",
        lambda p: p.edit("COPY docs", "RUN echo new\nCOPY docs"),
        {
            DOCS: "no record: new instruction",
            NOTE: "follows from step 3 of stage-1",
            DONE: "follows from step 3 of stage-1",
            "stage-1/6": "follows from step 3 of stage-1",
        },
    ),
    Change(
        "instruction removed",
        lambda p: p.edit("COPY docs/*.md /docs/\n", ""),
        {DOCS: "step `COPY docs/*.md /docs/` before it was removed", **after("3 of stage-1", NOTE)},
    ),
    Change("name of a stage", lambda p: p.write("Buildfile", TEXT.replace("build", "made")), {}),
    Change(
        "another base",
        lambda p: p.edit("FROM start\n", "FROM moved\n"),
        {MADE: "base start → moved", **after("2 of stage-1", DOCS, NOTE, DONE)},
    ),
    # what counts as a record
    Change(
        "--no-cache",
        lambda p: p.reuse(no_cache=True),
        dict.fromkeys((WORKDIR, SOURCES, MAKE, MADE, DOCS, NOTE, DONE), "--no-cache"),
    ),
    Change(
        "--no-cache-filter",
        lambda p: p.reuse(no_cache_filter=("build",)),
        {
            **dict.fromkeys((WORKDIR, SOURCES, MAKE), "--no-cache-filter build"),
            **after("1 of build", MADE, DOCS, NOTE, DONE),
        },
    ),
    Change("--cache-ttl in time", lambda p: p.reuse(cache_ttl="1000h"), {}),
]


@pytest.mark.parametrize("change", CHANGES, ids=lambda change: change.name)
def test_the_reason_is_what_was_changed(change: Change, project: Project) -> None:
    change.change(project)
    assert verdicts(why(project.request())) == change.reasons


def done(request: BuildRequest) -> dict[str, events.StepDone]:
    """Build, and give how the steps ended."""
    names: dict[int, str] = {}
    found: dict[str, events.StepDone] = {}

    def sink(event: object) -> None:
        if isinstance(event, events.StepStarted):
            names[event.id] = f"{event.stage}/{event.number}"
        elif isinstance(event, events.StepDone):
            found[names[event.id]] = event

    build(request, sink)
    return found


def test_a_changed_file_in_a_build(project: Project) -> None:
    """The command's output stays the same, so what stands upon it hits after all."""
    project.write("src/app.py", "changed")
    ended = done(project.request())
    ran = {name: event.reason for name, event in ended.items() if event.outcome == events.RAN}
    assert ran == {
        SOURCES: "COPY src: src/app.py changed",
        MAKE: "parent step 2 of build changed",
    }
    project.write("src/app.py", "app")
    assert {event.outcome for event in done(project.request()).values()} == {events.HIT}


def test_early_cutoff_is_told(project: Project) -> None:
    project.edit("echo $MODE", "echo  $MODE")
    ended = done(project.request())
    assert [name for name, event in ended.items() if event.outcome == events.RAN] == [MAKE]
    assert ended[MAKE].same
    assert ended[MAKE].reason == ("command `echo $MODE > made` differs; same content as before: later steps can hit")


def test_a_base_image_that_moved(project: Project) -> None:
    before = verdicts(why(project.request()))
    retag(project, "moved")
    try:
        changed = verdicts(why(project.request()))
    finally:
        retag(project, "busybox")
    assert before == {}
    assert set(changed) == {WORKDIR, SOURCES, MAKE, MADE, DOCS, NOTE, DONE}
    assert re.fullmatch("base start moved [0-9a-f]{8}… → [0-9a-f]{8}…", changed[WORKDIR])
    assert changed[SOURCES] == "follows from step 1 of build"
    assert changed[MADE] == changed[WORKDIR]


def test_a_base_image_with_the_same_layers(project: Project) -> None:
    environ = project.options["environ"]
    text = "FROM busybox\nLABEL new=1\nCMD true"
    build(BuildRequest(context=None, text=text, names=("start",), environ=environ), lambda _: None)
    try:
        assert verdicts(why(project.request())) == {}
    finally:
        retag(project, "busybox")


def test_a_mount_of_a_stage(project: Project) -> None:
    project.write(
        "Buildfile",
        "FROM scratch AS files\nCOPY src/app.py src/b.py /\n"
        "FROM start\nRUN --mount=from=files,source=/app.py,target=/app.py cat /app.py > /made\nRUN echo made\n",
    )
    build(project.request(), lambda _: None)
    project.write("src/b.py", "what the mount does not show")
    ended = done(project.request())
    assert [name for name, event in ended.items() if event.outcome == events.RAN] == ["files/2"]
    project.write("src/app.py", "what it shows")
    reports = why(project.request()).steps
    assert [step.reason for step in reports if step.verdict != "hit"] == [
        "COPY src/app.py src/b.py: src/app.py changed",
        "follows from step 2 of files",
        "follows from step 2 of files",
    ]
    ended = done(project.request())
    assert ended["stage-1/2"].reason == "mount /app.py: app.py changed"


def retag(project: Project, base: str) -> None:
    environ = project.options["environ"]
    build(BuildRequest(context=None, text=f"FROM {base}", names=("start",), environ=environ), lambda _: None)


def test_a_secret_in_the_key(project: Project) -> None:
    """With key=digest another value is a miss, the same one a hit; the value itself is nowhere in the store."""
    value = "hunter2-and-more"
    project.options["secrets"] = (f"{SECRET},key=digest",)
    project.environ(TOKEN=value)
    asked = project.request(target="build")
    assert verdicts(why(asked)) == {ALONE: "secret token: key=digest differs"}
    build(asked, lambda _: None)
    assert verdicts(why(asked)) == {}
    project.environ(TOKEN="another")
    assert verdicts(why(project.request(target="build"))) == {ALONE: "secret token has another value"}
    state = Path(project.options["environ"]["PYBUILD_ROOT"])
    for path in state.glob("state.db*"):
        assert value.encode() not in path.read_bytes()


def test_what_a_build_no_longer_keeps(project: Project, tmp_path: Path) -> None:
    from buildah_py.api.state import open_store
    from buildah_py.store.collect import Rules, collect

    project.environ(PYBUILD_ROOT=str(tmp_path / "state"))
    project.write("Buildfile", "FROM scratch\nCOPY src /src\nCOPY docs /docs\n")
    with open_store(project.options["environ"]):
        pass
    build(project.request(), lambda _: None)
    with open_store(project.options["environ"]) as store:
        held = store.database.query("SELECT count(*) FROM input_lists")[0][0]
        collect(store, Rules())
        left = store.database.query("SELECT count(*) FROM input_lists")[0][0]
    assert (held, left) == (2, 0)
    reasons = verdicts(why(project.request()))
    assert re.fullmatch(r"collected on 20\d\d-\d\d-\d\d", reasons["/2"])
    assert re.fullmatch(r"collected on 20\d\d-\d\d-\d\d", done(project.request())["/3"].reason)
    assert verdicts(why(project.request())) == {}


def test_old_records(project: Project) -> None:
    project.reuse(cache_ttl="1ns")
    reasons = verdicts(why(project.request(target="build")))
    assert set(reasons) == {"build/2", "build/3", ALONE}
    assert reasons["build/2"].startswith("older than --cache-ttl 1ns: made ")
    project.edit("echo $MODE > made", "cat /proc/sys/kernel/random/uuid > made")
    first, second = done(project.request(target="build")), done(project.request(target="build"))
    assert first[ALONE].reason.startswith("command `echo $MODE > made`")
    assert second[ALONE].reason.startswith("older than --cache-ttl 1ns: made ")
    assert second["build/2"].same
    assert not second[ALONE].same


def test_failed_steps_are_not_kept(project: Project) -> None:
    project.write("Buildfile", "FROM start\nRUN touch /made && false\n")
    for _ in range(2):
        with pytest.raises(StepFailed):
            build(project.request(), lambda _: None)
        assert list(verdicts(why(project.request()))) == ["/2"]


def test_a_new_project_and_another_checkout_of_it(project: Project, tmp_path: Path) -> None:
    """Elsewhere a build is compared with what is called the same only where most files are the same."""
    text = "FROM scratch\nCOPY src /\n"
    for name, files in (("one", {"a": "1", "b": "2", "c": "3"}), ("two", {"a": "1", "b": "2", "c": "4"})):
        there = Project(tmp_path / name, dict(project.options))
        for file, content in files.items():
            there.write(f"src/{file}", content)
        there.write("Buildfile", text)
        ended = done(there.request())
    assert ended["/2"].reason == "COPY src: src/c changed"
    other = Project(tmp_path / "three", dict(project.options))
    other.write("src/elsewhere", "x")
    other.write("Buildfile", text)
    assert verdicts(why(other.request())) == {"/2": "no record: first build"}


def test_hits_of_another_checkout_are_what_its_changes_are_compared_with(project: Project, tmp_path: Path) -> None:
    for name in "one", "two":
        there = Project(tmp_path / name, dict(project.options))
        there.write("file", "1")
        there.write("Buildfile", "FROM scratch\nCOPY file /\n")
        outcomes = [one.outcome for one in done(there.request()).values()]
    assert outcomes == ["hit", "hit"]
    there.write("file", "2")
    assert verdicts(why(there.request())) == {"/2": "COPY file: file changed"}


def test_another_checkout_that_differs_in_modes(project: Project, tmp_path: Path) -> None:
    for name, mode in (("one", 0o644), ("two", 0o664)):
        there = Project(tmp_path / name, dict(project.options))
        there.write("file", "1")
        (there.path / "file").chmod(mode)
        there.write("Buildfile", "FROM scratch\nCOPY file /\n")
        reason = done(there.request())["/2"].reason
    assert "mode of file 644 → 664" in reason
    assert "--context-modes=git" in reason


def test_the_last_build_is_what_a_step_is_compared_with(project: Project) -> None:
    project.write("Buildfile", "FROM start\nARG N=1\nRUN echo $N\n")
    for number in "1", "2", "3", "2":
        project.arg(N=number)
        build(project.request(), lambda _: None)
    project.arg(N="4")
    assert verdicts(why(project.request())) == {"/2": "ARG N 3 → 4"}


def test_telling_changes_nothing(project: Project) -> None:
    from buildah_py.api.state import open_store

    def state() -> object:
        with open_store(project.options["environ"]) as store:
            tables = [row[0] for row in store.database.query("SELECT name FROM sqlite_master WHERE type = 'table'")]
            rows = {table: store.database.query(f"SELECT * FROM {table}") for table in tables}
            kept = {name for name in os.listdir(store.root) if name not in ("leases", "stat-cache")}
            return rows, kept, sorted(os.listdir(store.path("layers"))), os.listdir(store.path("logs"))

    before = state()
    project.write("src/app.py", "other")
    project.edit("echo done", "echo ready")
    assert len(verdicts(why(project.request()))) == len(AFTER_SOURCES) + 1
    assert state() == before


def test_what_cannot_be_known_is_said_to_be_unknown(project: Project, tmp_path: Path) -> None:
    import http.server
    import threading

    served = tmp_path / "served"
    served.mkdir()
    (served / "file").write_text("x")
    handler = partial(http.server.SimpleHTTPRequestHandler, directory=str(served))
    there = Project(tmp_path / "there", {**project.options, "extensions": True})
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        url = f"http://127.0.0.1:{server.server_port}/file"
        there.write("Buildfile", f"FROM start\nADD {url} /f\nRUN true\nENV --from-run N true\nRUN echo $N\n")
        build(there.request(), lambda _: None)
        assert verdicts(why(there.request(), fetch=True)) == {}
        server.shutdown()
    report = why(there.request())
    assert [(step.verdict, step.reason) for step in report.steps[1:]] == [
        ("unknown", f"{url} has to be fetched first"),
        ("follows", "follows from step 2"),
        ("follows", "follows from step 2"),
    ]
    assert report.note == "what follows `ENV --from-run N true` is not known before that has run"


# against another build


@pytest.fixture
def record(built: Project, tmp_path: Path) -> Path:
    """Give the record of the project as it was built."""
    path = tmp_path / "record.json"
    build(built.request(record=str(path)), lambda _: None)
    return path


def against(project: Project, record: Path) -> dict[str, str]:
    report = why(project.request(), against=str(record))
    return {
        f"{step.stage}/{step.number}": step.reason or step.verdict for step in report.steps if step.verdict != "same"
    } | {fact.what: fact.phrase for fact in report.facts}


def test_another_machine_with_the_same(project: Project, record: Path, tmp_path: Path) -> None:
    assert against(project, record) == {}
    project.environ(PYBUILD_ROOT=str(tmp_path / "laptop"))
    build(BuildRequest(context=None, text="FROM scratch\n", environ=project.options["environ"]), lambda _: None)
    project.write("Buildfile", "FROM scratch\nCOPY src /\nCOPY docs /\n")
    build(project.request(record=str(record)), lambda _: None)
    project.environ(PYBUILD_ROOT=str(tmp_path / "ci"))
    assert against(project, record) == {}
    project.write("docs/a.md", "other")
    assert against(project, record) == {"/3": "COPY docs: docs/a.md changed"}


@pytest.mark.parametrize("change", CHANGES, ids=lambda change: change.name)
def test_what_differs_from_a_record(change: Change, project: Project, record: Path) -> None:
    """The same reasons, whether a step is compared with the nearest record here or with that of another machine."""
    if (
        "cache" in change.name
        or "another base" in change.name
        or "instruction" in change.name
        or "name of a stage" in change.name
    ):
        pytest.skip("it changes which steps there are, or which records count, and no ingredient")
    change.change(project)
    expected = dict(change.reasons)
    found = {name: reason for name, reason in against(project, record).items() if not name.startswith("--")}
    assert {name: reason for name, reason in found.items() if name in expected or "FROM" not in reason} == expected


def test_a_step_that_makes_something_else_each_time(project: Project, tmp_path: Path) -> None:
    project.write("Buildfile", "FROM start\nRUN cat /proc/sys/kernel/random/uuid > /made\nRUN cp /made /again\n")
    record = tmp_path / "record.json"
    build(project.request(record=str(record)), lambda _: None)
    build(project.request(reuse=ReuseOptions(no_cache=True, observe="off")), lambda _: None)
    found = against(project, record)
    assert found["/2"] == "the same key, and yet another result: the step does not make the same each time"
    assert found["/3"] == "parent step 2 changed"


def test_a_record_holds_no_secret_and_is_canonical(project: Project, tmp_path: Path) -> None:
    path = tmp_path / "record.json"
    project.environ(TOKEN="hunter2-and-more")
    project.arg(HTTP_PROXY="http://me:hunter3@proxy", VERSION="1.2")
    build(project.request(record=str(path)), lambda _: None)
    data = path.read_bytes()
    assert b"hunter" not in data
    raw = json.loads(data)
    assert data == canonical_json(raw) + b"\n"
    assert raw["build"]["build_args"] == {"VERSION": "1.2"}
    assert [step.get("outcome", "base") for step in raw["steps"]].count("hit") == 7


def tampered(raw: dict[str, Any], how: str) -> object:
    step = next(one for one in raw["steps"] if one.get("inputs"))
    match how:
        case "another version":
            return raw | {"version": 99}
        case "no steps":
            return raw | {"steps": {}}
        case "a key of something else":
            step["step"]["destination"] = "/elsewhere"
        case "no key":
            del step["key"]
        case "inputs that are no digests":
            step["inputs"] = {"sources": 7}
        case "a number":
            return 7
        case "not a number":
            return raw | {"key_version": float("nan")}
    return raw


@pytest.mark.parametrize(
    "how",
    [
        "another version",
        "no steps",
        "a key of something else",
        "no key",
        "inputs that are no digests",
        "a number",
        "not a number",
    ],
)
def test_records_that_are_none(how: str, project: Project, record: Path) -> None:
    record.write_text(json.dumps(tampered(json.loads(record.read_text()), how)))
    with pytest.raises(CacheError):
        why(project.request(), against=str(record))


@pytest.mark.parametrize("text", ["", "{", "[" * 100_000, '"\\ud800"', "\xff"])
def test_files_that_are_no_records(text: str, project: Project, record: Path) -> None:
    record.write_bytes(text.encode("latin-1"))
    with pytest.raises(CacheError):
        why(project.request(), against=str(record))


def test_lists_of_files_are_checked(project: Project, record: Path) -> None:
    raw = json.loads(record.read_text())
    for sources in raw["lists"].values():
        for _, _, rows, _ in sources:
            for row in rows:
                row[4] = "sha256:" + "0" * 64
    record.write_text(json.dumps(raw))
    project.write("src/app.py", "other")
    assert "is another one" in against(project, record)[SOURCES]


def test_other_versions_and_options(project: Project, record: Path) -> None:
    raw = json.loads(record.read_text())
    record.write_text(json.dumps(raw | {"pybuild": "0.0.1", "steps": []}))
    project.arg(VERSION="9")
    found = against(project, record)
    assert found["pybuild's version"].startswith("pybuild's version: '0.0.1' there, ")
    assert found["--build-arg VERSION"] == "--build-arg VERSION: not given there, '9' here"
    assert found[MAKE] == "the other build has no such step"


# the command


def run(project: Project, *arguments: object) -> str:
    environ = {**os.environ, **project.options["environ"]}
    command = [PYBUILD, "why", "--secret", SECRET, *map(str, arguments)]
    result = subprocess.run(command, check=False, capture_output=True, text=True, env=environ, cwd=project.path.parent)
    assert result.returncode == 0, result.stderr
    return result.stdout


def test_the_command(project: Project, tmp_path: Path) -> None:
    project.write("src/app.py", "other")
    everything = run(project, "all", "-f", project.path / "Buildfile", project.path)
    assert "\n  MISS: COPY src: src/app.py changed\n  nearest record: made 20" in everything
    assert re.search("\n      src/app.py: content [0-9a-f]{12} → d9298a10d1b0\n", everything)
    assert "hits after all" in everything
    assert run(project, project.path) == everything
    one = run(project, "build/2", project.path)
    assert one.startswith("#3 [build 2/3] COPY src ./\n  MISS") or "[build 2/3] COPY src ./\n  MISS" in one
    assert one.count("MISS") == 1
    data = json.loads(run(project, "--format=json", project.path))
    (step,) = [one for one in data["steps"] if one["stage"] == "build" and one["number"] == 2]
    assert (step["verdict"], step["reason"]) == ("miss", "COPY src: src/app.py changed")
    assert step["differences"][0]["files"][0]["path"] == "src/app.py"


def test_the_page(project: Project, tmp_path: Path) -> None:
    evil = "<script>alert('x')</script>"
    project.edit("echo done", f"echo '{evil}\x1b]0;x\x07'")
    project.write("src/<b>&\x1b[31m", "x")
    path = tmp_path / "page.html"
    assert run(project, "--html", path, project.path) == ""
    page = Page(path.read_text())
    assert evil in page.text
    assert "src/<b>&\\x1b[31m" in page.text
    assert f"context{project.path}" in page.text


def test_nothing_of_a_record_moves_the_cursor(project: Project, record: Path) -> None:
    raw = json.loads(record.read_text())
    for step in raw["steps"]:
        step["text"] = "\x1b[2J\u202eevil" + step["text"]
    record.write_text(json.dumps(raw | {"pybuild": "\x1b[2Jone"}))
    told = run(project, "--against", record, project.path)
    assert "\x1b" not in told
    assert "\u202e" not in told


def test_an_interrupted_step_is_not_kept(project: Project) -> None:
    import signal

    project.write("Buildfile", "FROM start\nRUN touch /made; echo started; sleep 100\n")
    environ = {**os.environ, **project.options["environ"]}
    command = [PYBUILD, "build", "--progress=plain", "--secret", SECRET, str(project.path)]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=environ) as process:
        assert process.stderr is not None
        for line in process.stderr:
            if line.endswith(" started\n"):
                process.send_signal(signal.SIGINT)
        assert process.wait() == 130
    assert list(verdicts(why(project.request()))) == ["/2"]

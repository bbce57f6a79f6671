"""Why steps hit or miss: a build, then one thing is changed, and that one has to be the reason."""

from __future__ import annotations

import os
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest

from buildah_py.api.build import BuildRequest, build
from buildah_py.api.container import ContainerOptions
from buildah_py.api.reuse import ReuseOptions
from buildah_py.api.why import why
from buildah_py.progress import events
from buildah_py.sandbox.spec import Limits
from tests.end_to_end.conftest import PYBUILD, needs_root

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from buildah_py.api.why import Report

pytestmark = needs_root

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
        self.options["reuse"] = ReuseOptions(**values)

    def environ(self, **values: str) -> None:
        self.options["environ"] = {**self.options["environ"], **values}

    def request(self, **changes: Any) -> BuildRequest:
        return replace(BuildRequest(context=str(self.path), **self.options), **changes)


@pytest.fixture(scope="module")
def started(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Give a store with the images `start` and `moved`."""
    import subprocess

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
    Change("cache mount's id", lambda p: p.edit("target=/cache", "target=/cache,id=mine,sharing=locked"), {}),
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
    Change("--memory", lambda p: p.container(limits=Limits(memory=1 << 30)), {}),
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

"""The same command again: answered at once where nothing has changed, and built where anything has."""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
import subprocess
import time
from contextlib import closing
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.end_to_end.conftest import Pybuild

TEXT = """FROM busybox
ARG WHO=nobody
RUN echo $WHO > /who
COPY src /src/
RUN --mount=target=/in,source=bound cp /in/b /b
"""


def records(pybuild: Pybuild) -> list[dict[str, Any]]:
    """Give what the store's history has of builds, the oldest first."""
    paths = sorted((pybuild.root / "logs").glob("*/build.json"))
    return [json.loads(path.read_text()) for path in paths]


def was_answered(pybuild: Pybuild) -> bool:
    """Whether the last build was answered without being planned: it had no image to finish."""
    return [phase["name"] for phase in records(pybuild)[-1]["phases"]] == ["prepare", "steps"]


@pytest.fixture
def context(busybox: Pybuild) -> Path:
    made = busybox.context(TEXT, src__a="a\n", src__deep__d="d\n", bound__b="b\n", other="o\n")
    os.symlink("a", made / "src/link")
    for path in (made, *made.rglob("*")):
        os.chown(path, busybox.owner, busybox.owner, follow_symlinks=False)
    return made


def build(busybox: Pybuild, context: Path, *options: object, **environ: str) -> str:
    """Build, and give the progress."""
    return busybox.build(context, *options, status=0, **environ).shown


def remember(busybox: Pybuild, context: Path, *options: object, **environ: str) -> None:
    """Build until the command is answered at once."""
    time.sleep(0.07)
    for _ in range(3):
        build(busybox, context, *options, **environ)
    assert was_answered(busybox), "nothing has changed"


@pytest.mark.either_user
def test_the_same_command_is_answered_at_once(busybox: Pybuild, context: Path) -> None:
    remember(busybox, context)
    *_, built, answered = records(busybox)
    said = build(busybox, context)
    assert was_answered(busybox)
    same = ("image", "names", "file", "context", "outcome", "error", "platform", "warnings")
    assert {name: answered[name] for name in same} == {name: built[name] for name in same}
    steps = [[(step["text"], step["outcome"], step["bytes"], step["layer"]) for step in one["steps"]]
             for one in (built, answered)]  # fmt: skip
    assert steps[0] == steps[1]
    assert said.count("CACHED") == 4
    assert "3 from the cache, 0 executed" in said


def test_it_says_what_the_build_said(busybox: Pybuild, context: Path) -> None:
    time.sleep(0.07)
    build(busybox, context)
    said = [build(busybox, context) for _ in range(3)]
    assert was_answered(busybox)
    assert len({one.rpartition(" in ")[0] for one in said}) == 1

    quiet = [busybox.run("-q", "-t", "test", context).stdout for _ in range(3)]
    assert was_answered(busybox)
    assert len(set(quiet)) == 1
    assert quiet[0].startswith("sha256:")

    events = [busybox.run("--progress=json", "-t", "test", context).stderr.splitlines() for _ in range(2)]
    assert was_answered(busybox)
    changing = {"time", "at", "build", "seconds"}
    plain = [[{k: v for k, v in json.loads(line).items() if k not in changing} for line in one] for one in events]
    assert [one for one in plain[0] if one["event"] != "transfer"] == plain[1]


def test_the_answer_is_a_build_like_others(busybox: Pybuild, context: Path) -> None:
    remember(busybox, context)
    listed = busybox.run("builds").stdout.splitlines()[1:]
    assert len({line.split()[0] for line in listed}) == 3
    assert ["3/3" in line or "4/4" in line for line in listed[:2]] == [True, True]
    busybox.run("report", "--output=page.md", listed[0].split()[0])
    assert (busybox.work / "page.md").read_text().count("all 3 steps cached") == 1


def sql(busybox: Pybuild, statement: str) -> None:
    with closing(sqlite3.connect(busybox.root / "state.db")) as database:
        database.execute("PRAGMA foreign_keys=ON")
        assert database.execute(statement).rowcount
        database.commit()


def rewritten(path: Path, text: str) -> None:
    """Write a file of the same size, and give it its times back."""
    before = path.stat()
    assert len(text) == before.st_size
    path.write_text(text)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


def replaced(path: Path, text: str) -> None:
    """Put another file in a file's place, of the same size and times."""
    before = path.stat()
    other = path.with_name("other-file")
    other.write_text(text)
    os.utime(other, ns=(before.st_atime_ns, before.st_mtime_ns))
    other.rename(path)


def moved_and_back(directory: Path) -> None:
    """Put another directory in a directory's place, with the same names."""
    directory.rename(directory.with_name("gone"))
    shutil.copytree(directory.with_name("gone"), directory, symlinks=True)
    (directory / "a").write_text("z\n")


def linked(path: Path, target: str) -> None:
    """Put a link in a file's place."""
    path.unlink()
    path.symlink_to(target)


CHANGES: dict[str, Callable[[Path], object]] = {
    "content": lambda context: (context / "src/a").write_text("longer\n"),
    "content of the same size and times": lambda context: rewritten(context / "src/a", "z\n"),
    "another file of the same size and times": lambda context: replaced(context / "src/a", "z\n"),
    "content deep below": lambda context: rewritten(context / "src/deep/d", "z\n"),
    "content of a bind mount": lambda context: rewritten(context / "bound/b", "z\n"),
    "mode": lambda context: (context / "src/a").chmod(0o600),
    "mode of a directory": lambda context: (context / "src/deep").chmod(0o700),
    "a new file": lambda context: (context / "src/new").write_text(""),
    "a new directory": lambda context: (context / "src/deep/new").mkdir(),
    "a file less": lambda context: (context / "src/deep/d").unlink(),
    "another name": lambda context: (context / "src/deep/d").rename(context / "src/deep/e"),
    "another directory": lambda context: moved_and_back(context / "src"),
    "a link's target": lambda context: linked(context / "src/link", "b"),
    "a link for a file": lambda context: linked(context / "src/a", "deep/d"),
    "an attribute": lambda context: os.setxattr(context / "src/a", "user.x", b"1"),
    "the build file": lambda context: rewritten(context / "Buildfile", TEXT.replace("nobody", "nobodY")),
    "an ignore file": lambda context: (context / ".dockerignore").write_text("src/deep\n"),
    "an ignore file before it": lambda context: (context / ".containerignore").write_text("src/deep\n"),
    "an ignore file beside it": lambda context: (context / "Buildfile.dockerignore").write_text("src/deep\n"),
}  # fmt: skip


@pytest.mark.parametrize("name", CHANGES)
def test_a_change_of_the_context_shows(busybox: Pybuild, context: Path, name: str) -> None:
    remember(busybox, context)
    before = records(busybox)[-1]["image"]
    CHANGES[name](context)
    build(busybox, context)
    assert not was_answered(busybox)
    assert records(busybox)[-1]["image"] != before
    build(busybox, context, "--no-cache")
    files = "cat /src/a /b; stat -c '%a %n' /src/a /src/deep; find /src | sort; readlink /src/link; cat /who"
    fresh = busybox.sh(files)
    build(busybox, context)
    assert busybox.sh(files) == fresh


def test_another_build_file_comes_first(busybox: Pybuild, context: Path) -> None:
    (context / "Buildfile").rename(context / "Containerfile")
    remember(busybox, context)
    (context / "Dockerfile").write_text("FROM busybox\nRUN echo other > /other\n")
    build(busybox, context)
    assert busybox.sh("cat /other") == "other\n"


def test_a_file_that_is_named_and_comes_nearer(busybox: Pybuild, context: Path) -> None:
    (context / "Buildfile").rename(context / "own.file")
    remember(busybox, context, "-f", "own.file")
    (busybox.work / "own.file").write_text("FROM busybox\nRUN echo other > /other\n")
    build(busybox, context, "-f", "own.file")
    assert busybox.sh("cat /other") == "other\n"


def test_an_ignore_file_beside_a_build_file_elsewhere(busybox: Pybuild, context: Path) -> None:
    elsewhere = busybox.work / "elsewhere"
    elsewhere.mkdir()
    (context / "Buildfile").rename(elsewhere / "own.file")
    remember(busybox, context, "-f", "elsewhere/own.file")
    (elsewhere / "own.file.dockerignore").write_text("src/deep\n")
    build(busybox, context, "-f", "elsewhere/own.file")
    assert busybox.sh("ls /src") == "a\nlink\n"


def test_what_an_exception_brings_back(busybox: Pybuild, context: Path) -> None:
    """A directory that is ignored as a whole, as long as nothing is in there that an exception brings back."""
    (context / "src/deep/.keep").mkdir()
    os.chown(context / "src/deep/.keep", busybox.owner, busybox.owner)
    (context / ".dockerignore").write_text("src/deep\n!src/deep/.keep/file\n")
    remember(busybox, context)
    (context / "src/deep/.keep/file").write_text("brought back\n")
    build(busybox, context)
    assert busybox.sh("cat /src/deep/.keep/file") == "brought back\n"


def test_a_context_by_a_link(busybox: Pybuild, context: Path) -> None:
    link = busybox.work / "link"
    link.symlink_to(context)
    remember(busybox, link)
    other = busybox.context("FROM busybox\nRUN echo other > /other\n", "elsewhere")
    link.unlink()
    link.symlink_to(other)
    build(busybox, link)
    assert busybox.sh("cat /other") == "other\n"


@pytest.mark.root
def test_something_mounted_over_a_directory(busybox: Pybuild, context: Path) -> None:
    remember(busybox, context)
    other = busybox.work / "over"
    shutil.copytree(context / "src/deep", other)
    (other / "d").write_text("over\n")
    subprocess.run(["mount", "--bind", other, context / "src/deep"], check=True)
    try:
        build(busybox, context)
        assert not was_answered(busybox)
        assert busybox.sh("cat /src/deep/d") == "over\n"
    finally:
        subprocess.run(["umount", context / "src/deep"], check=True)


def test_a_further_context(busybox: Pybuild, context: Path) -> None:
    further = busybox.work / "further"
    further.mkdir()
    (further / "f").write_text("f\n")
    (context / "Buildfile").write_text(TEXT + "COPY --from=more . /more/\n")
    more = ("--build-context", f"more={further}")
    remember(busybox, context, *more)
    rewritten(further / "f", "g\n")
    build(busybox, context, *more)
    assert busybox.sh("cat /more/f") == "g\n"


# What is asked for


def test_variables_are_part_of_the_command(busybox: Pybuild, context: Path) -> None:
    remember(busybox, context, "--build-arg=WHO", WHO="me")
    build(busybox, context, "--build-arg=WHO", WHO="you")
    assert busybox.sh("cat /who") == "you\n"


def inside(busybox: Pybuild, *before: str) -> Pybuild:
    """Give the command started by another one."""
    return replace(busybox, command=(*before, *busybox.command), warm=None)


@pytest.mark.root
def test_rights_are_part_of_the_command(busybox: Pybuild, context: Path) -> None:
    """Rights that root lacks count in keys: another step would be executed."""
    whole, lesser = inside(busybox, "setpriv"), inside(busybox, "setpriv", "--bounding-set=-mknod")
    remember(whole, context)
    assert "without CAP_MKNOD" in build(lesser, context)
    remember(lesser, context)
    remember(whole, context)


@pytest.mark.either_user
def test_subordinate_ids_are_looked_at(busybox: Pybuild, context: Path, tmp_path: Path) -> None:
    """Without root and without them there is one id alone, with which layers of others are not even mounted."""
    (tmp_path / "none").touch()
    script = 'mount --make-rprivate /; [ -z "$0" ] || mount --bind "$0" /etc/subuid; exec "$@"'
    enter = ("unshare", "-m", "sh", "-ec", script)
    remember(inside(busybox, *enter, ""), context)
    result = inside(busybox, *enter, str(tmp_path / "none")).build(context, status=None)
    if busybox.owner:
        assert (result.status, "with one id alone" in result.shown) == (125, True)
    else:
        assert result.status == 0
        assert was_answered(busybox)


def test_the_configuration_is_looked_at(busybox: Pybuild, context: Path) -> None:
    home = busybox.work / "home"
    home.mkdir()
    (context / "src/a").chmod(0o600)
    remember(busybox, context, HOME=str(home), XDG_CONFIG_HOME="")
    (home / ".config/pybuild").mkdir(parents=True)
    (home / ".config/pybuild/config.yaml").write_text("context-modes: git\n")
    build(busybox, context, HOME=str(home), XDG_CONFIG_HOME="")
    assert not was_answered(busybox)
    assert busybox.sh("stat -c %a /src/a") == "644\n"
    remember(busybox, context, HOME=str(home), XDG_CONFIG_HOME="")
    (home / ".docker").mkdir()
    (home / ".docker/config.json").write_text("{")
    assert "config.json" in busybox.run("--progress=plain", "-t", "test", context, status=None,
                                        HOME=str(home), XDG_CONFIG_HOME="").stderr  # fmt: skip


@pytest.mark.parametrize("option", ["--no-cache", "--pull", "--iidfile={}", "--metadata-file={}", "--report={}.md",
                                    "--record={}", "-otype=local,dest={}", "--secret=id=a,env=HOME", "--provenance",
                                    "--sbom", "--attest=type=sbom", "--platform=linux/amd64,linux/arm64"])  # fmt: skip
def test_commands_that_do_more_are_always_built(busybox: Pybuild, context: Path, option: str) -> None:
    time.sleep(0.07)
    target = busybox.work / "out"
    for _ in range(3):
        busybox.run("-t", "test", option.format(target), context, status=None)
        assert not was_answered(busybox)
        if "{}" in option:
            made = f"{target}{option.partition('{}')[2]}"
            assert os.path.lexists(made)
            subprocess.run(["rm", "-r", made], check=True)


def test_findings_are_shown_each_time(busybox: Pybuild, context: Path) -> None:
    (context / "Buildfile").write_text(TEXT + "CMD cat /b\n")
    remember(busybox, context)
    assert build(busybox, context).count("JSONArgsRecommended") == 1
    assert was_answered(busybox)
    assert [one["text"].count("JSONArgsRecommended") for one in records(busybox)[-1]["warnings"]] == [1]


def test_a_note_is_said_each_time(busybox: Pybuild, context: Path) -> None:
    time.sleep(0.07)
    for _ in range(3):
        said = busybox.run("--progress=plain", "-t", "test", context, BUILDKIT_HOST="tcp://there").stderr
        assert "BUILDKIT_HOST" in said
        assert not was_answered(busybox)


# What the store holds


def test_the_name_was_given_to_another_image(busybox: Pybuild, context: Path) -> None:
    remember(busybox, context)
    busybox.run("tag", "busybox", "test")
    build(busybox, context)
    assert busybox.sh("cat /b") == "b\n"


def test_the_base_is_another_image(busybox: Pybuild, context: Path) -> None:
    busybox.run("tag", "busybox", "mine")
    (context / "Buildfile").write_text(TEXT.replace("FROM busybox", "FROM mine"))
    remember(busybox, context)
    other = busybox.context("FROM busybox\nRUN echo new > /new\n", "elsewhere")
    busybox.run("-q", "-t", "mine", other)
    build(busybox, context)
    assert busybox.sh("cat /new") == "new\n"


def test_a_build_on_what_it_makes(busybox: Pybuild, context: Path) -> None:
    busybox.run("tag", "busybox", "test")
    (context / "Buildfile").write_text("FROM test\nRUN echo more >> /more\n")
    time.sleep(0.07)
    for turn in range(1, 5):
        build(busybox, context)
        assert busybox.sh("cat /more") == "more\n" * turn


def test_a_build_without_steps_on_what_it_makes(busybox: Pybuild, context: Path) -> None:
    busybox.run("tag", "busybox", "test")
    (context / "Buildfile").write_text("FROM test\nENV A=1\n")
    time.sleep(0.07)
    images = set()
    for _ in range(4):
        build(busybox, context)
        images.add(records(busybox)[-1]["image"])
    assert len(images) == 4, "each has a line more in its history"


def test_a_source_policy_is_asked_each_time(busybox: Pybuild, context: Path) -> None:
    policy = busybox.work / "policy.json"
    allowed = '{"rules": [{"action": "ALLOW", "selector": {"identifier": "docker-image://*"}}]}'
    ways: list[tuple[tuple[str, ...], dict[str, str]]] = [
        ((f"--source-policy-file={policy}",), {}), ((), {"EXPERIMENTAL_BUILDKIT_SOURCE_POLICY": str(policy)})
    ]  # fmt: skip
    time.sleep(0.07)
    for options, environ in ways:
        policy.write_text(allowed)
        for _ in range(3):
            build(busybox, context, *options, **environ)
            assert not was_answered(busybox)
        policy.write_text(allowed.replace("ALLOW", "DENY"))
        assert "denied" in busybox.build(context, *options, status=125, **environ).shown


@pytest.mark.parametrize("option", ["--platform=linux/amd64,linux/arm64", "--provenance"])
def test_the_name_has_an_index_since(busybox: Pybuild, context: Path, option: str) -> None:
    """Under the name there is the same image for this machine, and more, which the command would not leave there."""
    (context / "Buildfile").write_text("FROM scratch\nCOPY src /src/\n")
    remember(busybox, context)
    image = records(busybox)[-1]["image"]
    build(busybox, context, option)
    assert busybox.run("manifest", "inspect", "test").stdout
    build(busybox, context)
    assert not was_answered(busybox)
    assert records(busybox)[-1]["image"] == image
    busybox.run("manifest", "inspect", "test", status=125)


def test_the_base_is_another_image_for_a_platform(busybox: Pybuild, context: Path) -> None:
    both = ("--platform=linux/amd64,linux/arm64", "-t", "base")
    base = busybox.context("FROM scratch\nARG TARGETARCH\nCOPY $TARGETARCH /arch\n", "base", amd64="x", arm64="1")
    busybox.run(*both, base)
    (context / "Buildfile").write_text(
        "FROM base AS own\nFROM --platform=linux/arm64 base\nCOPY --from=own /arch /own\n"
    )
    time.sleep(0.07)
    for _ in range(3):
        build(busybox, context)
    (base / "arm64").write_text("2")
    busybox.run(*both, base)
    build(busybox, context)
    busybox.run("cp", "test:/arch", "copied")
    assert (busybox.work / "copied").read_text() == "2"


@pytest.mark.parametrize("commands", [[("rmi", "-f", "test")], [("rmi", "-f", "test"), ("prune", "-f")]])
def test_what_was_removed_is_made_anew(busybox: Pybuild, context: Path, commands: list[tuple[str, ...]]) -> None:
    remember(busybox, context)
    busybox.run("tag", "busybox", "kept/busybox")
    for command in commands:
        busybox.run(*command)
    busybox.run("tag", "kept/busybox", "busybox")
    build(busybox, context)
    assert not was_answered(busybox)
    assert busybox.sh("cat /b") == "b\n"


def test_a_base_that_was_removed_is_missed(busybox: Pybuild, context: Path) -> None:
    remember(busybox, context, PYBUILD_PULL="missing")
    busybox.run("rmi", "-f", "busybox")
    said = busybox.run("--progress=plain", "-t", "test", context, status=125, PYBUILD_PULL="missing", no_proxy="*",
                       PYBUILD_REGISTRIES="/none").stderr  # fmt: skip
    assert "busybox" in said
    assert not was_answered(busybox)


@pytest.mark.parametrize(
    "statement",
    [
        "DELETE FROM records",
        "UPDATE records SET seal = 'x'",
        "UPDATE layers SET absent = 1",
        "UPDATE layers SET boot = 'another'",
        "DELETE FROM names WHERE name LIKE '%test%'",
    ],
)
def test_rows_that_are_not_what_they_were(busybox: Pybuild, context: Path, statement: str) -> None:
    remember(busybox, context)
    sql(busybox, statement)
    busybox.run("--progress=plain", "-t", "test", context, status=None)
    assert not was_answered(busybox)


def test_a_layer_s_directory_is_gone(busybox: Pybuild, context: Path) -> None:
    remember(busybox, context)
    layer = records(busybox)[-1]["steps"][-1]["layer"].removeprefix("sha256:")
    shutil.rmtree(busybox.root / "layers" / layer)
    build(busybox, context)
    assert busybox.sh("cat /b") == "b\n"


def test_a_store_that_was_put_back(busybox: Pybuild, context: Path) -> None:
    """Have the rows of an older data base, as from a backup, and what is remembered from later."""
    shutil.copy(busybox.root / "state.db", busybox.work / "older.db")
    remember(busybox, context)
    shutil.copy(busybox.work / "older.db", busybox.root / "state.db")
    build(busybox, context)
    assert not was_answered(busybox)
    assert busybox.sh("cat /b") == "b\n"


def test_whoever_writes_is_waited_for(busybox: Pybuild, context: Path) -> None:
    remember(busybox, context)
    sql(busybox, "UPDATE layers SET used = 0")  # or nothing would be written
    with closing(sqlite3.connect(busybox.root / "state.db")) as other:
        other.execute("BEGIN IMMEDIATE")
        running = subprocess.Popen(
            [*busybox.command, "--progress=plain", "-t", "test", str(context)],
            env=busybox.environ(), cwd=busybox.work, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip
        assert running.stderr is not None
        while "waiting for another pybuild" not in (line := running.stderr.readline()):
            assert line, "it has ended without waiting"
        other.rollback()
    _, said = running.communicate(timeout=60)
    assert running.returncode == 0
    assert "0 executed" in said


def test_layers_count_as_used(busybox: Pybuild, context: Path) -> None:
    remember(busybox, context)
    sql(busybox, "UPDATE layers SET used = 0")
    build(busybox, context)
    assert was_answered(busybox)
    with closing(sqlite3.connect(busybox.root / "state.db")) as database:
        assert database.execute("SELECT count(*) FROM layers WHERE used > 0").fetchone()[0] >= 4


def test_remains_of_a_failed_build_go(busybox: Pybuild, context: Path) -> None:
    remember(busybox, context, "--build-arg=WHO=me")
    (context / "Buildfile").rename(context / "kept")
    (context / "Buildfile").write_text(TEXT + "RUN false\n")
    busybox.run("-t", "other", context, status=1)
    assert list((busybox.root / "failed").iterdir())
    (context / "kept").rename(context / "Buildfile")
    build(busybox, context, "--build-arg=WHO=me")
    assert not was_answered(busybox)
    assert not list((busybox.root / "failed").glob("*"))


# What is remembered itself


@pytest.mark.parametrize("damage", [b"", b"\x00", b"garbage" * 50, None])
def test_what_is_remembered_may_be_damaged(busybox: Pybuild, context: Path, damage: bytes | None) -> None:
    remember(busybox, context)
    for path in (busybox.root / "repeat").iterdir():
        path.write_bytes(path.read_bytes()[:-9] if damage is None else damage)
    build(busybox, context)
    assert not was_answered(busybox)
    assert busybox.sh("cat /b") == "b\n"


def test_what_changes_while_the_build_goes_on(busybox: Pybuild, context: Path) -> None:
    """Have a file change after it was read, before all is put down: what was put down would not be what was built."""
    (context / "Buildfile").write_text(TEXT + "COPY --from=busybox /bin/busybox /again\n")
    time.sleep(0.07)
    build(busybox, context)
    running = subprocess.Popen(
        [*busybox.command, "--progress=plain", "-t", "test", str(context)],
        env=busybox.environ(), cwd=busybox.work, stderr=subprocess.PIPE, bufsize=0,
    )  # fmt: skip
    assert running.stderr is not None
    said = b""
    while b"COPY --from=busybox" not in said:  # all of the context was looked at by then
        said += running.stderr.read(1)
    rewritten(context / "src/a", "z\n")
    running.communicate(timeout=60)
    build(busybox, context)
    assert busybox.sh("cat /src/a") == "z\n"


def test_what_changes_while_it_is_built_is_not_remembered(busybox: Pybuild, context: Path) -> None:
    for turn in range(3):
        rewritten(context / "src/a", f"{turn}\n")
        build(busybox, context)
        assert not was_answered(busybox)
        assert busybox.sh("cat /src/a") == f"{turn}\n"


def test_few_commands_are_remembered(busybox: Pybuild, context: Path) -> None:
    remember(busybox, context)
    kept = next((busybox.root / "repeat").iterdir())
    for number in range(120):
        shutil.copy(kept, kept.with_name(f"{number:064x}"))
    busybox.run("prune", "-f")
    assert len(list((busybox.root / "repeat").iterdir())) == 100
    remember(busybox, context)
    assert kept.stat().st_mode & 0o777 == 0o600
    assert (busybox.root / "repeat").stat().st_mode & 0o777 == 0o700

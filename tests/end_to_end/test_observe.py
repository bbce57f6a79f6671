"""A RUN hits unless something that it learned of copied files has changed.

Many cases are one build: a stage for each, with files of its own. After an edit of all these files every stage has to
be what a fresh store gives without observation, and its last step a hit or a miss as the table says.
"""

from __future__ import annotations

import contextlib
import json
import os
import sqlite3
import subprocess
import zlib
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING
from unittest import mock

import pytest

from buildah_py.progress import events
from buildah_py.store import packing
from tests.end_to_end.observed_cases import CONTENT, FILES, LISTED, PATCHED, STAT, STEPS, WRITTEN, Case
from tests.truth.images import differences
from tests.truth.inputs import Build, Node
from tests.truth.world import World

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from tests.end_to_end.conftest import Built, Pybuild

pytestmark = [
    pytest.mark.root,
    pytest.mark.skipif(not os.access("/dev/fuse", os.R_OK | os.W_OK), reason="needs /dev/fuse"),
]

READS = "FROM busybox\nCOPY . /c/\nRUN cat /c/f > /r\n"
READ_NOTHING_NEW = "nothing it read has changed: 1 of 3 files"
WITH_DEVICE = """
mount --make-rprivate / && cp -a /dev/fuse "$1/fuse" && chmod 666 "$1/fuse" && mount --bind "$1/fuse" /dev/fuse
shift; exec "$@"
"""
WITHOUT_DEVICE = """
mount --make-rprivate / && mount -t tmpfs none "$1" && mkdir "$1/shm" "$1/pts" && mount --bind /dev/shm "$1/shm"
for name in null zero full random urandom tty; do : > "$1/$name"; mount --bind "/dev/$name" "$1/$name"; done
mount --move "$1" /dev
shift; exec "$@"
"""
OTHER_DEVICE = 'mount --make-rprivate / && mount --bind /dev/null /dev/fuse; shift; exec "$@"'
FORBIDDEN_DEVICE = """
mount --make-rprivate / && cp -a /dev/fuse "$1/fuse" && chmod 600 "$1/fuse" && mount --bind "$1/fuse" /dev/fuse
shift; exec "$@"
"""


@pytest.fixture(scope="module")
def world() -> Iterator[World]:
    with World() as world:
        yield world


def play(world: World, cases: Mapping[str, Case]) -> None:
    """Build all cases, edit, and build them again; then say of which that was not as it should be."""
    names = {f"c{number}": name for number, name in enumerate(cases)}
    text = "".join(cases[name].text(stage) for stage, name in names.items()) + "FROM scratch\n"
    text += "".join(f"COPY --from={stage} /etc/group /{stage}\n" for stage in names)
    before: dict[str, Node] = {}
    after: dict[str, Node] = {}
    for stage, name in names.items():
        files = {**FILES, **cases[name].files}
        edited = {path: node for path, node in {**files, **cases[name].edit}.items() if node is not None}
        before |= {f"{stage}/{path}": node for path, node in files.items()}
        after |= {f"{stage}/{path}": node for path, node in edited.items()}
    world.start()
    world.steps(Build(text, before))
    steps = world.steps(Build(text, after))
    there = world.stages(steps)
    fresh = world.stages(world.steps(Build(text, after), fresh=True), fresh=True)
    last = {one.node.stage: one for one in sorted(steps, key=lambda one: one.node.index)}
    wrong = []
    for stage, name in names.items():
        found = differences(there[stage], fresh[stage], world.base)
        told = last[stage]
        hit = told.outcome == events.HIT
        if hit != cases[name].hit or (hit and not told.reason.startswith("nothing it read has changed")):
            found.append(f"{told.outcome}: {told.reason}")
        wrong += [f"{name}: {line}" for line in found]
    world.check()
    assert not wrong, "\n".join(["", *wrong])


@pytest.mark.parametrize(
    "cases", [CONTENT, STAT, LISTED, WRITTEN, STEPS], ids=["content", "stat", "listed", "written", "steps"]
)
def test_a_step_hits_unless_what_it_learned_has_changed(world: World, cases: Mapping[str, Case]) -> None:
    play(world, cases)


def test_a_step_on_a_layer_that_is_kept_as_a_patch(world: World) -> None:
    with mock.patch.object(packing, "MANY", 16):
        play(world, PATCHED)


# By the command


def in_a_namespace(pybuild: Pybuild, tmp_path: Path, script: str) -> Pybuild:
    """Give the command in a mount namespace that a script changes; it may use a directory, its first argument."""
    place = tmp_path / "place"
    place.mkdir()
    before = ("unshare", "-m", "sh", "-ec", script, "sh", str(place))
    return replace(pybuild, command=(*before, *pybuild.command), warm=None)


def build(pybuild: Pybuild, context: Path, *options: str, status: int = 0) -> Built:
    return pybuild.build(context, "--network=none", *options, status=status)


def edited(pybuild: Pybuild, context: Path, *options: str, name: str = "g") -> str:
    """Build after a file got content that it never had: HIT or RAN for the last step."""
    (context / name).write_text(os.urandom(8).hex())
    return build(pybuild, context, *options).outcomes()[-1]


@pytest.mark.either_user
def test_a_hit_is_shown_with_what_it_read(busybox: Pybuild, tmp_path: Path) -> None:
    pybuild = in_a_namespace(busybox, tmp_path, WITH_DEVICE)
    context = pybuild.context(READS, f="f", g="g")
    assert build(pybuild, context).outcomes() == ["RAN", "RAN"]
    (context / "g").write_text("G")
    built = build(pybuild, context)
    assert built.outcomes() == ["RAN", "HIT"]
    assert READ_NOTHING_NEW in built.shown
    (context / "f").write_text("F")
    built = build(pybuild, context)
    assert built.outcomes() == ["RAN", "RAN"]
    assert "/c/f changed, which it read" in built.shown
    assert pybuild.sh("cat /r") == "F"


@pytest.mark.parametrize(
    ("options", "outcome"),
    [
        ("--observe=on", "HIT"),
        ("--cap-add=NET_ADMIN", "HIT"),
        ("--cap-drop=CHOWN", "HIT"),
        ("--observe=off", "RAN"),
        ("--no-cache", "RAN"),
        ("--no-cache-filter=0", "RAN"),
        ("--isolation=chroot", "RAN"),
        ("--cap-add=SYS_ADMIN", "RAN"),
        ("--cap-add=cap_dac_read_search", "RAN"),
        ("--cap-add=SYS_PTRACE", "RAN"),
        ("--cap-add=all", "RAN"),
        ("--security-opt=seccomp=unconfined", "RAN"),
        ("--userns-uid-map=0:200000:65536 --userns-gid-map=0:200000:65536", "RAN"),
        ("--volume=/c:/v", "RAN"),
    ],
)
def test_a_command_that_could_learn_otherwise_is_not_observed(busybox: Pybuild, options: str, outcome: str) -> None:
    words = options.split()
    context = busybox.context(READS, f="f", g="g")
    if words[0].startswith("--volume"):
        words = [f"--volume={context}:/v"]
    build(busybox, context, *words)
    assert edited(busybox, context, *words) == outcome
    assert busybox.sh("cat /r") == "f"


def test_an_insecure_step_is_not_observed(busybox: Pybuild) -> None:
    context = busybox.context(READS.replace("RUN", "RUN --security=insecure"), f="f", g="g")
    assert [edited(busybox, context, "--allow=security.insecure") for _ in range(2)] == ["RAN", "RAN"]


@pytest.mark.either_user
@pytest.mark.parametrize("script", [WITHOUT_DEVICE, OTHER_DEVICE, FORBIDDEN_DEVICE], ids=["none", "other", "forbidden"])
def test_a_machine_without_the_device(busybox: Pybuild, tmp_path: Path, script: str) -> None:
    """Steps run as ever, and nothing is said."""
    pybuild = in_a_namespace(busybox, tmp_path, script)
    context = pybuild.context(READS, f="f", g="g")
    built = build(pybuild, context)
    assert "warning" not in built.shown.lower()
    expected = "HIT" if script == FORBIDDEN_DEVICE and not busybox.owner else "RAN"
    assert edited(pybuild, context) == expected


def test_a_failed_step_leaves_no_record(busybox: Pybuild) -> None:
    context = busybox.context(READS.replace("cat /c/f > /r", "cat /c/f > /r && cat /c/no > /r2"), f="f", g="g")
    build(busybox, context, status=1)
    (context / "g").write_text("G")
    assert build(busybox, context, status=1).outcomes() == ["RAN"]
    (context / "no").write_text("no")
    assert build(busybox, context).outcomes() == ["RAN", "RAN"]
    (context / "no").unlink()
    build(busybox, context, status=1)


def test_a_hit_is_as_old_as_what_was_executed(busybox: Pybuild) -> None:
    """One of what was read passes the age on."""
    context = busybox.context(READS, f="f", g="g")
    build(busybox, context)
    with closing(sqlite3.connect(busybox.root / "state.db")) as database, database:
        database.execute("UPDATE records SET created = created - 2 * 86400 * 1000000000")
    assert edited(busybox, context, "--cache-ttl=24h") == "RAN"
    with closing(sqlite3.connect(busybox.root / "state.db")) as database, database:
        database.execute("UPDATE records SET created = created - 2 * 86400 * 1000000000")
    assert edited(busybox, context) == "HIT"
    assert build(busybox, context, "--cache-ttl=24h").outcomes()[-1] == "RAN"
    assert build(busybox, context, "--cache-ttl=24h").outcomes()[-1] == "HIT"


def test_what_costs_much_is_not_observed_unless_that_is_asked_for(busybox: Pybuild) -> None:
    look = "i=0; while [ $i -lt 9000 ]; do [ -e /c/n$i ]; i=$((i+1)); done; cat /c/f > /r"
    context = busybox.context(READS.replace("cat /c/f > /r", look), f="f", g="g")
    build(busybox, context)
    assert edited(busybox, context) == "RAN"
    assert edited(busybox, context, "--observe=on") == "RAN"
    assert edited(busybox, context) == "HIT"


@pytest.mark.parametrize(
    "damage", [b"no", b"z" + zlib.compress(b"no"), b"z" + zlib.compress(b'{"version": 1, "slots": [{"c": [9, ""]}]}')]
)
def test_a_damaged_observation_is_none(busybox: Pybuild, damage: bytes) -> None:
    context = busybox.context(READS, f="f", g="g")
    build(busybox, context)
    with closing(sqlite3.connect(busybox.root / "state.db")) as database, database:
        (digest,) = observed(busybox)
        assert database.execute("UPDATE input_lists SET data = ? WHERE digest = ?", (damage, digest)).rowcount == 1
    assert edited(busybox, context) == "RAN"
    assert edited(busybox, context, name="f") == "RAN"
    assert edited(busybox, context) == "HIT"


def test_a_secret_below_what_was_copied(busybox: Pybuild) -> None:
    secret = busybox.work / "secret"
    secret.write_text("secret")
    run = "RUN --mount=type=secret,id=s,target=/c/d/s [ $(cat /c/d/s) = secret ] && cat /c/f > /r"
    context = busybox.context(f"FROM busybox\nCOPY . /c/\n{run}\n", f="f", g="g", d__x="x")
    option = f"--secret=id=s,src={secret}"
    build(busybox, context, option)
    assert edited(busybox, context, option, name="d/x") == "HIT"
    assert edited(busybox, context, option, name="d/s") == "RAN"


def test_names_are_shown_without_what_they_do_to_a_terminal(busybox: Pybuild) -> None:
    context = busybox.context("FROM busybox\nCOPY . /c/\nRUN cat /c/e/* > /r\n", e__x="x")
    name = "\x1b]0;title\x07\nDONE"
    for text in ("1", "2"):
        (context / "e" / name).write_text(text)
        built = build(busybox, context)
    assert built.outcomes() == ["RAN", "RAN"]
    assert "changed, which it read" in built.shown
    assert "\x1b" not in built.shown
    assert not [line for line in built.shown.splitlines() if line.startswith("DONE")]


def test_the_end_of_the_observer_in_the_middle(busybox: Pybuild) -> None:
    """The step is executed again, unobserved, with a word: what it saw was not what there is."""
    wait = "while grep -q observed /proc/self/mountinfo && ! ls /c/n$i 2>&1 | grep -q endpoint; do i=$((i+1)); done"
    context = busybox.context(READS.replace("cat /c/f", f"echo ready; {wait}; cat /c/f"), f="f", g="g")
    command = [*busybox.command, "build", "--progress=plain", "--network=none", "-t", "test", str(context)]
    with subprocess.Popen(command, env=busybox.environ(), stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        shown = ""
        for line in process.stderr:
            shown += line
            if line.endswith(" ready\n") and "again" not in shown and (found := observers(process.pid)):
                os.kill(found[0], 9)
    assert process.returncode == 0, shown
    assert "the process that notes what the command reads has ended before it; it is executed again" in shown
    assert busybox.sh("cat /r").endswith("f")
    assert observed(busybox) == []


def test_the_history_tells_of_hits_because_of_what_was_read(busybox: Pybuild) -> None:
    context = busybox.context(READS, f="f", g="g")
    busybox.run("-t", "app", context)
    (context / "g").write_text("other")
    busybox.run("-t", "app", context)
    last = json.loads(busybox.run("builds", "--format=json").stdout)["builds"][0]
    assert last["steps"][-1]["outcome"] == "hit"
    assert last["steps"][-1]["reason"] == READ_NOTHING_NEW
    assert READ_NOTHING_NEW in busybox.run("report", "-o", "-", "app").stdout


def test_a_record_tells_what_a_step_that_follows_has_read(busybox: Pybuild) -> None:
    context = busybox.context(READS, f="f", g="g")
    busybox.run("--record", "record.json", context)
    (context / "g").write_text("other")
    told = busybox.run("why", "--against", "record.json", context).stdout
    assert "follows from step 2; nothing that it read there is different here" in told
    (context / "f").write_text("f2")
    assert (
        "follows from step 2; /c/f changed, which it read"
        in busybox.run("why", "--against", "record.json", context).stdout
    )


def test_advice_is_true_of_what_was_read(busybox: Pybuild) -> None:
    run = "RUN cat /w/p/a && sleep 0.6; echo /w/p/* > /o"
    text = f"FROM busybox AS b\nARG COMMIT=1\nCOPY . /w/\n{run}\nFROM busybox\nCOPY --from=b /o /o\n"
    context = busybox.context(text, p__a="a", p__b="b", q__c="c", d="d", e="e")
    assert "no build has noted" in busybox.run("advice", context, status=125).stderr
    busybox.build(context)
    (found,) = (
        one
        for one in json.loads(busybox.run("advice", "--format=json", context).stdout)["advice"]
        if one["kind"] == "narrower"
    )
    assert found["lines"] == ["COPY p/a /w/p/"]
    advised = {one["kind"]: one for one in json.loads(busybox.run("advice", "--format=json", context).stdout)["advice"]}
    assert advised["unread"]["lines"] == ["Buildfile", "d", "e", "p/b", "q"]
    assert "ARG COMMIT" in advised["argument"]["text"]
    (context / "p/new").write_text("x")
    busybox.build(context)
    assert "names in /w/p differed" in busybox.run("advice", context).stdout
    # What it says is so: with the lines that it gives, other files of the context are none of the step's.
    (context / "Buildfile").write_text(text.replace("COPY . /w/", found["lines"][0]))
    busybox.build(context)
    (context / "d").write_text("other")
    assert busybox.build(context).outcomes() == ["HIT"] * 3


def observed(pybuild: Pybuild) -> list[str]:
    """Give the digests of all observations that records name."""
    with closing(sqlite3.connect(pybuild.root / "state.db")) as database:
        records = [json.loads(row[0]) for row in database.execute("SELECT data FROM records")]
    return [record["observed"][1] for record in records if "observed" in record]


def observers(ancestor: int) -> list[int]:
    """Find the observers among the descendants of a process."""
    parents, found = {}, []
    for pid in map(int, filter(str.isdigit, os.listdir("/proc"))):
        with contextlib.suppress(OSError):
            before, _, after = Path(f"/proc/{pid}/stat").read_text().rpartition(")")
            parents[pid] = int(after.split()[1])
            found += [pid] if "pybuild-observe" in before else []
    return [pid for pid in found if ancestor in _above(pid, parents)]


def _above(pid: int, parents: Mapping[int, int]) -> Iterator[int]:
    while pid := parents.get(pid, 0):
        yield pid

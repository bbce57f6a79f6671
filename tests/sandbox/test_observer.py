"""What a container learns of layers is noted: by a file system that shows it nothing else, and that it cannot reach."""

from __future__ import annotations

import os
import textwrap
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING

import pytest

from buildah_py.linux.paths import open_beneath
from buildah_py.sandbox import capabilities, wire
from buildah_py.sandbox.observer import ABSENT, EXISTS, LISTED, READ
from buildah_py.sandbox.spec import ObservedLayers, ShownLayer
from tests.sandbox.conftest import Result

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from buildah_py.sandbox import Container, ContainerSpec
    from tests.sandbox.conftest import Bench

pytestmark = [
    pytest.mark.root,
    pytest.mark.skipif(not os.access("/dev/fuse", os.R_OK | os.W_OK), reason="needs /dev/fuse"),
]


class Seen:
    """What came of a container that was observed."""

    def __init__(self, bench: Bench, result: Result, report: bytes, *, unobserved: bool) -> None:
        self.bench = bench
        self.result = result
        self.report = report
        self.unobserved = unobserved

    @property
    def slots(self) -> list[dict[str, int]]:
        return [{os.fsdecode(path): flags for path, flags in one.items()} for one in wire.unpack(self.report)]


def observe(bench: Bench, spec: ContainerSpec, *slots: ShownLayer | Path, most: int = 0) -> Seen:
    """Run a container on slots, the top-most first, above the bench's base."""
    shown = [one if isinstance(one, ShownLayer) else ShownLayer((str(one),)) for one in slots]
    place = bench.path / f"observed{bench.count}"
    place.mkdir()
    report = os.memfd_create("report")
    lowers = (*range(len(shown)), *spec.lowers)
    with (bench.path / "out").open("w+") as out, os.fdopen(report, "rb") as file:
        container = bench.sandbox.start_container(
            spec,
            stdout=out.fileno(),
            stderr=out.fileno(),
            observed=ObservedLayers(lowers, tuple(shown), str(place), report, most=most),
        )
        status = container.wait()
        out.seek(0)
        file.seek(0)
        result = Result(status, out.read(), "")
        return Seen(bench, result, file.read(), unobserved=container.unobserved)


def observe_sh(bench: Bench, script: str, *slots: ShownLayer | Path, most: int = 0) -> Seen:
    return observe(bench, bench.spec("/bin/sh", "-c", script), *slots, most=most)


@pytest.fixture
def slot(tmp_path: Path) -> Path:
    slot = tmp_path / "slot"
    (slot / "c/d").mkdir(parents=True)
    (slot / "c/f").write_text("f\n")
    (slot / "c/d/x").write_text("x\n")
    return slot


def test_notes_what_is_looked_up_listed_and_read(bench: Bench, slot: Path) -> None:
    seen = observe_sh(bench, "[ -e /c/no ]; echo /c/*; cat /c/f; [ -e /c/d/x ]", slot)
    assert seen.result.out == "/c/d /c/f\nf\n"
    (found,) = seen.slots
    assert found == {**found, "c": EXISTS | LISTED, "c/f": EXISTS | READ, "c/no": ABSENT, "c/d/x": EXISTS}
    assert found["c/d"] == EXISTS
    assert {path for path in found if path.startswith("c")} == {"c", "c/f", "c/no", "c/d", "c/d/x"}
    assert found[""] & EXISTS


def test_more_slots_than_the_kernel_takes_layers(bench: Bench, tmp_path: Path) -> None:
    slots = []
    for number in range(520):
        slots.append(tmp_path / f"slot{number}")
        slots[-1].mkdir()
        (slots[-1] / f"f{number}").write_text(f"{number}\n")
    seen = observe_sh(bench, "cat /f0 /f300 /f519", *slots)
    assert seen.result.out == "0\n300\n519\n"
    read = [number for number, one in enumerate(seen.slots) if READ in [flags & READ for flags in one.values()]]
    assert read == [0, 300, 519]


def test_a_patch_hides_what_is_gone_and_follows_no_link(bench: Bench, tmp_path: Path) -> None:
    """A directory above a link does not show what the link leads to, which is on the machine."""
    above, below, secret = (tmp_path / name for name in ("above", "below", "secret"))
    for directory in (above / "c/link/in", below / "c/dir", secret / "in"):
        directory.mkdir(parents=True)
    for path in (secret / "s", secret / "in/s", below / "c/dir/gone", below / "c/gone", below / "c/dir/there"):
        path.write_text("secret\n")
    (below / "c/link").symlink_to(secret)
    (above / "c/dir").mkdir()
    os.mknod(above / "c/gone", 0o20000, 0)
    os.mknod(above / "c/dir/gone", 0o20000, 0)
    slot = ShownLayer((str(above), str(below)), ("c/gone", "c/dir/gone"))
    script = "cat /c/link/s /c/link/in/s 2> /dev/null; echo /c/link/* /c/link/in/*; echo /c/* /c/dir/*; ls /c/gone"
    seen = observe_sh(bench, script, slot)
    assert seen.result.out.splitlines()[:-1] == ["/c/link/in /c/link/in/*", "/c/dir /c/link /c/dir/there"]
    (found,) = seen.slots
    assert {path for path, flags in found.items() if flags == ABSENT and path.startswith("c/")} == {
        "c/link/s",
        "c/link/in/s",
        "c/gone",
    }


def test_names_and_paths_of_any_kind(bench: Bench, slot: Path) -> None:
    names = [b"\xff\xfe", b"two\nlines", b"n" * 255, b"\x1b]0;t\x07", b" ", "é".encode()]
    for name in names:
        (slot / "c/d" / os.fsdecode(name)).write_text("1")
    for number in range(5000):
        (slot / f"c/many{number:0100}").touch()
    seen = observe_sh(bench, "cat /c/d/* | wc -c; ls /c | wc -l", slot)
    assert seen.result.out == f"{len(names) + 2}\n5002\n"
    (found,) = seen.slots
    assert {os.fsencode(path)[4:] for path, flags in found.items() if flags & READ} == {*names, b"x"}


@pytest.mark.parametrize("seconds", [-1, -50_000, 0, 1 << 33])
def test_times_of_any_age(bench: Bench, slot: Path, seconds: int) -> None:
    os.utime(slot / "c/f", (seconds, seconds))
    seen = observe_sh(bench, "stat -c %Y /c/f", slot)
    assert seen.result.out == f"{seconds}\n"
    assert not seen.unobserved


def test_attributes_are_shown_and_marks_of_overlays_are_not(bench: Bench, slot: Path) -> None:
    os.setxattr(slot / "c/f", "user.note", b"1")
    os.setxattr(slot / "c/f", "trusted.overlay.note", b"1")
    program = """
        import os
        print(os.listxattr("/c/f"), os.getxattr("/c/f", "user.note"))
        for name in ("user.no", "trusted.overlay.note", "what.is", "system.posix_acl_access"):
            try:
                print(os.getxattr("/c/f", name))
            except OSError:
                print("no")
    """
    seen = observe(bench, bench.python_spec(textwrap.dedent(program)), slot)
    assert seen.result.out == "['user.note'] b'1'\nno\nno\nno\nno\n"
    assert seen.report


def test_a_path_as_long_as_can_be(bench: Bench, slot: Path) -> None:
    """It is copied up, with its attributes, which are asked for by a path."""
    names = ["n" * 48] * 83
    top = os.open(slot, os.O_RDONLY)
    try:
        for number in range(len(names)):
            os.mkdir("/".join(names[: number + 1]), dir_fd=top)
        path = "/".join([*names, "f" * 27])
        assert len(path) == 4094
        os.close(os.open(path, os.O_CREAT | os.O_WRONLY, dir_fd=top))
    finally:
        os.close(top)
    seen = observe_sh(bench, f"for n in $(seq 83); do cd {names[0]}; done; echo 1 >> {'f' * 27}", slot)
    assert seen.result.out == ""
    assert seen.slots[0][path] & EXISTS
    file = open_beneath(os.open(bench.upper, os.O_PATH), path, os.O_RDONLY)
    assert os.pread(file, 9, 0) == b"1\n"
    os.close(file)


def test_too_many_paths_and_too_many_requests_are_not_reported(bench: Bench, slot: Path) -> None:
    script = "i=0; while [ $i -lt {} ]; do [ -e /c/n$i ]; i=$((i+1)); done; cat /c/f"
    for most, count, whole in ((0, 300, True), (200, 300, False), (0, 20_100, False)):
        seen = observe_sh(bench, script.format(count), slot, most=most)
        assert seen.result.out == "f\n"
        assert isinstance(wire.unpack(seen.report), tuple if whole else int)
        assert not seen.unobserved


INSIDE = """
import os, sys

def tried(what, *arguments):
    try:
        return what(*arguments)
    except OSError as error:
        return None

text = "".join(open(path).read() for path in ("/proc/self/mountinfo", "/proc/1/mountinfo") if tried(open, path))
assert "fuse" not in text.replace("lowerdir", ""), text
names = [open(f"/proc/{pid}/comm").read() for pid in os.listdir("/proc") if pid.isdigit()]
assert not [name for name in names if "observe" in name], names
for pid in os.listdir("/proc"):
    if pid.isdigit():
        for where in ("root", "cwd"):
            place = f"/proc/{pid}/{where}"
            assert (tried(os.listdir, place) is None) or sorted(os.listdir(place)) == sorted(os.listdir("/")), place
        for fd in tried(os.listdir, f"/proc/{pid}/fd") or ():
            link = tried(os.readlink, f"/proc/{pid}/fd/{fd}") or ""
            assert "fuse" not in link and "/slot" not in link and "observed" not in link, link
assert not os.path.exists("/dev/fuse")
assert tried(os.mknod, "/f", 0o20666, os.makedev(10, 229)) is not None or tried(os.open, "/f", os.O_RDWR) is None
assert tried(os.open, "/f", os.O_RDWR) is None
for path in (PLACE, SLOT):
    assert tried(os.stat, path) is None, path
for signal in (0, 9):
    for pid in range(2, 300):
        if pid != os.getpid():
            assert tried(os.kill, pid, signal) is None
print("held", open("/c/f").read())
"""


def test_nothing_of_it_is_in_reach_of_a_container(bench: Bench, slot: Path) -> None:
    place = str(bench.path / f"observed{bench.count + 1}")
    seen = observe(
        bench, bench.python_spec(INSIDE.replace("PLACE", repr(place)).replace("SLOT", repr(str(slot)))), slot
    )
    assert seen.result.out == "held f\n\n"
    assert seen.slots[0]["c/f"] == EXISTS | READ


@contextmanager
def waiting(bench: Bench, slot: Path) -> Iterator[tuple[Container, int]]:
    """Give a container that waits to read a file, and its observer."""
    place = bench.path / "observed"
    place.mkdir()
    with ExitStack() as held:
        report = os.memfd_create("report")
        ends = [*os.pipe(), *os.pipe()]
        for descriptor in (report, *ends):
            held.callback(os.close, descriptor)
        told, tell, ours, theirs = ends
        spec = bench.spec("/bin/sh", "-c", "echo ready; read line; cat /c/f 2> /dev/null; true")
        observed = ObservedLayers((0, *spec.lowers), (ShownLayer((str(slot),)),), str(place), report)
        container = bench.sandbox.start_container(spec, stdin=told, stdout=theirs, observed=observed)
        assert os.read(ours, 6) == b"ready\n"
        (observer,) = observers(bench.sandbox.helper)
        yield container, observer
        os.write(tell, b"\n")
        container.wait()
    assert observers(bench.sandbox.helper) == []


def test_the_end_of_the_observer_is_told(bench: Bench, slot: Path) -> None:
    """Whatever the container sees of missing files is not the truth."""
    with waiting(bench, slot) as (container, observer):
        os.kill(observer, 9)
    assert container.unobserved


def test_the_observer_may_do_nothing(bench: Bench, slot: Path) -> None:
    """It reads files of any owner, and nothing else."""
    with waiting(bench, slot) as (container, observer):
        with open(f"/proc/{observer}/status", encoding="utf-8") as file:
            status = {name: value.strip() for name, _, value in (line.partition(":") for line in file)}
        reads = 1 << capabilities.number("DAC_OVERRIDE") | 1 << capabilities.number("DAC_READ_SEARCH")
        assert int(status["CapEff"], 16) == int(status["CapPrm"], 16) == reads
        assert {int(status[name], 16) for name in ("CapBnd", "CapInh", "CapAmb")} == {0}
        assert status["NoNewPrivs"] == "1"
    assert not container.unobserved


def observers(helper: int) -> list[int]:
    found = []
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open(f"/proc/{pid}/stat", encoding="utf-8") as file:
                before, _, after = file.read().rpartition(")")
        except FileNotFoundError:
            continue
        if "pybuild-observe" in before and int(after.split()[1]) == helper:
            found.append(int(pid))
    return found

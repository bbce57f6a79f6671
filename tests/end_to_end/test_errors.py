"""What bad input gets: one clear message, the right exit status, nothing left over, a store that works next time.

The words for each mistake that people make are in test_mistakes.py.
"""

from __future__ import annotations

import contextlib
import os
import re
import signal
import socket
import subprocess
import time
from typing import TYPE_CHECKING

import pytest

from buildah_py.linux.namespaces import CLONE_NEWNET, setns, unshare

from .conftest import PYBUILD

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from .conftest import Pybuild

pytestmark = pytest.mark.root


def leftovers(root: Path) -> dict[str, list[str]]:
    """List what a build could leave on the machine: mounts and processes of its state directory, links, rules."""
    with open("/proc/self/mounts", encoding="utf-8", errors="surrogateescape") as file:
        mounts = [line for line in file if f" {root}/" in line]
    processes = []
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open(f"/proc/{pid}/environ", "rb") as raw:
                environ = raw.read()
            with open(f"/proc/{pid}/cmdline", "rb") as raw:
                command = raw.read().replace(b"\0", b" ").decode(errors="replace")
        except OSError:
            continue
        if f"PYBUILD_ROOT={root}".encode() in environ or str(root) in command:
            processes.append(command)
    staged = os.listdir(root / "staging") if (root / "staging").exists() else []
    return {"mounts": mounts, "processes": processes, "staged": staged}


NOTHING: dict[str, list[str]] = {"mounts": [], "processes": [], "staged": []}


def links() -> set[str]:
    """Name the network interfaces."""
    return {name for _, name in socket.if_nameindex()}


def check_links(expected: set[str]) -> None:
    """Check that all interfaces of builds go: who makes them outlives the build by what it takes to remove them."""
    last = time.monotonic() + 10
    while links() != expected and time.monotonic() < last:
        time.sleep(0.01)
    assert links() == expected


@pytest.fixture
def network_of_its_own() -> Iterator[None]:
    """Have the test see no interfaces but those of its own builds: others may be building at the same time."""
    with open("/proc/self/ns/net", "rb") as own:
        unshare(CLONE_NEWNET)
        subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
        yield
        setns(own.fileno(), CLONE_NEWNET)


@pytest.fixture
def clean(busybox: Pybuild, network_of_its_own: None) -> Iterator[Pybuild]:
    """Check afterwards that nothing is left and that the store still works."""
    before = links()
    yield busybox
    assert leftovers(busybox.root) == NOTHING
    check_links(before)
    context = busybox.context("FROM busybox\nRUN echo works > /works\n", "afterwards")
    busybox.run("-t", "afterwards", context)
    assert busybox.sh("cat /works", "afterwards") == "works\n"


def test_a_syntax_error_names_its_place(clean: Pybuild) -> None:
    context = clean.context("FROM busybox\nRUN true\nCOPPY a b\n")
    shown = clean.build(context, status=125).shown
    assert "Buildfile:3:1: " in shown
    assert "\n  COPPY a b\n  ^^^^^\n" in shown
    assert "COPY" in shown.split("^^^^^")[1]


@pytest.mark.parametrize(
    ("text", "place", "words"),
    [
        ("", "", "no instructions|empty|no FROM|no build stage"),
        ("RUN true\n", "1:1", "FROM"),
        ("FROM busybox\nCOPY a\n", "2:", "COPY"),
        ("FROM busybox\nENV a=${b\n", "2:", ""),
        ("FROM nowhere:1\n", "1:6", "nowhere:1"),
        ("FROM busybox\nCOPY --from=nostage /a /b\n", "2:", "nostage"),
        ("FROM busybox\nSTOPSIGNAL SIGNONE\n", "2:12", "SIGNONE"),
        ("FROM busybox AS a\nCOPY --from=a /x /y\n", "2:", "itself"),
    ],
)
def test_mistakes_in_the_file(clean: Pybuild, text: str, place: str, words: str) -> None:
    context = clean.context(text)
    shown = clean.build(context, status=125).shown
    assert f"Buildfile:{place}" in shown
    assert re.search(words, shown), shown


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("FROM busybox\nCOPY ../outside /\n", "outside"),
        ("FROM busybox\nWORKDIR /etc/passwd\n", "/etc/passwd"),
        ("FROM busybox\nCOPY Buildfile /etc/passwd/\n", "passwd"),
    ],
)
def test_mistakes_that_only_execution_shows(clean: Pybuild, text: str, words: str) -> None:
    context = clean.context(text)
    (context.parent / "outside").write_text("not in the context")
    assert words in clean.build(context, status=125).shown


@pytest.mark.parametrize(("command", "status"), [("exit 3", 3), ("kill -9 $$", 137)])
def test_the_status_of_run_becomes_ours(clean: Pybuild, command: str, status: int) -> None:
    context = clean.context(f"FROM busybox\nRUN echo before >&2; {command}\n")
    shown = clean.build(context, status=status).shown
    assert "before" in shown
    again = clean.build(context, status=status).shown
    assert "before" in again, "a failed step is never cached"


def test_what_failed_does_not_disturb_what_is_beside_it(clean: Pybuild) -> None:
    context = clean.context(
        "FROM busybox AS a\nRUN sleep 30\nFROM busybox AS b\nRUN sleep 0.2; exit 7\n"
        "FROM scratch\nCOPY --from=a /x /\nCOPY --from=b /x /\n"
    )
    shown = clean.build(context, status=7).shown
    assert "exit 7" in shown


@pytest.mark.parametrize(
    "arguments",
    [
        ["--nonsense"],
        ["-t", "Not A Name", "."],
        ["--network=moon", "."],
        ["--output", "type=nope", "."],
        ["--build-arg", "=x", "."],
        ["run"],
        ["bootstrap", "windows"],
        ["--progress=tty", "."],
    ],
)
def test_usage(clean: Pybuild, arguments: list[str]) -> None:
    clean.context("FROM scratch\n", ".")
    result = clean.run(*arguments, status=2)
    assert result.stderr.startswith("pybuild: ")
    assert len(result.stderr.splitlines()) <= 3


def test_output_and_errors_come_in_their_order(busybox: Pybuild) -> None:
    one_pipe = "test $(readlink /proc/$$/fd/1) = $(readlink /proc/$$/fd/2) || exit 4"  # or else chance may order them
    script = f"{one_pipe}; for i in 1 2 3; do echo o$i; echo e$i >&2; done; cat nope; echo status $?"
    shown = busybox.build(busybox.context(f"FROM busybox\nRUN {script}\n")).shown
    said = [line.split(" ", 2)[2] for line in shown.splitlines() if line.startswith("#2 0.")]
    assert said[:6] == ["o1", "e1", "o2", "e2", "o3", "e3"]
    assert "nope" in said[6]
    assert said[7] == "status 1"


def test_docker_s_options_without_a_meaning_here_are_taken(busybox: Pybuild) -> None:
    context = busybox.context("FROM busybox\nRUN true\n")
    quiet = ("--rm", "--force-rm=true", "--compress", "--provenance=false", "--sbom=false", "--builder", "default")
    assert "warning" not in busybox.build(context, *quiet).shown
    shown = busybox.build(context, "--builder", "mine", "--policy=", "--no-cache=true", status=None).shown
    assert "--policy" in shown
    shown = busybox.build(context, "--builder", "mine", "--no-cache=true").shown
    assert "--builder=mine has no effect" in shown
    assert "1 executed" in shown
    assert "0 executed" in busybox.build(context, "--no-cache=false").shown
    run = ("run", "--network=none", "--rm", "--name", "web", "busybox", "echo", "--rm=true", "-p")
    assert busybox.run(*run).stdout == "--rm=true -p\n"


def test_variables_from_a_file(busybox: Pybuild) -> None:
    (busybox.work / "env").write_text("# of the project\nA=1\n\nB=x=y \nHERE\nNOWHERE\n")
    script = "echo $A-$B-$HERE-${NOWHERE-unset}"
    shown = busybox.run(
        "run", "--network=none", "--env-file", "env", "-e", "A=2", "busybox", "sh", "-c", script, HERE="there"
    )
    assert shown.stdout == "2-x=y -there-unset\n"
    assert "--env-file nope" in busybox.run("run", "--env-file=nope", "busybox", status=2).stderr


def test_rights_have_to_be_given_on_the_command_line(clean: Pybuild) -> None:
    context = clean.context("FROM busybox\nRUN --network=host true\n")
    assert "--allow network.host" in clean.build(context, status=2).shown
    clean.build(context, "--allow", "network.host")


def test_a_context_that_is_not_there(clean: Pybuild) -> None:
    assert "nothere" in clean.run(clean.work / "nothere", status=125).stderr
    (clean.work / "empty").mkdir()
    assert "no build file" in clean.run(clean.work / "empty", status=125).stderr


def test_an_output_that_cannot_be_written(clean: Pybuild) -> None:
    context = clean.context("FROM busybox\n")
    assert "/nowhere" in clean.build(context, "-o", "type=oci,dest=/nowhere/x.tar", status=125).shown
    if os.path.exists("/dev/full"):
        assert "No space" in clean.build(context, "-o", "type=oci,dest=/dev/full", status=125).shown


def start(pybuild: Pybuild, context: Path, *options: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [PYBUILD, "--progress=plain", "-t", "test", *options, str(context)],
        env=pybuild.environ(),
        stderr=subprocess.PIPE,
        stdin=subprocess.DEVNULL,
        text=True,
    )


def until(process: subprocess.Popen[str], word: str) -> str:
    """Read what the build shows until a line has `word`."""
    assert process.stderr is not None
    shown = ""
    for line in process.stderr:
        shown += line
        if word in line:
            return shown
    pytest.fail(f"`{word}` was never shown: {shown}")


# Some of it a child that ignores signals, and one that left its session.
ENDLESS = "FROM busybox\nRUN trap '' INT TERM; (setsid sleep 1000 &) ; sleep 1000 & echo started; sleep 1000\n"


@pytest.mark.parametrize("network", ["none", "default"])
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_an_interrupted_build(clean: Pybuild, number: int, network: str) -> None:
    process = start(clean, clean.context(ENDLESS), f"--network={network}")
    until(process, "started")
    process.send_signal(number)
    _, rest = process.communicate(timeout=30)
    assert process.returncode == 128 + number
    assert "interrupted" in rest
    assert "Traceback" not in rest


@pytest.mark.parametrize("network", ["none", "default"])
def test_a_killed_build(busybox: Pybuild, network_of_its_own: None, network: str) -> None:
    before = links()
    context = busybox.context(ENDLESS)
    process = start(busybox, context, f"--network={network}")
    until(process, "started")
    process.kill()
    process.communicate()
    # The containers end by themselves; what else is left, the next build removes.
    (context / "Buildfile").write_text("FROM busybox\nRUN echo works > /works\n")
    busybox.build(context, f"--network={network}")
    assert busybox.sh("cat /works") == "works\n"
    assert leftovers(busybox.root) == NOTHING
    check_links(before)


@pytest.mark.parametrize("size", ["2500k", "4m", "8m"])
def test_a_full_disk(tmp_path: Path, pybuild: Pybuild, size: str) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", disk], check=True)
    try:
        pybuild.root = disk / "state"
        context = pybuild.context(
            "FROM busybox\nRUN dd if=/dev/zero of=/big bs=1M count=100\nCOPY big.bin /\n", big_bin=b"x" * 100
        )
        if pybuild.run("bootstrap", "busybox", status=None).returncode == 0:
            result = pybuild.build(context, status=None)
            assert result.status != 0
            assert re.search("No space|no space|full", result.shown), result.shown
            (context / "Buildfile").write_text("FROM busybox\nRUN true\n")
            pybuild.build(context)
        assert leftovers(pybuild.root)["staged"] == []
    finally:
        subprocess.run(["umount", disk], check=True)
    assert leftovers(pybuild.root) == NOTHING


def test_a_full_disk_in_copy(tmp_path: Path, pybuild: Pybuild) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=8m", "tmpfs", disk], check=True)
    try:
        pybuild.root = disk / "state"
        pybuild.run("bootstrap", "busybox")
        context = pybuild.context("FROM busybox\nCOPY big.bin /\n", big_bin=os.urandom(20 << 20))
        result = pybuild.build(context, status=125)
        assert re.search("No space|no space", result.shown), result.shown
        (context / "big.bin").write_bytes(b"small")
        pybuild.build(context)
        assert pybuild.sh("cat /big.bin") == "small"
    finally:
        subprocess.run(["umount", disk], check=True)


def test_a_full_disk_is_no_damage_and_can_be_pruned(tmp_path: Path, pybuild: Pybuild) -> None:
    """Where not a byte is left, each command says so once, and prune finds what it needs."""
    disk = tmp_path / "disk"
    disk.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=32m", "tmpfs", disk], check=True)
    try:
        pybuild.root = disk / "state"
        pybuild.run("bootstrap", "busybox")
        context = pybuild.context("FROM busybox\nRUN head -c 5000000 /dev/urandom > /big\n")
        pybuild.build(context)
        (tmp_path / "rootfs").mkdir()
        (tmp_path / "rootfs" / "big").write_bytes(os.urandom(40 << 20))
        refused = pybuild.run("import", "-t", "imported", tmp_path / "rootfs", status=125).stderr
        assert re.search("(?i)no space", refused), refused
        assert refused.count("\npybuild: ") + refused.startswith("pybuild: ") == 1
        assert leftovers(pybuild.root)["staged"] == []
        with (disk / "fill").open("wb", buffering=0) as file, contextlib.suppress(OSError):
            while True:
                file.write(bytes(4096))
        for command in (["images"], ["fsck"], ["run", "test", "true"], ["build", context]):
            shown = pybuild.run(*command, status=125).stderr
            assert shown.startswith("pybuild: no space left in"), shown
            assert "pybuild prune" in shown
        assert "freed" in pybuild.run("prune", "--all").stdout
        assert "clean" in pybuild.run("fsck").stdout
        (disk / "fill").unlink()
        pybuild.run("bootstrap", "busybox")
        pybuild.build(context)
    finally:
        subprocess.run(["umount", disk], check=True)


@contextlib.contextmanager
def disk_of_small_blocks(directory: Path, size: int, for_root: int) -> Iterator[Path]:
    """Mount a disk with blocks of 1 KiB, some percent of which are root's alone."""
    disk, image = directory / "disk", directory / "image"
    disk.mkdir()
    with image.open("wb") as file:
        file.truncate(size)
    if subprocess.run(["mkfs.ext4", "-q", "-m", str(for_root), "-b", "1024", image], check=False).returncode:
        pytest.skip("needs mkfs.ext4")
    if subprocess.run(["mount", "-o", "loop", image, disk], check=False, capture_output=True).returncode:
        pytest.skip("needs loop devices")
    try:
        yield disk
    finally:
        subprocess.run(["umount", disk], check=True)


def test_prune_works_where_root_has_used_its_own_blocks_too(tmp_path: Path, pybuild: Pybuild) -> None:
    with disk_of_small_blocks(tmp_path, 40 << 20, 5) as disk:
        pybuild.root = disk / "state"
        pybuild.run("images")
        subprocess.run(["dd", "if=/dev/zero", f"of={disk}/fill", "bs=64k"], check=False, capture_output=True)
        assert "no space left" in pybuild.run("images", status=125).stderr
        assert "freed" in pybuild.run("prune", "--all").stdout


def test_a_disk_of_small_blocks_is_full(tmp_path: Path, pybuild: Pybuild) -> None:
    """Whatever is left of it, no command is killed: what is mapped has all of its blocks."""
    with disk_of_small_blocks(tmp_path, 16 << 20, 0) as disk:
        pybuild.root = disk / "state"
        pybuild.run("images")
        for left in range(2, 80, 6):
            (disk / "fill").unlink(missing_ok=True)
            status = os.statvfs(disk)
            with (disk / "fill").open("wb") as file:
                os.posix_fallocate(file.fileno(), 0, status.f_bavail * status.f_frsize - (left << 10))
            for _ in range(2):
                ended = pybuild.run("images", status=None)
                assert ended.returncode in (0, 125), (left, ended)
                assert ended.returncode == 0 or ended.stderr.startswith("pybuild: no space left in")
        (disk / "fill").unlink()
        pybuild.run("images")
        assert "clean" in pybuild.run("fsck").stdout


def test_an_interrupt_at_any_moment(clean: Pybuild) -> None:
    text = "FROM busybox\nCOPY . /c\nRUN echo 1 > /1\nRUN sleep 0.05; echo 2 > /2\nWORKDIR /w\nRUN echo 3 > /3\n"
    context = clean.context(text, **{f"f{number}_txt": str(number) * 1000 for number in range(50)})
    seen = set()
    for hundredth in range(0, 40, 2):
        # From the first line on: what comes before our program has begun, the interpreter treats in its own way.
        process = start(clean, context, "--no-cache", "-o", "type=oci,dest=/dev/null")
        until(process, "#1")
        try:
            process.wait(hundredth / 100)
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGINT)
        _, shown = process.communicate(timeout=30)
        assert "Traceback" not in shown, shown
        assert process.returncode in (0, 130), shown
        seen.add(process.returncode)
        assert {**leftovers(clean.root), "staged": []} == NOTHING
    assert 130 in seen
    clean.run("images")  # an interrupt while staged files were being removed leaves the rest to the next start

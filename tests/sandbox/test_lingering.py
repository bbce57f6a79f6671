"""What one container may still hold of another that has ended: its layer is out of its reach."""

from __future__ import annotations

import os
import threading
from typing import TYPE_CHECKING, Any

import pytest

from buildah_py.errors import SandboxError
from buildah_py.sandbox import BindMount

if TYPE_CHECKING:
    from pathlib import Path

    from buildah_py.sandbox import Container
    from tests.sandbox.conftest import Bench

pytestmark = pytest.mark.root

HOLD = """
import os, socket
listening = socket.socket(socket.AF_UNIX)
listening.bind("/shared/socket")
listening.listen()
os.write(1, b"ready\\n")
connection, _ = listening.accept()
_, (descriptor,), _, _ = socket.recv_fds(connection, 1, 1)
os.write(1, b"have\\n")
os.read(os.open("/shared/go", os.O_RDONLY), 1)
try:
    ATTACK
    print("changed", flush=True)
except OSError as error:
    print(error.errno, flush=True)
"""

PASS = """
import os, socket
os.mkdir("/d")
with open("/d/file", "w") as file:
    file.write("right")
connection = socket.socket(socket.AF_UNIX)
connection.connect("/shared/socket")
socket.send_fds(connection, [b"x"], [os.open(WHAT)])
"""


class Holder:
    """A container that is passed a descriptor by another, and does something with it once that one has ended."""

    def __init__(self, bench: Bench, shared: Path, attack: str) -> None:
        self._bench = bench
        self._shared = shared
        os.mkfifo(shared / "go")
        reading, writing = os.pipe()
        spec = bench.python_spec(HOLD.replace("ATTACK", attack), mounts=(self._mount(),))
        self._container: Container = bench.sandbox.start_container(spec, stdout=writing)
        os.close(writing)
        self._said = os.fdopen(reading)
        assert self._said.readline() == "ready\n"

    def _mount(self) -> BindMount:
        return BindMount(str(self._shared), "/shared", readonly=False)

    def be_passed(self, what: str, then: str = "", **changes: Any) -> Container:
        """Run the container that passes a descriptor of `what` on, and give it when that has been done."""
        spec = self._bench.python_spec(PASS.replace("WHAT", what) + then, mounts=(self._mount(),), **changes)
        passing = self._bench.sandbox.start_container(spec)
        assert self._said.readline() == "have\n"
        return passing

    def attack(self) -> str:
        """Have it try what it can; what came of it."""
        with (self._shared / "go").open("w") as go:
            go.write("x")
        said = self._said.readline().strip()
        assert self._container.wait().status == 0
        return said

    def close(self) -> None:
        """End the container."""
        self._container.kill()
        self._container.wait()
        self._said.close()


@pytest.fixture
def shared(tmp_path: Path) -> Path:
    path = tmp_path / "shared"
    path.mkdir()
    return path


@pytest.mark.parametrize(
    "attack",
    [
        'os.write(os.open("d/file", os.O_WRONLY | os.O_TRUNC, dir_fd=descriptor), b"evil")',
        'os.rename("d", "e", src_dir_fd=descriptor, dst_dir_fd=descriptor)',
        'os.symlink("/etc", "etc-of-the-host", dir_fd=descriptor)',
        'os.fchdir(descriptor); os.chroot("."); os.chmod("/d/file", 0o4777)',
    ],
)
def test_what_was_captured_cannot_be_changed(bench: Bench, shared: Path, attack: str) -> None:
    holder = Holder(bench, shared, attack)
    try:
        passing = holder.be_passed('"/", os.O_RDONLY')
        upper = bench.upper
        assert passing.wait(seal=True).status == 0
        assert holder.attack() == "30", "EROFS"
    finally:
        holder.close()
    assert sorted(os.listdir(upper)) == ["d"]
    assert (upper / "d" / "file").read_text() == "right"
    assert (upper / "d" / "file").stat().st_mode & 0o7777 == 0o644


def test_a_file_that_stays_open_for_writing_fails_its_step(bench: Bench, shared: Path) -> None:
    holder = Holder(bench, shared, 'os.write(descriptor, b"evil")')
    try:
        passing = holder.be_passed('"/d/file", os.O_RDWR')
        with pytest.raises(SandboxError, match="still open for writing"):
            passing.wait(seal=True)
        assert holder.attack() == "changed"
    finally:
        holder.close()


def test_a_file_that_is_let_go_of_in_time_fails_nothing(bench: Bench, shared: Path) -> None:
    holder = Holder(bench, shared, "os.close(descriptor)")
    said: list[str] = []
    letting_go = threading.Timer(0.05, lambda: said.append(holder.attack()))
    letting_go.daemon = True
    try:
        passing = holder.be_passed('"/d/file", os.O_RDWR')
        letting_go.start()
        assert passing.wait(seal=True).status == 0
        letting_go.join()
        assert said == ["changed"]
    finally:
        holder.close()


def test_the_pipe_of_a_process_one_that_was_taken_over(bench: Bench, shared: Path) -> None:
    """Whoever holds it open keeps nobody waiting."""
    holder = Holder(bench, shared, "os.fstat(descriptor)")
    try:
        then = "import signal\nsignal.pause()\n"
        passing = holder.be_passed('"/proc/1/fd/0", os.O_WRONLY', then, cap_add=("SYS_PTRACE",))
        passing.kill()
        assert passing.wait().signal == 9
        assert bench.sh("echo on").out == "on\n"
        assert holder.attack() == "changed"
    finally:
        holder.close()


def test_what_a_step_left_open_itself_holds_nothing_up(bench: Bench) -> None:
    """Files that are removed, watched, mapped or on their way in a socket are let go of with the last process."""
    program = """
import ctypes, mmap, os, socket
libc = ctypes.CDLL(None)
watching = libc.inotify_init1(0)
for number in range(200):
    file = os.open(f"/file{number}", os.O_RDWR | os.O_CREAT)
    os.truncate(file, 4096)
    libc.inotify_add_watch(watching, f"/file{number}".encode(), 0xFFF)
    mapped = mmap.mmap(file, 4096)
    mapped[:4] = b"kept"
    os.unlink(f"/file{number}")
one, other = socket.socketpair()
socket.send_fds(one, [b"x"], [other.fileno(), file])
if os.fork() == 0:
    os.setsid()
    while True:
        mapped[:4] = b"more"
"""
    for _ in range(8):  # all may be over in time by chance
        running = bench.sandbox.start_container(bench.python_spec(program))
        assert running.wait(seal=True).status == 0

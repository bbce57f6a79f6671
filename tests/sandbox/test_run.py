from __future__ import annotations

import os
import signal
import stat
import subprocess
import sys
import threading
from typing import TYPE_CHECKING

import pytest

from buildah_py.errors import SandboxError
from buildah_py.layers.tidy import take_out

if TYPE_CHECKING:
    from pathlib import Path

    from tests.sandbox.conftest import Bench

pytestmark = pytest.mark.root


def test_runs_a_command_and_keeps_what_it_writes(bench: Bench) -> None:
    result = bench.sh("echo hello; echo oops >&2; echo data > /file; exit 3")
    assert (result.status, result.out, result.err) == (3, "hello\n", "oops\n")
    assert (bench.upper / "file").read_text() == "data\n"
    assert bench.committed() == ["file"]


def take_back(bench: Bench) -> list[str]:
    """Do what is done before a step's layer is captured; which files had been changed."""
    upper, init = str(bench.upper), str(bench.init)
    take_out(upper, init, "/etc/hostname", changed=False)
    return [name for name in ("hosts", "resolv.conf") if take_out(upper, init, f"/etc/{name}", changed=True)]


def test_nothing_of_the_init_layer_is_committed(bench: Bench) -> None:
    (bench.base / "etc/resolv.conf").write_text("of the image\n")
    before = (bench.base / "etc").stat().st_mtime_ns
    result = bench.sh("rm /etc/resolv.conf; echo x > /etc/y && mv /etc/y /etc/hosts; cat /etc/hostname /etc/hosts")
    assert result.out == "buildkitsandbox\nx\n"
    assert take_back(bench) == ["hosts", "resolv.conf"]
    assert bench.committed() == ["etc"]
    assert (bench.base / "etc").stat().st_mtime_ns == before
    (bench.upper / "etc").rmdir()
    (bench.upper / "etc").symlink_to("/etc")
    assert take_back(bench) == [], "no link is followed on the way"


def test_a_host_name_that_is_written_is_kept(bench: Bench) -> None:
    bench.sh("chmod -R go-rwx /etc")
    assert take_back(bench) == []
    assert not {"etc/hostname", "etc/hosts", "etc/resolv.conf"} & set(bench.committed())
    assert bench.sh("cat /etc/hostname; echo mine > /etc/hostname").out == "buildkitsandbox\n"
    assert take_back(bench) == []
    assert bench.committed() == ["etc", "etc/hostname"]
    (bench.path / "named/etc").mkdir(parents=True)
    (bench.path / "named/etc/hostname").write_text("of the image\n")
    lowers = str(bench.path / "named"), str(bench.base)
    assert bench.run("/bin/cat", "/etc/hostname", lowers=lowers).out == "of the image\n"


def test_directories_copied_up_keep_the_attributes_of_the_image(bench: Bench) -> None:
    etc = bench.base / "etc"
    etc.chmod(0o2750)
    os.chown(etc, 7, 8)
    os.setxattr(etc, "user.note", b"kept")
    result = bench.sh("stat -c '%a %u %g' /etc; touch /etc/new")
    assert result.out == "2750 7 8\n"
    copied = bench.upper / "etc"
    assert (copied.stat().st_mode & 0o7777, copied.stat().st_uid, copied.stat().st_gid) == (0o2750, 7, 8)
    assert os.getxattr(copied, "user.note") == b"kept"
    assert bench.committed() == ["etc", "etc/new"]


def test_a_resolv_conf_that_is_a_link_stays_what_it_is(bench: Bench) -> None:
    (bench.base / "etc" / "resolv.conf").symlink_to("../run/systemd/resolve/stub-resolv.conf")
    result = bench.sh("grep -c nameserver /etc/resolv.conf; echo lost > /etc/resolv.conf")
    assert int(result.out) >= 1
    assert take_back(bench) == ["resolv.conf"]
    assert bench.committed() == ["etc"]
    assert os.readlink(bench.base / "etc" / "resolv.conf") == "../run/systemd/resolve/stub-resolv.conf"


def test_etc_behind_a_link_stays_inside(bench: Bench, tmp_path: Path) -> None:
    (bench.base / "etc").rename(bench.base / "usr-etc")
    (tmp_path / "outside").mkdir()
    (bench.base / "etc").symlink_to("../../../usr-etc")
    assert (
        bench.sh("cat /usr-etc/hostname; tail -n 1 /usr-etc/hosts").out == "buildkitsandbox\nff02::2\tip6-allrouters\n"
    )
    assert list((tmp_path / "outside").iterdir()) == []


def test_container_from_scratch(bench: Bench) -> None:
    spec = bench.spec("/busybox", "ls", "/", lowers=())
    (bench.upper / "busybox").write_bytes((bench.base / "bin" / "busybox").read_bytes())
    (bench.upper / "busybox").chmod(0o755)
    assert bench.execute(spec).out.split() == ["busybox", "dev", "etc", "proc", "sys"]


@pytest.mark.parametrize(
    ("argv", "status", "message"),
    [
        (("missing",), 127, "missing: command not found"),
        (("miss\x1b]0;\u202e\udcffing",), 127, "pybuild: miss]0;ing: command not found"),
        (("/bin/missing",), 127, "/bin/missing: no such file"),
        (("/etc/passwd",), 126, "/etc/passwd: Permission denied"),
        (("/script",), 127, "interpreter"),
        (("/garbage",), 126, "format"),
        (("sh", "-c", "exit 42"), 42, ""),
        (("sh", "-c", "kill -9 $$"), 137, ""),
        (("sh", "-c", "kill -TERM $$"), 143, ""),
    ],
)
def test_exit_status(bench: Bench, argv: tuple[str, ...], status: int, message: str) -> None:
    (bench.base / "script").write_text("#!/no/such/interpreter\n")
    (bench.base / "garbage").write_bytes(b"\x7fELFgarbage")
    for name in ("script", "garbage"):
        (bench.base / name).chmod(0o755)
    result = bench.run(*argv)
    assert result.status == status
    assert message in result.err


def test_signal_is_told_from_status(bench: Bench) -> None:
    assert bench.sh("kill -9 $$").exit_status.signal == signal.SIGKILL
    assert bench.sh("exit 137").exit_status.signal is None


def test_environment_is_what_was_given(bench: Bench) -> None:
    result = bench.run("env", env=("A=1", "B=two=2"))
    assert sorted(result.out.split()) == [
        "A=1",
        "B=two=2",
        "HOME=/root",
        "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    ]


def test_working_directory(bench: Bench) -> None:
    assert bench.run("pwd", cwd="/tmp").out == "/tmp\n"
    with pytest.raises(SandboxError, match="working directory /etc/passwd/x: Not a directory"):
        bench.run("pwd", cwd="/etc/passwd/x")


def test_a_working_directory_that_is_missing_is_made(bench: Bench) -> None:
    """As runc does; an earlier step may have removed that of its image."""
    (bench.base / "nowhere").symlink_to("/missing")
    assert bench.sh("pwd; stat -c '%a %u' /new /new/deep", cwd="/new/deep", user="5").out == "/new/deep\n755 0\n755 0\n"
    with pytest.raises(SandboxError, match="working directory /nowhere/x: No such file"):
        bench.run("pwd", cwd="/nowhere/x")


def test_namespaces(bench: Bench) -> None:
    out = bench.sh(
        "hostname; ps | wc -l; ip link | grep -c ^[0-9]; cd /proc/self/ns; readlink mnt pid ipc uts net cgroup"
    ).out
    name, processes, interfaces, *spaces = out.split()
    assert name == "buildkitsandbox"
    assert int(processes) <= 6
    assert interfaces == "1"
    for space in spaces:
        assert os.readlink(f"/proc/self/ns/{space.partition(':')[0]}") != space


def test_host_network(bench: Bench) -> None:
    assert bench.run("readlink", "/proc/self/ns/net", network="host").out.strip() == os.readlink("/proc/self/ns/net")


def test_users(bench: Bench) -> None:
    assert bench.sh("id -u; id -g; id -G; echo $HOME", user="app").out.split() == [
        "1000",
        "1001",
        "1001",
        "2000",
        "/home/app",
    ]
    assert bench.sh("id -u; id -g; id -G; echo $HOME", user="app:bin").out.split() == ["1000", "1", "1", "/home/app"]
    assert bench.sh("id -u; id -g; echo $HOME", user="77:88").out.split() == ["77", "88", "/"]
    assert bench.sh("id -G").out.split() == ["0", "1", "2000"]
    with pytest.raises(SandboxError, match="no user `nobody`"):
        bench.sh("id", user="nobody")


def test_a_number_is_an_id_whatever_the_image_says(bench: Bench) -> None:
    """CVE-2016-3697."""
    for file in ("passwd", "group"):
        with (bench.base / "etc" / file).open("a") as out:
            out.write("4242:x:0:0:r:/:/bin/sh\n")
    assert bench.sh("id -u; id -g", user="4242").out.split() == ["4242", "0"]
    assert bench.sh("id -u; id -g", user="4242:4242").out.split() == ["4242", "4242"]


def test_devices(bench: Bench) -> None:
    out = bench.sh(
        "ls /dev; echo x > /dev/null; head -c 3 /dev/zero | wc -c; echo full > /dev/full; ls -l /dev/fd/ | wc -l;"
        "touch /dev/shm/x /dev/new; mknod /dev/disk b 8 0; head -c1 /dev/disk; mknod /raw c 1 3; echo x > /raw"
    )
    assert out.out.split()[:14] == (
        [
            "fd",
            "full",
            "mqueue",
            "null",
            "ptmx",
            "pts",
            "random",
            "shm",
            "stderr",
            "stdin",
            "stdout",
            "tty",
            "urandom",
            "zero",
        ]
    )
    assert "/dev/full: No space left" in out.err or "write error: No space left" in out.err
    assert "/dev/disk: Permission denied" in out.err
    assert "can't create /raw: Permission denied" in out.err


def test_background_processes_end_with_the_command(bench: Bench) -> None:
    result = bench.sh("(sleep 8765432 >/dev/null 2>&1 &) ; setsid sleep 8765432 >/dev/null 2>&1 & echo done")
    assert result.out == "done\n"
    listing = subprocess.run(["ps", "-eo", "args"], capture_output=True, text=True, check=True).stdout
    assert "sleep 8765432" not in listing


def test_orphans_are_reaped(bench: Bench) -> None:
    script = (
        "i=0; while [ $i -lt 20 ]; do (true &); i=$((i+1)); done;"
        "while grep -qs '^State:.[ZR]' /proc/[2-9]*/status; do true; done; echo none is left"
    )
    assert bench.sh(script).out == "none is left\n"


def test_resources_are_measured(bench: Bench) -> None:
    status = bench.sh("i=0; while [ $i -lt 100000 ]; do i=$((i+1)); done").exit_status
    assert status.user_seconds > 0
    assert status.max_rss > 100_000


def test_waiting_twice_tells_the_same(bench: Bench) -> None:
    """Whoever cleans up after an error waits once more, and must not hide the error."""
    refused = bench.sandbox.start_container(bench.spec("true", cwd="/etc/passwd"))
    for _ in range(2):
        with pytest.raises(SandboxError, match="working directory /etc/passwd"):
            refused.wait()
    ended = bench.sandbox.start_container(bench.spec("sh", "-c", "exit 3"))
    assert ended.wait() == ended.wait()


def test_kill(bench: Bench) -> None:
    read, write = os.pipe()
    container = bench.sandbox.start_container(bench.spec("sh", "-c", "echo up; sleep 1000"), stdout=write)
    os.close(write)
    assert os.read(read, 10) == b"up\n"
    container.kill()
    assert container.wait().signal == signal.SIGKILL
    os.close(read)


def test_signals_reach_the_command(bench: Bench) -> None:
    read, write = os.pipe()
    script = "trap 'echo caught; exit 9' TERM; echo up; while true; do sleep 0.01; done"
    container = bench.sandbox.start_container(bench.spec("sh", "-c", script), stdout=write)
    os.close(write)
    assert os.read(read, 10) == b"up\n"
    container.signal(signal.SIGTERM)
    assert container.wait().status == 9
    assert os.read(read, 10) == b"caught\n"
    os.close(read)


def test_standard_input(bench: Bench) -> None:
    assert bench.sh("cat; echo end").out == "end\n"
    read, write = os.pipe()
    out_read, out_write = os.pipe()
    os.write(write, b"given\n")
    os.close(write)
    assert bench.sandbox.run(bench.spec("cat"), stdin=read, stdout=out_write).status == 0
    assert os.read(out_read, 100) == b"given\n"
    for descriptor in (read, out_read, out_write):
        os.close(descriptor)


def test_several_at_once(bench: Bench) -> None:
    specs = [bench.spec("sh", "-c", f"exit {number}") for number in range(12)]
    results: dict[int, int] = {}

    def one(number: int) -> None:
        results[number] = bench.sandbox.run(specs[number]).status

    threads = [threading.Thread(target=one, args=(number,)) for number in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results == {number: number for number in range(12)}


def test_errors_name_what_failed(bench: Bench) -> None:
    with pytest.raises(SandboxError, match="layers"):
        bench.run("true", lowers=(str(bench.path / "nowhere"),))


@pytest.mark.parametrize("count", [130, 499, 1100])
def test_many_layers(bench: Bench, count: int) -> None:
    lowers = [str(bench.base)]
    for number in range(count):
        layer = bench.path / f"layer{number}"
        layer.mkdir()
        (layer / f"file{number}").touch()
        lowers.insert(0, str(layer))
    (bench.path / "layer7" / "file3").touch()
    os.mknod(bench.path / f"layer{count - 1}" / "file4", stat.S_IFCHR, 0)
    result = bench.sh("ls / | grep -c ^file; touch /file3; rm /file5", lowers=tuple(lowers))
    assert result.out == f"{count - 1}\n"
    assert bench.committed() == ["file3", "file5"]


def test_terminal(bench: Bench) -> None:
    container = bench.sandbox.start_container(
        bench.spec("sh", "-c", "tty; stty size; read line; echo got $line", tty=True)
    )
    terminal = container.open_terminal()
    container.resize(33, 77)
    os.write(terminal, b"typed\n")
    said = b""
    while b"got typed" not in said:
        said += os.read(terminal, 1000)
    assert container.wait().status == 0
    assert b"/dev/pts/0" in said
    os.close(terminal)


@pytest.mark.parametrize("victim", ["main", "helper"])
def test_nothing_survives_a_kill(bench: Bench, victim: str) -> None:
    spec = bench.spec("sh", "-c", "echo up; sleep 7654321")
    program = (
        "import os, sys\n"
        "from buildah_py.sandbox import ContainerSpec, Sandbox\n"
        f"spec = ContainerSpec(lowers={spec.lowers!r}, upper={spec.upper!r}, work={spec.work!r}, init={spec.init!r},"
        f" argv={spec.argv!r}, network='none')\n"
        "sandbox = Sandbox('/nowhere')\n"
        "container = sandbox.start_container(spec)\n"
        "print(sandbox.helper, file=sys.stderr, flush=True)\n"
        "container.wait()\n"
    )
    process = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert process.stdout is not None
    assert process.stderr is not None
    helper = int(process.stderr.readline())
    assert process.stdout.readline() == b"up\n"
    os.kill(process.pid if victim == "main" else helper, signal.SIGKILL)
    assert process.stdout.read() == b""  # the last that had it open has ended
    process.wait()
    process.stderr.read()
    process.stdout.close()
    process.stderr.close()

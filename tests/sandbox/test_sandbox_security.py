from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from buildah_py.errors import SandboxError

if TYPE_CHECKING:
    from pathlib import Path

    from tests.sandbox.conftest import Bench

pytestmark = pytest.mark.root

DEFAULT_CAPABILITIES = "00000000a80425fb"


def test_capabilities(bench: Bench) -> None:
    sets = dict(line.split(":\t") for line in bench.sh("grep ^Cap /proc/self/status").out.splitlines())
    assert sets == {
        "CapInh": "0" * 16,
        "CapPrm": DEFAULT_CAPABILITIES,
        "CapEff": DEFAULT_CAPABILITIES,
        "CapBnd": DEFAULT_CAPABILITIES,
        "CapAmb": "0" * 16,
    }


def test_capabilities_of_a_user(bench: Bench) -> None:
    out = bench.sh("grep -E 'Cap(Prm|Eff|Bnd)' /proc/self/status", user="app").out
    assert [line.split()[1] for line in out.splitlines()] == ["0" * 16, "0" * 16, DEFAULT_CAPABILITIES]


def test_capabilities_added_and_dropped(bench: Bench) -> None:
    script = "grep CapEff /proc/self/status"
    assert bench.sh(script, cap_drop=("ALL",)).out.split()[1] == "0" * 16
    assert bench.sh(script, cap_drop=("all",), cap_add=("CAP_CHOWN",)).out.split()[1] == f"{1:016x}"
    assert bench.sh(script, cap_drop=("MKNOD",)).out.split()[1] == f"{0xA80425FB & ~(1 << 27):016x}"


def test_only_three_descriptors(bench: Bench) -> None:
    held = [os.open("/", os.O_RDONLY) for _ in range(20)]
    for descriptor in held:
        os.set_inheritable(descriptor, True)
    try:
        assert bench.run("ls", "/proc/self/fd").out.split() == ["0", "1", "2", "3"]  # 3 is what ls reads
    finally:
        for descriptor in held:
            os.close(descriptor)


@pytest.mark.parametrize("number", range(3, 21))
def test_working_directory_is_no_descriptor_of_ours(bench: Bench, number: int) -> None:
    """CVE-2024-21626."""
    with pytest.raises(SandboxError, match="working directory"):
        bench.run("/bin/cat", "../../../etc/hostname", cwd=f"/proc/self/fd/{number}")


def test_process_one_cannot_be_looked_into(bench: Bench) -> None:
    """CVE-2019-5736: nothing of ours can be reached, much less overwritten."""
    script = "readlink /proc/1/fd/* /proc/1/exe; cat /proc/1/fd/* /proc/1/root/etc/hostname; cat /proc/1/environ"
    assert bench.sh(f"{script}; kill -9 1; echo on").out == "on\n"


def test_the_host_is_out_of_sight(bench: Bench, tmp_path: Path) -> None:
    (tmp_path / "host-file").touch()
    result = bench.sh(
        f"ls {tmp_path}; cd /../../..; ls -d etc; cat /proc/mounts; env; mount -t proc x /tmp;"
        "chroot /proc/1/root true; unshare -U true; unshare -m true"
    )
    assert "host-file" not in result.out
    assert str(tmp_path) not in result.out.replace("lowerdir", "").split("overlay / overlay")[0]
    assert "PYTEST" not in result.out
    assert result.err.count("Operation not permitted") + result.err.count("permission denied") >= 3


def test_proc_and_sys(bench: Bench) -> None:
    result = bench.sh(
        "cat /proc/kcore /proc/keys /proc/timer_list | wc -c; ls /sys/firmware /proc/acpi 2>/dev/null | grep -vc :;"
        "echo 1 > /proc/sys/kernel/domainname; touch /sys/x; mkdir /sys/fs/cgroup/x"
    )
    assert result.out.split()[0] == "0"
    assert result.err.count("Read-only file system") == 3


def test_system_calls_are_filtered(bench: Bench) -> None:
    assert bench.sh("grep Seccomp: /proc/self/status").out.split()[1] == "2"
    assert bench.sh("grep Seccomp: /proc/self/status", seccomp="unconfined").out.split()[1] == "0"


def test_no_new_privileges(bench: Bench) -> None:
    assert bench.sh("grep NoNewPrivs /proc/self/status").out.split()[1] == "0"
    assert bench.sh("grep NoNewPrivs /proc/self/status", no_new_privileges=True).out.split()[1] == "1"


def test_insecure_is_what_it_says(bench: Bench) -> None:
    result = bench.sh(
        "mkdir /m; mount -t tmpfs x /m && mknod /m/null c 1 3 && echo > /m/null && echo yes", security="insecure"
    )
    assert result.out == "yes\n"


def test_hostile_passwd(bench: Bench) -> None:
    """GHSA-72x6-4j93-7w86 and CVE-2024-9676: huge, endless, or leading out of the root."""
    passwd = bench.base / "etc" / "passwd"
    passwd.unlink()
    with passwd.open("wb") as file:
        file.truncate(1 << 34)
    assert bench.run("stat", "-c", "%u", "/proc/self/status", user="5").out == "5\n"
    with pytest.raises(SandboxError, match="no user 'app'"):
        bench.sh("true", user="app")
    for target in ("/dev/zero", "/proc/1/root/etc/passwd", "/proc/self/fd/0", "../../../../../../etc/passwd"):
        passwd.unlink()
        passwd.symlink_to(target)
        with pytest.raises(SandboxError, match="no user 'daemon'"):
            bench.sh("true", user="daemon")
    passwd.unlink()
    os.mkfifo(passwd)
    with pytest.raises(SandboxError, match="no user 'daemon'"):
        bench.sh("true", user="daemon")


def test_umask_and_session(bench: Bench) -> None:
    before = os.umask(0o077)
    try:
        assert bench.sh("umask; touch /x; stat -c %a /x").out.split() == ["0022", "644"]
    finally:
        os.umask(before)


def test_limits_of_resources(bench: Bench) -> None:
    assert bench.sh("ulimit -n; ulimit -Hn", rlimits=(("nofile", 100, 200),)).out.split() == ["100", "200"]
    with pytest.raises(SandboxError, match="unknown resource limit"):
        bench.sh("true", rlimits=(("files", 1, 1),))


def test_read_only_root(bench: Bench) -> None:
    result = bench.sh("touch /x; touch /dev/shm/x && echo fine", readonly=True)
    assert "Read-only" in result.err
    assert result.out == "fine\n"


def test_fork_bomb_ends_with_its_step(bench: Bench) -> None:
    script = "f() { f & f & sleep 1; }; (ulimit -u 200; f) >/dev/null 2>&1 & sleep 0.3; echo over"
    assert bench.sh(script, user="31337").out == "over\n"
    with os.scandir("/proc") as processes:
        owners = [entry.stat().st_uid for entry in processes if entry.name.isdigit() and entry.is_dir()]
    assert 31337 not in owners

from __future__ import annotations

import contextlib
import ctypes
import errno
import os
import subprocess
import sys
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from buildah_py.errors import SandboxError
from buildah_py.linux import keys
from buildah_py.sandbox import BindMount, FileMount, OverlayMount, TmpfsMount

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


def test_process_one_is_confined(bench: Bench) -> None:
    """A step that may look into others finds nothing in process 1 that it could use."""
    script = "grep -E '^(Cap|NoNewPrivs|Seccomp:)' /proc/1/status; ls /proc/1/fd | wc -l"
    for policy in ({}, {"seccomp": "unconfined"}, {"security": "insecure"}):
        out = bench.sh(script, cap_add=("SYS_PTRACE",), **policy).out.split()
        found = dict(zip(out[0:14:2], out[1:14:2], strict=True))
        kill, nothing = f"{1 << 5:016x}", "0" * 16
        assert [found[f"Cap{name}:"] for name in ("Eff", "Prm", "Inh", "Bnd", "Amb")] == [
            kill,
            kill,
            nothing,
            nothing,
            nothing,
        ]
        assert found["NoNewPrivs:"] == "1"
        assert found["Seccomp:"] == "2"
        assert out[14] == "1", "the pipe for its last words"


def test_last_words_of_a_process_one_that_was_taken_over(bench: Bench) -> None:
    """Whatever is written in its place can say no more than how the command ended."""
    program = """
import os
pipe = os.open("/proc/1/fd/0", os.O_WRONLY)
os.write(pipe, bytes([255]) * 32)
"""
    result = bench.python(program, cap_add=("SYS_PTRACE",))
    assert (result.status, result.exit_status.signal) == (255, 127)


def test_standard_input_is_the_null_device(bench: Bench, tmp_path: Path) -> None:
    """What a build file mounts is never opened by what starts the command."""
    assert bench.sh("wc -c; ls -lL /proc/self/fd/0 | cut -c1").out.split() == ["0", "c"]
    result = bench.sh("wc -c", mounts=(FileMount("/dev/null", b"not the null device", mode=0o666),))
    assert result.out == "0\n"
    (bench.base / "way").symlink_to("dev")
    (bench.base / "p").symlink_to("proc/self/../..//proc")
    (tmp_path / "null").symlink_to("/proc/1/mem")
    for target in ("/dev", "/way", "/./dev/", "/sys", "/sys/fs/cgroup", "/p", "/p/sys"):
        with pytest.raises(SandboxError, match="the container's own"):
            bench.sh("true", mounts=(BindMount(str(tmp_path), target, readonly=False),))


def test_the_working_directory_of_root_and_links(bench: Bench) -> None:
    (bench.base / "root").mkdir(mode=0o700)
    (bench.base / "away").symlink_to("/proc/self/cwd")
    assert bench.sh("pwd", cwd="/root", user="app").out == "/root\n"
    with pytest.raises(SandboxError, match="working directory"):
        bench.sh("pwd", cwd="/away")


def test_the_keys_of_the_caller_stay_his(bench: Bench) -> None:
    keys.join_new_session_keyring()
    libc = ctypes.CDLL(None, use_errno=True)
    session = -3
    assert libc.syscall(248, b"user", b"pybuild-test", b"secret", 6, session) > 0
    program = f"""
import ctypes
libc = ctypes.CDLL(None, use_errno=True)
print(libc.syscall(250, 10, {session}, b"user", b"pybuild-test", 0), ctypes.get_errno())
"""
    assert bench.python(program, seccomp="unconfined").out.split() == ["-1", str(errno.ENOKEY)]


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
    with pytest.raises(SandboxError, match="no user `app`"):
        bench.sh("true", user="app")
    for target in ("/dev/zero", "/proc/1/root/etc/passwd", "/proc/self/fd/0", "../../../../../../etc/passwd"):
        passwd.unlink()
        passwd.symlink_to(target)
        with pytest.raises(SandboxError, match="no user `daemon`"):
            bench.sh("true", user="daemon")
    passwd.unlink()
    os.mkfifo(passwd)
    with pytest.raises(SandboxError, match="no user `daemon`"):
        bench.sh("true", user="daemon")


def test_more_groups_than_linux_allows(bench: Bench) -> None:
    with (bench.base / "etc" / "passwd").open("a") as file:
        file.write("many:x:5:5::/:/bin/sh\n")
    with (bench.base / "etc" / "group").open("a") as file:
        file.writelines(f"g{number}:x:{number}:many\n" for number in range(6, 65_543))
    with pytest.raises(SandboxError, match=r"has many in 65538 groups, and Linux allows 65536"):
        bench.run("true", user="many")


@pytest.mark.parametrize(
    "changes", [{"argv": ("true", "a\0b")}, {"env": ("A=b\0c",)}, {"cwd": "/\0"}, {"user": "a\0"}, {"hostname": "a\0"}]
)
def test_text_that_no_system_call_takes(bench: Bench, changes: dict[str, Any]) -> None:
    with pytest.raises(SandboxError, match="holds a null byte"):
        bench.execute(replace(bench.spec("true"), **changes))


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
    owners = []
    for name in filter(str.isdigit, os.listdir("/proc")):
        with contextlib.suppress(FileNotFoundError):  # of others, which end meanwhile
            owners.append(os.stat(f"/proc/{name}").st_uid)
    assert 31337 not in owners


ESCAPE = """
import os
os.mkdir("/x")
os.chroot("/x")  # and the current directory lies outside of it
os.chdir("../" * 50)
os.chroot(".")
with open("/proc/self/mountinfo") as file:
    print(sorted(os.listdir("/")), len(file.readlines()))
"""


def test_chroot_isolation_shows_nothing_of_the_host(bench: Bench, tmp_path: Path) -> None:
    (tmp_path / "host-file").touch()
    pivoted, covered = (bench.python(ESCAPE, isolation=isolation) for isolation in ("container", "chroot"))
    assert covered.out == pivoted.out != ""
    assert bench.sh(f"ls -d {tmp_path}", isolation="chroot").status != 0


@pytest.mark.parametrize("refusal", [errno.EPERM, errno.EINVAL])
def test_where_no_root_can_be_pivoted(bench: Bench, refusal: int) -> None:
    """The first root of a machine (initramfs) and containers around us refuse; a filter does so here."""
    program = (
        "import struct, sys\n"
        "from buildah_py.linux.process import set_seccomp_filter\n"
        "from buildah_py.sandbox import BindMount, ContainerSpec, Sandbox\n"
        "import ctypes\n"
        "library = ctypes.CDLL('libseccomp.so.2')\n"
        "number = library.seccomp_syscall_resolve_name(b'pivot_root')\n"
        "lower, upper, work, init, refusal, *argv = sys.argv[1:]\n"
        "code = [(0x20, 0, 0, 0), (0x15, 0, 1, number), (6, 0, 0, 0x50000 | int(refusal)), (6, 0, 0, 0x7fff0000)]\n"
        "set_seccomp_filter(b''.join(struct.pack('=HBBI', *words) for words in code))\n"
        "spec = ContainerSpec(lowers=(lower,), upper=upper, work=work, init=init, argv=tuple(argv), network='none',"
        " mounts=(BindMount('/usr', '/usr'),))\n"
        "with Sandbox('/nowhere') as sandbox:\n"
        "    sys.exit(sandbox.run(spec).status)\n"
    )
    spec = bench.python_spec(ESCAPE)
    argv = [sys.executable, "-c", program, *spec.lowers, spec.upper, spec.work, spec.init, str(refusal), *spec.argv]
    ran = subprocess.run(argv, capture_output=True, text=True, check=False)
    assert (ran.returncode, ran.stdout) == (0, bench.python(ESCAPE).out), ran.stderr


def test_memory_is_taken_from_steps_first(bench: Bench) -> None:
    with open("/proc/self/oom_score_adj", encoding="ascii") as file:
        own = int(file.read())
    assert int(bench.sh("cat /proc/self/oom_score_adj").out) == min(max(own, 0) + 100, 1000)


def test_masks_are_what_they_should_be(bench: Bench) -> None:
    """CVE-2025-31133, CVE-2025-52565, CVE-2025-52881: what covers a path is the null device or nothing at all."""
    script = (
        "for path in kcore keys timer_list; do [ ! -e /proc/$path ] || stat -c '%t:%T' /proc/$path; done;"
        "ls -A /sys/firmware /proc/acpi /proc/scsi 2>/dev/null | grep -v : | wc -w;"
        "grep -c ' /proc/sys proc ro,' /proc/self/mounts; echo x > /proc/sys/kernel/domainname"
    )
    result = bench.sh(script)
    *nodes, inside, readonly = result.out.split()
    assert set(nodes) == {"1:3"}
    assert (inside, readonly) == ("0", "1")
    assert "Read-only file system" in result.err


def test_an_image_whose_null_device_is_something_else(bench: Bench, tmp_path: Path) -> None:
    """/dev is ours, whatever the image has there: a file, or a link to the host."""
    victim = tmp_path / "victim"
    victim.mkdir()
    (bench.base / "dev").symlink_to(victim)
    covered = "stat -c '%t:%T' /proc/keys"
    assert bench.sh(covered).out in {"1:3\n", ""}
    assert list(victim.iterdir()) == []
    layer = bench.path / "layer"
    (layer / "dev").mkdir(parents=True)
    (layer / "dev" / "null").write_text("seen instead of what is hidden")
    assert bench.sh(covered, lowers=(str(layer), str(bench.base))).out in {"1:3\n", ""}


CHANGE = """
import errno, os
own = os.open("/proc/self/exe", os.O_RDONLY)
now = os.fstat(own)
attacks = {  # with what is there already: harmless where it is not held
    "mode": lambda: os.fchmod(own, now.st_mode & 0o7777),
    "owner": lambda: os.fchown(own, now.st_uid, now.st_gid),
    "time": lambda: os.utime(own, ns=(now.st_atime_ns, now.st_mtime_ns)),
}
for name, attack in attacks.items():
    try:
        attack()
        print("changed", name)
    except OSError as error:
        print(errno.errorcode[error.errno])
print(now.st_ino, flush=True)
os.set_inheritable(own, True)
os.execv("/bin/sh", ["sh", "-c", f"(: >> /proc/self/fd/{own}) && echo written"])
"""


@pytest.mark.parametrize("program", ["/self", "/script", "/proc/self/exe"])
def test_what_runs_the_container_cannot_be_changed(bench: Bench, program: str) -> None:
    """CVE-2019-5736, CVE-2024-45310: a command may execute the interpreter that it was forked from."""
    (bench.base / "self").symlink_to("/proc/self/exe")
    (bench.base / "script").write_text("#!/proc/self/exe -IS\n" + CHANGE)
    (bench.base / "script").chmod(0o755)
    arguments = () if program == "/script" else ("-I", "-S", "-c", CHANGE)
    result = bench.execute(replace(bench.python_spec(""), argv=(program, *arguments)))
    interpreter = os.stat(os.path.realpath(sys.executable))
    assert result.out.split() == ["EROFS"] * 3 + [str(interpreter.st_ino)], result.err


def test_nothing_leads_to_what_runs_the_container(bench: Bench) -> None:
    result = bench.sh("for p in /proc/[0-9]*; do readlink $p/exe; (: >> $p/exe) 2>/dev/null && echo written; done")
    assert set(result.out.split()) == {"/bin/busybox"}


def test_groups_and_environment_of_the_host_stay_there(bench: Bench) -> None:
    """CVE-2021-3602, CVE-2022-2990, CVE-2022-27651."""
    program = (
        "import os, sys\n"
        "from buildah_py.linux.process import capget, capset\n"
        "from buildah_py.sandbox import ContainerSpec, Sandbox\n"
        "lower, upper, work, init = sys.argv[1:]\n"
        "effective, permitted, _ = capget()\n"
        "capset(effective, permitted, permitted)\n"
        "script = 'id -G; env; grep -e CapInh -e CapAmb /proc/self/status'\n"
        "spec = ContainerSpec(lowers=(lower,), upper=upper, work=work, init=init, argv=('/bin/sh', '-c', script),"
        " network='none', user='7:8')\n"
        "with Sandbox('/nowhere') as sandbox:\n"
        "    sys.exit(sandbox.run(spec).status)\n"
    )
    spec = bench.spec("unused")
    ran = subprocess.run(
        [sys.executable, "-c", program, *spec.lowers, spec.upper, spec.work, spec.init],
        capture_output=True,
        text=True,
        check=True,
        extra_groups=[4242],
        env={**os.environ, "HOST_TOKEN": "hunter2"},
    )
    groups, *rest = ran.stdout.splitlines()
    assert groups == "8"
    assert "hunter2" not in ran.stdout
    assert [line.split()[1] for line in rest if line.startswith("Cap")] == ["0" * 16, "0" * 16]


def test_the_own_group_is_a_supplementary_one(bench: Bench) -> None:
    """CVE-2022-36109: else giving the group up gets a program past files that the group is kept from."""
    assert bench.sh("grep ^Groups: /proc/self/status", user="7:8").out.split() == ["Groups:", "8"]


def test_the_first_process_tells_nothing_of_the_host(bench: Bench) -> None:
    shown = bench.sh("tr '\\0' ' ' < /proc/1/cmdline; tr '\\0' ' ' < /proc/1/environ").out
    assert shown.split() == ["pybuild-helper"]


def test_a_mount_of_what_changes_meanwhile(bench: Bench, tmp_path: Path) -> None:
    """CVE-2024-23651, CVE-2024-11218: a part of a shared directory that turns into a link to the host and back."""
    shared = tmp_path / "shared"
    (shared / "real").mkdir(parents=True)
    (shared / "real" / "inside").touch()
    flip = "while :; do mv real kept; ln -s / real; rm real; mv kept real; done"
    seen = set()
    with subprocess.Popen(["/bin/sh", "-c", flip], cwd=shared) as flipping:
        try:
            for _ in range(60):
                try:
                    seen |= set(bench.sh("ls /m", mounts=(OverlayMount((str(shared),), "/m", "/real"),)).out.split())
                except SandboxError:  # it was just being renamed
                    continue
        finally:
            flipping.kill()
    assert seen <= {"inside", "real", "kept"}


def test_a_mount_target_that_changes_meanwhile(bench: Bench, tmp_path: Path) -> None:
    """CVE-2024-45310, CVE-2026-41568, CVE-2026-42306: a part of the way that turns into a link to the host and back."""
    shared, outside = tmp_path / "shared", tmp_path / "outside"
    (shared / "real").mkdir(parents=True)
    outside.mkdir()
    flip = f"while :; do mv real kept; ln -s {outside} real; rm real; mv kept real; done"
    made = 0
    with subprocess.Popen(["/bin/sh", "-c", flip], cwd=shared) as flipping:
        try:
            for number in range(60):
                mounts = (
                    BindMount(str(shared), "/c", readonly=False),
                    TmpfsMount(f"/c/real/{number}/below"),
                    FileMount(f"/c/real/file{number}", b"x"),
                )
                with contextlib.suppress(SandboxError):  # it was just being renamed
                    bench.sh("true", mounts=mounts)
                    made += 1
        finally:
            flipping.kill()
    assert made, "the way was there once"
    assert os.listdir(outside) == []


def test_no_mount_of_a_container_is_shared_with_the_host(bench: Bench) -> None:
    """Also where the host's are shared, as systemd has them."""
    program = (
        "import sys\n"
        "from buildah_py.sandbox import ContainerSpec, Sandbox\n"
        "lower, upper, work, init = sys.argv[1:]\n"
        "spec = ContainerSpec(lowers=(lower,), upper=upper, work=work, init=init, network='none',"
        " argv=('/bin/cat', '/proc/self/mountinfo'))\n"
        "with Sandbox('/nowhere') as sandbox:\n"
        "    sys.exit(sandbox.run(spec).status)\n"
    )
    spec = bench.spec("unused")
    shared = ["unshare", "--mount", "--propagation", "shared", sys.executable, "-c", program]
    ran = subprocess.run(
        [*shared, *spec.lowers, spec.upper, spec.work, spec.init], capture_output=True, text=True, check=False
    )
    assert ran.returncode == 0, ran.stderr
    assert " / / " in ran.stdout
    assert [line for line in ran.stdout.splitlines() if "shared:" in line or "master:" in line] == []


def test_nothing_of_the_image_is_loaded_by_what_runs_the_container(bench: Bench) -> None:
    """CVE-2019-14271: modules where ours are would be executed with all privileges."""
    places = {path for path in (*sys.path, sys.prefix, sys.base_prefix) if path.startswith("/")}
    names = ("encodings/__init__.py", "encodings/ascii.py", "os.py", "signal.py", "buildah_py/__init__.py", "_x.py")
    for place in places:
        for name in names:
            file = bench.base / place.lstrip("/") / name
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text("open('/loaded', 'w')\n")
    assert bench.sh("exit 3").status == 3
    assert "loaded" not in bench.committed()
    assert bench.run("no-such-command").status == 127
    assert "loaded" not in bench.committed()
    with pytest.raises(SandboxError, match="no user"):
        bench.sh("true", user="nobody-here")
    assert "loaded" not in bench.committed()
    assert bench.sh("kill -9 $$", user="app").status == 137
    assert "loaded" not in bench.committed()

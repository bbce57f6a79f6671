"""The options that shape containers, through `pybuild run` and through RUN: one meaning, docker's spelling."""

from __future__ import annotations

import json
import os
import re
import signal
import stat
import subprocess
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from buildah_py.sandbox.cgroups import _hierarchies

if TYPE_CHECKING:
    from pathlib import Path

    from tests.end_to_end.conftest import Pybuild


pytestmark = pytest.mark.root


def both(pybuild: Pybuild, script: str, *options: object) -> list[str]:
    """Run a script in `pybuild run` and in a RUN; what it printed, which has to be the same."""
    ran = pybuild.run("run", "--network=none", *options, "busybox", "/bin/sh", "-c", script).stdout
    context = pybuild.context(
        "FROM busybox\nRUN --network=none <<EOF\n{ " + script + "\n} > /said 2> /dev/null\nEOF\n", name="both"
    )
    pybuild.build(context, "--no-cache", *options)
    said = pybuild.run("cat", "test:/said").stdout
    assert said == ran
    return said.split()


def refused(pybuild: Pybuild, *options: object) -> str:
    """Both commands refuse the options as misused; what they say."""
    context = pybuild.context("FROM busybox\nRUN true\n", name="refused")
    said = pybuild.run("run", *options, "busybox", "true", status=2).stderr
    assert pybuild.build(context, *options, status=2).shown == said.replace("pybuild run", "pybuild build")
    return said


def needs_controllers(*names: str) -> None:
    known = dict(_hierarchies())
    if not all(name in known and os.access(os.path.dirname(known[name][0]), os.W_OK) for name in names):
        pytest.skip(f"this machine lets us make no control groups for {', '.join(names)}")


@pytest.mark.either_user
def test_names_and_addresses(busybox: Pybuild) -> None:
    script = "hostname; grep -h -e db -e six /etc/hosts; cat /etc/resolv.conf"
    options = ["--hostname=builder", "--add-host=db:10.1.2.3", "--add-host=six=[fd00::7]"]
    options += ("--dns=10.9.8.7", "--dns-search=corp.example", "--dns-option=ndots:2")
    said = both(busybox, script, *options)
    assert said[0] == "builder"
    assert said[1:5] == ["10.1.2.3", "db", "fd00::7", "six"]
    assert said[5:] == ["nameserver", "10.9.8.7", "search", "corp.example", "options", "ndots:2"]


@pytest.mark.either_user
def test_the_name_of_a_container_with_the_network_of_the_host(busybox: Pybuild) -> None:
    script = "grep $(hostname) /etc/hosts"
    assert (
        busybox.run("run", "--network=host", "busybox", "sh", "-c", script).stdout == "127.0.0.1\tlocalhost pybuild\n"
    )


@pytest.mark.either_user
def test_capabilities(busybox: Pybuild) -> None:
    script = "grep CapEff /proc/self/status"
    assert (
        both(busybox, script, "--cap-drop=ALL", "--cap-add=cap_chown", "--cap-add", "NET_ADMIN")[1] == f"{0x1001:016x}"
    )
    assert both(busybox, script, "--cap-drop=mknod")[1] == f"{0xA80425FB & ~(1 << 27):016x}"


@pytest.mark.either_user
def test_limits_of_processes(busybox: Pybuild) -> None:
    script = "ulimit -n; ulimit -Hn; ulimit -c; df -k /dev/shm | tail -n1 | awk '{print $2}'"
    options = ("--ulimit=nofile=100:200", "--ulimit", "core=0", "--shm-size=3m")
    assert both(busybox, script, *options) == ["100", "200", "0", "3072"]
    assert both(busybox, "grep NoNewPrivs /proc/self/status", "--security-opt=no-new-privileges")[1] == "1"
    assert both(busybox, "grep NoNewPrivs /proc/self/status", "--security-opt", "no-new-privileges:false")[1] == "0"


@pytest.mark.either_user
def test_standard_streams_belong_to_the_user(busybox: Pybuild) -> None:
    script = "echo one > /dev/stdout; echo two | tee /dev/stderr > /dev/null; echo three > /proc/self/fd/1"
    ran = busybox.run("run", "--network=none", "-u", "1001", "busybox", "sh", "-c", script)
    assert (ran.stdout, ran.stderr) == ("one\nthree\n", "two\n")
    shown = busybox.build(busybox.context(f"FROM busybox\nUSER 1001:1002\nRUN {script}\n")).shown
    assert all(f" {word}\n" in shown for word in ("one", "two", "three"))


def test_what_is_behind_the_streams_of_run_stays_out_of_reach(busybox: Pybuild) -> None:
    """A descriptor of a file could be opened again through /proc, for writing what was lent for reading."""
    given, taken = busybox.work / "given", busybox.work / "taken"
    given.write_text("read me\n")
    script = "cat; echo overwritten > /proc/self/fd/0; : > /proc/self/fd/1; echo said"
    command = [*busybox.command, "run", "-i", "--network=none", "busybox", "sh", "-c", script]
    with given.open("rb") as stdin, taken.open("wb") as stdout:
        stdout.write(b"not mine\n")
        stdout.flush()
        subprocess.run(command, check=True, stdin=stdin, stdout=stdout, stderr=subprocess.PIPE, env=busybox.environ())
    assert given.read_text() == "read me\n"
    assert taken.read_text() == "not mine\nread me\nsaid\n"
    assert (given.stat().st_uid, given.stat().st_mode & 0o777) == (0, 0o644)


@pytest.mark.either_user
def test_run_passes_signals_on(busybox: Pybuild) -> None:
    script = 'trap "echo got TERM; exit 7" TERM; echo ready; while :; do sleep 1000 & wait; done'
    process = subprocess.Popen(
        [*busybox.command, "run", "--network=none", "busybox", "sh", "-c", script],
        stdout=subprocess.PIPE,
        text=True,
        env=busybox.environ(),
    )
    with process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        process.send_signal(signal.SIGTERM)
        assert process.stdout.read() == "got TERM\n"
    assert process.returncode == 7


def test_a_limit_that_leaves_hardly_a_descriptor(busybox: Pybuild) -> None:
    script = "ulimit -n; ulimit -Hn"
    ran = busybox.run("run", "--network=none", "--ulimit=nofile=4:5", "busybox", "sh", "-c", script)
    assert ran.stdout.split() == ["4", "5"]
    most = busybox.run("run", "--network=none", "--ulimit=nofile=-1", "busybox", "true", status=125).stderr
    assert "setting the limit RLIMIT_NOFILE to unlimited: not allowed to raise maximum limit; it is " in most


def test_volumes(busybox: Pybuild, tmp_path: Path) -> None:
    shared = tmp_path / "shared"
    shared.mkdir()
    (shared / "file").write_text("shared\n")
    script = "cat /new/vol/file; touch /new/vol/x 2>/dev/null || echo refused"
    assert both(busybox, script, "-v", f"{shared}:/new/vol:ro") == ["shared", "refused"]
    assert both(busybox, "touch /new/vol/x; echo done", f"--volume={shared}:/new/vol") == ["done"]
    assert sorted(os.listdir(shared)) == ["file", "x"]
    assert "new" not in busybox.sh("ls /").split(), "the mount target is not in the image"


def test_devices(busybox: Pybuild, tmp_path: Path) -> None:
    """A node that was given can be opened, one that merely lies in a volume cannot."""
    node = tmp_path / "node"
    os.mknod(node, stat.S_IFCHR | 0o666, os.makedev(1, 5))
    read = "head -c 4 /dev/given | tr '\\0' z"
    assert both(busybox, read, f"--device={node}:/dev/given") == ["zzzz"]
    assert both(busybox, read, "--device", f"{node}:/dev/given:rwm") == ["zzzz"]
    assert both(busybox, f"head -c 4 {node} | tr '\\0' z", f"--device={node}:rw") == ["zzzz"]
    assert both(busybox, "head -c 4 /vol/node 2>/dev/null; echo end", f"--volume={tmp_path}:/vol") == ["end"]
    (tmp_path / "plain").touch()
    assert "is not a device" in refused(busybox, f"--device={tmp_path / 'plain'}:/dev/x")
    assert "reading and writing" in refused(busybox, f"--device={node}:/dev/x:r")
    assert "rwm" in refused(busybox, f"--device={node}:/dev/x:wx")


def profile(tmp_path: Path, name: str, **parts: object) -> str:
    path = tmp_path / name
    path.write_text(json.dumps(parts))
    return f"--security-opt=seccomp={path}"


@pytest.mark.either_user
def test_policies_for_system_calls(busybox: Pybuild, tmp_path: Path) -> None:
    script = "grep Seccomp: /proc/self/status; mkdir /made 2>/dev/null || echo refused; rmdir /made 2>/dev/null || true"
    assert both(busybox, script) == ["Seccomp:", "2"]
    assert both(busybox, script, "--security-opt=seccomp=unconfined") == ["Seccomp:", "0"]
    rule = {"names": ["mkdir", "mkdirat", "no_such_call"], "action": "SCMP_ACT_ERRNO", "errnoRet": 13}
    option = profile(tmp_path, "no-mkdir.json", defaultAction="SCMP_ACT_ALLOW", syscalls=[rule])
    assert both(busybox, script, option) == ["Seccomp:", "2", "refused"]
    assert both(busybox, script, option, "--security-opt=no-new-privileges") == ["Seccomp:", "2", "refused"]


@pytest.mark.either_user
def test_a_changed_policy_is_another_step(busybox: Pybuild, tmp_path: Path) -> None:
    context = busybox.context("FROM busybox\nRUN mkdir /made || touch /refused\n")
    option = profile(tmp_path, "p.json", defaultAction="SCMP_ACT_ALLOW")
    assert busybox.build(context, option).outcomes() == ["RAN"]
    assert busybox.build(context, option).outcomes() == ["HIT"]
    rule = {"names": ["mkdir"], "action": "SCMP_ACT_ERRNO"}
    profile(tmp_path, "p.json", defaultAction="SCMP_ACT_ALLOW", syscalls=[rule])
    assert busybox.build(context, option).outcomes() == ["RAN"]
    assert "refused" in busybox.sh("ls /")


def test_policies_that_are_refused(busybox: Pybuild, tmp_path: Path) -> None:
    assert "No such file" in refused(busybox, f"--security-opt=seccomp={tmp_path}/missing.json")
    for parts, said in (
        ({}, "defaultAction"),
        ({"defaultAction": "SCMP_ACT_WISH"}, "SCMP_ACT_WISH"),
        ({"defaultAction": "SCMP_ACT_NOTIFY"}, "SCMP_ACT_NOTIFY"),
        ({"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{"action": "SCMP_ACT_ALLOW"}]}, "names"),
    ):
        assert said in refused(busybox, profile(tmp_path, "bad.json", **parts))
    (tmp_path / "bad.json").write_text("{")
    assert "seccomp=" in refused(busybox, f"--security-opt=seccomp={tmp_path}/bad.json")


@pytest.mark.parametrize(
    "option",
    [
        "--cap-add=CAP_FLY",
        "--cap-drop=nothing",
        "--security-opt=apparmor=docker-default",
        "--security-opt=no-new-privileges=perhaps",
        "--ulimit=files=3",
        "--ulimit=nofile=2:1",
        "--ulimit=nofile=99999999999999999999",
        "--ulimit=nofile",
        "--shm-size=big",
        "--memory=lots",
        "--memory-swap=1g",
        "--cpus=-1",
        "--cpus=half",
        "--cpuset-cpus=first",
        "--pids-limit=-2",
        "--cgroup-parent=/../../etc",
        "--add-host=db",
        "--add-host=db:nowhere",
        "--dns=resolver",
        "--hostname=a/b",
        "--device=/dev/no-such-device",
        "--volume=/tmp",
        "--volume=/tmp:/x:maybe",
        "--isolation=vm",
    ],
)
def test_unknown_values_are_refused(busybox: Pybuild, option: str) -> None:
    """GHSA-7236-3392-c5c6: what is not understood is an error, never the weaker of two."""
    assert option.split("=", maxsplit=1)[0] in refused(busybox, option)


def test_the_name_of_this_machine_is_accepted(busybox: Pybuild) -> None:
    context = busybox.context("FROM busybox\nRUN grep gate /etc/hosts\n")
    shown = busybox.build(context, "--add-host=gate:host-gateway").shown
    assert "127.0.0.1\tgate" in shown
    assert "do not reach this machine" in shown
    option = ("--add-host=gate:host-gateway", "--network=host")
    assert "warning" not in busybox.build(context, "--no-cache", *option).shown


def test_name_servers_that_stand_in_for_those_on_loopback_are_told(busybox: Pybuild) -> None:
    resolver = busybox.work / "resolv.conf"
    resolver.write_text("nameserver 127.0.0.1\n")
    script = f'mount --bind {resolver} /etc/resolv.conf && exec "$@"'
    caller = replace(busybox, command=("unshare", "--mount", "sh", "-c", script, "sh", *busybox.command))
    context = busybox.context("FROM busybox\nRUN grep nameserver /etc/resolv.conf\n")
    shown = caller.build(context).shown
    assert "nameserver 8.8.8.8" in shown
    assert "containers do not reach them: they ask 8.8.8.8 and 8.8.4.4; --dns names others" in shown
    assert "warning" not in caller.build(context, "--no-cache", "--dns=9.9.9.9").shown


def test_memory(busybox: Pybuild) -> None:
    needs_controllers("memory")
    script = "dd if=/dev/zero of=/dev/null bs=90000000 count=1 && echo enough"
    options = ("--memory=32m", "--memory-swap=32m")
    ran = busybox.run("run", "--network=none", *options, "busybox", "sh", "-c", script, status=None)
    assert ran.returncode != 0
    assert "limit of memory was reached" in ran.stderr
    context = busybox.context(f"FROM busybox\nRUN {script}\n")
    assert "out of memory: its limit was reached (--memory)" in busybox.build(context, *options, status=None).shown
    assert busybox.build(context).outcomes() == ["RAN"], "a failed step is not kept, a limit is not part of the key"


def test_processes(busybox: Pybuild) -> None:
    needs_controllers("pids")
    # With built-in commands alone: the shell that asks must not have to fork.
    script = "(for i in 1 2 3 4 5 6 7 8 9; do sleep 1 & done) 2>/tmp/e; read x </tmp/e; x=${x%:*}; echo ${x##* } end"
    assert both(busybox, script, "--pids-limit=6") == ["fork", "end"]
    assert both(busybox, script, "--pids-limit=-1") == ["end"]


def test_processors_and_the_group_they_are_of(busybox: Pybuild) -> None:
    needs_controllers("pids", "cpu", "cpuset")
    assert both(busybox, "grep Cpus_allowed_list /proc/self/status", "--cpuset-cpus=0", "--cpus=1.5")[1] == "0"
    missing = busybox.run("run", "--network=none", "--cpuset-cpus=65000", "busybox", "true", status=125).stderr
    assert re.search(r"setting limits: .* for 65000: /sys/fs/cgroup/\S+/cpuset.cpus\n", missing), missing
    unified = dict(_hierarchies())["pids"][1]
    name = f"pybuild-test-{os.getpid()}"
    parent = dict(_hierarchies(f"/{name}"))["pids"][0]
    try:
        process = subprocess.Popen(
            [*busybox.command, "run", "-i", "--network=none", f"--cgroup-parent=/{name}", "busybox", "cat"],
            env=busybox.environ(),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write("up\n")
        process.stdin.flush()
        assert process.stdout.readline() == "up\n"
        groups = [entry for entry in os.listdir(parent) if entry.startswith("pybuild-")]
        assert len(groups) == 1
        process.communicate()
        assert process.returncode == 0
        assert [entry for entry in os.listdir(parent) if entry.startswith("pybuild-")] == []
    finally:
        os.rmdir(parent)
    assert unified in (True, False)


@pytest.mark.either_user
def test_isolation_by_chroot(busybox: Pybuild) -> None:
    """Nothing of the host is seen."""
    script = "ls / | wc -l; touch /x; cat /proc/self/mounts | cut -d' ' -f2 | grep -c -e ^/tmp -e ^/home; ls -d /work"
    ran = busybox.run("run", "--isolation=chroot", "busybox", "sh", "-c", script, status=None)
    assert ran.stdout.split()[1:2] == ["0"], ran.stderr
    assert "isolation chroot: containers use the host's network" in ran.stderr
    assert both(busybox, "id -u; hostname", "--isolation=chroot")[0] == "0"


def test_what_of_the_builder_a_command_sees(busybox: Pybuild) -> None:
    """CVE-2021-3602, CVE-2022-2990, CVE-2022-27651: no environment, groups or inheritable capabilities of the host."""
    context = busybox.context("FROM busybox\nRUN { env; id -G; grep -e CapInh -e CapAmb /proc/self/status; } > /seen\n")
    result = subprocess.run(
        [*busybox.command, "build", "-t", "test", context],
        env={**busybox.environ(), "HOST_TOKEN": "hunter2"},
        extra_groups=[4242, 4343],
        check=True,
        capture_output=True,
    )
    assert result.returncode == 0
    seen = busybox.run("cat", "test:/seen").stdout
    assert "hunter2" not in seen
    assert "4242" not in seen
    assert seen.count("0" * 16) == 2


@pytest.mark.either_user
def test_a_working_directory_that_is_a_descriptor(busybox: Pybuild) -> None:
    """CVE-2024-21626, and the other links of /proc by which a process finds what it has open."""
    for path in ("/proc/self/fd/3", "/proc/self/cwd", "/proc/1/root"):
        context = busybox.context(f"FROM busybox\nWORKDIR {path}\nRUN true\n")
        assert f"working directory {path}: " in busybox.build(context, status=125).shown


@pytest.mark.either_user
def test_a_bind_of_a_link_to_the_root(busybox: Pybuild) -> None:
    """CVE-2024-1753: the link leads to the root of its stage."""
    context = busybox.context(
        "FROM busybox AS other\nRUN ln -s / /rootdir; echo mine > /of-the-stage\n"
        "FROM busybox\nRUN --mount=from=other,source=/rootdir,target=/m,rw cat /m/of-the-stage > /seen; ls /m > /list;"
        " touch /m/escaped\n"
    )
    busybox.build(context)
    assert busybox.sh("cat /seen") == "mine\n"
    assert not os.path.exists("/escaped")
    assert "work" not in busybox.sh("cat /list").split()


@pytest.mark.either_user
def test_ways_out_of_a_tree_stay_inside(busybox: Pybuild) -> None:
    """CVE-2026-33747, CVE-2026-41568: names with `..` and links of images and contexts."""
    secret = busybox.work / "secret"
    secret.write_text("of the host")
    for bind in ("source=../../../etc", "source=/../../etc", "source=link", "from=busybox,source=../../../etc/shadow"):
        context = busybox.context(f"FROM busybox\nRUN --mount=type=bind,{bind},target=/m ls /m\n", name="out")
        if not (context / "link").is_symlink():
            (context / "link").symlink_to("/etc")
        assert "fstab" not in busybox.build(context, status=125).shown, bind
    for line in ("COPY <<../../../x /d/\nx\n../../../x", "COPY --from=../../etc x /", "COPY link/passwd /x"):
        busybox.build(busybox.context(f"FROM busybox\n{line}\n", name="out"), status=125)
    context = busybox.context(
        "FROM busybox\nRUN ln -s ../../../.. /up && ln -s / /root-of-all && mkdir -p /root-of-all/etc\n"
        "COPY file /up/up/copied\nCOPY file /root-of-all/../../also\nWORKDIR /up/../work\n"
        "RUN --mount=type=secret,id=s,target=/up/given,required cat /given > /seen\n",
        file="f",
    )
    busybox.build(context, "--secret", f"id=s,src={secret}")
    assert busybox.sh("cat /seen /copied /also; ls -d /work") == "of the hostff/work\n"
    assert not any(os.path.exists(path) for path in ("/copied", "/also", "/given"))


@pytest.mark.either_user
def test_a_cache_whose_name_leads_elsewhere(busybox: Pybuild, tmp_path: Path) -> None:
    """CVE-2024-9675."""
    context = busybox.context(
        "FROM busybox\nRUN --mount=type=cache,id=../../../escaped,target=/c touch /c/file; echo x\n"
    )
    busybox.build(context)
    found = subprocess.run(["find", str(tmp_path), "-name", "escaped"], capture_output=True, text=True, check=True)
    assert found.stdout == ""
    caches = os.listdir(busybox.root / "cache-mounts")
    assert len(caches) == 1
    assert os.listdir(busybox.root / "cache-mounts" / caches[0]) == ["file"]


def test_a_step_that_replaces_the_way_to_its_mount(busybox: Pybuild, tmp_path: Path) -> None:
    """CVE-2024-23652: nothing is cleaned up through the link."""
    host = tmp_path / "host"
    (host / "inner").mkdir(parents=True)
    context = busybox.context(
        f"FROM busybox\nRUN --mount=type=tmpfs,target=/a/inner mv /a /b || true; ln -s {host} /a || true;"
        f" ln -s {host} /new\n"
    )
    busybox.build(context, status=None)
    assert os.listdir(host) == ["inner"]


def test_unknown_modes_in_a_build_file_are_refused(busybox: Pybuild) -> None:
    """GHSA-7236-3392-c5c6 and CVE-2024-9407."""
    for flag in ("--security=Insecure", "--network=bridge", "--mount=type=bind,bind-propagation=evil,target=/x"):
        assert busybox.build(busybox.context(f"FROM busybox\nRUN {flag} true\n"), status=None).status != 0


def test_what_weakens_the_sandbox_has_to_be_allowed(busybox: Pybuild) -> None:
    """By the command line, wherever the instruction stands: in the build file, or in what a base image triggers."""
    for flag, right in (("--security=insecure", "security.insecure"), ("--network=host", "network.host")):
        base = busybox.context(f"FROM busybox\nONBUILD RUN {flag} true\n", name="base")
        busybox.run("build", "-t", "base", base)
        for text in (f"FROM busybox\nRUN {flag} true\n", "FROM base\n"):
            context = busybox.context(text)
            assert f"asks for {right}, which is not allowed" in busybox.build(context, status=2).shown
            busybox.build(context, f"--allow={right}")
    for mode in ("container:1", "ns:/proc/1/ns/net"):
        busybox.build(busybox.context(f"FROM busybox\nRUN --network={mode} true\n"), "--allow=network.host", status=125)


def test_programs_of_the_image_unpack_nothing(busybox: Pybuild) -> None:
    """CVE-2026-41567: what ADD unpacks is unpacked by pybuild, wherever the image has programs for that."""
    import io
    import lzma
    import tarfile

    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w") as made:
        info = tarfile.TarInfo("file")
        info.size = 5
        made.addfile(info, io.BytesIO(b"right"))
    names = " ".join(f"/usr/bin/{name} /bin/{name}" for name in ("xz", "unxz", "tar", "gzip", "unpigz"))
    context = busybox.context(
        f"FROM busybox\nRUN mkdir -p /usr/bin && for p in {names}; do rm -f $p; "
        "printf '#!/bin/sh\\ntouch /ran\\n' > $p; chmod 755 $p; done\nADD archive.tar.xz /d/\n",
        archive_tar_xz=lzma.compress(archive.getvalue()),
    )
    busybox.build(context)
    assert busybox.run("cat", "test:/d/file").stdout == "right"
    busybox.run("cat", "test:/ran", status=125)
    assert not os.path.exists("/ran")


BUNDLES = ("/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt", "/etc/ssl/cert.pem")


@pytest.mark.either_user
def test_certificates(busybox: Pybuild, tmp_path: Path) -> None:
    """They are where distributions look, in no image; a step that installs its own commits its own."""
    bundle = tmp_path / "bundle.pem"
    bundle.write_text("-----BEGIN CERTIFICATE-----\nof the proxy\n-----END CERTIFICATE-----\n")
    option = f"--ca-bundle={bundle}"
    script = " && ".join(f"grep -q proxy {path}" for path in BUNDLES)
    context = busybox.context(f"FROM busybox\nRUN {script}; touch /etc/ssl/beside; rm {BUNDLES[1]}\n")
    busybox.build(context, option)
    assert busybox.sh("find /etc/ssl /etc/pki -type f 2>/dev/null || true") == "/etc/ssl/beside\n"
    context = busybox.context(
        f"FROM busybox\nRUN cd /etc/ssl/certs && echo own > x && mv x ca-certificates.crt; echo more >> {BUNDLES[2]}"
        f"\nRUN grep -q own {BUNDLES[0]} && grep -q proxy {BUNDLES[1]}\n"
    )
    busybox.build(context, option)
    assert busybox.sh(f"cat {BUNDLES[0]}; ls /etc/ssl; ls /etc/pki 2>/dev/null || echo none").split() == [
        "own",
        "cert.pem",
        "certs",
        "none",
    ]
    assert busybox.build(context).outcomes() == ["HIT", "HIT"], "certificates are not part of the key"


def test_certificates_once_for_all(busybox: Pybuild) -> None:
    bundle, config = busybox.work / "bundle.pem", busybox.work / "config.yaml"
    bundle.write_text("-----BEGIN CERTIFICATE-----\nof the proxy\n-----END CERTIFICATE-----\n")
    config.write_text(f"ca-bundle: {bundle}\n")
    context = busybox.context(f"FROM busybox\nRUN grep -q proxy {BUNDLES[0]} || exit 1\n")
    assert busybox.build(context, PYBUILD_CONFIG=str(config)).outcomes() == ["RAN"]
    busybox.build(context, "--no-cache", PYBUILD_CONFIG=str(config), PYBUILD_CA_BUNDLE="", status=1)
    busybox.build(context, "--no-cache", PYBUILD_CA_BUNDLE=str(bundle))
    busybox.run("verify", "test", status=1)
    assert "the same again" in busybox.run("verify", f"--ca-bundle={bundle}", "test").stdout


@pytest.mark.either_user
def test_limits_and_umask_of_the_caller_stay_there(busybox: Pybuild) -> None:
    read = "for o in f c s n u v l; do ulimit -$o; done; ulimit -Hc; umask; touch /made; stat -c %a /made"
    usual = busybox.run("run", "--network=none", "busybox", "/bin/sh", "-c", read).stdout
    command = ["/bin/sh", "-c", 'umask 077; ulimit -Ss 4096; ulimit -Sn 512; exec "$@"', "sh"]
    caller = replace(busybox, command=(*command, *busybox.command))
    assert caller.run("run", "--network=none", "busybox", "/bin/sh", "-c", read).stdout == usual
    assert usual.split()[1:3] == ["0", "8192"]
    assert usual.split()[-2:] == ["0022", "644"]
    context = caller.context("FROM busybox\nRUN mkdir /d && touch /d/f\nCOPY x /\nWORKDIR /w\n", x="x")
    caller.build(context)
    first = busybox.run("layers", "--format=json", "test").stdout
    busybox.build(context, "--no-cache")
    assert busybox.run("layers", "--format=json", "test").stdout == first


def test_what_a_step_took_from_the_init_layer_leaves_no_trace(busybox: Pybuild, tmp_path: Path) -> None:
    """The directories that led to it are not there for later containers."""
    bundle = tmp_path / "bundle.pem"
    bundle.write_text("-----BEGIN CERTIFICATE-----\n-----END CERTIFICATE-----\n")
    script = "rm /etc/ssl/certs/ca-certificates.crt; touch /kept"
    context = busybox.context(f"FROM busybox\nRUN {script}\n")
    busybox.build(context, f"--ca-bundle={bundle}")
    assert "ssl" not in busybox.sh("ls /etc").split()
    assert "kept" in busybox.sh("ls /").split()

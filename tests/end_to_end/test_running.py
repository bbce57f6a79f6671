"""Containers that a person tries an image with: ports, background, names, signals, further commands."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import threading
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pexpect
import pytest

from .conftest import PYBUILD

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from .conftest import Pybuild

pytestmark = pytest.mark.root

NONE = "--network=none"
OF_HOST = ("-v", "/usr:/usr:ro", "-v", "/usr/lib:/lib:ro", "-v", "/usr/lib64:/lib64:ro")
"""A Python for containers."""
ECHO = r"""
import socket, threading
def tcp(one):
    data = b""
    while piece := one.recv(65536):
        data += piece
    one.sendall(data[::-1])
    one.close()
def udp():
    while True:
        data, client = datagrams.recvfrom(2000)
        datagrams.sendto(data[::-1], client)
listener = socket.create_server(("0.0.0.0", 7), backlog=128)
late = socket.create_server(("::", 9), family=socket.AF_INET6, backlog=1)
datagrams = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
datagrams.bind(("0.0.0.0", 7))
threading.Thread(target=udp, daemon=True).start()
print("ready", flush=True)
while True:
    threading.Thread(target=tcp, args=(listener.accept()[0],)).start()
"""
HOSTILE = r"""
import socket, threading
def flood(one):
    while True:
        one.sendall(bytes(1 << 20))
kept = []
both = [socket.create_server(("0.0.0.0", port), backlog=128) for port in (7, 8)]
def never_reads():
    while True:
        kept.append(both[1].accept())
threading.Thread(target=never_reads, daemon=True).start()
print("ready", flush=True)
while True:
    threading.Thread(target=flood, args=(both[0].accept()[0],), daemon=True).start()
"""


def until(what: Callable[[], Any]) -> Any:
    """Wait until something is so; what it gives."""
    end = time.monotonic() + 30
    while time.monotonic() < end:
        if found := what():
            return found
        time.sleep(0.01)
    raise AssertionError("it has not come about")


def containers(pybuild: Pybuild) -> dict[str, dict[str, Any]]:
    """Give what `ps` says of all containers, by their names."""
    listed = json.loads(pybuild.run("ps", "-a", "--format=json").stdout)["containers"]
    return {one["name"]: one for one in listed}


@contextmanager
def background(pybuild: Pybuild, name: str, *words: object) -> Iterator[dict[str, Any]]:
    """Run a container in the background; gives what `ps` says of it."""
    pybuild.run("run", "-d", "--name", name, *words)
    try:
        yield containers(pybuild)[name]
    finally:
        pybuild.run("rm", "-f", name)


def said(pybuild: Pybuild, name: str, text: str) -> None:
    """Wait until a container has printed something."""
    with subprocess.Popen(
        [*pybuild.command, "logs", "-f", name], env=pybuild.environ(), stdout=subprocess.PIPE, text=True
    ) as following:
        assert following.stdout
        for line in following.stdout:
            if text in line:
                break
        else:
            raise AssertionError(f"{name} has not said {text}")
        following.kill()


def exchange(address: tuple[str, int], data: bytes) -> bytes:
    """Send all, say that it is all, and read to the end."""
    with socket.create_connection(address, timeout=30) as one:

        def send() -> None:
            one.sendall(data)
            one.shutdown(socket.SHUT_WR)

        sender = threading.Thread(target=send)
        sender.start()
        found = b""
        while piece := one.recv(1 << 16):
            found += piece
        sender.join()
    return found


@pytest.mark.either_user
def test_ports_of_the_machine_lead_into_the_container(busybox: Pybuild) -> None:
    options = ("-p", "7", "-p", "7/udp", "-p", "127.0.0.1::9", "-p", "127.0.0.1::10", *OF_HOST)
    with background(busybox, "echo", *options, "busybox", "/usr/bin/python3", "-c", ECHO) as about:
        said(busybox, "echo", "ready")
        ports = {(one["container"], one["protocol"], one["address"]): one["host"] for one in about["ports"]}
        data = os.urandom(3_000_000)
        tcp, udp = ports[7, "tcp", "0.0.0.0"], ports[7, "udp", "0.0.0.0"]
        assert ports[7, "tcp", "::"] == tcp
        for host in ("127.0.0.1", "::1"):
            assert exchange((host, tcp), data) == data[::-1]
            with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_DGRAM) as one:
                one.settimeout(30)
                one.connect((host, udp))  # an answer from anywhere else would not be seen
                for text in (b"abc", b"x" * 1400):
                    one.send(text)
                    assert one.recv(2000) == text[::-1]
        open_ones = [socket.create_connection(("127.0.0.1", tcp), timeout=30) for _ in range(100)]
        for number, one in enumerate(open_ones):
            one.sendall(b"%d" % number)
            one.shutdown(socket.SHUT_WR)
        assert [one.recv(100)[::-1] for one in open_ones] == [b"%d" % number for number in range(100)]
        for one in open_ones:
            one.close()
        nobody = ("127.0.0.1", ports[10, "tcp", "127.0.0.1"])
        with socket.create_connection(nobody) as one, pytest.raises(ConnectionResetError):
            one.recv(1)
        taken = busybox.run("run", "-p", f"{tcp}:80", "busybox", "true", status=125).stderr
        assert f"the port {tcp}/tcp of this machine is taken" in taken
        assert "0.0.0.0" in busybox.run("ps").stdout
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", tcp))


def test_words_about_ports(busybox: Pybuild) -> None:
    busybox.build(busybox.context("FROM busybox\nEXPOSE 80 53/udp\nCMD true\n"))
    alone = busybox.run("run", "test").stderr
    assert "exposes 53/udp, 80/tcp" in alone
    assert "-p 8053:53/udp does, or -P" in alone
    all_of_them = busybox.run("run", "-P", "test").stderr
    assert "exposes" not in all_of_them
    assert all_of_them.count("published 0.0.0.0:") == 2
    assert "no ports are published" in busybox.run("run", "--network=host", "-p", "18099:80", "test").stderr
    assert "has no ports to publish" in busybox.run("run", NONE, "-p", "80", "test", status=2).stderr
    for text in ("80:", "0:80", "1-2:1-3", "x:80:80", "80/sctp", "70000"):
        assert f"--publish {text}" in busybox.run("run", "-p", text, "test", status=2).stderr


@pytest.mark.either_user
def test_the_life_of_a_container_in_the_background(busybox: Pybuild) -> None:
    script = "echo out; echo err >&2; trap 'echo ending; exit 7' TERM; while :; do sleep 0.05; done"
    started = busybox.run("run", "-d", NONE, "--name=web", "-l", "tier=front", "busybox", "sh", "-c", script)
    container = started.stdout.strip()
    assert len(container) == 64
    said(busybox, "web", "out")
    listed = busybox.run("ps").stdout
    assert container[:12] in listed
    assert " Up " in listed
    assert busybox.run("ps", "-q", "--filter", "label=tier=front").stdout == f"{container[:12]}\n"
    assert busybox.run("ps", "-q", "--filter", "label=tier=back").stdout == ""
    again = busybox.run("run", "-d", NONE, "--name=web", "busybox", "true", status=2).stderr
    assert f"the container {container[:12]} is called so" in again
    assert "runs" in busybox.run("rm", "web", status=2).stderr
    follows = subprocess.Popen(
        [*busybox.command, "logs", "-f", "web"], env=busybox.environ(), stdout=subprocess.PIPE, text=True
    )
    waits = subprocess.Popen(
        [*busybox.command, "wait", "web"], env=busybox.environ(), stdout=subprocess.PIPE, text=True
    )
    assert busybox.run("stop", container[:8]).stderr == ""
    assert follows.communicate()[0] == "out\nending\n"
    assert waits.communicate()[0] == "7\n"
    assert container[:12] not in busybox.run("ps").stdout
    assert "Exited (7)" in busybox.run("ps", "-a").stdout
    logs = busybox.run("logs", "-t", "web")
    assert logs.stderr.endswith("Z err\n")
    assert [line.split(" ")[1] for line in logs.stdout.splitlines()] == ["out", "ending"]
    assert busybox.run("logs", "--tail=1", "web").stdout == "ending\n"
    assert "does not run" in busybox.run("exec", "web", "true", status=125).stderr
    assert busybox.run("rm", "web").stdout == "web\n"
    assert "no container `web`" in busybox.run("rm", "web", status=125).stderr
    busybox.run("rm", "-f", "web")
    busybox.run("run", "-d", "--rm", NONE, "--name=gone", "busybox", "sh", "-c", "sleep 0.5; exit 6")
    assert busybox.run("wait", "gone").stdout == "6\n"
    until(lambda: "gone" not in containers(busybox))
    failed = busybox.run("run", "-d", NONE, "--name=nope", "busybox", "nope", status=127)
    assert "nope: command not found" in failed.stderr
    assert "1 container that had ended" in busybox.run("prune", "-f").stdout
    assert containers(busybox) == {}


@pytest.mark.either_user
def test_what_scripts_ask_of_containers(busybox: Pybuild) -> None:
    script = "echo one; sleep 0.1; echo two; exec sleep 100"
    ports = ("-p", "127.0.0.1::80", "-p", "127.0.0.1:18097:53/udp")
    with background(busybox, "web", *ports, "-l", "tier=front", "busybox", "sh", "-c", script) as about:
        host = about["ports"][0]["host"]
        assert busybox.run("port", "web").stdout == f"80/tcp -> 127.0.0.1:{host}\n53/udp -> 127.0.0.1:18097\n"
        assert busybox.run("port", "web", "80").stdout == f"127.0.0.1:{host}\n"
        wrong = busybox.run("port", "web", "81", status=125).stderr
        assert "81/tcp of the container `web` is not published\n  hint: published are 80/tcp, 53/udp" in wrong
        template = (
            '{{.State.Status}} {{(index (index .NetworkSettings.Ports "80/tcp") 0).HostPort}} {{.Config.Labels.tier}}'
        )
        assert busybox.run("inspect", "-f", template, "web").stdout == f"running {host} front\n"
        assert busybox.run("inspect", "-f", '[{{index .Config.Labels "no"}}]', "web").stdout == "[]\n"
        (shown,) = json.loads(busybox.run("container", "inspect", "web").stdout)
        assert (shown["Id"], shown["Name"], shown["Path"], shown["State"]["Running"]) == (
            about["id"],
            "/web",
            "sh",
            True,
        )
        with open(f"/proc/{shown['State']['Pid']}/status", encoding="ascii") as file:
            assert "\t1\n" in next(line for line in file if line.startswith("NSpid:"))
        assert "no image `web`" in busybox.run("image", "inspect", "web", status=125).stderr
        rows = busybox.run("ps", "--format", "{{.Names}} {{.State}} {{.Labels}} {{.Ports}}").stdout
        assert rows == f"web running tier=front 127.0.0.1:{host}->80/tcp, 127.0.0.1:18097->53/udp\n"
        assert busybox.run("ps", "--format", "table {{.ID}}\t{{.Names}}").stdout.split()[:3:2] == [
            "ID",
            about["id"][:12],
        ]
        said(busybox, "web", "two")
        second = busybox.run("logs", "-t", "web").stdout.splitlines()[1].split()[0]
        assert busybox.run("logs", "--since", second, "web").stdout == "two\n"
        assert busybox.run("logs", "-f", "--until", second, "web").stdout == "one\n"
        assert "--since soon: that is neither" in busybox.run("logs", "--since=soon", "web", status=2).stderr
        busybox.run("run", "-d", NONE, "--name=other", "busybox", "true")
        busybox.run("wait", "other")
        assert busybox.run("ps", "-l", "--format", "{{.Names}} {{.State}}").stdout == "other exited\n"
        assert busybox.run("ps", "-q", "-n", "2").stdout.count("\n") == 2
        ended = busybox.run("inspect", "-f", "{{.State.Running}} {{.State.ExitCode}} {{.State.Pid}}", "other").stdout
        assert ended == "false 0 0\n"
        assert "1 container that had ended" in busybox.run("prune", "--dry-run").stdout
        assert "1 container that had ended" in busybox.run("container", "prune", "--dry-run").stdout
        assert "is not for --containers" in busybox.run("container", "prune", "--filter=label=a", status=2).stderr
        done = json.loads(busybox.run("container", "prune", "-f", "--format=json").stdout)
        assert (done["containers"], done["images"], list(containers(busybox))) == (1, [], ["web"])


@pytest.mark.parametrize("columns", [80, 120])
def test_containers_on_a_narrow_terminal(busybox: Pybuild, columns: int) -> None:
    words = ["sh", "-c", "sleep 100; echo a long command"]
    with background(busybox, "web", "-p", "18080:80", "busybox", *words):
        size = (24, columns)
        child = pexpect.spawn(PYBUILD, ["ps"], env=busybox.environ(), encoding="utf-8", timeout=30, dimensions=size)
        child.expect(pexpect.EOF)
        child.close()
        lines = child.before.splitlines()
        assert max(map(len, lines)) <= columns
        assert ("0.0.0.0:18080->80/tcp, [::]:18080->80/tcp" if columns > 80 else " 18080->80/tcp ") in lines[1]


def test_a_container_that_does_not_end_when_it_is_asked_to(busybox: Pybuild) -> None:
    with background(busybox, "deaf", NONE, "--stop-signal=USR1", "busybox", "sleep", "1000"):
        assert "was ended by force" in busybox.run("stop", "-t", "0", "deaf").stderr
        assert containers(busybox)["deaf"]["code"] == 137
    with background(busybox, "slow", NONE, "busybox", "sleep", "1000"):
        asked = busybox.run("stop", "-t", "1.1", "slow").stderr
        assert asked.startswith("pybuild: slow was asked to end, and has not yet; in 0.1 s it is ended by force\n")
    script = "trap 'exit 5' RTMIN+3; echo up; while :; do sleep 0.05; done"
    with background(
        busybox, "own", NONE, "--stop-signal=RTMIN+3", "busybox", "sh", "-c", script.replace("RTMIN+3", "37")
    ):
        said(busybox, "own", "up")
        assert busybox.run("stop", "own").stderr == ""
        assert containers(busybox)["own"]["code"] == 5
    with background(busybox, "killed", NONE, "--init", "busybox", "sleep", "1000"):
        busybox.run("kill", "-s", "TERM", "killed")
        assert busybox.run("wait", "killed").stdout == "143\n"


@pytest.mark.either_user
def test_the_command_is_process_1_unless_another_is_asked_for(busybox: Pybuild) -> None:
    script = "echo $$; kill -TERM $$; echo alive; echo /proc/[0-9]*"
    assert busybox.run("run", NONE, "busybox", "sh", "-c", script).stdout == "1\nalive\n/proc/1\n"
    assert busybox.run("run", NONE, "--init", "busybox", "sh", "-c", script, status=143).stdout == "2\n"
    for command, status in (("true", 0), ("false", 1), ("nope", 127), ("/etc/passwd", 126)):
        busybox.run("run", NONE, "busybox", command, status=status)
    busybox.run("run", NONE, "busybox", "sh", "-c", "exit 42", status=42)
    reaped = "sh -c '(exit 0) & exec sleep 0.01' & sleep 0.2; grep -l '^State:.Z' /proc/[0-9]*/status"
    busybox.run("run", NONE, "--init", "busybox", "sh", "-c", reaped, status=1)


@pytest.mark.parametrize("script", ["trap 'echo caught; exit 9' INT; {}", "trap '' INT; {}"])
def test_the_keyboard_ends_a_server(busybox: Pybuild, script: str) -> None:
    words = script.format("echo ready; while :; do sleep 0.05; done")
    child = pexpect.spawn(
        PYBUILD, ["run", NONE, "busybox", "sh", "-c", words], env=busybox.environ(), encoding="utf-8", timeout=30
    )
    child.expect("ready")
    child.sendintr()
    if "caught" in script:
        child.expect("caught")
    else:
        child.expect("once more, or 10 seconds, and it is ended by force")
        child.sendintr()
        child.expect("was asked to end twice: it is ended by force")
    child.expect(pexpect.EOF)
    child.close()
    assert child.exitstatus == (9 if "caught" in script else 137)


@pytest.mark.either_user
def test_further_commands(busybox: Pybuild, tmp_path: Path) -> None:
    """As Jenkins does it inside of an image."""
    options = (
        "-t",
        NONE,
        "-u",
        "1000:1000",
        "-w",
        "/new/work",
        "-v",
        f"{busybox.work}:/there",
        "-e",
        "A=1",
        "busybox",
        "cat",
    )
    with background(busybox, "inside", *options) as about:
        assert " cat" in busybox.run("top", about["id"], "-eo", "pid,comm").stdout
        script = 'id -u; pwd; echo $A$B; tr "\\0" " " </proc/1/cmdline; grep -E "^(CapEff|Seccomp):" /proc/self/status'
        done = busybox.run("exec", "-e", "B=2", "inside", "sh", "-c", script)
        assert done.stdout.split() == ["1000", "/new/work", "12", "cat", "CapEff:", "0" * 16, "Seccomp:", "2"]
        as_root = ("exec", "-i", "-u", "0", "-w", "/there", "inside", "sh", "-c", "cat; id -u; pwd")
        assert busybox.run(*as_root, stdin="in\n").stdout == "in\n0\n/there\n"
        busybox.run("exec", "inside", "sh", "-c", "exit 3", status=3)
        busybox.run("exec", "inside", "nope", status=127)
        assert "working directory /nowhere" in busybox.run("exec", "-w/nowhere", "inside", "pwd", status=125).stderr
        assert "NOBODY" in busybox.run("exec", "-u", "NOBODY", "inside", "pwd", status=125).stderr
        on_terminal(busybox)
        busybox.run("stop", "-t", "0.1", "inside")


@pytest.mark.either_user
def test_further_commands_in_the_networks_of_others(busybox: Pybuild) -> None:
    """The machine's own is not an ordinary user's to join; that of ports is the user's."""
    for options in (("--network=host",), ("-p", "127.0.0.1::80")):
        with background(busybox, "inside", *options, "busybox", "sleep", "100"):
            assert busybox.run("exec", "inside", "echo", "said").stdout == "said\n"


def on_terminal(pybuild: Pybuild) -> None:
    """Type into a shell in the container `inside`, which has a terminal of its own and is told of the window's size."""
    program, *words = [*pybuild.command, "exec", "-it", "inside", "sh"]
    child = pexpect.spawn(program, words, env=pybuild.environ(), encoding="utf-8", timeout=30, dimensions=(20, 50))
    child.expect(r"[$#] ")
    child.sendline("tty; stty size; echo $((6*7))")
    child.expect("/dev/pts/1\r\n20 50\r\n42")
    child.setwinsize(30, 60)
    child.expect(r"[$#] ")
    child.sendline("sh -c 'stty size; sleep 100'")
    child.expect("30 60\r\n")
    child.sendintr()
    child.expect(r"[$#] ")
    child.sendline("exit 4")
    child.expect(pexpect.EOF)
    child.close()
    assert child.exitstatus == 4


@pytest.mark.parametrize("capability", [(), ("--cap-add=SYS_ADMIN",)])
def test_further_commands_in_a_user_namespace(busybox: Pybuild, capability: tuple[str, ...]) -> None:
    (busybox.work / "of-root").write_text("of the machine's root")
    (busybox.work / "of-root").chmod(0o600)
    options = ("-t", NONE, *capability, "-v", f"{busybox.work}:/there", "--userns-uid-map=0:3000000:65536")
    mounting = "mkdir /new && mount -t tmpfs new /new 2>/dev/null && echo mounted >/new/file; cat"
    with background(busybox, "inside", *options, "busybox", "sh", "-c", mounting):
        script = "cat /proc/self/uid_map; id -u; id -g; grep -E '^(CapEff|Seccomp):' /proc/self/status"
        asked = busybox.run("exec", "-u", "5:6", "inside", "sh", "-c", script).stdout.split()
        assert asked == ["0", "3000000", "65536", "5", "6", "CapEff:", "0" * 16, "Seccomp:", "2"]
        of_root = busybox.run("exec", "inside", "sh", "-c", f"{script}; cat /there/of-root", status=1)
        assert of_root.stdout.split()[3:5] == ["0", "0"]
        assert "Permission denied" in of_root.stderr
        # As in any container, a command owns its streams, and sees what the first one has mounted.
        script = "echo said >/dev/stdout; stat -Lc %u /proc/self/fd/1"
        said = busybox.run("exec", "-u", "5:6", "inside", "sh", "-c", script)
        assert said.stdout.split() == ["said", "5"]
        seen = busybox.run("exec", "inside", "cat", "/new/file", status=0 if capability else 1)
        assert seen.stdout == ("mounted\n" if capability else "")
        busybox.run("exec", "inside", "touch", "/made")
        assert busybox.run("exec", "inside", "stat", "-c", "%u", "/made").stdout == "0\n"
        assert "does not exist here" in busybox.run("exec", "-u", "70000", "inside", "true", status=125).stderr
        on_terminal(busybox)
        busybox.run("stop", "-t", "0.1", "inside")


@pytest.mark.parametrize("own", [(), ("--userns-uid-map=0:3000000:65536",)])
def test_who_joins_a_container_brings_nothing_in(busybox: Pybuild, own: tuple[str, ...]) -> None:
    """A container that may trace whatever it sees sees nothing of the machine come in."""
    watch = r"""
import os
rights, files = set(), set()
print("ready", flush=True)
while not os.path.exists("/tmp/end"):
    for one in os.listdir("/proc"):
        if one.isdigit() and one != "1":
            try:
                with open(f"/proc/{one}/status") as file:
                    rights |= {line.split()[1] for line in file if line.startswith(("CapPrm", "CapBnd"))}
                files |= {os.readlink(f"/proc/{one}/fd/{fd}").partition(":")[0] for fd in os.listdir(f"/proc/{one}/fd")}
                files |= {os.readlink(f"/proc/{one}/{name}") for name in ("cwd", "root")}
            except (OSError, IndexError):
                pass
print(sorted(rights), sorted(files), flush=True)
"""
    options = (NONE, *own, "--cap-add=SYS_PTRACE", "--tmpfs=/tmp", *OF_HOST, "busybox", "/usr/bin/python3", "-c", watch)
    with background(busybox, "watch", *options):
        said(busybox, "watch", "ready")
        for _ in range(5):
            busybox.run("exec", "watch", "sh", "-c", "exec sleep 0.02")
        busybox.run("exec", "watch", "touch", "/tmp/end")
        busybox.run("wait", "watch")
        rights, files = busybox.run("logs", "--tail=1", "watch").stdout.strip().split("] [")
        assert set(rights.strip("[").replace("'", "").split(", ")) == {"00000000a80c25fb"}
        commands = {"/lib/x86_64-linux-gnu/libc.so.6", "/tmp/end"}  # what the commands themselves open
        assert set(files.strip("]").replace("'", "").split(", ")) - commands <= {"pipe", "/"}


@pytest.mark.either_user
def test_a_keeper_that_is_killed_leaves_nothing_behind(busybox: Pybuild) -> None:
    with background(busybox, "web", "-p", "127.0.0.1::7", "busybox", "nc", "-ll", "-p", "7", "-e", "cat") as about:
        port = about["ports"][0]["host"]
        ids = [line.split()[0] for line in busybox.run("top", "web", "-eo", "pid,comm").stdout.splitlines()[1:]]
        assert ids
        os.kill(about["pid"], signal.SIGKILL)
        until(lambda: not any(os.path.exists(f"/proc/{one}") for one in ids))

        def refused() -> bool:
            try:
                socket.create_connection(("127.0.0.1", port)).close()
            except ConnectionRefusedError:
                return True
            return False

        until(refused)
        assert "Dead" in busybox.run("ps", "-a").stdout
        assert busybox.run("ps", "-q").stdout == ""
        assert busybox.run("wait", "web").stdout == "137\n"


def test_a_container_that_floods_or_never_reads_takes_no_memory(busybox: Pybuild) -> None:
    options = ("-p", "127.0.0.1::7", "-p", "127.0.0.1::8", *OF_HOST)
    with background(busybox, "bad", *options, "busybox", "/usr/bin/python3", "-c", HOSTILE) as about:
        said(busybox, "bad", "ready")
        ports = {one["container"]: one["host"] for one in about["ports"]}
        (forwarder,) = (one for one in os.listdir("/proc") if one.isdigit() and _is_forwarder_of(one, about["pid"]))
        floods = [socket.create_connection(("127.0.0.1", ports[7])) for _ in range(20)]
        silent = socket.create_connection(("127.0.0.1", ports[8]))
        silent.setblocking(False)
        sent = 0

        def is_full() -> bool:
            nonlocal sent
            try:
                sent += silent.send(bytes(1 << 16))
            except BlockingIOError:
                return True
            return False

        until(is_full)
        for one in floods:
            assert one.recv(1)
        with open(f"/proc/{forwarder}/status", encoding="ascii") as file:
            (size,) = (int(line.split()[1]) for line in file if line.startswith("VmHWM"))
        assert size < 40_000
        assert sent < 100 << 20
        for one in (*floods, silent):
            one.close()


def _is_forwarder_of(process: str, parent: int) -> bool:
    try:
        with open(f"/proc/{process}/stat", encoding="ascii", errors="replace") as file:
            name, _, rest = file.read().partition("(")[2].rpartition(")")
    except OSError:
        return False
    return name == "pybuild-ports" and rest.split()[1] == str(parent)


def test_mounts_and_other_options(busybox: Pybuild) -> None:
    (busybox.work / "dir").mkdir()
    (busybox.work / "dir" / "file").write_text("here\n")
    script = (
        "pwd; hostname; cat /a/file; touch /a/x 2>/dev/null || echo ro; touch /y 2>/dev/null || echo ro;"
        " grep -E ' /(b|c) ' /proc/mounts | cut -d' ' -f2-4; touch /b/z"
    )
    shown = busybox.run(
        "run", NONE, "--read-only", "-h", "name", "--mount", "type=bind,source=dir,target=/a,readonly", "--mount",
        "type=tmpfs,dst=/b,tmpfs-size=1m", "--tmpfs", "/c:size=64k,mode=700", "-w", "/b", "--cidfile", "id", "busybox",
        "sh", "-c", script,
    ).stdout.splitlines()  # fmt: skip
    assert shown[:5] == ["/b", "name", "here", "ro", "ro"]
    assert shown[5].startswith("/b tmpfs rw,nosuid,nodev,relatime,size=1024k")
    assert shown[6].startswith("/c tmpfs rw,nosuid,nodev,noexec,relatime,size=64k,mode=700")
    assert len((busybox.work / "id").read_text()) == 64
    assert "the file exists" in busybox.run("run", "--cidfile=id", "busybox", "true", status=2).stderr
    unwritable = busybox.run("run", "-d", "--cidfile=no/id", "busybox", "true", status=2).stderr
    assert ("cannot be written" in unwritable, busybox.run("ps", "-aq").stdout) == (True, "")
    assert busybox.run("run", NONE, "-w", "/not/there/yet", "busybox", "pwd").stdout == "/not/there/yet\n"
    for options, what in (
        (("--mount", "src=a,dst=/a"), "keeps no volumes"),
        (("--mount", "type=npipe,dst=/a"), "no mounts of the type npipe"),
        (("--mount", "type=bind,dst=/a"), "src is missing"),
        (("--tmpfs", "/a:uid=3"), "is not known"),
        (("--restart=always",), "nothing starts a container again"),
        (("--privileged",), "no container gets all rights"),
        (("--stop-signal=NO",), "there is no signal NO"),
        (("--name=-x",), "cannot be a container's name"),
    ):
        assert what in busybox.run("run", *options, "busybox", "true", status=2).stderr
    assert "--log-opt=max-size=1m has no effect" in busybox.run("run", NONE, "--log-opt", "max-size=1m", "--restart=no",
                                                                "busybox", "true").stderr  # fmt: skip

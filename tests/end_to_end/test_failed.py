"""A shell in what a failed step left, and behind any step of a build."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from typing import TYPE_CHECKING

import pexpect
import pytest

from .conftest import PYBUILD

if TYPE_CHECKING:
    from collections.abc import Iterator

    from .conftest import Pybuild

TEXT = """\
FROM busybox AS base
RUN --network=none mkdir /lib && echo lib > /lib/a
FROM busybox AS app
ENV LEVEL=3
WORKDIR /work
COPY --chown=5 a /tmp/copied
ENV LATER=1
USER 5
RUN --network=none --mount=type=cache,target=/cache,mode=0777 --mount=from=base,source=/lib,target=/other,rw \\
    --mount=type=tmpfs,target=/t --mount=target=/src --mount=type=secret,id=tok,env=TOKEN \\
    --mount=type=secret,id=tok,uid=5 <<EOT
echo left > /tmp/left; rm /tmp/copied; echo x >> /cache/log; test ${#TOKEN} = 7 || exit 9
exit 6
EOT
"""
LOOK = "echo $(pwd) $(id -u) $LEVEL$LATER; cat /tmp/left /cache/log /src/a; ls /tmp; cat /other/a; echo y > /tmp/left"


def kept(pybuild: Pybuild) -> list[str]:
    """Name what is kept of failures."""
    room = pybuild.root / "failed"
    return sorted(os.listdir(room)) if room.exists() else []


@pytest.mark.either_user
def test_a_shell_in_what_a_step_left(busybox: Pybuild) -> None:
    context = busybox.context(TEXT, a="of the context\n")
    secret = ("--secret", "id=tok,env=TOKEN")
    shown = busybox.build(context, *secret, status=6, TOKEN="s3cret=").shown
    assert shown.endswith("  hint: `pybuild shell --failed` opens a shell in what it left\n")
    (name,) = kept(busybox)
    assert (busybox.root / "failed").stat().st_mode & 0o777 == 0o700
    assert subprocess.run(["grep", "-rq", "s3cret=", busybox.root / "failed" / name], check=False).returncode == 1
    for _ in range(2):  # what is written is thrown away
        looked = busybox.run("shell", "--failed", stdin=f"{LOOK}; exit 7\n", status=7)
        assert looked.stdout == "/work 5 31\nleft\nx\nof the context\nleft\nlib\n"
        assert looked.stderr.splitlines()[0].endswith(
            "Buildfile:9 as it was when it ended with status 6; what is written here is thrown away"
        )
        assert "the secret `tok` is not kept: --secret id=tok,src=FILE gives it again" in looked.stderr
    given = busybox.run(
        "shell", "--failed", *secret, context, stdin="cat /run/secrets/tok; echo -$TOKEN\n", TOKEN="again"
    )
    assert given.stdout == "again-again\n"
    other = busybox.context("FROM busybox\n", "other")
    assert "there is no failed step" in busybox.run("shell", "--failed", other, status=125).stderr
    # The next failure of the build takes its place, and its success removes it.
    entered = busybox.run("-q", "--on-error=shell", context, stdin="echo $TOKEN-; cat /tmp/left; exit 5\n", status=9)
    assert (entered.stdout, len(kept(busybox)), kept(busybox) != [name]) == ("-\nleft\n", 1, True)
    assert entered.stderr.count("ended with status 9") == 2  # the failure, and where the shell is
    (context / "Buildfile").write_text("FROM busybox\n")
    busybox.build(context)
    assert kept(busybox) == []
    gone = busybox.run("shell", "--failed", status=125).stderr
    assert "there is no failed step to open a shell in\n  hint: a RUN that failed is kept until" in gone
    assert "clean" in busybox.run("fsck").stdout


@pytest.fixture
def agent(busybox: Pybuild) -> Iterator[str]:
    """Start an ssh agent; its socket."""
    if shutil.which("ssh-agent") is None:
        pytest.skip("needs ssh-agent")
    socket = str(busybox.work / "agent")
    process = subprocess.Popen(["ssh-agent", "-D", "-a", socket], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    process.stdout.readline()  # it names its socket when it is there
    if busybox.owner:
        os.chown(socket, busybox.owner, busybox.owner)
    yield socket
    process.terminate()
    process.communicate()


@pytest.mark.either_user
def test_a_step_has_its_ssh_agent_again(busybox: Pybuild, agent: str) -> None:
    mount = "--mount=type=ssh,uid=33,gid=34,mode=0620"
    context = busybox.context(f"FROM busybox\nUSER 33\nRUN --network=none {mount} stat $SSH_AUTH_SOCK; exit 4\n")
    look = "test -w $SSH_AUTH_SOCK && stat -c '%F %u %g %a' $SSH_AUTH_SOCK || echo [$SSH_AUTH_SOCK]\n"
    shown, missing = "socket 33 34 620\n", "the ssh agent `default` is not here: --ssh default lends yours"
    entered = busybox.run("--on-error=shell", "-q", "--ssh=default", context, stdin=look, status=4, SSH_AUTH_SOCK=agent)
    assert entered.stdout == shown
    again = busybox.run("shell", "--failed", stdin=look, SSH_AUTH_SOCK=agent)  # the one that the build was lent
    assert (again.stdout, missing in again.stderr) == (shown, False)
    other = busybox.run("shell", "--failed", stdin=look, SSH_AUTH_SOCK=f"{agent}.other")
    assert (other.stdout, missing in other.stderr) == ("[]\n", True)
    key = busybox.work / "key"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", key], check=True)
    if busybox.owner:
        os.chown(key, busybox.owner, busybox.owner)
    given = busybox.run("shell", "--failed", f"--ssh=default={key}", stdin=look, SSH_AUTH_SOCK="")
    assert (given.stdout, given.stderr.count("gone")) == (shown, 0)
    # What the step asked for and was not given can be given now.
    busybox.build(context, status=4)
    assert busybox.run("shell", "--failed", stdin=look, SSH_AUTH_SOCK=agent).stdout == "[]\n"
    assert busybox.run("shell", "--failed", "--ssh=default", stdin=look, SSH_AUTH_SOCK=agent).stdout == shown


@pytest.mark.root
def test_a_shell_behind_a_step_that_needs_an_ssh_agent(busybox: Pybuild, agent: str) -> None:
    context = busybox.context("FROM busybox\nRUN --network=none --mount=type=ssh,required test -S $SSH_AUTH_SOCK\n")
    at = ("shell", "--at=2", context)
    assert "hint: add --ssh default" in busybox.run(*at, stdin="", status=125).stderr
    behind = busybox.run(*at, "--ssh=default", stdin="echo [$SSH_AUTH_SOCK]\n", SSH_AUTH_SOCK=agent)
    assert behind.stdout == "[]\n"


@pytest.mark.root
def test_a_shell_at_once_on_a_terminal(busybox: Pybuild) -> None:
    context = busybox.context("FROM busybox\nRUN --network=none echo said; echo 1 > /left; exit 4\n")
    command = ["build", "--on-error=shell", "-q", str(context)]
    child = pexpect.spawn(PYBUILD, command, env=busybox.environ(), encoding="utf-8", timeout=60)
    child.expect("said")
    child.expect("ended with status 4")
    child.expect("# ")
    child.sendline("echo $(cat /left)$(tty)")
    child.expect("1/dev/pts/0")
    child.sendline("exit")
    child.expect(pexpect.EOF)
    child.close()
    assert child.exitstatus == 4


@pytest.mark.root
def test_a_shell_behind_a_step(busybox: Pybuild) -> None:
    context = busybox.context(TEXT, a="1")
    script = 'echo $(pwd) $(id -u) "$LEVEL$LATER" $(ls -d /lib /tmp/copied 2>/dev/null)\n'
    for at, said in (
        ("[app 3/4]", "/work 0 3 /tmp/copied"),
        ("COPY --chown=5 a", "/work 0 3 /tmp/copied"),
        ("base 2/2", "/ 0  /lib"),
    ):
        assert busybox.run("shell", "--at", at, context, stdin=script).stdout == f"{said}\n", at
    again = busybox.run("shell", "--at", "3", context, stdin=script)
    assert again.stdout == "/work 0 3 /tmp/copied\n"
    assert re.search(r"^#3 (HIT|CACHED)", again.stderr, re.MULTILINE)
    wrong = busybox.run("shell", "--at", "app/9", context, status=2).stderr
    assert "there is no such step\n  hint: steps are app/1, app/2, app/3, base/1, app/4" in wrong
    insecure = busybox.context("FROM busybox\nRUN --security=insecure true\n", "insecure")
    assert "security.insecure, which is not allowed" in busybox.run("shell", "--at=2", insecure, status=2).stderr
    assert "mean different places" in busybox.run("shell", "--at", "2", "--failed", status=2).stderr

"""Secrets and agents: there while a step runs, and nowhere else."""

from __future__ import annotations

import os
import shutil
import subprocess
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from .conftest import Pybuild

pytestmark = [pytest.mark.root, pytest.mark.either_user]

VALUE = "swordfish-4711"


def kept(pybuild: Pybuild) -> list[str]:
    """Name the files of the store and the work directory that hold the value."""
    found = []
    for top in (pybuild.root, pybuild.work):
        for directory, _, names in os.walk(top):
            for name in names:
                path = os.path.join(directory, name)
                if os.path.isfile(path) and not os.path.islink(path) and name != "the-secret":
                    with open(path, "rb") as file:
                        if VALUE.encode() in file.read():
                            found.append(path)
    return found


def test_a_secret_as_a_file_and_as_a_variable(busybox: Pybuild) -> None:
    context = busybox.context(
        "FROM busybox\n"
        "RUN --mount=type=secret,id=one cat /run/secrets/one | wc -c > /a; stat -c %a /run/secrets/one >> /a\n"
        "RUN --mount=type=secret,id=one,env=TOKEN,target=/t,mode=444,uid=7 "
        "echo ${#TOKEN} > /b; stat -c %a:%u /t >> /b\n"
        "RUN --mount=type=secret,id=missing ls /run/secrets 2>&1 | wc -l > /c\n"
        "RUN ls -d /run/secrets /t 2>&1 | grep -c 'No such' > /d\n"
    )
    (busybox.work / "the-secret").write_text(VALUE)
    busybox.build(context, "--secret", f"id=one,src={busybox.work}/the-secret", "-o", "type=oci,dest=out,tar=false")
    assert busybox.sh("cat /a /b /c /d") == "14\n400\n14\n444:7\n1\n2\n"
    assert kept(busybox) == []
    again = busybox.build(context, "--secret", "id=one,env=X", X="another value")
    assert again.outcomes() == ["HIT"] * 4, "values are not in keys"


def test_a_required_secret_that_is_missing(busybox: Pybuild) -> None:
    context = busybox.context("FROM busybox\nRUN --mount=type=secret,id=one,required true\n")
    shown = busybox.build(context, status=125).shown
    assert "Buildfile:2: the secret `one` is required" in shown
    assert "--secret id=one" in shown


@pytest.mark.parametrize("spec", ["nothing", "src=x", "id=a,typ=b", "id=a,type=c"])
def test_specifications_that_are_refused(busybox: Pybuild, spec: str) -> None:
    context = busybox.context("FROM busybox\n")
    assert "--secret" in busybox.build(context, "--secret", spec, status=2).shown


@pytest.mark.skipif(shutil.which("ssh-agent") is None, reason="needs ssh-agent")
def test_an_ssh_agent(busybox: Pybuild) -> None:
    context = busybox.context(
        "FROM busybox\n"
        'RUN --mount=type=ssh test -S $SSH_AUTH_SOCK && echo there > /a\nRUN echo "[$SSH_AUTH_SOCK]" > /b\n'
    )
    socket = busybox.work / "agent"
    agent = subprocess.Popen(["ssh-agent", "-D", "-a", socket], stdout=subprocess.PIPE, text=True)
    try:
        assert agent.stdout is not None
        assert "SSH_AUTH_SOCK" in agent.stdout.readline()
        busybox.build(context, "--ssh", "default", SSH_AUTH_SOCK=str(socket))
    finally:
        agent.terminate()
        agent.communicate()
    assert busybox.sh("cat /a /b") == "there\n[]\n"
    assert "no agent" in busybox.build(context, "--ssh", "default", status=2, SSH_AUTH_SOCK="").shown


@pytest.mark.skipif(shutil.which("ssh-agent") is None, reason="needs ssh-agent")
def test_an_agent_is_made_of_a_key_file(busybox: Pybuild) -> None:
    key = busybox.work / "key"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", key], check=True)
    if busybox.owner:
        os.chown(key, busybox.owner, busybox.owner)
    context = busybox.context(
        "FROM busybox\nUSER 33\n"
        "RUN --mount=type=ssh,required,uid=33,gid=34,mode=0620 "
        "test -w $SSH_AUTH_SOCK && stat -c '%u %g %a' $SSH_AUTH_SOCK\n"
    )
    assert "33 34 620" in busybox.build(context, "--ssh", f"default={key}").shown
    assert "required" in busybox.build(context, "--no-cache", status=125).shown
    agents = [name for name in os.listdir("/tmp") if name.startswith("pybuild-ssh-")]
    assert agents == []
    (busybox.work / "nokey").write_text("no key")
    assert "cannot be added" in busybox.build(context, "--ssh", f"default={busybox.work}/nokey", status=2).shown


def test_a_secret_that_can_be_read_once_is_there_for_all(busybox: Pybuild) -> None:
    context = busybox.context(
        "FROM busybox\n"
        "RUN --mount=type=secret,id=s,required=true cat /run/secrets/s > /a\n"
        "RUN --mount=type=secret,id=s,required=true cat /run/secrets/s > /b\n"
    )
    reading, writing = os.pipe()
    os.write(writing, b"hello")
    os.close(writing)
    try:
        os.fchown(reading, busybox.owner, busybox.owner)
        secret = f"id=s,src=/dev/fd/{reading},key=digest"
        command = [*busybox.command, "-t", "test", "--secret", secret, str(context)]
        subprocess.run(command, env=busybox.environ(), pass_fds=[reading], check=True, capture_output=True, timeout=120)
    finally:
        os.close(reading)
    assert busybox.sh("cat /a /b") == "hellohello"

"""The pages of docs/how-to, done as they stand: files are written, commands run in order, and what they print compared.

In a page, indented lines are a file where a line such as "`Buildfile`:" stands above them, and a session where they
begin with `$ `: lines behind a command are what it prints, `…` stands for anything. Other blocks are not tried.
"""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import pytest

from tests.end_to_end.conftest import PYBUILD
from tests.git_server import git

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.end_to_end.conftest import OrdinaryUser, Pybuild

PAGES = Path(__file__).parents[2] / "docs" / "how-to"
DEVCONTAINER_CLI = Path(__file__).parents[1] / "devcontainer_cli.py"
REGISTRY = """version: 0.1
storage: {{filesystem: {{rootdirectory: {directory}/registry}}}}
http: {{addr: "127.0.0.1:5000"}}
{auth}
"""
HTPASSWD = "anna:$2y$05$abcdefghijklmnopqrstuuLK7U1u6pVRmL7L1BBM2aS35PSZnDXlK\n"  # s3cret
SESSION = r"""set -u
ip link set lo up
env -u REGISTRY_AUTH_FILE docker-registry serve {directory}/registry.yml >{directory}/registry.log 2>&1 &
registry=$!
trap 'kill $registry $others' EXIT
others=
{before}
for n in $(seq 200); do (exec 3<>/dev/tcp/127.0.0.1/5000) 2>/dev/null && break; sleep 0.05; done
shopt -s expand_aliases
{commands}
"""
SSH_SERVER = r"""
mount --bind {directory}/passwd /etc/passwd && mount --bind {directory}/hosts /etc/hosts && mkdir -p /run/sshd
/usr/sbin/sshd -D -q -f {directory}/sshd_config &
others="$others $!"
export SSH_AUTH_SOCK={directory}/agent
ssh-agent -D -a $SSH_AUTH_SOCK >/dev/null &
others="$others $!"
for n in $(seq 200); do (exec 3<>/dev/tcp/127.0.0.1/22) 2>/dev/null && [ -S $SSH_AUTH_SOCK ] && break; sleep 0.05; done
"""
SSHD = """ListenAddress 127.0.0.1
HostKey {directory}/host_key
AuthorizedKeysFile {directory}/home/.ssh/id_ed25519.pub
PidFile none
StrictModes no
"""
_MARK = "--- {number} ---"


class Command(NamedTuple):
    """A line of a session, and what it prints."""

    text: str
    output: list[str]


def blocks(page: str) -> Iterator[tuple[str, list[str]]]:
    """Give the indented blocks of a page, each with the line above it."""
    above, block = "", list[str]()
    for line in [*page.split("\n"), "end"]:
        begins = line.startswith("    $ ") and block and not block[0].startswith("$ ")
        if not begins and (line.startswith("    ") or (block and not line)):
            block.append(line[4:])
        else:
            if block:
                while not block[-1]:
                    block.pop()
                yield above, block
                block = [line[4:]] if begins else []
            above = line or above


def read(page: str) -> tuple[dict[str, str], list[Command]]:
    """Give the files of a page, and the commands of its sessions."""
    files, commands = {}, []
    for above, block in blocks(page):
        named = re.fullmatch(r"`([\w./-]+)`:", above)
        if block[0].startswith("$ "):
            for line in block:
                if line.startswith("$ "):
                    commands.append(Command(line[2:], []))
                else:
                    commands[-1].output.append(line)
        elif named:
            files[named[1]] = "\n".join(block) + "\n"
    return files, commands


def pattern(lines: list[str]) -> str:
    """Make a regular expression of lines in which `…` stands for anything, alone on a line for any lines."""
    return "".join(
        r"(?:.*\n)*?" if line == "…" else ".*".join(map(re.escape, line.split("…"))) + r"\n" for line in lines
    )


def session(
    pybuild: Pybuild,
    place: Path,
    files: dict[str, str],
    commands: list[str],
    *,
    passwords: bool = False,
    user: OrdinaryUser | None = None,
    environ: dict[str, str] | None = None,
    before: str = "",
) -> str:
    """Run commands in a directory with these files, beside a registry, in a network of their own; what they print."""
    work, own = place / "page", place / "own"
    for directory in (work, own / "bin", own / "home"):
        directory.mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        (work / name).parent.mkdir(parents=True, exist_ok=True)
        (work / name).write_text(text)
    (own / "htpasswd").write_text(HTPASSWD)
    auth = f'auth: {{htpasswd: {{realm: r, path: "{own}/htpasswd"}}}}' if passwords else ""
    (own / "registry.yml").write_text(REGISTRY.format(directory=own, auth=auth))
    program = shlex.join(user.command if user else (PYBUILD,))
    (own / "bin" / "pybuild").write_text(f'#!/bin/sh\nexec {program} "$@"\n')
    (own / "bin" / "pybuild").chmod(0o755)
    environment = {
        **pybuild.environ(),
        "PATH": f"{own}/bin:/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin",
        "HOME": str(own / "home"),
        "COLUMNS": "120",
        **(environ or {}),
    }
    text = SESSION.format(directory=own, commands="\n".join(commands), before=before.format(directory=own))
    if user is not None:
        environment["PYBUILD_ROOT"] = str(own / "state")
        (own / "state").mkdir()
        os.chown(own / "state", user.uid, user.uid)
        text = text.replace("shopt", "pybuild bootstrap busybox >/dev/null\nshopt")
    return subprocess.run(
        ["unshare", "--net", "--mount", "bash", "-c", text],
        check=False,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        cwd=work,
        env=environment,
        timeout=200,
    ).stdout


def a_git_server(pybuild: Pybuild, own: Path) -> str:
    """Make a repository behind ssh, a key and an image with git; the commands that serve it."""
    repository, keys, image = own / "git/team/lib.git", own / "home/.ssh", own / "image"
    for directory in (repository, keys, image):
        directory.mkdir(parents=True)
    for path in (keys / "id_ed25519", own / "host_key"):
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", path], check=True)
    git(repository, "init", "-q")
    (repository / "README").write_text("a library\n")
    git(repository, "add", ".")
    git(repository, "commit", "-q", "-m", "one")
    (own / "sshd_config").write_text(SSHD.format(directory=own))
    known = Path("/etc/passwd").read_text()
    (own / "passwd").write_text(f"{known}git:*:0:0::{own}/git:/usr/bin/git-shell\n")
    (own / "hosts").write_text("127.0.0.1 localhost git.example.org\n")
    programs = ["/usr/bin/git", "/usr/bin/ssh"]
    libraries = subprocess.run(["ldd", *programs], check=True, capture_output=True, text=True).stdout
    for path in {*programs, *re.findall(r"(/\S+) \(", libraries)}:
        (image / path[1:]).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, image / path[1:])
    (image / "Buildfile").write_text("FROM busybox\nCOPY . /\n")
    pybuild.run("-q", "-t", "alpine/git", image)
    return SSH_SERVER


@pytest.mark.root
@pytest.mark.parametrize("page", sorted(path.stem for path in PAGES.glob("*.md")))
def test_a_page_is_true(busybox: Pybuild, tmp_path: Path, page: str, request: pytest.FixtureRequest) -> None:
    if not all(map(shutil.which, ("docker-registry", "unshare", "ip", "bash", "curl"))):
        pytest.skip("needs docker-registry, unshare, ip, bash and curl")
    files, commands = read((PAGES / f"{page}.md").read_text())
    lines = [f"{one.text}\necho '{_MARK.format(number=number)}'" for number, one in enumerate(commands)]
    user = request.getfixturevalue("ordinary_user") if page == "rootless" else None
    own, before = tmp_path / "own", ""
    (own / "bin").mkdir(parents=True)
    if page == "secrets":
        if shutil.which("sshd", path="/usr/sbin") is None:
            pytest.skip("needs sshd")
        before = a_git_server(busybox, own)
    if page == "devcontainers":
        program = shutil.which("devcontainer") or f"{sys.executable} {DEVCONTAINER_CLI}"
        (own / "bin/devcontainer").write_text(f'#!/bin/sh\nexec {program} "$@"\n')
        (own / "bin/devcontainer").chmod(0o755)
    environ = {"PYBUILD_PULL": "missing"} if page == "from-kaniko" else {}  # its base is in the store alone
    passwords = page == "private-registry"
    shown = session(busybox, tmp_path, files, lines, passwords=passwords, user=user, environ=environ, before=before)
    for number, one in enumerate(commands):
        printed, mark, shown = shown.partition(_MARK.format(number=number) + "\n")
        assert mark, (one.text, printed)
        assert re.fullmatch(pattern(one.output), printed), f"{one.text}\n{printed}"
    assert commands

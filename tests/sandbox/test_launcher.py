"""The program that starts commands below PRoot: what it is made of, and what it does by itself."""

from __future__ import annotations

import errno
import fcntl
import os
import platform
import shutil
import struct
import subprocess
from pathlib import Path

import pytest

from buildah_py.linux import process
from buildah_py.sandbox import launcher

SOURCES = Path(__file__).parent / "programs"


@pytest.mark.parametrize("machine", launcher.CODE)
def test_its_instructions_are_those_of_the_source(machine: str, tmp_path: Path) -> None:
    prefix = "" if machine == platform.machine() else f"{machine.replace('_', '-')}-linux-gnu-"
    if shutil.which(f"{prefix}as") is None:
        pytest.skip(f"needs {prefix}as")
    made = tmp_path / "made.o"
    subprocess.run([f"{prefix}as", SOURCES / f"launcher-{machine}.s", "-o", made], check=True)
    wanted = launcher.program(machine)[120:]
    assert len(wanted) > 100
    assert wanted in made.read_bytes()


def launch(tmp_path: Path, paths: list[str], argv: list[str], env: list[str]) -> tuple[list[int], int, str]:
    """Execute it in a child that is a subreaper; gives the words that it told, the command's status, and its output."""
    file = tmp_path / "launcher"
    file.write_bytes(launcher.program())
    file.chmod(0o755)
    told, tell = os.pipe()
    output, out = os.pipe()
    child = os.fork()
    if child == 0:
        process.set_child_subreaper(True)
        memory = os.memfd_create("request")
        os.write(memory, launcher.request(paths, argv, env))
        starter = os.fork()
        if starter == 0:
            os.dup2(out, 1)
            high = [fcntl.fcntl(one, fcntl.F_DUPFD, 100) for one in (tell, memory)]  # out of the way of the places
            for place, descriptor in zip((launcher.TOLD, launcher.ASKED), high, strict=True):
                os.dup2(descriptor, place)
            os.execv(file, [str(file)])
        statuses = dict(os.wait() for _ in range(2))
        assert statuses.pop(starter) == 0
        os._exit(os.waitstatus_to_exitcode(statuses.popitem()[1]) & 0xFF)
    os.close(tell)
    os.close(out)
    with open(told, "rb") as file_of_words, open(output, encoding="utf-8") as text:
        said = text.read()
        words = file_of_words.read()
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    return list(struct.unpack(f"={len(words) // 4}i", words)), status, said


def test_it_executes_the_first_that_can_be(tmp_path: Path) -> None:
    script = 'echo "$0" "$1" "$A" "$#"; ls /proc/self/fd | tr "\\n" " "; exit 7'
    argv, env = ["sh", "-c", script, "x y", ""], ["A=é =", "PATH=/bin:/usr/bin"]
    words, status, said = launch(tmp_path, ["/nowhere/sh", "/etc/passwd", "/bin/sh"], argv, env)
    assert status == 7
    assert said.splitlines()[0] == "x y  é = 1"
    assert "5" not in said.splitlines()[1].split()[:4]
    assert sorted(words)[:2] == sorted([-errno.ENOENT, -errno.EACCES])
    assert len([word for word in words if word > 0]) == 1


def test_it_tells_all_errors_where_none_can_be(tmp_path: Path) -> None:
    words, status, _ = launch(tmp_path, ["/nowhere", "/etc"], ["a"], [])
    assert status == 127
    assert sorted(word for word in words if word < 0) == sorted([-errno.ENOENT, -errno.EACCES])

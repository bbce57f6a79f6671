"""What shells complete: the scripts in bash, zsh and fish themselves."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from typing import TYPE_CHECKING

import pexpect
import pytest

from buildah_py.cli import main
from buildah_py.store.containers import create

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

TYPED = {
    "ima": "images",
    "manifest anno": "annotate",
    "build --targ": "--target",
    "build -t app:1 --target tw": "two",
    "build --target=tw": "--target=two",
    "--progress pl": "plain",
    "-t app:1 --targ": "--target",
    "shell --stage on": "one",
    "-f Build": "Buildfile",
    "help why-": "why-did-ci-miss",
    "exec -i we": "web",
    "logs -f we": "web",
    "stop other we": "web",
    "run -t app:1.": "app:1.2",
}
"""Words behind `pybuild`, and what the last one becomes."""
ABOUT = {"name": "web", "image": "busybox", "command": ["sh"], "labels": {}, "ports": [], "detached": True}
BROKEN = {
    "run app:1.": "app:1.2 ",
    "run localhost:5000/sv": "localhost:5000/svc:v1 ",
    "run localhost:5000/svc:": "localhost:5000/svc:v1 ",
    "build --file=Build": "--file=Buildfile ",
    "build --target=tw": "--target=two ",
    "build --push=false --targ": "--target ",
    "build --tag=app:1.2 --target=tw": "--target=two ",
    "build -t app:1.2 -o type=lo": "type=local ",
    "build -o type=local,de": "type=local,dest=",
    "build -o type=local,dest=bi": "type=local,dest=bin/",
    "build --output=type=oci,dest=Build": "--output=type=oci,dest=Buildfile ",
    "build --output type=oci,name=a:1,dest=Build": "type=oci,name=a:1,dest=Buildfile ",
    "build --cache-to=type=lo": "--cache-to=type=local ",
    "build --attest type=provenance,mo": "type=provenance,mode=",
    "build --secret id=tok,src=Build": "id=tok,src=Buildfile ",
    "build -o bi": "bin/",
    "history app:1.2 --form": "--format ",
}
"""Words that bash breaks where they have a `:` or a `=`, and what the whole word becomes; most end with the blank."""
BASHRC = r"""
. ./bash
bind 'set bell-style none' 'set enable-bracketed-paste off'
bind -x '"\C-t": printf "<<%s>>" "$READLINE_LINE"'
PS1='ready> '
"""
ZSHRC = """
fpath=($PWD/functions $fpath)
autoload -Uz compinit && compinit -u -D
complete-and-show() { zle complete-word; print -rn -- "<<$BUFFER>>"; BUFFER= }
zle -N complete-and-show
bindkey '^T' complete-and-show
PROMPT='ready> '
"""


def of_bash(place: Path, environ: dict[str, str], typed: Iterable[str]) -> dict[str, str]:
    """Give the last word, as bash writes it on its line when Tab is pressed."""
    words = ["--rcfile", ".bashrc", "-i"]
    shell = pexpect.spawn("bash", words, cwd=str(place), env=environ, encoding="utf-8", timeout=20)
    found = {}
    for line in typed:
        shell.expect_exact("ready> ")
        shell.send(f"pybuild {line}\t\x14")
        shell.expect(r"<<(.*?)>>")
        text = shell.match[1]
        last = text.rstrip(" ").rsplit(" ", 1)[-1]
        found[line] = last + text[len(text.rstrip(" ")) :]
        shell.send("\x15\r")
    shell.close(force=True)
    return found


def of_fish(place: Path, environ: dict[str, str], typed: str) -> str:
    """Give what fish offers for the last word."""
    command = ["fish", "-c", 'source ./fish; complete -C "pybuild $argv"', "--", *typed.split(" ")]
    found = subprocess.run(command, check=True, capture_output=True, text=True, cwd=place, env=environ).stdout
    return " ".join(line.split("\t")[0] for line in found.splitlines())


@pytest.fixture
def scripts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> dict[str, str]:
    """Write the scripts into a directory with a build file; the environment in which `pybuild` is this one."""
    for shell in ("bash", "zsh", "fish"):
        assert main(["completion", shell]) == 0
        (tmp_path / shell).write_text(capsys.readouterr().out)
    (tmp_path / "Buildfile").write_text("FROM scratch AS one\nFROM one AS two\nFROM two\n")
    (tmp_path / "functions").mkdir()
    (tmp_path / "zsh").rename(tmp_path / "functions/_pybuild")
    (tmp_path / ".zshrc").write_text(ZSHRC)
    (tmp_path / ".bashrc").write_text(BASHRC)
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin/pybuild").write_text(f'#!/bin/sh\nexec {sys.executable} -m buildah_py "$@"\n')
    (tmp_path / "bin/pybuild").chmod(0o755)
    (tmp_path / "Imagefile").write_text("FROM scratch\n")
    monkeypatch.setenv("PYBUILD_ROOT", str(tmp_path / "state"))
    names = ["--tag=app:1.2", "--tag=localhost:5000/svc:v1"]
    assert main(["build", "-q", f"--file={tmp_path}/Imagefile", *names, str(tmp_path / "functions")]) == 0
    capsys.readouterr()
    create(str(tmp_path / "state"), ABOUT).close(remove=False)
    own = {"HOME": str(tmp_path), "ZDOTDIR": str(tmp_path), "PYBUILD_ROOT": str(tmp_path / "state"), "TERM": "dumb"}
    return {
        **os.environ,
        **own,
        "PATH": f"{tmp_path}/bin:{os.environ['PATH']}",
        "PYTHONPATH": os.pathsep.join(sys.path),
    }


def test_bash(tmp_path: Path, scripts: dict[str, str]) -> None:
    assert of_bash(tmp_path, scripts, TYPED) == {typed: f"{word} " for typed, word in TYPED.items()}


def test_bash_breaks_words_and_they_are_put_together_again(tmp_path: Path, scripts: dict[str, str]) -> None:
    assert of_bash(tmp_path, scripts, BROKEN) == BROKEN


def test_bash_where_words_are_not_broken(tmp_path: Path, scripts: dict[str, str]) -> None:
    """People take `:`, `=` and `@` out of what breaks words."""
    with open(tmp_path / ".bashrc", "a", encoding="ascii") as file:
        file.write("COMP_WORDBREAKS=$' \\t\\n'\n")
    assert of_bash(tmp_path, scripts, BROKEN) == BROKEN


def test_fish(tmp_path: Path, scripts: dict[str, str]) -> None:
    if shutil.which("fish") is None:
        pytest.skip("needs fish")
    assert {typed: of_fish(tmp_path, scripts, typed) for typed in TYPED} == TYPED


def test_zsh(tmp_path: Path, scripts: dict[str, str]) -> None:
    if shutil.which("zsh") is None:
        pytest.skip("needs zsh")
    shell = pexpect.spawn("zsh", ["-i"], cwd=str(tmp_path), env=scripts, encoding="utf-8", timeout=20)
    found = {}
    for typed in TYPED:
        shell.expect_exact("ready> ")
        shell.send(f"pybuild {typed}\x14")
        shell.expect(r"<<(.*?)>>")
        found[typed] = shell.match[1].strip().split(" ")[-1].removesuffix("=")
        shell.send("\r")
    shell.close(force=True)
    assert found == TYPED


def test_a_shell_has_to_be_named(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["completion"]) == 2
    assert "there are bash, zsh, fish" in capsys.readouterr().err


def test_names_that_completion_asks_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "Buildfile").write_text("FROM scratch AS one\nFROM one AS two\nFROM two\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYBUILD_ROOT", str(tmp_path / "state"))
    assert main(["completion", "--list=stages"]) == 0
    assert capsys.readouterr().out == "one\ntwo\n"
    (tmp_path / "Buildfile").write_text("FORM\n")
    assert main(["completion", "--list=stages"]) == 0
    assert capsys.readouterr().out == ""

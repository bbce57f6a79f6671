from __future__ import annotations

from typing import TYPE_CHECKING

from buildah_py.linux.binfmt import Interpreter, find_interpreter

if TYPE_CHECKING:
    from pathlib import Path

ARM64 = "7f454c460201010000000000000000000200b700"
S390X = "7f454c4602020100000000000000000000020016"


def entry(directory: Path, name: str, magic: str, *, flags: str = "OCF", state: str = "enabled") -> None:
    text = f"{state}\ninterpreter /usr/bin/{name}-static\nflags: {flags}\noffset 0\nmagic {magic}\nmask ffff\n"
    (directory / name).write_text(text)


def test_interpreters(tmp_path: Path) -> None:
    assert find_interpreter("arm64", str(tmp_path / "missing")) is None
    (tmp_path / "status").write_text("enabled\n")
    entry(tmp_path, "python", "610d0d0a")
    entry(tmp_path, "qemu-aarch64", ARM64)
    entry(tmp_path, "qemu-s390x", S390X, flags="P")
    assert find_interpreter("arm64", str(tmp_path)) == Interpreter("/usr/bin/qemu-aarch64-static", fixed=True)
    assert find_interpreter("s390x", str(tmp_path)) == Interpreter("/usr/bin/qemu-s390x-static", fixed=False)
    assert find_interpreter("arm", str(tmp_path)) is None
    assert find_interpreter("sparc", str(tmp_path)) is None
    entry(tmp_path, "qemu-aarch64", ARM64, state="disabled")
    assert find_interpreter("arm64", str(tmp_path)) is None

"""Make a program in one file of a wheel: `python scripts/make_zipapp.py WHEEL PYZ`.

It holds what the wheel depends on, compiled modules for several Pythons on this machine's architecture, and
pyz_main.py, which starts it.
"""

import hashlib
import platform
import shutil
import subprocess
import sys
import tempfile
import zipapp
from pathlib import Path

VERSIONS = ("3.11", "3.12", "3.13", "3.14")
PLATFORMS = [f"--platform=manylinux{name}_{platform.machine()}" for name in ("2014", "_2_28")]


def main(wheel: str, target: str) -> None:
    """Write `target`."""
    with tempfile.TemporaryDirectory() as work:
        whole = Path(work, "whole")
        for version in VERSIONS:
            part = Path(work, version)
            pip = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-compile"]
            only = ["--only-binary=:all:", "--implementation=cp", f"--python-version={version}", *PLATFORMS]
            subprocess.run([*pip, *only, f"--target={part}", wheel], check=True)
            shutil.copytree(part, whole, dirs_exist_ok=True)
        shutil.rmtree(whole / "bin")
        start = Path(__file__).with_name("pyz_main.py")
        shutil.copy(start, whole)
        arguments = ", ".join(map(repr, (digest(whole), *VERSIONS)))
        (whole / "__main__.py").write_text(f"import sys\nfrom pyz_main import main\nsys.exit(main({arguments}))\n")
        zipapp.create_archive(whole, target, interpreter="/usr/bin/env python3", compressed=True)


def digest(directory: Path) -> str:
    """Digest the names and the content of all files."""
    found = hashlib.sha256()
    for path in sorted(path for path in directory.rglob("*") if path.is_file()):
        found.update(f"{path.relative_to(directory)}\0{path.stat().st_size}\0".encode() + path.read_bytes())
    return found.hexdigest()


if __name__ == "__main__":
    main(*sys.argv[1:])

"""What the end-to-end tests share: the installed command, driven as a person would."""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.warm import WarmCommand

if TYPE_CHECKING:
    from collections.abc import Iterator

PYBUILD = str(Path(sys.executable).with_name("pybuild"))
EXAMPLES = Path(__file__).resolve().parents[2] / "examples"


@dataclass
class Pybuild:
    """The command with a state directory of its own, and a directory for contexts."""

    root: Path
    work: Path
    command: tuple[str, ...] = (PYBUILD,)
    owner: int = 0
    warm: WarmCommand | None = None

    def environ(self) -> dict[str, str]:
        """Name the state directory; nothing else of ours."""
        return {**os.environ, "PYBUILD_ROOT": str(self.root)}

    def run(
        self, *arguments: object, status: int | None = 0, stdin: str | None = None, **environ: str
    ) -> subprocess.CompletedProcess[str]:
        """Run to the end; fails the test unless it ends with `status`, and without a traceback but for --debug."""
        words, environment = [*self.command, *map(str, arguments)], {**self.environ(), **environ}
        of_the_interpreter = any(name.startswith(("PYTHON", "LC_", "LANG")) for name in environ)
        if self.warm is not None and self.command == (PYBUILD,) and not of_the_interpreter:
            result = self.warm.run(words[1:], cwd=str(self.work), environ=environment, stdin=stdin, timeout=300)
        else:
            result = subprocess.run(
                words,
                check=False,
                capture_output=True,
                encoding="utf-8",
                errors="surrogateescape",
                input=stdin,
                stdin=subprocess.DEVNULL if stdin is None else None,
                env=environment,
                cwd=self.work,
                timeout=300,
            )
        assert "Traceback" not in result.stderr or "--debug" in arguments, result.stderr
        assert status is None or result.returncode == status, (result.returncode, result.stdout, result.stderr)
        return result

    def context(self, text: str, name: str = "context", **files: str | bytes) -> Path:
        """Write a context with a Buildfile; `a__b_txt` in `files` is the file a/b.txt."""
        directory = self.work / name
        directory.mkdir(exist_ok=True)
        (directory / "Buildfile").write_text(text)
        for key, content in files.items():
            path = directory / key.replace("__", "/").replace("_", ".")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content.encode() if isinstance(content, str) else content)
        return directory

    def build(self, context: Path, *options: object, status: int | None = 0, **environ: str) -> Built:
        """Build `context` as `test`."""
        result = self.run("--progress=plain", "-t", "test", *options, context, status=status, **environ)
        return Built(result.returncode, result.stderr)

    def sh(self, script: str, image: str = "test") -> str:
        """Give what a shell script prints in a container of the image, without network."""
        return self.run("run", "--network=none", "--entrypoint=", image, "/bin/sh", "-c", script).stdout


@dataclass
class Built:
    """How a build ended and what it showed."""

    status: int
    shown: str

    def outcomes(self) -> list[str]:
        """`HIT` or `RAN` for each step in the order of their ends, base images left out."""
        names = {}
        found = []
        for line in self.shown.splitlines():
            number, _, rest = line.partition(" ")
            if rest.startswith("["):
                names[number] = rest
            elif rest.startswith(("CACHED", "DONE ")) and "] FROM " not in names[number]:
                found.append("HIT" if rest.startswith("CACHED") else "RAN")
        return found


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Have a test that is marked so done twice: by root and by an ordinary user."""
    if "pybuild" in metafunc.fixturenames:
        users: list[object] = ["root"]
        if metafunc.definition.get_closest_marker("either_user"):
            users.append(pytest.param("user", marks=pytest.mark.userns))
        metafunc.parametrize("pybuild", users, indirect=True)


@contextmanager
def _open_directory(prefix: str) -> Iterator[Path]:
    """Give a directory that every user may enter.

    Below pytest's own that would last only until another run of the tests shuts that to all but its owner.
    """
    path = Path(tempfile.mkdtemp(prefix=prefix))
    path.chmod(0o755)
    try:
        yield path
    finally:
        # In a store of an ordinary user lie files of subordinate ids.
        enter = [] if os.geteuid() == 0 else ["unshare", "--map-root-user", "--map-auto"]
        subprocess.run([*enter, "rm", "-rf", path], check=True)


@pytest.fixture
def tmp_path() -> Iterator[Path]:
    """Give a directory that every user may enter."""
    with _open_directory("pybuild-") as path:
        yield path


@pytest.fixture(scope="session")
def warm() -> Iterator[WarmCommand]:
    """Give the command as root runs it, without what its start costs."""
    with WarmCommand(PYBUILD) as command:
        yield command


@pytest.fixture
def pybuild(tmp_path: Path, request: pytest.FixtureRequest) -> Pybuild:
    """Give an empty store, root's or an ordinary user's."""
    work, state = tmp_path / "work", tmp_path / "state"
    work.mkdir()
    if request.param == "root":
        return Pybuild(state, work, warm=request.getfixturevalue("warm"))
    user = request.getfixturevalue("ordinary_user")
    state.mkdir()
    for directory in (work, state):
        os.chown(directory, user.uid, user.uid)
    return Pybuild(state, work, user.command, user.uid)


@dataclass
class OrdinaryUser:
    """A user with subordinate ids, and how the command is run as that user."""

    name: str
    uid: int
    command: tuple[str, ...]


@pytest.fixture(scope="session")
def ordinary_user() -> Iterator[OrdinaryUser]:
    """Make a user, or skip where that cannot be, or where that user could not read the program."""
    if os.getuid() or shutil.which("useradd") is None or shutil.which("newuidmap") is None:
        pytest.skip("needs root to make a user, useradd and newuidmap")
    for left in pwd.getpwall():  # by runs that were killed
        if left.pw_name.startswith("pybuild-") and not os.path.exists(f"/proc/{left.pw_name[8:]}"):
            subprocess.run(["userdel", "--remove", left.pw_name], check=False, capture_output=True)
    name = f"pybuild-{os.getpid()}"
    subprocess.run(["useradd", "--create-home", name], check=True)
    try:
        uid = int(subprocess.run(["id", "-u", name], check=True, capture_output=True, text=True).stdout)
        as_user = ["setpriv", f"--reuid={uid}", f"--regid={uid}", "--clear-groups", "--inh-caps=-all"]
        source = str(Path(__file__).resolve().parents[2])
        packages = next(path for path in sys.path if path.endswith("site-packages"))
        python = [sys.executable, "/usr/bin/python3"]
        for candidate in python:
            environ = ["env", "-u", "XDG_DATA_HOME", f"HOME=/home/{name}", f"USER={name}"]
            environ.append(f"PYTHONPATH={source}:{packages}")
            command = [*as_user, *environ, candidate, "-P"]
            usable = [*command, "-c", "import buildah_py, isal.igzip, zstandard"]  # of this Python's version
            if subprocess.run(usable, check=False, capture_output=True, cwd="/").returncode == 0:
                yield OrdinaryUser(name, uid, (*command, "-m", "buildah_py"))
                return
        pytest.skip("an ordinary user can read no Python here that has what pybuild needs")
    finally:
        end = time.monotonic() + 10  # what looked after the last container may be about to end
        while subprocess.run(["pgrep", "-u", name], check=False, capture_output=True).returncode == 0:
            if time.monotonic() > end:
                break
            time.sleep(0.05)
        subprocess.run(["userdel", "--remove", name], check=True, capture_output=True)


@pytest.fixture(scope="session")
def stores() -> Iterator[Path]:
    """Give a directory for stores that are copied."""
    with _open_directory("pybuild-stores-") as path:
        yield path


@pytest.fixture
def busybox(pybuild: Pybuild, stores: Path) -> Pybuild:
    """Give a store with the base image busybox: a copy of the first one that a user made."""
    known = stores / str(pybuild.owner)
    if known.exists():
        subprocess.run(["cp", "-aT", known, pybuild.root], check=True)
    else:
        pybuild.run("bootstrap", "busybox")
        subprocess.run(["cp", "-aT", pybuild.root, known], check=True)
    return pybuild

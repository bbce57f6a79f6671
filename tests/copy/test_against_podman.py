"""COPY compared with podman's, file by file, on random trees.

Left out is where podman differs from the Dockerfile reference: it loses set-id bits, refuses patterns that match
nothing, replaces directories by files, and does not bring files back from below two excluded directories.
"""

from __future__ import annotations

import json
import os
import random
import shutil
import stat
import subprocess
import tempfile
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, NamedTuple

import pytest

from buildah_py.copy.select import select
from buildah_py.errors import PybuildError
from buildah_py.sources.find import find_ignore
from tests.copy.copybench import Bench

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from buildah_py.layers.view import MergedView

pytestmark = [
    pytest.mark.root,
    pytest.mark.slow,
    pytest.mark.skipif(shutil.which("podman") is None, reason="podman is not installed"),
]

NAMES = ("a", "b", "c.txt", "d.log", "e")
LINKS = ("a", "b", "../a", "/a", "b/a", "nowhere", "..", "c.txt")
IGNORED = ("src/a", "**/d.log", "!src/a/b", "*/b", "src/*.txt", "src/**/e", "src/?", "!src/e/*")
SOURCES = ("src", "src/", "src/*", "src/[a-c]*", "src/../src/?", "/src/*.*", "./src/.")
DESTINATIONS = ("/dst", "/dst/", "/a", "/a/", "/b/x", "/b/x/", "/e/", "/", "/a/b", "/new/deep/dir/", "/c.txt")

Files = dict[str, tuple[object, ...]]


@pytest.fixture(scope="module")
def podman() -> Iterator[list[str]]:
    with tempfile.TemporaryDirectory(prefix="pod") as state:  # podman asks for a short path
        command = ["podman", "--root", f"{state}/root", "--runroot", f"{state}/run", "--storage-driver", "vfs"]
        yield [*command, "--log-level", "error"]
        subprocess.run([*command, "rmi", "-af"], capture_output=True, check=True)


def grow(chance: random.Random, root: Path, depth: int) -> None:
    root.mkdir(parents=True)
    for name in chance.sample(NAMES, chance.randint(1, 4)):
        kind = chance.random()
        if kind < 0.45 or depth == 0:
            (root / name).write_text(name * chance.randint(1, 5))
            (root / name).chmod(chance.choice([0o644, 0o755, 0o600]))
        elif kind < 0.82:
            grow(chance, root / name, depth - 1)
            (root / name).chmod(chance.choice([0o755, 0o700, 0o750]))
        else:
            (root / name).symlink_to(chance.choice(LINKS))


def seen_in(root: str) -> Files:
    found: Files = {}
    for folder, folders, files in os.walk(root):
        for name in folders + files:
            path = os.path.join(folder, name)
            status = os.lstat(path)
            if stat.S_ISLNK(status.st_mode):
                what: tuple[object, ...] = ("symlink", os.readlink(path))
            elif stat.S_ISDIR(status.st_mode):
                what = ("dir", stat.S_IMODE(status.st_mode), status.st_uid, status.st_gid)
            else:
                with open(path, "rb") as file:
                    what = ("file", stat.S_IMODE(status.st_mode), status.st_uid, status.st_gid, file.read())
            found[os.path.relpath(path, root)] = what
    return found


def seen_in_view(view: MergedView) -> Files:
    found: Files = {}
    todo = [""]
    while todo:
        folder = todo.pop()
        for name in view.names(folder):
            path = f"{folder}/{name}" if folder else name
            entry = view.entry(path)
            assert entry is not None
            if entry.kind == "symlink":
                found[path] = ("symlink", entry.link)
            elif entry.kind == "dir":
                found[path] = ("dir", entry.mode, entry.uid, entry.gid)
                todo.append(path)
            else:
                with open(view.open(path), "rb") as file:
                    found[path] = ("file", entry.mode, entry.uid, entry.gid, file.read())
    return found


def built_by(podman: list[str], context: Path, lines: list[str]) -> Files | None:
    file, out = str(context.parent / "Dockerfile"), str(context.parent / "out")
    (context.parent / "Dockerfile").write_text("\n".join(["FROM scratch", *lines]))
    command = ["build", "--isolation", "chroot", "-q", "--layers=false", "-f", file, "-o", f"type=local,dest={out}"]
    done = subprocess.run([*podman, *command, str(context)], capture_output=True, check=False)
    return seen_in(out) if done.returncode == 0 else None


class Case(NamedTuple):
    """What is copied where, out of a context that is there."""

    context: Path
    sources: list[str]
    destination: str
    owner: tuple[int, int] | None

    @property
    def lines(self) -> list[str]:
        chown = "--chown=12:34 " if self.owner else ""
        return ['COPY ["base/", "/"]', f"COPY {chown}{json.dumps([*self.sources, self.destination])}"]


def make_case(seed: int, place: Path) -> Case:
    chance = random.Random(seed)
    context = place / "context"
    grow(chance, context / "src", 2)
    grow(chance, context / "base", 2)
    if chance.random() < 0.5:
        lines = [chance.choice(IGNORED) for _ in range(chance.randint(1, 4))]
        (context / ".dockerignore").write_text("\n".join(lines))
    inside = [f"src/{name}" for name in sorted(os.listdir(context / "src"))]
    sources = chance.choice([[source] for source in (*SOURCES, *inside)] + [inside[:2]])
    return Case(context, sources, chance.choice(DESTINATIONS), (12, 34) if chance.random() < 0.2 else None)


def test_copies_are_the_same(podman: list[str], tmp_path: Path) -> None:
    cases = [make_case(seed, tmp_path / str(seed)) for seed in range(20)]
    with ThreadPoolExecutor(4) as pool:  # podman mostly waits for the disk
        built = list(pool.map(lambda case: built_by(podman, case.context, case.lines), cases))
    compared = 0
    for seed, (case, theirs) in enumerate(zip(cases, built, strict=True)):
        with Bench(case.context.parent) as bench:
            context = bench.open()
            context.ignore = find_ignore(str(case.context))
            try:
                bench.copy(select(context, ["base/"]), "/")
                bench.copy(select(context, case.sources), case.destination, chown=case.owner)
            except PybuildError:
                continue
            if theirs is not None:
                compared += 1
                assert seen_in_view(bench.view()) == theirs, f"seed {seed}: {case.lines}"
    assert compared > 8

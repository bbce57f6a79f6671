"""Answers about the layers below that were remembered are those that a look gives."""

from __future__ import annotations

import os
import random
import shutil
import stat
from typing import TYPE_CHECKING

import pytest

from buildah_py.sandbox.below import Below, RememberedAnswers
from buildah_py.sandbox.initlayer import locate
from buildah_py.sandbox.overlay import overlay
from buildah_py.sandbox.root import Root

if TYPE_CHECKING:
    from pathlib import Path

    from buildah_py.sandbox.below import Lower

pytestmark = pytest.mark.root

_TARGETS = ["/proc", "/etc/hosts", "/run/lock/file", "/var/run/x", "/srv"]
_PLACES = ["etc", "etc/hosts", "proc", "run", "run/lock", "var", "var/run", "srv", "other", "other/etc"]


def _layer(place: Path, chance: random.Random) -> None:
    """Make a layer of a few directories, files, links, whiteouts and opaque directories."""
    place.mkdir()
    place.chmod(chance.choice([0o755, 0o750]))
    if chance.random() < 0.2:
        os.setxattr(place, "user.of", chance.randbytes(3))
    for name in chance.sample(_PLACES, chance.randrange(3)):
        path = place / name
        if path.parent.is_symlink() or not (path.parent.is_dir() or not path.parent.exists()):
            continue
        path.parent.mkdir(parents=True, exist_ok=True)
        if os.path.lexists(path):
            continue
        kind = chance.randrange(5)
        if kind == 0:
            os.mknod(path, stat.S_IFCHR, 0)
        elif kind == 1:
            path.symlink_to(chance.choice(["/srv", "../etc", "nowhere", "/other"]))
        elif kind == 2:
            path.write_text(name)
        else:
            path.mkdir()
            os.chown(path, chance.randrange(3), 0)
            if kind == 3:
                os.setxattr(path, "trusted.overlay.opaque", b"y")


def _looked(below: Below) -> tuple[list[object], dict[str, Lower | None]]:
    """Locate all targets; gives where they are, and the answers but for times of access."""
    found: list[object] = [below.look("")]
    for target in _TARGETS:
        try:
            found.append(locate(below, target))
        except OSError as error:
            found.append(error.errno)
    below.close()
    answers: dict[str, Lower | None] = {}
    for path, answer in below.answers.items():
        answers[path] = answer and (*answer[:3], (0, answer[3][1]), *answer[4:])
    return found, answers


def test_remembered_answers(tmp_path: Path) -> None:
    root = Root((), scratch=str(tmp_path), unprivileged=False, devices=False)
    spared = 0
    for seed in range(25):
        chance = random.Random(seed)
        remembered = RememberedAnswers()
        lowers: tuple[str, ...] = ()
        work = tmp_path / str(seed)
        work.mkdir()
        for number in range(7):
            mounts: list[int] = []

            def mount(chain: tuple[str, ...], mounts: list[int] = mounts) -> int:
                mounts.append(len(chain))
                return overlay(chain, "", "", root, anchor=str(work))  # noqa: B023 (called within the round)

            fresh = Below(lowers, lambda: mount(lowers), {})  # noqa: B023
            wanted = _looked(fresh)
            mounts.clear()
            known = Below(lowers, lambda: mount(lowers), remembered.known(lowers))  # noqa: B023
            assert _looked(known) == wanted, (seed, lowers)
            spared += bool(lowers) and not mounts
            remembered.keep(lowers, known.answers)
            _layer(work / str(number), chance)
            lowers = (str(work / str(number)), *lowers)
        shutil.rmtree(work)
    assert spared > 40

"""What `prune` takes and what it leaves, held to a slow obvious model: the build files of the names that there are."""

from __future__ import annotations

import json
import os
import random
import subprocess
from dataclasses import replace
from hashlib import sha256
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from pathlib import Path

    from tests.end_to_end.conftest import Pybuild

NAMES = ("a", "b", "c")


def build_file(draw: random.Random) -> str:
    """Write a build file of a few stages, whose steps each make what no other step makes, but for /const."""
    lines: list[str] = []
    for stage in range(draw.randint(1, 3)):
        base = draw.choice(["busybox", *(f"s{one}" for one in range(stage))])
        lines += [f"FROM {base} AS s{stage}", "COPY const /const"]
        for step in range(draw.randint(0, 2)):
            own = sha256(f"{draw.randrange(3)} {lines}".encode()).hexdigest()[:12]
            made = f"echo {own} > /{stage}-{step}"
            other = f"s{draw.randrange(stage)}" if stage else "busybox"
            lines.append(
                draw.choice(
                    [
                        f"RUN {made}",
                        f"COPY --from={other} /bin/busybox /{own}",
                        f"RUN --mount=type=cache,id=c{own[0]},target=/c echo {own} >> /c/log; {made}",
                        f"RUN --mount=from={other},target=/m test -d /m/bin; {made}",
                        f"WORKDIR /{own}",
                    ]
                )
            )
    if draw.random() < 0.4:  # images that are the same whatever the stage before holds
        lines += ["FROM busybox", f"COPY --from=s{stage} /const /y"]
    return "\n".join(lines) + "\n"


class World:
    """A store, and of each name the build file whose image it is."""

    def __init__(self, pybuild: Pybuild) -> None:
        self.pybuild = pybuild
        self.texts: dict[str, str] = {}

    def build(self, name: str, text: str) -> list[str]:
        context = self.pybuild.context(text, const="const\n")
        os.utime(context / "const", (1e9, 1e9))
        events = self.pybuild.run("--progress=json", "-t", name, context).stderr.splitlines()
        return [one["outcome"] for one in map(json.loads, events) if one["event"] == "step-done"]

    def act(self, draw: random.Random) -> None:
        name = draw.choice(NAMES)
        match draw.choice(["build", "build", "tag", "rmi", "untagged"]) if self.texts else "build":
            case "build":
                self.texts[name] = build_file(draw)
                self.build(name, self.texts[name])
            case "untagged":
                self.build("gone", build_file(draw))
                self.pybuild.run("rmi", "gone")
            case "tag":
                source = draw.choice(sorted(self.texts))
                self.pybuild.run("tag", source, name)
                self.texts[name] = self.texts[source]
            case "rmi":
                del self.texts[(gone := draw.choice(sorted(self.texts)))]
                self.pybuild.run("rmi", gone)

    def prune(self, *options: str) -> dict[str, Any]:
        before = _disk(self.pybuild.root)
        would = json.loads(self.pybuild.run("prune", "--format=json", "--dry-run", *options).stdout)
        assert abs(_disk(self.pybuild.root) - before) < 100_000, "a dry run removes nothing"
        done: dict[str, Any] = json.loads(self.pybuild.run("prune", "--format=json", *options).stdout)
        assert {**done, "used": 0, "freed": 0} == {**would, "used": 0, "freed": 0}, "what it says is what it does"
        freed = before - _disk(self.pybuild.root)
        for told in (would["freed"], done["freed"]):
            assert abs(told - freed) < 20_000 + 16_384 * done["layers"], (told, freed)
        return done

    def check(self) -> None:
        """Everything that has a name is built again of hits alone, and nothing else is there."""
        kept = set(os.listdir(self.pybuild.root / "layers"))
        mounts = {one["id"] for one in json.loads(self.pybuild.run("du", "--format=json").stdout)["cache_mounts"]}
        for name, text in self.texts.items():
            outcomes = self.build(name, text)
            assert set(outcomes) <= {"hit"}, (name, text)
        assert set(os.listdir(self.pybuild.root / "layers")) == kept
        assert mounts <= {f"c{part[0]}" for text in self.texts.values() for part in text.split("id=c")[1:]}
        images = json.loads(self.pybuild.run("images", "--format=json").stdout)
        assert {one["repository"] for one in images} == {"busybox", *self.texts}


def _disk(path: Path) -> int:
    found = subprocess.run(["du", "-s", "--block-size=1", path], check=True, capture_output=True, text=True)
    return int(found.stdout.split()[0])


@pytest.mark.parametrize("seed", [5, 11])
def test_prune_leaves_what_named_builds_need_and_nothing_else(busybox: Pybuild, seed: int) -> None:
    draw = random.Random(seed)
    fresh = replace(busybox, root=busybox.root.with_name("fresh"))
    subprocess.run(["cp", "-a", busybox.root, fresh.root], check=True)
    world = World(busybox)
    for _ in range(3):
        for _ in range(draw.randint(2, 4)):
            world.act(draw)
        world.prune()
        world.check()
    other = World(fresh)
    for name, text in world.texts.items():
        other.build(name, text)
    assert len(os.listdir(busybox.root / "layers")) == len(os.listdir(fresh.root / "layers"))


def test_builder_prune_takes_no_image(busybox: Pybuild) -> None:
    """As docker's: with --all the cache that named builds need too, without it what none needs; image prune neither."""
    text = "FROM busybox AS b\nRUN echo 1 >/x\nFROM busybox\nCOPY --from=b /x /y\n"
    world = World(busybox)
    world.build("kept", text)
    world.build("gone", text.replace("1", "2"))
    busybox.run("rmi", "gone")
    world.build("lost", text.replace("1", "3"))
    world.build("lost", text.replace("1", "4"))
    busybox.run("image", "prune", "--force")
    assert json.loads(busybox.run("builder", "prune", "--dry-run", "--format=json").stdout)["layers"] == 4
    busybox.run("buildx", "prune", "--force")
    assert world.build("kept", text) == world.build("lost", text.replace("1", "4")) == ["hit"] * 3
    done = json.loads(busybox.run("builder", "prune", "-af", "--format=json").stdout)
    assert (done["images"], done["layers"]) == ([], 2), "the stages"
    assert world.build("kept", text) == ["hit", "ran", "hit"]
    busybox.run("run", "--network=none", "lost", "cat", "/y")
    assert "not allowed with" in busybox.run("builder", "prune", "--images", status=2).stderr

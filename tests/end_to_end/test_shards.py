"""`pybuild bake --shards` and `--shard-plan`: what several runners build, each with a store of its own."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from .conftest import EXAMPLES
from .test_bake import write
from .test_cluster import local

if TYPE_CHECKING:
    from pathlib import Path

    from .conftest import Pybuild

pytestmark = pytest.mark.root

BAKE = """\
group "default" { targets = ["app", "long", "after"] }
target "base" { dockerfile-inline = "FROM busybox\\nRUN echo base >/base" }
target "app" {
  name = "app-${n}"
  matrix = { n = ["1", "2", "3"] }
  contexts = { base = "target:base" }
  tags = ["app:${n}"]
  dockerfile-inline = "FROM base\\nRUN echo app ${n} >/app"
}
target "long" {
  tags = ["long"]
  dockerfile-inline = "FROM busybox\\nRUN sleep 0.7 && echo long >/app"
}
target "after" {
  tags = ["after"]
  dockerfile-inline = "FROM busybox\\nRUN echo after >/app"
}
"""


def names(pybuild: Pybuild) -> set[str]:
    """Give the names of the images in a store."""
    listed = pybuild.run("images", "--format={{.Repository}}:{{.Tag}}").stdout.split()
    return {name.removesuffix(":latest") for name in listed} - {"busybox"}


def test_shares_together_are_the_bake(busybox: Pybuild, stores: Path) -> None:
    write(busybox, BAKE)
    busybox.run("bake", "--no-cache")
    printed = busybox.run("bake", "--shard-plan=2", "--durations=history", "--jobs=1").stdout
    (busybox.work / "plan.json").write_text(printed)
    plan = json.loads(printed)
    assert plan["seconds"] <= plan["bound"]
    assert next(one for one in plan["shares"] if "long" in one["targets"])["targets"] == ["long"], "history knows it"
    seen: list[str] = []
    for number, share in enumerate(plan["shares"], 1):
        runner = local(busybox, stores, f"runner{number}")
        done = runner.run("bake", f"--shards={number}/2", "--durations=plan.json", "--jobs=1", "--metadata-file=m.json")
        made = list(json.loads((busybox.work / "m.json").read_text()))
        assert sorted(made) == share["targets"], done.stderr
        expected = {f"app:{one[-1]}" if one.startswith("app") else one for one in made}
        assert names(runner) == expected
        name = min(expected)
        assert runner.sh("cat /app", name) == f"{name.replace(':', ' ')}\n"
        seen += made
    assert sorted(seen) == ["after", "app-1", "app-2", "app-3", "long"]
    # Without durations no store matters.
    guessed = busybox.run("bake", "--shard-plan=3").stdout
    assert local(busybox, stores, "empty").run("bake", "--shard-plan=3").stdout == guessed
    assert json.loads(guessed)["durations"] == []


def test_shares_that_cannot_be(busybox: Pybuild) -> None:
    write(busybox, BAKE)
    done = busybox.run("bake", "--shards=9/9", "--metadata-file=m.json")
    assert done.stderr == "pybuild: share 9/9 has no target\n"
    assert json.loads((busybox.work / "m.json").read_text()) == {}
    plan = json.loads(busybox.run("bake", "--shard-plan=9").stdout)
    assert len(plan["shares"]) == 9
    assert len(plan["matrix"]["include"]) == 5
    for words, says in (
        (["--shards=0/3"], "--shards 0/3: not one of a number of shares"),
        (["--shards=4/3"], "write N/M, such as 1/4"),
        (["--shards=x"], "--shards x"),
        (["--shard-plan=no"], "--shard-plan no: not a number of shares"),
        (["--shard-plan=2", "--shards=1/2"], "give one of both"),
        (["--durations=history"], "add --shards=N/M or --shard-plan=M"),
        (["--shards=1/2", "--durations=none.json"], "--durations none.json: it cannot be read"),
        (["--shards=1/2", "--durations=docker-bake.hcl"], "is not a file of durations"),
    ):
        assert says in busybox.run("bake", *words, status=None).stderr, words


def test_the_forty_images_are_shared_out_near_the_least(busybox: Pybuild) -> None:
    file = EXAMPLES / "monorepo/docker-bake.hcl"
    busybox.work = file.parent
    plan = json.loads(busybox.run("bake", "--shard-plan=4").stdout)
    assert len([name for share in plan["shares"] for name in share["targets"]]) == 40
    assert plan["seconds"] < 1.3 * plan["least"] + max(share["longest_path"] for share in plan["shares"])

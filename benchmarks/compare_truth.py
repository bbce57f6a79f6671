#!/usr/bin/env python3
"""Build random build files, as tests/truth makes them, with pybuild and another builder, and compare the images.

    benchmarks/compare_truth.py --builder docker [--builds 500] [--seed 0] [--json FILE]
    benchmarks/compare_truth.py --builder 'podman --root DIR' --options=--isolation=chroot --skip 'link|parents|exclude'

The builder is `docker`, `podman` or `buildah`, perhaps with options of its own. Nothing is cached on
either side. Compared are the files (kinds, content, modes, owners, attributes, hard links, times that were set on
purpose), the config, and whether a build fails. Needs root, and busybox-static. Exits with 1 where something differs.
"""

from __future__ import annotations

import argparse
import json
import re
import shlex
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import seed as seeded

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from buildah_py.layers.entry import SYMLINK
from tests.truth.histories import History, histories
from tests.truth.images import LATER, Failure, Image, Outcome, compare, merged, read_archive
from tests.truth.inputs import Build, source
from tests.truth.projects import Mounted, render
from tests.truth.world import World

if TYPE_CHECKING:
    from collections.abc import Sequence

    from buildah_py.layers.entry import Entry

# Known differences, with the reason: (builders, what the lines of the report say, reason).
KNOWN = (
    ("podman|buildah", r"^/\S+ names: ", "a file that is touched without effect is a file of its own there"),
    ("docker|podman|buildah", r"^/\S+ mtime: \d+ \| later", "a COPY changes its directory's time there"),
    ("podman|buildah", r"^config Labels", "buildah writes its version into a label"),
    ("podman|buildah", r"^config (Shell|Volumes|OnBuild)", "forms of OCI images do without"),
    ("podman|buildah", r"^/(etc|run|dev|proc|sys)( |/|:)", "buildah leaves stubs of what it mounts"),
)
CONFIG = ("Env", "Cmd", "Entrypoint", "Labels", "WorkingDir", "User", "Volumes", "OnBuild", "Shell")


class Other(NamedTuple):
    """Another builder: its command, and a directory for its archives."""

    command: list[str]
    options: list[str]
    work: Path

    @property
    def name(self) -> str:
        """The program."""
        return Path(self.command[0]).name

    def load(self, archive: Path, name: str) -> None:
        """Take a base image."""
        where = f"docker-archive:{archive}"
        arguments = ["pull", where] if self.name == "buildah" else ["load", "-i", str(archive)]
        said = self._run(*arguments).stdout.split()
        loaded = said[-1].removeprefix("localhost/") if said else name
        if loaded != f"{name}:latest":
            self._run("tag", said[-1], name)

    def build(self, what: Build, context: Path) -> Outcome:
        """Build without a cache, and read the image."""
        archive = self.work / "other.tar"
        archive.unlink(missing_ok=True)
        if what.base:
            failed = self._build(what.base, "onb", context)
            if failed:
                return failed
        failed = self._build(
            what.text, "it", context, *[f"--build-arg={key}={value}" for key, value in what.args.items()]
        )
        if failed:
            return failed
        if self.name == "buildah":
            self._run("push", "it", f"oci-archive:{archive}")
        else:
            self._run("save", *(["--format=oci-archive"] if self.name == "podman" else []), "-o", str(archive), "it")
        return read_archive(str(archive), 0)

    def _build(self, text: str, name: str, context: Path, *options: str) -> Failure | None:
        file = self.work / "Dockerfile"
        file.write_text(text)
        arguments = [
            "build",
            "--no-cache",
            "--network=none",
            *self.options,
            *options,
            "-t",
            name,
            "-f",
            str(file),
            str(context),
        ]
        done = self._run(*arguments, check=False)
        return Failure((done.stderr or done.stdout)[-600:], fault=False) if done.returncode else None

    def _run(self, *arguments: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [*self.command, *arguments], check=check, capture_output=True, text=True, errors="replace"
        )


def differences(mine: Outcome, theirs: Outcome, bottom: Sequence[Entry], builder: str) -> list[str]:
    """Say in what the images differ, but for what is known."""
    if isinstance(mine, Failure) or isinstance(theirs, Failure):
        if isinstance(mine, Failure) and isinstance(theirs, Failure):
            return []
        said = mine if isinstance(mine, Failure) else theirs
        assert isinstance(said, Failure)
        return [f"{'fails | fine' if said is mine else 'fine | fails'}: {said.error.strip()}"]
    one, other = mine.config.get("config", {}), theirs.config.get("config", {})
    lines = [
        f"config {key}: {one.get(key)} | {other.get(key)}"
        for key in CONFIG
        if (one.get(key) or None) != (other.get(key) or None)
    ]
    lines += compare(files_of(mine, bottom), files_of(theirs, ()))
    return [
        line for line in lines if not any(re.match(who, builder) and re.search(text, line) for who, text, _ in KNOWN)
    ]


def files_of(image: Image, bottom: Sequence[Entry]) -> Any:
    """Give the file system without what says nothing: modes of symbolic links, the root, times that are arbitrary."""
    return {
        path: (entry._replace(mtime=min(entry.mtime, LATER), mode=0 if entry.kind == SYMLINK else entry.mode), names)
        for path, (entry, names) in merged(bottom, image).items()
        if path
    }


def main() -> int:
    """Compare."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--builder", required=True)
    parser.add_argument("--builds", type=int, default=100)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--options", default="--network=none", help="of its build command; default: %(default)s")
    parser.add_argument("--skip", metavar="REGEX", default="$^", help="leave out build files in which this is found")
    parser.add_argument("--json", type=Path, help="write all that differs to this file")
    options = parser.parse_args()
    report: list[dict[str, Any]] = []
    count = 0
    with tempfile.TemporaryDirectory() as directory, World() as world:
        other = Other(shlex.split(options.builder), shlex.split(options.options), Path(directory))
        other.load(world.export("base", other.work), "base")

        def one(history: History) -> None:
            nonlocal count
            what = render(history.project, Mounted())
            if re.search(options.skip, what.text + what.base):
                return
            count += 1
            what = what._replace(text=re.sub(r"(?<=type=cache,id=)", f"n{count}-", what.text))
            mine = world.fresh(what)
            found = differences(mine, other.build(what, world.context), world.bottom, other.name)
            if found:
                report.append({"history": source((what,)), "differs": found})
                print(f"{source((what,))}\n   " + "\n   ".join(found[:8]), flush=True)

        chosen = settings(
            max_examples=options.builds,
            database=None,
            deadline=None,
            phases=(Phase.generate,),
            suppress_health_check=tuple(HealthCheck),
        )
        seeded(options.seed)(chosen(given(histories(1))(one)))()
    print(f"{count} builds, {len(report)} differ from {other.name}")
    if options.json:
        options.json.write_text(json.dumps(report, indent=1))
    return 1 if report else 0


if __name__ == "__main__":
    sys.exit(main())

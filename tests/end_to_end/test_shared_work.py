"""Builders that share their steps: three machines with S3 between them, of which one is killed, or all are cut off."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import tarfile
import time
from collections import Counter
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

import buildah_py as pybuild_library
from tests import actions_server, s3_server
from tests.fleet import Run, executions, fleet
from tests.registry_server import serving

from .conftest import EXAMPLES, PYBUILD, Pybuild

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from tests.fleet import Fleet

pytestmark = pytest.mark.root
IMAGES = "service-go-*"
RUNS = 1 + 1 + 3 + 9 * 2
STEPS = RUNS + 1 + 3 + 9 * 2
"""The commands and all steps of these images."""


@pytest.fixture
def machines(busybox: Pybuild, tmp_path: Path) -> Iterator[Fleet]:
    """Give three machines with the same base image."""
    if shutil.which("ip") is None or shutil.which("nsenter") is None:
        pytest.skip("needs ip and nsenter")
    shutil.copytree(EXAMPLES / "monorepo", busybox.work, dirs_exist_ok=True)
    with fleet(tmp_path, busybox.root) as made:
        yield made


def _start(machines: Fleet, work: Path, *options: object, ttl: str) -> list[Run]:
    share = f"--share={machines.share},claim-ttl={ttl}"
    words = ["bake", "--progress=json", "--set=*.network=none", share, *options]
    return [one.start(work, *words) for one in machines.machines]


def _end(runs: Sequence[Run]) -> None:
    for run in runs:
        assert run.end() == 0, (run.rest, run.events[-3:])


def _manifest(path: Path) -> str:
    with tarfile.open(path) as archive:
        file = archive.extractfile("index.json")
        assert file is not None
        return str(json.load(file)["manifests"][0]["digest"])


def test_three_machines_do_each_step_once_though_the_network_is_cut(
    machines: Fleet, busybox: Pybuild, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PAUSE", "0.3")
    runs = _start(machines, busybox.work, IMAGES, "--jobs=3", ttl="15s")
    runs[0].wait_for("step-done", outcome="ran")
    machines.cut()
    subprocess.run(["sleep", "1"], check=True)  # they are cut off that long
    machines.mend()
    _end(runs)
    found = executions(runs, "")
    assert len(found) == STEPS
    assert found.total() - len(found) <= 0.02 * len(found), [step for step, count in found.items() if count > 1]
    assert executions(runs, "RUN").total() == RUNS
    assert len([run for run in runs if executions([run], "RUN")]) == 3, "each has done its part"
    made = [[event["image"] for event in run.events if event["event"] == "build-done"] for run in runs]
    assert made[0] == made[1] == made[2]
    # Whoever comes later finds all of it: where it was built, and where nothing was.
    machine = machines.machines[0]
    shutil.rmtree(machines.machines[1].root)
    subprocess.run(["cp", "-aT", busybox.root, machines.machines[1].root], check=True)
    for machine in machines.machines[:2]:
        words = ["bake", "--progress=json", "--set=*.network=none", f"--share={machines.share}", IMAGES]
        again = machine.start(busybox.work, *words)
        assert again.end() == 0
        assert Counter(again.steps().values()) == {"hit": STEPS}
        assert [event["image"] for event in again.events if event["event"] == "build-done"] == made[0]


def test_a_machine_that_is_killed_costs_what_it_was_doing(
    machines: Fleet, busybox: Pybuild, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PAUSE", "0.3")
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1000000000")
    words = ["bake", "--set=*.network=none", "service-go-web-*"]
    output = "--set=service-go-web-api.output=type=oci,rewrite-timestamp=true,dest="
    runs = [
        one.start(
            busybox.work,
            *words,
            "--progress=json",
            f"--share={machines.share},claim-ttl=2s",
            f"{output}{one.number}.tar",
        )
        for one in machines.machines
    ]
    runs[0].wait_for("step-started", stage="runtime-go")
    runs[1].kill()
    living = [runs[0], runs[2]]
    _end(living)
    assert executions(living, "RUN").total() <= 1 + 1 + 1 + 3 * 2
    busybox.run(*words, f"{output}local.tar", PAUSE="0.3", SOURCE_DATE_EPOCH="1000000000")
    assert len({_manifest(busybox.work / f"{name}.tar") for name in (1, 3, "local")}) == 1


STAGES = """\
FROM busybox AS tools
WORKDIR /out
RUN echo made >made
FROM busybox
COPY --from=tools /out /out
COPY file /file
RUN --mount=type=cache,target=/c,sharing=locked cat /out/made /file >/all
"""


@contextmanager
def _place(kind: str, tmp_path: Path) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """Give a place: how it is shared, how it is read, and what the environment says."""
    if kind == "local":
        yield f"type=local,dest={tmp_path}/cache", f"type=local,src={tmp_path}/cache", {}
    elif kind == "registry":
        with serving(tmp_path / "registry") as registry:
            yield f"{registry.host}/app:cache", f"{registry.host}/app:cache", {}
    elif kind == "s3":
        with s3_server.serve() as bucket:
            yield bucket.spec, bucket.spec, bucket.environ()
    elif kind == "reapi":
        pytest.importorskip("grpc")
        from tests import reapi_server

        with reapi_server.serve() as server:
            yield server.spec, server.spec, {}
    else:
        with actions_server.serve() as actions:
            yield "type=gha", "type=gha", actions.environ()


def _another(busybox: Pybuild, tmp_path: Path, name: str) -> Pybuild:
    shutil.copytree(busybox.root, tmp_path / name, symlinks=True)
    return replace(busybox, root=tmp_path / name)


@pytest.mark.parametrize("kind", ["local", "registry", "s3", "gha", "reapi"])
def test_what_one_has_done_is_there_for_others(busybox: Pybuild, tmp_path: Path, kind: str) -> None:
    others = [_another(busybox, tmp_path, name) for name in ("second", "third")]
    context = busybox.context(STAGES, file=b"of the context\n")
    with _place(kind, tmp_path) as (share, from_, environ):
        built = busybox.build(context, "--no-cache", f"--share={share}", **environ)
        assert built.outcomes() == ["RAN"] * 5
        for other, option in zip(others, (f"--share={share}", f"--cache-from={from_}"), strict=True):
            again = other.build(context, option, **environ)
            assert again.outcomes() == ["HIT"] * 5, again.shown
        form = "--format={{.Id}}"
        assert busybox.run("inspect", form, "test").stdout == others[0].run("inspect", form, "test").stdout
        done = others[0].run("run", "--network=none", "test", "cat", "/all", **environ)
        assert done.stdout == "made\nof the context\n"


def test_what_several_builds_knew_stands_together(busybox: Pybuild, tmp_path: Path) -> None:
    second, third = (_another(busybox, tmp_path, name) for name in ("second", "third"))
    contexts = [busybox.context(f"FROM busybox\nRUN echo {name} >/{name}\n", name) for name in ("one", "two")]
    for builder, context in zip((busybox, second), contexts, strict=True):
        assert builder.build(context, f"--share=type=local,dest={tmp_path}/cache").outcomes() == ["RAN"]
    shutil.rmtree(tmp_path / "cache" / "notes")  # as somebody may who tidies up
    for context in contexts:
        assert third.build(context, f"--cache-from=type=local,src={tmp_path}/cache").outcomes() == ["HIT"]


def test_results_are_signed_and_others_are_not_believed(busybox: Pybuild, tmp_path: Path) -> None:
    pytest.importorskip("cryptography")
    second, third = (_another(busybox, tmp_path, name) for name in ("second", "third"))
    context = busybox.context("FROM busybox\nRUN echo made >/made\n")
    keys = [busybox.run("cache", "keygen", tmp_path / f"{name}.secret").stdout.strip() for name in ("good", "bad")]
    place = f"--share=type=local,dest={tmp_path}/cache"
    assert busybox.build(context, f"{place},sign={tmp_path}/bad.secret").outcomes() == ["RAN"]
    built = second.build(context, f"{place},sign={tmp_path}/good.secret,verify={keys[0]}")
    assert built.outcomes() == ["RAN"]
    assert "is not signed with the key" in built.shown
    built = third.build(context, f"{place},verify={keys[0]}")
    assert built.outcomes() == ["HIT"], "the result that is believed has replaced the other"
    assert "is not signed" not in built.shown


def test_an_interrupted_build_gives_its_steps_to_others_at_once(busybox: Pybuild, tmp_path: Path) -> None:
    other = _another(busybox, tmp_path, "other")
    context = busybox.context("FROM busybox\nRUN echo begun && sleep 2\n")
    words = ["build", "--progress=json", f"--share=type=local,dest={tmp_path}/cache,claim-ttl=1h", str(context)]
    runs = []
    for one in (busybox, other):
        process = subprocess.Popen([PYBUILD, *words], env=one.environ(), stderr=subprocess.PIPE, text=True)
        runs.append(Run(process))
        if one is busybox:
            runs[0].wait_for("step-output")
    try:
        runs[1].wait_for("note")
        assert "waiting for" in runs[1].told("note")[0]
        assert "RUN echo begun" in runs[1].told("note")[0]
        runs[0].process.send_signal(signal.SIGINT)
        assert runs[0].end() == 130
        assert runs[1].end() == 0
        assert list(runs[1].steps().values()) == ["ran"]
    finally:
        for run in runs:
            run.kill()


def test_an_interrupted_build_that_waits_for_others_ends(busybox: Pybuild, tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    context = busybox.context("FROM busybox\nRUN sleep 1\n")
    other = _another(busybox, tmp_path, "other")
    share = f"--share=type=local,dest={cache},claim-ttl=1h"
    words = ["build", "--progress=json", share, str(context)]
    first = Run(subprocess.Popen([PYBUILD, *words], env=busybox.environ(), stderr=subprocess.PIPE, text=True))
    second: Run | None = None
    try:
        first.wait_for("step-started", text="RUN sleep 1")
        while not (cache / "notes").exists() or not list((cache / "notes").iterdir()):
            time.sleep(0.02)
        first.kill()  # its claim stays for an hour
        second = Run(subprocess.Popen([PYBUILD, *words], env=other.environ(), stderr=subprocess.PIPE, text=True))
        second.wait_for("note")
        second.process.send_signal(signal.SIGINT)
        assert second.end() == 130
        assert list(second.steps().values()) == ["cancelled"]
    finally:
        for run in (first, second):
            if run is not None:
                run.kill()


def test_a_place_that_is_not_there_is_one_warning_and_a_right_build(busybox: Pybuild) -> None:
    context = busybox.context("FROM busybox\nRUN echo a >/a\nRUN echo b >/b\n")
    share = "--share=type=s3,endpoint_url=http://127.0.0.1:9,bucket=b,claim-ttl=1s"
    built = busybox.build(context, share, AWS_ACCESS_KEY_ID="a", AWS_SECRET_ACCESS_KEY="b")
    assert built.outcomes() == ["RAN", "RAN"]
    assert built.shown.count("was not to be reached for 1 s") == 1
    assert "2 of the steps that were executed while it could not be reached are not shared" in built.shown


def test_the_library_shares_too(busybox: Pybuild, tmp_path: Path) -> None:
    other = _another(busybox, tmp_path, "other")
    text, share = "FROM busybox\nRUN echo made >/made\n", [f"type=local,dest={tmp_path}/cache"]
    ran = [pybuild_library.build(None, text=text, root=str(one.root), share=share).ran for one in (busybox, other)]
    assert ran == [1, 0]

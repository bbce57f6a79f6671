"""pybuild as docker's plug-in buildx: through docker's command line where there is one, else as that calls it."""

from __future__ import annotations

import base64
import json
import os
import shutil
import signal
import socket
import stat
import subprocess
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.end_to_end.conftest import Pybuild
from tests.end_to_end.test_repeat import was_answered as has_answered
from tests.end_to_end.test_serve import running, serving, wait_until
from tests.registry_server import Served, docker_registry

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["docker_registry"]

OCI_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
FILE = "FROM busybox\nARG WHO=world\nRUN echo hello $WHO >/greeting\nCOPY file /\n"


class Docker:
    """docker's command line with the plug-in in a folder of its own; `plugin` calls that as docker does."""

    def __init__(self, pybuild: Pybuild) -> None:
        self.pybuild = pybuild
        self.config = pybuild.work / "docker"
        self.program = self.config / "cli-plugins" / "docker-buildx"
        self.environ = {**pybuild.environ(), "DOCKER_CONFIG": str(self.config)}
        for name in ("DOCKER_HOST", "DOCKER_CONTEXT", "BUILDX_BUILDER"):
            self.environ.pop(name, None)

    def __call__(self, *words: object, status: int = 0, **named: str) -> subprocess.CompletedProcess[str]:
        """Run docker, or where it is not installed what it would call."""
        if (docker := shutil.which("docker")) is not None:
            return self._run([docker, *map(str, words)], status, named)
        before = ["--config", str(self.config)]
        if words[:1] == ("build",):
            words = ("buildx", *words)
        return self._run([str(self.program), *before, *map(str, words)], status, named)

    def plugin(self, *words: object, status: int = 0, **named: str) -> subprocess.CompletedProcess[str]:
        """Run the plug-in."""
        return self._run([str(self.program), *map(str, words)], status, named)

    def _run(self, argv: list[str], status: int, named: dict[str, str]) -> subprocess.CompletedProcess[str]:
        stdin = named.pop("stdin", None)
        result = subprocess.run(
            argv, check=False, capture_output=True, text=True, env={**self.environ, **named}, cwd=self.pybuild.work,
            input=stdin, stdin=None if stdin is not None else subprocess.DEVNULL, timeout=200,
        )  # fmt: skip
        assert result.returncode == status, (argv, result.stdout, result.stderr)
        return result


@pytest.fixture
def docker(busybox: Pybuild) -> Docker:
    """Give docker with pybuild as its plug-in, for a store that has busybox."""
    made = Docker(busybox)
    shown = busybox.run("install", "docker-plugin", DOCKER_CONFIG=str(made.config)).stdout
    assert str(made.program) in shown
    context = busybox.context("", file="x")
    (context / "Buildfile").unlink()
    (context / "Dockerfile").write_text(FILE)
    return made


@pytest.fixture
def engine(docker: Docker) -> Iterator[Pybuild]:
    """Give the store behind an engine's socket, which DOCKER_HOST names."""
    place = docker.pybuild.work / "engine"
    place.mkdir()
    other = Pybuild(place / "root", place)
    with serving(other) as path:
        docker.environ["DOCKER_HOST"] = f"unix://{path}"
        yield other


def test_what_docker_asks_its_plugins_first(docker: Docker) -> None:
    metadata = json.loads(docker.plugin("docker-cli-plugin-metadata").stdout)
    assert (metadata["SchemaVersion"], metadata["Vendor"]) == ("0.1.0", "pybuild")
    assert metadata["Version"] in docker("buildx", "version").stdout
    assert docker("buildx", "version").stdout == docker.plugin("version").stdout
    first = docker.plugin("version").stdout.split()
    assert (first[0], first[1][:3]) == ("github.com/docker/buildx", "v0.")
    assert docker.plugin("__complete", "buildx", "imagetools", "i").stdout == "inspect\n:4\n"
    assert "usage: pybuild buildx" in docker.plugin("--config", "x", "help", "buildx").stdout
    assert docker.program.read_text().startswith("#!/bin/sh\n")


def test_an_image_goes_into_the_engine_and_is_known_there(docker: Docker, engine: Pybuild) -> None:
    iid, metadata = docker.pybuild.work / "iid", docker.pybuild.work / "metadata"
    docker("build", "-t", "app:1", "--build-arg", "WHO=you", "--iidfile", iid, "--metadata-file", metadata, "context")
    (shown,) = json.loads(engine.run("inspect", "app:1").stdout)
    assert shown["Id"] == iid.read_text()
    told = json.loads(metadata.read_text())
    assert (told["containerimage.digest"], told["image.name"]) == (shown["Id"], "docker.io/library/app:1")
    build = told["buildx.build.ref"]
    assert build.startswith("default/default/")
    assert "RUN echo hello" in docker("buildx", "history", "inspect", build).stdout
    assert engine.run("run", "--network=none", "app:1", "cat", "/greeting").stdout == "hello you\n"
    again = docker("build", "-t", "app:2", "--build-arg", "WHO=you", "context").stderr
    assert "the engine has the image already" in again
    assert json.loads(engine.run("inspect", "app:2").stdout)[0]["Id"] == shown["Id"]
    quiet = docker("build", "-q", "--build-arg", "WHO=you", "context")
    assert (quiet.stdout, quiet.stderr) == (shown["Id"] + "\n", "")


def test_the_same_again_is_answered_while_the_engine_has_the_image(docker: Docker, engine: Pybuild) -> None:
    def build() -> str:
        return docker.plugin("buildx", "build", "-q", "-t", "app", "-t", "app:other", "context").stdout

    def was_answered() -> bool:
        told = build()
        assert told == wanted
        assert image_of("app:latest") == image_of("app:other") == told.strip()
        return has_answered(docker.pybuild)

    def image_of(name: str) -> str:
        found = json.loads(engine.run("inspect", name, status=None).stdout or "[]")
        return found[0]["Id"] if found else ""

    wanted = build()
    time.sleep(0.07)
    build()
    assert [was_answered() for _ in range(2)] == [True, True]
    engine.run("tag", "app", "kept")
    engine.run("rmi", "app:other")
    assert [was_answered() for _ in range(2)] == [False, True]
    engine.run("rmi", "-f", "app", "app:other", "kept")
    assert [was_answered() for _ in range(2)] == [False, True]  # it is loaded again
    docker.environ["DOCKER_CLI_PLUGIN_SOCKET"] = "@of-this-call-alone"
    assert was_answered()
    other = docker.plugin("buildx", "create", "--name", "elsewhere", "--driver", "docker-container", "--use")
    assert other.stdout == "elsewhere\n"
    build()
    assert not has_answered(docker.pybuild)  # it is of no concern to the engine any more


def test_what_is_pushed_is_known_by_the_digest_of_the_registry(
    docker: Docker, engine: Pybuild, docker_registry: Served
) -> None:
    name, metadata, iid = f"{docker_registry.host}/app:1", docker.pybuild.work / "metadata", docker.pybuild.work / "iid"
    docker("buildx", "build", "--push", "-t", name, "--metadata-file", metadata, "--iidfile", iid, "context")
    told = json.loads(metadata.read_text())
    head = docker_registry.ask("HEAD", "/v2/app/manifests/1", Accept=told["containerimage.descriptor"]["mediaType"])[1]
    assert told["containerimage.digest"] == head["docker-content-digest"]
    assert told["containerimage.digest"] == told["containerimage.descriptor"]["digest"]
    assert iid.read_text() == json.loads(engine.run("inspect", name).stdout)[0]["Id"]
    output = f"type=image,name={docker_registry.host}/other,push-by-digest=true,name-canonical=true,push=true"
    docker("buildx", "build", "--output", output, "--metadata-file", metadata, "context")
    told = json.loads(metadata.read_text())
    found = docker_registry.ask("HEAD", f"/v2/other/manifests/{told['containerimage.digest']}", Accept=OCI_MANIFEST)
    assert found[0] == 200


def test_what_is_asked_for_elsewhere_is_not_loaded(docker: Docker, engine: Pybuild) -> None:
    (docker.pybuild.work / "context" / "Lone").write_text("FROM scratch\nCOPY file /\n")
    many = docker("buildx", "build", "-f", "context/Lone", "--platform=linux/amd64,linux/arm64", "-t", "m", "context")
    assert "an image for several platforms is not loaded into the engine" in many.stderr
    docker("buildx", "build", "-t", "a", "--output", "type=oci,dest=a.tar", "context")
    docker("buildx", "build", "-t", "b", "context", BUILDX_NO_DEFAULT_LOAD="1")
    made = docker("buildx", "create", "--name", "other", "--driver-opt", "network=host", "--use")
    assert made.stdout == "other\n"
    assert "--driver-opt=network=host has no effect" in made.stderr
    docker("buildx", "build", "-t", "c", "context")
    assert engine.run("images", "-q").stdout == ""
    docker("buildx", "build", "-t", "d", "--load", "context")
    docker("buildx", "build", "-t", "e", "--builder", "default", "context")
    assert {line.split()[0] for line in engine.run("images").stdout.splitlines()[1:]} == {"d", "e"}
    assert {line.split()[0] for line in docker.pybuild.run("images").stdout.splitlines()[1:]} >= set("abcde")


def test_without_an_engine_the_image_is_in_the_own_store_and_that_is_said(docker: Docker) -> None:
    if os.path.exists("/var/run/docker.sock"):
        pytest.skip("an engine runs on this machine")
    shown = docker.plugin("buildx", "build", "-t", "app", "context").stderr
    assert "no Docker engine runs here" in shown
    assert docker.pybuild.run("run", "--network=none", "app", "cat", "/greeting").stdout == "hello world\n"
    refused = docker.plugin("buildx", "build", "context", status=1, DOCKER_HOST="unix:///none/such").stderr
    assert "/none/such cannot be reached" in refused
    assert "[2/" not in refused  # nothing was built
    assert "no docker context nope" in docker.plugin("-c", "nope", "buildx", "build", "context", status=1).stderr
    refused = docker.plugin("buildx", "build", "--builder=nope", "context", status=1).stderr
    assert 'no builder "nope" found' in refused


def test_a_context_of_docker_is_a_builder_and_names_the_engine(docker: Docker, engine: Pybuild) -> None:
    from hashlib import sha256

    host = docker.environ.pop("DOCKER_HOST")
    place = docker.config / "contexts" / "meta" / sha256(b"there").hexdigest()
    place.mkdir(parents=True)
    endpoints = {"docker": {"Host": host, "SkipTLSVerify": False}}
    (place / "meta.json").write_text(json.dumps({"Name": "there", "Metadata": {}, "Endpoints": endpoints}))
    docker("--context", "there", "build", "-t", "one", "context", BUILDX_BUILDER="there")
    (docker.config / "config.json").write_text(json.dumps({"currentContext": "there"}))
    docker("build", "-t", "two", "context")
    docker("buildx", "build", "-t", "three", "--builder", "there", "context", DOCKER_CONTEXT="default")
    assert {line.split()[0] for line in engine.run("images").stdout.splitlines()[1:]} == {"one", "two", "three"}
    assert "there" in docker("buildx", "ls").stdout


def test_statuses_are_those_of_buildx(docker: Docker) -> None:
    file = docker.pybuild.work / "context" / "Dockerfile"
    file.write_text("FROM busybox\nRUN exit 7\n")
    assert "status 7" in docker("build", "context", status=1).stderr
    file.write_text("FROM busybox\nRUNN\n")
    assert "unknown instruction: RUNN" in docker("build", "context", status=1).stderr
    assert "unknown option --nope" in docker("build", "--nope", "context", status=1).stderr
    assert "is not supported" in docker("buildx", "dial-stdio", status=1).stderr


def test_raw_progress_is_what_readers_of_buildx_parse(docker: Docker) -> None:
    """The shape of SolveStatus in BuildKit's client, of which Compose reads vertexes, logs, warnings and errors."""
    file = docker.pybuild.work / "context" / "Dockerfile"
    file.write_text("FROM busybox\nRUN printf 'a\\377b\\n'; echo err >&2\nRUN echo so; exit 3\n")
    shown = docker.plugin("build", "--progress=rawjson", "context", status=1).stderr
    lines, error = shown[: shown.index("ERROR: ")].splitlines(), shown[shown.index("ERROR: ") :]
    assert "status 3" in error.splitlines()[0]
    statuses: list[dict[str, Any]] = [json.loads(line) for line in lines]
    assert {key for one in statuses for key in one} <= {"vertexes", "statuses", "logs", "warnings"}
    vertexes: dict[str, dict[str, Any]] = {}
    for one in statuses:
        for vertex in one.get("vertexes", ()):
            vertexes[vertex["digest"]] = vertex
    names = {vertex["name"]: vertex for vertex in vertexes.values()}
    base, run, failed = (next(one for name, one in names.items() if text in name) for text in ("FROM", "err", "exit 3"))
    assert run["inputs"] == [base["digest"]]
    assert run["completed"] >= run["started"]
    assert failed["error"]
    logs = [log for one in statuses for log in one.get("logs", ()) if log["vertex"] == run["digest"]]
    assert b"".join(base64.b64decode(log["data"]) for log in logs) == b"a\xffb\nerr\n"
    file.write_text("FROM busybox\nCMD x\n")
    shown = docker.plugin("build", "--progress=rawjson", "-t", "app", "context").stderr
    statuses = [json.loads(line) for line in shown.splitlines()]
    said = [one["id"] for status in statuses for one in status.get("statuses", ())]
    assert any(one.startswith("writing image sha256:") for one in said)
    assert "naming to app:latest" in said


def test_builders_are_names_that_scripts_make_and_remove(docker: Docker) -> None:
    """Steps that docker/setup-buildx-action takes, and looks for in what it is shown."""
    docker("buildx", "create", "--name", "builder-1", "--driver", "docker-container", "--buildkitd-flags",
           "--allow-insecure-entitlement security.insecure", "--use")  # fmt: skip
    shown = docker("buildx", "inspect", "--bootstrap", "--builder", "builder-1").stdout
    facts = dict(line.split(":", 1) for line in shown.splitlines() if ":" in line)
    assert (facts["Driver"].strip(), facts["Status"].strip(), facts["Name"].strip()) == (
        "docker-container", "running", "builder-10",
    )  # fmt: skip
    assert "linux/" in facts["Platforms"]
    listed = [json.loads(line) for line in docker("buildx", "ls", "--format", "json").stdout.splitlines()]
    assert {(one["Name"], one["Current"]) for one in listed} == {("default", False), ("builder-1", True)}
    assert docker("buildx", "ls", "--format", "{{.Name}}").stdout == "default\nbuilder-1\n"
    docker("buildx", "use", "default")
    assert docker("buildx", "rm", "builder-1").stdout == "builder-1 removed\n"
    assert 'no builder "builder-1"' in docker("buildx", "inspect", "builder-1", status=1).stderr
    assert "on this machine" in docker("buildx", "create", "--driver", "kubernetes", status=1).stderr
    assert docker("buildx", "create").stdout == "pybuild1\n"
    assert "has no effect: nothing runs between builds" in docker("buildx", "stop").stderr
    docker("buildx", "du")
    docker("buildx", "prune", "-f", "--builder", "pybuild1")


def test_installing_keeps_what_was_there(docker: Docker) -> None:
    run, config = docker.pybuild.run, str(docker.config)
    assert "removed" in run("uninstall", "docker-plugin", DOCKER_CONFIG=config).stdout
    assert not docker.program.exists()
    docker.program.write_text("#!/bin/sh\necho another\n")
    docker.program.chmod(0o755)
    refused = run("uninstall", "docker-plugin", status=125, DOCKER_CONFIG=config).stderr
    assert "is another program" in refused
    for _ in range(2):
        run("install", "docker-plugin", "--user", DOCKER_CONFIG=config)
        assert stat.S_IMODE(docker.program.stat().st_mode) == 0o755
    assert sorted(one.name for one in docker.program.parent.iterdir()) == [
        ".pybuild-kept.docker-buildx",
        "docker-buildx",
    ]
    assert "is what it was before" in run("uninstall", "docker-plugin", DOCKER_CONFIG=config).stdout
    assert docker.plugin().stdout == "another\n"
    assert [one.name for one in docker.program.parent.iterdir()] == ["docker-buildx"]


@pytest.mark.root
def test_it_ends_when_docker_closes_its_socket(docker: Docker) -> None:
    """As docker does when it is interrupted or killed, where there is no terminal."""
    marker = f"sleep {os.getpid()}78"
    (docker.pybuild.work / "context" / "Dockerfile").write_text(f"FROM busybox\nRUN {marker}\n")
    name = f"docker_cli_{os.getpid()}"
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(f"\0{name}")
        listener.listen()
        taken: list[socket.socket] = []
        thread = threading.Thread(target=lambda: taken.append(listener.accept()[0]))
        thread.start()
        environ = {**docker.environ, "DOCKER_CLI_PLUGIN_SOCKET": f"@{name}"}
        argv = [str(docker.program), "--config", str(docker.config), "buildx", "build", "context"]
        with subprocess.Popen(
            argv, env=environ, cwd=docker.pybuild.work, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        ) as build:
            wait_until(lambda: bool(running(marker)))
            thread.join()
            taken[0].close()
            shown = build.communicate(timeout=60)[1]
        assert (build.returncode, "interrupted" in shown) == (128 + signal.SIGINT, True)
        assert not running(marker)


def test_every_command_of_buildx_is_decided() -> None:
    """Those of its reference (docs.docker.com/reference/cli/docker/buildx)."""
    from buildah_py.cli.buildx_table import TABLE

    known = """bake build create dap+build debug+build dial-stdio du history+export history+import history+inspect
        history+inspect+attachment history+logs history+ls history+open history+rm history+trace imagetools+create
        imagetools+inspect inspect install ls policy+eval policy+test prune rm stop uninstall use version"""
    assert [one.name for one in TABLE] == [name.replace("+", " ") for name in known.split()]
    page = (Path(__file__).parents[2] / "docs" / "flags.md").read_text()
    assert all(f"| `{one.name}` | {one.decision} |" in page for one in TABLE)

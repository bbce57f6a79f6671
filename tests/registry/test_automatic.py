"""Credentials that no file names: of variables, and of the programs of clouds, for their own registries alone."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from buildah_py.frozen import replace
from buildah_py.http.retry import Waiter
from buildah_py.registry import automatic, credentials
from buildah_py.registry.options import Credentials, RegistryOptions

if TYPE_CHECKING:
    from pathlib import Path

CLOUDS = {
    "ecr-login": ["123.dkr.ecr.eu-west-1.amazonaws.com", "1.dkr.ecr.cn-north-1.amazonaws.com.cn", "public.ecr.aws"],
    "gcr": ["gcr.io", "eu.gcr.io", "europe-docker.pkg.dev"],
    "acr-env": ["mine.azurecr.io"],
}
OTHERS = ["docker.io", "localhost:5000", "gcr.io.example.com", "notgcr.io", "ecr.amazonaws.com", "azurecr.io"]


def ask(registry: str, environ: dict[str, str], *helpers: str, told: list[str] | None = None) -> Credentials | None:
    """Look for credentials, without any program of this machine: it may have some of those that are asked."""
    options = RegistryOptions(environ={"PATH": "/nowhere", **environ}, helpers=helpers or automatic.NAMES)
    if told is not None:
        options = replace(options, waiter=Waiter(told.append))
    return credentials.find(registry, "team/app", options)


def install(folder: Path, name: str, script: str) -> None:
    folder.mkdir(exist_ok=True)
    path = folder / f"docker-credential-{name}"
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)


@pytest.mark.parametrize("program", CLOUDS)
def test_programs_of_clouds(program: str, tmp_path: Path) -> None:
    path = {"PATH": f"{tmp_path}/bin"}
    for registry in CLOUDS[program]:
        assert ask(registry, path) is None
    script = 'read key; echo "$key" >>"$0.asked"; echo "{\\"Username\\": \\"AWS\\", \\"Secret\\": \\"of $key\\"}"'
    install(tmp_path / "bin", program, script)
    for registry in CLOUDS[program]:
        assert ask(registry, path) == Credentials("AWS", f"of {registry}")
        assert ask(registry, path, "env", "gitlab") is None
    for registry in [*OTHERS, *(one for other in CLOUDS if other != program for one in CLOUDS[other])]:
        assert ask(registry, path) is None
    asked = (tmp_path / "bin" / f"docker-credential-{program}.asked").read_text().split()
    assert asked == CLOUDS[program]  # nobody else's registry was shown to it


def test_one_that_fails_is_told_of(tmp_path: Path) -> None:
    path = {"PATH": f"{tmp_path}/bin"}
    install(tmp_path / "bin", "ecr-login", "echo no role here; exit 1")
    told: list[str] = []
    assert ask("public.ecr.aws", path, told=told) is None
    said = "docker-credential-ecr-login failed for public.ecr.aws: no role here"
    assert told == [f"{said}; public.ecr.aws is asked without credentials"]
    install(tmp_path / "bin", "ecr-login", "echo credentials not found; exit 1")
    assert ask("public.ecr.aws", path, told=told) is None
    assert len(told) == 1


def test_files_come_first(tmp_path: Path) -> None:
    environ = {"CI_REGISTRY": "h.io", "CI_REGISTRY_USER": "ci", "CI_REGISTRY_PASSWORD": "p"}
    assert ask("h.io", environ) == Credentials("ci", "p")
    (tmp_path / "config.json").write_text(json.dumps({"auths": {"h.io": {"username": "file", "password": "q"}}}))
    assert ask("h.io", {**environ, "DOCKER_CONFIG": str(tmp_path)}) == Credentials("file", "q")
    assert ask("other.io", environ) is None
    for name in environ:
        assert ask("h.io", {key: value for key, value in environ.items() if key != name}) is None


@given(st.lists(st.text("ab-", min_size=1, max_size=3), min_size=1, max_size=4), st.data())
def test_variables_name_a_host_or_its_domain(labels: list[str], data: st.DataObject) -> None:
    first = data.draw(st.integers(0, len(labels) - 1))
    named = "_".join(one.replace("-", "_") for one in labels[first:])
    environ = {f"DOCKER_{named}_USR": "u", f"DOCKER_{named}_PSW": "p"}
    found = ask(".".join(labels), environ)
    if first < max(1, len(labels) - 1):
        assert found == Credentials("u", "p")
    else:
        assert found is None  # a top-level domain
    assert ask("docker.io", {f"DOCKER_{named}_USR": "u"}) is None

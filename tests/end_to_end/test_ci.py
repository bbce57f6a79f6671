"""The files of examples/ci and the action: their form, and what their shells do beside a registry, twice."""

from __future__ import annotations

import re
import shlex
import textwrap
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from tests.end_to_end.test_how_to import session

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.end_to_end.conftest import Pybuild

HERE = Path(__file__).parents[2]
PLACES = HERE / "examples" / "ci"
IMAGE = {"IMAGE": "localhost:5000/team/app"}
WITH_PASSWORD = {
    "github.yml": {"GITHUB_ACTOR": "anna", "GITHUB_SHA": "1234", "PASSWORD": "s3cret"},
    "gitlab.yml": {
        "CI_REGISTRY": "localhost:5000", "CI_REGISTRY_USER": "anna", "CI_REGISTRY_PASSWORD": "s3cret",
        "CI_COMMIT_SHA": "1234",
    },
    "woodpecker.yml": {"REGISTRY_USER": "anna", "REGISTRY_PASSWORD": "s3cret", "CI_COMMIT_SHA": "1234"},
    "Jenkinsfile": {"REGISTRY_USER": "anna", "REGISTRY_PASSWORD": "s3cret", "GIT_COMMIT": "1234"},
    "tekton.yml": {"CREDENTIALS": "config.json", "TAG": "1234", "CONTEXT": ".", "DIGEST": "digest"},
    "kubernetes.yml": {"REGISTRY_AUTH_FILE": "config.json"},
}  # fmt: skip
"""What each CI puts into a job's environment."""
PIP = '#!/bin/sh\n[ "$1" = install ] && echo "$*" >>"$HOME/installed"\n'
PYTHON = f"""#!/bin/sh
[ "$1 $2" = "-m venv" ] || exec /usr/bin/python3 "$@"
mkdir -p "$3/bin" && printf %s {shlex.quote(PIP)} >"$3/bin/pip" && chmod +x "$3/bin/pip"
"""
ANNA = '{"auths": {"localhost:5000": {"auth": "YW5uYTpzM2NyZXQ="}}}'  # anna:s3cret


def shells(value: Any) -> Iterator[str]:
    """Give the scripts of a YAML file in their order."""
    if isinstance(value, dict):
        if value.get("command") == ["/bin/sh", "-euc"]:
            yield from value["args"]
        for name, part in value.items():
            if name in ("run", "script", "before_script", "commands"):
                yield from [part] if isinstance(part, str) else part
            else:
                yield from shells(part)
    elif isinstance(value, list):
        for part in value:
            yield from shells(part)


def scripts(name: str) -> list[str]:
    """Give the scripts of a CI's file in their order, as its shell gets them."""
    text = (PLACES / name).read_text()
    if name == "Jenkinsfile":
        return [textwrap.dedent(one) for one in re.findall(r"\bsh '''(.*?)'''", text, re.DOTALL)]
    found = list(shells(yaml.safe_load(text)))
    return [one.replace("$$", "$") for one in found] if name == "woodpecker.yml" else found


def stand_ins(own: Path) -> None:
    """Put a pip and a python3 into the path that note what they would have installed."""
    (own / "bin").mkdir(parents=True)
    for name, text in (("pip", PIP), ("python3", PYTHON)):
        (own / "bin" / name).write_text(text)
        (own / "bin" / name).chmod(0o755)


@pytest.mark.root
@pytest.mark.parametrize("name", WITH_PASSWORD)
def test_scripts_of_a_ci_run_and_the_next_job_hits(busybox: Pybuild, tmp_path: Path, name: str) -> None:
    stand_ins(tmp_path / "own")
    found = [f"sh -ec {shlex.quote(one)}" for one in scripts(name)]
    environ = {
        **IMAGE,
        **WITH_PASSWORD[name],
        "GITHUB_STEP_SUMMARY": "summary",
        "WORKSPACE_TMP": str(tmp_path / "temp"),
    }
    files = {"Buildfile": "FROM busybox\nRUN echo 1 >/x\n", "config.json": ANNA}
    seen = (
        "echo installed: $(cat ~/installed) digest: $(cat digest summary | head -3) written: $(ls build.json report.*)"
    )
    again = ["export PYBUILD_ROOT=$PWD/other", "pybuild bootstrap busybox"]
    shown = session(busybox, tmp_path, files, [*found, seen, *again, *found], passwords=True, environ=environ)
    built = re.findall(r"(\d+) from the cache, (\d+) executed", shown)
    assert built == [("0", "1"), ("1", "0")], shown
    assert re.search(r"installed: install (--quiet )?buildah-py\b", shown), shown
    if name in ("github.yml", "gitlab.yml", "Jenkinsfile"):
        assert re.search("written: build.json report.(html|md)", shown), shown
    if name == "tekton.yml":
        assert re.search("digest: sha256:[0-9a-f]{64} ", shown), shown
    if name == "github.yml":
        assert "digest: ### localhost:5000/team/app" in shown.replace("&#58;", ":"), shown


MATRIX = {
    "github-matrix.yml": ("CACHE=localhost:5000/cache", "SHARE={number}/2", "GITHUB_OUTPUT=output", "GITHUB_ACTOR=anna",
                          "PASSWORD=s3cret"),
    "gitlab-matrix.yml": ("CI_REGISTRY=localhost:5000", "CI_REGISTRY_USER=anna", "CI_REGISTRY_PASSWORD=s3cret",
                          "CI_NODE_INDEX={number}", "CI_NODE_TOTAL=2", "CACHE=localhost:5000/cache"),
    "kubernetes-indexed.yml": ("JOB_COMPLETION_INDEX={index}", "SHARES=2", "CACHE=localhost:5000/cache",
                               "REGISTRY_AUTH_FILE=config.json", "DURATIONS=/no/plan.json"),
}  # fmt: skip
"""What each CI puts into the environment of the job with a number."""
THREE = """\
variable "CACHE" {}
target "default" {
  name = "image-${n}"
  matrix = { n = ["1", "2", "3"] }
  tags = ["localhost:5000/image:${n}"]
  cache-from = ["type=registry,ref=${CACHE}:${n}"]
  cache-to = ["type=registry,ref=${CACHE}:${n},mode=max"]
  dockerfile-inline = "FROM busybox\\nRUN echo ${n} >/x"
}
"""


@pytest.mark.root
@pytest.mark.parametrize("name", MATRIX)
def test_jobs_of_a_matrix_build_all_images(busybox: Pybuild, tmp_path: Path, name: str) -> None:
    stand_ins(tmp_path / "own")
    file = yaml.safe_load((PLACES / name).read_text())
    jobs = file.get("jobs") or {key: job for key, job in file.items() if isinstance(job, dict) and "script" in job}
    jobs = jobs or {"images": file}
    commands = []
    for key, job in jobs.items():
        for index in range(2 if key == "images" else 1):
            named = [one.format(index=index, number=index + 1) for one in MATRIX[name]]
            words = [one.replace("--shard-plan 4", "--shard-plan 2") for one in shells(job)]
            commands += [shlex.join(["env", *named, "sh", "-ec", one]) for one in words]
    files = {"docker-bake.hcl": THREE, "config.json": ANNA}
    again = ["export PYBUILD_ROOT=$PWD/other", "pybuild bootstrap busybox", *commands]
    seen = ["pybuild run localhost:5000/image:3 cat /x", "cat output", "ls durations"]
    twice = name == "kubernetes-indexed.yml"
    shown = session(busybox, tmp_path, files, [*commands, *(again if twice else ()), *seen], passwords=True)
    built = re.findall(r"(\d+) from the cache, (\d+) executed", shown)
    assert built == [("0", "1")] * 3 + [("1", "0")] * 3 * twice, shown
    if name == "github-matrix.yml":
        (matrix,) = re.findall(r"^matrix=(.*)$", shown, re.MULTILINE)
        assert [one["share"] for one in yaml.safe_load(matrix)["include"]] == ["1/2", "2/2"]
    if name != "kubernetes-indexed.yml":
        assert "\n1.json\n2.json\n" in shown, "what was learned is there for the next time"


def test_the_form_of_matrices() -> None:
    github, gitlab, job = (
        yaml.safe_load((PLACES / name).read_text())
        for name in ("github-matrix.yml", "gitlab-matrix.yml", "kubernetes-indexed.yml")
    )
    assert set(github) == {"name", True, "permissions", "env", "jobs"}
    for one in github["jobs"].values():
        assert set(one) <= {"needs", "runs-on", "outputs", "strategy", "env", "steps"}
        assert set([one["needs"]] if "needs" in one else []) <= set(github["jobs"])
        for step in one["steps"]:
            assert len({"uses", "run"} & set(step)) == 1
            assert set(step) <= {"name", "id", "if", "uses", "run", "with", "env", "shell"}
    stages = gitlab.pop("stages")
    for one in gitlab.values():
        assert one["stage"] in stages
        assert set(one) <= {"stage", "image", "variables", "script", "artifacts", "parallel", "cache"}
    spec = job["spec"]
    assert spec["completionMode"] == "Indexed"
    pod = spec["template"]["spec"]
    assert str(spec["completions"]) in {one.get("value") for one in pod["containers"][0]["env"]}
    assert pod["restartPolicy"] == "Never", "which backoffLimitPerIndex needs"
    assert mounts([*pod["initContainers"], *pod["containers"]]) == {one["name"] for one in pod["volumes"]}


def filled(text: str, inputs: dict[str, str]) -> str:
    """Put inputs where an action names them."""
    return re.sub(r"\$\{\{ inputs\.([\w-]+) \}\}", lambda found: inputs[found[1]], text)


@pytest.mark.root
def test_the_action(busybox: Pybuild, tmp_path: Path) -> None:
    action = yaml.safe_load((HERE / "action.yml").read_text())
    given = {
        "tags": "localhost:5000/app:1\nlocalhost:5000/app:2\n", "push": "true", "build-args": "WHO=you all\nTWO=2",
        "cache": "type=registry,ref=localhost:5000/app:cache", "secrets": "id=token,env=TOKEN",
        "platform": "linux/amd64",
    }  # fmt: skip
    inputs = {name: one["default"] for name, one in action["inputs"].items()} | given
    stand_ins(tmp_path / "own")
    commands = []
    for step in action["runs"]["steps"]:
        of_step = [f"{name}={filled(value, inputs)}" for name, value in step.get("env", {}).items()]
        commands.append(shlex.join(["env", *of_step, step["shell"], "-eo", "pipefail", "-c", step["run"]]))
    *first, build = commands
    environ = {
        "GITHUB_PATH": "path", "GITHUB_OUTPUT": "output", "GITHUB_STEP_SUMMARY": "summary",
        "RUNNER_TEMP": str(tmp_path), "GITHUB_ACTION_PATH": str(HERE), "TOKEN": "t0ken",
    }  # fmt: skip
    run = "RUN --mount=type=secret,id=token,env=TOKEN,required test $TOKEN = t0ken && echo $WHO $TWO >/x"
    files = {"Buildfile": f"FROM busybox\nARG WHO TWO\n{run}\n"}
    looks = [
        "cat ~/installed path output",
        "digest=$(sed -n s/digest=//p output)",
        "pybuild pull -q localhost:5000/app@$digest && pybuild run localhost:5000/app:2 cat /x",
        "echo 'RUN exit 7' >>Buildfile",
        f"{build} || echo status $?",
        "cat summary",
    ]
    shown = session(busybox, tmp_path, files, [*first, build, *looks], environ=environ)
    assert f"install --quiet --disable-pip-version-check {HERE}\n{tmp_path}/pybuild/bin\n" in shown, shown
    outputs = dict(re.findall(r"^(imageid|digest|metadata)=(.*)$", shown, re.MULTILINE))
    assert outputs.keys() == action["outputs"].keys(), shown
    assert re.fullmatch("sha256:[0-9a-f]{64}", outputs["imageid"])
    assert yaml.safe_load(outputs["metadata"])["containerimage.digest"] == outputs["digest"] != outputs["imageid"]
    assert "you all 2\n" in shown, shown
    assert "status 7\n" in shown, shown
    assert shown.count("\n### ") == 2, shown


def test_the_form_of_the_action() -> None:
    text = (HERE / "action.yml").read_text()
    action = yaml.safe_load(text)
    assert set(action) == {"name", "description", "inputs", "outputs", "runs"}
    assert set(re.findall(r"inputs\.([\w-]+)", text)) == set(action["inputs"])
    steps = action["runs"]["steps"]
    assert action["runs"]["using"] == "composite"
    assert all({"run", "shell"} <= set(step) <= {"name", "id", "env", "run", "shell"} for step in steps)
    (writes,) = (step for step in steps if "id" in step)
    for name, output in action["outputs"].items():
        assert output["value"] == f"${{{{ steps.{writes['id']}.outputs.{name} }}}}"
        assert f'"{name}=$(' in writes["run"]


def mounts(containers: list[dict[str, Any]]) -> set[str]:
    """Name the volumes that containers mount."""
    return {one["name"] for container in containers for one in container["volumeMounts"]}


def test_the_form_of_a_tekton_task() -> None:
    """What Tekton's v1 API refuses of a Task: unknown fields, names, what is used and not declared."""
    text = (PLACES / "tekton.yml").read_text()
    task = yaml.safe_load(text)
    assert (task["apiVersion"], task["kind"]) == ("tekton.dev/v1", "Task")
    spec = task["spec"]
    assert set(spec) <= {
        "description",
        "params",
        "workspaces",
        "results",
        "volumes",
        "steps",
        "stepTemplate",
        "sidecars",
    }
    for kind in ("params", "workspaces", "results"):
        assert set(re.findall(rf"\$\({kind}\.([\w-]+)", text)) == {one["name"] for one in spec[kind]}
    for step in spec["steps"]:
        assert re.fullmatch("[a-z0-9]([a-z0-9-]*[a-z0-9])?", step["name"])
        assert {"image", "script"} <= set(step)
        assert set(step).isdisjoint({"command", "args"})
    assert mounts(spec["steps"]) == {one["name"] for one in spec["volumes"]}


def test_the_form_of_a_kubernetes_job() -> None:
    """What batch/v1 refuses of a Job: policies, volumes that are not there, /proc unmasked beside hostUsers."""
    job = yaml.safe_load((PLACES / "kubernetes.yml").read_text())
    assert (job["apiVersion"], job["kind"]) == ("batch/v1", "Job")
    pod = job["spec"]["template"]["spec"]
    assert pod["restartPolicy"] in ("Never", "OnFailure")
    containers = [*pod["initContainers"], *pod["containers"]]
    assert all(re.fullmatch("[a-z0-9]([a-z0-9-]*[a-z0-9])?", one["name"]) and one["image"] for one in containers)
    assert mounts(containers) == {one["name"] for one in pod["volumes"]}
    assert all(len(volume) == 2 for volume in pod["volumes"])
    assert pod["containers"][0]["securityContext"]["procMount"] == "Unmasked"
    assert pod["hostUsers"] is False


def test_the_form_of_the_others() -> None:
    """What GitHub, GitLab and Woodpecker refuse: words that they do not know, and jobs with the names of such words."""
    github, gitlab, woodpecker = (
        yaml.safe_load((PLACES / f"{name}.yml").read_text()) for name in ("github", "gitlab", "woodpecker")
    )
    assert set(github) == {"name", True, "jobs"}  # YAML 1.1's `on`
    for step in github["jobs"]["image"]["steps"]:
        assert len({"uses", "run"} & set(step)) == 1
        assert set(step) <= {"name", "id", "if", "uses", "run", "with", "env", "shell"}
    words = {
        "image",
        "services",
        "stages",
        "types",
        "before_script",
        "after_script",
        "variables",
        "cache",
        "include",
        "pages",
    }
    assert set(gitlab).isdisjoint(words)
    (job,) = gitlab.values()
    assert set(job) <= {"stage", "image", "variables", "before_script", "script", "artifacts"}
    assert set(woodpecker) == {"when", "steps"}
    (step,) = woodpecker["steps"]
    assert set(step) <= {"name", "image", "privileged", "environment", "commands"}
    assert not re.search(r"(?<!\$)\$\{", step["commands"][1])  # Woodpecker would put its own values there
    jenkins = (PLACES / "Jenkinsfile").read_text()
    groovy = re.sub(r"'''.*?'''|\"[^\"\n]*\"|\'[^\'\n]*\'|//[^\n]*", "", jenkins, flags=re.DOTALL)
    assert groovy.count("{") == groovy.count("}")
    assert groovy.count("(") == groovy.count(")")
    assert re.search(r"pipeline \{\s*agent \{", groovy)

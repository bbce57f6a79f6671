"""Pods of the examples and of the page about kaniko: held to Kubernetes' schema and Pod Security Standards; tried."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import kubernetes_validate
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from buildah_py.cli import executor
from buildah_py.cli.arguments import make_parser
from tests.end_to_end.test_executor import executor as run_executor
from tests.end_to_end.test_how_to import read
from tests.git_server import git, repo, server
from tests.pod_security import BASELINE, RESTRICTED, Fault, Violation, broken, faults, pods_of, violations
from tests.registry_server import PASSWORD, USER, serving

if TYPE_CHECKING:
    from tests.end_to_end.conftest import Pybuild

__all__ = ["repo", "server"]

HERE = Path(__file__).parents[2]
CI = HERE / "examples/ci"
KUBERNETES = sorted(path.name for path in CI.glob("kubernetes*.yml"))
VERSIONS = ("1.28", "1.31", "1.34", "1.37")
NEWEST = {"kubernetes.yml": "1.33", "kubernetes-indexed.yml": "1.33"}
"""Files that ask for a version by themselves."""
POLICIES = {"kubernetes-baseline.yml": BASELINE, "kubernetes-restricted.yml": RESTRICTED}
FAULTS = list(faults())
OF_BASELINE = """HostProcess|Host Namespaces|Privileged Containers|Capabilities|HostPath Volumes|Host Ports|
    Host Probes / Lifecycle Hooks|AppArmor|SELinux|/proc Mount Type|Seccomp|Sysctls"""
OF_RESTRICTED = (
    """Volume Types|Privilege Escalation|Running as Non-root|Running as Non-root user|Seccomp|Capabilities"""
)
"""The controls of each policy, as the page of the standards names them."""


def documents(name: str) -> list[dict[str, Any]]:
    return [one for one in yaml.safe_load_all((CI / name).read_text()) if one]


def pod_of(name: str) -> Any:
    ((pod,),) = (list(pods_of(one)) for one in documents(name))
    return pod


def of_page() -> dict[str, Any]:
    files, _ = read((HERE / "docs/how-to/from-kaniko.md").read_text())
    return {name: yaml.safe_load(text) for name, text in files.items() if name.endswith(".yml")}


@pytest.mark.parametrize(
    ("name", "version"),
    [(name, version) for name in KUBERNETES for version in VERSIONS if version >= NEWEST.get(name, "")],
)
def test_files_are_what_the_schema_wants(name: str, version: str) -> None:
    for document in documents(name):
        assert kubernetes_validate.validate(document, version, strict=True) == version
        spoilt = json.loads(json.dumps(document).replace('"containers"', '"containrs"'))
        with pytest.raises(kubernetes_validate.ValidationError):
            kubernetes_validate.validate(spoilt, version, strict=True)


@pytest.mark.parametrize(("name", "policy"), POLICIES.items())
def test_pods_pass_the_policies_that_they_are_for(name: str, policy: str) -> None:
    assert violations(pod_of(name), policy) == []


def test_the_others_do_not() -> None:
    unconfined = {one.control for one in violations(pod_of("kubernetes.yml"), BASELINE)}
    assert unconfined == {"AppArmor", "Seccomp", "/proc Mount Type"}
    above = {one.control for one in violations(pod_of("kubernetes-baseline.yml"), RESTRICTED)}
    assert above == {"Privilege Escalation", "Running as Non-root", "Seccomp", "Capabilities"}


@pytest.mark.parametrize("fault", FAULTS, ids=[f"{one.control}-{one.path}-{one.value}" for one in FAULTS])
def test_each_control_is_noticed(fault: Fault) -> None:
    """Broken in turn, on pods that pass; and nothing of "restricted" disturbs "baseline"."""
    good = pod_of("kubernetes-restricted.yml")
    for kind in ("initContainers", "ephemeralContainers"):
        good["spec"][kind] = [{**good["spec"]["containers"][0], "name": kind}]
    assert violations(good, RESTRICTED) == []
    bad = broken(good, fault)
    noticed = {one.control for one in violations(bad, RESTRICTED)}
    assert fault.control in noticed
    assert (fault.control in {one.control for one in violations(bad, BASELINE)}) == (fault.policy == BASELINE), (
        violations(bad, BASELINE)
    )


def test_no_control_is_left_out() -> None:
    for policy, names in ((BASELINE, OF_BASELINE), (RESTRICTED, OF_RESTRICTED)):
        assert {one.control for one in FAULTS if one.policy == policy} == {one.strip() for one in names.split("|")}


@given(st.lists(st.sampled_from(FAULTS), max_size=4, unique_by=str))
def test_faults_do_not_hide_one_another(found: list[Fault]) -> None:
    pod = pod_of("kubernetes-restricted.yml")
    fields = set[str]()
    wanted = set[str]()
    for fault in found:
        if any(fault.path.startswith(one) or one.startswith(fault.path) for one in fields):
            continue  # one field has one value
        if fault.path.split(".")[0] in ("initContainers", "ephemeralContainers"):
            continue
        fields.add(fault.path)
        wanted.add(fault.control)
        pod = broken(pod, fault)
    noticed = {one.control for one in violations(pod, RESTRICTED)}
    assert wanted <= noticed
    assert bool(noticed) == bool(wanted)


def test_annotations_and_values_that_are_allowed() -> None:
    pod = pod_of("kubernetes-restricted.yml")
    name = "container.apparmor.security.beta.kubernetes.io/build"
    for value, found in (("runtime/default", 0), ("localhost/mine", 0), ("unconfined", 1)):
        pod["metadata"] = {"annotations": {name: value}}
        assert len(violations(pod, BASELINE)) == found
    pod["metadata"] = {}
    container = pod["spec"]["containers"][0]
    container["securityContext"]["capabilities"]["add"] = ["NET_BIND_SERVICE"]
    container["ports"] = [{"containerPort": 80}, {"containerPort": 81, "hostPort": 0}]
    pod["spec"]["securityContext"]["sysctls"] = [{"name": "net.ipv4.tcp_syncookies", "value": "1"}]
    assert violations(pod, RESTRICTED) == []
    profile = pod["spec"]["securityContext"].pop("seccompProfile")
    assert violations(pod, RESTRICTED) == [Violation("Seccomp", "containers[0].securityContext.seccompProfile.type")]
    container["securityContext"]["seccompProfile"] = profile
    assert violations(pod, RESTRICTED) == []


def test_the_page_about_kaniko() -> None:
    files = of_page()
    assert kubernetes_validate.validate(files["pod.yml"], "1.34", strict=True)
    assert violations(files["pod.yml"], BASELINE) == []
    (of_pod,), (of_task,) = files["pod.yml"]["spec"]["containers"], files["task.yml"]["spec"]["steps"]
    (script,) = files[".gitlab-ci.yml"]["build"]["script"]
    program, *of_job = script.split()
    assert program == "/kaniko/executor"
    for words in (of_pod["args"], of_task["args"], of_job):
        parser = make_parser("executor", "build")
        executor.configure(parser)
        args = parser.parse_args(words)
        assert args.destination
        assert args.context
        assert args.notes == []


@pytest.mark.root
@pytest.mark.parametrize("name", POLICIES)
def test_what_the_jobs_do(pybuild: Pybuild, server: str, repo: Path, tmp_path: Path, name: str) -> None:
    (repo / "Dockerfile").write_text("FROM scratch\nCOPY sub/file /\n")
    git(repo, "add", ".")
    git(repo, "commit", "-q", "-m", "three")
    (repo.parent / "team").mkdir()
    repo.rename(repo.parent / "team/app.git")
    (container,) = pod_of(name)["spec"]["containers"]
    ((docker,),) = [[one for one in container["volumeMounts"] if one["name"] == "docker-config"]]
    (secret,) = (one["secret"] for one in pod_of(name)["spec"]["volumes"] if one["name"] == "docker-config")
    kaniko = tmp_path / docker["mountPath"].lstrip("/")
    kaniko.mkdir(parents=True)
    termination = tmp_path / "termination-log"
    with serving(tmp_path / "guarded", basic=True) as guarded:
        auth = base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()
        (kaniko / secret["items"][0]["path"]).write_text(json.dumps({"auths": {guarded.host: {"auth": auth}}}))
        words = [
            one.replace("git.example.org", server.removeprefix("http://"))
            .replace("registry.example.org", guarded.host)
            .replace("/dev/termination-log", str(termination))
            for one in container["args"]
            if not one.startswith("--isolation=")  # of this place
        ]
        environ = {one["name"]: one["value"].replace("/store", f"{tmp_path}/store") for one in container.get("env", ())}
        (tmp_path / "store").mkdir()
        shown = run_executor(
            pybuild, *words, KANIKO_DIR=str(kaniko.parent), GIT_PULL_METHOD="http", **{"HOME": str(tmp_path), **environ}
        )
        assert "0 from the cache, 1 executed" in shown
        digest = termination.read_text()
        assert guarded.blob_path(digest).exists()

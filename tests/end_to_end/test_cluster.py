"""`pybuild bake --cluster`: a real Dask scheduler, three workers with stores of their own, and a shared directory."""

from __future__ import annotations

import importlib.util
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tarfile
import time
from contextlib import contextmanager
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import kubernetes_validate
import pytest
import yaml
from jsonschema import Draft202012Validator

from tests.dask_cluster import DaskCluster, Relay
from tests.registry_server import Served, docker_registry

from .conftest import EXAMPLES, PYBUILD, Built

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from .conftest import Pybuild

__all__ = ["docker_registry"]
pytestmark = pytest.mark.root
CLUSTER = EXAMPLES / "cluster"

TEXT = """\
# syntax=docker/dockerfile:1
FROM busybox AS base
WORKDIR /srv/app
RUN echo "base here" && echo b >/base && touch -d @1 /base

FROM base AS made
RUN mkdir /out && echo made >/out/m && touch -d @2 /out/m && ln -s m /out/l

FROM base
COPY --chown=7:8 tree more* /srv/app/
COPY --from=made --exclude=l /out /out
ADD packed.tar /packed/
COPY <<EOT /inline
said
EOT
RUN --mount=type=bind,source=link/a,target=/ctx/a --mount=type=bind,from=made,source=/out,target=/m \\
    --mount=type=cache,target=/c \\
    cat /ctx/a /m/m /inline >/all && touch -d @3 /all
ARG WHICH
RUN echo "which is $WHICH" | tee /which && touch -d @4 /which
"""
BAKE = """\
target "default" {
  name = "t${n}"
  matrix = { n = ["1", "2", "3"] }
  args = { WHICH = n }
  dockerfile = "Buildfile"
  tags = ["t:${n}"]
  cache-to = ["type=local,dest=cache,mode=max"]
  cache-from = ["type=local,src=cache"]
  output = ["type=oci,dest=out/${n}.tar,rewrite-timestamp=true"]
}
"""
EPOCH = {"SOURCE_DATE_EPOCH": "1000000000"}
SLEEPS = """\
target "default" {
  name = "s${n}"
  matrix = { n = ["1", "2", "3"] }
  dockerfile-inline = "FROM busybox\\nRUN echo first-${n}\\nRUN echo second-${n} && sleep 2\\nRUN echo third-${n}"
  cache-to = ["type=local,dest=cache,tag=s${n},mode=max"]
}
"""
ONE = """\
target "default" {
  dockerfile-inline = "FROM busybox\\nRUN %s"
  cache-to = ["type=local,dest=cache,mode=max"]
  %s
}
"""
OLD = """\
from buildah_py.cluster import orders, worker
orders.VERSION = worker.VERSION = "0.0.1 (keys 1, orders 1)"
"""
ARM = """\
from buildah_py.image import platform
platform.host = lambda: platform.parse("linux/arm64")
"""
BOTH = """\
target "default" {
  platforms = ["linux/amd64", "linux/arm64"]
  cache-to = ["type=local,dest=cache,mode=max"]
}
"""
LIAR = """\
from buildah_py.cluster import workshop
honest = getattr(workshop, "honest", workshop.do_step)  # Dask runs this twice
workshop.honest = honest
def lie(order, *rest):
    report = honest(order, *rest)
    if report.made is None:
        return report
    return report._replace(made=report.made._replace(content="sha256:" + 64 * "0"))
workshop.do_step = lie
"""


@pytest.fixture(scope="module")
def dask(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DaskCluster]:
    """Give a scheduler with three workers, of which one has a secret, and one of another version."""
    with DaskCluster(tmp_path_factory.mktemp("dask") / "dask") as found:
        found.add("old", preload=OLD)
        found.add("w1", "w2")
        found.add("w3", environ={"TOKEN": "a-long-secret", "PYBUILD_CLUSTER_SECRETS": "id=token,env=TOKEN"})
        yield found


def write(pybuild: Pybuild, text: str, build: str = TEXT) -> None:
    """Write a bake file and a context to the working directory."""
    (pybuild.work / "docker-bake.hcl").write_text(text)
    (pybuild.work / "Buildfile").write_text(build)
    tree = pybuild.work / "tree"
    (tree / "deep").mkdir(parents=True)
    (tree / "a").write_text("a\n")
    (tree / "deep/b").write_text("b\n" * 3000)
    (tree / "deep/b").chmod(0o755)
    (tree / "to").symlink_to("deep/b")
    (pybuild.work / "link").symlink_to("tree")
    (pybuild.work / "more.txt").write_text("more\n")
    (pybuild.work / ".dockerignore").write_text("cache\nout\n")
    subprocess.run(["tar", "-cf", pybuild.work / "packed.tar", "-C", tree, "."], check=True)
    (pybuild.work / "out").mkdir()


def bake(
    pybuild: Pybuild,
    dask: DaskCluster | None,
    *options: str,
    status: int = 0,
    environ: Mapping[str, str] = MappingProxyType({}),
) -> Built:
    """Bake, on a cluster where one is given."""
    there = [f"--cluster={dask.address}"] if dask is not None else []
    done = pybuild.run("bake", "--progress=plain", *there, *options, status=status, **environ)
    return Built(done.returncode, done.stderr)


@contextmanager
def begun(
    pybuild: Pybuild, dask: DaskCluster, address: str = ""
) -> Iterator[tuple[subprocess.Popen[str], Iterator[str]]]:
    """Begin to bake on a cluster; the process, and the lines that it shows."""
    command = [PYBUILD, "bake", "--progress=plain", f"--cluster={address or dask.address}"]
    with subprocess.Popen(
        command, cwd=pybuild.work, env=pybuild.environ(), stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True
    ) as process:
        assert process.stderr is not None
        yield process, iter(process.stderr)


def digests(pybuild: Pybuild) -> list[str]:
    """Give the digests of the images' manifests in the archives that were written, which are taken away."""
    found = []
    for n in "123":
        path = pybuild.work / f"out/{n}.tar"
        with tarfile.open(path) as archive:
            index = archive.extractfile("index.json")
            assert index is not None
            found.append(json.load(index)["manifests"][0]["digest"])
        path.unlink()
    return found


def local(pybuild: Pybuild, stores: Path, name: str) -> Pybuild:
    """Give another store with the same base image."""
    root = pybuild.root.with_name(name)
    subprocess.run(["cp", "-aT", stores / str(pybuild.owner), root], check=True)
    return type(pybuild)(root, pybuild.work, pybuild.command, pybuild.owner, pybuild.warm)


def test_images_are_those_of_a_build_here(busybox: Pybuild, stores: Path, dask: DaskCluster) -> None:
    write(busybox, BAKE)
    built = bake(busybox, dask, environ=EPOCH)
    assert set(built.outcomes()) == {"RAN"}
    there = digests(busybox)
    assert "the worker old" in built.shown
    assert "has pybuild 0.0.1 (keys 1, orders 1), and this is" in built.shown
    assert "install the version of this machine there" in built.shown
    for n in "123":
        assert f" which is {n}\n" in built.shown, "output comes back"
    assert (
        "base here\n"
        in subprocess.run(
            [PYBUILD, "logs", "t:1"], env=busybox.environ(), capture_output=True, text=True, check=True
        ).stdout
    ), "and is kept"
    assert len(dask.executed("base here")) == 1, "what the targets share is executed once"
    assert "old" not in {one for word in ("base here", "which is") for one in dask.executed(word)}
    # Nothing of it is known in this store, and nothing comes from the cache.
    alone = local(busybox, stores, "alone")
    assert set(bake(alone, None, "--set=*.cache-from=", "--set=*.cache-to=", environ=EPOCH).outcomes()) == {"RAN"}
    assert digests(busybox) == there
    # Another machine hits what the cluster has made, and makes the same images of it.
    other = local(busybox, stores, "other")
    assert set(bake(other, None, environ=EPOCH).outcomes()) == {"HIT"}
    assert digests(busybox) == there
    # What is known asks nobody, and does not even import what would ask.
    (busybox.work / "mocked").mkdir()
    (busybox.work / "mocked/distributed.py").write_text("raise SystemExit('imported')\n")
    again = bake(
        busybox, None, "--cluster=tcp://127.0.0.1:1", environ={**EPOCH, "PYTHONPATH": str(busybox.work / "mocked")}
    )
    assert set(again.outcomes()) == {"HIT"}


def test_a_worker_that_dies_costs_the_step_that_it_was_at(busybox: Pybuild, dask: DaskCluster) -> None:
    write(busybox, SLEEPS)
    shown = ""
    killed = ""
    with begun(busybox, dask) as (process, lines):
        for line in lines:
            shown += line
            at = [one for n in "123" for one in dask.executed(f"second-{n}")] if not killed else []
            if len(at) == 3:
                killed = next(one for one in at if one != "w3")
                dask.kill(killed)
        assert process.wait() == 0, shown
    assert f"{killed} did not end it" in shown
    assert f"the worker {killed} is gone" in shown
    words = "first", "second", "third"
    first, second, third = ([one for n in "123" for one in dask.executed(f"{word}-{n}")] for word in words)
    assert killed in second
    assert len([one for one in second if one != killed]) == 3
    assert len(first) == len(third) == 3, "nothing that was done is done again"


def running(marker: str) -> bool:
    """Whether a process has a word in its command line."""
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            if marker.encode() in path.read_bytes():
                return True
        except OSError:
            continue
    return False


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGKILL])
def test_what_runs_there_ends_with_the_bake(busybox: Pybuild, dask: DaskCluster, how: signal.Signals) -> None:
    marker = f"31.{os.getpid()}{how.value}"
    write(busybox, ONE % (f"echo going && sleep {marker}", ""))
    with begun(busybox, dask) as (process, lines):
        for line in lines:
            if line.endswith(" going\n"):
                break
        assert running(marker)
        process.send_signal(how)
        rest = "".join(lines)
        assert process.wait() == (130 if how == signal.SIGINT else -9)
    assert ("pybuild: interrupted" in rest) == (how == signal.SIGINT)
    end = time.monotonic() + 30
    while running(marker) and time.monotonic() < end:
        time.sleep(0.05)
    assert not running(marker)


def test_a_connection_that_breaks_costs_time_alone(busybox: Pybuild, dask: DaskCluster) -> None:
    write(busybox, ONE % ("echo going && sleep 1 && echo arrived", ""))
    cut = False
    with Relay(dask.port) as relay, begun(busybox, dask, f"tcp://127.0.0.1:{relay.port}") as (process, lines):
        shown = ""
        for line in lines:
            shown += line
            if line.endswith(" going\n") and not cut:
                cut = True
                relay.cut(0.5)
        assert process.wait() == 0, shown
    assert "the scheduler was lost: the step is begun again" in shown
    assert len(re.findall(r"^#\d+ [\d.]+ arrived$", shown, re.MULTILINE)) == 1


def test_a_step_that_fails_says_what_it_says_here(busybox: Pybuild, dask: DaskCluster) -> None:
    write(busybox, ONE % ("echo words && nosuch", ""))
    there, here = bake(busybox, dask, status=127), bake(busybox, None, status=127)
    assert (
        there.shown.partition("pybuild: ")[2].splitlines()[:3] == here.shown.partition("pybuild: ")[2].splitlines()[:3]
    )
    assert "nosuch" in there.shown


def test_steps_go_to_machines_of_their_platform(busybox: Pybuild, dask: DaskCluster) -> None:
    write(busybox, BOTH)
    (busybox.work / "Buildfile").write_text(
        "FROM scratch AS made\nCOPY busybox /bin/sh\nARG TARGETARCH\nRUN echo for $TARGETARCH; echo x >/x\n"
        "FROM scratch\nCOPY --from=made /x /y\n"
    )
    shutil.copy(shutil.which("busybox") or "", busybox.work / "busybox")
    refused = bake(busybox, dask, "--set=*.platform=linux/arm64", status=125).shown
    assert "a command for linux/arm64 cannot run on any worker" in refused, "and none has an emulator for it"
    dask.add("arm", preload=ARM)
    built = bake(busybox, dask)
    assert built.outcomes().count("RAN") >= 4, "files are the same on all"
    assert len(list((busybox.root / "layers").iterdir())) == 1, "no layer passes through here, nor is one looked into"
    assert dask.executed("for arm64") == ["arm"]
    assert "arm" not in dask.executed("for amd64")
    dask.kill("arm")


def test_secrets_are_those_of_workers(busybox: Pybuild, dask: DaskCluster) -> None:
    run = "--mount=type=secret,id=%s,required cat /run/secrets/%s && echo done"
    write(busybox, ONE % (run % ("token", "token"), ""))
    built = bake(busybox, dask)
    assert " ***" in built.shown, "a value does not leave the worker"
    assert "a-long-secret" not in built.shown
    (busybox.work / "docker-bake.hcl").write_text(ONE % (run % ("other", "other"), 'secret = ["id=other,env=HOME"]'))
    refused = bake(busybox, dask, status=125).shown
    assert "the secret `other` does not go to other machines, and no worker has it" in refused
    assert "PYBUILD_CLUSTER_SECRETS='id=other,src=FILE'" in refused


REFUSED = [
    (["--cluster=tcp://127.0.0.1:1", "--set=*.cache-to="], "--cluster needs a shared cache"),
    (["--cluster=tcp://scheduler.example.org:8786"], "without TLS whoever can reach the scheduler can run"),
    (["--cluster=tcp://10.0.0.1:8786"], "tcp:// is for schedulers of this machine"),
    (["--cluster=tsl://a:1"], "did you mean tls?"),
    (["--cluster=tls://a"], "it has to name a host and a port"),
    (["--cluster=tls://127.0.0.1:1", "--cluster-ca=/no/file"], "--cluster-ca: /no/file cannot be read"),
    (["--cluster=tls://127.0.0.1:1", "--cluster-cert=/dev/null"], "--cluster-cert and --cluster-key belong together"),
    (["--cluster=tls://127.0.0.1:1"], "tls:// needs the authority that has signed"),
    (["--cluster-ca=x"], "add --cluster=ADDRESS"),
    (["--cluster=tcp://127.0.0.1:1", "--cluster-resource=GPU"], "it does not say how much of what"),
    (["--cluster=tcp://127.0.0.1:1", "--cluster-workers=x"], "known are root and userns"),
    (["--cluster=tcp://127.0.0.1:1"], "the scheduler tcp://127.0.0.1:1 cannot be reached: Connection refused"),
    (["--cluster=tcp://127.0.0.1:1", "--share=type=local,dest=d"], "has each step executed once by itself"),
]


def test_what_cannot_be_is_refused(busybox: Pybuild) -> None:
    write(busybox, ONE % ("true", ""))
    for options, says in REFUSED:
        done = busybox.run("bake", "--progress=plain", *options, status=None)
        assert done.returncode in (2, 125)
        assert says in done.stderr
        assert done.stderr.count("pybuild: ") == 1, done.stderr


def test_what_workers_cannot_do_is_refused(busybox: Pybuild, dask: DaskCluster) -> None:
    write(busybox, (ONE % ("true", "")).replace("busybox", "scratch"))
    elsewhere = bake(busybox, dask, "--cluster-resource=GPU=1", "--set=*.platform=linux/s390x", status=125).shown
    assert "a command for linux/s390x cannot run on any worker" in elsewhere, elsewhere
    hidden = bake(busybox, dask, "--set=*.cache-to=type=registry,ref=localhost:1/x", status=125).shown
    assert "localhost:1" in hidden


def test_lies_of_a_worker_cost_time_alone(busybox: Pybuild, stores: Path, tmp_path: Path) -> None:
    write(busybox, BAKE)
    with DaskCluster(tmp_path / "dask") as dask:
        dask.add("liar", preload=LIAR)
        refused = bake(busybox, dask, status=125, environ=EPOCH).shown
        assert "the worker liar gets no more steps" in refused
        assert "is not what it said" in refused
        dask.add("honest")
        built = bake(busybox, dask, environ=EPOCH)
        there = digests(busybox)
    assert dask.executed("which is 3")[-1] == "liar" or "honest" in dask.executed("which is 3"), built.shown
    alone = local(busybox, stores, "alone")
    bake(alone, None, "--set=*.cache-from=", "--set=*.cache-to=", environ=EPOCH)
    assert digests(busybox) == there


def containers(name: str) -> list[dict[str, Any]]:
    """Give the containers of an example, in the order in which they stand there."""

    def found(value: Any) -> Iterator[dict[str, Any]]:
        if isinstance(value, dict):
            yield from value.get("containers", ())
            for part in value.values():
                yield from found(part)

    return list(found(yaml.safe_load((CLUSTER / name).read_text())))


def test_the_example_bakes_over_tls(busybox: Pybuild, tmp_path: Path, docker_registry: Served) -> None:
    """Scheduler, worker and job are started with the words of examples/cluster, beside a registry."""
    subject = ["-subj", "/CN=localhost", "-addext", "subjectAltName=IP:127.0.0.1", "-days", "2", "-nodes"]
    tls = tmp_path / "tls"
    tls.mkdir()
    words = ["-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"]
    words += ["-keyout", str(tls / "tls.key"), "-out", str(tls / "tls.crt")]
    subprocess.run(["openssl", "req", *words, *subject], check=True, capture_output=True)
    shutil.copy(tls / "tls.crt", tls / "ca.crt")
    scheduler, worker = containers("dask-cluster.yml")
    (job,) = containers("bake-job.yml")
    (script,) = job["args"]
    both = scheduler["args"], worker["args"]
    files = [[word.replace("/tls/", f"{tls}/") for word in args if "--tls" in word] for args in both]
    assert files[0] == files[1]
    assert "--protocol=tls" in scheduler["args"]
    (busybox.work / "docker-bake.hcl").write_text(
        ONE.replace('  cache-to = ["type=local,dest=cache,mode=max"]\n', "")
        % ("echo over TLS >/x", f'tags = ["{docker_registry.host}/x"]')
    )
    with DaskCluster(tmp_path / "dask", "tls", tuple(files[0])) as dask:
        dask.add("w1", options=[word for word in worker["args"] if word.startswith("--resources")])
        given = {"CLUSTER": dask.address, "TLS": str(tls), "CACHE": f"{docker_registry.host}/cache"}
        assert given.keys() <= {one["name"] for one in job["env"]}
        environ = {**busybox.environ(), **given, "PATH": f"{Path(PYBUILD).parent}:{os.environ['PATH']}"}
        script = script.replace("pybuild bake", "pybuild bake --progress=plain --cluster-resource GB=1")
        done = subprocess.run(
            ["sh", "-euc", script], cwd=busybox.work, env=environ, check=False, capture_output=True, text=True
        )
        assert done.returncode == 0, done.stderr
        assert "pushed " in done.stderr
        assert busybox.sh("cat /x", f"{docker_registry.host}/x") == "over TLS\n"
        plain = [f"--cluster={dask.address.replace('tls', 'tcp')}", "--set=*.cache-to=type=local,dest=cache"]
        assert "cannot be reached" in busybox.run("bake", "--no-cache", *plain, status=125).stderr


@pytest.mark.parametrize("name", sorted(path.name for path in CLUSTER.glob("*.yml")))
def test_the_form_of_the_manifests(name: str) -> None:
    """What Kubernetes refuses or leaves out; the operator's resources by its own schema, where that is installed."""
    data = yaml.safe_load((CLUSTER / name).read_text())
    for pod in pods(data):
        own = [*pod.get("initContainers", ()), *pod["containers"]]
        assert {one["name"] for container in own for one in container.get("volumeMounts", ())} == {
            one["name"] for one in pod.get("volumes", ())
        }
        unmasked = [one for one in own if one.get("securityContext", {}).get("procMount") == "Unmasked"]
        assert not unmasked or pod["hostUsers"] is False
        if data["apiVersion"] == "kubernetes.dask.org/v1":
            assert "hostUsers" not in pod, "the operator leaves it out without a word"
    if data["apiVersion"] != "kubernetes.dask.org/v1":
        assert kubernetes_validate.validate(data, "1.34", strict=True)
        return
    spec = importlib.util.find_spec("dask_kubernetes")
    if spec is None or not spec.submodule_search_locations:
        pytest.skip("dask-kubernetes is not installed, which has the schema: pip install --no-deps dask-kubernetes")
    (file,) = Path(spec.submodule_search_locations[0]).rglob(f"crds/{data['kind'].lower()}.yaml")
    schema = yaml.safe_load(file.read_text())["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
    schema["properties"] |= {"apiVersion": {}, "kind": {}, "metadata": {}}
    Draft202012Validator(of_kubernetes(schema)).validate(data)


def pods(value: Any) -> Iterator[dict[str, Any]]:
    """Give the specifications of pods in a manifest."""
    if isinstance(value, dict):
        if "containers" in value:
            yield value
        for part in value.values():
            yield from pods(part)


def of_kubernetes(schema: Any) -> Any:
    """Make a JSON schema of a structural one: what it does not know is a fault."""
    if isinstance(schema, list):
        return [of_kubernetes(one) for one in schema]
    if not isinstance(schema, dict):
        return schema
    found = {name: of_kubernetes(value) for name, value in schema.items()}
    if "properties" in found and found.get("type", "object") == "object":
        found.setdefault("additionalProperties", False)
    if found.pop("x-kubernetes-int-or-string", False):
        found.pop("type", None)
    return found


def test_the_program_does_not_import_dask() -> None:
    code = "import sys; from buildah_py.cli import program; sys.argv = ['pybuild', '--version']\n"
    code += (
        "try: program()\nexcept SystemExit: pass\nprint(sorted({'dask', 'distributed', 'tornado'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert done.stdout.splitlines()[-1] == "[]"
    assert json.loads(json.dumps(done.stdout.splitlines()[0]))

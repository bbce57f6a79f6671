"""--debug: what the program says that it does, and containers that are run again from what it wrote down."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pexpect
import pytest

from buildah_py.cli import COMMANDS
from tests.registry_server import Served, docker_registry
from tests.web_server import Web, web

from .conftest import PYBUILD

if TYPE_CHECKING:
    from .conftest import Pybuild

__all__ = ["docker_registry", "web"]

PARTS = [
    ["cache", "mounts"],
    ["cache", "mounts", "export"],
    ["cache", "keygen"],
    ["context", "ls"],
    ["manifest", "add"],
]


@pytest.mark.parametrize("command", [*([name] for name in COMMANDS), *PARTS], ids=" ".join)
def test_every_command_knows_it(pybuild: Pybuild, command: list[str]) -> None:
    assert re.search(r"^  -D, --debug +say on standard error", pybuild.run(*command, "--help").stdout, re.MULTILINE)


def log(shown: str) -> str:
    """Give the lines of the log, without their times."""
    lines = [line for line in shown.splitlines() if line.startswith("debug ")]
    return "\n".join(re.sub(r"^debug +\d+ ms ", "", line) for line in lines)


def plan_of(shown: str) -> str:
    """Give the file that the last container of a log can be run again from."""
    found: list[str] = re.findall(r"to run it again: pybuild debug-run (\S+)$", shown, re.MULTILINE)
    return found[-1]


@pytest.mark.either_user
def test_a_build_says_what_it_does(busybox: Pybuild) -> None:
    context = busybox.context("FROM busybox\nCOPY a /\nRUN --network=none echo b > /b\n", a="1")
    (context / ".dockerignore").write_text("x")
    built = busybox.build(context, "--debug", "-o", f"type=oci,dest={busybox.work}/out.tar")
    told = log(built.shown)
    for wanted in (
        r"^cli: pybuild \S+, Python 3\.\d+\.\d+, Linux ",
        r"^cli: `build` as user 0, process \d+$",
        rf"^store\.store: opened {busybox.root}, lease ",
        rf"^sources\.directory \(step 2\): the build context: {context}, ignore file \.dockerignore$",
        r"^api\.build: plan: 3 steps$",
        r"^engine\.runner \(step 3\): step 3: no record for the key sha256:[0-9a-f]{64}$",
        r"^store\.locks \(step 3\): took the lock `sha256:[0-9a-f]{64}`$",
        r"^engine\.plan_log \(step 3\): container: overlay / of 2 layers",
        r"^engine\.plan_log \(step 3\): container: proc at /proc$",
        r"^engine\.plan_log \(step 3\): container: execute /bin/sh -c echo b > /b$",
        r"^linux\.interpreter: buildah_py\.sandbox\.helper\.main\(3, unprivileged=\w+\) runs as process \d+$",
        r"^sandbox\.client \(step 3\): container: started$",
        r"^sandbox\.started \(step 3\): container: ended, ",
        r"^engine\.runner \(step 3\): made the layer sha256:[0-9a-f]{64}, content ",
        r"^transfer\.write: output: type oci, destination \S+/out\.tar$",
        rf"^store\.store: closed {busybox.root}$",
    ):
        assert re.search(wanted, told, re.MULTILINE), (wanted, built.shown)
    again = busybox.run("--debug", "--progress=plain", "-t", "test", context)
    assert re.search(r"^engine\.runner: step 3: hit, the layer sha256:[0-9a-f]{64}$", log(again.stderr), re.MULTILINE)
    assert log(busybox.run("images", PYBUILD_DEBUG="1").stderr)
    assert log(busybox.run("images", "--debug=false").stderr) == log(busybox.run("images").stderr) == ""


@pytest.mark.root  # others go on in a process of their own
def test_a_warm_build_pays_nothing_for_it(busybox: Pybuild) -> None:
    context = busybox.context("FROM busybox\nRUN --network=none true\n")
    busybox.build(context)
    script = (
        "import sys; from buildah_py.cli import main; assert main(sys.argv[1:]) == 0; print('logging' in sys.modules)"
    )
    for options, imported in ((["-q"], "False\n"), (["-q", "--debug"], "True\n")):
        command = [sys.executable, "-c", script, "build", *options, str(context)]
        done = subprocess.run(command, check=True, capture_output=True, text=True, env=busybox.environ(), timeout=60)
        assert done.stdout.partition("\n")[2] == imported


def test_the_status_is_the_same_and_the_place_is_shown(busybox: Pybuild) -> None:
    context = busybox.context("FROM busybox\nRUN --network=none exit 7\n")
    built = busybox.build(context, "--debug", status=7)
    assert "Traceback (most recent call last):" in built.shown
    assert built.shown.splitlines()[-2:] == busybox.build(context, status=7).shown.splitlines()[-2:]
    assert "errors.NotFound: there is no image `none`" in busybox.run("rmi", "none", "--debug", status=125).stderr


def test_an_option_of_the_containers_command_is_the_containers(busybox: Pybuild) -> None:
    done = busybox.run("run", "--network=none", "busybox", "echo", "--debug")
    assert (done.stdout, done.stderr) == ("--debug\n", "")


@pytest.mark.root
def test_a_terminal_shows_lines(busybox: Pybuild) -> None:
    context = busybox.context("FROM busybox\nRUN --network=none echo a step\n")
    environ = {**busybox.environ(), "TERM": "xterm", "NO_COLOR": "1"}
    child = pexpect.spawn(PYBUILD, ["build", "--debug", str(context)], env=environ, encoding="utf-8", timeout=60)
    child.expect(pexpect.EOF)
    child.close()
    assert child.exitstatus == 0
    assert child.before
    assert "\x1b" not in child.before
    assert re.search(r"^#2 [\d.]+ a step\r$", child.before, re.MULTILINE)
    assert log(child.before)


@pytest.mark.either_user
def test_secrets_are_neither_shown_nor_written(busybox: Pybuild) -> None:
    context = busybox.context(
        "FROM busybox\n"
        "RUN --network=none --mount=type=secret,id=t --mount=type=secret,id=t,env=TOKEN "
        'test $(cat /run/secrets/t) = $TOKEN && test -n "$HTTP_PROXY"\n'
    )
    (busybox.work / "t").write_text("s3cret")
    proxy = "http://me:s3cret@proxy:1"
    built = busybox.build(context, "--debug", "--secret", "id=t,src=t", "--build-arg", f"HTTP_PROXY={proxy}")
    assert "s3cret" not in built.shown
    ran = busybox.run("run", "--debug", "--network=none", "-e", "TOKEN=s3cret", "test", "sh", "-c", "test $TOKEN")
    assert "s3cret" not in ran.stderr
    for shown in (built.shown, ran.stderr):
        assert "s3cret" not in Path(plan_of(shown)).read_text()
    again = busybox.run("debug-run", plan_of(built.shown), "true")
    assert again.stderr.splitlines() == [
        "pybuild: warning: the value of HTTP_PROXY is not in the plan; -e HTTP_PROXY=VALUE gives one",
        "pybuild: warning: the value of /run/secrets/t is not in the plan; -v FILE:/run/secrets/t:ro gives one",
        "pybuild: warning: the value of TOKEN is not in the plan; -e TOKEN=VALUE gives one",
    ]
    given = ("-v", f"{busybox.work}/t:/run/secrets/t:ro", "-e", "TOKEN=s3cret", "-e", f"HTTP_PROXY={proxy}")
    assert busybox.run("debug-run", *given, plan_of(built.shown)).stderr == ""


def test_credentials_in_addresses_are_not_shown(busybox: Pybuild, web: Web) -> None:
    (web.files / "a").write_text("1")
    address = web.url.replace("://", "://me:s3cret@")
    shown = busybox.build(busybox.context(f"FROM scratch\nADD {address}/a?sig=t0ken /\n"), "--debug").shown
    assert f"http.client (step 2): GET {web.url}/a?… 200" in log(shown)
    assert "s3cret" not in log(shown)
    assert "t0ken" not in log(shown)


def test_requests_to_registries_are_shown(busybox: Pybuild, docker_registry: Served) -> None:
    name = f"{docker_registry.host}/app:1"
    sent = log(busybox.run("push", "busybox", name, "--debug", "--creds=me:s3cret").stderr)
    assert re.search(rf"PUT http://{docker_registry.host}/v2/app/blobs/uploads/\S+\?… 201$", sent, re.MULTILINE)
    assert f"PUT http://{docker_registry.host}/v2/app/manifests/1: 201" in sent
    assert "s3cret" not in sent
    busybox.run("rmi", "busybox")
    busybox.run("prune", "--all")
    got = log(busybox.run("run", "--debug", "--network=none", name, "true").stderr)
    assert f"GET http://{docker_registry.host}/v2/app/manifests/1: 200" in got
    assert re.search(rf"layer sha256:[0-9a-f]{{64}}: from registry {docker_registry.host}/app$", got, re.MULTILINE), got


@pytest.mark.either_user
def test_a_step_that_failed_is_run_again(busybox: Pybuild) -> None:
    context = busybox.context(
        "FROM busybox AS base\n"
        "RUN --network=none mkdir /lib && echo lib > /lib/a\n"
        "FROM busybox\n"
        "ARG LEVEL=3\n"
        "WORKDIR /work\n"
        "RUN --network=none --mount=type=cache,target=/cache --mount=from=base,source=/lib,target=/other,rw \\\n"
        "    --mount=type=tmpfs,target=/t --mount=target=/src <<EOT\n"
        'echo "$LEVEL $(pwd) $(cat /other/a)"\n'
        "echo x > /other/b; echo x > /t/c; echo x >> /cache/log; wc -l < /cache/log; cat /src/a\n"
        "exit 6\n"
        "EOT\n",
        a="of the context\n",
    )
    plan = plan_of(busybox.build(context, "--debug", status=6).shown)
    for _ in range(2):  # what it writes to the cache is thrown away
        again = busybox.run("debug-run", "-v", f"{context}:/src", plan, status=6)
        assert (again.stdout, again.stderr) == ("3 /work lib\n2\nof the context\n", "")
    looked = busybox.run("debug-run", plan, "sh", "-c", "cat /cache/log; ls -A /other; ls /src; exit 3", status=3)
    assert looked.stdout == "x\na\n"
    assert looked.stderr.splitlines()[0] == (
        "pybuild: warning: / of 1 layers at /src (read-only): that is gone; -v SOURCE:/src gives something else"
    )
    asked = busybox.run("debug-run", "-i", "-e", "LEVEL=4", "-v", f"{context}:/src", plan, "sh", stdin="echo $LEVEL\n")
    assert asked.stdout == "4\n"


@pytest.mark.root
def test_a_terminal_for_what_is_run_again(busybox: Pybuild) -> None:
    plan = plan_of(busybox.run("run", "--debug", "--network=none", "busybox", "true").stderr)
    command = ["debug-run", "-it", plan, "sh", "-c", "tty; read line; exit $line"]
    child = pexpect.spawn(PYBUILD, command, encoding="utf-8", timeout=60)
    child.expect("/dev/pts/0")
    child.sendline("5")
    child.expect(pexpect.EOF)
    child.close()
    assert child.exitstatus == 5


def test_plans_that_cannot_be_run(busybox: Pybuild, tmp_path: Path) -> None:
    context = busybox.context("FROM busybox\nRUN --network=none echo b > /b\nRUN --network=none exit 1\n")
    plan = plan_of(busybox.build(context, "--debug", status=1).shown)
    (tmp_path / "text").write_text("{}")
    for path, told in (("none", "cannot be read: No such file"), ("text", "is not a plan"), ("", "Is a directory")):
        assert told in busybox.run("debug-run", tmp_path / path, status=2).stderr
    text = Path(plan).read_text()
    kept = tmp_path / "kept.json"
    kept.write_text(text)
    busybox.run("prune", "--all")
    assert not Path(plan).exists()
    gone = busybox.run("debug-run", kept, status=125).stderr
    assert gone == "pybuild: layers that the container ran on are gone\n  hint: build again, with --debug\n"
    kept.write_text(text.replace(str(busybox.root), "/nonesuch"))
    told = busybox.run("debug-run", kept, status=125).stderr
    assert "the store /nonesuch that the plan is about is not there" in told

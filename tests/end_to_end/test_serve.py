"""`pybuild serve`: what docker-py, docker's own command line and hostile clients get."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import shutil
import socket
import subprocess
import sys
import time
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.end_to_end.conftest import Pybuild

CLIENT = r"""
import docker, io, json, sys, tarfile
client = docker.DockerClient(base_url=sys.argv[1])
assert client.ping() and client.version()["Platform"]["Name"] == "pybuild" and client.info()["OSType"] == "linux"
given = {"buildargs": {"WHO": "world"}, "labels": {"a": "b=c"}}
image, log = client.images.build(path=sys.argv[2], tag="app:1", rm=True, **given)
said = "".join(one.get("stream", "") for one in log)
assert "hello world" in said and "Step 1/" in said, said
assert (image.tags, image.labels) == (["app:1"], {"a": "b=c"}), (image.tags, image.labels)
again, log = client.images.build(path=sys.argv[2], tag="app:2", **given)
assert again.id == image.id and "Using cache" in str(list(log))
quiet, _ = client.images.build(path=sys.argv[2], quiet=True, **given)
assert quiet.id == image.id
assert client.images.get("app:2").attrs["Config"]["Env"] and image.history()[0]["CreatedBy"].startswith("RUN")
assert image.tag("other/name", "3") and client.images.list("other/name")[0].id == image.id
archive = b"".join(image.save(named=True))
names = tarfile.open(fileobj=io.BytesIO(archive)).getnames()
assert "manifest.json" in names, names
(loaded,) = client.images.load(archive)
assert loaded.id == image.id
client.images.remove("other/name:3")
def fails(kind, call, *args, **named):
    try:
        call(*args, **named)
    except kind as error:
        return error
    raise AssertionError("nothing was raised")
errors = docker.errors
assert fails(errors.ImageNotFound, client.images.get, "other/name:3")
error = fails(errors.BuildError, client.images.build, fileobj=io.BytesIO(b"FROM busybox\nRUN echo so; exit 9\n"))
assert "status 9" in error.msg and list(error.build_log)[-1]["errorDetail"]["code"] == 9, error.msg
error = fails(errors.APIError, client.images.build, fileobj=io.BytesIO(b"FROM busybox\nRUNN x\n"))
assert error.status_code == 400 and "Dockerfile:2" in error.explanation, error.explanation
error = fails(errors.APIError, client.containers.run, "busybox")
assert error.status_code == 501 and "pybuild run" in error.explanation
assert fails(errors.APIError, client.images.remove, image.id).status_code == 409
assert fails(errors.APIError, docker.APIClient(base_url=sys.argv[1], version="1.99").version).status_code == 400
client.images.prune(filters={"dangling": False})
assert client.images.list() == [] and client.api.prune_builds()["SpaceReclaimed"] > 0
"""
FILE = """FROM busybox
ARG WHO
ENV A=b
RUN --mount=type=cache,target=/cache <<END
echo hello $WHO >/greeting
cat /greeting
END
RUN cat /greeting && test ! -e /left/out
COPY . /all
RUN test ! -e /all/left-out
"""


def python(pybuild: Pybuild, script: str, *arguments: object) -> None:
    """Run a Python script as the user of that store."""
    if pybuild.owner:
        *before, _, _ = pybuild.command  # -m buildah_py
        argv = [*before, "-c", script, *map(str, arguments)]
    else:
        argv = [sys.executable, "-c", script, *map(str, arguments)]
    result = subprocess.run(argv, check=False, capture_output=True, text=True, cwd="/", timeout=200)
    assert result.returncode == 0, result.stderr


@contextlib.contextmanager
def serving(pybuild: Pybuild, *options: str) -> Iterator[Path]:
    """Run the server; its socket."""
    path = pybuild.work / "s"
    argv = [*pybuild.command, "serve", "--socket", str(path), *options]
    with subprocess.Popen(
        argv, env=pybuild.environ(), cwd=pybuild.work, stderr=subprocess.PIPE, stdin=subprocess.DEVNULL
    ) as server:
        assert server.stderr is not None
        assert server.stderr.readline().decode() == f"pybuild: DOCKER_HOST=unix://{path}\n"
        try:
            yield path
            assert server.poll() is None, server.stderr.read()
        finally:
            server.terminate()
            rest = server.stderr.read()
        assert (server.wait(), rest) == (0, b"")
    assert not path.exists()


def ask(path: Path, request: bytes, *, more: bool = False) -> tuple[int, bytes]:
    """Send bytes; the status and the whole of what comes back."""
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(60)
        connection.connect(str(path))
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            connection.sendall(request)
            if not more:
                connection.shutdown(socket.SHUT_WR)
        answer = http.client.HTTPResponse(connection)
        answer.begin()
        return answer.status, answer.read()


@pytest.mark.either_user
def test_docker_py_builds(busybox: Pybuild) -> None:
    context = busybox.context("", left_out="x")
    (context / "Buildfile").unlink()
    (context / "Dockerfile").write_text(FILE)
    (context / "left-out").write_text("x")
    (context / ".dockerignore").write_text("left-out\n")
    with serving(busybox) as path:
        python(busybox, CLIENT, f"unix://{path}", context)


def test_docker_builds_with_its_classic_builder(busybox: Pybuild) -> None:
    docker = shutil.which("docker")
    if docker is None:
        pytest.skip("needs docker's command line")
    context = busybox.context("", file="x")
    (context / "Dockerfile").write_text("FROM busybox\nCOPY file /\nRUN cat /file; echo on the other >&2\n")
    with serving(busybox) as path:
        environ = {**os.environ, "DOCKER_HOST": f"unix://{path}", "DOCKER_CONFIG": str(busybox.work / "none")}

        def run(*words: object, status: int = 0, **named: str) -> str:
            result = subprocess.run(
                [docker, *map(str, words)], check=False, capture_output=True, text=True, env={**environ, **named}
            )
            assert result.returncode == status, (words, result.stdout, result.stderr)
            return result.stdout if not status else result.stderr

        iid = busybox.work / "iid"
        said = run("build", "-t", "app", "--iidfile", iid, "-q", context, DOCKER_BUILDKIT="0").strip()
        assert said == iid.read_text().strip()
        assert json.loads(run("inspect", "app"))[0]["Id"] == said
        assert "app" in run("images")
        (context / "Dockerfile").write_text("FROM busybox\nRUN exit 3\n")
        assert "status 3" in run("build", context, status=3, DOCKER_BUILDKIT="0")
        assert "starts no containers" in run("run", "app", status=125)
    assert busybox.run("run", "--network=none", "app", "cat", "/file").stdout == "x"


CHUNKED = b"POST /v1.47/build?dockerfile=D HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
BIG = b"GET /_ping HTTP/1.1\r\nHost: x\r\n"


@pytest.mark.parametrize(
    ("request_", "status", "said"),
    [
        (BIG + b"A: " + b"x" * 70_000 + b"\r\n\r\n", 431, b""),
        (BIG + b"A: b\r\n" * 200 + b"\r\n", 431, b""),
        (b"GET /" + b"x" * 70_000 + b" HTTP/1.1\r\n\r\n", 414, b""),
        (b"nonsense\r\n\r\n", 400, b""),
        (b"GET /v1.99/_ping HTTP/1.1\r\n\r\n", 400, b"too new"),
        (b"GET /v1.10/_ping HTTP/1.1\r\n\r\n", 400, b"too old"),
        (b"GET /images/..%2f..%2fetc%2fpasswd/json HTTP/1.1\r\n\r\n", 400, b"not an image reference"),
        (b"GET /images/%ff/json HTTP/1.1\r\n\r\n", 400, b"cannot be read"),
        (b"GET /images/--all/json HTTP/1.1\r\n\r\n", 400, b""),
        (b"POST /images/--help/push HTTP/1.1\r\nContent-Length: 0\r\n\r\n", 400, b""),
        (CHUNKED + b"zz\r\n", 400, b"how long"),
        (CHUNKED + b"3\r\nabc\r\n0\r\n\r\n", 400, b"is a build file, and -f D names another"),
        (b"POST /build?remote=/etc HTTP/1.1\r\nContent-Length: 0\r\n\r\n", 400, b"not a URL"),
        (b"POST /auth HTTP/1.1\r\nContent-Length: 99999999\r\n\r\n" + b" " * 2_000_000, 413, b"MiB"),
        (b"POST /auth HTTP/1.1\r\nContent-Length: 3\r\nContent-Length: 4\r\n\r\n{}", 400, b"number of bytes"),
        (b"POST /auth HTTP/1.1\r\nContent-Length: 2\r\n\r\n[]", 400, b"not a JSON object"),
    ],
    ids=[
        "header",
        "headers",
        "path",
        "nonsense",
        "new",
        "old",
        "up",
        "bytes",
        "option",
        "push",
        "chunk-size",
        "no-file",
        "remote",
        "large",
        "lengths",
        "array",
    ],
)
def test_hostile_requests_are_refused(serving_busybox: Path, request_: bytes, status: int, said: bytes) -> None:
    answered, data = ask(serving_busybox, request_, more=True)
    assert (answered, said in data) == (status, True), data
    assert ask(serving_busybox, b"GET /_ping HTTP/1.1\r\n\r\n")[0] == 200


@pytest.fixture(scope="module")
def serving_busybox(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Give the socket of a server with an empty store."""
    from tests.end_to_end.conftest import Pybuild as Command

    place = tmp_path_factory.mktemp("s")
    with serving(Command(place / "root", place)) as path:
        yield path


def archive_with(name: str, file: str = "FROM scratch\nCOPY . /\n") -> bytes:
    """Give an archive with a file of that name, and a build file."""
    import io
    import tarfile

    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        for member, data in (("Dockerfile", file.encode()), (name, b"x")):
            info = tarfile.TarInfo(member)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return out.getvalue()


def post(path: str, data: bytes) -> bytes:
    return b"POST %b HTTP/1.1\r\nContent-Length: %d\r\n\r\n%b" % (path.encode(), len(data), data)


def test_contexts_do_not_lead_out_of_themselves(serving_busybox: Path) -> None:
    status, data = ask(serving_busybox, post("/build", archive_with("../../outside")))
    assert (status, b"outside" in data) == (500, True), data
    status, data = ask(serving_busybox, post("/build?dockerfile=../../etc/passwd", archive_with("a")))
    assert status in (400, 500), data
    assert b"root:" not in data
    status, data = ask(serving_busybox, post("/build", archive_with("a")))
    assert (status, b"Successfully built" in data) == (200, True), data
    import gzip
    import lzma

    for packed in (gzip.compress(archive_with("a")), lzma.compress(archive_with("a"))):
        assert b"Successfully built" in ask(serving_busybox, post("/build?q=0", packed))[1]


@pytest.mark.root
def test_a_client_that_goes_away_ends_its_build(busybox: Pybuild) -> None:
    with serving(busybox) as path, socket.socket(socket.AF_UNIX) as connection:
        connection.connect(str(path))
        marker = f"sleep {os.getpid()}77"
        connection.sendall(post("/build", archive_with("a", f"FROM busybox\nRUN echo begun; {marker}\n")))
        shown = b""
        while b"begun" not in shown:
            data = connection.recv(4096)
            assert data, shown
            shown += data
        wait_until(lambda: bool(running(marker)))
        connection.close()
        wait_until(lambda: not running(marker))


def test_it_ends_in_peace_while_clients_come(pybuild: Pybuild) -> None:
    for _ in range(4):
        with serving(pybuild) as path:
            for _ in range(8):
                with socket.socket(socket.AF_UNIX) as connection:
                    connection.connect(str(path))


def wait_until(holds: Callable[[], bool]) -> None:
    until = time.monotonic() + 60
    while not holds():
        assert time.monotonic() < until
        time.sleep(0.05)


def running(command: str) -> list[str]:
    """Find processes with that command line."""
    result = subprocess.run(["pgrep", "-fx", command], check=False, capture_output=True, text=True)
    return result.stdout.split()


@pytest.mark.root
def test_other_users_are_refused(busybox: Pybuild) -> None:
    with serving(busybox) as path:
        assert path.stat().st_mode & 0o777 == 0o600
        path.chmod(0o666)
        script = (
            "import socket, sys\ns = socket.socket(socket.AF_UNIX)\ns.connect(sys.argv[1])\n"
            "s.sendall(b'GET /images/json HTTP/1.0\\r\\n\\r\\n')\nprint(s.makefile().read())"
        )
        argv = [
            "setpriv",
            "--reuid=65534",
            "--regid=65534",
            "--clear-groups",
            "/usr/bin/python3",
            "-c",
            script,
            str(path),
        ]
        shown = subprocess.run(argv, check=True, capture_output=True, text=True, cwd="/").stdout
        assert "403" in shown
        assert "another user" in shown
        second = busybox.run("serve", "--socket", path, status=2)
        assert "another server answers there" in second.stderr
    (busybox.work / "s").write_text("a file")
    assert "is not a socket" in busybox.run("serve", "--socket", path, status=2).stderr


def test_a_service_manager_starts_it_and_it_ends_when_idle(pybuild: Pybuild) -> None:
    """The socket is handed over as sd_listen_fds(3) says, is there before the server, and stays behind it."""
    path = pybuild.work / "s"
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen()
        script = f'exec 3<&{listener.fileno()}; export LISTEN_PID=$$ LISTEN_FDS=1; exec "$@"'
        argv = ["bash", "-c", script, "bash", *pybuild.command, "serve", "--idle", "0.4"]
        with subprocess.Popen(
            argv, env=pybuild.environ(), pass_fds=(listener.fileno(),), stderr=subprocess.PIPE
        ) as server:
            assert ask(path, b"GET /_ping HTTP/1.1\r\n\r\n") == (200, b"OK")
            assert server.communicate(timeout=60)[1] == b""
        assert server.returncode == 0
        assert path.exists()
        argv[2] = 'export LISTEN_PID=$$ LISTEN_FDS=2; exec "$@"'
        refused = subprocess.run(argv, check=False, env=pybuild.environ(), capture_output=True, text=True)
        assert (refused.returncode, "2 sockets were handed over" in refused.stderr) == (2, True)

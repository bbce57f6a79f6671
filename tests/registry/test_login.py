"""`pybuild login` and `logout`, against registries that ask; what is kept is read by skopeo too."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from base64 import b64encode
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from buildah_py.image.reference import parse
from buildah_py.registry import Registry, RegistryOptions
from tests.registry.conftest import QUICK
from tests.registry.images import image, pull, push
from tests.registry_server import PASSWORD, USER, Served, docker_registry, serving

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

__all__ = ["docker_registry"]

STDIN = ("--username", USER, "--password-stdin")


@pytest.fixture
def pybuild(environ: dict[str, str]) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Run the command; nothing that it says may hold the password."""
    environ["PYTHONPATH"] = str(Path(__file__).resolve().parents[2])

    def run(*arguments: str, status: int = 0, stdin: str = PASSWORD + "\n") -> subprocess.CompletedProcess[str]:
        argv = [sys.executable, "-m", "buildah_py", *arguments]
        done = subprocess.run(argv, input=stdin, env=environ, check=False, capture_output=True, text=True)
        assert done.returncode == status, done
        assert PASSWORD not in done.stdout + done.stderr
        assert "Traceback" not in done.stderr
        return done

    return run


@pytest.fixture
def basic(tmp_path: Path) -> Iterator[Served]:
    with serving(tmp_path / "basic", basic=True) as served:
        yield served


def config(environ: dict[str, str]) -> Path:
    return Path(environ["HOME"], ".docker/config.json")


def read(path: Path) -> dict[str, Any]:
    data: dict[str, Any] = json.loads(path.read_text())
    return data


def works(environ: dict[str, str], host: str) -> None:
    """Push and pull with what has been kept."""
    with Registry(RegistryOptions.from_environment(environ, policy=QUICK)) as registry:
        push(registry, parse(f"{host}/me/app"), image(10))
        assert pull(registry, parse(f"{host}/me/app")) == image(10)


def test_in_and_out(pybuild: Any, basic: Served, environ: dict[str, str]) -> None:
    assert f"Login Succeeded! {basic.host}, kept in {config(environ)}" in pybuild("login", *STDIN, basic.host).stdout
    assert config(environ).stat().st_mode & 0o777 == 0o600
    assert read(config(environ)) == {"auths": {basic.host: {"auth": b64encode(b"anna:geheim").decode()}}}
    works(environ, basic.host)
    assert pybuild("login", "--get-login", basic.host).stdout == USER + "\n"
    if shutil.which("skopeo"):
        said = subprocess.run(
            ["skopeo", "login", "--authfile", config(environ), "--get-login", basic.host],
            check=True,
            capture_output=True,
            text=True,
        )
        assert said.stdout == USER + "\n"
    assert "Removed login credentials for" in pybuild("logout", basic.host).stdout
    assert read(config(environ)) == {"auths": {}}
    assert "Not logged in" in pybuild("logout", basic.host).stdout
    assert "not logged in to" in pybuild("login", "--get-login", basic.host, status=125).stderr


def test_a_wrong_password_is_not_kept(pybuild: Any, basic: Served, environ: dict[str, str]) -> None:
    done = pybuild("login", *STDIN, basic.host, status=125, stdin="wrong-xyz\n")
    assert f"login to {basic.host}: {basic.host} answered 401 Unauthorized" in done.stderr
    assert "name or password are not right" in done.stderr
    assert "wrong-xyz" not in done.stderr
    assert not config(environ).exists()


def test_a_token_server_gives_a_token_to_keep(pybuild: Any, tmp_path: Path, environ: dict[str, str]) -> None:
    with serving(tmp_path / "r", tokens=True) as served:
        assert served.tokens is not None
        pybuild("login", *STDIN, served.host)
        assert read(config(environ))["auths"][served.host] == {
            "auth": b64encode(b"anna:").decode(),
            "identitytoken": served.tokens.refresh,
        }
        assert pybuild("login", "--get-login", served.host).stdout == USER + "\n"
        works(environ, served.host)
        pybuild("login", *STDIN, served.host, status=125, stdin="wrong\n")
        works(environ, served.host)


def test_a_registry_with_tls(pybuild: Any, tmp_path: Path, environ: dict[str, str]) -> None:
    with serving(tmp_path / "r", tls=True, basic=True) as served:
        done = pybuild("login", *STDIN, "--tls-verify", served.host, status=2)
        assert "neither true nor false" in done.stderr
        done = pybuild("login", *STDIN, "--tls-verify=true", served.host, status=125)
        assert "its certificate is not to be trusted: unable to get local issuer certificate" in done.stderr
        assert f"/etc/containers/certs.d/{served.host}/ca.crt" in done.stderr
        certs = Path(environ["HOME"], ".config/containers/certs.d", served.host)
        certs.mkdir(parents=True)
        shutil.copy(served.ca, certs / "ca.crt")
        pybuild("login", *STDIN, "--tls-verify=true", served.host)


def test_what_stands_in_the_file_stays(pybuild: Any, basic: Served, environ: dict[str, str], tmp_path: Path) -> None:
    other = {"auth": b64encode(b"other:pw").decode()}
    real = tmp_path / "elsewhere.json"
    old = {"https://" + basic.host + "/v1/": {"auth": ""}, "other:1": other}
    real.write_text(json.dumps({"auths": old, "detachKeys": "ctrl-e", "HttpHeaders": {"X": "y"}}))
    real.chmod(0o644)
    config(environ).parent.mkdir()
    config(environ).symlink_to(real)
    pybuild("login", *STDIN, f"https://{basic.host}/v1/")
    assert config(environ).is_symlink()
    assert real.stat().st_mode & 0o777 == 0o600
    data = read(real)
    assert set(data["auths"]) == {basic.host, "other:1"}
    assert data["auths"]["other:1"] == other
    assert (data["detachKeys"], data["HttpHeaders"]) == ("ctrl-e", {"X": "y"})
    assert sorted(path.name for path in tmp_path.iterdir() if path.name.startswith(".auth")) == []
    out = pybuild("logout", "--all").stdout
    assert f"for {basic.host}\n" in out
    assert "for other:1\n" in out
    assert read(real)["auths"] == {}


def test_the_file_is_chosen(pybuild: Any, basic: Served, environ: dict[str, str], tmp_path: Path) -> None:
    chosen = tmp_path / "new/auth.json"
    pybuild("login", *STDIN, "--authfile", str(chosen), basic.host)
    assert list(read(chosen)["auths"]) == [basic.host]
    environ["REGISTRY_AUTH_FILE"] = str(tmp_path / "variable.json")
    pybuild("login", *STDIN, basic.host)
    assert list(read(tmp_path / "variable.json")["auths"]) == [basic.host]
    del environ["REGISTRY_AUTH_FILE"]
    assert not config(environ).exists()
    podmans = Path(environ["XDG_RUNTIME_DIR"], "containers/auth.json")
    podmans.parent.mkdir()
    podmans.write_text(json.dumps({"auths": {basic.host: {"auth": b64encode(b"old:pw").decode()}}}))
    pybuild("login", *STDIN, basic.host)  # the file that would be read first
    assert read(podmans)["auths"][basic.host]["auth"] == b64encode(b"anna:geheim").decode()
    assert not config(environ).exists()


def test_a_helper_keeps_the_password(pybuild: Any, basic: Served, environ: dict[str, str]) -> None:
    folder = Path(environ["HOME"], "bin")
    folder.mkdir()
    script = folder / "docker-credential-file"
    script.write_text(
        f"#!/bin/sh\ncase $1 in\nstore) cat > {folder}/kept ;;\nerase) rm {folder}/kept ;;\n"
        f"get) cat {folder}/kept 2>/dev/null || {{ echo credentials not found in native keychain; exit 1; }} ;;\nesac\n"
    )
    script.chmod(0o755)
    environ["PATH"] = f"{folder}:{environ['PATH']}"
    config(environ).parent.mkdir()
    config(environ).write_text(json.dumps({"credHelpers": {basic.host: "file"}}))
    assert "kept in docker-credential-file" in pybuild("login", *STDIN, basic.host).stdout
    assert read(folder / "kept") == {"ServerURL": basic.host, "Username": USER, "Secret": PASSWORD}
    assert read(config(environ))["auths"] == {basic.host: {}}
    works(environ, basic.host)
    pybuild("logout", basic.host)
    assert not (folder / "kept").exists()
    assert read(config(environ)) == {"credHelpers": {basic.host: "file"}, "auths": {}}


def test_a_person_is_asked(basic: Served, environ: dict[str, str]) -> None:
    import pexpect

    environ["PYTHONPATH"] = str(Path(__file__).resolve().parents[2])
    child = pexpect.spawn(sys.executable, ["-m", "buildah_py", "login", basic.host], env=environ, timeout=20)
    child.expect("Username: ")
    child.sendline(USER)
    child.expect("Password: ")
    child.sendline(PASSWORD)
    child.expect(pexpect.EOF)
    child.close()
    assert child.exitstatus == 0
    assert b"Login Succeeded" in child.before
    assert PASSWORD.encode() not in child.before


def test_a_registry_that_asks_nobody(pybuild: Any, docker_registry: Served, environ: dict[str, str]) -> None:
    pybuild("login", *STDIN, docker_registry.host)
    works(environ, docker_registry.host)


@pytest.mark.parametrize(
    ("arguments", "stdin", "said"),
    [
        (("--password-stdin", "host"), "x", "wants --username"),
        (("-u", "a", "--password-stdin", "host"), "\n", "no password on stdin"),
        (("-u", "a", "host"), "", "nobody can be asked"),
        (("-u", "a", "-p", "b", "--password-stdin", "host"), "", "exclude each other"),
        (("-u", "a", "--password-stdin", "host/with/path"), "x", "not the name of a registry"),
        (("-u", "a", "--password-stdin", "ho st"), "x", "not an image reference"),
    ],
)
def test_command_lines_that_do_not_fit(arguments: tuple[str, ...], stdin: str, said: str, pybuild: Any) -> None:
    assert said in pybuild("login", *arguments, status=2, stdin=stdin).stderr


def test_where_nobody_answers(pybuild: Any) -> None:
    done = pybuild("login", *STDIN, "127.0.0.1:1", status=125)
    assert "login to 127.0.0.1:1: 127.0.0.1:1 cannot be reached: Connection refused" in done.stderr

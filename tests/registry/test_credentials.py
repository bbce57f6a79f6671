from __future__ import annotations

import json
from base64 import b64encode
from pathlib import Path

import pytest

from buildah_py.errors import UsageError
from buildah_py.registry import Credentials, RegistryOptions
from buildah_py.registry.credentials import find, parse

SECRET = "s3cret:with:colons"


def auth(name: str, password: str = SECRET) -> dict[str, str]:
    return {"auth": b64encode(f"{name}:{password}".encode()).decode()}


def write(path: Path, **content: object) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content))
    return path


def user(registry: str, environ: dict[str, str], repository: str = "me/app", authfile: str = "") -> str | None:
    found = find(registry, repository, RegistryOptions.from_environment(environ, authfile=authfile))
    return None if found is None else found.username


def helper(environ: dict[str, str], name: str, script: str) -> None:
    """Put a credential helper into the PATH; it notes what it is asked in a file."""
    folder = Path(environ["HOME"], "bin")
    folder.mkdir(exist_ok=True)
    path = folder / f"docker-credential-{name}"
    path.write_text(f'#!/bin/sh\nread key; echo "$1 $key" >> {folder}/asked\n{script}\n')
    path.chmod(0o755)
    if str(folder) not in environ["PATH"]:
        environ["PATH"] = f"{folder}:{environ['PATH']}"


def test_files_in_their_order(environ: dict[str, str]) -> None:
    home = Path(environ["HOME"])
    assert user("host:5000", environ) is None
    write(home / ".docker/config.json", auths={"host:5000": auth("docker"), "other": auth("other")})
    assert user("host:5000", environ) == "docker"
    write(home / ".config/containers/auth.json", auths={"host:5000": auth("config")})
    assert user("host:5000", environ) == "config"
    write(home / "containers/auth.json", auths={"host:5000": auth("runtime")})
    assert user("host:5000", environ) == "runtime"
    assert user("other", environ) == "other"
    environ["DOCKER_CONFIG"] = str(home / "dock")
    write(home / "dock/config.json", auths={"other": auth("elsewhere")})
    assert user("other", environ) == "elsewhere"
    environ["REGISTRY_AUTH_FILE"] = str(write(home / "chosen.json", auths={"host:5000": auth("variable")}))
    assert user("host:5000", environ) == "variable"
    assert user("other", environ) is None
    assert user("other", environ, authfile=str(home / "dock/config.json")) == "elsewhere"


def test_a_chosen_file_has_to_be_there(environ: dict[str, str], tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="does not exist"):
        user("host", environ, authfile=str(tmp_path / "none"))


@pytest.mark.parametrize("key", ["https://index.docker.io/v1/", "docker.io", "index.docker.io", "registry-1.docker.io"])
def test_docker_hub_has_many_names(key: str, environ: dict[str, str]) -> None:
    write(Path(environ["HOME"], ".docker/config.json"), auths={key: auth("hub")})
    assert user("docker.io", environ) == "hub"
    assert user("host", environ) is None


@pytest.mark.parametrize("key", ["host:5000", "https://host:5000", "http://host:5000/v2/", "https://host:5000/v1/"])
def test_old_keys_are_urls(key: str, environ: dict[str, str]) -> None:
    write(Path(environ["HOME"], ".docker/config.json"), auths={key: auth("me")})
    assert user("host:5000", environ) == "me"
    assert user("host", environ) is None


def test_the_longest_path_decides(environ: dict[str, str]) -> None:
    keys = ("host", "host/me", "host/me/app", "host/me/ap")
    write(Path(environ["HOME"], ".docker/config.json"), auths={key: auth(key) for key in keys})
    assert user("host", environ, "me/app") == "host/me/app"
    assert user("host", environ, "me/app/sub") == "host/me/app"
    assert user("host", environ, "me/other") == "host/me"
    assert user("host", environ, "you/app") == "host"
    assert user("host", environ, "") == "host"


@pytest.mark.parametrize(
    ("entry", "expected"),
    [
        (auth("me"), Credentials("me", SECRET)),
        ({"username": "me", "password": SECRET}, Credentials("me", SECRET)),
        ({"identitytoken": "T"}, Credentials(identity="T")),
        ({**auth("me", ""), "identitytoken": "T"}, Credentials("me", identity="T")),
        ({"registrytoken": "T"}, Credentials(bearer="T")),
        ({}, None),
    ],
)
def test_kinds_of_entries(entry: dict[str, str], expected: Credentials | None, environ: dict[str, str]) -> None:
    write(Path(environ["HOME"], ".docker/config.json"), auths={"host": entry})
    assert find("host", "app", RegistryOptions.from_environment(environ)) == expected


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('{"auths": {"host": {"auth": "s3cret', "is not JSON: line 1"),
        ("[]", "not a JSON object"),
        ('{"auths": []}', "`auths` is not an object"),
        ('{"auths": {"host": 1}}', "entry host is not an object"),
        ('{"auths": {"host": {"auth": "s3cret"}}}', "entry host"),
        ('{"auths": {"host": {"auth": "czNjcmV0"}}}', "NAME:PASSWORD"),
    ],
)
def test_what_is_no_such_file(text: str, said: str, environ: dict[str, str]) -> None:
    path = Path(environ["HOME"], ".docker/config.json")
    path.parent.mkdir()
    path.write_text(text)
    with pytest.raises(UsageError, match=said) as raised:
        user("host", environ)
    assert str(path) in str(raised.value)
    assert "s3cret" not in str(raised.value)


def test_helpers(environ: dict[str, str]) -> None:
    home = Path(environ["HOME"])
    helper(environ, "one", """echo '{"ServerURL": "x", "Username": "one", "Secret": "s"}'""")
    helper(environ, "all", """echo "credentials not found in native keychain"; exit 1""")
    write(
        home / ".docker/config.json",
        credHelpers={"host": "one", "gcr.io": "token"},
        credsStore="all",
        auths={"host": auth("file"), "other": auth("file"), "docker.io": {}},
    )
    helper(environ, "token", """echo '{"Username": "<token>", "Secret": "T"}'""")
    options = RegistryOptions.from_environment(environ)
    assert find("host", "app", options) == Credentials("one", "s")
    assert find("gcr.io", "app", options) == Credentials(identity="T")
    assert find("other", "app", options) == Credentials("file", SECRET)  # the store has none, the file has
    assert find("docker.io", "library/app", options) is None
    asked = (home / "bin/asked").read_text().split("\n")
    assert asked[:3] == ["get host", "get gcr.io", "get other"]
    assert asked[3] == "get https://index.docker.io/v1/"


@pytest.mark.parametrize(
    ("script", "said"),
    [
        ("echo 'the keyring is locked'; exit 1", "failed for host: the keyring is locked"),
        ("echo s3cret", "something else"),
        ("exit 3", "it said nothing"),
    ],
)
def test_helpers_that_fail(script: str, said: str, environ: dict[str, str]) -> None:
    helper(environ, "bad", script)
    write(Path(environ["HOME"], ".docker/config.json"), credsStore="bad")
    with pytest.raises(UsageError, match=said) as raised:
        user("host", environ)
    assert "s3cret" not in str(raised.value)


@pytest.mark.parametrize("name", ["missing", "../../bin/sh", "-x"])
def test_helpers_that_are_none(name: str, environ: dict[str, str]) -> None:
    write(Path(environ["HOME"], ".docker/config.json"), credsStore=name)
    with pytest.raises(UsageError, match=r"not in the PATH|not the name of a credential helper"):
        user("host", environ)


def test_the_file_counts_where_its_helper_is_not_installed(environ: dict[str, str]) -> None:
    path = Path(environ["HOME"], ".docker/config.json")
    write(path, credsStore="missing", auths={"host": auth("file"), "other": {}})
    assert user("host", environ) == "file"
    with pytest.raises(UsageError, match="not in the PATH"):
        user("other", environ)


def test_given_credentials_are_instead_of_all_files(environ: dict[str, str], tmp_path: Path) -> None:
    options = RegistryOptions.from_environment(environ, credentials=parse("me:a:b"), authfile=str(tmp_path / "none"))
    assert find("host", "app", options) == Credentials("me", "a:b")
    for text in ("me", ":x", ""):
        with pytest.raises(UsageError, match="NAME:PASSWORD"):
            parse(text)


def test_secrets_are_not_shown() -> None:
    shown = repr(Credentials("me", "pw-x", "id-x", "be-x"))
    assert "me" in shown
    assert "-x" not in shown
    assert "/home" not in repr(RegistryOptions.from_environment({"HOME": "/home/x"}))

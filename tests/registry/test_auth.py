from __future__ import annotations

import io
import json
import re
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from buildah_py.errors import RegistryError
from buildah_py.image.reference import parse
from buildah_py.registry import Credentials, Registry, RegistryOptions
from buildah_py.registry.challenge import Challenge, choose
from buildah_py.registry.challenge import parse as parse_challenges
from tests.registry.conftest import QUICK
from tests.registry.images import image, pull, push
from tests.registry_server import PASSWORD, USER, FaultProxy, Served, certificate, serving

if TYPE_CHECKING:
    from collections.abc import Iterator

ANNA = Credentials(USER, PASSWORD)
MADE = image(1000)


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Served]:
    with serving(tmp_path / "r", tokens=True) as registry:
        yield registry


def as_(environ: dict[str, str], credentials: Credentials | None = None) -> Registry:
    return Registry(RegistryOptions.from_environment(environ, policy=QUICK, credentials=credentials))


def asked(served: Served) -> list[dict[str, str]]:
    assert served.tokens is not None
    return served.tokens.asked


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (['Basic realm="a b"'], [Challenge("basic", {"realm": "a b"})]),
        (["BASIC"], [Challenge("basic")]),
        (
            ['Bearer realm="https://a/t?x=1,2",service="s",scope="repository:a/b:pull,push"'],
            [Challenge("bearer", {"realm": "https://a/t?x=1,2", "service": "s", "scope": "repository:a/b:pull,push"})],
        ),
        (
            ['Basic realm="a", Bearer realm="b" , service=c'],
            [Challenge("basic", {"realm": "a"}), Challenge("bearer", {"realm": "b", "service": "c"})],
        ),
        (["Negotiate", 'Basic Realm="x\\"y"'], [Challenge("negotiate"), Challenge("basic", {"realm": 'x"y'})]),
        (['Bearer realm = "a"'], [Challenge("bearer", {"realm": "a"})]),
        (["", ",,", '"'], []),
    ],
)
def test_challenges(values: list[str], expected: list[Challenge]) -> None:
    assert parse_challenges(values) == expected


@given(st.lists(st.text(alphabet='aB=", \\:\t\u00e9', max_size=30), max_size=3))
def test_any_header_is_read(values: list[str]) -> None:
    for challenge in parse_challenges(values):
        assert re.fullmatch(r"[!-~]+", challenge.scheme)


_parameters = st.dictionaries(
    st.sampled_from(["realm", "service", "scope"]), st.text(st.characters(min_codepoint=32)), min_size=1
)


@given(st.lists(st.tuples(st.sampled_from(["basic", "bearer", "negotiate"]), _parameters), max_size=3))
def test_every_challenge_comes_back(made: list[tuple[str, dict[str, str]]]) -> None:
    def quoted(value: str) -> str:
        return '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'

    texts = [
        f"{scheme.title()} " + ",".join(f"{name}={quoted(value)}" for name, value in given.items())
        for scheme, given in made
    ]
    assert parse_challenges([", ".join(texts)]) == [Challenge(*one) for one in made]


def test_bearer_before_basic() -> None:
    both = parse_challenges(['Basic realm="a", Bearer realm="b"'])
    assert choose(both) == both[1]
    assert choose(both[:1]) == both[0]
    assert choose(parse_challenges(["Negotiate"])) is None


def test_tokens_are_asked_for_what_is_done(served: Served, environ: dict[str, str]) -> None:
    with as_(environ, ANNA) as registry:
        push(registry, parse(f"{served.host}/me/app:1"), MADE)
        pull(registry, parse(f"{served.host}/me/app:1"))
        registry.push_blob(
            parse(f"{served.host}/you/app"),
            MADE.manifest.layers[0],
            lambda: io.BytesIO(MADE.layers[0]),
            [f"{served.host}/me/app"],
        )
    assert [one["scope"] for one in asked(served)] == [
        "repository:me/app:pull,push",
        "repository:me/app:pull",
        "repository:you/app:pull,push",
        "repository:you/app:pull,push repository:me/app:pull",
    ]
    assert {(one["service"], one["account"], one["method"]) for one in asked(served)} == {("tests", USER, "GET")}


def test_anybody_may_pull_what_is_public(served: Served, environ: dict[str, str]) -> None:
    with as_(environ, ANNA) as registry:
        push(registry, parse(f"{served.host}/public/app"), MADE)
        push(registry, parse(f"{served.host}/private/app"), MADE)
    with as_(environ) as registry:
        assert pull(registry, parse(f"{served.host}/public/app")) == MADE
        assert asked(served)[-1]["password"] == "False"
        with pytest.raises(RegistryError, match="401 Unauthorized: authentication required") as raised:
            registry.manifest(parse(f"{served.host}/private/app"))
        assert f"pybuild login {served.host}" in raised.value.hint
        with pytest.raises(RegistryError, match="401"):
            push(registry, parse(f"{served.host}/public/app:2"), MADE)


def test_an_identity_token_is_exchanged(served: Served, environ: dict[str, str]) -> None:
    assert served.tokens is not None
    with as_(environ, Credentials(identity=served.tokens.refresh)) as registry:
        push(registry, parse(f"{served.host}/me/app"), MADE)
        assert pull(registry, parse(f"{served.host}/me/app")) == MADE
    assert {(one["method"], one["grant_type"], one["client_id"]) for one in asked(served)} == {
        ("POST", "refresh_token", "pybuild")
    }


def test_a_token_server_without_oauth_gets_the_identity_token_as_a_password(
    served: Served, environ: dict[str, str]
) -> None:
    assert served.tokens is not None
    served.tokens.oauth = False
    with as_(environ, Credentials(USER, identity=PASSWORD)) as registry:
        push(registry, parse(f"{served.host}/me/app"), MADE)
    assert [one["method"] for one in asked(served)][:2] == ["POST", "GET"]


@pytest.mark.parametrize("credentials", [Credentials(USER, "wrong-xyz"), Credentials(identity="wrong-xyz")])
def test_wrong_credentials_are_told_and_not_shown(
    credentials: Credentials, served: Served, environ: dict[str, str]
) -> None:
    with as_(environ, credentials) as registry:
        reference = parse(f"{served.host}/me/app:1")
        with pytest.raises(RegistryError, match="401 Unauthorized: incorrect username or password") as raised:
            registry.manifest(reference)
        assert raised.value.message.startswith(f"{reference}: ")
        assert "wrong-xyz" not in str(raised.value)


def test_an_echoed_password_is_not_shown(environ: dict[str, str]) -> None:
    with FaultProxy("127.0.0.1:1") as server:
        challenge = f'Bearer realm="http://{server.host}/token",service="s"'
        server.fault("GET", "^/v2/", lambda request: request.reply(401, WWW_Authenticate=challenge), times=-1)
        server.fault("GET", "^/token", lambda request: request.reply(403, b'{"message": "no: wrong-xyz"}'), times=-1)
        with (
            as_(environ, Credentials(USER, "wrong-xyz")) as registry,
            pytest.raises(RegistryError, match=r"403 Forbidden: no: \*\*\*"),
        ):
            registry.manifest(parse(f"{server.host}/app"))


def test_wrong_passwords_for_basic(tmp_path: Path, environ: dict[str, str]) -> None:
    with serving(tmp_path / "r", basic=True) as served, as_(environ, Credentials(USER, "wrong-xyz")) as registry:
        with pytest.raises(RegistryError, match="401 Unauthorized") as raised:
            registry.manifest(parse(f"{served.host}/me/app:1"))
        assert "credentials" in raised.value.hint
        assert "wrong-xyz" not in str(raised.value)
        with as_(environ) as nobody, pytest.raises(RegistryError, match="401 Unauthorized"):
            nobody.manifest(parse(f"{served.host}/me/app:1"))


def test_a_token_that_is_refused_is_asked_for_anew(served: Served, environ: dict[str, str]) -> None:
    with FaultProxy(served) as proxy, as_(environ, ANNA) as registry:
        assert served.tokens is not None
        reference = parse(f"{proxy.host}/me/app")
        push(registry, reference, MADE)
        before = len(asked(served))
        challenge = (
            f'Bearer realm="{served.tokens.realm}",service="tests",scope="repository:me/app:pull",error="invalid_token"'
        )
        for method in ("GET", "PUT"):
            proxy.fault(method, "", lambda request: request.reply(401, WWW_Authenticate=challenge))
        assert pull(registry, reference) == MADE
        push(registry, reference.with_tag("2"), image(2000))
        assert len(asked(served)) == before + 3  # to pull, and one more for each
        proxy.fault("GET", "", lambda request: request.reply(401, WWW_Authenticate=challenge), times=-1)
        with pytest.raises(RegistryError, match="401"):
            registry.manifest(reference)


def test_tokens_expire(served: Served, environ: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    now = [1000.0]
    monkeypatch.setattr("buildah_py.registry.tokens.time", type("Clock", (), {"monotonic": lambda: now[0]}))
    with as_(environ, ANNA) as registry:
        for later, count in ((0, 1), (290, 1), (300, 2), (400, 2)):
            now[0] = 1000.0 + later
            registry.has_blob(parse(f"{served.host}/app"), MADE.manifest.config.digest)
            assert len(asked(served)) == count


def test_one_thread_asks_for_all(served: Served, environ: dict[str, str]) -> None:
    from concurrent.futures import ThreadPoolExecutor

    with as_(environ, ANNA) as registry, ThreadPoolExecutor(8) as pool:
        reference = parse(f"{served.host}/app")
        assert set(pool.map(lambda _: registry.has_blob(reference, MADE.manifest.config.digest), range(16))) == {False}
    assert len(asked(served)) == 1


def test_a_registry_token_is_sent_as_it_is(environ: dict[str, str]) -> None:
    with FaultProxy("127.0.0.1:1") as server:
        server.fault("GET", "^/v2/$", lambda request: request.reply(200))
        server.fault("GET", "manifests", lambda request: request.reply(401, WWW_Authenticate="Bearer realm=x"))
        server.fault("GET", "manifests", lambda request: request.reply(404))
        with as_(environ, Credentials(bearer="T")) as registry, pytest.raises(RegistryError, match="404"):
            registry.manifest(parse(f"{server.host}/app"))
        assert server.requests[-1].headers["authorization"] == "Bearer T"


@pytest.mark.parametrize(
    ("realm", "said"),
    [
        ("http://tokens.example.com/", "tokens to be had from tokens.example.com over plain HTTP"),
        ("file:///etc/passwd", "no server for tokens"),
        ("", "no server for tokens"),
    ],
)
def test_credentials_go_nowhere_else(realm: str, said: str, tmp_path: Path, environ: dict[str, str]) -> None:
    tls = certificate(tmp_path / "tls")
    options = RegistryOptions.from_environment(
        environ, policy=QUICK, tls_verify=True, ca_files=[tls.ca], credentials=ANNA
    )
    with FaultProxy("127.0.0.1:1", tls) as server, Registry(options) as registry:
        server.fault("GET", "", lambda request: request.reply(401, WWW_Authenticate=f'Bearer realm="{realm}"'))
        with pytest.raises(RegistryError, match=said) as raised:
            registry.manifest(parse(f"{server.host}/app"))
        assert raised.value.message.startswith(f"{server.host}/app: {server.host} ")


@pytest.mark.parametrize("body", [b"", b"[]", b'{"token": 1}', b'{"token": "a\\nb"}', b"{}", b"x" * 2_000_000])
def test_answers_that_are_no_tokens(body: bytes, environ: dict[str, str]) -> None:
    with FaultProxy("127.0.0.1:1") as server, as_(environ) as registry:
        challenge = f'Bearer realm="http://{server.host}/token"'
        server.fault("GET", "^/v2/", lambda request: request.reply(401, WWW_Authenticate=challenge), times=-1)
        server.fault("GET", "^/token", lambda request: request.reply(200, body))
        with pytest.raises(RegistryError, match=r"not a token|without a token"):
            registry.manifest(parse(f"{server.host}/app"))


def test_a_token_server_in_trouble_is_asked_again(served: Served, environ: dict[str, str]) -> None:
    assert served.tokens is not None
    with FaultProxy(served.tokens.realm.split("/")[2]) as tokens, FaultProxy(served) as proxy:
        challenge = f'Bearer realm="http://{tokens.host}/token",service="tests"'
        proxy.fault("HEAD", "", lambda request: request.reply(401, WWW_Authenticate=challenge))
        tokens.fault("GET", "", lambda request: request.reply(503), times=2)
        with as_(environ, ANNA) as registry:
            assert not registry.has_blob(parse(f"{proxy.host}/app"), MADE.manifest.config.digest)
        assert len(tokens.requests) == 3


def test_credentials_of_files_are_used(served: Served, environ: dict[str, str]) -> None:
    from base64 import b64encode

    path = Path(environ["HOME"], ".docker/config.json")
    path.parent.mkdir()
    auth = b64encode(f"{USER}:{PASSWORD}".encode()).decode()
    path.write_text(json.dumps({"auths": {served.host: {"auth": auth}}}))
    with as_(environ) as registry:
        push(registry, parse(f"{served.host}/me/app"), MADE)
        assert pull(registry, parse(f"{served.host}/me/app")) == MADE

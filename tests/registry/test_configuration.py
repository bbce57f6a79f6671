from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from buildah_py.errors import RegistryError, UsageError
from buildah_py.http.addresses import is_loopback
from buildah_py.image.reference import parse
from buildah_py.registry import Credentials, Registry, RegistryOptions
from buildah_py.registry.configuration import Configuration, load
from buildah_py.registry.endpoint import Endpoint, endpoints
from tests.registry.conftest import QUICK
from tests.registry.images import image, pull, push
from tests.registry_server import FaultProxy, Request, Served, docker_registry

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

__all__ = ["docker_registry"]

DIGEST = "@sha256:" + "0" * 64


@pytest.fixture
def configured(tmp_path: Path) -> Callable[[str], Configuration]:
    def make(text: str) -> Configuration:
        path = tmp_path / "made.conf"
        path.write_text(text)
        return load({}, str(path))

    return make


def places(configuration: Configuration, text: str, **options: bool) -> list[str]:
    return [f"{one.host}/{one.repository}" for one in endpoints(parse(text), configuration, **options)]


def test_without_configuration() -> None:
    assert endpoints(parse("busybox"), Configuration()) == [Endpoint("docker.io", "library/busybox")]
    assert places(Configuration(), "busybox") == ["registry-1.docker.io/library/busybox"]
    assert places(Configuration(), "quay.io/a/b") == ["quay.io/a/b"]


@pytest.mark.parametrize(
    ("host", "local"),
    [
        ("localhost", True),
        ("localhost:5000", True),
        ("LOCALHOST:5000", True),
        ("app.localhost", True),
        ("127.0.0.1:5000", True),
        ("127.3.2.1", True),
        ("[::1]:5000", True),
        ("[::1]", True),
        ("localhost.example.com", False),
        ("128.0.0.1:5000", False),
        ("[2001:db8::1]:5000", False),
        ("registry", False),
        ("10.0.0.1", False),
    ],
)
def test_loopback_is_insecure_unless_said_otherwise(host: str, local: bool) -> None:
    assert is_loopback(host) is local
    reference = parse(f"{host}/app")._replace(registry=host)
    assert endpoints(reference, Configuration())[0].insecure is local
    assert endpoints(reference, Configuration(), tls_verify=True)[0].insecure is False
    assert endpoints(reference, Configuration(), tls_verify=False)[0].insecure is True


def test_mirrors_come_first_and_only_for_pulls(configured: Callable[[str], Configuration]) -> None:
    rules = configured(
        """
        unqualified-search-registries = ["quay.io"]
        short-name-mode = "enforcing"
        [[registry]]
        prefix = "docker.io"
        location = "docker.io"
        [[registry.mirror]]
        location = "mirror.local:5000/hub"
        insecure = true
        [[registry.mirror]]
        location = "digests.local"
        pull-from-mirror = "digest-only"
        [[registry.mirror]]
        location = "tags.local"
        pull-from-mirror = "tag-only"
        [aliases]
        busybox = "quay.io/other/busybox"
        """
    )
    hub = "registry-1.docker.io/library/busybox"
    assert places(rules, "busybox") == ["mirror.local:5000/hub/library/busybox", "tags.local/library/busybox", hub]
    assert places(rules, "busybox" + DIGEST)[1] == "digests.local/library/busybox"
    assert places(rules, "busybox", pushing=True) == [hub]
    found = endpoints(parse("busybox"), rules)
    assert [one.insecure for one in found] == [True, False, False]
    assert [one.is_mirror for one in found] == [True, True, False]


def test_the_longest_prefix_decides(configured: Callable[[str], Configuration]) -> None:
    rules = configured(
        """
        [[registry]]
        location = "host.com"
        insecure = true
        [[registry]]
        prefix = "host.com/team"
        location = "other.com/x/y"
        [[registry]]
        prefix = "host.com/team/app:v1"
        blocked = true
        [[registry]]
        prefix = "*.wild.com"
        [[registry]]
        prefix = "*.moved.com"
        location = "new.com"
        [[registry]]
        prefix = "host.com/by-digest"
        mirror-by-digest-only = true
        [[registry.mirror]]
        location = "m.com"
        """
    )
    assert endpoints(parse("host.com/app"), rules) == [Endpoint("host.com", "app", insecure=True)]
    assert endpoints(parse("host.com/team/app"), rules) == [Endpoint("other.com", "x/y/app")]
    assert places(rules, "host.com/teams") == ["host.com/teams"]
    assert places(rules, "host.com:80/team") == ["host.com:80/team"]
    assert places(rules, "a.wild.com/app") == ["a.wild.com/app"]
    assert places(rules, "a.b.moved.com/app") == ["new.com/app"]
    assert places(rules, "moved.com/app") == ["moved.com/app"]
    assert places(rules, "host.com/by-digest") == ["host.com/by-digest"]
    assert places(rules, "host.com/by-digest/app" + DIGEST) == ["m.com/app", "host.com/by-digest/app"]
    with pytest.raises(RegistryError, match=r"host\.com/team/app:v1 is blocked"):
        places(rules, "host.com/team/app:v1")
    assert places(rules, "host.com/team/app:v2") == ["other.com/x/y/app"]


def test_the_first_version_of_the_file(configured: Callable[[str], Configuration]) -> None:
    rules = configured(
        """
        [registries.search]
        registries = ["docker.io"]
        [registries.insecure]
        registries = ["host:5000"]
        [registries.block]
        registries = ["bad.com"]
        """
    )
    assert endpoints(parse("host:5000/app"), rules)[0].insecure
    with pytest.raises(RegistryError, match="blocked"):
        endpoints(parse("bad.com/app"), rules)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[[registry]", "not TOML"),
        ("[registry]", r"\[\[registry\]\]"),
        ("[[registry]]", "neither prefix nor location"),
        ('[[registry]]\nlocation = "https://host"', "without https://"),
        ('[[registry]]\nlocation = "a"\ninsecure = "yes"', "true or false"),
        ("[[registry]]\nlocation = 1", "a string"),
        ('[[registry]]\nprefix = "*.a/b"', "for hosts only"),
        ('[[registry]]\nlocation = "a"\n[[registry.mirror]]', "no location"),
        ('[[registry]]\nlocation = "a"\n[registry.mirror]', r"\[\[registry.mirror\]\]"),
        ('[[registry]]\nlocation = "a"\n[[registry.mirror]]\nlocation="b"\npull-from-mirror="x"', "digest-only"),
        ('[[registry]]\nprefix = "a"\nlocation="b"\n[[registry]]\nprefix = "a"\nlocation="c"', "two different"),
    ],
)  # fmt: skip
def test_what_is_no_configuration(text: str, said: str, configured: Callable[[str], Configuration]) -> None:
    with pytest.raises(UsageError, match=said) as raised:
        configured(text)
    assert "made.conf" in str(raised.value)


def test_files_and_drop_ins(tmp_path: Path) -> None:
    system, home = tmp_path / "etc", tmp_path / "home/.config/containers"
    for folder in (system, home):
        (folder / "registries.conf.d").mkdir(parents=True)
    environ = {"HOME": str(tmp_path / "home")}

    def place(text: str) -> str:
        return places(load(environ, system=str(system)), text)[0]

    assert place("a.com/app") == "a.com/app"
    (system / "registries.conf").write_text('[[registry]]\nprefix="a.com"\nlocation="system.com"\n')
    assert place("a.com/app") == "system.com/app"
    (system / "registries.conf.d/10.conf").write_text('[[registry]]\nprefix="a.com"\nlocation="ten.com"\n')
    (system / "registries.conf.d/20.conf").write_text('[[registry]]\nprefix="a.com"\nlocation="twenty.com"\n')
    (system / "registries.conf.d/30.not").write_text("no configuration")
    assert place("a.com/app") == "twenty.com/app"
    (home / "registries.conf.d/10.conf").write_text('[[registry]]\nprefix="a.com"\nlocation="drop.com"\n')
    assert place("a.com/app") == "drop.com/app"
    (home / "registries.conf").write_text('[[registry]]\nprefix="b.com"\nlocation="user.com"\n')
    assert place("b.com/app") == "user.com/app"
    chosen = tmp_path / "chosen.conf"
    chosen.write_text('[[registry]]\nprefix="b.com"\nlocation="chosen.com"\n')
    assert places(load(environ, str(chosen)), "b.com/app") == ["chosen.com/app"]
    assert places(load(environ, str(chosen)), "a.com/app") == ["a.com/app"]
    with pytest.raises(UsageError, match="does not exist"):
        load(environ, str(tmp_path / "none"))


def test_a_mirror_is_used_and_passed_over(docker_registry: Served, environ: dict[str, str], tmp_path: Path) -> None:
    made = image(1000)
    with FaultProxy(docker_registry) as mirror:
        path = tmp_path / "mirrors.conf"
        path.write_text(
            f'[[registry]]\nprefix="docker.io"\nlocation="{docker_registry.host}"\n'
            '[[registry.mirror]]\nlocation="127.0.0.1:1"\n'
            f'[[registry.mirror]]\nlocation="{mirror.host}"\n'
        )
        options = RegistryOptions.from_environment(environ, policy=QUICK, configuration=str(path))
        reference = parse("busybox:1")
        with Registry(options) as registry:
            push(registry, reference, made)
            assert mirror.requests == []
            assert pull(registry, reference) == made
            assert len(mirror.asked("GET", "/v2/library/busybox/")) == 3
            mirror.fault("", "", lambda request: request.reply(404), times=-1)
            assert pull(registry, reference) == made
            with pytest.raises(RegistryError, match=r"docker.io/library/busybox:2: 127.0.0.1:") as raised:
                registry.manifest(parse("busybox:2"))
            assert f"mirror: docker.io/library/busybox:2: {mirror.host} answered 404" in raised.value.hint


def test_a_mirror_that_breaks_off_is_left(docker_registry: Served, environ: dict[str, str], tmp_path: Path) -> None:
    made = image(3_000_000)

    def half(request: Request) -> None:
        status, headers, body = request.upstream()
        request.handler.send_response(status)
        for name, value in headers:
            request.handler.send_header(name, value)
        request.handler.end_headers()
        request.handler.wfile.write(body[:1_500_000])
        request.cut()

    with FaultProxy(docker_registry) as registry_itself, FaultProxy(docker_registry) as mirror:
        path = tmp_path / "mirrors.conf"
        path.write_text(
            f'[[registry]]\nlocation="{registry_itself.host}"\n[[registry.mirror]]\nlocation="{mirror.host}"\n'
        )
        options = RegistryOptions.from_environment(environ, policy=QUICK, configuration=str(path))
        reference = parse(f"{registry_itself.host}/app")
        blob = made.manifest.layers[0].digest
        with Registry(options) as registry:
            push(registry, reference, made)
            mirror.fault("GET", blob, half)
            mirror.fault("GET", blob, Request.cut, times=-1)
            assert pull(registry, reference) == made
            (asked,) = registry_itself.asked("GET", blob)
            assert int(asked.headers["range"].removeprefix("bytes=").removesuffix("-")) > 0
            registry_itself.fault("GET", blob, lambda request: request.reply(404), times=-1)
            with pytest.raises(RegistryError, match=f"{registry_itself.host} answered 404"):
                registry.open_blob(reference, made.manifest.layers[0])


def test_given_credentials_are_not_for_mirrors(environ: dict[str, str], tmp_path: Path) -> None:
    with FaultProxy("127.0.0.1:1") as registry_itself, FaultProxy("127.0.0.1:1") as mirror:
        for one in (registry_itself, mirror):
            one.fault("", "", lambda request: request.reply(401, WWW_Authenticate='Basic realm="x"'), times=-1)
        path = tmp_path / "mirrors.conf"
        path.write_text(
            f'[[registry]]\nlocation="{registry_itself.host}"\n[[registry.mirror]]\nlocation="{mirror.host}"\n'
        )
        options = RegistryOptions.from_environment(
            environ, policy=QUICK, configuration=str(path), credentials=Credentials("me", "pw")
        )
        with Registry(options) as registry, pytest.raises(RegistryError, match="401"):
            registry.manifest(parse(f"{registry_itself.host}/app"))
        assert any("authorization" in request.headers for request in registry_itself.requests)
        assert not any("authorization" in request.headers for request in mirror.requests)

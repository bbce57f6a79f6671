from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from buildah_py.errors import ImageError, UsageError
from buildah_py.image import reference
from buildah_py.image.reference import Reference

DIGEST = "sha256:" + "0123456789abcdef" * 4


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("busybox", Reference("docker.io", "library/busybox")),
        ("busybox:1.36", Reference("docker.io", "library/busybox", "1.36")),
        ("docker.io/busybox", Reference("docker.io", "library/busybox")),
        ("index.docker.io/busybox", Reference("docker.io", "library/busybox")),
        ("docker.io/library/busybox", Reference("docker.io", "library/busybox")),
        ("me/app", Reference("docker.io", "me/app")),
        ("me/deep/app", Reference("docker.io", "me/deep/app")),
        ("localhost/app", Reference("localhost", "app")),
        ("localhost", Reference("docker.io", "library/localhost")),
        ("localhost:5000", Reference("docker.io", "library/localhost", "5000")),
        ("localhost:5000/app:v1", Reference("localhost:5000", "app", "v1")),
        ("host/app", Reference("docker.io", "host/app")),
        ("host:80/app", Reference("host:80", "app")),
        ("Host/app", Reference("Host", "app")),
        ("ghcr.io/a/b/c:x_Y.z-1", Reference("ghcr.io", "a/b/c", "x_Y.z-1")),
        ("127.0.0.1:5000/a", Reference("127.0.0.1:5000", "a")),
        ("[::1]:5000/a", Reference("[::1]:5000", "a")),
        ("[2001:db8::1]/a", Reference("[2001:db8::1]", "a")),
        (f"busybox@{DIGEST}", Reference("docker.io", "library/busybox", None, DIGEST)),
        (f"quay.io/a/b:t@{DIGEST}", Reference("quay.io", "a/b", "t", DIGEST)),
        ("scratch", Reference("docker.io", "library/scratch")),
        ("a.b", Reference("docker.io", "library/a.b")),
        ("a__b/c--d", Reference("docker.io", "a__b/c--d")),
        ("a" * 63, Reference("docker.io", "library/" + "a" * 63)),
    ],
)
def test_defaults(text: str, expected: Reference) -> None:
    assert reference.parse(text) == expected


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "empty"),
        ("a" * 64, "image's id"),
        ("Busybox", "lower-case"),
        ("me/App", "lower-case"),
        ("busybox:", "tag behind"),
        ("busybox:-x", "not a tag"),
        ("busybox:" + "a" * 129, "not a tag"),
        ("busybox@", "not a digest"),
        ("busybox@sha256:12", "hexadecimal"),
        ("busybox@md5:" + "a" * 32, "md5"),
        ("/app", "empty"),
        ("a//b", "empty"),
        ("a/", "empty"),
        ("host:port/app", "not a port"),
        ("host:0/app", "not a port"),
        (f"host:{'1' * 5000}/app", "not a port"),
        ("host:65536/app", "not a port"),
        ("-host.de/app", "not a host name"),
        ("a..b/c", "not a host name"),
        ("a...b", "cannot be part"),
        ("../../etc", "not a host name"),
        ("me/../app", "cannot be part"),
        ("a b", "cannot be part"),
        ("bu\u00dfybox", "cannot be part"),
        ("busybox:t\u00e4g", "not a tag"),
        ("busybox\n", "cannot be part"),
        ("quay.io/" + "a" * 248, "longer than 255"),
        ("https://quay.io/a", "not a port"),
    ],
)
def test_what_is_no_reference(text: str, said: str) -> None:
    with pytest.raises(UsageError, match=said) as raised:
        reference.parse(text)
    assert f"`{text}`" in raised.value.message
    assert raised.value.hint


def test_tags_and_digests() -> None:
    plain = reference.parse("busybox")
    assert plain.with_default_tag().full == "docker.io/library/busybox:latest"
    assert plain.with_digest(DIGEST).with_default_tag().tag is None
    assert plain.with_digest(DIGEST).with_tag("1").full == "docker.io/library/busybox:1"
    assert str(plain.with_tag("1").with_digest(DIGEST)) == f"docker.io/library/busybox:1@{DIGEST}"
    with pytest.raises(UsageError, match="not a tag"):
        plain.with_tag("a b")
    with pytest.raises(ImageError, match="not a digest"):
        plain.with_digest("latest")


@pytest.mark.parametrize(
    ("text", "familiar"),
    [
        ("docker.io/library/busybox:1", "busybox:1"),
        ("docker.io/me/app", "me/app"),
        ("docker.io/library/me/app", "library/me/app"),
        ("docker.io/foo.bar/app", "docker.io/foo.bar/app"),
        ("docker.io/localhost/app", "docker.io/localhost/app"),
        ("docker.io/library/" + "a" * 64, "library/" + "a" * 64),
        ("localhost/busybox", "localhost/busybox"),
    ],
)
def test_familiar(text: str, familiar: str) -> None:
    assert reference.parse(text).familiar == familiar


_components = st.from_regex(r"[a-z0-9]{1,4}((\.|_|__|-{1,3})[a-z0-9]{1,4}){0,2}", fullmatch=True)
_hosts = st.one_of(
    st.just("docker.io"),
    st.just("localhost"),
    st.from_regex(r"[a-z0-9]{1,5}(\.[a-zA-Z0-9]{1,4}){1,2}(:[1-9][0-9]{0,3})?", fullmatch=True),
    st.from_regex(r"[a-z0-9]{1,5}:[1-9][0-9]{0,3}", fullmatch=True),
    st.from_regex(r"\[[a-f0-9]{0,2}:[a-f0-9:]{1,6}\](:[1-9][0-9]{0,3})?", fullmatch=True),
)
_references = st.builds(
    Reference,
    _hosts.filter(lambda host: host != "index.docker.io"),
    st.lists(_components, min_size=1, max_size=3).map("/".join),
    st.none() | st.from_regex(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,9}", fullmatch=True),
    st.none() | st.just(DIGEST),
).filter(lambda ref: ref.registry != "docker.io" or "/" in ref.repository)


@given(_references)
def test_every_spelling_comes_back(ref: Reference) -> None:
    assert reference.parse(ref.full) == ref
    assert reference.parse(ref.familiar) == ref
    assert len(ref.familiar) <= len(ref.full)


@given(st.text(alphabet="aA0.:/@_-[] \u00e9\n", max_size=12))
def test_any_text_is_a_reference_or_an_error(text: str) -> None:
    try:
        ref = reference.parse(text)
    except UsageError:
        return
    assert reference.parse(ref.full) == ref
    assert re.fullmatch(r"[\x21-\x7e]+", ref.full)

"""RUN --mount: what the options mean, and what they must not be."""

from __future__ import annotations

import pytest

from buildah_py.buildfile.mount_flags import MountSpec, check_device, parse_mount, read_mount, target_of
from buildah_py.errors import BuildFileError
from buildah_py.source_text import Position, Source, Span

SPAN = Span(Position(2, 7), Position(2, 12))
SOURCE = Source("Buildfile", "FROM a\nRUN --mount=x\n")


def spec(text: str) -> MountSpec:
    """The mount that `text` describes; `$x` is xx."""
    return read_mount(parse_mount(text, SPAN, SOURCE), lambda word: word.replace("$x", "xx"))


def test_defaults() -> None:
    mount = spec("target=/a")
    assert (mount.type, mount.target, mount.readonly, mount.sharing, mount.size) == ("bind", "/a", True, "", 0)
    assert not spec("type=cache,target=/a").readonly
    assert not spec("type=tmpfs,target=/a").readonly
    assert spec("type=secret,id=a").readonly
    assert spec("target=/a,rw").readonly is False
    assert spec("type=cache,target=/a,readonly=true").readonly is True


def test_options() -> None:
    mount = spec("TYPE=Cache,dst=/$x,src=s,from=f,id=i,sharing=LOCKED,mode=0700,uid=1,gid=2")
    assert mount == MountSpec("cache", "/xx", "s", "f", "i", False, "locked", 0, 0o700, 1, 2, False, None, SPAN)
    assert spec("type=secret,source=s,env=E,required").env == "E"
    assert spec("type=secret,id=s,required=false").required is False
    assert spec('type=cache,"target=/a,b"').target == "/a,b"


@pytest.mark.parametrize(
    ("text", "size"), [("1", 1), ("2k", 2048), ("1.5m", 3 << 19), ("1g", 1 << 30), ("3 MiB", 3 << 20)]
)
def test_sizes(text: str, size: int) -> None:
    assert spec(f"type=tmpfs,target=/a,size={text}").size == size


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "empty list"),
        ("type=nope,target=/a", "unsupported mount type"),
        ("targt=/a", "unexpected key 'targt'"),
        ("target", "must be a key=value pair"),
        ("target=/a,mode=0700", "mode not allowed"),
        ("target=/a,uid=0", "uid not allowed"),
        ("type=tmpfs,target=/a,gid=0", "gid not allowed"),
        ("target=/a,size=1", "unexpected key 'size'"),
        ("target=/a,required", "unexpected key 'required'"),
        ("type=cache,target=/a,mode=9", "invalid value 9 for mode"),
        ("type=cache,target=/a,uid=4294967295", "invalid value 4294967295 for uid"),
        ("type=cache,target=/a,sharing=x", "unsupported sharing value"),
        ("target=/a,sharing=shared", "invalid cache sharing"),
        ("target=/a,ro=maybe", "invalid value for ro"),
        ("type=secret", "one of source, target required"),
        ("type=secret,id=a,source=b", "both source and id"),
        ("type=secret,id=a,from=b", "should not have a from"),
        ("type=ssh,source=b", "does not support source"),
        ("from=$x,target=/a", "doesn't support variable expansion"),
        ('target="/a"', "stray quote"),
        ('"target=/a', "stray quote"),
        ("type=tmpfs,target=/a,size=x", "invalid value for size"),
    ],
)
def test_faults(text: str, message: str) -> None:
    with pytest.raises(BuildFileError) as caught:
        spec(text)
    assert message in caught.value.message
    assert caught.value.span == SPAN


def test_suggestions() -> None:
    with pytest.raises(BuildFileError) as caught:
        spec("targt=/a")
    assert caught.value.hint == "did you mean target?"


def test_targets_are_below_the_working_directory() -> None:
    assert target_of(spec("target=a/../b"), "/w", SOURCE) == "/w/b"
    assert target_of(spec("target=/a//b/"), "/w", SOURCE) == "/a/b"
    with pytest.raises(BuildFileError, match="invalid mount target"):
        target_of(spec("target=.."), "/w", SOURCE)


def test_devices() -> None:
    assert check_device("vendor.com/gpu=all,required", SPAN, SOURCE) == ("vendor.com/gpu=all", True)
    assert check_device("name=vendor.com/gpu", SPAN, SOURCE) == ("vendor.com/gpu", False)
    with pytest.raises(BuildFileError, match="unexpected key"):
        check_device("vendor.com/gpu,x=y", SPAN, SOURCE)

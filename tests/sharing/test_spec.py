from __future__ import annotations

import pytest

from buildah_py.errors import UsageError
from buildah_py.sharing.spec import parse_from, parse_share, parse_to


def test_a_name_alone_is_a_registrys() -> None:
    place = parse_from("example.com/app:cache")
    assert (place.type, place.where) == ("registry", {"ref": "example.com/app:cache"})
    assert parse_from("example.com/app,mounts=all").mounts == ("all",)


def test_all_that_can_be_said() -> None:
    place = parse_to(
        "type=registry,ref=h/n,mode=max,compression=zstd,compression-level=19,ignore-error=true,"
        "sign=key,mounts=apt,/root/.cache/pip,registry.insecure=1"
    )
    assert place.where == {"ref": "h/n", "registry.insecure": "1"}
    assert (place.whole, place.compression, place.level, place.ignore_error) == (True, "zstd", 19, True)
    assert (place.sign, place.mounts) == ("key", ("apt", "/root/.cache/pip"))
    assert parse_to('type=local,dest=d,"mounts=a,b"').mounts == ("a", "b")
    assert parse_from("type=local,src=d,verify=ed25519:A,verify=ed25519:B").verify == ("ed25519:A", "ed25519:B")


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("", "empty"),
        ("dest=d", "which type"),
        ("type=locl,dest=d", "did you mean local"),
        ("type=local", "add dest="),
        ("type=local,dest=d,dest=e", "twice"),
        ("type=local,dest=d,mod=max", "did you mean mode"),
        ("type=local,dest=d,mode=most", "min and max"),
        ("type=local,dest=d,compression=lzma", "choose from"),
        ("type=local,dest=d,compression-level=12", "from 0 to 9"),
        ("type=local,dest=d,ignore-error=maybe", "neither true nor false"),
        ("type=local,dest=d,verify=ed25519:A", "no attribute `verify`"),
        ("type=inline,mounts=all", "carries no cache mounts"),
        ("type=registry,ref=x,token=sesame", "no attribute `token`"),
    ],
)
def test_what_is_wrong_is_named(text: str, complaint: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse_to(text)
    assert complaint in str(caught.value)
    assert "sesame" not in str(caught.value)


def test_inline_is_imported_by_the_images_name() -> None:
    with pytest.raises(UsageError, match="ref=IMAGE"):
        parse_from("type=inline")


def test_what_is_shared_is_both_read_and_written() -> None:
    place = parse_share("type=local,dest=d,claim-ttl=1m30s,sign=key,verify=ed25519:A,mounts=all,compression=zstd")
    assert place.where == {"dest": "d"}
    assert (place.claim_ttl, place.whole, place.sign, place.verify) == (90.0, True, "key", ("ed25519:A",))
    assert parse_share("example.com/app:cache").claim_ttl == 0


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("type=local,src=d", "no attribute `src`"),
        ("type=inline", "there is no type `inline`"),
        ("type=local,dest=d,claim-ttl=soon", "write it as 30s"),
        ("type=local,dest=d,claim-ttl=1ms", "at least a second"),
        ("type=local,dest=d,mode=max", "no attribute `mode`"),
    ],
)
def test_what_cannot_be_shared_is_named(text: str, complaint: str) -> None:
    with pytest.raises(UsageError, match=complaint):
        parse_share(text)

from __future__ import annotations

import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from buildah_py.errors import UsageError
from buildah_py.image import platform
from buildah_py.image.platform import Platform

HOST = Platform("linux", "arm64")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("linux/amd64", "linux/amd64"),
        ("linux/x86_64", "linux/amd64"),
        ("Linux/X86-64", "linux/amd64"),
        ("linux/amd64/v1", "linux/amd64"),
        ("linux/amd64/v3", "linux/amd64/v3"),
        ("linux/amd64/2", "linux/amd64/v2"),
        ("linux/aarch64", "linux/arm64"),
        ("linux/arm64/v8", "linux/arm64"),
        ("linux/arm64/8", "linux/arm64"),
        ("linux/arm64/v9", "linux/arm64/v9"),
        ("linux/arm", "linux/arm/v7"),
        ("linux/armhf", "linux/arm/v7"),
        ("linux/armel", "linux/arm/v6"),
        ("linux/arm/6", "linux/arm/v6"),
        ("linux/arm/v5", "linux/arm/v5"),
        ("linux/i686", "linux/386"),
        ("linux/riscv64", "linux/riscv64"),
        ("macos/arm64", "darwin/arm64"),
        ("linux", "linux/arm64"),
        ("amd64", "linux/amd64"),
        ("armhf", "linux/arm/v7"),
        ("windows", "windows/arm64"),
        ("windows(10.0.17763)/amd64", "windows(10.0.17763)/amd64"),
        (" linux/amd64 ", "linux/amd64"),
    ],
)
def test_spellings(text: str, expected: str) -> None:
    assert str(platform.parse(text, HOST)) == expected


@pytest.mark.parametrize(
    "text", ["", "/", "linux/", "/amd64", "a/b/c/d", "pdp11", "linux/amd 64", "amd64(1)", "linux()", "li\nnux"]
)
def test_what_is_no_platform(text: str) -> None:
    with pytest.raises(UsageError, match="linux/arm64") as raised:
        platform.parse(text, HOST)
    assert f"`{text}`" in raised.value.message


def test_the_host_is_this_machine() -> None:
    assert platform.host().os == os.uname().sysname.lower()
    assert platform.host() == platform.host().normalised()
    assert platform.parse("linux") == platform.host()


_names = st.from_regex(r"[a-z0-9_]{1,8}", fullmatch=True)


@given(st.builds(Platform, _names, _names, st.just("") | _names, st.just("") | _names, st.just(())))
def test_text_comes_back_normalised(one: Platform) -> None:
    again = platform.parse(str(one))
    assert again == one.normalised()
    assert again.normalised() == again


def test_what_runs_on_a_machine() -> None:
    def names(text: str, *, strict: bool = False) -> list[str]:
        return [str(one) for one in platform.runnable(platform.parse(text), strict=strict)]

    assert names("linux/amd64") == ["linux/amd64", "linux/386"]
    assert names("linux/amd64/v3") == ["linux/amd64/v3", "linux/amd64/v2", "linux/amd64", "linux/386"]
    assert names("linux/arm/v7") == ["linux/arm/v7", "linux/arm/v6", "linux/arm/v5"]
    assert names("linux/arm64")[:3] == ["linux/arm64", "linux/arm/v8", "linux/arm/v7"]
    assert names("linux/arm64", strict=True) == ["linux/arm64"]
    assert names("linux/s390x") == ["linux/s390x"]
    assert names("linux/arm/vx") == ["linux/arm/vx"]


def offers(*texts: str | None) -> list[Platform | None]:
    return [None if text is None else platform.parse(text) for text in texts]


@pytest.mark.parametrize(
    ("wanted", "offered", "position"),
    [
        ("linux/amd64", ["linux/arm64", "linux/amd64"], 1),
        ("linux/amd64", ["linux/386", "linux/amd64"], 1),
        ("linux/amd64", ["linux/386"], 0),
        ("linux/amd64", ["linux/amd64/v2"], None),
        ("linux/amd64/v2", ["linux/amd64", "linux/amd64/v2", "linux/amd64/v3"], 1),
        ("linux/arm64", ["linux/arm/v7", "linux/arm64/v8"], 1),
        ("linux/arm/v7", ["linux/arm/v5", "linux/arm/v6"], 1),
        ("linux/arm/v6", ["linux/arm/v7"], None),
        ("linux/amd64", ["windows/amd64"], None),
        ("linux/amd64", ["linux/amd64", "linux/amd64"], 0),
        ("linux/amd64", [], None),
        ("linux/amd64", [None], 0),
        ("linux/amd64", [None, None], None),
        ("linux/amd64", [None, "linux/amd64"], 1),
        ("windows(10.0.2)/amd64", ["windows(10.0.1.7)/amd64", "windows(10.0.2.9)/amd64"], 1),
    ],
)
def test_choice(wanted: str, offered: list[str | None], position: int | None) -> None:
    assert platform.choose(platform.parse(wanted), offers(*offered)) == position

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

import pytest

from buildah_py.errors import OutputError, PybuildError
from buildah_py.outputs import precheck, spec
from buildah_py.outputs.oci import write_oci
from tests.outputs.images import config_of

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").write_text("x")
    (tmp_path / "empty").mkdir()
    (tmp_path / "full").mkdir()
    (tmp_path / "full/file").write_text("x")
    os.mkfifo(tmp_path / "pipe")
    write_oci("layout", config_of([]), [], tar=False)
    return tmp_path


@pytest.mark.parametrize(
    "text",
    [
        "type=oci,dest=file",
        "type=oci,dest=new",
        "type=oci,dest=pipe",
        "type=oci,dest=new,tar=false",
        "type=oci,dest=empty,tar=false",
        "type=oci,dest=layout,tar=false",
        "type=docker,dest=-",
        "type=tar,dest=/dev/null",
        "type=image,compression=gzip,compression-level=9",
        "type=cacheonly",
        "new",
        "full",
    ],
)
def test_what_will_do(places: Path, text: str) -> None:
    before = sorted(places.rglob("*"))
    with (places / "out").open("wb") as out:
        precheck.check(spec.parse(text), stdout=out.fileno())
    (places / "out").unlink()
    assert sorted(places.rglob("*")) == before


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("type=oci,dest=full", "full is a directory"),
        ("type=oci,dest=missing/x", "there is no directory .*missing"),
        ("type=oci,dest=file/x", "there is no directory .*file"),
        ("type=oci,dest=full,tar=false", "something else in it"),
        ("type=oci,dest=file,tar=false", "file is not a directory"),
        ("type=oci,dest=missing/x,tar=false", "there is no directory"),
        ("file", "file is not a directory"),
        ("missing/x", "there is no directory"),
        ("type=oci,dest=x,compression=zstd,oci-mediatypes=false", "Docker's media types"),
        ("type=oci,dest=x,annotation.a=b,oci-mediatypes=false", "Docker's media types"),
    ],
)
@pytest.mark.usefixtures("places")
def test_what_will_not_do(text: str, said: str) -> None:
    with pytest.raises(PybuildError, match=said) as raised:
        precheck.check(spec.parse(text))
    assert raised.value.hint


def test_a_terminal(places: Path) -> None:
    leader, terminal = os.openpty()
    with pytest.raises(OutputError, match="terminal"):
        precheck.check(spec.parse("-"), stdout=terminal)
    os.close(leader)
    os.close(terminal)
    assert places.exists()


def test_zstd_without_its_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "zstandard", None)
    with pytest.raises(OutputError, match="zstandard is not there") as raised:
        precheck.check(spec.parse("type=oci,dest=-,compression=zstd"))
    assert "pip install" in raised.value.hint

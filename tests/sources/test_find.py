from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from buildah_py.errors import NotFound, PybuildError, SourceError
from buildah_py.sources.find import find_build_file, find_ignore, include_reader

if TYPE_CHECKING:
    from pathlib import Path


def test_defaults_in_their_order(tmp_path: Path) -> None:
    for name in ("Containerfile", "dockerfile", "Dockerfile", "Buildfile"):
        (tmp_path / name).write_text(name)
        found = find_build_file(str(tmp_path))
        assert (os.path.basename(found.path), found.data) == (name, name.encode())


def test_a_given_file_is_relative_to_where_one_is_or_to_the_context(tmp_path: Path) -> None:
    (tmp_path / "context/sub").mkdir(parents=True)
    (tmp_path / "context/sub/F").write_text("in the context")
    assert find_build_file("context", "sub/F", cwd=str(tmp_path)).data == b"in the context"
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub/F").write_text("here")
    found = find_build_file("context", "sub/F", cwd=str(tmp_path))
    assert (found.name, found.path, found.data) == ("sub/F", str(tmp_path / "sub/F"), b"here")


def test_what_is_missing(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match=r"no build file in .*Buildfile, Dockerfile"):
        find_build_file(str(tmp_path))
    (tmp_path / "DockerFile").touch()
    with pytest.raises(NotFound, match="did you mean -f DockerFile"):
        find_build_file(str(tmp_path))
    with pytest.raises(NotFound, match="Dockrfile does not exist") as caught:
        find_build_file(str(tmp_path), "Dockrfile", cwd=str(tmp_path))
    assert "DockerFile" in caught.value.hint
    with pytest.raises(NotFound, match=r"context .* does not exist"):
        find_build_file(str(tmp_path / "none"))
    with pytest.raises(SourceError, match="is a directory"):
        find_build_file(None, str(tmp_path))


def test_a_link_out_of_the_context_is_refused(tmp_path: Path) -> None:
    (tmp_path / "context").mkdir()
    (tmp_path / "outside").write_text("FROM scratch")
    (tmp_path / "context/Dockerfile").symlink_to("../outside")
    (tmp_path / "context/.dockerignore").symlink_to(tmp_path / "outside")
    with pytest.raises(SourceError, match="leads to nothing inside of the context"):
        find_build_file(str(tmp_path / "context"))
    with pytest.raises(SourceError, match="leads to nothing inside of the context"):
        find_ignore(str(tmp_path / "context"))
    (tmp_path / "context/real").write_text("inside")
    (tmp_path / "context/Buildfile").symlink_to("real")
    assert find_build_file(str(tmp_path / "context")).data == b"inside"


def test_what_is_included_lies_beside_the_build_file(tmp_path: Path) -> None:
    (tmp_path / "context").mkdir()
    (tmp_path / "outside").write_text("RUN true")
    (tmp_path / "context/inside").write_text("RUN false")
    (tmp_path / "context/link").symlink_to("../outside")
    (tmp_path / "context/absolute").symlink_to(tmp_path / "outside")
    (tmp_path / "context/process").symlink_to("/proc/self")
    os.mkfifo(tmp_path / "context/fifo")
    read = include_reader(str(tmp_path / "context"))
    assert read("inside") == ("inside", b"RUN false")
    for path in (
        "../outside",
        "x/../../outside",
        str(tmp_path / "outside"),
        "link",
        "absolute",
        "process/environ",
        "fifo",
    ):
        with pytest.raises(PybuildError):
            read(path)


def test_a_fifo_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "Dockerfile")
    with pytest.raises(SourceError, match="is not a regular file"):
        find_build_file(str(tmp_path))


def test_ignore_files_in_their_order(tmp_path: Path) -> None:
    assert find_ignore(str(tmp_path)) is None
    build_file = tmp_path / "docker/web.Dockerfile"
    build_file.parent.mkdir()
    for path, name in (
        (".dockerignore", ".dockerignore"),
        (".containerignore", ".containerignore"),
        ("docker/web.Dockerfile.dockerignore", "web.Dockerfile.dockerignore"),
    ):
        (tmp_path / path).write_text(f"# x\r\n{name}\r\n")
        found = find_ignore(str(tmp_path), str(build_file))
        assert found is not None
        assert (found.name, found.matches(name)) == (name, True)
    (tmp_path / "own").write_text("x")
    found = find_ignore(str(tmp_path), str(build_file), ignore_file=str(tmp_path / "own"))
    assert found is not None
    assert found.matches("x")
    with pytest.raises(NotFound, match=r"ignore file .* does not exist"):
        find_ignore(str(tmp_path), ignore_file=str(tmp_path / "none"))

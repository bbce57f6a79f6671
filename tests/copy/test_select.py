from __future__ import annotations

import hashlib
import os
import shutil
from typing import TYPE_CHECKING

import pytest

from buildah_py.buildfile.ignore import IgnorePatterns
from buildah_py.copy.materialise import Inline
from buildah_py.copy.mode import parse_mode
from buildah_py.copy.select import select, select_path
from buildah_py.errors import NotFound, UsageError
from buildah_py.sources.directory import DirectoryContext

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path


@pytest.fixture
def root(tmp_path: Path) -> Path:
    made = tmp_path / "context"
    for path in ("src/app.py", "src/lib/a.py", "src/lib/b.txt", "docs/x.md", "README", "Read.me"):
        (made / path).parent.mkdir(parents=True, exist_ok=True)
        (made / path).write_text(path)
    (made / "current").symlink_to("src/lib")
    (made / "up").symlink_to("/src")
    (made / "nowhere").symlink_to("../../none")
    return made


def chosen(root: Path, *sources: str, exclude: Sequence[str] = (), parents: bool = False) -> list[str]:
    with DirectoryContext(str(root)) as tree:
        selection = select(tree, sources, exclude=exclude, parents=parents)
        return [entry.path for source in selection.sources for entry in source.entries]


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("README", ["README"]),
        ("/README", ["README"]),
        ("./src/../README", ["README"]),
        ("../../README", ["README"]),
        ("README/", ["README"]),
        ("src/lib", ["src/lib", "src/lib/a.py", "src/lib/b.txt"]),
        ("current", ["src/lib", "src/lib/a.py", "src/lib/b.txt"]),
        ("current/a.py", ["src/lib/a.py"]),
        ("up/app.py", ["src/app.py"]),
        ("up/l*/*.py", ["src/lib/a.py"]),
        ("src/*.py", ["src/app.py"]),
        ("R*", ["README", "Read.me"]),
        ("cur*", ["src/lib", "src/lib/a.py", "src/lib/b.txt"]),
        ("*.none", []),
        ("none*/x", []),
        ("README/*", []),
    ],
)
def test_sources(root: Path, source: str, expected: list[str]) -> None:
    assert chosen(root, source) == expected


def test_exclude(root: Path) -> None:
    assert chosen(root, "src", exclude=["lib/*.txt"]) == ["src", "src/app.py", "src/lib", "src/lib/a.py"]
    assert chosen(root, "src", exclude=["lib", "!lib/b.txt"]) == ["src", "src/app.py", "src/lib", "src/lib/b.txt"]
    assert chosen(root, "src", exclude=["**/*.py", "lib"]) == ["src"]
    assert chosen(root, "R*", exclude=["*.me"]) == ["README"]


def test_parents(root: Path) -> None:
    assert chosen(root, "src/lib/a.py", parents=True) == ["", "src", "src/lib", "src/lib/a.py"]
    assert chosen(root, "**/*.py", parents=True) == ["", "src", "src/app.py", "src/lib", "src/lib/a.py"]
    assert chosen(root, "src/./lib/a.py", parents=True) == ["src", "src/lib", "src/lib/a.py"]
    assert chosen(root, "./src/./lib", parents=True) == ["src", "src/lib", "src/lib/a.py", "src/lib/b.txt"]
    assert chosen(root, "none*", parents=True) == [""]
    assert chosen(root, "/src/./*/a.py", parents=True) == ["src", "src/lib", "src/lib/a.py"]
    assert chosen(root, "/s*/./lib/**/a.*", parents=True) == ["src", "src/lib", "src/lib/a.py"]
    assert chosen(root, "*/./*.md", parents=True) == ["src/lib", "docs", "docs/x.md", "src", "src"]
    assert chosen(root, "none*/./x", parents=True) == []


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("REDME", "did you mean README"),
        ("readme", "did you mean README"),
        ("src/ap.py", "did you mean src/app.py"),
        ("none/deep/x", "it holds"),
        ("nowhere", "symbolic link to ../../none"),
        ("README/x", "README is not a directory"),
        ("none/*.x", "has no none"),
        ("drop/x", r"ignores.txt line 2 \(drop\) hides it"),
        ("drop/misspelt", r"has no drop/misspelt\n"),
    ],
)
def test_what_is_missing_says_why(root: Path, source: str, message: str) -> None:
    (root / "drop").mkdir()
    (root / "drop/x").touch()
    with (
        DirectoryContext(str(root), IgnorePatterns(["", "drop"], name="ignores.txt")) as tree,
        pytest.raises(NotFound) as caught,
    ):
        select(tree, [source])
    import re

    assert re.search(message, str(caught.value))
    assert source in caught.value.message


def test_a_malformed_pattern(root: Path) -> None:
    with pytest.raises(UsageError, match="malformed"):
        chosen(root, "[a")


def test_one_path_as_it_is_written(root: Path) -> None:
    (root / "*").write_text("a star")
    with DirectoryContext(str(root)) as tree:
        assert [entry.path for entry in select_path(tree, "*", where="x").sources[0].entries] == ["*"]
        assert select_path(tree, "", where="x").digest() == select(tree, ["."]).digest()
        with pytest.raises(NotFound, match="has no R"):
            select_path(tree, "R*", where="x")


# Keys.


def key(root: Path, *sources: str) -> str:
    with DirectoryContext(str(root)) as tree:
        return select(tree, sources).digest()


def test_a_key_is_the_same_elsewhere(root: Path, tmp_path: Path) -> None:
    copy = tmp_path / "elsewhere/deep"
    shutil.copytree(root, copy, symlinks=True)
    for path in [copy, *copy.rglob("*")]:
        os.utime(path, ns=(1, 1), follow_symlinks=False)
        if os.getuid() == 0:
            os.chown(path, 77, 78, follow_symlinks=False)
    copy.chmod(0o700)
    assert key(root, ".") == key(copy, ".")
    (copy / "src").rename(copy / "moved")
    assert key(root, "src") == key(copy, "moved"), "where a directory lies does not matter"


def change_bytes(root: Path) -> None:
    (root / "src/app.py").write_text("src/app.px")


def change_mode(root: Path) -> None:
    (root / "src/app.py").chmod(0o755)


def change_name(root: Path) -> None:
    (root / "src/app.py").rename(root / "src/apq.py")


def change_link(root: Path) -> None:
    (root / "src/link").symlink_to("x")


def change_directory_mode(root: Path) -> None:
    (root / "src/lib").chmod(0o700)


def add_directory(root: Path) -> None:
    (root / "src/new").mkdir()


def add_attribute(root: Path) -> None:
    os.setxattr(root / "src/app.py", "user.note", b"1")


@pytest.mark.parametrize(
    "change",
    [change_bytes, change_mode, change_name, change_link, change_directory_mode, add_directory, add_attribute],
)
def test_what_changes_a_key(root: Path, change: Callable[[Path], None]) -> None:
    before = key(root, "src")
    change(root)
    assert key(root, "src") != before


def test_what_does_not_change_a_key(root: Path) -> None:
    before = key(root, "src"), key(root, "R*")
    (root / "docs/x.md").write_text("not selected")
    (root / "new").touch()
    (root / "src").chmod(0o700)
    os.utime(root / "src/app.py", ns=(5, 5))
    os.link(root / "src/app.py", root / "other")
    assert (key(root, "src"), key(root, "R*")) == before
    (root / "Rust").touch()
    assert key(root, "R*") != before[1], "the names that a pattern matches are content"


def test_the_order_of_sources_and_their_names_matter(root: Path) -> None:
    assert key(root, "README", "Read.me") != key(root, "Read.me", "README")
    (root / "README").write_text("same")
    (root / "Read.me").write_text("same")
    assert key(root, "README") != key(root, "Read.me")


def test_modes_that_chmod_sets_are_not_in_the_key(root: Path) -> None:
    octal, symbolic = parse_mode("644"), parse_mode("u=rwX,go=rX")

    def keys() -> list[str]:
        with DirectoryContext(str(root)) as tree:
            found = select(tree, ["src"])
            return [found.digest(chmod=mode) for mode in (None, octal, symbolic)]

    before = keys()
    (root / "src/app.py").chmod(0o664)
    after = keys()
    assert [a == b for a, b in zip(before, after, strict=True)] == [False, True, True]
    (root / "src/app.py").chmod(0o764)
    assert keys()[1] == before[1]
    assert keys()[2] != before[2]


def test_inline_keys() -> None:
    one = Inline("a", b"bc").digest()
    assert len({one, Inline("ab", b"c").digest(), Inline("a", b"bc", 0o600).digest()}) == 3
    assert Inline("a", b"bc", mtime=5).digest() == one


def test_what_is_kept_of_inputs_is_what_their_digest_is_made_of(root: Path) -> None:
    with DirectoryContext(str(root)) as tree:
        selection = select(tree, ["src", "up"])
    assert "sha256:" + hashlib.sha256(selection.packed()).hexdigest() == selection.digest()
    assert b"app.py\0file\0" in selection.packed()
    assert selection.bases()[0] == "src"


@pytest.mark.parametrize("known", [(), ("h1",), ("h1", "sub/h3"), ("h2",)])
def test_names_of_one_file_are_found_whatever_is_known_of_them(tmp_path: Path, known: Sequence[str]) -> None:
    """An earlier build may have read some of the names."""
    made = tmp_path / "context"
    (made / "hard/sub").mkdir(parents=True)
    (made / "hard/h1").write_text("one")
    for name in ("h2", "sub/h3"):
        os.link(made / "hard/h1", made / "hard" / name)
    with DirectoryContext(str(made)) as tree:
        for name in known:
            tree.digest(f"hard/{name}")
        [source] = select(tree, ["hard"]).sources
        assert source.links == {"hard/h2": "hard/h1", "hard/sub/h3": "hard/h1"}

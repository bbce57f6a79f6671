from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from buildah_py.buildfile.ignore import IgnorePatterns
from buildah_py.sources import directory
from buildah_py.sources.directory import DirectoryContext
from buildah_py.sources.stat_cache import StatCache, is_settled

if TYPE_CHECKING:
    from pathlib import Path

SECOND = 1_000_000_000


@pytest.fixture
def context(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A context whose files all count as old enough."""
    monkeypatch.setattr(directory, "now", lambda: 1 << 62)
    root = tmp_path / "context"
    for path in ("a", "sub/b", "sub/c"):
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_text(path)
    return root


def read(root: Path, cache: StatCache) -> dict[str, str]:
    with DirectoryContext(str(root), None, cache) as opened:
        entries = [entry for folder in ("", "sub") for entry in opened.children(folder)]
        return {entry.path: entry.digest for entry in opened.complete(entries)}


def known(root: Path, cache: StatCache) -> dict[str, str]:
    """Digests that are known without reading."""
    with DirectoryContext(str(root), None, cache) as opened:
        return {entry.path: entry.digest for folder in ("", "sub") for entry in opened.children(folder) if entry.digest}


def test_what_was_read_is_known_next_time(context: Path, tmp_path: Path) -> None:
    cache = StatCache.of(str(tmp_path / "state"), str(context))
    first = read(context, cache)
    cache.save()
    os.setxattr(context / "a", "user.note", b"1")
    os.utime(context / "sub/b", ns=(5, 5))
    (context / "sub/c").chmod(0o600)
    again = StatCache.of(str(tmp_path / "state"), str(context))
    assert known(context, again) == {}, "a ctime changes with the mode too"
    assert read(context, again) | {"sub": ""} == first
    again.save()
    last = known(context, StatCache.of(str(tmp_path / "state"), str(context)))
    assert last | {"sub": ""} == first


def test_attributes_are_remembered(context: Path, tmp_path: Path) -> None:
    os.setxattr(context / "a", "user.note", b"1")
    cache = StatCache(str(tmp_path / "cache"))
    read(context, cache)
    cache.save()
    with DirectoryContext(str(context), None, StatCache(str(tmp_path / "cache"))) as opened:
        entry = opened.entry("a")
        assert entry is not None
        assert entry.digest
        assert entry.xattrs == (("user.note", b"1"),)


@pytest.mark.parametrize("change", ["content", "same size and mtime", "replaced"])
def test_a_changed_file_is_read_again(context: Path, tmp_path: Path, change: str) -> None:
    cache = StatCache(str(tmp_path / "cache"))
    before = read(context, cache)
    path = context / "sub/b"
    times = (path.stat().st_atime_ns, path.stat().st_mtime_ns)
    if change == "content":
        path.write_text("other text")
    elif change == "same size and mtime":
        path.write_text("sub/B")
        os.utime(path, ns=times)
    else:
        (context / "new").write_text("sub/X")
        os.utime(context / "new", ns=times)
        (context / "new").rename(path)
    after = read(context, cache)
    assert {name for name in before if before[name] != after[name]} == {"sub/b"}


def test_a_file_written_in_the_same_tick_is_not_trusted(tmp_path: Path) -> None:
    (tmp_path / "context/sub").mkdir(parents=True)
    (tmp_path / "context/a").write_text("young")
    cache = StatCache(str(tmp_path / "cache"))
    assert read(tmp_path / "context", cache)["a"]
    assert known(tmp_path / "context", cache) == {}


def test_the_rule_of_young_files() -> None:
    hashed = 1_700_000_000 * SECOND + 123_456_789
    assert not is_settled(hashed, hashed)
    assert not is_settled(hashed - 10_000_000, hashed)
    assert is_settled(hashed - 60_000_000, hashed)
    assert not is_settled(hashed + SECOND, hashed), "a clock that was put back"
    whole = 1_700_000_000 * SECOND
    assert not is_settled(whole, whole + SECOND), "a clock of whole seconds"
    assert is_settled(whole, whole + 3 * SECOND)


@pytest.mark.parametrize("damage", [b"", b"short", b"pybuild stat cache 1\n" + bytes(40)])
def test_a_damaged_cache_is_empty(tmp_path: Path, damage: bytes) -> None:
    path = tmp_path / "cache"
    cache = StatCache(str(path))
    cache.remember("", "a", (1, 2, 3, 4, 5, "sha256:00", ()))
    cache.save()
    data = path.read_bytes()
    assert StatCache(str(path)).directories
    for bad in (damage, data[:-1], data[:-1] + b"x"):
        path.write_bytes(bad)
        assert StatCache(str(path)).directories == set()


def test_what_is_gone_is_forgotten(context: Path, tmp_path: Path) -> None:
    cache = StatCache(str(tmp_path / "cache"))
    read(context, cache)
    (context / "a").unlink()
    with DirectoryContext(str(context), None, cache) as opened:
        opened.children("")
    cache.save()
    assert StatCache(str(tmp_path / "cache")).directories == {"sub"}, "not looked at: kept"
    (context / "sub/b").unlink()
    (context / "sub/c").unlink()
    (context / "sub").rmdir()
    again = StatCache(str(tmp_path / "cache"))
    (context / "z").write_text("z")
    with DirectoryContext(str(context), None, again) as opened:
        opened.complete(list(opened.children("")))
    again.save()
    assert StatCache(str(tmp_path / "cache")).directories == {""}


def test_what_an_ignore_file_hides_is_not_forgotten(context: Path, tmp_path: Path) -> None:
    cache = StatCache(str(tmp_path / "cache"))
    everything = read(context, cache)
    cache.save()
    again = StatCache(str(tmp_path / "cache"))
    with DirectoryContext(str(context), IgnorePatterns(["a", "sub"]), again) as opened:
        assert opened.names("") == []
    (context / "new").touch()
    read(context, again)
    again.save()
    last = known(context, StatCache(str(tmp_path / "cache")))
    assert last.items() >= {name: digest for name, digest in everything.items() if digest}.items()

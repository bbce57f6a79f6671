"""The contexts of a build are opened once, and looked at again together."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

import pytest

from buildah_py.contexts import named
from buildah_py.contexts.named import ContextOptions, Contexts, parse_contexts
from buildah_py.sources.directory import DirectoryContext
from buildah_py.store import Store

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def contexts(tmp_path: Path) -> Iterator[Contexts]:
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
    main: Any = None
    found = parse_contexts([f"{name}={tmp_path / name}" for name in ("a", "b")])
    with Store(str(tmp_path / "store")) as store:
        made = Contexts(main, ContextOptions(), store, found)
        yield made
        made.close()


def test_who_asks_twice_gets_the_same(contexts: Contexts, monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[str] = []
    together = threading.Barrier(8)

    class Counted(DirectoryContext):
        def __init__(self, directory: str, *arguments: Any, **options: Any) -> None:
            opened.append(directory)
            super().__init__(directory, *arguments, **options)

    monkeypatch.setattr(named, "DirectoryContext", Counted)
    found: list[DirectoryContext] = []

    def ask() -> None:
        together.wait(20)
        found.append(contexts.open("a"))

    threads = [threading.Thread(target=ask) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 8
    assert len(set(map(id, found))) == len(opened) == 1
    assert contexts.open("b") is not found[0]


def test_what_is_open_is_looked_at_again(contexts: Contexts, tmp_path: Path) -> None:
    for name in ("a", "b"):
        assert list(contexts.open(name).names("")) == []
        (tmp_path / name / "new").touch()
        assert list(contexts.open(name).names("")) == []
    contexts.refresh()
    assert [list(contexts.open(name).names("")) for name in ("a", "b")] == [["new"], ["new"]]

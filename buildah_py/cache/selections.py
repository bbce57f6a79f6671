"""Digests of selections of file systems, remembered: the key of a COPY --from is then made without looking at files.

A file system's chain digest says what it holds, so that a question about it has one answer for all times and machines.
Answers that come from a shared cache may be lies: what was executed on the word of one is compared first.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Protocol

from buildah_py.cache.keys import KEY_VERSION, digest_of
from buildah_py.errors import SourceChanged

if TYPE_CHECKING:
    from collections.abc import Sequence

    from buildah_py.store import Store


def selection_key(
    chain: str, sources: Sequence[str], *, exclude: Sequence[str] = (), parents: bool = False, how: Sequence[str] = ()
) -> str:
    """Name a question: what `sources` select of the file system `chain`; `how` tells what does not count of it."""
    return digest_of(["selection", KEY_VERSION, chain, list(sources), list(exclude), parents, list(how)])


class AnsweringCache(Protocol):
    """Shared caches that know what selections hold."""

    def find_selection(self, key: str) -> tuple[str, str] | None:
        """Give the digest that a question leads to, and who has signed that; None where nobody knows."""
        ...

    def trusts(self, signer: str) -> bool:
        """Whether what this signer has signed may be used."""
        ...


class Selections:
    """The answers that the store remembers: of this machine, and of shared caches.

    `remote` is asked for what the store does not know. Of this
    build's answers, `used` are those of this machine, and `said` those that only
    a shared cache has given.
    """

    def __init__(self, store: Store, remote: AnsweringCache | None = None) -> None:
        self._store = store
        self._remote = remote
        self._lock = threading.Lock()
        self._lies: set[str] = set()
        self.said: dict[str, str] = {}
        self.used: dict[str, str] = {}

    def find(self, key: str) -> str | None:
        """Return the digest of what is selected; None where nobody knows."""
        if (known := self.said.get(key) or self.used.get(key)) is not None:
            return known
        row = self._store.selections.get(key)
        remote = self._remote
        if row is not None and row[1] and (key in self._lies or (remote is not None and not remote.trusts(row[1]))):
            row = None
        if row is None and remote is not None and key not in self._lies:
            row = remote.find_selection(key)
            if row is not None:
                self._store.selections.save(key, *row)
        if row is None:
            return None
        digest, signer = row
        with self._lock:
            (self.said if signer else self.used)[key] = digest
        return digest

    def save(self, key: str, digest: str, where: str) -> None:
        """Remember what was found by looking; `where` is what messages call that.

        Raises SourceChanged where a shared cache has said something else of it.
        """
        with self._lock:
            was_said = self.said.pop(key, digest)
            if was_said != digest:
                self._lies.add(key)
            new = self.used.get(key) != digest
            self.used[key] = digest
        if new:
            self._store.selections.save(key, digest)
        if was_said != digest:
            raise SourceChanged(f"what a shared cache says of {where} is not so")

    def only_said(self, key: str) -> bool:
        """Whether nobody here has looked yet."""
        with self._lock:
            return key in self.said

"""The workers of a cluster: which of them take part in a bake, and why the others do not."""

from __future__ import annotations

import pickle
from typing import TYPE_CHECKING, Final, NamedTuple

from buildah_py.cluster.orders import VERSION, Introduction
from buildah_py.errors import PybuildError
from buildah_py.progress import events

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    from buildah_py.progress.events import Event

SAME_VERSION: Final = "install the version of this machine there"


class _Left(NamedTuple):
    """A worker that takes no part, and why."""

    address: str
    name: str
    problem: str
    hint: str


class Crew:
    """The workers that take part, by their addresses; those that do not are named once."""

    def __init__(self, emit: Callable[[Event], None]) -> None:
        self._emit = emit
        self.known: dict[str, Introduction] = {}
        self.left: dict[str, _Left] = {}

    @property
    def threads(self) -> int:
        """How many steps they execute at once."""
        return sum(one.threads for one in self.known.values())

    def add(self, address: str, answer: object) -> None:
        """Hear of a worker: its introduction, pickled, or the exception that came instead."""
        if not isinstance(answer, bytes):
            self._leave(address, address, *_stranger(answer))
            return
        found = Introduction(*pickle.loads(answer))  # noqa: S301 - of a worker that may run anything for us anyway
        if found.version != VERSION:
            self._leave(address, found.name, f"has pybuild {found.version}, and this is {VERSION}", SAME_VERSION)
        elif found.problem:
            self._leave(address, found.name, found.problem, found.hint)
        else:
            self.known[address] = found

    def forget(self, there: Collection[str]) -> list[str]:
        """Forget the workers that are no longer there; their names."""
        gone = [address for address in self.known if address not in there]
        for address in [one for one in self.left if one not in there]:
            del self.left[address]
        return [self.known.pop(address).name for address in gone]

    def _leave(self, address: str, name: str, problem: str, hint: str) -> None:
        shown = name if name == address else f"{name} ({address})"
        self.left[address] = _Left(address, name, problem, hint)
        self._emit(events.Warning(f"the worker {shown} {problem}: it takes no part; {hint}"))

    def lacking(self, scheduler: str) -> PybuildError:
        """Say why nobody takes part."""
        if not self.left:
            return PybuildError(
                f"the scheduler {scheduler} has no workers", hint=f"start some: dask worker {scheduler}"
            )
        first = next(iter(self.left.values()))
        more = f", and {len(self.left) - 1} more take no part" if len(self.left) > 1 else ""
        return PybuildError(f"the worker {first.name} {first.problem}{more}: nobody is left", hint=first.hint)


def _stranger(answer: object) -> tuple[str, str]:
    if isinstance(answer, ImportError | AttributeError):
        return f"has no pybuild, or another one ({answer})", f"{SAME_VERSION}: pip install 'buildah_py[cluster]'"
    return f"cannot be asked: {answer}", "see its log"

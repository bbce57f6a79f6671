"""The form of an operation, and what it is given and gives."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from buildah_py.engine.results import Result
    from buildah_py.engine.worker import Worker
    from buildah_py.layers.inventory import Captured
    from buildah_py.layers.tree import SourceTree
    from buildah_py.layers.view import MergedView
    from buildah_py.plan import Node


class Usage(NamedTuple):
    """Seconds of CPU time and bytes of memory at the worst moment that a step's command took."""

    cpu: float = 0.0
    memory: int = 0


NOTHING_USED = Usage()


class InputList(NamedTuple):
    """Contents of an input: the tree that they come from, whether that is a build context, where the sources lie in it.

    `pack` gives the bytes that its digest in the key is the digest of.
    """

    where: str
    context: bool
    bases: tuple[str, ...]
    pack: Callable[[], bytes]


class Task(NamedTuple):
    """A step to be done on the file system `parent`; `trees` go with its node's inputs, None for a build context."""

    worker: Worker
    node: Node
    parent: Result
    trees: Sequence[Result | None]

    def below(self) -> MergedView:
        """Return the file system that the step runs on, to be looked at."""
        return self.worker.file_systems.view(self.parent.layers, self.parent.stamps)

    def called(self, number: int) -> str:
        """Return the name of an input's tree for messages."""
        return self.node.inputs[number].name

    def open(self, number: int) -> SourceTree:
        """Return the tree of an input, to be looked at."""
        tree = self.trees[number]
        if tree is None:
            return self.worker.contexts.open(self.node.inputs[number].context)
        return self.worker.file_systems.view(tree.layers, tree.stamps)


class Op(Protocol):
    """A step about to be looked up, and executed if need be."""

    @property
    def usage(self) -> Usage:
        """Resources that executing it took; zeros where there was no command."""

    @property
    def learned(self) -> tuple[str, bytes] | None:
        """The plain key of a step that was executed, and what it learned, as `Cache.save` takes them."""

    def inputs(self) -> Mapping[str, str]:
        """Return the digests of what the step reads, by names that mean something to a person."""

    def lists(self) -> Mapping[str, InputList]:
        """Return the lists of those inputs that are lists of files, by the same names."""

    def execute(self, staged: str, near: str | None) -> tuple[Captured, str]:
        """Execute it in the empty directory `staged`; what came of it, and the tree or tar below that holds the layer.

        `near` is the layer that the record led to which the step was compared with: most likely the result is like it.
        """

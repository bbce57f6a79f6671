"""Base of all mounts of a container: they describe themselves, travel over a socket, and execute."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, ClassVar

    from buildah_py.sandbox.root import Root


class Operation:
    """One mount: what it is and where. Its fields, in the order of the constructor, are its form on the wire."""

    __slots__ = ("target",)
    fields: ClassVar[tuple[str, ...]] = ("target",)
    title = ""
    """Kind of the mount, in a word or two."""
    directory = True
    reserves = ""
    """The part of its place that no mount of a build may cover: "", "place", or "tree" for all below as well."""
    of_host = False
    """Preparing needs the host's mount namespace, as descriptors lead only to mounts of the namespace one is in."""

    def __init__(self, target: str) -> None:
        self.target = target

    def describe(self) -> str:
        """Say in a few words what will be mounted where; contents of files are never shown."""
        return f"{self.title} at {self.target}"

    def wire(self) -> tuple[Any, ...]:
        """Give what `from_wire` makes an equal operation of."""
        return (type(self).__name__, *(getattr(self, field) for field in self.fields))

    def prepare(self, root: Root) -> None:
        """Open what the operation needs of the host, before any target exists."""

    def execute(self, root: Root) -> None:
        """Mount it. Raises OSError."""
        raise NotImplementedError

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Operation) and self.wire() == other.wire()

    def __hash__(self) -> int:
        return hash(self.wire())

    def __repr__(self) -> str:
        return f"<{self.describe()}>"

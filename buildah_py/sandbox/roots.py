"""Roots of commands where no container can be made: what a rung without namespaces and mounts has to provide."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol, runtime_checkable

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from buildah_py.sandbox.place import Shortfall
    from buildah_py.sandbox.spec import ContainerSpec


class EnteredRoot(Protocol):
    """A root that holds what a container's would, for one command.

    `path` is where it lies, so that users can be looked up in it; `container` the command as it is executed by the
    helper, whose own root stays what it is; with `keep_user` it stays this process's user. `warnings` may grow until
    `leave`.
    """

    @property
    def path(self) -> str:
        """Where it lies."""
        ...

    @property
    def container(self) -> ContainerSpec:
        """The command, without what it is lent."""
        ...

    @property
    def keep_user(self) -> bool:
        """Whether its user is this process's."""
        ...

    @property
    def warnings(self) -> Sequence[str]:
        """Things that could not be done for it."""
        ...

    def collect(self) -> None:
        """Put what the command has changed into `upper`, once all of its processes are gone. Raises OSError."""

    def leave(self) -> None:
        """Take away what the command was lent, whatever became of it; called once. Raises OSError."""


@runtime_checkable
class TracedRoot(EnteredRoot, Protocol):
    """A root that another program shows to a command, which is executed below that.

    `through` are the words of that program, the last of them the launcher's path for it (see `launcher.py`), which is
    the file `starter`; `scratch` is a directory for what it needs itself. Whom a file belongs to in there cannot be
    seen from outside; after `collect`, `changed` are paths of which something differs, and `origins` tells of those
    that were there before where that was. New ones belong to `user`.
    """

    through: Sequence[str]
    starter: str
    scratch: str
    user: tuple[int, int]
    changed: frozenset[str]
    origins: Mapping[str, str]


class RootKeeper(Protocol):
    """Gives roots to commands, one after the other or several at once. `shortfall` says what these do without."""

    shortfall: Shortfall

    def enter(self, container: ContainerSpec) -> EnteredRoot:
        """Make the root of a container, and wait until it can be had. Raises SandboxError, OSError."""

    def close(self) -> None:
        """Let go of all; nobody is in a root any more."""

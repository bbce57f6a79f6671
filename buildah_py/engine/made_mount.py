"""What a RUN --mount becomes."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from buildah_py.sandbox import Operation


class Made(NamedTuple):
    """What a mount becomes: operations of the sandbox, and variables that the command sees and the key does not."""

    operations: tuple[Operation, ...] = ()
    variables: tuple[tuple[str, str], ...] = ()

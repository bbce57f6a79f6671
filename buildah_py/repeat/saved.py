"""Files that keep what commands led to: one for each command, in the state directory."""

from __future__ import annotations

import marshal
import os
import sys
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from buildah_py.checksum import sha256_hex
from buildah_py.store.glance import Rows
from buildah_py.version import __version__

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from buildah_py.repeat.stamps import LookedAt, Stamp

ROOM: Final = "repeat"
_PROGRAM: Final = f"{__version__} {sys.version}"


class Saved(NamedTuple):
    """Outcome of a command, and all that it depended on.

    `files` were looked at by their paths, None stands for nothing there; `trees` are contexts by their paths, with what
    was listed of them. `rows` are those of the store. `image` is shown as what all led to, `told` are the events of the
    build by their names, `mode` says how progress is shown, and `history` are the pieces of the build's record, see
    history/files.py. `engine` is the socket of an engine that has to have the image, with the id and names there.
    """

    files: Sequence[tuple[str, Stamp | None]]
    trees: Sequence[tuple[str, Sequence[LookedAt]]]
    rows: Rows
    image: str
    names: Sequence[str]
    told: Sequence[tuple[Any, ...]]
    hits: int
    mode: str
    history: Sequence[str]
    engine: tuple[str, str, Sequence[str]] | None = None


def identity(words: Sequence[str], cwd: str, environ: Mapping[str, str], rights: tuple[str, ...]) -> str:
    """Give what a command line is known by, given in a directory by whom has these rights; variables may be secrets."""
    said = (tuple(words), cwd, sorted(environ.items()), rights)
    return sha256_hex(repr(said).encode("utf-8", "surrogateescape"))


def load(root: str, command: str) -> Saved | None:
    """Read what is kept of the command of that identity; None where nothing is."""
    try:
        with open(os.path.join(root, ROOM, command), "rb") as file:
            # At once: marshal reads a file in pieces of a few bytes. It is our own, in a directory of this user alone.
            program, fields = marshal.loads(file.read())  # noqa: S302
        if program != _PROGRAM:
            return None
        saved = Saved(*fields)
        return saved._replace(rows=Rows(*saved.rows))
    except (OSError, ValueError, EOFError, TypeError):
        return None


def save(root: str, command: str, saved: Saved) -> None:
    """Keep it in place of what was kept of the command. Raises OSError."""
    fields: Any = (*saved[:2], tuple(saved.rows), *saved[3:])  # of no class of ours
    data = marshal.dumps((_PROGRAM, fields), 4)
    room = os.path.join(root, ROOM)
    os.makedirs(room, mode=0o700, exist_ok=True)
    new = os.path.join(room, f".{command}.{os.getpid()}")
    descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    with open(descriptor, "wb") as file:
        file.write(data)
    os.replace(new, os.path.join(room, command))

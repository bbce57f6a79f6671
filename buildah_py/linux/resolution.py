"""Path resolution with a directory as the root, as path_resolution(7) has it, for trees of any kind."""

from __future__ import annotations

import errno
import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

MAX_LINKS = 255
"""How many symbolic links one path may lead through, as in other container runtimes; the kernel's own limit is 40."""


class TooManyLinks(OSError):
    """More symbolic links than MAX_LINKS: most likely they go in circles. The errno is ELOOP."""


def resolve(path: str, link: Callable[[str], str | None], *, follow_last: bool = True) -> tuple[list[str], int]:
    """Give the names that `path` leads through, free of links, and how many of them exist: the first so many.

    `link` gives the target of the symbolic link at a path without links, "" for anything else that exists, None for
    nothing. No link and no `..` leaves the root. Where nothing exists any more, the rest is appended as it is. Without
    `follow_last`, a link in the last component stands for itself, unless a slash follows it. Raises TooManyLinks.
    """
    pending = list(reversed(path.split("/")))
    names: list[str] = []
    existing = 0
    links = 0
    while pending:
        name = pending.pop()
        if name in ("", "."):
            continue
        if name == "..":
            del names[-1:]
            existing = min(existing, len(names))
            continue
        names.append(name)
        if existing < len(names) - 1:
            continue
        target = link("/".join(names))
        if target and (pending or follow_last):
            links += 1
            if links > MAX_LINKS:
                raise TooManyLinks(errno.ELOOP, os.strerror(errno.ELOOP), path)
            if target.startswith("/"):
                names.clear()
                existing = 0
            else:
                names.pop()
            pending += reversed(target.split("/"))
        elif target is not None:
            existing += 1
    return names, existing

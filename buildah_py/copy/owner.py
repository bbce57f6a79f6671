"""`--chown`: names looked up in the image's own /etc/passwd and /etc/group."""

from __future__ import annotations

from typing import TYPE_CHECKING

from buildah_py.image.users import MAX_BYTES, owner
from buildah_py.layers.entry import FILE
from buildah_py.layers.tree import read, resolve

if TYPE_CHECKING:
    from buildah_py.layers.tree import Tree


def parse_owner(spec: str, view: Tree) -> tuple[int, int]:
    """Give uid and gid for `USER[:GROUP]` in the image that `view` shows; raises NotFound for an unknown name.

    The files are only read where a name asks for it, no further than 4 MiB, and no symbolic link leads out
    of the image.
    """
    user, _, group = spec.partition(":")
    passwd = b"" if user.isdigit() or not user else _read(view, "etc/passwd")
    groups = b"" if group.isdigit() or not group else _read(view, "etc/group")
    return owner(spec, passwd, groups)


def _read(view: Tree, path: str) -> bytes:
    found = resolve(view, path)
    entry = view.entry(found)
    return read(view, found, MAX_BYTES) if entry is not None and entry.kind == FILE else b""

"""The form that a store's layers have on the disk: whose their files are, and which attributes say what cannot be.

One store cannot be in two: the files of one who can give them to nobody are not what others mount, and the other way
round. Who makes the first tree in a store decides.
"""

from __future__ import annotations

import functools
import os
from contextlib import suppress

from buildah_py.errors import StoreError
from buildah_py.linux.identity import has_single_id, may_override_modes, uses_userxattr

_FILE = "form"


def _own() -> str:
    """Name the form that this process makes and mounts."""
    if not has_single_id():
        return "in a user namespace, or without the right to mount" if uses_userxattr() else "by root"
    return "with one id alone" if may_override_modes() else "by a user who owns all files"


def _write(path: str, form: str) -> None:
    """Write the file, whole, unless somebody else is quicker."""
    new = f"{path}.{os.getpid()}"
    with open(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600), "w", encoding="ascii") as file:
        file.write(form)
    with suppress(FileExistsError):
        os.link(new, path)
    os.unlink(new)


@functools.cache
def check_form(root: str) -> None:
    """Refuse a state directory whose layers have another form; the first process decides. Raises StoreError."""
    path, own = os.path.join(root, _FILE), _own()
    if not os.path.exists(path):
        _write(path, own)
    with open(path, encoding="ascii", errors="replace") as file:
        there = file.read()
    if there != own:
        raise StoreError(
            f"the layers in {root} were made {there}, and those of this process are made {own}: their files differ "
            "in owners and attributes",
            hint="PYBUILD_ROOT names another state directory; where ids were added or taken away since, remove this "
            "one: builds make it anew",
        )

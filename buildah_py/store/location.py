"""Where the state directory lies."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from buildah_py.linux.identity import MARKER, needs_user_namespace

if TYPE_CHECKING:
    from collections.abc import Mapping


def state_root(environ: Mapping[str, str], uid: int) -> str:
    """`$PYBUILD_ROOT`, else /var/lib/pybuild for root who may mount, and `$XDG_DATA_HOME/pybuild` for others."""
    if root := environ.get("PYBUILD_ROOT"):
        return os.path.abspath(root)
    # Layers have another form in a user namespace: one store cannot be both.
    if uid == 0 and MARKER not in environ and not needs_user_namespace(environ):
        return "/var/lib/pybuild"
    data = environ.get("XDG_DATA_HOME", "")
    if not data.startswith("/"):
        data = os.path.join(environ.get("HOME", "/"), ".local/share")
    return os.path.join(data, "pybuild")

"""Names of the rungs of isolation, and which is taken; see docs/sandbox.md."""

from __future__ import annotations

from buildah_py.linux.identity import may_mount
from buildah_py.linux.programs import find_tool

FULL, NESTED, IN_PLACE, PROOT = "full", "nested", "in-place", "proot"
WITHOUT_CONTAINER = (IN_PLACE, PROOT)
"""Those that take neither a namespace nor a mount, so that the program need not enter a user namespace for them."""


def find_proot(path: str) -> str:
    """Give the program PRoot in the directories of `path`, "" where it is not installed."""
    return find_tool(PROOT, path)


def taken(isolation: str, path: str) -> str:
    """Give the rung that is taken for `isolation`: that below PRoot where no container can be made, if it is there.

    `container` stays for all that have containers, of which the highest is found by trying.
    """
    return PROOT if isolation == "container" and not may_mount() and find_proot(path) else isolation

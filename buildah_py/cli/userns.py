"""User namespaces of containers, as the options `--userns…` ask for them."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from buildah_py.errors import SandboxError, UsageError
from buildah_py.linux.identity import MARKER

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterable

    from buildah_py.sandbox.idmap import Ranges

_OWN = ("auto", "container", "private")
_HOLDERS = ("containers", "root")
"""Whose subordinate ids are taken where nobody is named: the user that is there for this, else root."""
_MOST = (1 << 32) - 1


def read(args: argparse.Namespace) -> tuple[Ranges, Ranges]:
    """Give the maps of user and group ids; empty for no user namespace. Raises UsageError, SandboxError."""
    mode = args.userns
    uids, gids = _ranges(args.userns_uid_map, "--userns-uid-map"), _ranges(args.userns_gid_map, "--userns-gid-map")
    user, group = args.userns_uid_map_user, args.userns_gid_map_group
    if mode not in ("", "host", *_OWN):
        raise UsageError(f"--userns={mode} is not known", hint=f"known are host, {', '.join(_OWN)}")
    given = [
        name for name in ("uid_map", "gid_map", "uid_map_user", "gid_map_group") if getattr(args, f"userns_{name}")
    ]
    if given and mode == "host":
        raise UsageError(f"--userns=host leaves nothing to map with --userns-{given[0].replace('_', '-')}")
    if os.geteuid() != 0 or MARKER in os.environ:
        if given:
            raise UsageError(
                f"--userns-{given[0].replace('_', '-')} is root's to give",
                hint="without root, containers have the subordinate ids of /etc/subuid and /etc/subgid",
            )
        return (), ()  # all of it is in a user namespace already
    if mode in ("", "host") and not given:
        return (), ()
    if (uids and user) or (gids and group):
        raise UsageError("a map of ids is either written down or somebody's: give one of both options")
    if not (uids or gids):
        return held("/etc/subuid", user or group), held("/etc/subgid", group or user)
    uids = uids or (held("/etc/subuid", user) if user else gids)
    gids = gids or (held("/etc/subgid", group) if group else uids)
    for option, ranges in (("uid", uids), ("gid", gids)):
        if not any(inside == 0 for inside, _, _ in ranges):
            raise UsageError(f"--userns-{option}-map does not map 0, and a container needs a root")
    return uids, gids


def _ranges(texts: Iterable[str], option: str) -> Ranges:
    found = []
    for text in (one for item in texts for one in item.split(",")):
        words = text.split(":")
        if len(words) != 3 or not all(word.isdigit() for word in words):
            raise UsageError(f"{option} {text}: write it as INSIDE:OUTSIDE:COUNT")
        inside, outside, count = map(int, words)
        if not count or max(inside, outside) + count > _MOST:
            raise UsageError(f"{option} {text}: there are no such ids")
        found.append((inside, outside, count))
    return tuple(found)


def held(path: str, name: str = "") -> Ranges:
    """Give the ids that somebody holds in /etc/subuid or /etc/subgid, from 0 up. Raises SandboxError."""
    from buildah_py.sandbox.userns import subordinate_ids

    for holder in (name,) if name else _HOLDERS:
        ranges = subordinate_ids(path, -1, holder)
        if ranges:
            starts = [sum(count for _, count in ranges[:place]) for place in range(len(ranges))]
            return tuple((inside, *one) for inside, one in zip(starts, ranges, strict=True))
    raise SandboxError(
        f"{path} holds no ids of {name or ' or '.join(_HOLDERS)} for a user namespace",
        hint=f"`usermod --add-subuids 100000-165535 --add-subgids 100000-165535 {name or 'root'}` gives some;"
        " or say which with --userns-uid-map=0:100000:65536",
    )

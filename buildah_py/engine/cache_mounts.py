"""RUN --mount=type=cache: a directory that lasts from build to build, shared, locked or one for each user."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from buildah_py.engine.made_mount import Made
from buildah_py.errors import Interrupted, NotFound
from buildah_py.linux.paths import openat2
from buildah_py.sandbox import BindMount

if TYPE_CHECKING:
    from contextlib import ExitStack

    from buildah_py.engine.workshop import Result, Workshop
    from buildah_py.plan import Node
    from buildah_py.plan.steps import MountStep


def make_cache(workshop: Workshop, node: Node, mount: MountStep, tree: Result | None, held: ExitStack) -> Made:
    """Give the mount of a cache; its lock and its descriptor are put on `held`.

    With `from`, what the cache holds at first is that stage's or image's, and a cache belongs to that content too.
    """
    identity = mount.id if tree is None else f"{mount.id}\0{tree.chain}"
    if mount.sharing == "locked":
        held.enter_context(workshop.store.lock(f"cache mount {identity}", workshop.cancelled))
    elif mount.sharing == "private":
        identity = _free(workshop, identity, held)
    directory = workshop.cache_directory(identity) or workshop.store.cache_mounts.use(
        identity, mode=0o755 if mount.mode is None else mount.mode, uid=mount.uid, gid=mount.gid
    )
    if tree is not None:
        _fill(workshop, node, mount, tree, directory)
    descriptor = os.open(directory, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    held.callback(os.close, descriptor)
    source = mount.source.strip("/")
    if source and tree is None:
        try:
            descriptor = openat2(descriptor, source, os.O_PATH)
        except OSError as error:
            raise NotFound(f"the cache `{mount.id}` has no {mount.source}: {error.strerror}") from error
        held.callback(os.close, descriptor)
    return Made((BindMount(descriptor, mount.target, readonly=mount.readonly, mapped=True),))


def _free(workshop: Workshop, identity: str, held: ExitStack) -> str:
    """Lock the first of a cache's copies that nobody else uses now."""
    number = 0
    while True:
        name = f"{identity}\0{number}" if number else identity
        try:
            held.enter_context(workshop.store.lock(f"cache mount {name}", lambda: True))
        except Interrupted:
            number += 1
        else:
            return name


def _fill(workshop: Workshop, node: Node, mount: MountStep, tree: Result, directory: str) -> None:
    """Put what `from` holds into a cache that is new."""
    from buildah_py.copy.materialise import materialise
    from buildah_py.copy.select import select
    from buildah_py.engine.mounts import shown_tree

    with workshop.store.lock(f"filling {directory}", workshop.cancelled):
        if os.listdir(directory):
            return
        shown, where = shown_tree(workshop, node, mount, tree)
        with workshop.writer(directory) as writer:
            materialise([select(shown, [mount.source or "/"], where=where)], "/", shown, writer, link=True)
            writer.finish()

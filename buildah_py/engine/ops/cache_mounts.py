"""RUN --mount=type=cache: directories that last from build to build, shared, locked or one for each user."""

from __future__ import annotations

import os
from functools import partial
from typing import TYPE_CHECKING

from buildah_py.errors import Interrupted, NotFound
from buildah_py.layers.entry import DIR
from buildah_py.layers.owner import give
from buildah_py.linux.paths import openat2
from buildah_py.sandbox import BindMount
from buildah_py.store.cache_mounts import CacheName

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from contextlib import ExitStack

    from buildah_py.engine.ops.op import Task
    from buildah_py.plan.steps import MountStep
    from buildah_py.store import Store


def open_caches(task: Task, mounts: Sequence[MountStep], held: ExitStack) -> Mapping[int, str]:
    """Give the directories of a step's cache mounts by their places among `mounts`; what locks them is put on `held`.

    The locks are taken in the order of their names, each once: steps that share several mounts cannot wait for each
    other. A locked mount is for one step alone, whatever the others say of it.
    """
    caches = {place: mount for place, mount in enumerate(mounts) if mount.type == "cache"}
    names = {place: _name(task, mount) for place, mount in caches.items()}
    alone = {names[place] for place, mount in caches.items() if mount.sharing == "locked"}
    private = {names[place]: names[place] for place, mount in caches.items() if mount.sharing == "private"}
    for name in sorted({names[place] for place, mount in caches.items() if mount.sharing != "private"}):
        waiting = f"waiting for the cache mount {name.shown}, which another step has"
        held.enter_context(
            task.worker.store.lock(
                f"cache mount {name}",
                task.worker.cancellation.is_set,
                shared=name not in alone,
                waiting=partial(task.worker.reporter.note, waiting, task.node.index + 1),
            )
        )
    for name in private:
        private[name] = _free(task.worker.store, name, held)
    return {
        place: _directory(task, mount, private[names[place]] if mount.sharing == "private" else names[place])
        for place, mount in caches.items()
    }


def show_cache(mount: MountStep, directory: str, held: ExitStack) -> BindMount:
    """Give the mount of a cache that lies in `directory`; its descriptor is put on `held`."""
    descriptor = os.open(directory, os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    held.callback(os.close, descriptor)
    source = mount.source.strip("/")
    if source and mount.input is None:
        try:
            descriptor = openat2(descriptor, source, os.O_PATH)
        except OSError as error:
            raise NotFound(f"the cache `{mount.id}` has no {mount.source}: {error.strerror}") from error
        held.callback(os.close, descriptor)
    return BindMount(descriptor, mount.target, readonly=mount.readonly, mapped=True)


def _name(task: Task, mount: MountStep) -> CacheName:
    """Name the directory: other owners and modes are other caches, and so is what begins with other content."""
    name = CacheName.of(mount.id, mount.uid, mount.gid, mount.mode)
    tree = None if mount.input is None else task.trees[mount.input]
    return name if tree is None else name.beginning_with(f"{tree.chain} {mount.source}")


def _free(store: Store, name: CacheName, held: ExitStack) -> CacheName:
    """Lock the first of a cache's copies that nobody else uses now."""
    number = 0
    while True:
        copy = name.copy(number)
        try:
            held.enter_context(store.lock(f"cache mount {copy}", lambda: True))
        except Interrupted:
            number += 1
        else:
            return copy


def _directory(task: Task, mount: MountStep, name: CacheName) -> str:
    known = task.worker.cache_directory(name)
    if known is not None:
        return known
    caches = task.worker.store.cache_mounts
    if caches.use(name):
        return caches.path(name)
    staged = os.path.join(task.worker.store.stage(), "mount")
    os.mkdir(staged, 0o700)
    mode, uid, gid = (0o755, 0, 0) if mount.input is None else _fill(task, mount, mount.input, staged)
    give(staged, mount.uid or uid, mount.gid or gid, f"the cache mount at {mount.target}")
    os.chmod(staged, mode if mount.mode is None else mount.mode)
    caches.put(name, staged)
    return caches.path(name)


def _fill(task: Task, mount: MountStep, number: int, directory: str) -> tuple[int, int, int]:
    """Put what `from` holds into the directory of a new cache, which no container has; mode and owner of the source."""
    from buildah_py.copy.materialise import materialise
    from buildah_py.copy.select import select
    from buildah_py.layers.tree import resolve

    shown = task.open(number)
    with task.worker.file_systems.writer(directory) as writer:
        materialise([select(shown, [mount.source or "/"], where=task.called(number))], "/", shown, writer, link=True)
        writer.finish()
    source = shown.entry(resolve(shown, mount.source or "/"))
    return (source.mode, source.uid, source.gid) if source is not None and source.kind == DIR else (0o755, 0, 0)

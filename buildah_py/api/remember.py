"""Putting down what a command led to, and all that this depended on, after a build in which every step was a hit."""

from __future__ import annotations

import os
import stat
from typing import TYPE_CHECKING, Final

from buildah_py import debug
from buildah_py.api.config import looked_at
from buildah_py.api.reuse import ReuseOptions
from buildah_py.buildfile.remote import kind_of
from buildah_py.buildfile.walk import SCRATCH
from buildah_py.errors import StoreError
from buildah_py.frozen import replace
from buildah_py.image import reference as references
from buildah_py.linux.identity import MARKER
from buildah_py.outputs.engine_api import find_engine
from buildah_py.plan.steps import BaseStep, CaptureStep, CopyStep
from buildah_py.repeat.saved import Saved, save
from buildah_py.repeat.stamps import FIELDS, stamp
from buildah_py.sources.find import build_file_places, ignore_file_places
from buildah_py.sources.stat_cache import is_settled
from buildah_py.sources.urls import STDIN
from buildah_py.store.glance import read_rows
from buildah_py.store.names import familiar_name, full_name

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from buildah_py.api.opening import BuildSession
    from buildah_py.api.request import BuildRequest, BuildResult
    from buildah_py.cache import Record
    from buildah_py.history.recording import BuildHistory
    from buildah_py.plan import Node, Plan
    from buildah_py.repeat.command import CommandLine
    from buildah_py.repeat.stamps import LookedAt, Stamp
    from buildah_py.sources.directory import DirectoryContext
    from buildah_py.store.glance import Rows

_MOST: Final = 200_000
"""Files of contexts: with more, looking at them takes longer than anybody should wait without a sign."""


class _NotSettledError(Exception):
    """Raised where what was looked at may have changed since the build began."""


def remember(
    request: BuildRequest,
    session: BuildSession,
    plan: Plan,
    records: Mapping[int, Record],
    history: BuildHistory,
    done: BuildResult,
) -> None:
    """Put down what the request's command led to, unless anything about it is not known to be the same next time.

    It is never in the way of the build: what cannot be written is logged.
    """
    command, store = request.command, session.worker.store
    if command is None or done.images or not history.is_plain or not _is_plain(request, session, plan.nodes):
        return
    try:
        files = [(path, _settled(path, command)) for path in _places(request, session)]
        trees = [(one.path, list(_listed(one, command))) for one in session.contexts.opened()]
        rows = _rows(session, plan, records, done)
        if rows is None:
            return
        told, names = [(type(one).__name__, *one) for one in history.told], [familiar_name(name) for name in done.names]
        pieces = history.pieces(session.source, records, done.image, done.names)
        engine = _engine(request, done)
        shown = done.loaded if engine is not None and command.by_engine else done.image
        saved = Saved(files, trees, rows, shown, names, told, done.hits, command.mode, pieces, engine)
        save(store.root, command.identity, saved)
    except _NotSettledError as error:
        debug.log("the command is not remembered: %s", error)
    except (OSError, StoreError) as error:
        debug.log("the command cannot be remembered: %s", error)


def _is_plain(request: BuildRequest, session: BuildSession, nodes: Sequence[Node]) -> bool:
    """Tell whether all that the build depends on is known to this module."""
    container, outputs = request.container, request.outputs
    from_elsewhere = [one for one in session.named.values() if one.kind != "directory"]
    return not (
        session.main.remote
        or session.worker.store.lost  # which is said once
        or request.text is not None
        or request.file == STDIN
        or (request.file is not None and kind_of(request.file) != "path")
        or from_elsewhere
        or session.build_file.source.origins
        or replace(request.reuse, observe="auto") != ReuseOptions()
        or request.secrets
        or request.ssh
        or request.record
        or request.epoch_of_context
        or request.pull != "missing"
        or request.source_policy
        or request.attest is not None
        or outputs.specs
        or outputs.push
        or (outputs.load and not find_engine(request.environ).path)
        or request.caching.is_shared
        or container.devices
        or container.volumes
        or container.seccomp.lstrip().startswith("{")
        or container.bundle(request.environ) == "host"
        or any(isinstance(node.step, CaptureStep) for node in nodes)
        or any(_is_remote(source) for node in nodes for source in _sources(node))
    )


def _engine(request: BuildRequest, done: BuildResult) -> tuple[str, str, list[str]] | None:
    """Give the socket of the engine that was given the image, with the image's id and names there."""
    if not request.outputs.load:
        return None
    names = [references.parse(name).with_default_tag().full for name in done.names]
    return find_engine(request.environ).path, done.loaded, names


def _sources(node: Node) -> Iterable[str]:
    return node.step.sources if isinstance(node.step, CopyStep) and node.step.add else ()


def _is_remote(source: str) -> bool:
    return kind_of(source) != "path"


def _places(request: BuildRequest, session: BuildSession) -> Iterator[str]:
    """Give all files that were looked at but those of contexts."""
    assert request.command is not None
    assert request.context is not None
    yield from request.command.files
    yield from looked_at(request.environ)
    if MARKER in request.environ:
        from buildah_py.sandbox.userns import mapping_places

        yield from mapping_places(request.environ)
    for path in build_file_places(request.context, request.file):
        yield path
        if os.path.lexists(path):
            break
    if bundle := request.container.bundle(request.environ):
        yield bundle
    yield from ignore_file_places(request.context, session.main.build_file.path, session.sources.ignore_file)
    for named in session.named.values():
        yield from ignore_file_places(named.location)


def _settled(path: str, command: CommandLine) -> Stamp | None:
    """Stamp a file that is as it was when the command was given. Raises _NotSettledError, OSError."""
    found = stamp(path)
    if found is not None:
        if not stat.S_ISREG(found[4]):
            raise _NotSettledError(f"{path} is not a regular file")
        _check_age(found[0], path, command)
    return found


def _check_age(ctime: int, path: str, command: CommandLine) -> None:
    if not is_settled(ctime, command.began):
        raise _NotSettledError(f"{path} has changed only just")


def _listed(context: DirectoryContext, command: CommandLine) -> Iterator[LookedAt]:
    """Give what was looked at of a context, stamped then. Raises _NotSettledError."""
    listed = context.looked_at()
    if sum(len(names) for names, _ in listed.values()) > _MOST:
        raise _NotSettledError(f"{context.path} has more than {_MOST} files")
    for directory, (names, stamps) in listed.items():
        if stamps is None:
            raise _NotSettledError(f"{context.path}/{directory} has times before 1970")
        for name, ctime in zip(names, stamps[::FIELDS], strict=True):
            _check_age(ctime, f"{context.path}/{directory}/{name}", command)
        yield directory, "\0".join(names), stamps.tobytes()


def _rows(session: BuildSession, plan: Plan, records: Mapping[int, Record], done: BuildResult) -> Rows | None:
    """Read the rows that all was answered from, if they are those that the build has met."""
    store = session.worker.store
    steps = [node for node in plan.nodes if not isinstance(node.step, BaseStep)]
    bases = [node.step for node in plan.nodes if isinstance(node.step, BaseStep)]
    met = [records[node.index] for node in steps]
    diff_ids = {record.diff_id for record in met} | {one for base in bases for one in base.diff_ids}
    lower = set(diff_ids)
    while lower := {layer.base for layer in store.layers.several(list(lower)).values() if layer.base} - diff_ids:
        diff_ids |= lower
    meant = {(full_name(name), config.digest()) for (name, _), config in plan.bases.items() if name != SCRATCH}
    named = dict(meant)
    if len(named) != len(meant):  # a name that means one image for one platform and another for the other
        return None
    if any(named.get(name, done.image) != done.image for name in done.names):  # a build on what it has made itself
        return None
    named |= dict.fromkeys(done.names, done.image)
    with store.database.transaction():
        known = [session.worker.cache.known(record.key) for record in met]
        rows = read_rows(store.root, store.database.query, (one.key for one in met), diff_ids, named, done.image)
    if (
        [one and one[0] for one in known] != met
        or rows is None
        or {name: image for name, image, *_ in rows.names} != named
    ):
        return None
    return rows

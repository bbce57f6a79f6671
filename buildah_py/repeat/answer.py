"""The answer to a command that was given before, where all that it depended on is as it was."""

from __future__ import annotations

import os
import sys
import threading
import time
from typing import TYPE_CHECKING

from buildah_py.repeat.saved import load
from buildah_py.repeat.stamps import are_same, is_same_tree
from buildah_py.store.glance import would_answer

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from buildah_py.repeat.command import CommandLine
    from buildah_py.repeat.saved import Saved


def find_answer(root: str, identity: str) -> Saved | None:
    """Give what the command of that identity led to, None where it might lead to something else now."""
    saved = load(root, identity)
    if saved is None:
        return None
    try:
        same = are_same(saved.files) and all(is_same_tree(*tree) for tree in saved.trees)
    except (OSError, OverflowError):
        return None
    same = same and would_answer(root, saved.rows) and (saved.engine is None or _is_in_engine(*saved.engine))
    return saved if same else None


def _is_in_engine(socket: str, image: str, names: Sequence[str]) -> bool:
    from buildah_py.errors import OutputError
    from buildah_py.outputs.engine_api import Daemon, DaemonAddress

    engine = Daemon(DaemonAddress(socket, "", 0, socket))
    try:
        return all(engine.has(image, name) for name in names or [""])
    except OutputError:  # which the build says more of
        return False


def answer(command: CommandLine, root: str, environ: Mapping[str, str]) -> bool:
    """Say what the command led to, as the build would; false where it has to be built. Raises OutputError."""
    began = time.monotonic()
    saved = find_answer(root, command.identity)
    if saved is None:
        return False
    from buildah_py.history.files import build_id
    from buildah_py.progress import events
    from buildah_py.progress.choose import renderer

    name = f"{command.began}-{os.getpid()}-{threading.get_ident()}"  # as a lease's
    looked = time.monotonic() - began
    with renderer(saved.mode, err=sys.stderr, out=sys.stdout, env=environ) as sink:
        sink(events.BuildStarted(sum(kind == "StepStarted" for kind, *_ in saved.told), build_id(name)))
        for kind, *fields in saved.told:
            if kind == "StepStarted":
                sink(events.StepStarted(*fields))
            elif kind == "StepDone":
                sink(events.StepDone(fields[0], events.HIT))
            elif kind == "Note":
                sink(events.Note(*fields))
            else:
                sink(events.Warning(*fields))
        seconds = time.monotonic() - began
        _record(root, name, saved, command.began / 1e9, looked, seconds)
        sink(events.BuildDone(saved.image, tuple(saved.names), seconds, saved.hits, 0))
    return True


def _record(root: str, name: str, saved: Saved, created: float, looked: float, seconds: float) -> None:
    """Write the build into the store's history: its steps are done when all was looked at."""
    from buildah_py.history.files import build_id, filled, put

    values = {
        "id": f'"{build_id(name)}"',
        "created": f"{created:.3f}",
        "looked": f"{looked:.4f}",
        "seconds": f"{seconds:.4f}",
    }
    try:
        put(root, name, filled(saved.history, values))
    except OSError as error:  # as for any build: the history never fails one
        from buildah_py import debug

        debug.log("the record of the build cannot be written: %s", error)

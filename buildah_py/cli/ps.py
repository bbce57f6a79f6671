"""`pybuild ps`."""

from __future__ import annotations

import shlex
import time
from typing import TYPE_CHECKING, Any

from buildah_py.cli.printing import say, say_data
from buildah_py.cli.tables import FORMATS, one_line, since, table
from buildah_py.errors import UsageError
from buildah_py.store.containers import DEAD, RUNNING

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable

    from buildah_py.store.containers import KeptContainer

_WIDTH = 24
_FILTERS = ("id", "name", "label", "status", "ancestor")


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    add = parser.add_argument
    add("-a", "--all", action="store_true", help="also those that have ended")
    add("-q", "--quiet", action="store_true", help="only ids")
    add("--no-trunc", action="store_true", help="cut nothing short")
    add("-f", "--filter", metavar="FILTER", action="append", default=[],
        help="id=, name=, label=KEY[=VALUE], status=running|exited|dead, ancestor=IMAGE; may be repeated")  # fmt: skip
    add("--format", choices=FORMATS, default="table", help="default: %(default)s")


def run(args: argparse.Namespace) -> int:
    """List containers, the newest first."""
    from buildah_py.api.state import own_root
    from buildah_py.store.containers import containers

    wanted = [_filter(text) for text in args.filter]
    everything = args.all or any(text.startswith("status=") for text in args.filter)
    found = [one for one in containers(own_root()) if (everything or one.alive) and all(fits(one) for fits in wanted)]
    if args.format == "json":
        say_data({"containers": [_data(one) for one in found]})
    elif args.quiet:
        for one in found:
            say(one.id if args.no_trunc else one.short)
    else:
        head = ("CONTAINER ID", "IMAGE", "COMMAND", "CREATED", "STATUS", "PORTS", "NAMES")
        say(table([head, *(_row(one, 0 if args.no_trunc else _WIDTH) for one in found)]))
    return 0


def _filter(text: str) -> Callable[[KeptContainer], bool]:
    key, _, value = text.partition("=")
    if key not in _FILTERS or not value:
        raise UsageError(f"--filter {text} means nothing", hint=f"there are {'=, '.join(_FILTERS)}=")
    name, equals, wanted = value.partition("=")
    ways: dict[str, Callable[[KeptContainer], bool]] = {
        "id": lambda one: one.id.startswith(value),
        "name": lambda one: value.removeprefix("/") in one.name,
        "label": lambda one: one.about["labels"].get(name) == wanted if equals else name in one.about["labels"],
        "status": lambda one: bool(one.state["status"] == value),
        "ancestor": lambda one: value in (one.about["image"], one.about["image_id"]),
    }
    return ways[key]


def _row(one: KeptContainer, width: int) -> tuple[str, ...]:
    return (
        one.short if width else one.id,
        one_line(one.about["image"], width),
        one_line(shlex.join(one.about["command"]), width),
        since(one.about["created"], time.time()),
        status_of(one),
        ", ".join(map(_port, one.about["ports"])) if one.alive else "",
        one_line(one.name),
    )


def status_of(one: KeptContainer) -> str:
    """Return how a container is, in a few words."""
    state = one.state
    if state["status"] == RUNNING:
        return f"Up {since(state['started'], time.time()).removesuffix(' ago')}".replace("Up just now", "Up 1 second")
    if state["status"] == DEAD:
        return "Dead (pybuild was ended by force, or this machine)"
    why = " (out of memory)" if state.get("out_of_memory") else f" ({one_line(state['error'])})" * bool(state["error"])
    return f"Exited ({state['code']}) {since(state['finished'], time.time())}{why}"


def _port(data: dict[str, Any]) -> str:
    from buildah_py.sandbox.ports import Published

    return str(Published(**data))


def _data(one: KeptContainer) -> dict[str, Any]:
    about = {name: value for name, value in one.about.items() if name != "version"}
    return {"id": one.id, **about, **one.state}

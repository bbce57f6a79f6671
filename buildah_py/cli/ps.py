"""`pybuild ps`."""

from __future__ import annotations

import shlex
import time
from typing import TYPE_CHECKING, Any

from buildah_py.cli.printing import say, say_data, say_exactly
from buildah_py.cli.tables import check_format, is_template, one_line, room, since, table
from buildah_py.errors import UsageError
from buildah_py.image.timestamp import to_text
from buildah_py.store.containers import DEAD, RUNNING

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable

    from buildah_py.store.containers import KeptContainer

_WIDTH = 24
_ALL = ("0.0.0.0", "::")  # noqa: S104 (how docker shows them)
_FILTERS = ("id", "name", "label", "status", "ancestor")


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    add = parser.add_argument
    add("-a", "--all", action="store_true", help="also those that have ended")
    add("-q", "--quiet", action="store_true", help="only ids")
    add("--no-trunc", action="store_true", help="cut nothing short")
    add("-f", "--filter", metavar="FILTER", action="append", default=[],
        help="id=, name=, label=KEY[=VALUE], status=running|exited|dead, ancestor=IMAGE; may be repeated")  # fmt: skip
    add("-n", "--last", metavar="N", type=int, default=-1, help="the last N, also those that have ended")
    add("-l", "--latest", action="store_const", const=1, dest="last", help="the last one, also when it has ended")
    add("--format", metavar="FORMAT", default="table", help="table (default), json, or a template: '{{.Names}}'")


def run(args: argparse.Namespace) -> int:
    """List containers, the newest first."""
    from buildah_py.api.state import own_root
    from buildah_py.store.containers import containers

    wanted = [_filter(text) for text in args.filter]
    check_format(args.format)
    everything = args.all or args.last >= 0 or any(text.startswith("status=") for text in args.filter)
    found = [one for one in containers(own_root()) if (everything or one.alive) and all(fits(one) for fits in wanted)]
    found = found[: args.last] if args.last >= 0 else found
    if is_template(args.format):
        from buildah_py.cli.template_rows import render_rows

        say_exactly(render_rows(args.format, [_named(one, full=args.no_trunc) for one in found]))
    elif args.format == "json":
        say_data({"containers": [_data(one) for one in found]})
    elif args.quiet:
        for one in found:
            say(one.id if args.no_trunc else one.short)
    else:
        say(_table(found, 0 if args.no_trunc else room(), full=args.no_trunc))
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


def _table(found: list[KeptContainer], width: int, *, full: bool) -> str:
    """Lay containers out; on a terminal too narrow for it, a port of all addresses is shown without them."""
    head = ("CONTAINER ID", "IMAGE", "COMMAND", "CREATED", "STATUS", "PORTS", "NAMES")
    shown = ""
    for short in (False, True):
        rows = [head, *(_row(one, 0 if full else _WIDTH, short=short) for one in found)]
        shown = table(rows, cut=2, width=width)
        if not width or max(map(len, shown.splitlines())) <= width:
            break
    return shown


def _row(one: KeptContainer, width: int, *, short: bool = False) -> tuple[str, ...]:
    return (
        one.short if width else one.id,
        one_line(one.about["image"], width),
        one_line(shlex.join(one.about["command"]), width),
        since(one.about["created"], time.time()),
        status_of(one),
        ", ".join(dict.fromkeys(_port(port, short=short) for port in one.about["ports"])) if one.alive else "",
        one_line(one.name),
    )


def _named(one: KeptContainer, *, full: bool) -> dict[str, Any]:
    """Give a container the names that templates of docker's users have."""
    cells = _row(one, 0 if full else _WIDTH)
    named = zip(("ID", "Image", "Command", "RunningFor", "Status", "Ports", "Names"), cells, strict=True)
    labels = ",".join(f"{name}={value}" for name, value in one.about["labels"].items())
    more = {"CreatedAt": to_text(one.about["created"]), "State": one.state["status"], "Labels": labels}
    return {**dict(named), **more}


def status_of(one: KeptContainer) -> str:
    """Return how a container is, in a few words."""
    state = one.state
    if state["status"] == RUNNING:
        return f"Up {since(state['started'], time.time()).removesuffix(' ago')}".replace("Up just now", "Up 1 second")
    if state["status"] == DEAD:
        return "Dead (pybuild was ended by force, or this machine)"
    why = " (out of memory)" if state.get("out_of_memory") else f" ({one_line(state['error'])})" * bool(state["error"])
    return f"Exited ({state['code']}) {since(state['finished'], time.time())}{why}"


def _port(data: dict[str, Any], *, short: bool) -> str:
    from buildah_py.sandbox.ports import Published

    port = Published(**data)
    return str(port).rpartition(":")[2] if short and port.address in _ALL else str(port)


def _data(one: KeptContainer) -> dict[str, Any]:
    about = {name: value for name, value in one.about.items() if name != "version"}
    return {"id": one.id, **about, **one.state}

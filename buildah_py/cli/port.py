"""`pybuild port`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from buildah_py.cli.printing import say
from buildah_py.errors import NotFound

if TYPE_CHECKING:
    import argparse


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument("container", metavar="CONTAINER", help="name, id, or how that begins")
    parser.add_argument("port", metavar="PORT[/udp]", nargs="?", help="only this port of the container")


def run(args: argparse.Namespace) -> int:
    """Print where on this machine the ports of a container are reached: all of them, or those of one port."""
    from buildah_py.api.state import own_root
    from buildah_py.running.describe import ports_of
    from buildah_py.store.containers import find_container

    container = find_container(own_root(), args.container)
    if not container.alive:
        raise NotFound(f"the container `{args.container}` does not run", hint="`pybuild ps` lists those that do")
    found = ports_of(container)
    wanted = args.port and (args.port if "/" in args.port else f"{args.port}/tcp")
    if wanted and wanted not in found:
        raise NotFound(
            f"the port {wanted} of the container `{args.container}` is not published",
            hint=f"published are {', '.join(found)}" if found else "`pybuild run -p HOST:CONTAINER` publishes ports",
        )
    for port, places in found.items():
        for place in places if wanted in (None, port) else ():
            address = f"[{place['HostIp']}]" if ":" in place["HostIp"] else place["HostIp"]
            say(f"{'' if wanted else f'{port} -> '}{address}:{place['HostPort']}")
    return 0

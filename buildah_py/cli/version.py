"""`pybuild version`."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from buildah_py.cli.printing import say, say_data, say_exactly

if TYPE_CHECKING:
    import argparse


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument(
        "-f", "--format", metavar="TEMPLATE", default="", help="json, or a Go template such as '{{.Client.Version}}'"
    )


def run(args: argparse.Namespace) -> int:
    """Print the version; to templates client and server are one, since there is no daemon."""
    from buildah_py.image import platform as platforms
    from buildah_py.version import __version__

    if not args.format:
        say(f"pybuild {__version__}")
        return 0
    host = platforms.host()
    facts = {"Version": __version__, "Os": host.os, "Arch": host.architecture, "KernelVersion": os.uname().release}
    value = {"Client": facts, "Server": facts, "Version": __version__}
    if args.format == "json":
        say_data(value)
    else:
        from buildah_py.cli.template import render

        say_exactly(render(args.format, value))
    return 0

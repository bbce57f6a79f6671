"""`pybuild logout`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from buildah_py.cli.printing import say
from buildah_py.errors import UsageError

if TYPE_CHECKING:
    import argparse


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    add = parser.add_argument
    add("registry", metavar="REGISTRY", nargs="?", default="", help="host[:port]; default: docker.io")
    add("-a", "--all", action="store_true", help="log out of all registries")
    add("--authfile", metavar="FILE", default="", help="file with credentials; default: those of podman and docker")


def run(args: argparse.Namespace) -> int:
    """Log out."""
    import os

    from buildah_py.commands.login import log_out, log_out_everywhere
    from buildah_py.registry import RegistryOptions

    options = RegistryOptions.from_environment(os.environ, authfile=args.authfile)
    if args.all:
        if args.registry:
            raise UsageError("--all and the name of a registry exclude each other")
        for name in log_out_everywhere(options):
            say(f"Removed login credentials for {name}")
        return 0
    forgotten = log_out(args.registry, options)
    say(
        f"Removed login credentials for {forgotten}"
        if forgotten
        else f"Not logged in to {args.registry or 'docker.io'}"
    )
    return 0

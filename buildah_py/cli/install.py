"""`pybuild install`: have other programs call pybuild."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from buildah_py.cli.printing import say

if TYPE_CHECKING:
    import argparse


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    configure_plugin(parser)


def configure_plugin(parser: argparse.ArgumentParser) -> None:
    """Declare what is installed, and for whom."""
    parser.add_argument("what", metavar="docker-plugin", choices=("docker-plugin",), help="docker's plug-in buildx")
    where = parser.add_mutually_exclusive_group()
    where.add_argument("--user", action="store_true", help="for this user, in ~/.docker (default)")
    where.add_argument("--system", action="store_true", help="for all users of this machine")


def run(args: argparse.Namespace) -> int:
    """Put the plug-in into docker's folder."""
    from buildah_py.docker.plugin import install

    done = install(os.environ, system=args.system)
    say(f"{done.path}: `docker build`, `docker buildx` and `docker compose build` are pybuild's now")
    if done.before:
        say(f"what was there is kept as {done.before}; `pybuild uninstall docker-plugin` puts it back")
    return 0

"""`pybuild uninstall`: have other programs call what they called before."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from buildah_py.cli.install import configure_plugin
from buildah_py.cli.printing import say

if TYPE_CHECKING:
    import argparse


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    configure_plugin(parser)


def run(args: argparse.Namespace) -> int:
    """Take the plug-in out of docker's folder."""
    from buildah_py.docker.plugin import uninstall

    done = uninstall(os.environ, system=args.system)
    say(f"{done.path} is what it was before" if done.before else f"removed {done.path}")
    return 0

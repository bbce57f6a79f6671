"""`pybuild debug-run`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from buildah_py.cli.printing import warn

if TYPE_CHECKING:
    import argparse


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the options; those of `pybuild run` that a plan does not decide."""
    import argparse

    add = parser.add_argument
    add("-e", "--env", metavar="K[=V]", action="append", default=[], help="set a variable")
    add("-v", "--volume", metavar="DIR:TARGET[:ro]", action="append", default=[], help="directory or file of the host")
    add("-i", "--interactive", action="store_true", help="let the command read standard input")
    add("-t", "--tty", action="store_true", help="give the command a terminal")
    add(
        "plan",
        metavar="PLAN",
        help="file that --debug named: one that you trust, as it says what to mount",
    )
    add("command", metavar="COMMAND", nargs=argparse.REMAINDER, help="instead of the container's own")


def run(args: argparse.Namespace) -> int:
    """Run the container; the command's exit status."""
    import os

    from buildah_py.cli.arguments import key_values
    from buildah_py.cli.container import volume
    from buildah_py.running.plan import DebugRunRequest, debug_run

    return debug_run(
        DebugRunRequest(
            plan=args.plan,
            command=tuple(args.command),
            env=key_values(args.env, "--env", dict(os.environ)),
            volumes=tuple(map(volume, args.volume)),
            interactive=args.interactive,
            tty=args.tty,
        ),
        warn,
    )

"""`pybuild exec`."""

from __future__ import annotations

import argparse


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the options; spelled as `docker exec` spells them."""
    add = parser.add_argument
    add("-e", "--env", metavar="K[=V]", action="append", default=[], help="set a variable")
    add("--env-file", metavar="FILE", action="append", default=[], help="lines such as K=V, or K; -e comes before them")
    add("-w", "--workdir", metavar="DIR", default="", help="working directory; default: the container's")
    add("-u", "--user", metavar="USER[:GROUP]", default="", help="user; default: the container's")
    add("-i", "--interactive", action="store_true", help="let the command read standard input")
    add("-t", "--tty", action="store_true", help="give the command a terminal")
    add("container", metavar="CONTAINER", help="name, id, or how that begins")
    add("command", metavar="COMMAND", nargs=argparse.REMAINDER, help="what to run there")


def run(args: argparse.Namespace) -> int:
    """Run a command in a container that runs; its exit status."""
    from buildah_py.api.state import own_root
    from buildah_py.cli.run import given_environment
    from buildah_py.errors import UsageError
    from buildah_py.running.joined import ExecRequest, exec_in
    from buildah_py.store.containers import find_container

    if not args.command:
        raise UsageError("exec: which command?", hint=f"pybuild exec {args.container} COMMAND")
    request = ExecRequest(
        command=tuple(args.command),
        env=given_environment(args),
        cwd=args.workdir,
        user=args.user,
        interactive=args.interactive,
        tty=args.tty,
    )
    return exec_in(find_container(own_root(), args.container), request)

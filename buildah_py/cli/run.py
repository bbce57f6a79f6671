"""`pybuild run`."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from buildah_py.cli.printing import complain, warn
from buildah_py.errors import UsageError

if TYPE_CHECKING:
    import argparse


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the options; spelled as `docker run` spells them."""
    import argparse

    from buildah_py.cli import container, docker
    from buildah_py.cli.build import NETWORKS, network

    container.configure(parser)
    add = parser.add_argument
    add("-e", "--env", metavar="K[=V]", action="append", default=[], help="set a variable")
    add(
        "--env-file",
        metavar="FILE",
        action="append",
        default=[],
        help="lines such as K=V, or K for the value that it has here; -e comes before them",
    )
    add("-w", "--workdir", metavar="DIR", default="", help="working directory")
    add("-u", "--user", metavar="USER[:GROUP]", default="", help="user")
    add("-i", "--interactive", action="store_true", help="let the command read standard input")
    add("-t", "--tty", action="store_true", help="give the command a terminal")
    add(
        "--entrypoint",
        metavar="PROGRAM",
        default=None,
        help="run this instead of the image's entry point; empty for none",
    )
    add("--network", "--net", type=network, choices=NETWORKS, default="default", help="default: %(default)s")
    docker.configure_run(parser)
    add("image", metavar="IMAGE", help="name or id")
    add("command", metavar="COMMAND", nargs=argparse.REMAINDER, help="instead of the image's own command")


def run(args: argparse.Namespace) -> int:
    """Run a container; the command's exit status."""
    from buildah_py.cli import container
    from buildah_py.running.image import RunRequest, run_image

    request = RunRequest(
        image=args.image,
        command=tuple(args.command),
        env=environment(args),
        cwd=args.workdir,
        user=args.user,
        entrypoint=args.entrypoint,
        network=args.network,
        interactive=args.interactive,
        tty=args.tty,
        container=container.read(args),
    )
    return run_image(request, warn, complain)


def environment(args: argparse.Namespace) -> dict[str, str]:
    """Return the proxies of docker's configuration, and the variables of --env-file and --env. Raises UsageError."""
    from buildah_py.cli.arguments import key_values
    from buildah_py.cli.build import docker_proxies

    found = docker_proxies(os.environ)
    for path in args.env_file:
        try:
            with open(path, encoding="utf-8", errors="surrogateescape") as file:
                lines = [line.rstrip("\n").lstrip() for line in file]
        except OSError as error:
            raise UsageError(f"--env-file {path} cannot be read: {error.strerror}") from error
        found |= key_values([one for one in lines if one and not one.startswith("#")], "--env-file", dict(os.environ))
    return found | key_values(args.env, "--env", dict(os.environ))

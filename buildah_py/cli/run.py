"""`pybuild run`."""

from __future__ import annotations

import os
from contextlib import contextmanager
from typing import TYPE_CHECKING

from buildah_py.cli.printing import complain, say, warn
from buildah_py.errors import UsageError

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable, Iterator

    from buildah_py.cli.arguments import Parser


def configure(parser: Parser) -> None:
    """Declare the options; spelled as `docker run` spells them."""
    import argparse

    from buildah_py.cli import container, docker
    from buildah_py.cli.build import NETWORKS, network
    from buildah_py.running.ports import parse_published

    container.configure(parser)
    add = parser.add_argument
    add("-d", "--detach", action="store_true", help="run it in the background, and print its id")
    add("--name", metavar="NAME", default="", help="name for `pybuild ps`, `logs`, `exec`, `stop` and `rm`")
    add("--rm", action="store_true", help="with --detach: remove its status and log when it has ended; else that is so")
    add("-p", "--publish", metavar="[[IP:]HOST:]CONTAINER[/udp]", action="append", default=[], type=parse_published,
        help="port of this machine that leads to the container's; may be repeated, and name ranges")  # fmt: skip
    add("-P", "--publish-all", action="store_true", help="publish all ports that the image exposes, wherever is room")
    add("-e", "--env", metavar="K[=V]", action="append", default=[], help="set a variable")
    add(
        "--env-file",
        metavar="FILE",
        action="append",
        default=[],
        help="lines such as K=V, or K for the value that it has here; -e comes before them",
    )
    add("-w", "--workdir", metavar="DIR", default="", help="working directory, made where it is missing")
    add("-u", "--user", metavar="USER[:GROUP]", default="", help="user")
    add("-i", "--interactive", action="store_true", help="let the command read standard input")
    add("-t", "--tty", action="store_true", help="give the command a terminal")
    add(
        "--entrypoint",
        metavar="PROGRAM",
        default=None,
        help="run this instead of the image's entry point; empty for none",
    )
    add("--init", action="store_true", help="have a process 1 that passes signals on and reaps, not the command itself")
    add("--read-only", action="store_true", help="let nothing but mounts be written to")
    add("--mount", metavar="SPEC", action="append", default=[], help="type=bind,src=DIR,dst=TARGET[,ro], or type=tmpfs")
    add("--tmpfs", metavar="TARGET[:OPTIONS]", action="append", default=[], help="memory to write to, until the end")
    add("-l", "--label", metavar="K=V", action="append", default=[], help="label of the container")
    add("--stop-signal", metavar="SIGNAL", default="", help="what `pybuild stop` sends; default: the image's, or TERM")
    add("--stop-timeout", metavar="SECONDS", type=float, default=10.0,
        help="how long it has for ending when it is asked to; default: 10")  # fmt: skip
    add("--cidfile", metavar="FILE", default="", help="write the container's id to a file that does not exist yet")
    add("--network", "--net", type=network, choices=NETWORKS, default="default", help="default: %(default)s")
    add("--platform", metavar="PLATFORM", default="", help="platform of the image; default: this machine's")
    add("--pull", metavar="POLICY", default="missing", help="missing, always, newer or never; default: %(default)s")
    add("-q", "--quiet", action="store_true", help="show no progress")
    docker.configure_run(parser)
    add("image", metavar="IMAGE", help="name or id")
    add("command", metavar="COMMAND", nargs=argparse.REMAINDER, help="instead of the image's own command")


def run(args: argparse.Namespace) -> int:
    """Run a container; the command's exit status."""
    from buildah_py.cli import container, mounts
    from buildah_py.cli.arguments import key_values
    from buildah_py.running.image import RunRequest, run_image
    from buildah_py.running.stopping import signal_number
    from buildah_py.transfer.base_images import check_policy

    if args.stop_signal:
        signal_number(args.stop_signal)
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
        init=args.init,
        readonly=args.read_only,
        mounts=(*map(mounts.mount, args.mount), *map(mounts.tmpfs, args.tmpfs)),
        ports=tuple(port for ports in args.publish for port in ports),
        all_ports=args.publish_all,
        name=args.name,
        labels=tuple(key_values(args.label, "--label", bare="").items()),
        detach=args.detach,
        remove=args.rm,
        stop_signal=args.stop_signal,
        stop_timeout=args.stop_timeout,
        platform=args.platform,
        pull=check_policy(args.pull),
        container=container.read(args),
    )

    with _cidfile(args.cidfile) as write:
        if not args.detach:
            return run_image(request, warn, _tell, lambda container, _status, _why: write(container))
        from buildah_py.running.detached import start_detached

        container_id, status, why = start_detached(request, warn, _tell)
        write(container_id)
    say(container_id)
    if why:
        _tell(why)
    return status


@contextmanager
def _cidfile(path: str) -> Iterator[Callable[[str], object]]:
    """Give what writes a container's id to the file, which is made before there is a container. Raises UsageError."""
    if not path:
        yield lambda _: None
        return
    try:
        file = open(path, "x", encoding="ascii")  # noqa: SIM115 (closed below)
    except FileExistsError:
        hint = "is its container still there? Remove it"
        raise UsageError(f"--cidfile {path}: the file exists", hint=hint) from None
    except OSError as error:
        raise UsageError(f"--cidfile {path} cannot be written: {error.strerror}") from error
    written = False

    def write(container: str) -> None:
        nonlocal written
        written = True
        file.write(container)
        file.flush()

    with file:
        try:
            yield write
        finally:
            if not written:
                os.unlink(path)


def _tell(text: str) -> None:
    complain(f"pybuild: {text}")


def environment(args: argparse.Namespace) -> dict[str, str]:
    """Return the proxies of docker's configuration, and the variables of --env-file and --env. Raises UsageError."""
    from buildah_py.cli.build import docker_proxies

    return docker_proxies(os.environ) | given_environment(args)


def given_environment(args: argparse.Namespace) -> dict[str, str]:
    """Return the variables of --env-file and --env. Raises UsageError."""
    from buildah_py.cli.arguments import key_values

    found: dict[str, str] = {}
    for path in args.env_file:
        try:
            with open(path, encoding="utf-8", errors="surrogateescape") as file:
                lines = [line.rstrip("\n").lstrip() for line in file]
        except OSError as error:
            raise UsageError(f"--env-file {path} cannot be read: {error.strerror}") from error
        found |= key_values([one for one in lines if one and not one.startswith("#")], "--env-file", dict(os.environ))
    return found | key_values(args.env, "--env", dict(os.environ))

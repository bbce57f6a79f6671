"""`pybuild shell`."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

from buildah_py.cli.printing import complain, warn
from buildah_py.errors import UsageError

if TYPE_CHECKING:
    import argparse


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    from buildah_py.cli import container

    container.configure(parser)
    add = parser.add_argument
    add("--stage", metavar="STAGE", help="build this stage first, by name or number, and open the shell in it")
    add(
        "--at",
        metavar="STAGE/STEP",
        help="build up to this step and open the shell behind it: build/2, a number, or how its instruction begins",
    )
    add(
        "--failed",
        action="store_true",
        help="open the shell in what the RUN left that failed last, in the build of CONTEXT where that is given",
    )
    add("-f", "--file", metavar="FILE", help="build file for --stage, --at and --failed")
    add("-u", "--user", metavar="USER[:GROUP]", default="", help="user")
    add("--network", choices=("default", "none", "host"), default="default", help="default: %(default)s")
    add("--shell", metavar="PROGRAM", default="/bin/sh", help="default: %(default)s")
    add(
        "--secret",
        metavar="SPEC",
        action="append",
        default=[],
        help="id=ID,src=FILE or id=ID,env=NAME, for --failed and steps of --at",
    )
    add(
        "--ssh",
        metavar="SPEC",
        action="append",
        default=[],
        help="default or ID=SOCKET or ID=KEY, for --failed and steps of --at",
    )
    add(
        "--build-arg",
        metavar="K=V",
        action="append",
        default=[],
        help="value of an ARG for --stage and --at; `K` alone takes it from the environment",
    )
    add("what", metavar="IMAGE|CONTEXT", nargs="?", help="an image, or a context; default: `.`")


def run(args: argparse.Namespace) -> int:
    """Run a shell on this terminal, or on a script that comes in; its exit status. No file that it writes is kept."""
    from buildah_py.cli import container
    from buildah_py.running.image import RunRequest, run_image

    ways = [name for name in ("stage", "at", "failed") if getattr(args, name) not in (None, False)]
    if len(ways) > 1 and ways != ["stage", "at"]:
        raise UsageError(f"--{ways[0]} and --{ways[1]} mean different places", hint="give one of them")
    if args.failed:
        return _failed(args)
    options = container.read(args)
    image = args.what
    if ways:
        from buildah_py.api.build import build
        from buildah_py.api.request import BuildRequest
        from buildah_py.cli.arguments import key_values
        from buildah_py.progress.choose import renderer
        from buildah_py.running.step import reach, run_reached

        request = BuildRequest(
            context=args.what or ".",
            file=args.file,
            target=args.stage or "",
            build_args=key_values(args.build_arg, "--build-arg", dict(os.environ)),
            network=args.network,
            container=options,
            secrets=tuple(args.secret),
            ssh=tuple(args.ssh),
            environ=dict(os.environ),
        )
        if args.at is not None:
            with renderer("auto", err=sys.stderr, out=sys.stdout, env=os.environ) as sink:
                reached = reach(request, args.at, sink)
            return run_reached(request, reached, (args.shell,), args.user, warn)
        with renderer("auto", err=sys.stderr, out=sys.stdout, env=os.environ) as sink:
            image = build(request, sink).image
    if image is None:
        raise UsageError("which image?", hint="name one, or a stage with --stage, a step with --at")
    shell = RunRequest(
        image=image,
        entrypoint="",
        command=(args.shell,),
        user=args.user,
        network=args.network,
        tty=os.isatty(0),
        interactive=True,
        container=options,
    )
    return run_image(shell, warn, complain)


def _failed(args: argparse.Namespace) -> int:
    from buildah_py.running.failed import FailedShell, build_name, failed_shell

    environ = dict(os.environ)
    one = args.what is not None or args.file is not None
    request = FailedShell(
        build=build_name(args.what or ".", args.file, environ) if one else None,
        command=(args.shell,),
        user=args.user,
        tty=os.isatty(0),
        secrets=tuple(args.secret),
        ssh=tuple(args.ssh),
        environ=environ,
    )
    return failed_shell(request, warn, complain)

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
    add("-f", "--file", metavar="FILE", help="build file for --stage")
    add("-u", "--user", metavar="USER[:GROUP]", default="", help="user")
    add("--network", choices=("default", "none", "host"), default="default", help="default: %(default)s")
    add("--shell", metavar="PROGRAM", default="/bin/sh", help="default: %(default)s")
    add("what", metavar="IMAGE|CONTEXT", nargs="?", help="an image, or with --stage a context; default: `.`")


def run(args: argparse.Namespace) -> int:
    """Run a shell on this terminal, or on a script that comes in; its exit status. No file that it writes is kept."""
    from buildah_py.api.run import RunRequest, run_image
    from buildah_py.cli import container

    options = container.read(args)
    image = args.what
    if args.stage is not None:
        from buildah_py.api.build import build
        from buildah_py.api.request import BuildRequest
        from buildah_py.progress.choose import renderer

        request = BuildRequest(
            context=args.what or ".",
            file=args.file,
            target=args.stage,
            network=args.network,
            container=options,
            environ=dict(os.environ),
        )
        with renderer("auto", err=sys.stderr, out=sys.stdout, env=os.environ) as sink:
            image = build(request, sink).image
    if image is None:
        raise UsageError("which image?", hint="name one, or a stage with --stage")
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

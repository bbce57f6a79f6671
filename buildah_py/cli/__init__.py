"""The command `pybuild`: arguments in, exit status out. One module for each command, imported when it is used."""

from __future__ import annotations

import errno
import gc
import os
import sys
from typing import TYPE_CHECKING

from buildah_py.cli.endings import treat_all_endings_alike
from buildah_py.errors import EXIT_BUILDER, Interrupted, PybuildError

if TYPE_CHECKING:
    from collections.abc import Sequence

COMMANDS = {
    "build": "build an image from a build file (the word may be left out)",
    "run": "run a command in a container of an image",
    "shell": "open a shell in a container of an image or of a stage of a build file",
    "login": "log in to a registry",
    "logout": "log out of a registry",
    "pull": "get images from a registry",
    "load": "load images out of an archive or an OCI layout",
    "save": "write images to an archive or an OCI layout",
    "tag": "give an image another name",
    "push": "push an image to a registry, or write it elsewhere",
    "manifest": "put images for several platforms under one name, and push them",
    "images": "list the images in the store",
    "inspect": "show an image's config",
    "history": "show how an image came about",
    "layers": "show what each layer of an image does, and what is wasted",
    "diff": "show what differs between two images",
    "why": "tell why steps of a build would hit or miss the cache",
    "verify": "build an image again without the cache, and show what differs",
    "cat": "print a file of an image",
    "cp": "copy files out of an image",
    "mount": "mount an image read-only",
    "umount": "take a mounted image away",
    "rmi": "remove images",
    "du": "show what takes how much of the disk",
    "cache": "look after cache mounts and keys of shared caches",
    "prune": "remove what nothing uses any more",
    "fsck": "check the store, and repair it",
    "import": "make a base image of a root file system",
    "bootstrap": "make a base image without a registry",
    "check": "find mistakes in a build file",
    "fmt": "print a build file in canonical form",
    "context": "look at what the build context holds",
    "doctor": "tell what this machine allows and what is missing",
}

PRIVILEGED = (
    "build",
    "run",
    "shell",
    "pull",
    "save",
    "load",
    "import",
    "bootstrap",
    "prune",
    "fsck",
    "verify",
    "why",
    "cat",
    "cp",
    "diff",
    "du",
    "layers",
    "push",
    "manifest",
    "cache",
)
"""Commands that make containers, or files of any owner. For others than root they run in a user namespace."""


_COLLECT_AFTER = 100_000
"""Objects after which the interpreter looks for cycles: a build makes many that live to its end, and few cycles."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line `argv` (without the program's name); its exit status.

    0 for success, a failed RUN's own status, 125 for errors of the builder, 2 for usage, 130 when interrupted.
    """
    arguments = list(sys.argv[1:] if argv is None else argv)
    debug = os.environ.get("PYBUILD_DEBUG", "") not in ("", "0")
    if "--debug" in arguments[:1]:
        arguments, debug = arguments[1:], True
    if sys.getfilesystemencoding() != "utf-8":
        # Names of files are bytes; any other encoding would give other names, and other digests.
        os.execv(sys.executable, [sys.executable, "-X", "utf8", "-m", "buildah_py", *arguments])  # noqa: S606
    try:
        treat_all_endings_alike()
        gc.set_threshold(_COLLECT_AFTER, 20)
        return _dispatch(arguments)
    except PybuildError as error:
        if debug:
            raise
        return _complain(str(error), error.exit_status)
    except KeyboardInterrupt:
        if debug:
            raise
        return _complain("interrupted", Interrupted.exit_status)
    except BrokenPipeError:
        # Whoever read our output has gone: nothing is left to say, nor anyone to say it to.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return EXIT_BUILDER
    except OSError as error:
        if debug:
            raise
        where = f"{error.filename}: " if error.filename else ""
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            where += "there is no space for what was to be written: "
        return _complain(f"{where}{error.strerror or error}", EXIT_BUILDER)


def program() -> int:
    """Be the program `pybuild`: what has been done is not undone by a ^C while the interpreter ends."""
    status = main()
    import signal

    signal.signal(signal.SIGINT, signal.SIG_IGN)
    return status


def _dispatch(arguments: list[str]) -> int:
    first = arguments[0] if arguments else ""
    if first in ("-h", "--help", "help"):
        print(_overview())
        return 0
    if first in ("-V", "--version", "version"):
        from buildah_py import __version__

        print(f"pybuild {__version__}")
        return 0
    command = first if first in COMMANDS else "build"
    rest = arguments[1:] if first in COMMANDS else arguments
    from importlib import import_module

    from buildah_py.cli.arguments import make_parser

    if os.geteuid() != 0 and command in PRIVILEGED and not {"-h", "--help"} & set(rest):
        _become_root_of_a_namespace(arguments)
    module = import_module(f"buildah_py.cli.{'import_' if command == 'import' else command}")
    parser = make_parser(command, COMMANDS[command])
    module.configure(parser)
    # Two optional words with options between them: only parsing it intermixed keeps them apart.
    parse = parser.parse_intermixed_args if command == "why" else parser.parse_args
    return int(module.run(parse(rest)))


def _become_root_of_a_namespace(arguments: list[str]) -> None:
    """Execute this command line again in a user namespace, unless this is one already."""
    from buildah_py.sandbox.userns import is_needed, reexec_in_user_namespace

    if is_needed(os.environ):
        reexec_in_user_namespace([sys.executable, "-m", "buildah_py", *arguments], os.environ)


def _complain(message: str, status: int) -> int:
    print(f"pybuild: {message}", file=sys.stderr)
    return status


def _overview() -> str:
    width = max(map(len, COMMANDS))
    lines = [f"  {name:<{width}}  {text}" for name, text in COMMANDS.items()]
    return "\n".join(
        [
            "usage: pybuild [build] [-f FILE] [-t NAME[:TAG]] [OPTION…] CONTEXT",
            "       pybuild COMMAND [OPTION…] [ARGUMENT…]",
            "",
            "Builds OCI images from Dockerfiles: no daemon, root or not.",
            "",
            "commands:",
            *lines,
            "",
            "`pybuild COMMAND --help` tells more about one of them.",
        ]
    )

"""The command `pybuild`: arguments in, exit status out. One module for each command, imported when it is used."""

from __future__ import annotations

import gc
import os
import sys
import threading
from typing import TYPE_CHECKING

from buildah_py import debug
from buildah_py.api.signals import treat_all_endings_alike
from buildah_py.errors import UsageError
from buildah_py.linux.interpreter import command, own_path

if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence

    from buildah_py.repeat.command import CommandLine

COMMANDS = {
    "build": "build an image from a build file (the word may be left out)",
    "bake": "build the targets of a bake file, all in one graph",
    "executor": "build and push an image, by kaniko's command line",
    "run": "run a command in a container of an image",
    "ps": "list containers",
    "logs": "print what a container, or a build's steps, have printed",
    "exec": "run a command in a container that runs",
    "top": "list the processes of a container",
    "port": "show where the ports of a container are reached",
    "stop": "ask containers to end, and see that they do",
    "kill": "send containers a signal",
    "wait": "wait for the ends of containers",
    "rm": "remove what containers have left",
    "shell": "open a shell in an image, or in a stage of a build file",
    "login": "log in to a registry",
    "logout": "log out of a registry",
    "pull": "get images from a registry",
    "load": "load images out of an archive or an OCI layout",
    "save": "write images to an archive or an OCI layout",
    "tag": "give an image another name",
    "push": "push an image to a registry, or write it elsewhere",
    "manifest": "put images for several platforms under one name",
    "images": "list the images in the store",
    "inspect": "show all that is known of an image, or a container",
    "history": "show how an image came about",
    "sbom": "list the packages that are in an image (SPDX, CycloneDX)",
    "verify-signature": "see whether a key has signed an image in a registry",
    "layers": "show what each layer of an image does, and what is wasted",
    "builds": "list the builds that the store remembers",
    "report": "write a page about a build: timeline, stages, layers",
    "diff": "show what differs between two images",
    "why": "tell why steps of a build would hit or miss the cache",
    "advice": "tell what a build file could do better",
    "verify": "build an image again uncached, and show what differs",
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
    "executor-image": "make an image of pybuild, for places that refuse containers",
    "check": "find mistakes in a build file",
    "fmt": "print a build file in canonical form",
    "context": "look at what the build context holds",
    "help": "show help about a command or a topic",
    "completion": "print a script that completes command lines in a shell",
    "config": "show the defaults that hold, and change them",
    "serve": "answer as Docker's engine does, for its clients",
    "install": "have docker's command line call pybuild for builds",
    "uninstall": "have it call what it called before",
    "buildx": "answer as docker's buildx does",
    "info": "show facts about the program and this machine",
    "version": "show the version",
    "doctor": "tell what this machine allows and what is missing",
    "debug-run": "run a container again as `--debug` has written it down",
}

PRIVILEGED = (
    "build",
    "bake",
    "executor",
    "run",
    "shell",
    "pull",
    "save",
    "load",
    "import",
    "bootstrap",
    "executor-image",
    "prune",
    "fsck",
    "verify",
    "why",
    "advice",
    "cat",
    "cp",
    "diff",
    "du",
    "layers",
    "sbom",
    "push",
    "manifest",
    "cache",
    "debug-run",
)
"""Commands that make containers, or files of any owner. For others than root they run in a user namespace."""


_EXECUTOR = "executor"
"""The command that is kaniko's, and the name of kaniko's program."""
_WITH_DEFAULTS = ("build", "bake", "why", "advice", "check", "verify", "pull", "push", "run", "shell")
"""Commands that have options whose defaults can be configured."""

GLOBAL = (
    "--config", "--registries-conf", "--host", "-H", "--storage-driver", "--storage-opt", "--log-level", "--context",
    "--root", "--runroot",
)  # fmt: skip
"""Options of docker and buildah before the command."""

_COLLECT_AFTER = 100_000
"""Objects after which the interpreter looks for cycles: a build makes many that live to its end, and few cycles."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line `argv` (without the program's name); its exit status.

    0 for success, a failed RUN's own status, 125 for errors of the builder, 2 for usage, 128 and the signal's number
    when one ended it; by kaniko's command line, which is also that of a program called `executor`, 1 for all failures.
    With --debug, before the command or among its options, or PYBUILD_DEBUG=1, the log is written.
    """
    arguments = list(sys.argv[1:] if argv is None else argv)
    if argv is None and os.path.basename(sys.argv[0]) == _EXECUTOR:
        arguments.insert(0, _EXECUTOR)
    if os.environ.get("PYBUILD_DEBUG", "") not in ("", "0"):
        debug.switch_on()
    while arguments[:1] in (["--debug"], ["-D"]):
        del arguments[0]
        debug.switch_on()
    if sys.getfilesystemencoding() != "utf-8":
        # Names of files are bytes; any other encoding would give other names, and other digests.
        again = own_command(arguments)
        os.execv(again[0], again)  # noqa: S606
    try:
        treat_all_endings_alike()
        gc.set_threshold(_COLLECT_AFTER, 20)
        status = _dispatch(arguments)
        sys.stdout.flush()
    except BaseException as error:
        # The program's edge: whatever comes here is told to a person in a sentence.
        if isinstance(error, SystemExit):
            raise
        from buildah_py.cli.failures import tell

        status = tell(error)
    if arguments[:1] == [_EXECUTOR]:
        from buildah_py.cli.executor_name import status_of

        return status_of(status)
    return status


def program() -> int:
    """Be the program `pybuild`: what has been done is not undone by a ^C while the interpreter ends."""
    sys.path[:] = own_path()
    threading.excepthook = _tell_of_thread
    status = main()
    if "PYBUILD_DOCKER_PLUGIN" in os.environ:
        from buildah_py.cli.docker_plugin import status_of

        status = status_of(status)
    import signal

    signal.signal(signal.SIGINT, signal.SIG_IGN)
    gc.freeze()  # the interpreter would look for cycles once more, in all that it is about to leave
    return status


def _tell_of_thread(what: threading.ExceptHookArgs) -> None:
    from buildah_py.cli.failures import tell

    if what.exc_value is not None:
        tell(what.exc_value)


def own_command(arguments: list[str]) -> list[str]:
    """Give the command line that starts this program again."""
    return command(__name__, "program()", [*(["--debug"] if debug.is_on() else []), *arguments], packages=True)


def _asked(arguments: list[str]) -> CommandLine | None:
    """Give what a build is known by that may have been asked for before; None where that is of no use."""
    words = arguments[1:] if arguments[:2] == ["buildx", "build"] else arguments
    first = words[0] if words else ""
    if (first in COMMANDS and first != "build") or not words or debug.is_on():
        return None
    from buildah_py.repeat.command import command, is_plain

    return command(arguments, os.environ) if is_plain(arguments) else None


def _was_answered(asked: CommandLine) -> bool:
    """Say what a command led to that was given before, where nothing has changed; false where something may have."""
    from buildah_py.linux.identity import MARKER, outer_uid

    if MARKER in os.environ:  # it was tried before the program started again
        return False
    from buildah_py.repeat.answer import answer
    from buildah_py.store.location import state_root

    return answer(asked, state_root(os.environ, outer_uid()), os.environ)


def _dispatch(arguments: list[str]) -> int:
    asked = _asked(arguments)
    if asked is not None and _was_answered(asked):
        return 0
    if arguments[:1] == [_EXECUTOR]:
        from buildah_py.cli.executor_name import words_of

        arguments = words_of(arguments[1:])
    first = arguments[0] if arguments else ""
    is_word = first[:1].isalnum() or first.partition("=")[0] in GLOBAL
    if first == "buildx" or (first not in COMMANDS and is_word):
        from buildah_py.cli.aliases import translate
        from buildah_py.cli.printing import warn

        said, arguments = arguments, translate(arguments, COMMANDS, warn)
        asked = asked if said in (arguments, ["buildx", *arguments]) else None
        first = arguments[0] if arguments else ""
    if first == "help" and arguments[1:2] and arguments[1] in COMMANDS:
        arguments, first = [arguments[1], "--help"], arguments[1]
    if first in ("-h", "--help") or arguments == ["help"]:
        from buildah_py.cli.help import say_overview

        say_overview(COMMANDS)
        return 0
    if first in ("-V", "--version") or arguments == ["-v"]:
        arguments, first = ["version"], "version"
    name = first if first in COMMANDS else "build"
    rest = arguments[1:] if first in COMMANDS else arguments
    from importlib import import_module

    from buildah_py.cli.arguments import make_parser

    module = import_module(f"buildah_py.cli.{'import_' if name == 'import' else name.replace('-', '_')}")
    parser = make_parser(name, COMMANDS[name])
    module.configure(parser)
    # Optional words with options between them: only parsing it intermixed keeps them apart.
    parse = parser.parse_intermixed_args if name in ("why", "bake") else parser.parse_args
    try:
        args = parse(rest)
        if name in _WITH_DEFAULTS:
            from buildah_py.cli.arguments import fill

            fill(args, parser.given, name, os.environ)
    except UsageError as error:
        from buildah_py.cli.failures import tell_programs

        tell_programs(error, parser.value_of("--progress", rest))
        raise
    if getattr(args, "debug", False):
        debug.switch_on()
    if debug.is_on():
        _log_start(name)
    if name == "build":
        args.asked = asked
    from buildah_py.linux.identity import needs_user_namespace

    if name in PRIVILEGED and needs_user_namespace(os.environ):
        from buildah_py.repeat.command import ASKED
        from buildah_py.sandbox.userns import enter_where_wanted

        again, told = own_command(arguments), {name: text for name, text in os.environ.items() if name != ASKED}
        if asked is not None:
            told[ASKED] = asked.identity
        enter_where_wanted(again, told, _isolation(args))
    if "DOCKER_CLI_PLUGIN_SOCKET" in os.environ:
        from buildah_py.cli.docker_plugin import end_with_docker

        end_with_docker(os.environ)
    if name in ("build", "bake", _EXECUTOR) or getattr(args, "quiet", False):
        return int(module.run(args))
    from buildah_py.cli.waiting import watched

    with watched():
        return int(module.run(args))


def _isolation(args: argparse.Namespace) -> str:
    """Give how steps are isolated by a command, or where it has none, by other commands here."""
    if hasattr(args, "isolation"):
        return str(args.isolation)
    from buildah_py.api.config import effective, named, read_config

    return effective(named("isolation"), os.environ, read_config(os.environ)).value


def _log_start(name: str) -> None:
    from buildah_py.version import __version__

    python = ".".join(map(str, sys.version_info[:3]))
    system = os.uname()
    debug.log("pybuild %s, Python %s, %s %s %s", __version__, python, system.sysname, system.release, system.machine)
    debug.log("`%s` as user %d, process %d", name, os.geteuid(), os.getpid())

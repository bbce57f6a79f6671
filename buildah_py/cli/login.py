"""`pybuild login`."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from buildah_py.cli import registry
from buildah_py.cli.printing import say, warn
from buildah_py.errors import UsageError

if TYPE_CHECKING:
    import argparse

    from buildah_py.registry import Credentials


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    add = parser.add_argument
    add("registry", metavar="REGISTRY", nargs="?", default="", help="host[:port]; default: docker.io")
    add("-u", "--username", metavar="NAME", default="", help="asked for where it is not given")
    add("-p", "--password", metavar="TEXT", default="", help="seen by everybody on this machine: see --password-stdin")
    add("--password-stdin", action="store_true", help="read the password from stdin")
    add("--get-login", action="store_true", help="print the name under which one is logged in")
    registry.configure(parser, credentials=False)


def run(args: argparse.Namespace) -> int:
    """Log in."""
    from buildah_py.commands.login import log_in, user_of

    options = registry.read(args)
    if args.get_login:
        say(user_of(args.registry, options))
        return 0
    done = log_in(args.registry, _credentials(args), options)
    say(f"Login Succeeded! {done.registry}, kept in {done.where}")
    return 0


def _credentials(args: argparse.Namespace) -> Credentials:
    from buildah_py.registry import Credentials

    username, password = args.username, args.password
    if args.password_stdin:
        if password:
            raise UsageError("--password and --password-stdin exclude each other")
        if not username:
            raise UsageError("--password-stdin wants --username")
        password = sys.stdin.readline().rstrip("\r\n")
        if not password:
            raise UsageError("there is no password on stdin")
        return Credentials(username, password)
    if password:
        warn("a password on the command line is seen by everybody on this machine; --password-stdin hides it")
    if not (username and password):
        if not sys.stdin.isatty():
            raise UsageError(
                "name and password are missing, and nobody can be asked", hint="give --username and --password-stdin"
            )
        username = username or input("Username: ")
        if not password:
            from getpass import getpass

            password = getpass("Password: ")
    if not username or not password:
        raise UsageError("name and password may not be empty")
    return Credentials(username, password)

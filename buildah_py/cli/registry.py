"""The options of all commands that reach registries; spelled as buildah spells them."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from buildah_py.cli.printing import complain
from buildah_py.errors import UsageError
from buildah_py.image import numbers

if TYPE_CHECKING:
    import argparse

    from buildah_py.cli.arguments import Parser
    from buildah_py.registry import RegistryOptions


def configure(parser: argparse.ArgumentParser, *, credentials: bool = True) -> None:
    """Declare the options."""
    group = parser.add_argument_group("registries")
    add = group.add_argument
    add(
        "--tls-verify",
        metavar="true|false",
        nargs="?",
        const="true",
        default="",
        help="false: trust any certificate, and plain HTTP; true: not even on loopback",
    )
    add("--authfile", metavar="FILE", default="", help="file with credentials; default: those of podman and docker")
    add("--cert-dir", metavar="DIR", default="", help="directory with *.crt (CAs), *.cert and *.key (for us)")
    if credentials:
        add("--creds", metavar="NAME:PASSWORD", default="", help="credentials, instead of any file's")


def read(args: argparse.Namespace, destination: str = "") -> RegistryOptions:
    """Make the options; --creds are for the registry of `destination` alone, where one is named. Raises UsageError."""
    from buildah_py.http.retry import NOBODY, Waiter
    from buildah_py.registry import RegistryOptions
    from buildah_py.registry.credentials import parse

    creds = getattr(args, "creds", "")
    options = RegistryOptions.from_environment(
        os.environ,
        tls_verify=tls_verify(args.tls_verify),
        authfile=args.authfile,
        cert_dir=args.cert_dir,
        credentials=parse(creds) if creds else None,
        waiter=NOBODY if getattr(args, "quiet", False) else Waiter(complain),
    )
    if creds and destination:
        # A pushed image may have parts that are still in another registry, whose business they are not.
        from buildah_py.frozen import replace
        from buildah_py.image import reference

        return replace(options, credentials_for=frozenset((reference.parse(destination).registry,)))
    return options


def configure_pull(parser: Parser) -> None:
    """Declare the options of commands that take images from registries."""
    parser.add_argument(
        "--pull",
        metavar="POLICY",
        default="missing",
        help="when to ask the registry for base images: missing (default), always (--pull alone), newer, never",
    )
    parser.bare |= {"--pull": "always", "--tls-verify": "true"}
    configure(parser)


def read_pull(args: argparse.Namespace) -> dict[str, Any]:
    """Return the options as a BuildRequest takes them. Raises UsageError for an unknown policy."""
    from buildah_py.transfer.base_images import check_policy

    return {"pull": check_policy(args.pull), "registries": lambda: read(args)}


def tls_verify(text: str) -> bool | None:
    """Read what --tls-verify says; None where it says nothing."""
    if not text:
        return None
    value = numbers.boolean(text.lower())
    if value is not None:
        return value
    raise UsageError(f"--tls-verify={text} is neither true nor false")

"""The options of commands that take images from registries."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from buildah_py.cli import registry

if TYPE_CHECKING:
    import argparse

    from buildah_py.cli.arguments import Parser


def configure(parser: Parser) -> None:
    """Declare the options."""
    parser.add_argument(
        "--pull",
        metavar="POLICY",
        default="missing",
        help="when to ask the registry for base images: missing (default), always (--pull alone), newer, never",
    )
    parser.bare |= {"--pull": "always", "--tls-verify": "true"}
    registry.configure(parser)


def read(args: argparse.Namespace) -> dict[str, Any]:
    """What they say, as a BuildRequest wants it. Raises UsageError for a policy that there is none of."""
    from buildah_py.transfer.base_images import check_policy

    return {"pull": check_policy(args.pull), "registries": lambda: registry.read(args)}

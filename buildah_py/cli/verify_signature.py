"""`pybuild verify-signature`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from buildah_py.cli import registry
from buildah_py.cli.printing import say, warn

if TYPE_CHECKING:
    import argparse

    from buildah_py.cli.arguments import Parser

_EXIT_UNSIGNED = 1


def configure(parser: Parser) -> None:
    """Declare the options."""
    add = parser.add_argument
    add("image", metavar="IMAGE", help="name in a registry, with or without docker://")
    add("--key", metavar="FILE", required=True, help="public key (PEM), such as cosign.pub")
    parser.bare["--tls-verify"] = "true"
    registry.configure(parser)


def run(args: argparse.Namespace) -> int:
    """Print the image by its digest where the key has signed it; 0 then, 1 where it has not."""
    from buildah_py.attest.keys import load_public_key
    from buildah_py.attest.signatures import verify
    from buildah_py.errors import NotFound
    from buildah_py.image import reference
    from buildah_py.registry import Registry

    key = load_public_key(args.key)
    name = args.image.removeprefix("docker://")
    with Registry(registry.read(args, name)) as there:
        try:
            found = verify(there, reference.parse(name), key)
        except NotFound as error:
            warn(str(error))
            return _EXIT_UNSIGNED
    say(found.reference.full)
    for one in found.identities:
        if one != found.reference.name:
            warn(f"it was signed as {one}")
    return 0

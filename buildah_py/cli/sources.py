"""The options of a build that say where its files come from, and how they are looked at."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import argparse

    from buildah_py.contexts.named import ContextOptions

CONTEXT = "what COPY and ADD take files from: a directory, the URL of a git repository or an archive, or - for stdin"


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    group = parser.add_argument_group("contexts")
    add = group.add_argument
    add(
        "--build-context",
        metavar="NAME=VALUE",
        action="append",
        default=[],
        help="further context: a directory, docker-image://IMAGE, oci-layout://PATH, target:STAGE, a URL",
    )
    add(
        "--context-modes",
        choices=("exact", "git"),
        default="",
        help="modes of a context's files: as they are, or 644 and 755 as git keeps them; default: exact",
    )
    add(
        "--allow-local-redirects",
        action="store_true",
        help="let servers elsewhere redirect to this machine or its link, and repositories have submodules here",
    )
    add_max_layer_size(group)
    add("--ignorefile", metavar="FILE", default="", help="use this ignore file for the main context")


def read(args: argparse.Namespace) -> ContextOptions:
    """Return the options that were given."""
    from buildah_py.contexts.named import ContextOptions

    return ContextOptions(
        modes=args.context_modes,
        ignore_file=args.ignorefile,
        local_redirects=args.allow_local_redirects,
        most=read_max_layer_size(args),
    )


def add_max_layer_size(parser: argparse._ActionsContainer) -> None:
    """Declare --max-layer-size."""
    parser.add_argument(
        "--max-layer-size",
        metavar="SIZE",
        default="",
        help="most that an archive may unpack to, and that is fetched from a web server; default: 256GiB",
    )


def read_max_layer_size(args: argparse.Namespace) -> int:
    """Return the number of bytes that was given, 0 for none. Raises UsageError."""
    if not args.max_layer_size:
        return 0
    from buildah_py.store.sizes import parse_size

    return parse_size(args.max_layer_size)

"""Options of docker's commands that have nothing to do here: command lines that give them work, or say why not."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any, NoReturn

from buildah_py.errors import UsageError
from buildah_py.image import numbers

if TYPE_CHECKING:
    from buildah_py.cli.arguments import Parser

_NOTHING_KEPT = "accepted and without effect: nothing of a container is kept"
_NO_ATTESTATIONS = "accepted and without effect: no attestations are made"
_REFUSED: tuple[tuple[tuple[str, ...], str, str, str], ...] = (
    (("-p", "--publish"), "PORT", "ports are not published", "with --network=host they are ports of this machine"),
    (("-d", "--detach"), "", "containers run as long as the command", "the shell's & puts that into the background"),
    (("--mount",), "SPEC", "mounts are given with --volume", "write it as -v DIR:TARGET[:ro]"),
)


def configure_build(parser: Parser) -> None:
    """Declare those of `docker build` and `docker buildx build`."""
    add = parser.add_argument_group("for docker's sake").add_argument
    add("--rm", "--force-rm", action="store_true", help=_NOTHING_KEPT)
    add("--compress", action="store_true", help="accepted and without effect: contexts are not sent anywhere")
    add("--builder", metavar="NAME", default="", help="accepted and without effect: there is one builder")
    for option in ("--provenance", "--sbom"):
        add(option, metavar="VALUE", default="false", help=_NO_ATTESTATIONS)
        parser.bare[option] = "true"
    add("--attest", metavar="SPEC", action="append", default=[], help=_NO_ATTESTATIONS)


def without_effect(args: argparse.Namespace) -> list[str]:
    """Say what a build was asked for and does not do."""
    asked = [(f"--{name}", getattr(args, name)) for name in ("provenance", "sbom")]
    asked = [(option, value) for option, value in asked if numbers.boolean(value.lower()) is not False]
    asked += (("--attest", spec) for spec in args.attest if "disabled=true" not in spec)
    found = [f"{option}={value} has no effect: no attestations are made" for option, value in asked]
    if args.builder not in ("", "default"):
        found.append(f"--builder={args.builder} has no effect: there is one builder, and it is this process")
    return found


def configure_run(parser: argparse.ArgumentParser) -> None:
    """Declare those of `docker run`."""
    add = parser.add_argument
    add("--rm", action="store_true", help=_NOTHING_KEPT)
    add("--name", metavar="NAME", default="", help="accepted and without effect: containers have no names")
    for names, metavar, why, instead in _REFUSED:
        add(*names, action=_Refused, metavar=metavar or None, nargs=None if metavar else 0, help=f"refused: {why}",
            const=(why, instead))  # fmt: skip


class _Refused(argparse.Action):
    """An option that is known, and what is to be done instead."""

    def __call__(self, _parser: Any, _namespace: Any, _values: Any, option_string: str | None = None) -> NoReturn:
        why, instead = self.const
        raise UsageError(f"{option_string}: {why}", hint=instead)

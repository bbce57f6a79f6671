"""Options of `docker run` that have nothing to do here: command lines that give them work, or say why not."""

from __future__ import annotations

import argparse
from typing import Any, NoReturn

from buildah_py.errors import UsageError

_NOTHING_KEPT = "accepted and without effect: nothing of a container is kept"
_REFUSED: tuple[tuple[tuple[str, ...], str, str, str], ...] = (
    (("-p", "--publish"), "PORT", "ports are not published", "with --network=host they are ports of this machine"),
    (("-d", "--detach"), "", "containers run as long as the command", "the shell's & puts that into the background"),
    (("--mount",), "SPEC", "mounts are given with --volume", "write it as -v DIR:TARGET[:ro]"),
)


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

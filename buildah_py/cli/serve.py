"""`pybuild serve`: answer as Docker's engine does, for programs that build through its API."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Final

from buildah_py.cli.printing import complain

if TYPE_CHECKING:
    import argparse

_IDLE_WHEN_STARTED_BY_A_SOCKET: Final = 300.0


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument(
        "--socket", metavar="PATH", default="",
        help="where to listen; default: pybuild.sock in /run for root, in XDG_RUNTIME_DIR for others; not where a "
        "service manager hands a socket over",
    )  # fmt: skip
    parser.add_argument(
        "--idle", metavar="SECONDS", type=float, default=None,
        help="end when nobody has asked for so long; 0: never. Default: 300 where a service manager handed the socket "
        "over, else 0",
    )  # fmt: skip


def run(args: argparse.Namespace) -> int:
    """Answer; 0 when nobody has asked for a while, or this was told to end."""
    from buildah_py.errors import UsageError
    from buildah_py.serve.server import handed_over, listening, serve, usual_path

    if args.idle is not None and not 0 <= args.idle < float("inf"):
        raise UsageError(f"--idle {args.idle}: it has to be a number of seconds, 0 for ever")
    handed = handed_over(os.environ)
    for name in ("LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES"):
        os.environ.pop(name, None)
    try:
        if handed is not None:
            if args.socket:
                raise UsageError("--socket: a service manager has handed a socket over", hint="leave it out")
            serve(handed, _IDLE_WHEN_STARTED_BY_A_SOCKET if args.idle is None else args.idle)
            return 0
        path = os.path.abspath(args.socket or usual_path(os.environ))
        with listening(path) as listener:
            serve(listener, args.idle or 0.0, lambda: complain(f"pybuild: DOCKER_HOST=unix://{path}"))
    except KeyboardInterrupt:  # which is how a server ends
        return 0
    return 0

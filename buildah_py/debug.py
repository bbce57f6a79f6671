"""The log of `--debug`: one line on standard error for each thing that the program does.

Until it is switched on, nothing is formatted, and `logging` is not imported.
"""

from __future__ import annotations

import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    import logging

_PACKAGE = "buildah_py"
_switched_on = False


def is_on() -> bool:
    """Whether somebody reads the log."""
    return _switched_on


def switch_on() -> None:
    """Write the log from now on."""
    global _switched_on  # noqa: PLW0603 - of the process, as the log is
    if _switched_on:
        return
    import logging

    handler = logging.StreamHandler()
    handler.setFormatter(_formatter())
    logger = logging.getLogger(_PACKAGE)
    logger.addHandler(handler)
    logger.setLevel(logging.DEBUG)
    logger.propagate = False
    _switched_on = True


def log(text: str, *values: object) -> None:
    """Log what the calling module does; `text` and `values` are put together as `%` does.

    No value may be a secret. Of addresses the log shows neither user and password nor query, where signatures are.
    """
    if _switched_on:
        import logging

        logging.getLogger(sys._getframe(1).f_globals["__name__"]).debug(text, *values)  # noqa: SLF001


def _formatter() -> logging.Formatter:
    """Give what makes lines such as `debug     12 ms store.locks: …`, the thread named if it is not the first."""
    import logging
    import re

    class Formatter(logging.Formatter):
        def format(self, record: logging.LogRecord) -> str:
            where = record.name.removeprefix(f"{_PACKAGE}.")
            thread = "" if record.threadName == "MainThread" else f" ({record.threadName})"
            text = re.sub(r"(\w://)[^/\s]*@", r"\1", record.getMessage())
            text = re.sub(r"(\w://[^\s?]*\?)[^\s\"'`]*", r"\1…", text)
            line = f"debug {record.relativeCreated:6.0f} ms {where}{thread}: {text}"
            return "".join(character if character.isprintable() else repr(character)[1:-1] for character in line)

    return Formatter()

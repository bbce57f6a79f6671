"""Values of STOPSIGNAL: a number, or a name with or without SIG."""

from __future__ import annotations

import re

_NAMES = (
    *("ABRT", "ALRM", "BUS", "CHLD", "CLD", "CONT", "FPE", "HUP", "ILL", "INT", "IO", "IOT", "KILL", "PIPE", "POLL"),
    *("PROF", "PWR", "QUIT", "SEGV", "STKFLT", "STOP", "SYS", "TERM", "TRAP", "TSTP", "TTIN", "TTOU", "URG", "USR1"),
    *("USR2", "VTALRM", "WINCH", "XCPU", "XFSZ", "RTMIN", "RTMAX"),
)
_REAL_TIME = [f"RTMIN+{number}" for number in range(1, 16)] + [f"RTMAX-{number}" for number in range(1, 15)]
NAMES = frozenset([*_NAMES, *_REAL_TIME])


def check_signal(text: str) -> None:
    """Accept the signals that Linux has.

    Raises:
        ValueError: with a message for people.

    """
    if re.fullmatch(r"[+-]?0*[0-9]{1,18}", text):
        if int(text) == 0:
            raise ValueError(f"invalid signal: {text}")
        return
    if text.upper().removeprefix("SIG") not in NAMES:
        raise ValueError(f"invalid signal: {text}")

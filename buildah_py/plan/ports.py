"""Values that an instruction's words must have: ports of EXPOSE, signals of STOPSIGNAL."""

from __future__ import annotations

import re

_PORT = re.compile(r"(?:(?P<host>.*):)?(?P<first>\d+)(?:-(?P<last>\d+))?(?:/(?P<protocol>[A-Za-z]*))?", re.DOTALL)
_PROTOCOLS = ("tcp", "udp", "sctp")
_MAX_PORT = 65535


def parse(text: str) -> list[str]:
    """Turn `port[-last][/protocol]` into `port/protocol` items. Raises ValueError."""
    match = _PORT.fullmatch(text)
    if not match:
        raise ValueError(f"`{text}` is no port: write 80, 80/udp or 8000-8010/tcp")
    first = int(match["first"])
    last = int(match["last"] or first)
    protocol = (match["protocol"] or "tcp").lower()
    if protocol not in _PROTOCOLS:
        raise ValueError(f"`{match['protocol']}` is no protocol: use tcp, udp or sctp")
    if not first <= last <= _MAX_PORT:
        raise ValueError(f"`{text}` is no range of ports from 0 to {_MAX_PORT}")
    return [f"{port}/{protocol}" for port in range(first, last + 1)]


def is_signal(text: str) -> bool:
    """Whether Linux knows the signal, by number or by name with or without SIG."""
    import signal

    if text.isdigit():
        return 0 < int(text) < signal.NSIG
    name = text.upper().removeprefix("SIG")
    if name.startswith(("RTMIN+", "RTMAX-")):
        return name[6:].isdigit()
    return f"SIG{name}" in signal.Signals.__members__

"""Ending containers that others run, and waiting for their ends."""

from __future__ import annotations

import re
import signal
from contextlib import suppress
from typing import TYPE_CHECKING

from buildah_py.errors import NotFound, UsageError
from buildah_py.running.control import ContainerLine
from buildah_py.store.containers import KeptContainer

if TYPE_CHECKING:
    from collections.abc import Callable

_SHOWN_AFTER = 1.0


def signal_number(text: str) -> int:
    """Return the number of a signal that is named as docker takes it: TERM, SIGTERM, 15, RTMIN+3. Raises UsageError."""
    name = text.upper().removeprefix("SIG")
    real_time = re.fullmatch(r"(RTMIN|RTMAX)([+-]\d{1,2})", name)
    if name.isdecimal():
        number = int(name)
    elif real_time:
        number = int(signal.Signals[f"SIG{real_time[1]}"]) + int(real_time[2])
    else:
        number = int(getattr(signal, f"SIG{name}", 0)) if name.isalnum() else 0
    if number not in signal.valid_signals():
        raise UsageError(f"there is no signal {text}", hint="signals are named as TERM, SIGTERM or 15")
    return number


def send_signal(container: KeptContainer, number: int) -> None:
    """Send its command a signal. Raises NotFound where it does not run."""
    with ContainerLine(container) as line:
        line.send("signal", number)


def stop(
    container: KeptContainer,
    signal_name: str,
    seconds: float | None,
    tell: Callable[[str], object] = lambda _: None,
) -> bool:
    """Ask a container to end, and end it by force where it has not after `seconds`; whether that was needed.

    Without a signal or a time, those hold that it was started with. One that does not run is left as it is. `tell`
    hears of a wait that is one.
    """
    number = signal_number(signal_name or container.about["stop_signal"] or "TERM")
    patience = container.about["stop_timeout"] if seconds is None else seconds
    try:
        with ContainerLine(container) as line:
            line.send("signal", number)
            if line.ended(_SHOWN_AFTER if patience < 0 else min(patience, _SHOWN_AFTER)):
                return False
            left = patience - _SHOWN_AFTER
            if patience < 0:
                tell(f"{container.name} was asked to end, and has not yet; it has all the time it takes")
            elif left > 0:
                tell(f"{container.name} was asked to end, and has not yet; in {left:.3g} s it is ended by force")
            if (patience < 0 or left > 0) and line.ended(left if left > 0 else None):
                return False
            line.send("signal", int(signal.SIGKILL))
            line.ended(None)
            return True
    except NotFound:
        return False


def wait(container: KeptContainer) -> int:
    """Wait until a container has ended; the status of its command. Raises NotFound where it was removed before."""
    with suppress(NotFound), ContainerLine(container) as line:  # else it has ended: that is written down
        line.send("wait")
        answer, _ = line.receive()
        if answer is not None:
            return int(answer[1])
    try:
        return int(KeptContainer(container.path).state["code"])
    except FileNotFoundError:
        raise NotFound(f"the container `{container.name}` was removed when it ended (--rm)") from None

"""Having the kernel forward packets between a bridge and the interfaces that lead outside, as long as it is needed."""

from __future__ import annotations

import errno
import os

from buildah_py.sandbox.nat import IPV4, IPV6

_FILE = "forwarding"
"""Lists the settings that were changed, with what they were."""
_IPV6_SETTINGS = "/proc/sys/net/ipv6/conf"
_FORCED = "force_forwarding"


def begin(directory: str, bridge: str, uplinks: set[str], uplinks6: set[str]) -> set[int]:
    """Have the kernel forward for the bridge and the interfaces that lead outside; remember how they were.

    The answers to a container's packets arrive on those interfaces, and are forwarded only if they may. Gives the
    families for which something was switched, by this build or another one that still runs.
    """
    _write(_switch(bridge), "1")
    changes = [(_switch(interface), "1") for interface in sorted(uplinks)]
    before = []
    if uplinks6 and os.path.exists(_switch6(bridge, _FORCED)):  # since Linux 6.17
        _write(_switch6(bridge, _FORCED), "1")
        changes += [(_switch6(interface, _FORCED), "1") for interface in sorted(uplinks6)]
    elif uplinks6 and _value(_switch6("all", "forwarding")) == "0":
        # There is but one switch, which turns all others, and stops an interface from listening to routers.
        changes.append((_switch6("all", "forwarding"), "1"))
        for interface in os.listdir(_IPV6_SETTINGS):
            if interface == "all":
                continue
            if _value(_switch6(interface, "forwarding")) == "1":
                before.append((_switch6(interface, "forwarding"), "1"))
            elif _value(_switch6(interface, "accept_ra")) == "1":
                before.append((_switch6(interface, "accept_ra"), "1"))
                _set(_switch6(interface, "accept_ra"), "2")
    changed = [(path, old, value) for path, value in changes if (old := _value(path)) not in ("", value)]
    if changed or before:
        with open(f"{directory}/{_FILE}", "a", encoding="utf-8") as file:
            file.writelines(f"{path} {old}\n" for path, old, _ in changed)
            file.writelines(f"{path} {old}\n" for path, old in before)
    for path, _, value in changed:
        _set(path, value)
    remembered = _read(f"{directory}/{_FILE}") if os.path.exists(f"{directory}/{_FILE}") else ""
    return {family for family, part in ((IPV4, "/ipv4/"), (IPV6, "/ipv6/")) if part in remembered}


def end(directory: str) -> None:
    """Put everything back as it was; to be called when the last bridge of this machine goes."""
    try:
        words = _read(f"{directory}/{_FILE}").split()
    except FileNotFoundError:
        return
    for place, path in enumerate(words):
        if path.startswith("/"):
            _set(path, words[place + 1])
    os.unlink(f"{directory}/{_FILE}")


def _switch(interface: str) -> str:
    return f"/proc/sys/net/ipv4/conf/{interface}/forwarding"


def _switch6(interface: str, name: str) -> str:
    return f"{_IPV6_SETTINGS}/{interface}/{name}"


def _value(path: str) -> str:
    """Read a setting; "" where its interface has gone meanwhile."""
    try:
        return _read(path).strip()
    except FileNotFoundError:
        return ""


def _read(path: str) -> str:
    with open(path, encoding="utf-8") as file:
        return file.read()


def _set(path: str, value: str) -> None:
    """Write a setting, unless its interface has gone: it is somebody else's, who may remove it at any moment."""
    try:
        _write(path, value)
    except OSError as error:
        if error.errno not in (errno.ENOENT, errno.ENODEV):
            raise


def _write(path: str, value: str) -> None:
    with open(path, "w", encoding="utf-8") as file:
        file.write(value)

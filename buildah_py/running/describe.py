"""A container as `docker inspect` shows it."""

from __future__ import annotations

import re
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from buildah_py.errors import NotFound, SandboxError
from buildah_py.image.timestamp import to_text
from buildah_py.running.control import ContainerLine
from buildah_py.store.containers import DEAD, RUNNING

if TYPE_CHECKING:
    from buildah_py.store.containers import KeptContainer

_NEVER = "0001-01-01T00:00:00Z"
"""Text that docker writes for a moment that has not come."""


def describe_container(container: KeptContainer) -> dict[str, Any]:
    """Give what is known of a container by docker's names; a container of pybuild has no address of its own."""
    about, state = container.about, container.state
    program, *arguments = about["command"]
    ports = ports_of(container) if container.alive else {}
    return {
        "Id": container.id,
        "Created": to_text(about["created"]),
        "Path": program,
        "Args": arguments,
        "State": {
            "Status": state["status"],
            "Running": state["status"] == RUNNING,
            "Paused": False,
            "Restarting": False,
            "OOMKilled": bool(state.get("out_of_memory")),
            "Dead": state["status"] == DEAD,
            "Pid": _first(container) if container.alive else 0,
            "ExitCode": int(state.get("code", 0)),
            "Error": state.get("error", ""),
            "StartedAt": to_text(about["created"]),
            "FinishedAt": to_text(state["finished"]) if state.get("finished") else _NEVER,
        },
        "Image": about["image_id"],
        "Name": f"/{container.name}",
        "RestartCount": 0,
        "Config": {
            "Image": about["image"],
            "Cmd": list(about["command"]),
            "Labels": about["labels"],
            "Tty": about["tty"],
            "StopSignal": about["stop_signal"] or "SIGTERM",
            "StopTimeout": int(about["stop_timeout"]),
        },
        "HostConfig": {"AutoRemove": about["remove"], "PortBindings": ports},
        "NetworkSettings": {"Ports": ports, "IPAddress": ""},
    }


def ports_of(container: KeptContainer) -> dict[str, list[dict[str, str]]]:
    """Give the ports of a container, such as `80/tcp`, and where on this machine each is reached."""
    found: dict[str, list[dict[str, str]]] = {}
    for one in container.about["ports"]:
        place = {"HostIp": one["address"], "HostPort": str(one["host"])}
        found.setdefault(f"{one['container']}/{one['protocol']}", []).append(place)
    return found


def _first(container: KeptContainer) -> int:
    """Return the id that process 1 of a container has on this machine, 0 where it has ended, or is not ours to see."""
    with suppress(NotFound, SandboxError), ContainerLine(container) as line:
        line.send("processes")
        answer, _ = line.receive()
        for number in answer[1] if answer is not None else ():
            with suppress(OSError), open(f"/proc/{number}/status", encoding="utf-8") as file:
                if re.search(r"^NSpid:.*\t1$", file.read(), re.MULTILINE):
                    return int(number)
    return 0

"""Options of `docker run` that ask for what is so anyway, or that pybuild has nothing for: a note, or why not."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from buildah_py.cli.printing import warn
from buildah_py.errors import UsageError

if TYPE_CHECKING:
    from buildah_py.cli.arguments import Parser


class _Option(NamedTuple):
    """An option: refused with `instead`, else taken with a note; values of `fine` ask for what is so anyway."""

    name: str
    value: str
    why: str
    instead: str = ""
    fine: tuple[str, ...] = ()


_OWN: Final = ("", "private")
_ENGINE: Final = "docker or podman does that; `pybuild push IMAGE docker-daemon:NAME` gives them an image"
_OPTIONS: Final = (
    _Option("--restart", "POLICY", "nothing starts a container again",
            "a service of systemd with `pybuild run` as its ExecStart and Restart=always does", fine=("no", "")),
    _Option("--privileged", "", "no container gets all rights of this machine",
            "--cap-add, --device and --security-opt give single ones", fine=("false",)),
    _Option("--gpus", "GPUS", "no driver is made known to containers", "--device gives single device nodes"),
    _Option("--link", "CONTAINER", "containers do not reach each other", "publish a port, or use --network=host"),
    _Option("--ip", "ADDRESS", "addresses are chosen by pybuild", "-p IP:HOST:CONTAINER publishes on one address"),
    _Option("--network-alias", "NAME", "containers do not reach each other", _ENGINE),
    _Option("--volumes-from", "CONTAINER", "containers have no volumes of their own", "-v DIR:TARGET for each of them"),
    _Option("--volume-driver", "NAME", "there are no volumes", "-v DIR:TARGET", fine=("local", "")),
    _Option("--pid", "HOW", "each container has a PID namespace of its own", "leave it out", fine=_OWN),
    _Option("--ipc", "HOW", "each container has an IPC namespace of its own", "leave it out", fine=_OWN),
    _Option("--uts", "HOW", "each container has a host name of its own", "--hostname sets it", fine=_OWN),
    _Option("--cgroupns", "HOW", "each container has a cgroup namespace of its own", "leave it out", fine=_OWN),
    _Option("--sysctl", "NAME=VALUE", "settings of namespaces are pybuild's",
            "ports below 1024 and pings are for every user of a container anyway"),
    _Option("--group-add", "GROUP", "a command has the groups that the image's /etc/group gives its user",
            "add the user to the group in a RUN"),
    _Option("--health-cmd", "COMMAND", "no health checks are made", "`pybuild exec NAME COMMAND` makes one"),
    _Option("--no-healthcheck", "", "no health checks are made", fine=("true",)),
    _Option("--expose", "PORT", "-p publishes a port, whether it is exposed or not", fine=()),
    _Option("--log-driver", "NAME", "output goes into the container's log", "`pybuild logs NAME` prints it",
            fine=("json-file", "local", "")),
    _Option("--log-opt", "OPTION", "the newest 64 MiB of a container's output, and at most as much again, are kept"),
    _Option("--runtime", "NAME", "pybuild makes containers itself", fine=("", "runc")),
    _Option("--sig-proxy", "BOOL", "signals are passed on to the command", "leave it out", fine=("true",)),
    _Option("--detach-keys", "KEYS", "nobody attaches to a container"),
    _Option("--oom-kill-disable", "", "the kernel ends a container that takes more memory than it may", "--memory",
            fine=("false",)),
    _Option("--storage-opt", "OPTION", "the state directory is pybuild's own"),
    _Option("--disable-content-trust", "", "there is no such trust to be disabled", fine=("true", "false")),
)  # fmt: skip


def configure_run(parser: Parser) -> None:
    """Declare those of `docker run`."""
    parser.conflict_handler = "resolve"  # docker's -h is not help
    group = parser.add_argument_group("of docker", "accepted with a note, or refused with a reason")
    group.add_argument("-h", dest="hostname", metavar="NAME", default="", help="the same as --hostname")
    for option in _OPTIONS:
        group.add_argument(option.name, action=_Foreign, const=option, metavar=option.value or "BOOL", dest="foreign",
            help=("refused: " if option.instead else "") + option.why)  # fmt: skip
        if not option.value:
            parser.bare[option.name] = "true"


class _Foreign(argparse.Action):
    """An option that is known, and what is said or to be done instead."""

    def __call__(self, _parser: Any, _namespace: Any, values: Any, option_string: str | None = None) -> None:
        option: _Option = self.const
        if str(values).lower() in option.fine:
            return
        shown = f"{option_string}={values}" if option.value else option_string
        if option.instead:
            raise UsageError(f"{shown}: {option.why}", hint=option.instead)
        warn(f"{shown} has no effect: {option.why}")

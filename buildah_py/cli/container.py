"""The options that shape a container, the same for RUN steps and for `pybuild run`; spelled as docker spells them."""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING

from buildah_py.errors import UsageError

if TYPE_CHECKING:
    import argparse

    from buildah_py.api.container import ContainerOptions

_SIZE = re.compile(r"(\d+(?:\.\d+)?)([kmgt]?)(?:i?b)?", re.IGNORECASE)
_UNITS = {"": 0, "k": 10, "m": 20, "g": 30, "t": 40}


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    group = parser.add_argument_group("containers")
    add = group.add_argument
    add("--add-host", metavar="NAME:ADDRESS", action="append", default=[], help="line of /etc/hosts")
    add("--dns", metavar="ADDRESS", action="append", default=[], help="name server")
    add("--dns-search", metavar="DOMAIN", action="append", default=[], help="search domain")
    add("--dns-option", metavar="OPTION", action="append", default=[], help="resolver option")
    add("--hostname", metavar="NAME", default="", help="host name")
    add("--cap-add", metavar="CAP", action="append", default=[], help="add a capability, or ALL")
    add("--cap-drop", metavar="CAP", action="append", default=[], help="drop a capability, or ALL")
    add("--security-opt", metavar="OPT", action="append", default=[], help="seccomp=unconfined or no-new-privileges")
    add(
        "--ulimit",
        metavar="NAME=SOFT[:HARD]",
        action="append",
        default=[],
        help="limit of each process, such as nofile=1024",
    )
    add("--shm-size", metavar="SIZE", default="", help="size of /dev/shm; default: 64m")
    add("-m", "--memory", metavar="SIZE", default="", help="limit of memory, such as 512m")
    add("--memory-swap", metavar="SIZE", default="", help="limit of memory and swap together; -1 for no limit of swap")
    add("--cpus", metavar="NUMBER", type=float, default=0.0, help="limit of CPU time, such as 1.5")
    add("--cpu-shares", metavar="NUMBER", type=int, default=0, help="weight against other containers")
    add("--cpuset-cpus", metavar="LIST", default="", help="CPUs to use, such as 0-1")
    add("--pids-limit", metavar="NUMBER", type=int, default=0, help="limit of processes")
    add("--cgroup-parent", metavar="PATH", default="", help="cgroup below which containers get theirs")
    add("--device", metavar="PATH[:TARGET]", action="append", default=[], help="device node of the host")
    add("-v", "--volume", metavar="DIR:TARGET[:ro]", action="append", default=[], help="directory or file of the host")
    add(
        "--ca-bundle",
        metavar="FILE|host",
        default="",
        help="certificates to trust besides the image's own; never in the image",
    )


def read(args: argparse.Namespace) -> ContainerOptions:
    """Read the options' values. Raises UsageError."""
    from buildah_py.api.container import ContainerOptions
    from buildah_py.sandbox.spec import Limits

    seccomp, no_new_privileges = _security(args.security_opt)
    return ContainerOptions(
        add_hosts=tuple(_host(text) for text in args.add_host),
        dns=tuple(args.dns),
        dns_search=tuple(args.dns_search),
        dns_options=tuple(args.dns_option),
        hostname=args.hostname,
        cap_add=tuple(args.cap_add),
        cap_drop=tuple(args.cap_drop),
        seccomp=seccomp,
        no_new_privileges=no_new_privileges,
        rlimits=tuple(_ulimit(text) for text in args.ulimit),
        shm_size=size(args.shm_size, "--shm-size") if args.shm_size else 64 << 20,
        limits=Limits(
            memory=size(args.memory, "--memory") if args.memory else 0,
            memory_swap=-1 if args.memory_swap == "-1" else size(args.memory_swap or "0", "--memory-swap"),
            cpus=args.cpus,
            cpu_shares=args.cpu_shares,
            cpuset_cpus=args.cpuset_cpus,
            pids=max(args.pids_limit, 0),
        ),
        cgroup_parent=args.cgroup_parent,
        devices=tuple(_pair(text, "--device")[:2] for text in args.device),
        volumes=tuple(_volume(text) for text in args.volume),
        ca_bundle=args.ca_bundle,
    )


def size(text: str, option: str) -> int:
    """Read a number of bytes with an optional unit (k, m, g, t: powers of 1024). Raises UsageError."""
    match = _SIZE.fullmatch(text.strip())
    if match is None:
        raise UsageError(f"{option} {text}: this is no size", hint="sizes look like 512m or 2g")
    return int(float(match[1]) * (1 << _UNITS[match[2].lower()]))


def _host(text: str) -> tuple[str, str]:
    name, separator, address = text.partition("=" if "=" in text else ":")
    if not separator or not name or not address:
        raise UsageError(f"--add-host {text}: write it as NAME:ADDRESS")
    return name, address.strip("[]")


def _security(items: list[str]) -> tuple[str, bool]:
    seccomp, no_new_privileges = "default", False
    for item in items:
        name, _, value = item.replace(":", "=", 1).partition("=")
        if name == "seccomp" and value:
            seccomp = value
        elif name == "no-new-privileges" and value in ("", "true", "false"):
            no_new_privileges = value != "false"
        else:
            raise UsageError(f"--security-opt {item} is not known", hint="known are seccomp=… and no-new-privileges")
    return seccomp, no_new_privileges


def _ulimit(text: str) -> tuple[str, int, int]:
    name, _, values = text.partition("=")
    soft, _, hard = values.partition(":")
    try:
        return name, int(soft), int(hard or soft)
    except ValueError:
        raise UsageError(f"--ulimit {text}: write it as NAME=SOFT[:HARD]") from None


def _pair(text: str, option: str) -> tuple[str, str, str]:
    source, _, rest = text.partition(":")
    target, _, mode = rest.partition(":")
    if not source.startswith("/"):
        source = os.path.abspath(source)
    if not os.path.exists(source):
        raise UsageError(f"{option} {text}: {source} does not exist")
    return source, target or source, mode


def _volume(text: str) -> tuple[str, str, bool]:
    source, target, mode = _pair(text, "--volume")
    modes = set(filter(None, mode.split(",")))
    if ":" not in text or not target.startswith("/"):
        raise UsageError(f"--volume {text}: write it as DIR:TARGET[:ro], TARGET an absolute path")
    if not modes <= {"ro", "rw", "z", "Z"}:
        raise UsageError(f"--volume {text}: `{mode}` is not known", hint="known are ro and rw")
    return source, target, "ro" in modes

"""The options that shape a container, the same for RUN steps and for `pybuild run`; spelled as docker spells them."""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING, Any

from buildah_py.cli.printing import warn
from buildah_py.errors import UsageError

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable

    from buildah_py.api.container import ContainerOptions
    from buildah_py.sandbox.idmap import Ranges
    from buildah_py.sandbox.spec import ResourceLimits

HOST = "127.0.0.1"
"""The address that stands for this machine in its own network; in another one nobody answers there."""
_SIZE = re.compile(r"(\d+(?:\.\d+)?)([kmgt]?)(?:i?b)?", re.IGNORECASE)
_NAME = re.compile(r"[A-Za-z0-9]([A-Za-z0-9._-]{0,62}[A-Za-z0-9])?")
_CPUS = re.compile(r"\d+(-\d+)?(,\d+(-\d+)?)*")
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
    add(
        "--security-opt",
        metavar="OPT",
        action="append",
        default=[],
        help="seccomp=FILE, seccomp=unconfined, no-new-privileges",
    )
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
    add("-c", "--cpu-shares", metavar="NUMBER", type=int, default=0, help="weight against other containers")
    add("--cpuset-cpus", metavar="LIST", default="", help="CPUs to use, such as 0-1")
    add("--pids-limit", metavar="NUMBER", type=int, default=0, help="limit of processes")
    add("--cgroup-parent", metavar="PATH", default="", help="cgroup below which containers get theirs")
    add("--device", metavar="PATH[:TARGET][:rwm]", action="append", default=[], help="device node of the host")
    add(
        "--isolation",
        type=_isolation,
        choices=("container", "full", "nested", "in-place", "proot", "chroot"),
        default="container",
        help="container does with less only where a place allows less; full refuses that, nested asks for it; in-place "
        "runs commands in the root of the container around, which then holds the image; proot runs them below that "
        "program, slowly, which takes no privilege; chroot pivots no root and has "
        "the host's network",
    )
    _configure_namespace(add)
    add("-v", "--volume", metavar="DIR:TARGET[:ro]", action="append", default=[], help="directory or file of the host")
    add(
        "--ca-bundle",
        metavar="FILE|host",
        default="",
        help="certificates to trust besides the image's own; never in the image",
    )


def _isolation(text: str) -> str:
    """Read buildah's names too: it isolates by a runtime, or as an ordinary user; both is what a container is here."""
    return "container" if text in ("oci", "rootless") else text


def read(args: argparse.Namespace) -> ContainerOptions:
    """Read the options' values. Raises UsageError."""
    from buildah_py.api.container import ContainerOptions

    if any(text.endswith("host-gateway") for text in args.add_host) and args.network != "host":
        warn("--add-host …:host-gateway: containers with a network of their own do not reach this machine")
    seccomp, no_new_privileges = _security(args.security_opt)
    memory = size(args.memory, "--memory") if args.memory else 0
    uid_map: Ranges = ()
    gid_map: Ranges = ()
    if any(value for name, value in vars(args).items() if name.startswith("userns")):
        from buildah_py.cli import userns

        uid_map, gid_map = userns.read(args)
    swap = -1 if args.memory_swap == "-1" else size(args.memory_swap or "0", "--memory-swap")
    if swap and not memory:
        raise UsageError("--memory-swap counts memory and swap together", hint="give --memory too")
    if 0 < swap < memory:
        raise UsageError(f"--memory-swap {args.memory_swap} is less than --memory {args.memory}, which it includes")
    return ContainerOptions(
        add_hosts=tuple(_host(text) for text in args.add_host),
        dns=tuple(_address(text, "--dns") for text in args.dns),
        dns_search=tuple(args.dns_search),
        dns_options=tuple(args.dns_option),
        hostname=_hostname(args.hostname),
        cap_add=_capabilities(args.cap_add, "--cap-add"),
        cap_drop=_capabilities(args.cap_drop, "--cap-drop"),
        seccomp=seccomp,
        isolation=args.isolation,
        uid_map=uid_map,
        gid_map=gid_map,
        no_new_privileges=no_new_privileges,
        rlimits=tuple(_ulimit(text) for text in args.ulimit),
        shm_size=size(args.shm_size, "--shm-size") if args.shm_size else 64 << 20,
        limits=_limits(
            memory=memory,
            memory_swap=swap,
            cpus=_at_least(args.cpus, 0, "--cpus"),
            cpu_shares=_at_least(args.cpu_shares, 0, "--cpu-shares"),
            cpuset_cpus=_processors(args.cpuset_cpus),
            pids=max(_at_least(args.pids_limit, -1, "--pids-limit"), 0),
        ),
        cgroup_parent=_cgroup(args.cgroup_parent),
        devices=tuple(_device(text) for text in args.device),
        volumes=tuple(volume(text) for text in args.volume),
        ca_bundle=args.ca_bundle,
    )


def _limits(**given: Any) -> ResourceLimits | None:
    """Give the limits, None where there are none."""
    if not any(given.values()):
        return None
    from buildah_py.sandbox.spec import ResourceLimits

    return ResourceLimits(**given)


def _configure_namespace(add: Callable[..., object]) -> None:
    """Declare the options for user namespaces, spelled as buildah spells them."""
    add(
        "--userns",
        metavar="host|auto|private",
        default="",
        help="user namespace of containers; all but host give root in a container other ids on the machine",
    )
    for kind, file, owner in (("uid", "/etc/subuid", "user"), ("gid", "/etc/subgid", "group")):
        add(
            f"--userns-{kind}-map",
            metavar="INSIDE:OUTSIDE:COUNT",
            action="append",
            default=[],
            help=f"{kind}s of containers and what they are on the machine; may be repeated",
        )
        add(f"--userns-{kind}-map-{owner}", metavar="NAME", default="", help=f"take NAME's {kind}s of {file}")


def size(text: str, option: str) -> int:
    """Read a number of bytes with an optional unit (k, m, g, t: powers of 1024). Raises UsageError."""
    match = _SIZE.fullmatch(text.strip())
    if match is None:
        raise UsageError(f"{option} {text}: this is not a size", hint="sizes look like 512m or 2g")
    return int(float(match[1]) * (1 << _UNITS[match[2].lower()]))


def _host(text: str) -> tuple[str, str]:
    name, separator, address = text.partition("=" if "=" in text else ":")
    if not separator or not name or not address:
        raise UsageError(f"--add-host {text}: write it as NAME:ADDRESS")
    if address == "host-gateway":
        return name, HOST
    return name, _address(address.strip("[]"), f"--add-host {text}:")


def _address(text: str, option: str) -> str:
    import _socket

    try:
        _socket.inet_pton(_socket.AF_INET6 if ":" in text else _socket.AF_INET, text.partition("%")[0])
    except OSError:
        raise UsageError(f"{option} {text}: this is not an address") from None
    return text


def _hostname(text: str) -> str:
    if text and not _NAME.fullmatch(text):
        raise UsageError(f"--hostname {text}: this cannot be a host name")
    return text


def _capabilities(names: list[str], option: str) -> tuple[str, ...]:
    if not names:
        return ()
    from buildah_py.sandbox.capabilities import NAMES, mask
    from buildah_py.suggest import did_you_mean

    for name in names:
        try:
            mask((name,))
        except ValueError:
            plain = name.upper().removeprefix("CAP_")
            hint = did_you_mean(plain, NAMES) or "see capabilities(7) for the names"
            raise UsageError(f"{option} {name}: there is no such capability", hint=hint) from None
    return tuple(names)


def _at_least(number: float, least: int, option: str) -> Any:
    if not least <= number < 1 << 31:
        raise UsageError(f"{option} {number}: it has to be at least {least}")
    return number


def _processors(text: str) -> str:
    if text and not _CPUS.fullmatch(text):
        raise UsageError(f"--cpuset-cpus {text}: write it as 0-2,4")
    return text


def _cgroup(text: str) -> str:
    if ".." in text.split("/"):
        raise UsageError(f"--cgroup-parent {text}: `..` leads out of the hierarchy")
    return text


def _security(items: list[str]) -> tuple[str, bool]:
    seccomp, no_new_privileges = "default", False
    for item in items:
        name, _, value = item.replace(":", "=", 1).partition("=")
        if name == "seccomp" and value:
            seccomp = _policy(value)
        elif name == "no-new-privileges" and value in ("", "true", "false"):
            no_new_privileges = value != "false"
        elif (name, value) not in (("label", "disable"), ("apparmor", "unconfined")):  # that they are
            raise UsageError(f"--security-opt {item} is not known", hint="known are seccomp=… and no-new-privileges")
    return seccomp, no_new_privileges


def _policy(value: str) -> str:
    if value in ("default", "builtin", "unconfined"):
        return value.replace("builtin", "default")
    from buildah_py.sandbox.seccomp_profile import read_profile

    return read_profile(value)


def _ulimit(text: str) -> tuple[str, int, int]:
    name, _, values = text.partition("=")
    soft, _, hard = values.partition(":")
    import resource

    known = sorted(word.removeprefix("RLIMIT_").lower() for word in dir(resource) if word.startswith("RLIMIT_"))
    if name not in known:
        raise UsageError(f"--ulimit {text}: there is no limit {name}", hint=f"known are {', '.join(known)}")
    try:
        numbers = (-1 if soft == "unlimited" else int(soft), -1 if hard == "unlimited" else int(hard or soft))
    except ValueError:
        raise UsageError(f"--ulimit {text}: write it as NAME=SOFT[:HARD]") from None
    if max(numbers) >= 1 << 63:
        raise UsageError(f"--ulimit {text}: no limit is so high", hint="write unlimited")
    if min(numbers) < -1 or (numbers[1] != -1 and not 0 <= numbers[0] <= numbers[1]):
        raise UsageError(f"--ulimit {text}: the soft limit is above the hard one, or negative")
    return name, *numbers


def _device(text: str) -> tuple[str, str]:
    import stat

    source, target, mode = _pair(text, "--device")
    if not mode and target and not target.startswith("/"):  # PATH:rwm
        target, mode = source, target
    if not target.startswith("/") or not set(mode) <= set("rwm"):
        raise UsageError(f"--device {text}: write it as PATH[:TARGET][:rwm], TARGET an absolute path")
    if mode and not set("rw") <= set(mode):
        raise UsageError(f"--device {text}: a device is given for reading and writing", hint="leave the mode out")
    kind = os.stat(source).st_mode
    if not (stat.S_ISCHR(kind) or stat.S_ISBLK(kind) or stat.S_ISDIR(kind)):
        raise UsageError(f"--device {text}: {source} is not a device", hint="--volume is for files")
    return source, target


def _pair(text: str, option: str) -> tuple[str, str, str]:
    source, _, rest = text.partition(":")
    target, _, mode = rest.partition(":")
    if not source.startswith("/"):
        source = os.path.abspath(source)
    if not os.path.exists(source):
        raise UsageError(f"{option} {text}: {source} does not exist")
    return source, target or source, mode


def volume(text: str) -> tuple[str, str, bool]:
    """Read a value of --volume: path, target, whether it is read-only. Raises UsageError."""
    source, target, mode = _pair(text, "--volume")
    modes = set(filter(None, mode.split(",")))
    if ":" not in text or not target.startswith("/"):
        raise UsageError(f"--volume {text}: write it as DIR:TARGET[:ro], TARGET an absolute path")
    if not modes <= {"ro", "rw", "z", "Z"}:
        raise UsageError(f"--volume {text}: `{mode}` is not known", hint="known are ro and rw")
    return source, target, "ro" in modes

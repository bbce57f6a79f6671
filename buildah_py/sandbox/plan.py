"""From a specification to what the container's first process is told: the mounts in order, and plain data."""

from __future__ import annotations

import resource
from typing import TYPE_CHECKING, Any

from buildah_py.errors import SandboxError
from buildah_py.image.config import DEFAULT_PATH
from buildah_py.sandbox import capabilities, spec
from buildah_py.sandbox.operations import (
    BindMount,
    CgroupMount,
    DeviceTree,
    Mask,
    Operation,
    OverlayMount,
    ProcMount,
    ReadOnlyPaths,
    StubFile,
    SysMount,
)
from buildah_py.sandbox.resolver import hosts_file, resolver_file

if TYPE_CHECKING:
    from buildah_py.sandbox.spec import ContainerSpec, ObservedLayers

MASKED = (
    "/proc/acpi",
    "/proc/asound",
    "/proc/interrupts",
    "/proc/kcore",
    "/proc/keys",
    "/proc/latency_stats",
    "/proc/sched_debug",
    "/proc/scsi",
    "/proc/timer_list",
    "/proc/timer_stats",
    "/sys/devices/virtual/powercap",
    "/sys/firmware",
)
READ_ONLY = ("/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger")
_HOSTNAME_BYTES = 64
_NESTED = {"full": "never", "nested": "always"}
"""Whether a container does with the /proc that there is, by its isolation: see `Root.nested`."""
_CHANGES_NETWORK = capabilities.mask(("NET_ADMIN", "SYS_ADMIN", "SYS_MODULE", "SYS_PTRACE", "SYS_RAWIO", "BPF"))


def mount_plan(container: ContainerSpec) -> list[Operation]:
    """List all mounts in the order in which they have to be made."""
    insecure = container.security == "insecure"
    plan: list[Operation] = [
        ProcMount(),
        SysMount(readonly=not insecure),
        CgroupMount(readonly=not insecure),
        DeviceTree(shm_size=container.shm_size, console=container.tty),
    ]
    if not insecure:
        plan += [Mask(MASKED), ReadOnlyPaths(READ_ONLY)]
    plan += sorted(container.mounts, key=lambda operation: _depth(operation.target))
    return plan


def _depth(target: str) -> int:
    return sum(1 for name in target.split("/") if name)


def changes_network(description: dict[str, Any]) -> bool:
    """Tell whether a container that is so described may change what a network consists of."""
    return bool(description["capabilities"] & _CHANGES_NETWORK)


def describe(container: ContainerSpec) -> list[str]:
    """Say what is done to make the container and in it, one line for each thing; contents and values are not shown."""
    return [
        f"overlay / of {len(container.lowers)} layers, init layer {container.init}, upper {container.upper}",
        *(operation.describe() for operation in mount_plan(container)),
        f"network {container.network}",
        f"user {container.user or 'root'}, working directory {container.cwd}",
        f"execute {' '.join(container.argv)}",
    ]


def check(container: ContainerSpec) -> None:
    """Refuse what makes no sense or is not known. Raises SandboxError."""
    if container.network not in spec.NETWORKS:
        raise SandboxError(f"unknown network mode {container.network!r}", hint=f"one of {', '.join(spec.NETWORKS)}")
    if container.security not in spec.SECURITIES:
        raise SandboxError(f"unknown security mode {container.security!r}", hint=f"one of {', '.join(spec.SECURITIES)}")
    if container.isolation not in spec.ISOLATIONS:
        raise SandboxError(f"unknown isolation {container.isolation!r}", hint=f"one of {', '.join(spec.ISOLATIONS)}")
    if container.seccomp not in {"default", "unconfined"} and not container.seccomp.lstrip().startswith("{"):
        raise SandboxError(f"unknown seccomp policy {container.seccomp!r}", hint="one of default, unconfined")
    if not container.argv:
        raise SandboxError("there is no command to run")
    if not container.cwd.startswith("/"):
        raise SandboxError(f"the working directory {container.cwd!r} is not absolute")
    for text in (*container.argv, *container.env, container.cwd, container.user, container.hostname):
        if "\0" in text:
            raise SandboxError(f"{text!r} holds a null byte, which no argument, variable or path can")
    if not 0 < len(container.hostname) <= _HOSTNAME_BYTES or "/" in container.hostname or "\n" in container.hostname:
        raise SandboxError(f"{container.hostname!r} cannot be a host name")
    for operation in container.mounts:
        names = [name for name in operation.target.split("/") if name]
        if not operation.target.startswith("/") or not names or ".." in names:
            raise SandboxError(f"mount target {operation.target!r} has to be an absolute path below the root")
        if names[0] in {"proc", "sys"} or names == ["dev"]:
            raise SandboxError(
                f"nothing can be mounted on {operation.target}", hint="/proc, /sys and /dev are the container's own"
            )


def check_plain(container: ContainerSpec) -> None:
    """Refuse what takes a namespace, a mount or a filter, where a command is to do without. Raises SandboxError."""
    refused = {
        "--network=none": container.network == "none",
        "--userns": bool(container.uid_map),
        "--read-only": container.readonly,
        "--security-opt seccomp=FILE without no-new-privileges": container.seccomp not in {"default", "unconfined"}
        and not container.no_new_privileges,
        "--device": any(isinstance(one, BindMount) and one.devices for one in container.mounts),
    }
    for what, is_asked in refused.items():
        if is_asked:
            raise SandboxError(
                f"{what} cannot be had with --isolation={container.isolation}, without namespaces and mounts",
                hint="`pybuild doctor` tells whether this machine allows more",
            )


def without_effect(container: ContainerSpec, has: int) -> list[str]:
    """Say what is asked for and cannot be had without a container; the builder has the capabilities `has`."""
    found = []
    if container.security == "insecure":
        found.append("--security=insecure: the command has the rights of the container around, and no more")
    else:
        names = [
            f"CAP_{name.upper().removeprefix('CAP_')}" for name in container.cap_add if capabilities.mask([name]) & ~has
        ]
        if names:
            found.append(f"--cap-add: {', '.join(names)} cannot be had, as the container around has no such capability")
    if container.shm_size != spec.SHM_SIZE:
        found.append("--shm-size has no effect: /dev/shm is that of the container around")
    return found


def capability_mask(container: ContainerSpec) -> int:
    """Give the capabilities that the command gets: the defaults, what is added, minus what is dropped."""
    try:
        if container.security == "insecure":
            return capabilities.ALL & ~capabilities.mask(container.cap_drop)
        everything = "ALL" in {name.upper().removeprefix("CAP_") for name in container.cap_drop}
        start = 0 if everything else capabilities.DEFAULT
        dropped = capabilities.mask(name for name in container.cap_drop if not everything or name.upper() != "ALL")
        if everything:
            return capabilities.mask(container.cap_add)
        return (start | capabilities.mask(container.cap_add)) & ~dropped
    except ValueError as error:
        raise SandboxError(str(error), hint="see capabilities(7) for the names") from None


# Limits of a command, whatever limits its caller has: no core files in layers, enough files for large builds.
_UNLIMITED = -1
_RLIMITS = {
    "RLIMIT_AS": (_UNLIMITED, _UNLIMITED),
    "RLIMIT_CORE": (0, _UNLIMITED),
    "RLIMIT_CPU": (_UNLIMITED, _UNLIMITED),
    "RLIMIT_DATA": (_UNLIMITED, _UNLIMITED),
    "RLIMIT_FSIZE": (_UNLIMITED, _UNLIMITED),
    "RLIMIT_MEMLOCK": (8 << 20, 8 << 20),
    "RLIMIT_MSGQUEUE": (819200, 819200),
    "RLIMIT_NICE": (0, 0),
    "RLIMIT_NOFILE": (65536, 1 << 20),
    "RLIMIT_NPROC": (_UNLIMITED, _UNLIMITED),
    "RLIMIT_RSS": (_UNLIMITED, _UNLIMITED),
    "RLIMIT_RTPRIO": (0, 0),
    "RLIMIT_STACK": (8 << 20, _UNLIMITED),
}


def rlimits(container: ContainerSpec) -> tuple[tuple[str, int, int], ...]:
    """Give the resource limits by the names of the `resource` module."""
    found = []
    for name, soft, hard in container.rlimits:
        known = f"RLIMIT_{name.upper()}"
        if not hasattr(resource, known):
            raise SandboxError(f"unknown resource limit {name!r}", hint="for example nofile, nproc, core, memlock")
        found.append((known, soft, hard))
    return tuple(found)


def _profile(container: ContainerSpec) -> bytes:
    """Give the filter of a profile of its own; the default one is the helper's to make."""
    if container.seccomp in {"default", "unconfined"} or container.security == "insecure":
        return b""
    from buildah_py.sandbox.seccomp_profile import compile_profile

    return compile_profile(container.seccomp, capability_mask(container))


def _environment(env: tuple[str, ...]) -> tuple[str, ...]:
    """Add what every process has: PATH. HOME depends on the user, whom the image tells."""
    has_path = any(entry.partition("=")[0] == "PATH" for entry in env)
    return env if has_path else (*env, f"PATH={DEFAULT_PATH}")


def description(
    container: ContainerSpec, observed: ObservedLayers | None = None, *, unprivileged: bool, single_id: bool
) -> tuple[dict[str, Any], list[int]]:
    """Give what is sent to the helper, and the descriptors that its bind mounts count from 0."""
    operations = []
    descriptors: list[int] = []
    shown = dict(observed.mounts) if observed is not None else {}
    for operation in mount_plan(container):
        if isinstance(operation, BindMount) and isinstance(operation.source, int):
            descriptors.append(operation.source)
            kind, _, *rest = operation.wire()
            operations.append((kind, len(descriptors) - 1, *rest))
        elif isinstance(operation, OverlayMount) and operation.target in shown:
            kind, _, *rest = operation.wire()
            operations.append((kind, (shown[operation.target],), *rest))
        else:
            operations.append(operation.wire())
    host = container.network == "host"
    files = (
        ("/etc/hosts", hosts_file(container.hostname, container.add_hosts)),
        ("/etc/resolv.conf", resolver_file(container.dns, container.dns_search, container.dns_options, host=host)),
    )
    operations.append(StubFile("/etc/hostname", f"{container.hostname}\n".encode()).wire())
    return {
        "operations": tuple(operations),
        "files": files,
        "lowers": container.lowers,
        "below": {},
        "observed": None
        if observed is None
        else (observed.lowers, tuple(map(tuple, observed.slots)), observed.place, observed.most, observed.attributes),
        "upper": container.upper,
        "work": container.work,
        "init": container.init,
        "argv": container.argv,
        "env": _environment(container.env),
        "cwd": container.cwd,
        "user": container.user,
        "hostname": container.hostname,
        "id_maps": (container.uid_map, container.gid_map),
        "network": container.network,
        "tty": container.tty,
        "readonly": container.readonly,
        "reaper": container.reaper,
        "joinable": container.joinable,
        "umask": container.umask,
        "capabilities": capability_mask(container),
        "seccomp": _profile(container),
        "isolation": container.isolation,
        "nested": _NESTED.get(container.isolation, "refused"),
        "writable": "overlay",
        "no_new_privileges": container.no_new_privileges,
        "rlimits": rlimits(container),
        "usual_rlimits": tuple((name, *values) for name, values in _RLIMITS.items()),
        "unprivileged": unprivileged,
        "devices": container.security == "insecure",
        "keep_groups": single_id,
        "plain": False,
        "root": "/",
        "keep_user": False,
    }, descriptors

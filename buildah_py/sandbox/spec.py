"""Specification of a container, and how it ended."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from buildah_py.frozen import dataclass, field

if TYPE_CHECKING:
    from buildah_py.sandbox.operations import Operation

NETWORKS = ("default", "none", "host")
SECURITIES = ("sandbox", "insecure")
SHM_SIZE = 64 << 20
"""Bytes of /dev/shm where nobody says."""
ISOLATIONS = ("container", "full", "nested", "chroot", "in-place", "proot")


@dataclass(kw_only=True, frozen=True, slots=True)
class ResourceLimits:
    """Resources that a container may use; 0 is no limit. Bytes, CPUs (1.5 is one and a half), processes."""

    memory: int = 0
    memory_swap: int = 0
    """Memory and swap together, as docker counts; -1 for swap without limit."""
    cpus: float = 0
    cpu_shares: int = 0
    cpuset_cpus: str = ""
    pids: int = 0
    cgroup_parent: str = ""
    """The control group below which the container's is made; pybuild's own, where there is none."""


class ShownLayer(NamedTuple):
    """A layer of which is noted what a container learns: its directories, top-most first.

    Of `gone` the lower ones show nothing.
    """

    directories: tuple[str, ...]
    gone: tuple[str, ...] = ()


class ObservedLayers(NamedTuple):
    """What is observed of a container: the lowers of its root once more, where a number stands for one of `slots`.

    `mounts` are targets of overlay mounts that show the slots with these numbers. `place` is an empty directory; after
    `most` requests, where that is not 0, nothing is noted any more. `attributes` tells whether a file of the slots may
    have extended attributes.
    What was learned is written to the open file `report` as a marshalled tuple of a dictionary for each slot, of flags
    (`observer`) by paths, as bytes; nothing where not all was noted.
    """

    lowers: tuple[str | int, ...]
    slots: tuple[ShownLayer, ...]
    place: str
    report: int
    mounts: tuple[tuple[str, int], ...] = ()
    most: int = 0
    attributes: bool = True


@dataclass(kw_only=True, frozen=True, slots=True)
class ContainerSpec:
    """Everything about one run. Paths of layers are absolute paths of directories on the host.

    `init` is an empty directory, filled as the init layer; `upper` and `work` lie on one file system. The root
    directory of `upper` has the attributes that "/" shall have.
    """

    lowers: tuple[str, ...]
    """Top-most first; none for a container from scratch."""
    upper: str
    work: str
    init: str
    argv: tuple[str, ...]
    env: tuple[str, ...] = ()
    cwd: str = "/"
    user: str = ""
    """`name|id[:group|id]`, resolved in the container's own /etc/passwd and /etc/group."""
    hostname: str = "buildkitsandbox"
    network: str = "default"
    security: str = "sandbox"
    mounts: tuple[Operation, ...] = ()
    add_hosts: tuple[tuple[str, str], ...] = ()
    """Pairs of host name and address."""
    dns: tuple[str, ...] = ()
    dns_search: tuple[str, ...] = ()
    dns_options: tuple[str, ...] = ()
    tty: bool = False
    readonly: bool = False
    """The root cannot be written to."""
    shm_size: int = SHM_SIZE
    umask: int = 0o022
    cap_add: tuple[str, ...] = ()
    cap_drop: tuple[str, ...] = ()
    no_new_privileges: bool = False
    seccomp: str = "default"
    """`default`, `unconfined`, or the text of a profile in docker's JSON form."""
    isolation: str = "container"
    """A rung of `place.py`, or `container` for the highest that there is. `chroot` does with less: no root is pivoted,
    and the default network is the host's.
    """
    uid_map: tuple[tuple[int, int, int], ...] = ()
    """First id in the container, first id on the machine, how many; with any, the container has a user namespace."""
    gid_map: tuple[tuple[int, int, int], ...] = ()
    rlimits: tuple[tuple[str, int, int], ...] = ()
    """Name as in `ulimit` ("nofile"), soft and hard limit; -1 for none."""
    limits: ResourceLimits = field(default_factory=ResourceLimits)
    reaper: bool = True
    """Process 1 is ours, and ends orphans and what the command leaves; else the command itself is process 1."""
    joinable: bool = False
    """Further commands may be started in it, and it is told when the command is executed."""
    name: str = "run"
    """Name in the log of --debug: the number of its step."""
    secrets: tuple[str, ...] = ()
    """Names of variables and targets of files whose values are written down nowhere."""


@dataclass(kw_only=True, frozen=True, slots=True)
class ExitStatus:
    """How a command ended: `status` as a shell gives it, the signal that ended it, what it used with its children."""

    status: int
    signal: int | None
    user_seconds: float
    system_seconds: float
    max_rss: int
    """Bytes of the largest of its processes."""
    peak_memory: int = 0
    """Bytes of all of them together at the worst moment; known only where memory was limited."""
    out_of_memory: bool = False
    """The kernel killed one of them because of the limit."""

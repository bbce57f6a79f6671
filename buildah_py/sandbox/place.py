"""Abilities of the place that this runs in, as to containers, and what refuses the rest: found out by trying.

There are four rungs. On the full one a container has all that docs/sandbox.md tells; on the nested one, in a container
of somebody else, it does without some of it. The full way is tried first, each time, and costs nothing more where it is
allowed; nothing here is asked before something was refused, but by `pybuild doctor`. In place there is no container: a
command runs in the root that is there, which has been given the image's files; below PRoot it but seems to have one.
"""

from __future__ import annotations

import errno
import os
from typing import Final, NamedTuple

from buildah_py.linux import mounts, namespaces
from buildah_py.sandbox.rungs import FULL, IN_PLACE, NESTED
from buildah_py.sandbox.writable import TRYING


class Shortfall(NamedTuple):
    """Something that containers here have to do without: what was refused, what there is instead, what allows more."""

    what: str
    instead: str
    remedy: str

    def __str__(self) -> str:
        return f"{self.what}: {self.instead}; {self.remedy} allows more"


_VOLUME: Final = "a volume for the state directory (an emptyDir of the pod)"
BOUND_PROC: Final = Shortfall(
    "no container can have a /proc of its own, as parts of the one around it are covered",
    "steps see that, read-only, without what runs now, and are in a user namespace each",
    "`procMount: Unmasked` of a pod",
)
FORCED_PROC: Final = Shortfall(
    "--isolation=nested",
    "steps see the /proc of who starts them, read-only, without what runs now, and are in a user namespace each",
    "--isolation=full",
)

ROOT_AROUND: Final = Shortfall(
    f"--isolation={IN_PLACE}",
    "steps run in the root around, with its processes, devices and network; one that is root reaches whatever root "
    "reaches there: state, credentials and keys of this program too",
    "a pod in which user namespaces are allowed (--isolation=nested)",
)

NO_ROOT: Final = Shortfall(
    "neither namespaces nor mounts are used here",
    "steps run below proot, slowly, as the user of this program, with the processes and the network around: nothing "
    "keeps a malicious one from what that user reaches, state and credentials of this program too",
    "a pod in which user namespaces are allowed (--isolation=nested)",
)
ELSEWHERE: Final = f", --isolation={IN_PLACE} does without, in the image that `pybuild executor-image` makes"


def no_overlay(kind: str, why: str, lacking: str) -> Shortfall:
    """Describe the want of overlays: the kind of roots (see `writable.py`), the kernel's word, what else is missing."""
    what = f"no overlay can be written to where the state directory lies ({why})"
    if kind == "fuse":
        return Shortfall(what, "fuse-overlayfs makes the roots of steps writable, which is slower", _VOLUME)
    return Shortfall(what, f"each RUN works on a copy of all its files, as {lacking}", _VOLUME)


class Refusal(NamedTuple):
    """Who refuses something, and what changes that."""

    who: str
    remedy: str


_SETTINGS: Final = "/proc/sys"
_PROFILES: Final = ("/proc/self/attr/apparmor/current", "/proc/self/attr/current")


def _setting(name: str) -> str:
    try:
        with open(f"{_SETTINGS}/{name}", encoding="ascii") as file:
            return file.read().strip()
    except OSError:  # not every kernel has it
        return ""


def _profile() -> Refusal | None:
    """Give the profile of a security module that this process is under; None where it is under none."""
    for path in _PROFILES:
        try:
            with open(path, encoding="utf-8", errors="replace") as file:
                profile = file.read().strip("\0\n ")
        except OSError:  # no module has such a file
            continue
        if profile.endswith(("(enforce)", "(kill)")):
            line = "`appArmorProfile: {type: Unconfined}` of a pod's securityContext"
            return Refusal(f"AppArmor, by the profile {profile}", line)
        if profile.count(":") > 2:
            kind = profile.split(":")[2]
            return Refusal(f"SELinux, of the type {kind}", "`seLinuxOptions: {type: spc_t}` of a pod's securityContext")
    return None


_FILTER: Final = Refusal(
    "the container's filter of system calls (seccomp)",
    "`seccompProfile: {type: Unconfined}` of a pod's securityContext, or docker's --security-opt seccomp=unconfined",
)
_NAMESPACES: Final = "user.max_user_namespaces"


def who_refuses_namespaces() -> Refusal:
    """Find out who has refused a user namespace. Nothing is made: the calls that are tried are empty ones."""
    try:
        namespaces.unshare(0)  # which the kernel itself refuses nobody
    except OSError:
        return _FILTER
    if _setting("user/max_user_namespaces") == "0":
        return Refusal(f"the sysctl {_NAMESPACES}=0", f"as root on the machine: sysctl {_NAMESPACES}=15000")
    if _setting("kernel/unprivileged_userns_clone") == "0":
        name = "kernel.unprivileged_userns_clone"
        return Refusal(f"the sysctl {name}=0", f"as root on the machine: sysctl {name}=1")
    if _setting("kernel/apparmor_restrict_unprivileged_userns") == "1":
        name = "kernel.apparmor_restrict_unprivileged_userns"
        return Refusal(f"AppArmor, by the sysctl {name}=1", f"as root on the machine: sysctl {name}=0")
    return _profile() or Refusal(
        f"the kernel: this may be a chroot, or the sysctl {_NAMESPACES} is used up", f"see the sysctl {_NAMESPACES}"
    )


def who_refuses_tracing() -> Refusal:
    """Find out who has refused a program to trace its child, which it had executed for that: ptrace(2)."""
    name = "kernel.yama.ptrace_scope"
    scope = _setting(name.replace(".", "/"))
    if scope in ("2", "3"):
        return Refusal(f"the sysctl {name}={scope}", f"as root on the machine: sysctl {name}=1")
    return _FILTER if _is_filtered() else _profile() or Refusal("the kernel", "see its log (dmesg)")


def _is_filtered() -> bool:
    with open("/proc/self/status", encoding="utf-8", errors="replace") as file:
        return any(line.split() == ["Seccomp:", "2"] for line in file)


def who_refuses_mounts() -> Refusal:
    """Find out who has refused a mount to a process that has the capability for it."""
    try:
        mounts.umount2("/nonexistent/pybuild")  # a path is looked for before a right
    except OSError as error:
        if error.errno != errno.ENOENT:
            return _FILTER
    return _profile() or Refusal("the kernel", "see its log (dmesg)")


def hint(what: str, number: int, isolation: str) -> str:
    """Say what could be done about a container that could not be made; "" where this is not about its place.

    `what` was being done when the error `number` came.
    """
    if what.startswith("proc at") and number == errno.EPERM:
        rung = f", and --isolation={NESTED} does without" if isolation == FULL else ""
        why = "the kernel makes no new /proc where parts of the old one are covered"
        return f"{why}; {BOUND_PROC.remedy} allows it{rung}"
    if what == TRYING and isolation == FULL:
        return f"{_VOLUME} allows it, and --isolation={NESTED} does without"
    if number in {errno.EPERM, errno.EACCES} and not what.startswith(("setting limits", "working directory")):
        refusal = who_refuses_mounts()
        if refusal.who != "the kernel":
            return f"what refuses this is {refusal.who}; {refusal.remedy} allows it"
    return ""


def is_proc_covered() -> bool:
    """Tell whether something covers parts of /proc, so that a container may get to see this one."""
    with open("/proc/self/mountinfo", "rb") as file:
        places = [line.split(b" ", 5)[4] for line in file]
    return any(place.startswith(b"/proc/") and place != b"/proc/sys/fs/binfmt_misc" for place in places)


def existing(path: str) -> str:
    """Give the directory that a path lies in, or would lie in, of those that there are."""
    while not os.path.isdir(path):
        path = os.path.dirname(path)
    return path

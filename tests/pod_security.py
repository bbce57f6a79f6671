"""Kubernetes' Pod Security Standards for Linux (kubernetes.io/docs/concepts/security/pod-security-standards).

The controls are tables of fields and of the values that are allowed; `violations` reads them, and what has to be
noticed is made of the same tables (`faults`), from values that the page forbids.
"""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

BASELINE: Final = "baseline"
RESTRICTED: Final = "restricted"
CONTAINERS: Final = ("containers", "initContainers", "ephemeralContainers")
_ABSENT: Final = (None,)
_OFF: Final = (None, False)
_CAPABILITIES: Final = (
    "AUDIT_WRITE", "CHOWN", "DAC_OVERRIDE", "FOWNER", "FSETID", "KILL", "MKNOD", "NET_BIND_SERVICE", "SETFCAP",
    "SETGID", "SETPCAP", "SETUID", "SYS_CHROOT",
)  # fmt: skip
_SYSCTLS: Final = (
    "kernel.shm_rmid_forced", "net.ipv4.ip_local_port_range", "net.ipv4.ip_local_reserved_ports",
    "net.ipv4.ip_unprivileged_port_start", "net.ipv4.ping_group_range", "net.ipv4.tcp_fin_timeout",
    "net.ipv4.tcp_keepalive_intvl", "net.ipv4.tcp_keepalive_probes", "net.ipv4.tcp_keepalive_time",
    "net.ipv4.tcp_syncookies",
)  # fmt: skip
_VOLUMES: Final = (
    "configMap", "csi", "downwardAPI", "emptyDir", "ephemeral", "persistentVolumeClaim", "projected", "secret",
)  # fmt: skip
_PROFILES: Final = (None, "RuntimeDefault", "Localhost")
_APPARMOR: Final = "container.apparmor.security.beta.kubernetes.io/"


class Control(NamedTuple):
    """A rule about one field of a pod's spec: its path, in which `*` is each of a list, and `@` each kind of container.

    `allowed` are values; `bad` are some that are not, to try it with.
    """

    name: str
    policy: str
    path: str
    allowed: tuple[Any, ...]
    bad: tuple[Any, ...]


def _of_both(name: str, field: str, allowed: tuple[Any, ...], bad: tuple[Any, ...]) -> tuple[Control, ...]:
    """Give the rules about a field that a pod and its containers have."""
    return tuple(Control(name, BASELINE, f"{place}securityContext.{field}", allowed, bad) for place in ("", "@.*."))


CONTROLS: Final = (
    *_of_both("HostProcess", "windowsOptions.hostProcess", _OFF, (True,)),
    *(Control("Host Namespaces", BASELINE, one, _OFF, (True,)) for one in ("hostNetwork", "hostPID", "hostIPC")),
    Control("Privileged Containers", BASELINE, "@.*.securityContext.privileged", _OFF, (True,)),
    Control("Capabilities", BASELINE, "@.*.securityContext.capabilities.add.*", (None, *_CAPABILITIES),
            ("SYS_ADMIN", "NET_RAW", "SYS_PTRACE", "ALL")),
    Control("HostPath Volumes", BASELINE, "volumes.*.hostPath", _ABSENT, ({"path": "/"},)),
    Control("Host Ports", BASELINE, "@.*.ports.*.hostPort", (None, 0), (80,)),
    *(
        Control("Host Probes / Lifecycle Hooks", BASELINE, f"@.*.{where}.{how}.host", (None, ""), ("10.0.0.1",))
        for where in ("livenessProbe", "readinessProbe", "startupProbe", "lifecycle.postStart", "lifecycle.preStop")
        for how in ("httpGet", "tcpSocket")
    ),
    *_of_both("AppArmor", "appArmorProfile.type", _PROFILES, ("Unconfined",)),
    *_of_both("SELinux", "seLinuxOptions.type", (None, "", "container_t", "container_init_t", "container_kvm_t",
                                                 "container_engine_t"), ("spc_t",)),
    *_of_both("SELinux", "seLinuxOptions.user", (None, ""), ("system_u",)),
    *_of_both("SELinux", "seLinuxOptions.role", (None, ""), ("system_r",)),
    Control("/proc Mount Type", BASELINE, "@.*.securityContext.procMount", (None, "Default"), ("Unmasked",)),
    *_of_both("Seccomp", "seccompProfile.type", _PROFILES, ("Unconfined",)),
    Control("Sysctls", BASELINE, "securityContext.sysctls.*.name", (None, *_SYSCTLS), ("kernel.msgmax", "net.core.x")),
    Control("Privilege Escalation", RESTRICTED, "@.*.securityContext.allowPrivilegeEscalation", (False,), (True, None)),
    Control("Running as Non-root", RESTRICTED, "securityContext.runAsNonRoot", (True, None), (False,)),
    Control("Running as Non-root", RESTRICTED, "@.*.securityContext.runAsNonRoot", (True, None), (False,)),
    Control("Capabilities", RESTRICTED, "@.*.securityContext.capabilities.add.*", (None, "NET_BIND_SERVICE"),
            ("CHOWN", "SETUID")),
)  # fmt: skip
"""Those that look at one field. The rest are functions below."""


class Violation(NamedTuple):
    """A control that a pod does not pass, and the field."""

    control: str
    field: str


def pods_of(document: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """Give the pods that a document makes, each with metadata and spec."""
    if document["kind"] == "Pod":
        yield document
    elif document["kind"] == "CronJob":
        yield document["spec"]["jobTemplate"]["spec"]["template"]
    elif "template" in document.get("spec", {}):
        yield document["spec"]["template"]


def violations(pod: Mapping[str, Any], policy: str) -> list[Violation]:
    """List what keeps a pod from passing a policy; "restricted" has all of "baseline"."""
    spec = pod["spec"]
    found = [
        Violation(control.name, field)
        for control in CONTROLS
        if policy == RESTRICTED or control.policy == BASELINE
        for field, value in _values(spec, control.path)
        if value not in control.allowed
        or (isinstance(value, bool) and not any(value is one for one in control.allowed))
    ]
    for name, value in (pod.get("metadata", {}).get("annotations") or {}).items():
        if name.startswith(_APPARMOR) and value != "runtime/default" and not value.startswith("localhost/"):
            found.append(Violation("AppArmor", f"metadata.annotations.{name}"))
    if policy == RESTRICTED:
        found += [one for rule in _RULES for one in rule(spec)]
    return found


def _values(value: Any, path: str, at: str = "") -> Iterator[tuple[str, Any]]:
    """Give all fields that a path stands for, with their values; None for one that is not there."""
    head, _, rest = path.partition(".")
    if head == "@":
        for kind in CONTAINERS:
            yield from _values(value, f"{kind}.{rest}", at)
    elif head == "*":
        for number, one in enumerate(value or ()):
            yield from _values(one, rest, f"{at}[{number}]") if rest else iter([(f"{at}[{number}]", one)])
    else:
        inner = (value or {}).get(head)
        place = f"{at}.{head}".lstrip(".")
        yield from _values(inner, rest, place) if rest else iter([(place, inner)])


def _containers(spec: Mapping[str, Any]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Give the security contexts of all containers."""
    yield from ((place, value or {}) for place, value in _values(spec, "@.*.securityContext"))


def _volumes(spec: Mapping[str, Any]) -> Iterator[Violation]:
    for number, volume in enumerate(spec.get("volumes") or ()):
        if not any(volume.get(kind) is not None for kind in _VOLUMES):
            yield Violation("Volume Types", f"volumes[{number}]")


def _non_root(spec: Mapping[str, Any]) -> Iterator[Violation]:
    """See that a container is told to be nobody that is root, by itself or by its pod."""
    own = (spec.get("securityContext") or {}).get("runAsNonRoot")
    for place, context in _containers(spec):
        if own is None and context.get("runAsNonRoot") is None:
            yield Violation("Running as Non-root", f"{place}.runAsNonRoot")


def _user(spec: Mapping[str, Any]) -> Iterator[Violation]:
    for place, context in (("securityContext", spec.get("securityContext") or {}), *_containers(spec)):
        if context.get("runAsUser") == 0:
            yield Violation("Running as Non-root user", f"{place}.runAsUser")


def _seccomp(spec: Mapping[str, Any]) -> Iterator[Violation]:
    """See that a profile is named for a container, by itself or by its pod; which one, baseline sees to."""
    own = ((spec.get("securityContext") or {}).get("seccompProfile") or {}).get("type")
    for place, context in _containers(spec):
        if own is None and (context.get("seccompProfile") or {}).get("type") is None:
            yield Violation("Seccomp", f"{place}.seccompProfile.type")


def _dropped(spec: Mapping[str, Any]) -> Iterator[Violation]:
    for place, context in _containers(spec):
        if "ALL" not in ((context.get("capabilities") or {}).get("drop") or ()):
            yield Violation("Capabilities", f"{place}.capabilities.drop")


_RULES: Final[tuple[Callable[[Mapping[str, Any]], Iterator[Violation]], ...]] = (
    _volumes,
    _non_root,
    _user,
    _seccomp,
    _dropped,
)


class Fault(NamedTuple):
    """A way to break one control: where a value goes in a pod (None: the field goes away), and who has to notice."""

    control: str
    policy: str
    path: str
    value: Any


def faults() -> Iterator[Fault]:
    """Give a fault for each field of each control, in each kind of container, with each value that is bad."""
    for control in CONTROLS:
        for path in _kinds(control.path):
            yield from (Fault(control.name, control.policy, path, value) for value in control.bad)
    for kind in ("hostPath", "nfs", "gitRepo", "iscsi", "awsElasticBlockStore"):
        yield Fault("Volume Types", RESTRICTED, "volumes.*", {"name": "x", kind: {}})
    for path in _kinds("@.*.securityContext"):
        yield Fault("Capabilities", RESTRICTED, f"{path}.capabilities.drop", None)
        yield Fault("Capabilities", RESTRICTED, f"{path}.capabilities.drop", ["CHOWN"])
        yield Fault("Running as Non-root user", RESTRICTED, f"{path}.runAsUser", 0)
    yield Fault("Running as Non-root user", RESTRICTED, "securityContext.runAsUser", 0)
    yield Fault("Running as Non-root", RESTRICTED, "securityContext.runAsNonRoot", None)
    yield Fault("Seccomp", RESTRICTED, "securityContext.seccompProfile", None)


def broken(pod: Mapping[str, Any], fault: Fault) -> dict[str, Any]:
    """Return a pod with a fault; a list gets one more item, or its first is changed."""
    made: dict[str, Any] = copy.deepcopy(dict(pod))
    value: Any = made["spec"]
    *heads, last = fault.path.split(".")
    for head, after in zip(heads, [*heads, last][1:], strict=True):
        if head == "*":
            if not value:
                value.append({"name": "x", "image": "x"})
            value = value[0]
        else:
            if value.get(head) is None:
                value[head] = [] if after == "*" else {}
            value = value[head]
    if last == "*":
        value.append(fault.value)
    elif fault.value is None:
        value.pop(last, None)
    else:
        value[last] = fault.value
    return made


def _kinds(path: str) -> list[str]:
    return [path.replace("@", kind) for kind in CONTAINERS] if "@" in path else [path]

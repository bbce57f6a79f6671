"""Options of containers: for RUN steps and for `pybuild run` alike."""

from __future__ import annotations

from typing import TYPE_CHECKING

from buildah_py import debug
from buildah_py.frozen import dataclass, replace

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from buildah_py.sandbox import ContainerSpec
    from buildah_py.sandbox.spec import ResourceLimits
    from buildah_py.sandbox.trust import Trust
    from buildah_py.store import Store


@dataclass(frozen=True, slots=True, kw_only=True)
class ContainerOptions:
    """Names, values and defaults are those of `sandbox.ContainerSpec`.

    `devices` are (path, target), `volumes` (path, target, read-only); `ca_bundle` is a file, `host` or "".
    """

    add_hosts: tuple[tuple[str, str], ...] = ()
    dns: tuple[str, ...] = ()
    dns_search: tuple[str, ...] = ()
    dns_options: tuple[str, ...] = ()
    hostname: str = ""
    cap_add: tuple[str, ...] = ()
    cap_drop: tuple[str, ...] = ()
    seccomp: str = "default"
    isolation: str = "container"
    no_new_privileges: bool = False
    uid_map: tuple[tuple[int, int, int], ...] = ()
    gid_map: tuple[tuple[int, int, int], ...] = ()
    rlimits: tuple[tuple[str, int, int], ...] = ()
    shm_size: int = 64 << 20
    limits: ResourceLimits | None = None
    cgroup_parent: str = ""
    devices: tuple[tuple[str, str], ...] = ()
    volumes: tuple[tuple[str, str, bool], ...] = ()
    ca_bundle: str = ""

    def key(self) -> dict[str, object]:
        """Return the options that can change a step's result, as plain data; empty for the defaults.

        Of hosts the names only, as their addresses are like the network behind them; no resource limits. A user
        namespace counts as one of the machine's own does: see engine/restrictions.py.
        """
        seen: dict[str, object] = {
            "hosts": sorted(name for name, _ in self.add_hosts),
            "cap_add": sorted(self.cap_add),
            "cap_drop": sorted(self.cap_drop),
            "seccomp": self._policy(),
            "no_new_privileges": self.no_new_privileges,
            "devices": sorted(target for _, target in self.devices),
            "volumes": sorted(target for _, target, _ in self.volumes),
        }
        return {name: value for name, value in seen.items() if value}

    def _policy(self) -> str:
        if not self.seccomp.lstrip().startswith("{"):
            return "" if self.seccomp == "default" else self.seccomp
        from hashlib import sha256

        return sha256(self.seccomp.encode()).hexdigest()

    def shaper(self, environ: Mapping[str, str], store: Store) -> Callable[[ContainerSpec], ContainerSpec]:
        """Give what makes of a container one that these options want, with the certificates for it; logged by `store`.

        Raises NotFound where these are not there.
        """
        trust = self._trust(environ)
        shape = self._apply if trust is None else lambda spec: self._apply(trust.lent_to(spec))
        if not debug.is_on():
            return shape
        from buildah_py.engine.plan_log import logged

        return logged(store, shape)

    def _apply(self, spec: ContainerSpec) -> ContainerSpec:
        from buildah_py.sandbox import BindMount
        from buildah_py.sandbox.spec import ResourceLimits

        limits = self.limits or ResourceLimits()

        mounts = [BindMount(path, target, readonly=readonly, recursive=True) for path, target, readonly in self.volumes]
        mounts += [
            BindMount(path, target, readonly=False, recursive=True, devices=True) for path, target in self.devices
        ]
        return replace(
            spec,
            add_hosts=self.add_hosts,
            dns=self.dns,
            dns_search=self.dns_search,
            dns_options=self.dns_options,
            hostname=self.hostname or spec.hostname,
            cap_add=self.cap_add,
            cap_drop=self.cap_drop,
            seccomp=self.seccomp,
            isolation=self.isolation,
            uid_map=self.uid_map,
            gid_map=self.gid_map,
            no_new_privileges=self.no_new_privileges,
            rlimits=self.rlimits,
            shm_size=self.shm_size,
            limits=replace(limits, cgroup_parent=self.cgroup_parent or limits.cgroup_parent),
            mounts=(*spec.mounts, *mounts),
        )

    def _trust(self, environ: Mapping[str, str]) -> Trust | None:
        """Read the certificates that are asked for."""
        bundle = self.bundle(environ)
        if not bundle:
            return None
        from buildah_py.sandbox.trust import read_trust

        return read_trust(bundle, environ)

    def bundle(self, environ: Mapping[str, str]) -> str:
        """Give what names the certificates: what was asked for, or else the environment or the configuration."""
        bundle = self.ca_bundle or environ.get("PYBUILD_CA_BUNDLE")
        if bundle is None:
            from buildah_py.api.config import read_config

            bundle = read_config(environ).get("ca-bundle")
        return bundle or ""

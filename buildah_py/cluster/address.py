"""The scheduler that `--cluster` names, and how it is reached: nothing is connected here, and Dask is not imported."""

from __future__ import annotations

import ipaddress
from typing import TYPE_CHECKING, Final, NamedTuple
from urllib.parse import urlsplit

from buildah_py.errors import NotFound, UsageError
from buildah_py.suggest import did_you_mean

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

SCHEMES: Final = ("tls", "tcp")
ROOT: Final = "root"
WORKERS: Final = {ROOT: "", "userns": "in a user namespace"}
"""Kinds of workers, and what keys of RUN say of each: root that may do all, or root of a user namespace."""
_HINT: Final = "write it as tls://HOST:PORT"


class ClusterOptions(NamedTuple):
    """A scheduler's `address`, the files of TLS ("" for what Dask's own configuration names), and resources.

    `resources` are amounts by the resource's name and the target's, "" for all targets. `restrictions` are those under
    which workers execute steps, as keys have them: this machine executes none.
    """

    address: str
    ca: str = ""
    certificate: str = ""
    key: str = ""
    resources: Mapping[tuple[str, str], float] = {}
    restrictions: str = ""

    def needs(self, target: str) -> dict[str, float]:
        """Return what a step of a target takes of a worker's resources."""
        found = {name: amount for (owner, name), amount in self.resources.items() if not owner}
        return found | {name: amount for (owner, name), amount in self.resources.items() if owner == target}


def read_options(
    address: str,
    *,
    ca: str = "",
    certificate: str = "",
    key: str = "",
    resources: Sequence[str] = (),
    workers: str = ROOT,
) -> ClusterOptions:
    """Read the options of the command line. Raises UsageError, NotFound for files of TLS that are not there."""
    _check_address(address)
    if bool(certificate) != bool(key):
        raise UsageError("--cluster-cert and --cluster-key belong together", hint="give both, or neither")
    given = {"--cluster-ca": ca, "--cluster-cert": certificate, "--cluster-key": key}
    for option, path in given.items():
        if path and not address.startswith("tls:"):
            raise UsageError(f"{option} is for TLS, and the scheduler is {address}", hint=_HINT)
        if path:
            _check_file(option, path)
    if workers not in WORKERS:
        raise UsageError(f"--cluster-workers={workers} is not known", hint=f"known are {' and '.join(WORKERS)}")
    return ClusterOptions(address, ca, certificate, key, dict(map(_resource, resources)), WORKERS[workers])


def _check_address(address: str) -> None:
    parts = urlsplit(address)
    if parts.scheme not in SCHEMES:
        hint = did_you_mean(parts.scheme, SCHEMES) or _HINT
        raise UsageError(f"--cluster={address}: not the address of a scheduler", hint=hint)
    try:
        host, port = parts.hostname, parts.port
    except ValueError:
        host, port = None, None
    if not host or not port or parts.path.strip("/") or parts.query or parts.username:
        raise UsageError(f"--cluster={address}: it has to name a host and a port", hint=_HINT)
    if parts.scheme == "tcp" and not _is_loopback(host):
        raise UsageError(
            f"--cluster={address}: without TLS whoever can reach the scheduler can run anything on its workers",
            hint=f"have Dask use TLS, and write tls://{parts.netloc}; tcp:// is for schedulers of this machine",
        )


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _check_file(option: str, path: str) -> None:
    try:
        with open(path, "rb"):
            pass
    except OSError as error:
        raise NotFound(f"{option}: {path} cannot be read: {error.strerror}") from error


def _resource(text: str) -> tuple[tuple[str, str], float]:
    name, equals, amount = text.partition("=")
    target, _, resource = name.rpartition(".")
    try:
        found = float(amount)
    except ValueError:
        found = 0.0
    if not equals or not resource or not 0 < found < float("inf"):
        raise UsageError(
            f"--cluster-resource {text}: it does not say how much of what",
            hint="write NAME=AMOUNT or TARGET.NAME=AMOUNT, with names as in `dask worker --resources`",
        )
    return (target, resource), found

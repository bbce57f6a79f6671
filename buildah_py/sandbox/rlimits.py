"""Resource limits of a container's processes, setrlimit(2)."""

from __future__ import annotations

import resource

from buildah_py.sandbox.refusal import RefusedError


def reset(limits: tuple[tuple[str, int, int], ...]) -> None:
    """Set limits of the caller's to the usual ones, or as near to these as this process may."""
    for name, soft, hard in limits:
        kind = getattr(resource, name)
        try:
            resource.setrlimit(kind, (soft, hard))
        except (ValueError, OSError):  # an ordinary user may not raise the hard limit
            most = resource.getrlimit(kind)[1]
            if most != resource.RLIM_INFINITY:
                hard = most if hard == resource.RLIM_INFINITY else min(hard, most)
                soft = most if soft == resource.RLIM_INFINITY else min(soft, most)
            resource.setrlimit(kind, (soft, hard))


def raise_hard(limits: tuple[tuple[str, int, int], ...]) -> None:
    """Allow the limits that were asked for, as is privileged; they are set last, for they may leave no descriptor."""
    for name, _, hard in limits:
        kind = getattr(resource, name)
        soft, most = resource.getrlimit(kind)
        if most != resource.RLIM_INFINITY and (hard == resource.RLIM_INFINITY or hard > most):
            set_limit(name, soft, hard)


def set_limit(name: str, soft: int, hard: int) -> None:
    """Set one. Raises RefusedError."""
    kind = getattr(resource, name)
    try:
        resource.setrlimit(kind, (soft, hard))
    except (ValueError, OSError) as error:  # the former is what Python makes of EPERM and EINVAL
        value, most = (
            "unlimited" if one == resource.RLIM_INFINITY else one for one in (hard, resource.getrlimit(kind)[1])
        )
        raise RefusedError(f"setting the limit {name} to {value}", f"{error}; it is {most} here") from None

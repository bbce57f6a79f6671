"""What a build may use to get at what is elsewhere: secrets, and whether others may lead it to this machine."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from buildah_py.layers.limits import DEFAULT_LIMITS, Limits

if TYPE_CHECKING:
    from collections.abc import Callable


DIGESTED = "scrypt:"
"""How the digest of a secret's value begins."""


class Reach(NamedTuple):
    """`secret` gives a secret's value by its id, None for one that was not given.

    With `local_redirects`, servers elsewhere may redirect to this machine or its link, and repositories there have
    submodules here. `agent` is the socket of the ssh agent that repositories are reached with, "" for none. Whatever is
    fetched ends early where `cancelled()`. `limits` bound what a source may bring: an archive, or what is fetched.
    """

    secret: Callable[[str], bytes | None] = lambda _: None
    local_redirects: bool = False
    agent: str = ""
    cancelled: Callable[[], bool] = lambda: False
    limits: Limits = DEFAULT_LIMITS


NOWHERE = Reach()

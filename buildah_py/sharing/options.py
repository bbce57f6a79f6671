"""Options of caches that are shared, and of cache mounts."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from buildah_py.errors import UsageError
from buildah_py.frozen import dataclass

if TYPE_CHECKING:
    from buildah_py.sharing.spec import CacheSpec


class Places(NamedTuple):
    """Places where caches go to, where they come from, and that are shared with builders at the same time."""

    to: tuple[CacheSpec, ...]
    from_: tuple[CacheSpec, ...]
    share: tuple[CacheSpec, ...]


@dataclass(frozen=True, slots=True)
class CacheOptions:
    """`to`, `from_`, `mounts` and `share` as `--cache-to`, `--cache-from`, `--cache-mount` and `--share` have them."""

    to: tuple[str, ...] = ()
    from_: tuple[str, ...] = ()
    mounts: tuple[str, ...] = ()
    share: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        """Whether anything was said."""
        return bool(self.is_shared or self.mounts)

    @property
    def is_shared(self) -> bool:
        """Whether a cache outside of the store is named."""
        return bool(self.to or self.from_ or self.share)

    def places(self) -> Places:
        """Name the places. Raises UsageError, also for malformed keys."""
        if not self.is_shared:
            return Places((), (), ())
        from buildah_py.sharing.spec import parse_from, parse_share, parse_to

        found = Places(
            tuple(map(parse_to, self.to)), tuple(map(parse_from, self.from_)), tuple(map(parse_share, self.share))
        )
        places = [place for some in found for place in some]
        if any(place.sign or place.verify for place in places):
            from buildah_py.sharing.signing import parse_public, public_key

            for place in places:
                if place.sign:
                    public_key(place.sign)
                for key in place.verify:
                    parse_public(key)
        return found

    def backed(self) -> dict[str, MountOption]:
        """Return the options of single cache mounts, by their ids. Raises UsageError."""
        return dict(map(_mount, self.mounts))


@dataclass(frozen=True, slots=True)
class MountOption:
    """A host directory that stands for a cache mount ("" for the store's own), and the most it may hold (0: any)."""

    directory: str = ""
    most: int = 0


def _mount(text: str) -> tuple[str, MountOption]:
    import os

    from buildah_py.store.sizes import parse_size

    head, *rest = text.split(",")
    identity, equals, directory = head.partition("=")
    most = 0
    for part in rest:
        name, _, value = part.partition("=")
        if name != "max":
            raise UsageError(f"--cache-mount {text}: `{part}` is not known", hint="write it as ID=DIR or ID,max=2GB")
        most = parse_size(value)
    if not identity or (equals and not directory) or not (directory or most):
        raise UsageError(f"--cache-mount {text}: it says nothing of a mount", hint="write it as ID=DIR or ID,max=2GB")
    if directory and not os.path.isdir(directory):
        raise UsageError(f"--cache-mount {text}: {directory} is not a directory", hint="make it first")
    if directory and most:
        raise UsageError(f"--cache-mount {text}: a directory of the host is never emptied", hint="leave out max=")
    return identity, MountOption(os.path.abspath(directory) if directory else "", most)

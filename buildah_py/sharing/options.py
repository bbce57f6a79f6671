"""Options of caches that are shared, and of cache mounts."""

from __future__ import annotations

from typing import TYPE_CHECKING

from buildah_py.errors import UsageError
from buildah_py.frozen import dataclass

if TYPE_CHECKING:
    from buildah_py.sharing.spec import CacheSpec


@dataclass(frozen=True, slots=True)
class CacheOptions:
    """`to` and `from_` as `--cache-to` and `--cache-from` have them, `mounts` as `--cache-mount` does."""

    to: tuple[str, ...] = ()
    from_: tuple[str, ...] = ()
    mounts: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        """Whether anything was said."""
        return bool(self.to or self.from_ or self.mounts)

    def places(self) -> tuple[list[CacheSpec], list[CacheSpec]]:
        """Where caches go to, and where they come from. Raises UsageError, also for malformed keys."""
        if not (self.to or self.from_):
            return [], []
        from buildah_py.sharing.spec import parse_from, parse_to

        to, from_ = [parse_to(text) for text in self.to], [parse_from(text) for text in self.from_]
        if any(place.sign or place.verify for place in (*to, *from_)):
            from buildah_py.sharing.signing import parse_public, public_key

            for place in to:
                if place.sign:
                    public_key(place.sign)
            for place in from_:
                for key in place.verify:
                    parse_public(key)
        return to, from_

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

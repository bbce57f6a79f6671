"""Packages that are found in an image, and what they are called everywhere: package URLs (purl-spec)."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Mapping

    from buildah_py.layers.entry import Entry
    from buildah_py.layers.tree import Tree


class Package(NamedTuple):
    """A package: `kind` is the type of its package URL, `path` where in the image it says that it is there.

    `license` is what it declares; with `is_expression` that is meant to be an SPDX license expression.
    """

    kind: str
    name: str
    version: str
    purl: str
    path: str
    license: str = ""
    is_expression: bool = False
    supplier: str = ""


class System(NamedTuple):
    """The distribution that an image is of, as its os-release says: ID, VERSION_ID and PRETTY_NAME."""

    id: str = ""
    version: str = ""
    name: str = ""

    @property
    def distro(self) -> str:
        """The qualifier of that name in package URLs: `debian-12`."""
        return "-".join(filter(None, (self.id, self.version)))


class Candidate(NamedTuple):
    """A file of an image that may tell of packages. `system` is the image's."""

    tree: Tree
    entry: Entry
    system: System

    @property
    def path(self) -> str:
        """Where it is, from the root."""
        return self.entry.path

    def read(self, most: int) -> bytes:
        """Return its bytes. Raises Unread where there are more than `most`."""
        import os

        if self.entry.size > most:
            raise Unread(f"/{self.path} is larger than {most >> 20} MiB")
        descriptor = self.tree.open(self.path)
        with os.fdopen(descriptor, "rb") as file:
            return file.read(most)


class Unread(Exception):
    """Something that tells of packages and is not read; the words say what, and why."""


def purl(
    kind: str, name: str, version: str, *, namespace: str = "", qualifiers: Mapping[str, str] | None = None
) -> str:
    """Return a package URL, its parts in the spelling of its type."""
    from packageurl import PackageURL

    given = {key: value for key, value in (qualifiers or {}).items() if value}
    return str(PackageURL(kind, namespace or None, name, version or None, given or None, None).to_string())


def text_of(data: bytes) -> str:
    """Return text of a file that should be UTF-8, whatever it is."""
    return data.decode("utf-8", "replace")

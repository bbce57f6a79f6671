"""Manifest lists: their names, and what is in them. People put them together, or a build for several platforms does."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Final, NamedTuple, cast

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

    from buildah_py.store.database import Database


class ListEntry(NamedTuple):
    """An image in a list, by its id, and what the list says of it.

    With a `manifest` it is not one of the store's: `id` is then the digest of those bytes.
    """

    id: str
    data: bytes
    manifest: bytes = b""


BUILT: Final = "image"
"""Key in the data of a list that a build has made, whose name is an image's as well: that image's id."""


def built_with(data: bytes) -> str:
    """Return the id of the image that had the list's name when a build made both; "" of a list that a person made."""
    return str(json.loads(data).get(BUILT, ""))


class ManifestLists:
    """The tables. But for BUILT, the data of lists and entries are bytes whose meaning is not known here.

    A list that a build has made lasts as long as its name means the image that it was made with.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    def editing(self) -> AbstractContextManager[None]:
        """Have what is read and changed inside be one change, which others see as a whole."""
        return self._database.transaction()

    def put(self, name: str, data: bytes) -> None:
        """Make a list, or say something else of one that is there."""
        self._database.change(
            "INSERT INTO manifest_lists (name, data, created) VALUES (?, ?, ?)"
            " ON CONFLICT (name) DO UPDATE SET data = excluded.data",
            (name, data, time.time_ns()),
        )

    def get(self, name: str) -> bytes | None:
        """Return the data of a list; None where there is none of that name."""
        rows = self._database.query("SELECT data FROM manifest_lists WHERE name = ?", (name,))
        return cast("bytes", rows[0][0]) if rows else None

    def is_built(self, name: str) -> bool:
        """Whether there is a list of that name that a build has made."""
        data = self.get(name)
        return data is not None and bool(built_with(data))

    def copy(self, name: str, other: str) -> None:
        """Give a list that a build has made a further name, which its images have for their platforms too."""
        with self.editing():
            self.remove(other)
            self._database.change(
                "INSERT INTO manifest_lists (name, data, created) SELECT ?, data, created FROM manifest_lists"
                " WHERE name = ?",
                (other, name),
            )
            self._database.change(
                "INSERT INTO list_entries (list, digest, position, data, config, manifest)"
                " SELECT ?, digest, position, data, config, manifest FROM list_entries WHERE list = ?",
                (other, name),
            )
            self._database.change(
                "INSERT OR REPLACE INTO platform_names (name, platform, config)"
                " SELECT ?, platform, config FROM platform_names WHERE name = ?",
                (other, name),
            )

    def names(self) -> list[str]:
        """Return the names of all lists."""
        return [str(name) for (name,) in self._database.query("SELECT name FROM manifest_lists ORDER BY name")]

    def remove(self, name: str) -> bool:
        """Take a list away, its images stay; whether it was there."""
        return self._database.change("DELETE FROM manifest_lists WHERE name = ?", (name,)) > 0

    def entries(self, name: str) -> list[ListEntry]:
        """Return the images in a list, in the order in which they came."""
        rows = self._database.query(
            "SELECT digest, data, COALESCE(manifest, x'') FROM list_entries WHERE list = ? ORDER BY position", (name,)
        )
        return [ListEntry(*cast("tuple[str, bytes, bytes]", row)) for row in rows]

    def put_entry(self, name: str, entry: ListEntry) -> None:
        """Put an image into a list, at its end; or say something else of one that is in it."""
        config = None if entry.manifest else entry.id
        self._database.change(
            "INSERT INTO list_entries (list, digest, position, data, config, manifest) VALUES"
            " (?, ?, (SELECT COALESCE(MAX(position), 0) + 1 FROM list_entries WHERE list = ?), ?, ?, ?)"
            " ON CONFLICT (list, digest) DO UPDATE SET data = excluded.data",
            (name, entry.id, name, entry.data, config, entry.manifest or None),
        )

    def remove_entry(self, name: str, entry: str) -> bool:
        """Take what has that id out of a list; whether it was in it."""
        return self._database.change("DELETE FROM list_entries WHERE list = ? AND digest = ?", (name, entry)) > 0

    def holding(self, image: str) -> list[str]:
        """Return the lists that an image of the store is in."""
        rows = self._database.query("SELECT list FROM list_entries WHERE config = ? ORDER BY list", (image,))
        return [str(name) for (name,) in rows]

    def images(self) -> frozenset[str]:
        """Return the ids of all images of the store that are in lists which people made.

        Those of a list that a build has made have its name for their platforms.
        """
        rows = self._database.query(
            "SELECT config, manifest_lists.data FROM list_entries JOIN manifest_lists ON list = name"
            " WHERE config IS NOT NULL"
        )
        return frozenset(str(image) for image, data in rows if not built_with(cast("bytes", data)))

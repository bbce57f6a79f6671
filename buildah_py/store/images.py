"""Image configs by digest, and the names that people gave them."""

from __future__ import annotations

import contextlib
import time
from typing import TYPE_CHECKING, NamedTuple, cast

from buildah_py.checksum import sha256_hex
from buildah_py.errors import StoreError
from buildah_py.image import media_types

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from buildah_py.store.database import Database


_CALLING = ("names", "platform_names", "(SELECT config FROM list_entries WHERE config IS NOT NULL)")
"""Tables that hold the names of images."""


class StoredImage(NamedTuple):
    """An image: its id (the digest of its config), the config's bytes, its names; `created` in ns since 1970."""

    id: str
    config: bytes
    names: tuple[str, ...]
    created: int


class RepoDigest(NamedTuple):
    """The name of an image in a registry: `name` is registry/repository, `digest` a manifest's or an index's there.

    `data` are the bytes of a manifest that came from there. They are not kept of one that was sent there: how an image
    is written depends on what is asked for, and not on where it was sent before.
    """

    name: str
    digest: str
    media_type: str
    data: bytes = b""

    @property
    def is_index(self) -> bool:
        """Whether the registry has more under that digest than this image."""
        return self.media_type not in media_types.MANIFESTS


class Images:
    """The tables of configs and names."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def put(
        self, digest: str, config: bytes, diff_ids: Sequence[str], names: Sequence[str], build: bytes | None = None
    ) -> None:
        """Keep an image under `names`; a name that another image had moves here.

        All layers must be in the store. `build` says how it was built, see `build_of`. Raises StoreError.
        """
        now = time.time_ns()
        with self._database.transaction():
            known = self._database.query("SELECT 1 FROM configs WHERE digest = ?", (digest,))
            if not known:
                self._database.change(
                    "INSERT INTO configs (digest, data, created) VALUES (?, ?, ?)", (digest, config, now)
                )
                self._database.change_many(
                    "INSERT INTO config_layers (config, position, diff_id) VALUES (?, ?, ?)",
                    [(digest, position, diff_id) for position, diff_id in enumerate(diff_ids)],
                )
            if build is not None:
                self._database.change("INSERT OR REPLACE INTO builds (config, data) VALUES (?, ?)", (digest, build))
            for name in names:
                self._database.change(
                    "INSERT OR REPLACE INTO names (name, config, tagged) VALUES (?, ?, ?)", (name, digest, now)
                )
                self.forget_list(name, digest)

    def by_name(self, name: str) -> StoredImage | None:
        """Return the image of that full name."""
        rows = self._database.query("SELECT config FROM names WHERE name = ?", (name,))
        return self.by_id(str(rows[0][0])) if rows else None

    def by_id(self, prefix: str) -> StoredImage | None:
        """Return the image whose id is or begins with `prefix` (with or without `sha256:`).

        None where none does, or several do.
        """
        start = prefix if prefix.startswith("sha256:") else f"sha256:{prefix}"
        rows = self._database.query(
            "SELECT digest, data, created FROM configs WHERE digest >= ? AND digest < ? LIMIT 2", (start, start + "g")
        )
        if len(rows) != 1:
            return None
        found = self._image(rows[0])
        if "sha256:" + sha256_hex(found.config) != found.id:
            raise StoreError(
                f"the config of image {found.id} is damaged",
                hint="`pybuild fsck --repair` removes it; then build again",
            )
        return found

    def raw(self, digest: str) -> StoredImage | None:
        """Return the image of that id, whether its config is damaged or not."""
        rows = self._database.query("SELECT digest, data, created FROM configs WHERE digest = ?", (digest,))
        return self._image(rows[0]) if rows else None

    def layers_of(self, digest: str) -> tuple[str, ...]:
        """Return the diff_ids that the store keeps for an image, lowest first."""
        rows = self._database.query("SELECT diff_id FROM config_layers WHERE config = ? ORDER BY position", (digest,))
        return tuple(str(diff_id) for (diff_id,) in rows)

    def _image(self, row: tuple[object, ...]) -> StoredImage:
        digest, data, created = cast("tuple[str, bytes, int]", row)
        names = self._database.query("SELECT name FROM names WHERE config = ? ORDER BY name", (digest,))
        return StoredImage(digest, data, tuple(str(name) for (name,) in names), created)

    def ids(self) -> list[str]:
        """Return the ids of all images, the newest first."""
        rows = self._database.query("SELECT digest FROM configs ORDER BY created DESC, digest")
        return [str(digest) for (digest,) in rows]

    def all(self) -> list[StoredImage]:
        """All images, the newest first."""
        found = [self.by_id(digest) for digest in self.ids()]
        return [image for image in found if image is not None]

    def forget_list(self, name: str, digest: str = "") -> list[str]:
        """Take away the list that a build made under a name together with another image than `digest`.

        Returns the ids of its images, which have the name for their platforms no longer.
        """
        rows = self._database.query("SELECT data FROM manifest_lists WHERE name = ?", (name,))
        if not rows:
            return []
        from buildah_py.store.manifest_lists import built_with

        if built_with(cast("bytes", rows[0][0])) in ("", digest):
            return []
        found = self._database.query("SELECT config FROM list_entries WHERE list = ? AND config IS NOT NULL", (name,))
        self._database.change("DELETE FROM manifest_lists WHERE name = ?", (name,))
        self._database.change("DELETE FROM platform_names WHERE name = ?", (name,))
        return [str(config) for (config,) in found]

    def remove_name(self, name: str) -> bool:
        """Take a name away, and with its last name the image, unless a list has it; whether the name was there.

        A list that a build has made under the name goes too, with its images that have no other name.
        """
        with self._database.transaction():
            rows = self._database.query("SELECT config FROM names WHERE name = ?", (name,))
            self._database.change("DELETE FROM names WHERE name = ?", (name,))
            rows += [(config,) for config in self.forget_list(name)]
            self._database.change("DELETE FROM platform_names WHERE name = ?", (name,))
            for row in rows:
                self._database.change(
                    "DELETE FROM configs WHERE digest = ? AND digest NOT IN (SELECT config FROM names)"
                    " AND digest NOT IN (SELECT config FROM list_entries WHERE config IS NOT NULL)",
                    row,
                )
        return bool(rows)

    @contextlib.contextmanager
    def kept_if_whole(self, digest: str) -> Iterator[None]:
        """Remove an image that nothing calls by a name where what happens inside fails: its layers cannot be had."""
        try:
            yield
        except BaseException:
            called = " AND ".join(f"digest NOT IN (SELECT config FROM {table})" for table in _CALLING)
            self._database.change(f"DELETE FROM configs WHERE digest = ? AND {called}", (digest,))
            raise

    def remove(self, digest: str) -> list[str]:
        """Remove an image, out of all lists too, with all its names, which are returned."""
        with self._database.transaction():
            names = self._database.query("SELECT name FROM names WHERE config = ? ORDER BY name", (digest,))
            self._database.change("DELETE FROM names WHERE config = ?", (digest,))
            for (name,) in names:
                self.forget_list(str(name))
            self._database.change("DELETE FROM configs WHERE digest = ?", (digest,))
        return [str(name) for (name,) in names]

    def build_of(self, digest: str) -> bytes | None:
        """Return the record of how the image was built, as `put` was given it."""
        rows = self._database.query("SELECT data FROM builds WHERE config = ?", (digest,))
        return cast("bytes", rows[0][0]) if rows else None

    def add_repo_digest(self, config: str, repo_digest: RepoDigest) -> None:
        """Say that an image of the store is what a registry has under a digest."""
        self._database.change(
            "INSERT OR REPLACE INTO repo_digests (name, digest, config, media_type, data) VALUES (?, ?, ?, ?, ?)",
            (repo_digest.name, repo_digest.digest, config, repo_digest.media_type, repo_digest.data),
        )

    def repo_digests(self, config: str) -> list[RepoDigest]:
        """Return the names that registries have for an image."""
        rows = self._database.query(
            "SELECT name, digest, media_type, data FROM repo_digests WHERE config = ? ORDER BY name, digest", (config,)
        )
        return [RepoDigest(*cast("tuple[str, str, str, bytes]", row)) for row in rows]

    def by_repo_digest(self, name: str, digest: str) -> list[StoredImage]:
        """Return the images that registry/repository has under a digest.

        Of an index these are one for each platform that was pulled.
        """
        rows = self._database.query("SELECT config FROM repo_digests WHERE name = ? AND digest = ?", (name, digest))
        found = [self.by_id(str(config)) for (config,) in rows]
        return [image for image in found if image is not None]

    def set_platform_name(self, name: str, platform: str, config: str) -> None:
        """Say what a full name means for one platform, whatever it means otherwise."""
        self._database.change(
            "INSERT OR REPLACE INTO platform_names (name, platform, config) VALUES (?, ?, ?)", (name, platform, config)
        )

    def forget_platforms(self, name: str) -> None:
        """Have a full name mean nothing else for any platform than otherwise."""
        self._database.change("DELETE FROM platform_names WHERE name = ?", (name,))

    def by_platform_name(self, name: str, platform: str) -> StoredImage | None:
        """Return the image that was pulled under a full name for a platform."""
        rows = self._database.query(
            "SELECT config FROM platform_names WHERE name = ? AND platform = ?", (name, platform)
        )
        return self.by_id(str(rows[0][0])) if rows else None

    def platform_names(self, config: str) -> tuple[str, ...]:
        """Return the names that mean this image for a platform, whatever they mean otherwise."""
        rows = self._database.query("SELECT name FROM platform_names WHERE config = ? ORDER BY name", (config,))
        return tuple(str(name) for (name,) in rows)

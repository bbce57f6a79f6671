"""Manifest lists of the store: images for several platforms under one name, put together before they are pushed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from buildah_py.errors import NotFound, UsageError
from buildah_py.image import canonical, descriptor
from buildah_py.image import platform as platforms
from buildah_py.image import reference as references
from buildah_py.store.manifest_lists import BUILT, ListEntry
from buildah_py.store.names import familiar_name, find_image, full_name

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from buildah_py.image.descriptor import Descriptor
    from buildah_py.image.platform import Platform
    from buildah_py.outputs.attestation import Predicate
    from buildah_py.store import Store

DOCKER = "docker://"


class Said(NamedTuple):
    """Options of an image in a list; "" and empty where the command line says nothing."""

    os: str = ""
    architecture: str = ""
    variant: str = ""
    os_version: str = ""
    os_features: tuple[str, ...] = ()
    annotations: Mapping[str, str] = {}

    @property
    def chooses(self) -> bool:
        """Whether it names a platform."""
        return bool(self.os or self.architecture or self.variant)

    def wanted(self) -> Platform:
        """Return the platform that it names; this machine's, as far as it names none."""
        return self.over(platforms.host()) if self.chooses else platforms.host()

    def over(self, platform: Platform) -> Platform:
        """Return the platform, with what is said here in place of its own properties."""
        if not (self.chooses or self.os_version or self.os_features):
            return platform
        variant = self.variant
        if not variant and self.architecture in ("", platform.architecture):
            variant = platform.variant
        changed = platform._replace(
            os=self.os or platform.os,
            architecture=self.architecture or platform.architecture,
            variant=variant,
            os_version=self.os_version or platform.os_version,
            os_features=self.os_features or platform.os_features,
        )
        return changed.normalised() if self.chooses else changed

    def over_any(self, platform: Platform | None) -> Platform | None:
        """Return the same for something that may be for no platform."""
        if platform is None and not (self.chooses or self.os_version or self.os_features):
            return None
        return self.over(platform or platforms.host())


class Listed(NamedTuple):
    """Entry of a list: an image of the store by its id, its platform, and the annotations that it has there.

    An entry from a registry is sent on byte by byte if it may be: `original` describes its manifest, `source` is the
    repository that has it. With a `manifest`, whose bytes these are, it is not an image of the store: an attestation,
    an artifact, an index. `predicates` are what a build has attested of an image.
    """

    id: str
    platform: Platform | None
    annotations: Mapping[str, str] = {}
    original: Descriptor | None = None
    source: str = ""
    manifest: bytes = b""
    predicates: tuple[Predicate, ...] = ()

    def entry(self) -> ListEntry:
        """Give it as the store keeps it."""
        raw: dict[str, Any] = {"annotations": dict(self.annotations)}
        if self.platform is not None:
            raw["platform"] = descriptor.platform_to_dict(self.platform)
        if self.original is not None:
            raw |= {"original": self.original.to_dict(), "source": self.source}
        if self.predicates:
            raw["predicates"] = [_packed(one) for one in self.predicates]
        return ListEntry(self.id, canonical.to_bytes(raw), self.manifest)


def create_list(
    store: Store,
    name: str,
    images: Iterable[Listed] = (),
    *,
    amend: bool = False,
    annotations: Mapping[str, str] | None = None,
) -> str:
    """Make a list of images, or with `amend` add to the one that is there; its full name. Raises UsageError."""
    full = check_new(store, name, amend=amend)
    found = list(images)  # which may take its time: nobody is to be kept from the store meanwhile
    with store.manifest_lists.editing():
        check_new(store, name, amend=amend)
        before = list_annotations(store, full)
        store.manifest_lists.put(full, canonical.to_bytes({"annotations": {**before, **(annotations or {})}}))
        for one in found:
            store.manifest_lists.put_entry(full, one.entry())
    return full


def keep_built(store: Store, full: str, own: str, images: Sequence[tuple[str, Listed]]) -> None:
    """Keep the images of a build for several platforms under a full name, which means the image `own` otherwise.

    `images` come with the platforms that were asked for. What had the name for a platform before has it no longer.
    """
    store.manifest_lists.remove(full)
    store.images.forget_platforms(full)
    store.manifest_lists.put(full, canonical.to_bytes({"annotations": {}, BUILT: own}))
    for platform, one in images:
        store.manifest_lists.put_entry(full, one.entry())
        store.images.set_platform_name(full, platform, one.id)


def refuse_to_replace(store: Store, names: Iterable[str]) -> None:
    """Raise UsageError where a build for several platforms would replace a list that a person has put together."""
    for full in names:
        if store.manifest_lists.get(full) is not None and not store.manifest_lists.is_built(full):
            shown = familiar_name(full)
            raise UsageError(
                f"there is a manifest list `{shown}`, which was put together by hand",
                hint=f"remove it with `pybuild manifest rm {shown}`, or give the image another name",
            )


def check_new(store: Store, name: str, *, amend: bool) -> str:
    """See that a list can be made, or amended if it is there; its full name. Raises UsageError."""
    full = _list_name(name)
    if not amend and store.manifest_lists.get(full) is not None:
        raise UsageError(
            f"there is a manifest list `{familiar_name(full)}` already",
            hint="add to it with --amend, or remove it with `pybuild manifest rm`",
        )
    return full


def find_list(store: Store, name: str) -> str:
    """Find a list; its full name. Raises NotFound."""
    full = _list_name(name)
    if store.manifest_lists.get(full) is None:
        raise NotFound(
            f"there is no manifest list `{familiar_name(full)}` in the store",
            hint=f"make it with `pybuild manifest create {familiar_name(full)}`",
        )
    return full


def list_annotations(store: Store, full: str) -> dict[str, str]:
    """Return the annotations of the list itself."""
    raw = canonical.from_bytes(store.manifest_lists.get(full) or b"{}", f"the list {full}")
    return canonical.pairs(raw, "annotations", f"the list {full}")


def listed(store: Store, full: str) -> list[Listed]:
    """Return the images in a list, in the order in which they were added."""
    return [_listed(entry, full) for entry in store.manifest_lists.entries(full)]


def add(store: Store, full: str, images: Iterable[Listed]) -> list[str]:
    """Add images to the list of that full name; their ids. Raises NotFound."""
    found = list(images)
    with store.manifest_lists.editing():
        find_list(store, full)
        for one in found:
            store.manifest_lists.put_entry(full, one.entry())
    return [one.id for one in found]


def annotate(store: Store, full: str, image: str, said: Said) -> None:
    """Say something else of an image in a list: what is said replaces what was, annotations are added.

    Raises NotFound.
    """
    with store.manifest_lists.editing():
        one = find_entry(store, full, image)
        changed = one._replace(
            platform=said.over_any(one.platform), annotations={**one.annotations, **said.annotations}
        )
        store.manifest_lists.put_entry(full, changed.entry())


def remove_entry(store: Store, full: str, image: str) -> str:
    """Take an image out of a list; its id. Raises NotFound."""
    with store.manifest_lists.editing():
        one = find_entry(store, full, image)
        store.manifest_lists.remove_entry(full, one.id)
    return one.id


def find_entry(store: Store, full: str, name: str) -> Listed:
    """Find an image in a list: by its name, its id (or the beginning of it), or its manifest's digest.

    Raises NotFound.
    """
    there = listed(store, full)
    start = name if name.startswith("sha256:") else f"sha256:{name}"
    found = [one for one in there if one.id.startswith(start)] if len(start) >= len("sha256:") + 4 else []
    if not found:
        digest = start if "@" not in name else name.partition("@")[2]
        found = [one for one in there if digest in manifest_digests(store, one)]
    if not found and not name.startswith("sha256:"):
        found = _called(store, there, name)
    if len(found) != 1:
        why = "several images of that name" if found else f"no image `{name}`"
        hint = f"`pybuild manifest inspect {familiar_name(full)}` shows their digests"
        raise NotFound(f"the manifest list {familiar_name(full)} has {why}", hint=hint)
    return found[0]


def manifest_digests(store: Store, one: Listed) -> set[str]:
    """Return the names of the image's manifest in registries, and in the list if that needs no compressing."""
    from buildah_py.image.digest import sha256_of
    from buildah_py.transfer.export import manifest_bytes

    if one.original is not None:
        return {one.original.digest}
    found = {known.digest for known in store.images.repo_digests(one.id) if not known.is_index}
    try:
        found.add(sha256_of(manifest_bytes(store, one.id)))
    except NotFound:  # it was never compressed, so nobody has seen a digest
        return found
    return found


def _called(store: Store, there: Sequence[Listed], name: str) -> list[Listed]:
    try:
        reference = references.parse(name.removeprefix(DOCKER)).with_default_tag()
        own = find_image(store, name.removeprefix(DOCKER)).id
    except UsageError:
        return []
    except NotFound:
        own = ""
    if own and any(one.id == own for one in there):
        return [one for one in there if one.id == own]
    return [one for one in there if reference.full in store.images.platform_names(one.id)]


def _list_name(name: str) -> str:
    if "@" in name:
        raise UsageError(f"`{name}` has a digest, which only the list's content decides", hint="name a tag")
    return full_name(name.removeprefix(DOCKER))


def _listed(entry: ListEntry, full: str) -> Listed:
    what = f"an entry of the list {full}"
    raw = canonical.from_bytes(entry.data, what)
    platform, original = raw.get("platform"), raw.get("original")
    return Listed(
        entry.id,
        None if platform is None else descriptor.platform_from_dict(platform, what),
        canonical.pairs(raw, "annotations", what),
        None if original is None else descriptor.from_dict(original, what),
        canonical.text(raw, "source", what),
        entry.manifest,
        tuple(_unpacked(one) for one in canonical.tables(raw, "predicates", what)) if "predicates" in raw else (),
    )


def _packed(predicate: Predicate) -> dict[str, Any]:
    """Return a predicate as it is kept: its body may be a list of thousands of packages."""
    import base64
    import zlib

    body = base64.b64encode(zlib.compress(canonical.to_bytes(predicate.body))).decode("ascii")
    return {"type": predicate.type, "file": predicate.file, "inline": predicate.inline, "body": body}


def _unpacked(raw: dict[str, Any]) -> Predicate:
    import base64
    import zlib

    from buildah_py.outputs.attestation import Predicate

    body = canonical.loads(zlib.decompress(base64.b64decode(raw["body"])))
    return Predicate(str(raw["type"]), body, str(raw["file"]), bool(raw["inline"]))

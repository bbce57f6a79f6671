"""The records of a cache as one text: a line for each record, layer, selection and cache mount, found by its name.

A reader takes the lines apart only as far as to find them; what one says is parsed when somebody asks for it. All of it
is what others say: a record has the key that its ingredients make or is refused, and what a layer is said to hold is
compared with what it holds when it is unpacked.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from buildah_py.cache.keys import KEY_VERSION, canonical_json, step_key
from buildah_py.errors import CacheError, ImageError
from buildah_py.image import canonical, digest
from buildah_py.image.descriptor import Descriptor, from_dict
from buildah_py.layers.stamps import read_stamps

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from buildah_py.layers.stamps import Stamps

FORMAT: Final = f"pybuild cache 2, keys {KEY_VERSION}\n".encode()
MAX_BYTES: Final = 1 << 28
"""Uncompressed: half a million records of the usual size."""
MAX_LINE: Final = 1 << 24
_MAX_TIME: Final = 1 << 62
_MAX_ABOUT: Final = 1 << 16
_MAX_OBSERVATION: Final = 1 << 20


class SharedLayer(NamedTuple):
    """A layer: how many entries it has, when it was first made (ns), its blob where there is one.

    `entries` is -1 where that is not known.
    """

    diff_id: str
    entries: int
    created: int
    blob: Descriptor | None = None


class SharedRecord(NamedTuple):
    """The result of a step with that key, and the ingredients of the key; `about` is what helps to explain a miss.

    `content` is the digest of the layer but for its times that are not content, the `stamps`.
    `created` is when the step first had this result (ns), None where only the layer's time is known. `observed` are its
    plain key and what it learned of files, packed.
    """

    key: str
    parent: str
    canonical: Mapping[str, object]
    inputs: Mapping[str, str]
    diff_id: str
    content: str
    stamps: Stamps
    seconds: float
    about: object = None
    created: int | None = None
    observed: tuple[str, bytes] | None = None


class SharedMount(NamedTuple):
    """A cache mount: its id and the blob that lists what it holds."""

    id: str
    snapshot: Descriptor


class Book:
    """All that a cache knows, by name. Raises CacheError where the text is not one of ours."""

    def __init__(self, data: bytes = FORMAT, what: str = "the cache") -> None:
        self._what = what
        if not data.startswith(FORMAT):
            if data.startswith(FORMAT.partition(b" 2,")[0]):
                raise CacheError(f"{what} was written by another version of pybuild")
            raise CacheError(f"{what} holds no records of pybuild")
        self._lines: dict[bytes, bytes] = {}
        for line in data[len(FORMAT) :].split(b"\n"):
            kind, _, rest = line.partition(b" ")
            name, _, value = rest.partition(b" ")
            if value:
                self._lines[kind + b" " + name] = value

    def record(self, key: str) -> SharedRecord | None:
        """Return the record of a key. Raises CacheError where it is malformed or stands for another key."""
        raw = self._get("record", key)
        if raw is None:
            return None
        what = f"{self._what}: the record {key}"
        try:
            parent, diff_id = canonical.text(raw, "parent", what), digest.validate(canonical.text(raw, "layer", what))
            inputs = canonical.pairs(raw, "inputs", what)
            step = canonical.table(raw, "step", what)
            content, stamps = digest.validate(canonical.text(raw, "content", what)), read_stamps(raw.get("stamps"))
            created = _natural(raw, "created", what) if "created" in raw else None
        except ValueError as error:
            raise CacheError(f"{what}: {error}") from error
        except ImageError as error:
            raise CacheError(error.message) from error
        about = raw.get("about")
        try:
            if step_key(parent, step, inputs) != key:
                raise CacheError(f"{what} stands for another key: it is not used")
            if len(canonical_json(about)) > _MAX_ABOUT:
                about = None
        except (ValueError, RecursionError) as error:  # numbers without end, lists without bottom
            raise CacheError(f"{what} is malformed: {error}") from error
        observed = self._learned(raw.get("observed"))
        seconds = raw.get("seconds")
        if not isinstance(seconds, (int, float)) or not 0 <= seconds < _MAX_TIME:
            raise CacheError(f"{what} took {seconds!r} seconds")
        return SharedRecord(key, parent, step, inputs, diff_id, content, stamps, seconds, about, created, observed)

    def layer(self, diff_id: str) -> SharedLayer | None:
        """Return a layer. Raises CacheError where what is said of it is malformed."""
        raw = self._get("layer", diff_id)
        if raw is None:
            return None
        what = f"{self._what}: the layer {diff_id}"
        try:
            layer = SharedLayer(
                diff_id,
                _natural(raw, "entries", what) if "entries" in raw else -1,
                _natural(raw, "created", what),
                None if raw.get("blob") is None else from_dict(raw["blob"], what),
            )
        except ImageError as error:
            raise CacheError(error.message) from error
        return layer

    def mount(self, identity: str) -> SharedMount | None:
        """Return a cache mount. Raises CacheError where what is said of it is malformed."""
        raw = self._get("mount", _quoted(identity))
        if raw is None:
            return None
        try:
            return SharedMount(identity, from_dict(raw, f"{self._what}: the cache mount {identity}"))
        except ImageError as error:
            raise CacheError(error.message) from error

    def selection(self, key: str) -> str | None:
        """Return the digest of what a selection holds. Raises CacheError where it is not a digest."""
        raw = self._get("selection", key)
        if raw is None:
            return None
        if not digest.is_digest(str(raw.get("digest"))):
            raise CacheError(f"{self._what}: the selection {key} has no digest")
        return str(raw["digest"])

    def selections(self) -> dict[str, str]:
        """All selections. Raises CacheError where one has no digest."""
        keys = [line[10:].decode("ascii", "replace") for line in self._lines if line.startswith(b"selection ")]
        return {key: found for key in keys if (found := self.selection(key)) is not None}

    def observed(self, plain_key: str) -> list[str]:
        """Return the keys of a step under which it is known what it learned. Raises CacheError for anything else."""
        keys = (self._get("observed", plain_key) or {}).get("records", [])
        if not isinstance(keys, list) or not all(isinstance(key, str) for key in keys):
            raise CacheError(f"{self._what}: the keys of {plain_key} are no texts")
        return keys

    def _learned(self, said: object) -> tuple[str, bytes] | None:
        """Find what a record says that its step learned; nothing for what is not as its digest says."""
        if not isinstance(said, list) or len(said) != 2 or not all(isinstance(one, str) for one in said):
            return None
        plain, name = said
        learned = self._lines.get(f"learned {name}".encode())
        if learned is None or len(learned) > _MAX_OBSERVATION or digest.sha256_of(learned) != name:
            return None
        return plain, learned

    def records(self) -> list[str]:
        """Return the keys of all records."""
        return [line[7:].decode("ascii", "replace") for line in self._lines if line.startswith(b"record ")]

    def mounts(self) -> list[str]:
        """Return the ids of all cache mounts."""
        from urllib.parse import unquote

        return [unquote(line[6:].decode("ascii", "replace")) for line in self._lines if line.startswith(b"mount ")]

    def _get(self, kind: str, name: str) -> dict[str, Any] | None:
        line = self._lines.get(f"{kind} {name}".encode())
        if line is None:
            return None
        what = f"{self._what}: the {kind} {name}"
        if len(line) > MAX_LINE:
            raise CacheError(f"{what} is {len(line)} bytes long; more than {MAX_LINE} are refused")
        try:
            value = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise CacheError(f"{what} is not JSON: {error}") from error
        if not isinstance(value, dict):
            raise CacheError(f"{what} is not a JSON object")
        return value


def to_bytes(
    records: Sequence[SharedRecord],
    layers: Iterable[SharedLayer],
    mounts: Iterable[SharedMount] = (),
    selections: Mapping[str, str] | None = None,
) -> bytes:
    """Write a cache's text: the same bytes for the same content."""
    lines = [
        *(("layer", layer.diff_id, _layer(layer)) for layer in layers),
        *(("mount", _quoted(mount.id), mount.snapshot.to_dict()) for mount in mounts),
        *(("record", record.key, _record(record)) for record in records),
        *(("observed", plain, {"records": sorted(keys)}) for plain, keys in _observed(records).items()),
        *(("selection", key, {"digest": found}) for key, found in (selections or {}).items()),
    ]
    text = [f"{kind} {name} ".encode() + canonical_json(value) + b"\n" for kind, name, value in lines]
    learned = {one.observed[1] for one in records if one.observed is not None}
    text += [f"learned {digest.sha256_of(data)} ".encode() + data + b"\n" for data in learned]
    return FORMAT + b"".join(sorted(text))


def _observed(records: Iterable[SharedRecord]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for record in records:
        if record.observed is not None:
            found.setdefault(record.observed[0], []).append(record.key)
    return found


def _layer(layer: SharedLayer) -> dict[str, object]:
    said: dict[str, object] = {"created": layer.created}
    if layer.entries >= 0:
        said["entries"] = layer.entries
    if layer.blob is not None:
        said["blob"] = layer.blob.to_dict()
    return said


def _record(record: SharedRecord) -> dict[str, object]:
    return {
        "parent": record.parent,
        "step": record.canonical,
        "inputs": record.inputs,
        "layer": record.diff_id,
        "content": record.content,
        "stamps": record.stamps.to_data(),
        "seconds": record.seconds,
        "about": record.about,
        **({} if record.created is None else {"created": record.created}),
        **({} if (one := record.observed) is None else {"observed": [one[0], digest.sha256_of(one[1])]}),
    }


def _natural(raw: dict[str, Any], key: str, what: str) -> int:
    number = canonical.number(raw, key, what)
    if not 0 <= number < _MAX_TIME:
        raise CacheError(f"{what}: `{key}` is {number}")
    return number


def _quoted(identity: str) -> str:
    from urllib.parse import quote

    return quote(identity, safe="/")

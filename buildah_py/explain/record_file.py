"""The record of a whole build as a file: what each step's key was made of, so that another machine can compare.

Canonical JSON of one object, described in docs/caching.md. Its content is not trusted: everything has to be of its
form, and keys and lists of files have to be what they are digests of.
"""

from __future__ import annotations

import json
import os
import threading
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

from buildah_py.buildfile.variables import PROXY_NAMES
from buildah_py.cache.keys import KEY_VERSION, canonical_json, step_key
from buildah_py.errors import CacheError, NotFound, OutputError
from buildah_py.frozen import dataclass
from buildah_py.version import __version__

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from buildah_py.cache.ingredients import Ingredients
    from buildah_py.cache.observations import Observation
    from buildah_py.engine.runner import Observed
    from buildah_py.plan import Plan

_Kind = TypeVar("_Kind")

FORMAT = "pybuild build record"
VERSION = 2
MAX_BYTES = 1 << 29


class BuildOptions(NamedTuple):
    """Options of a build that its record holds; `file` is the build file's name."""

    file: str
    target: str
    platform: str
    network: str
    build_args: Mapping[str, str]

    def to_data(self, image: str) -> dict[str, object]:
        """Give them as plain data. Proxies may hold passwords and change nothing: they are left out, as secrets are."""
        build_args = {name: value for name, value in self.build_args.items() if name not in PROXY_NAMES}
        return {**self._asdict(), "file": os.path.basename(self.file), "build_args": build_args, "image": image}


class Recorder:
    """Collects what the engine tells, and writes it down."""

    def __init__(self) -> None:
        self._steps: dict[int, Observed] = {}
        self._lists: dict[str, object] = {}
        self._lock = threading.Lock()

    def observe(self, seen: Observed) -> None:
        """Take note of a step."""
        from buildah_py.cache.input_lists import parse

        with self._lock:
            self._steps[seen.node.index] = seen._replace(lists={})
            wanted = {digest: pack for digest, pack in seen.lists.items() if digest not in self._lists}
        for digest, pack in wanted.items():
            self._lists[digest] = parse(pack())

    def write(self, path: str, options: BuildOptions, plan: Plan, image: str) -> None:
        """Write the record to the file `path`. Raises OutputError."""
        data = canonical_json(
            {
                "format": FORMAT,
                "version": VERSION,
                "pybuild": __version__,
                "key_version": KEY_VERSION,
                "build": options.to_data(image),
                "steps": list(self._described(plan)),
                "lists": self._lists,
            }
        )
        try:
            with open(f"{path}.{os.getpid()}", "xb") as file:
                file.write(data + b"\n")
            os.replace(f"{path}.{os.getpid()}", path)
        except OSError as error:
            raise OutputError(f"the record cannot be written to {path}: {error.strerror}") from error

    def _described(self, plan: Plan) -> Iterator[dict[str, object]]:
        from buildah_py.plan.steps import BaseStep

        for node in plan.nodes:
            place: dict[str, object] = {
                "stage": node.label,
                "number": node.number,
                "total": plan.stages[node.label],
                "text": node.text,
            }
            if isinstance(node.step, BaseStep):
                base = {"name": node.step.name, "image": node.step.image, "layers": list(node.step.diff_ids)}
                yield {**place, "base": base}
                continue
            seen = self._steps[node.index]
            yield {
                **place,
                "key": seen.record.key,
                "parent": seen.ingredients.parent,
                "step": seen.ingredients.canonical,
                "inputs": seen.ingredients.inputs,
                "about": seen.ingredients.about.to_data(),
                "content": seen.record.content,
                "diff_id": seen.record.diff_id,
                "seconds": seen.record.seconds,
                "outcome": seen.outcome,
                "reason": seen.reason,
                **({} if seen.learned is None else {"learned": json.loads(seen.learned)}),
            }


class RecordedBase(NamedTuple):
    """A base image by its name in the build file, with its id."""

    name: str
    image: str


@dataclass(frozen=True, slots=True)
class RecordedStep:
    """A step of another build: a base image, or ingredients with what they led to, and what it was seen to learn."""

    stage: str
    number: int
    text: str
    base: RecordedBase | None = None
    ingredients: Ingredients | None = None
    key: str = ""
    content: str = ""
    diff_id: str = ""
    learned: Observation | None = None


@dataclass(frozen=True, slots=True)
class BuildRecord:
    """Record of another build, read from a file."""

    pybuild: str
    key_version: int
    build: Mapping[str, object]
    steps: tuple[RecordedStep, ...]
    _lists: Mapping[str, Any]

    def input_list(self, digest: str) -> bytes | None:
        """Return the list behind the digest of an input. Raises CacheError where the file has something else there."""
        from buildah_py.cache.input_lists import ListedSource, digest_of_list, pack

        raw = self._lists.get(digest)
        if raw is None:
            return None
        try:
            sources = [ListedSource(kind, name, tuple(map(tuple, rows)), time) for kind, name, rows, time in raw]
            data = pack(sources)
        except (TypeError, ValueError, UnicodeError) as error:
            raise CacheError("the record is damaged: a list of files is malformed") from error
        if digest_of_list(data) != digest:
            raise CacheError(f"the record is damaged: the list of files {digest} is another one")
        return data


def read_record_file(path: str) -> BuildRecord:
    """Read what `--record` wrote. Raises NotFound, CacheError."""
    try:
        with open(path, "rb") as file:
            data = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise NotFound(f"the record {path} cannot be read: {error.strerror}") from error
    if len(data) > MAX_BYTES:
        raise CacheError(f"the record {path} is larger than {MAX_BYTES >> 20} MiB")
    try:
        return _read(json.loads(data, parse_constant=_no_constant))
    except (ValueError, TypeError, KeyError, RecursionError) as error:
        what = "it is nested too deeply" if isinstance(error, RecursionError) else "it is not a record of a build"
        raise CacheError(f"{path}: {what}", hint="make one with `pybuild build --record FILE`") from error
    except CacheError as error:
        error.message = f"{path}: {error.message}"
        raise


def _no_constant(name: str) -> None:
    raise ValueError(name)


def _read(raw: Any) -> BuildRecord:
    if raw["format"] != FORMAT:
        raise ValueError("format")
    if raw["version"] != VERSION:
        raise CacheError(
            f"it has version {raw['version']!r} of the format, and this pybuild reads {VERSION}",
            hint="use the pybuild that wrote it, or write it with this one",
        )
    version = _of(raw["key_version"], int)
    return BuildRecord(
        _of(raw["pybuild"], str),
        version,
        _of(raw["build"], dict),
        tuple(_step(one, version) for one in _of(raw["steps"], list)),
        _of(raw["lists"], dict),
    )


def _step(raw: Any, version: int) -> RecordedStep:
    from buildah_py.cache.ingredients import Ingredients, read_about
    from buildah_py.cache.observations import unpack

    stage, number, text = _of(raw["stage"], str), _of(raw["number"], int), _of(raw["text"], str)
    if "base" in raw:
        base = RecordedBase(_of(raw["base"]["name"], str), _of(raw["base"]["image"], str))
        return RecordedStep(stage, number, text, base=base)
    inputs = {name: _of(digest, str) for name, digest in _of(raw["inputs"], dict).items()}
    ingredients = Ingredients(
        _of(raw["parent"], str), _of(raw["step"], dict), inputs, read_about(raw["about"]), version
    )
    key = step_key(str(ingredients.parent), ingredients.canonical, inputs, version=version)
    if key != raw["key"]:
        raise CacheError(f"the record is damaged: the key of step {number} is not that of its ingredients")
    learned = unpack(canonical_json(raw["learned"])) if "learned" in raw else None
    content, diff_id = _of(raw["content"], str), _of(raw["diff_id"], str)
    return RecordedStep(stage, number, text, None, ingredients, key, content, diff_id, learned)


def _of(value: object, kind: type[_Kind]) -> _Kind:
    if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
        raise TypeError(kind.__name__)
    return value

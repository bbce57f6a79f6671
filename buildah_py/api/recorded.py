"""Record of how an image was built, so that it can be built again: everything but secrets."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING, Any, NamedTuple

from buildah_py.api.container import ContainerOptions
from buildah_py.api.output_options import OutputOptions, ShapeOptions
from buildah_py.buildfile.variables import PROXY_NAMES
from buildah_py.cache.keys import canonical_json
from buildah_py.contexts.named import ContextOptions
from buildah_py.frozen import asdict
from buildah_py.plan.steps import BaseStep, RunStep
from buildah_py.sources.urls import redact, without_credentials

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Sequence

    from buildah_py.api.opening import BuildSession
    from buildah_py.api.request import BuildRequest
    from buildah_py.plan import Node

_PLAIN = ("target", "env", "labels", "network", "platform", "extensions")


class Needs(NamedTuple):
    """What has to stay so that a build is all hits when it is done again, and the ids of its cache mounts."""

    layers: frozenset[str]
    cache_mounts: frozenset[str]


class Recorded(NamedTuple):
    """`options` are those of a BuildRequest; `bases` the layers of each base image by its name."""

    options: dict[str, Any]
    bases: dict[str, tuple[str, ...]]


def record(
    request: BuildRequest,
    session: BuildSession,
    nodes: Sequence[Node],
    layers: Collection[str],
    names: Sequence[str],
    before: bytes | None,
    warnings: Sequence[str],
) -> bytes:
    """Put down what was asked for, the `layers` of all stages that it led through, and what was warned of.

    What other builds under other names needed, which made the same image `before`, is put down beside it.
    Proxies may hold passwords and change nothing: they are left out. So are credentials in URLs, in the build file's
    text too.
    """
    main, settled = session.main, session.settled
    container = asdict(request.container)
    usual = asdict(ContainerOptions())
    steps = (node.step for node in nodes)
    mounts = {mount.id for step in steps if isinstance(step, RunStep) for mount in step.mounts if mount.type == "cache"}
    needs = {"layers": sorted(layers), "cache_mounts": sorted(mounts)}
    return canonical_json(
        {
            "context": main.lasting,
            "file": main.lasting_file(),
            "sources": asdict(session.sources),
            "text": redact(session.build_file.source.text),
            "build_args": {name: value for name, value in settled.build_args.items() if name not in PROXY_NAMES},
            "contexts": [_context(text) for text in request.contexts],
            "allow": sorted(request.allow),
            "container": {name: value for name, value in container.items() if value != usual[name]},
            "shape": asdict(request.outputs.shape),
            "needs": {**_needs(before), **dict.fromkeys(names, needs)},
            "warnings": list(warnings),
            "bases": {node.step.name: node.step.diff_ids for node in nodes if isinstance(node.step, BaseStep)},
            "epoch": settled.epoch,
            **{name: getattr(request, name) for name in _PLAIN},
        }
    )


def _context(text: str) -> str:
    """Return a further context, from whatever directory it is asked for next time, and without a password in a URL."""
    name, _, value = text.partition("=")
    if "://" in value:
        return f"{name}={without_credentials(value)}"
    return f"{name}={os.path.abspath(value)}" if os.path.isdir(value) else text


def read_record(data: bytes) -> Recorded:
    """Read what `record` put down."""
    raw = json.loads(data)
    for name in ("needs", "layers", "warnings"):
        raw.pop(name, None)
    bases = {name: tuple(diff_ids) for name, diff_ids in raw.pop("bases").items()}
    container = {name: _frozen(value) for name, value in raw.pop("container").items()}
    if container.get("limits") is not None:
        from buildah_py.sandbox.spec import ResourceLimits

        container["limits"] = ResourceLimits(**container["limits"])
    raw["contexts"] = tuple(raw["contexts"])
    shape = {name: _frozen(value) for name, value in raw.pop("shape", {}).items()}
    raw["outputs"] = OutputOptions(shape=ShapeOptions(**shape))
    raw["sources"] = ContextOptions(**raw.get("sources", {}))
    options = {**raw, "allow": frozenset(raw["allow"]), "container": ContainerOptions(**container)}
    return Recorded(options, bases)


def read_needs(data: bytes, names: Collection[str]) -> Needs:
    """Read what the builds under these names need; where it is not known of a name, what all need."""
    known = _needs(data)
    asked = names if names and known.keys() >= set(names) else known
    return Needs(*(frozenset(one for name in asked for one in known[name][key]) for key in Needs._fields))


def call_too(data: bytes, name: str, names: Sequence[str]) -> bytes:
    """Give the record of an image that `name` calls, which has got further `names`."""
    needs = {key: sorted(values) for key, values in read_needs(data, (name,))._asdict().items()}
    return canonical_json({**json.loads(data), "needs": {**_needs(data), **dict.fromkeys(names, needs)}})


def _needs(data: bytes | None) -> dict[str, dict[str, list[str]]]:
    """Read what builds need, by the names that they gave; a record from before that was told apart has layers alone."""
    raw = {} if data is None else json.loads(data)
    before = {"": {"layers": raw["layers"], "cache_mounts": []}} if "layers" in raw else {}
    needs: dict[str, dict[str, list[str]]] = raw.get("needs", before)
    return needs


def warned(
    before: bytes | None, put_down: Callable[[Sequence[str]], bytes], look: Callable[[], list[str]]
) -> tuple[list[str], bytes]:
    """Return the warnings of a build and its record, which `put_down` makes with them.

    Where the record would be the one from `before`, its warnings are still right; else `look` finds them.
    """
    if before is not None:
        known = list(json.loads(before).get("warnings", ()))
        if put_down(known) == before:
            return known, before
    found = look()
    return found, put_down(found)


def _frozen(value: Any) -> Any:
    return tuple(map(_frozen, value)) if isinstance(value, list) else value

"""A container's specification as a file: `--debug` writes it, and `pybuild debug-run` runs it again.

Directories that a run writes to are not in it, nor are values of secrets. Files in memory are texts in it, in which
bytes that are not UTF-8 stand as lone surrogates.
"""

from __future__ import annotations

import json
import os
import stat
from typing import Any, NamedTuple

from buildah_py.errors import UsageError
from buildah_py.frozen import asdict, replace
from buildah_py.sandbox.operations import KINDS, BindMount, FileMount, Operation
from buildah_py.sandbox.spec import ContainerSpec, ResourceLimits

_FORMAT = "pybuild container plan"
_VERSION = 1
_MADE_ANEW = ("upper", "work", "init")


class ContainerPlan(NamedTuple):
    """A container to be run again; `upper`, `work` and `init` of it are empty. `root` is mode, owner, group of "/"."""

    store: str
    container: ContainerSpec
    root: tuple[int, int, int]


def by_paths(container: ContainerSpec) -> ContainerSpec:
    """Give the container with paths instead of descriptors that are open here."""
    return replace(container, mounts=tuple(map(_by_path, container.mounts)))


def _by_path(operation: Operation) -> Operation:
    if not isinstance(operation, BindMount) or isinstance(operation.source, str):
        return operation
    _, *fields = operation.wire()
    fields[0] = os.readlink(f"/proc/self/fd/{operation.source}")
    return BindMount(*fields)


def render(container: ContainerSpec, store: str) -> str:
    """Give the text of the file for a container that is about to be started on layers of `store`."""
    secrets = set(container.secrets)
    root = os.stat(container.upper)
    fields = {name: value for name, value in asdict(container).items() if name not in _MADE_ANEW}
    fields["env"] = [entry for entry in container.env if entry.partition("=")[0] not in secrets]
    fields["mounts"] = [
        _render_operation(operation)
        for operation in by_paths(container).mounts
        if not (isinstance(operation, FileMount) and operation.target in secrets)
    ]
    attributes = [stat.S_IMODE(root.st_mode), root.st_uid, root.st_gid]
    head = {"format": _FORMAT, "version": _VERSION, "store": store, "root": attributes}
    return json.dumps({**head, "container": fields}, indent=1) + "\n"


def _render_operation(operation: Operation) -> dict[str, Any]:
    kind, *values = operation.wire()
    texts = (value.decode("utf-8", "surrogateescape") if isinstance(value, bytes) else value for value in values)
    return {"kind": kind, **dict(zip(operation.fields, texts, strict=True))}


def parse(text: str, name: str) -> ContainerPlan:
    """Read what `render` wrote into the file `name`. Raises UsageError."""
    try:
        data = json.loads(text)
        if data["format"] != _FORMAT or data["version"] != _VERSION:
            raise UsageError(f"{name} is a plan of another pybuild: version {data['version']!r}")
        fields: dict[str, Any] = {field: _tuples(value) for field, value in data["container"].items()}
        fields["mounts"] = tuple(map(_parse_operation, data["container"]["mounts"]))
        fields["limits"] = ResourceLimits(**data["container"]["limits"])
        container = ContainerSpec(upper="", work="", init="", **fields)
        mode, uid, gid = map(int, data["root"])
        return ContainerPlan(str(data["store"]), container, (mode, uid, gid))
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise UsageError(f"{name} is not a plan of a container", hint="--debug says where it writes them") from error


def _parse_operation(data: dict[str, Any]) -> Operation:
    values = [data[field] for field in KINDS[data["kind"]].fields]
    if "content" in data:
        values[KINDS[data["kind"]].fields.index("content")] = data["content"].encode("utf-8", "surrogateescape")
    return KINDS[data["kind"]](*map(_tuples, values))


def _tuples(value: Any) -> Any:
    """Give lists as the tuples that they were."""
    return tuple(map(_tuples, value)) if isinstance(value, list) else value

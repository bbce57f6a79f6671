"""What the image-spec (v1.1) and Docker's image formats ask of JSON, as JSON schemas; and images held to it whole.

Where the specification's text asks for more than its own schemas can say, or do say, so do these.
"""

from __future__ import annotations

import gzip
import json
import tarfile
from hashlib import sha256
from typing import TYPE_CHECKING, Any

import zstandard
from jsonschema import Draft202012Validator

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

OCI = "application/vnd.oci.image"
DOCKER = "application/vnd.docker"

MANIFEST, INDEX, CONFIG = f"{OCI}.manifest.v1+json", f"{OCI}.index.v1+json", f"{OCI}.config.v1+json"
DOCKER_MANIFEST = f"{DOCKER}.distribution.manifest.v2+json"
DOCKER_INDEX = f"{DOCKER}.distribution.manifest.list.v2+json"
DOCKER_CONFIG = f"{DOCKER}.container.image.v1+json"

_TEXT = {"type": "string", "minLength": 1}
_TEXTS = {"type": "array", "items": {"type": "string"}}
_DIGEST = {"type": "string", "pattern": "^(sha256:[0-9a-f]{64}|sha512:[0-9a-f]{128})$"}
_TIME = {"type": "string", "pattern": r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)$"}
_ANNOTATIONS = {"type": "object", "propertyNames": _TEXT, "additionalProperties": {"type": "string"}}
_SET = {"type": "object", "propertyNames": _TEXT, "additionalProperties": {"type": "object", "maxProperties": 0}}
_PLATFORM = {
    "type": "object",
    "required": ["architecture", "os"],
    "properties": {
        "architecture": _TEXT, "os": _TEXT, "variant": _TEXT, "os.version": _TEXT, "os.features": _TEXTS,
    },
    "additionalProperties": False,
}  # fmt: skip


def _descriptor(*media_types: str) -> dict[str, Any]:
    return {
        "type": "object",
        "required": ["mediaType", "digest", "size"],
        "properties": {
            "mediaType": {"enum": list(media_types)},
            "digest": _DIGEST,
            "size": {"type": "integer", "minimum": 0, "maximum": (1 << 63) - 1},
            "urls": {"type": "array", "items": {"type": "string", "pattern": "^[a-z][a-z0-9+.-]*:"}},
            "annotations": _ANNOTATIONS,
            "platform": _PLATFORM,
        },
        "additionalProperties": False,
    }


def _manifest(kind: str, config: str, *layers: str) -> dict[str, Any]:
    return {
        "type": "object",
        "required": ["schemaVersion", "mediaType", "config", "layers"],
        "properties": {
            "schemaVersion": {"const": 2},
            "mediaType": {"const": kind},
            "config": _descriptor(config),
            "layers": {"type": "array", "items": _descriptor(*layers)},
            **({"annotations": _ANNOTATIONS} if kind == MANIFEST else {}),
        },
        "additionalProperties": False,
    }


def _index(kind: str, *manifests: str) -> dict[str, Any]:
    return {
        "type": "object",
        "required": ["schemaVersion", "mediaType", "manifests"],
        "properties": {
            "schemaVersion": {"const": 2},
            "mediaType": {"const": kind},
            "manifests": {"type": "array", "items": _descriptor(*manifests)},
            **({"annotations": _ANNOTATIONS} if kind == INDEX else {}),
        },
        "additionalProperties": False,
    }


_DURATION = {"type": "integer", "minimum": 0}
_CONTAINER: dict[str, Any] = {
    "type": "object",
    "properties": {
        "User": {"type": "string"},
        "ExposedPorts": {**_SET, "propertyNames": {"pattern": r"^\d+(-\d+)?(/(tcp|udp|sctp))?$"}},
        "Env": {"type": "array", "items": {"type": "string", "pattern": "^[^=]+="}},
        "Entrypoint": _TEXTS,
        "Cmd": _TEXTS,
        "Volumes": _SET,
        "WorkingDir": {"type": "string", "pattern": "^/"},
        "Labels": _ANNOTATIONS,
        "StopSignal": {"type": "string", "pattern": r"^(SIG[A-Z0-9]+([+-]\d+)?|\d+)$"},
        "ArgsEscaped": {"type": "boolean"},
        "Healthcheck": {
            "type": "object",
            "properties": {
                "Test": _TEXTS, "Interval": _DURATION, "Timeout": _DURATION, "StartPeriod": _DURATION,
                "StartInterval": _DURATION, "Retries": {"type": "integer", "minimum": 0},
            },
        },
        "OnBuild": _TEXTS,
        "Shell": _TEXTS,
    },
}  # fmt: skip
_IMAGE: dict[str, Any] = {
    "type": "object",
    "required": ["architecture", "os", "rootfs", "config"],
    "properties": {
        **_PLATFORM["properties"],  # type: ignore[dict-item]
        "created": _TIME,
        "author": {"type": "string"},
        "config": _CONTAINER,
        "rootfs": {
            "type": "object",
            "required": ["type", "diff_ids"],
            "properties": {"type": {"const": "layers"}, "diff_ids": {"type": "array", "items": _DIGEST}},
        },
        "history": {
            "type": "array",
            "items": {
                "type": "object",
                "properties": {
                    "created": _TIME, "author": {"type": "string"}, "created_by": {"type": "string"},
                    "comment": {"type": "string"}, "empty_layer": {"type": "boolean"},
                },
            },
        },
    },
}  # fmt: skip
_OCI_LAYERS = [f"{OCI}.layer.v1.tar{end}" for end in ("", "+gzip", "+zstd")]
_DOCKER_LAYERS = [f"{DOCKER}.image.rootfs.diff.tar{end}" for end in ("", ".gzip")]
SCHEMAS = {
    MANIFEST: _manifest(MANIFEST, CONFIG, *_OCI_LAYERS),
    DOCKER_MANIFEST: _manifest(DOCKER_MANIFEST, DOCKER_CONFIG, *_DOCKER_LAYERS),
    INDEX: _index(INDEX, MANIFEST, INDEX, DOCKER_MANIFEST, DOCKER_INDEX),
    DOCKER_INDEX: _index(DOCKER_INDEX, DOCKER_MANIFEST),
    CONFIG: _IMAGE,
    DOCKER_CONFIG: _IMAGE,
    "oci-layout": {
        "type": "object",
        "required": ["imageLayoutVersion"],
        "properties": {"imageLayoutVersion": {"const": "1.0.0"}},
        "additionalProperties": False,
    },
}


def check(kind: str, data: bytes) -> Any:
    """Hold JSON to the schema of its media type; what it says."""
    raw = json.loads(data)
    Draft202012Validator(SCHEMAS[kind]).validate(raw)
    return raw


class Image:
    """An image whose every byte was looked at."""

    def __init__(self, descriptor: dict[str, Any], blob: Callable[[dict[str, Any]], bytes]) -> None:
        self.descriptor = descriptor
        self.manifest = check(descriptor["mediaType"], _verified(descriptor, blob))
        self.config = check(self.manifest["config"]["mediaType"], _verified(self.manifest["config"], blob))
        self.layers = self.manifest["layers"]
        found = []
        for layer in self.layers:
            data = _verified(layer, blob)
            if layer["mediaType"].endswith("gzip"):
                data = gzip.decompress(data)
            elif layer["mediaType"].endswith("zstd"):
                data = zstandard.ZstdDecompressor().decompressobj().decompress(data)
            found.append("sha256:" + sha256(data).hexdigest())
        assert found == self.config["rootfs"]["diff_ids"]
        history = self.config.get("history")
        if history:
            assert sum(not entry.get("empty_layer") for entry in history) == len(found)
        platform = descriptor.get("platform", {})
        assert all(self.config.get(name) == value for name, value in platform.items())
        for name in ("ExposedPorts", "Volumes", "Labels"):
            assert list(self.config["config"].get(name, ())) == sorted(self.config["config"].get(name, ()))


def read(top: dict[str, Any], blob: Callable[[dict[str, Any]], bytes]) -> list[Image]:
    """Give the images that a descriptor leads to, each held to the specification."""
    if top["mediaType"] not in (INDEX, DOCKER_INDEX):
        return [Image(top, blob)]
    index = check(top["mediaType"], _verified(top, blob))
    return [image for inner in index["manifests"] for image in read(inner, blob)]


def read_layout(path: Path) -> list[Image]:
    """Give the images of an OCI layout, a directory or a tar archive of one."""
    if path.is_dir():
        files = {str(one.relative_to(path)): one.read_bytes() for one in path.rglob("*") if one.is_file()}
    else:
        with tarfile.open(path) as opened:
            members = ((member, opened.extractfile(member)) for member in opened)
            files = {member.name: file.read() for member, file in members if file is not None}
    check("oci-layout", files["oci-layout"])
    index = check(INDEX, files["index.json"])

    def blob(descriptor: dict[str, Any]) -> bytes:
        return files["blobs/" + descriptor["digest"].replace(":", "/")]

    return [image for top in index["manifests"] for image in read(top, blob)]


def _verified(descriptor: dict[str, Any], blob: Callable[[dict[str, Any]], bytes]) -> bytes:
    data = blob(descriptor)
    assert ("sha256:" + sha256(data).hexdigest(), len(data)) == (descriptor["digest"], descriptor["size"])
    return data

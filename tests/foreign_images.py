"""Images as others make them: layers of tars in any order and spelling, put together to OCI layouts by hand."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import tarfile
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pathlib import Path

OCI = "application/vnd.oci.image"
DOCKER = "application/vnd.docker"


def tar_of(files: dict[str, str | None], *, mode: int = 0o644, **more: Any) -> bytes:
    """A tar: `name/` is a directory, a text that begins with `->` a symbolic link, None a whiteout's empty file."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.GNU_FORMAT) as tar:
        for name, content in files.items():
            member = tarfile.TarInfo(name.rstrip("/"))
            member.mode = mode
            member.mtime = 1_600_000_000
            for key, value in more.items():
                setattr(member, key, value)
            data = b""
            if name.endswith("/"):
                member.type = tarfile.DIRTYPE
                member.mode = int(content, 8) if content else 0o755
            elif content is not None and content.startswith("->"):
                member.type = tarfile.SYMTYPE
                member.linkname = content[2:]
            else:
                data = (content or "").encode()
                member.size = len(data)
            tar.addfile(member, io.BytesIO(data))
    return buffer.getvalue()


def digest_of(data: bytes) -> str:
    return "sha256:" + hashlib.sha256(data).hexdigest()


@dataclass
class Layout:
    """An OCI layout that is written by hand."""

    path: Path
    entries: list[dict[str, Any]] = field(default_factory=list)

    def blob(self, data: bytes, media_type: str, **more: Any) -> dict[str, Any]:
        """Write a blob; its descriptor."""
        digest = digest_of(data)
        file = self.path / "blobs/sha256" / digest.partition(":")[2]
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(data)
        return {"mediaType": media_type, "digest": digest, "size": len(data), **more}

    def layer(self, tar: bytes, compression: str = "gzip", *, docker: bool = False) -> tuple[dict[str, Any], str]:
        """Write a layer; its descriptor and diff_id."""
        if compression == "gzip":
            data = gzip.compress(tar, mtime=0)
        elif compression == "zstd":
            import zstandard

            data = zstandard.compress(tar)
        else:
            data = tar
        end = f"+{compression}" if compression else ""
        kind = f"{DOCKER}.image.rootfs.diff.tar.{compression}" if docker else f"{OCI}.layer.v1.tar{end}"
        return self.blob(data, kind), digest_of(tar)

    def image(
        self,
        layers: list[tuple[dict[str, Any], str]],
        *,
        architecture: str = "amd64",
        variant: str = "",
        docker: bool = False,
        config: dict[str, Any] | None = None,
    ) -> dict[str, Any]:
        """Write config and manifest; the manifest's descriptor with its platform."""
        platform = {"architecture": architecture, "os": "linux", **({"variant": variant} if variant else {})}
        raw = {
            **platform,
            "config": {"Env": ["PATH=/bin"], "Cmd": ["sh"], **(config or {})},
            "rootfs": {"type": "layers", "diff_ids": [diff_id for _, diff_id in layers]},
        }
        kind = f"{DOCKER}.container.image.v1+json" if docker else f"{OCI}.config.v1+json"
        manifest: dict[str, Any] = {
            "schemaVersion": 2,
            "mediaType": f"{DOCKER}.distribution.manifest.v2+json" if docker else f"{OCI}.manifest.v1+json",
            "config": self.blob(json.dumps(raw, indent=1).encode(), kind),
            "layers": [descriptor for descriptor, _ in layers],
        }
        return self.blob(json.dumps(manifest, indent=1).encode(), manifest["mediaType"], platform=platform)

    def index(self, manifests: list[dict[str, Any]], *, docker: bool = False) -> dict[str, Any]:
        """Write an index; its descriptor."""
        kind = f"{DOCKER}.distribution.manifest.list.v2+json" if docker else f"{OCI}.index.v1+json"
        raw = {"schemaVersion": 2, "mediaType": kind, "manifests": manifests}
        return self.blob(json.dumps(raw).encode(), kind)

    def attestation(self, image: dict[str, Any]) -> dict[str, Any]:
        """Write what buildx puts beside an image; its descriptor."""
        statement = self.blob(b'{"_type":"https://in-toto.io/Statement/v0.1"}', "application/vnd.in-toto+json")
        manifest: dict[str, Any] = {
            "schemaVersion": 2,
            "mediaType": f"{OCI}.manifest.v1+json",
            "config": self.blob(b"{}", f"{OCI}.config.v1+json"),
            "layers": [statement],
        }
        return self.blob(
            json.dumps(manifest).encode(),
            manifest["mediaType"],
            platform={"architecture": "unknown", "os": "unknown"},
            annotations={
                "vnd.docker.reference.type": "attestation-manifest",
                "vnd.docker.reference.digest": image["digest"],
            },
        )

    def name(self, descriptor: dict[str, Any], tag: str) -> None:
        """Put something into the layout's index under a tag."""
        self.entries.append({**descriptor, "annotations": {"org.opencontainers.image.ref.name": tag}})
        self.path.mkdir(exist_ok=True)
        (self.path / "oci-layout").write_text('{"imageLayoutVersion":"1.0.0"}')
        (self.path / "index.json").write_text(json.dumps({"schemaVersion": 2, "manifests": self.entries}))

    def push(self, host: str, name: str, descriptor: dict[str, Any]) -> None:
        """Push something with all that it leads to, to a registry without TLS, as `name` (repository:tag)."""
        from http.client import HTTPConnection

        repository, _, tag = name.partition(":")
        connection = HTTPConnection(host)

        def ask(method: str, path: str, data: bytes = b"", kind: str = "application/octet-stream") -> str:
            connection.request(method, path, data, {"Content-Type": kind})
            answer = connection.getresponse()
            assert answer.status in (201, 202), (answer.status, answer.read())
            answer.read()
            return answer.getheader("Location") or ""

        def bring(one: dict[str, Any], name: str) -> None:
            data = (self.path / "blobs/sha256" / one["digest"].partition(":")[2]).read_bytes()
            if "manifest" not in one["mediaType"] and "index" not in one["mediaType"]:
                place = ask("POST", f"/v2/{repository}/blobs/uploads/")
                place = place[place.index("/v2/") :]
                ask("PUT", f"{place}{'&' if '?' in place else '?'}digest={one['digest']}", data)
                return
            raw = json.loads(data)
            inside = [*raw.get("manifests", ()), *raw.get("layers", ()), *filter(None, [raw.get("config")])]
            for inner in inside:
                bring(inner, inner["digest"])
            ask("PUT", f"/v2/{repository}/manifests/{name}", data, one["mediaType"])

        bring(descriptor, tag or "latest")
        connection.close()

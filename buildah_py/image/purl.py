"""Package URLs of images (purl-spec, types/docker-definition): what statements about an image call it."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import quote

if TYPE_CHECKING:
    from buildah_py.image.platform import Platform
    from buildah_py.image.reference import Reference

_HUB = "docker.io"
_LIBRARY = "library/"


def docker_purl(name: Reference, platform: Platform | None = None) -> str:
    """Return `pkg:docker/[HOST/]PATH[@TAG][?digest=…&platform=…]`; the Hub and its library are left out.

    As BuildKit has it, the version is the tag, and a digest stands behind; `@` is not in front of no tag.
    """
    path = name.repository
    path = path.removeprefix(_LIBRARY) if name.registry == _HUB else f"{name.registry}/{path}"
    version = f"@{quote(name.tag, safe='')}" if name.tag else ""
    qualifiers = [f"digest={quote(name.digest, safe=':')}"] if name.digest else []
    if platform is not None:
        qualifiers.append(f"platform={quote(str(platform), safe='')}")
    quoted = "/".join(quote(part, safe="") for part in path.split("/"))
    return f"pkg:docker/{quoted}{version}" + (f"?{'&'.join(qualifiers)}" if qualifiers else "")

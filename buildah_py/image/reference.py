"""Names of images: `[registry/]repository[:tag][@digest]`, with the defaults that Docker made customary.

The grammar is that of the distribution specification and of github.com/distribution/reference.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from buildah_py.errors import ImageError, UsageError
from buildah_py.image import digest as digests
from buildah_py.image.numbers import decimal

DOCKER_HUB = "docker.io"
OFFICIAL = "library/"
DEFAULT_TAG = "latest"
LAYOUT = "oci-layout://"
"""How the name of an image in an OCI layout begins, where such names are taken."""

_HOST = (
    r"(?:[a-zA-Z0-9]|[a-zA-Z0-9][a-zA-Z0-9-]*[a-zA-Z0-9])"
    r"(?:\.(?:[a-zA-Z0-9]|[a-zA-Z0-9][a-zA-Z0-9-]*[a-zA-Z0-9]))*"
    r"|\[[a-fA-F0-9]*:[a-fA-F0-9:]+\]"
)
_COMPONENT = re.compile(r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*")
_TAG = re.compile(r"\w[\w.-]{0,127}", re.ASCII)
_IMAGE_ID = re.compile(r"[a-f0-9]{64}")
_MAX_NAME = 255


class Reference(NamedTuple):
    """Name of an image: `registry` is a host with an optional port, `repository` a path below it.

    A reference may have a tag, a digest, both or neither.
    """

    registry: str
    repository: str
    tag: str | None = None
    digest: str | None = None

    @property
    def name(self) -> str:
        """Registry and repository: `docker.io/library/busybox`."""
        return f"{self.registry}/{self.repository}"

    @property
    def full(self) -> str:
        """Every part that is there, nothing left to defaults: `docker.io/library/busybox:1.36`."""
        return self.name + self._rest()

    @property
    def familiar(self) -> str:
        """The shortest spelling that parses to the same: `busybox:1.36`."""
        if self.registry != DOCKER_HUB:
            return self.full
        short = self.repository.removeprefix(OFFICIAL)
        if "/" in short or _IMAGE_ID.fullmatch(short):
            short = self.repository  # library/a/b is not a/b, and 64 hexadecimal digits alone are an image's id
        if "/" in short and _is_host(short.partition("/")[0]):
            return self.full
        return short + self._rest()

    def with_default_tag(self) -> Reference:
        """Name the tag `latest` where there is neither tag nor digest."""
        return self if self.tag or self.digest else self._replace(tag=DEFAULT_TAG)

    def with_tag(self, tag: str) -> Reference:
        """Name another tag and no digest. Raises UsageError for a malformed tag."""
        if not _TAG.fullmatch(tag):
            raise UsageError(
                f"`{tag}` is not a tag", hint="letters, digits, `_`, `.` and `-`, at most 128, not `.` or `-` first"
            )
        return self._replace(tag=tag, digest=None)

    def with_digest(self, digest: str) -> Reference:
        """Pin to `digest`; a tag stays. Raises ImageError for a malformed digest."""
        return self._replace(digest=digests.validate(digest))

    def __str__(self) -> str:
        return self.full

    def _rest(self) -> str:
        return (f":{self.tag}" if self.tag else "") + (f"@{self.digest}" if self.digest else "")


def parse(text: str) -> Reference:
    """Read an image reference. Raises UsageError that says what is wrong with `text`."""
    if not text:
        raise _wrong(text, "it is empty")
    if _IMAGE_ID.fullmatch(text):
        raise _wrong(text, "64 hexadecimal digits are an image's id, not a name")
    name, at, digest = text.partition("@")
    if at:
        try:
            digests.validate(digest)
        except ImageError as error:
            raise _wrong(text, error.message) from error
    registry, path = _split_registry(name)
    repository, colon, tag = path.partition(":")
    if colon and not _TAG.fullmatch(tag):
        raise _wrong(text, f"`{tag}` is not a tag" if tag else "the tag behind `:` is empty")
    if registry != DOCKER_HUB:
        _check_host(text, registry)
    if registry == "index.docker.io":
        registry = DOCKER_HUB
    if registry == DOCKER_HUB and "/" not in repository:
        repository = OFFICIAL + repository
    _check_repository(text, repository)
    if len(registry) + 1 + len(repository) > _MAX_NAME:
        raise _wrong(text, f"the name is longer than {_MAX_NAME} characters")
    return Reference(registry, repository, tag or None, digest or None)


def is_image_id(text: str) -> bool:
    """Whether a text is a whole image id in hexadecimal, which is not a name."""
    return _IMAGE_ID.fullmatch(text) is not None


def _split_registry(name: str) -> tuple[str, str]:
    first, slash, rest = name.partition("/")
    if slash and _is_host(first):
        return first, rest
    return DOCKER_HUB, name


def _is_host(component: str) -> bool:
    """Whether the first component of a name is a registry's host rather than a directory of Docker Hub."""
    return component == "localhost" or "." in component or ":" in component or component != component.lower()


def _check_host(text: str, registry: str) -> None:
    host, colon, port = registry.rpartition(":")
    if not colon or registry.endswith("]"):
        host, port = registry, ""
    elif not 0 < decimal(port) <= 65535:
        raise _wrong(text, f"`{port}` is not a port")
    if not re.fullmatch(_HOST, host):
        raise _wrong(text, f"`{host}` is not a host name")


def _check_repository(text: str, repository: str) -> None:
    for component in repository.split("/"):
        if _COMPONENT.fullmatch(component):
            continue
        if not component:
            raise _wrong(text, "a part of the repository's name is empty")
        if _COMPONENT.fullmatch(component.lower()):
            raise _wrong(text, "the repository's name has to be lower-case", hint=f"try `{text.lower()}`")
        raise _wrong(text, f"`{component}` cannot be part of a repository's name")


def _wrong(text: str, why: str, hint: str = "") -> UsageError:
    return UsageError(
        f"`{text}` is not an image reference: {why}",
        hint=hint or "references look like [registry[:port]/]name[:tag][@sha256:...]",
    )

"""URLs of sources: which context is one, and how they are shown and kept without their credentials."""

from __future__ import annotations

import os
import re
from typing import Final, Literal, NamedTuple

from buildah_py.buildfile.remote import kind_of
from buildah_py.errors import SourceError

PlaceKind = Literal["path", "stdin", "http", "git", "tar", "s3"]
STDIN: Final = "-"
_TAR: Final = "tar://"
_BUCKET: Final = "s3://"
_GIT: Final = ("git+https://", "git+http://", "git+ssh://")
_INSIDE: Final = "#:"

_CREDENTIALS: Final = re.compile(r"(?<=://)[^/?#\s]*@")
_SECRET_QUERY: Final = re.compile(
    r"([?&](?:[^=&#\s]*(?:token|key|secret|signature|password|credential|sig)[^=&#\s]*)=)[^&#\s]*", re.IGNORECASE
)


def context_url(context: str) -> str:
    """Give the URL that a context's text stands for: `github.com/…` means https; empty for a path."""
    if context.startswith("github.com/") and not os.path.isdir(context):
        return "https://" + context
    return context if kind_of(context) != "path" else ""


class ContextPlace(NamedTuple):
    """Where a main context is: a path, `-`, a URL, an archive's path, or BUCKET/KEY; and a directory inside of it.

    Of a repository the directory stands in its URL.
    """

    kind: PlaceKind
    where: str
    inside: str = ""

    def text(self) -> str:
        """Return what an archive or an object is called by, as `context_place` reads it."""
        return f"{self.kind}://{self.where}{_INSIDE if self.inside else ''}{self.inside}"


def context_place(context: str) -> ContextPlace:
    """Read what a main context is called: beside what `context_url` knows `tar://FILE` and `s3://BUCKET/KEY`.

    Both may end with `#:DIRECTORY`; `tar://stdin` is standard input. `git+https://…` is a repository whose URL does not
    end with .git.
    """
    if context == STDIN:
        return ContextPlace("stdin", STDIN)
    if context.startswith(_GIT):
        return ContextPlace("git", context.removeprefix("git+"))
    scheme = next((one for one in (_TAR, _BUCKET) if context.startswith(one)), "")
    if scheme:
        where, _, inside = context.removeprefix(scheme).partition(_INSIDE)
        if scheme == _TAR and where == "stdin":
            return ContextPlace("stdin", STDIN, inside)
        return ContextPlace("tar" if scheme == _TAR else "s3", where, inside)
    url = context_url(context)
    return ContextPlace(kind_of(url), url) if url else ContextPlace("path", context)


def as_repository(url: str) -> str:
    """Return the URL of a repository as `context_place` knows it for one, whatever it ends with."""
    return url if kind_of(url) == "git" else f"git+{url}"


def redact(text: str) -> str:
    """Take user names, passwords and tokens out of the URLs in a text that somebody will read."""
    return _SECRET_QUERY.sub(r"\1xxxxx", _CREDENTIALS.sub("xxxxx@", text))


def check(url: str) -> str:
    """Refuse what is not a URL: one with white space or control characters, which no request line may hold, too."""
    from urllib.parse import urlsplit

    if any(character <= " " or character == "\x7f" for character in url):
        raise SourceError(f"{redact(url)!r} is not a URL: it has a blank or a control character in it")
    try:
        urlsplit(url)
    except ValueError as error:
        raise SourceError(f"{redact(url)} is not a URL: {error}") from None
    return url


def without_credentials(url: str) -> str:
    """Take passwords out of a URL that is kept, and user names that only go with them: ssh's stay."""
    scheme, mark, rest = url.partition("://")
    end = min(position for position in (*map(rest.find, "/?#"), len(rest)) if position >= 0)
    user, _, host = rest[:end].rpartition("@")
    if not mark:
        return url
    name = user.partition(":")[0]
    kept = f"{name}@" if name and scheme not in ("http", "https") else ""
    return _SECRET_QUERY.sub(r"\1xxxxx", f"{scheme}://{kept}{host}{rest[end:]}")

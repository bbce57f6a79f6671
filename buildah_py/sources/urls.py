"""What a source's text is, a URL, a git repository or a path, and how a URL is shown without its credentials."""

from __future__ import annotations

import re
from typing import Final, Literal

from buildah_py.errors import SourceError

Kind = Literal["path", "http", "git"]

_SCP: Final = re.compile(r"[a-zA-Z0-9_][\w.-]*@[\w.-]+:(?!//).+")
_CREDENTIALS: Final = re.compile(r"(?<=://)[^/?#\s]*@")
_SECRET_QUERY: Final = re.compile(
    r"([?&](?:[^=&#\s]*(?:token|key|secret|signature|password|credential|sig)[^=&#\s]*)=)[^&#\s]*", re.IGNORECASE
)


def kind_of(source: str) -> Kind:
    """Say what a source of ADD, or a context, is by its text alone."""
    head = source.partition("#")[0]
    if head.startswith(("http://", "https://")):
        return "git" if head.partition("?")[0].endswith(".git") else "http"
    if head.startswith(("git://", "ssh://")) or _SCP.fullmatch(head):
        return "git"
    return "path"


def redact(text: str) -> str:
    """Take user names, passwords and tokens out of the URLs in a text that somebody will read."""
    return _SECRET_QUERY.sub(r"\1xxxxx", _CREDENTIALS.sub("xxxxx@", text))


def check(url: str) -> str:
    """Refuse a URL with white space or control characters in it, which no request line may hold."""
    if any(character <= " " or character == "\x7f" for character in url):
        raise SourceError(f"{redact(url)!r} is no URL: it has a blank or a control character in it")
    return url

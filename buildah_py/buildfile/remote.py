"""Telling the sources of COPY and ADD apart: a file of the context, a git repository, something on a web server."""

from __future__ import annotations

import re

_SCP = re.compile(r"[a-zA-Z0-9\-_.]+@[^/:]+:.*$")
_GIT_HTTP = re.compile(r"https?://[^#?]*\.git(?:[#?].*)?$")


def is_git(source: str) -> bool:
    """Whether `source` names a git repository."""
    return source.startswith(("git://", "ssh://")) or bool(_GIT_HTTP.match(source)) or bool(_SCP.match(source))


def is_http(source: str) -> bool:
    """Whether `source` is to be fetched from a web server."""
    return source.startswith(("http://", "https://")) and not is_git(source)

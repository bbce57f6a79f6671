"""Telling sources apart by their text alone: a path, a git repository, something on a web server."""

from __future__ import annotations

import re
from typing import Final, Literal

SourceKind = Literal["path", "http", "git"]

_SCP: Final = re.compile(r"[a-zA-Z0-9_][\w.-]*@[\w.-]+:(?!//).+")


def kind_of(source: str) -> SourceKind:
    """Say what a source of COPY or ADD, or a context, is."""
    head = source.partition("#")[0]
    if head.startswith(("http://", "https://")):
        return "git" if head.partition("?")[0].endswith(".git") else "http"
    if head.startswith(("git://", "ssh://")) or _SCP.fullmatch(head):
        return "git"
    return "path"

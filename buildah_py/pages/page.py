"""A page around its parts: one file that asks for nothing, whose own style and script alone a browser accepts."""

from __future__ import annotations

import base64
import hashlib
from typing import TYPE_CHECKING, Final

from buildah_py.errors import OutputError
from buildah_py.pages.style import SCRIPT, STYLE
from buildah_py.pages.text import safe
from buildah_py.version import __version__

if TYPE_CHECKING:
    from collections.abc import Iterable

LOGO: Final = (
    '<svg viewBox="0 0 24 24" aria-hidden="true"><g fill="none" stroke="currentColor" stroke-width="2" '
    'stroke-linejoin="round"><path d="M12 2.5 21 7l-9 4.5L3 7z"/><path d="m3 12 9 4.5 9-4.5"/>'
    '<path d="m3 17 9 4.5 9-4.5"/></g></svg>'
)


def page(title: str, head: str, parts: Iterable[str], *, kind: str) -> str:
    """Give a page with that title (text), a head and parts (HTML); `kind` says what it is a page of."""
    policy = (
        "default-src 'none'; base-uri 'none'; form-action 'none'; "
        f"style-src '{_digest(STYLE)}'; script-src '{_digest(SCRIPT)}'; img-src data:"
    )
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        '<meta name="color-scheme" content="light dark">\n<link rel="icon" href="data:,">\n'
        f"<title>{safe(title)} · {safe(kind)} · pybuild</title>\n<style>{STYLE}</style>\n</head>\n"
        f'<body class="pb">\n<header>\n<p class="brand">{LOGO}pybuild {safe(kind)}</p>\n{head}</header>\n<main>\n'
        f"{''.join(parts)}</main>\n<footer>pybuild {safe(__version__)}</footer>\n"
        f"<script>{SCRIPT}</script>\n</body>\n</html>\n"
    )


def write_page(path: str, text: str) -> None:
    """Write a page, or whatever tells of a build, to a file. Raises OutputError."""
    try:
        with open(path, "w", encoding="utf-8", errors="backslashreplace") as file:
            file.write(text)
    except OSError as error:
        raise OutputError(f"the page cannot be written to {path}: {error.strerror}") from error


def _digest(text: str) -> str:
    return f"sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}"

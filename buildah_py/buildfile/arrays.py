"""Commands that look like JSON arrays and are not, so that the shell gets them."""

from __future__ import annotations

import re

from buildah_py.buildfile import tree

_ARRAY = r"\[\s*(['\"\u2018-\u201f])"


def array_fault(command: tree.CommandForm) -> str:
    """Say why a command for the shell that was meant as a JSON array is not one; "" where it was not meant so."""
    text = command.text.strip() if isinstance(command, tree.ShellForm) else ""
    begin = re.match(_ARRAY, text)
    if begin is None:
        return ""
    if begin[1] != '"':
        return "JSON wants double quotes"
    if not text.endswith("]"):
        return "its `]` is missing"
    if re.search(r",\s*\]$", text):
        return "a comma stands before its `]`"
    if re.search(r'\\(?![bfnrtu"\\/])', text):
        return "a backslash has to be doubled in JSON"
    return "it is not valid JSON"

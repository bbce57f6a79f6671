"""Lists as `--format` of docker's commands has them: a Go template for each row, or for a table of them."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from buildah_py.cli.tables import table
from buildah_py.cli.template import render

if TYPE_CHECKING:
    from collections.abc import Sequence

_TABLE = "table "
_FIELD = re.compile(r"\{\{[^{}]*?\.([A-Za-z]+)[^{}]*\}\}")


def render_rows(text: str, rows: Sequence[dict[str, Any]]) -> str:
    """Fill in a template for each row; behind the word `table` tabs separate columns. Raises UsageError."""
    text = text.replace("\\t", "\t").replace("\\n", "\n")
    if not text.startswith(_TABLE):
        return "\n".join(render(text, row) for row in rows)
    template = text.removeprefix(_TABLE)
    heads = _FIELD.sub(lambda found: re.sub(r"(?<=[a-z])(?=[A-Z])", " ", found[1]).upper(), template)
    lines = [heads, *(render(template, row) for row in rows)]
    return table([tuple(line.split("\t")) for line in lines])

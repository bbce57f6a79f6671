"""Write the pages of docs/ that are made of the program's own tables: `scripts/run python scripts/make_pages.py`."""

from __future__ import annotations

import json
from pathlib import Path

from buildah_py.bake import schema as bake_schema
from buildah_py.cli import flags_page
from buildah_py.cli.config import schema

DOCS = Path(__file__).resolve().parents[1] / "docs"


def main() -> None:
    """Write them."""
    (DOCS / "flags.md").write_text(flags_page.page(), encoding="utf-8")
    (DOCS / "schema").mkdir(exist_ok=True)
    for name, found in (("config", schema()), ("bake", bake_schema.schema())):
        (DOCS / f"schema/{name}.json").write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()

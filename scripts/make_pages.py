"""Write the pages of docs/ that are made of the program's own tables: `scripts/run python scripts/make_pages.py`."""

from __future__ import annotations

from pathlib import Path

from buildah_py.cli import flags_page

DOCS = Path(__file__).resolve().parents[1] / "docs"


def main() -> None:
    """Write them."""
    (DOCS / "flags.md").write_text(flags_page.page(), encoding="utf-8")


if __name__ == "__main__":
    main()

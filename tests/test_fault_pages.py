"""What the pages about security and reliability say is shown by a test: there has to be such a test."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

TESTS = Path(__file__).parent
DOCS = TESTS.parent / "docs"


@pytest.mark.parametrize(("page", "least_files", "least_names"), [("security.md", 10, 30), ("reliability.md", 30, 60)])
def test_every_test_that_the_page_names_is_there(page: str, least_files: int, least_names: int) -> None:
    named = re.findall(r"`([\w/]+\.py)?(?:end_to_end)?(?:::)?(test_\w+)?`", (DOCS / page).read_text())
    files = {file.removeprefix("tests/") for file, _ in named if file.rpartition("/")[2].startswith("test_")}
    names = {name for _, name in named if name}
    assert len(files) > least_files
    assert len(names) > least_names
    assert [file for file in files if not (TESTS / file).is_file()] == []
    pattern = re.compile(r"^def (test_\w+)", re.MULTILINE)
    known = {name for path in TESTS.rglob("test_*.py") for name in pattern.findall(path.read_text())}
    assert names - known == set()

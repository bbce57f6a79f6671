"""What docs/security.md says is shown by a test: there has to be such a test."""

from __future__ import annotations

import re
from pathlib import Path

TESTS = Path(__file__).parent
PAGE = TESTS.parent / "docs" / "security.md"


def test_every_test_that_the_page_names_is_there() -> None:
    named = re.findall(r"`([\w/]+\.py)?(?:end_to_end)?(?:::)?(test_\w+)?`", PAGE.read_text())
    files = {file for file, _ in named if file.rpartition("/")[2].startswith("test_")}
    names = {name for _, name in named if name}
    assert len(files) > 10
    assert len(names) > 30
    assert [file for file in files if not (TESTS / file).is_file()] == []
    pattern = re.compile(r"^def (test_\w+)", re.MULTILINE)
    known = {name for path in TESTS.rglob("test_*.py") for name in pattern.findall(path.read_text())}
    assert names - known == set()

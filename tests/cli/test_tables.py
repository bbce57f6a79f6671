"""What tables show of times."""

from __future__ import annotations

import pytest

from buildah_py.cli.tables import ago


@pytest.mark.parametrize(
    ("created", "shown"),
    [
        ("2026-01-31T12:00:00Z", "just now"),
        ("2026-01-31T11:59:58.25Z", "just now"),
        ("2026-01-31T11:59:30Z", "30 seconds ago"),
        ("2026-01-31T10:30:00Z", "90 minutes ago"),
        ("2026-01-31T08:00:00+01:00", "5 hours ago"),
        ("2026-01-20T12:00:00Z", "11 days ago"),
        ("2025-12-31T12:00:00Z", "4 weeks ago"),
        ("2025-01-31T12:00:00Z", "12 months ago"),
        ("1970-01-01T00:00:00Z", "56 years ago"),
        ("2026-02-01T00:00:00Z", "in the future"),
        ("", ""),
        ("yesterday", "yesterday"),
    ],
)
def test_how_long_ago(created: str, shown: str) -> None:
    assert ago(created, 1_769_860_800.0) == shown

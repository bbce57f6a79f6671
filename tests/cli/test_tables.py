"""What tables show of times."""

from __future__ import annotations

import pytest

from buildah_py.cli.tables import ago, check_format, since, table
from buildah_py.cli.template_rows import render_rows
from buildah_py.errors import UsageError


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


def test_how_long_ago_a_moment_was() -> None:
    assert since(1_769_860_000 * 10**9, 1_769_860_800.0) == "13 minutes ago"


def test_a_column_is_cut_where_a_table_would_be_too_wide() -> None:
    rows = [("NAME", "SIZE"), ("registry.example.com/team/application", "1.2GB"), ("b", "3MB")]
    assert table(rows) == table(rows, cut=0, width=80)
    for width in (40, 30, 20):
        lines = table(rows, cut=0, width=width, tail=True).splitlines()
        assert max(map(len, lines)) <= width
        assert lines[1].startswith("…")
        assert lines[1].split()[0].endswith("application"[-10:])
        assert table(rows, cut=0, width=width).splitlines()[1].startswith("registry.ex")
    assert max(map(len, table(rows, cut=0, width=5).splitlines())) == len("…application  1.2GB")
    assert table([*rows, ("", "")], cut=1, width=30).splitlines()[1].split()[1] == "1.2GB"


def test_templates_for_rows() -> None:
    rows = [{"Repository": "a", "CreatedSince": "1 day ago"}, {"Repository": "bb", "CreatedSince": "now"}]
    assert render_rows("{{.Repository}}", rows) == "a\nbb"
    assert render_rows("{{.Repository}}:{{json .CreatedSince}}", rows) == 'a:"1 day ago"\nbb:"now"'
    assert render_rows("table {{.Repository}}\\t{{.CreatedSince}}", rows).splitlines() == [
        "REPOSITORY   CREATED SINCE",
        "a            1 day ago",
        "bb           now",
    ]
    assert render_rows("{{.Repository}}", []) == ""
    with pytest.raises(UsageError, match="did you mean Repository"):
        render_rows("{{.Repositry}}", rows)
    with pytest.raises(UsageError, match="did you mean json"):
        check_format("jsn")

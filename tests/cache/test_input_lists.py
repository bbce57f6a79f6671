from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from buildah_py.cache.input_lists import ListedSource, compare, pack, parse, shorten

NAMES = st.text(alphabet="ab", min_size=1, max_size=3)
ROWS = st.tuples(
    NAMES,
    st.just("file"),
    st.sampled_from(["644", "755"]),
    st.just("0:0"),
    st.sampled_from(["", "a", "aa", "b"]),
    st.sampled_from(["", "a"]),
    st.sampled_from(["", "86400"]),
)
LISTS = st.lists(ROWS, max_size=8)
SOURCES = st.lists(
    st.builds(ListedSource, st.sampled_from(["dir", "other"]), NAMES, st.just(()), st.sampled_from(["", "5"])),
    min_size=1,
    max_size=2,
)


def once(*parts: list[tuple[str, ...]]) -> tuple[tuple[str, ...], ...]:
    """Give each path once."""
    return tuple({row[0]: row for part in parts for row in part}.values())


@settings(max_examples=500, deadline=None)
@given(sources=SOURCES, rows=LISTS, more=LISTS, cut=st.integers(0, 8), gone=st.integers(0, 3))
def test_what_is_left_of_two_lists_tells_the_same(
    sources: list[ListedSource], rows: list[tuple[str, ...]], more: list[tuple[str, ...]], cut: int, gone: int
) -> None:
    old = [one._replace(rows=once(rows)) for one in sources]
    new = [sources[0]._replace(rows=once(rows[:cut], more[:2], rows[cut + gone :]))]
    bases = ["base", "second"]
    for before, after in ((old, new), (new, old), (old, old)):
        one, other = shorten(pack(before), pack(after))
        assert compare(parse(one), parse(other), bases, bases) == compare(before, after, bases, bases)


def test_of_many_files_those_near_the_changed_one_are_left() -> None:
    rows = [(f"f{number:03}", "file", "644", "0:0", f"sha256:{number}", "", "") for number in range(500)]
    changed = [*rows[:250], ("f250", "file", "644", "0:0", "sha256:x", "", ""), *rows[251:]]
    for old, new in ((rows, changed), (rows[:250] + rows[251:], rows), (rows[1:], rows), (rows, rows[:-1])):
        lists = [pack([ListedSource("dir", "", tuple(one))]) for one in (old, new)]
        assert all(len(parse(one)[0].rows) <= 2 for one in shorten(*lists))
    assert all(parse(one)[0].rows == () for one in shorten(lists[0], lists[0]))

"""Finding the record that a step is compared with, and saying how the two differ."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from buildah_py.cache import Cache, Made, input_lists, step_key
from buildah_py.cache.differences import differences, summary
from buildah_py.cache.explain import explain
from buildah_py.cache.ingredients import About, Ingredients, InputNote, read_about
from buildah_py.cache.input_lists import FileDifference, ListedSource, Row
from buildah_py.errors import CacheError
from buildah_py.layers.writer import LayerWriter
from buildah_py.store import Store
from buildah_py.store.records import NEAR

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

texts = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=8)
rows = st.builds(Row, *[texts] * 7).map(tuple)
sources = st.builds(
    ListedSource, st.sampled_from(["dir"]), texts, st.lists(rows, max_size=4).map(tuple), texts
) | st.builds(ListedSource, st.just("other"), texts, st.lists(rows, min_size=1, max_size=1).map(tuple), texts)


@given(st.lists(sources, max_size=3))
def test_lists_of_inputs_are_read_as_they_were_written(listed: list[ListedSource]) -> None:
    assert input_lists.parse(input_lists.pack(listed)) == listed


@given(st.binary(max_size=60))
def test_what_is_no_list_is_refused(data: bytes) -> None:
    try:
        found = input_lists.parse(b"pybuild selection 2\n" + data)
    except CacheError:
        return
    assert input_lists.pack(found).endswith(data) or b"0" in data


def test_files_that_differ() -> None:
    def listed(*rows: tuple[str, ...]) -> list[ListedSource]:
        return [ListedSource("dir", "", rows, rows[0][6])]

    old = listed(("a", "file", "644", "0:0", "1", "", "5"), ("b", "file", "644", "0:0", "2", "", ""))
    new = listed(("a", "file", "600", "1:1", "9", "x=y", "7"), ("c", "file", "644", "0:0", "2", "", ""))
    assert input_lists.compare(old, new, ["src"], ["lib"]) == [
        FileDifference("lib", "mtime", "5", "7"),
        FileDifference("lib/a", "attributes", "", "x=y"),
        FileDifference("lib/a", "content", "1", "9"),
        FileDifference("lib/a", "mode", "644", "600"),
        FileDifference("lib/a", "mtime", "5", "7"),
        FileDifference("lib/a", "owner", "0:0", "1:1"),
        FileDifference("lib/c", "added"),
        FileDifference("src/b", "removed"),
    ]
    assert input_lists.compare(old, old, ["src"], ["lib"]) == []


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(),
        lambda one: (
            st.lists(one, max_size=5) | st.dictionaries(st.sampled_from([*About().to_data(), "x"]), one, max_size=5)
        ),
    )
)
def test_whatever_stands_beside_a_foreign_record_is_read(raw: object) -> None:
    about = read_about(raw)
    assert read_about(about.to_data()) == about


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=3),
    lambda one: st.lists(one, max_size=3) | st.dictionaries(st.sampled_from(["target", "name", "x"]), one, max_size=3),
    max_leaves=6,
)
steps = st.dictionaries(
    st.sampled_from(["op", "args", "env", "mounts", "files", "container", "user", "destination"]), values, max_size=5
)


@given(steps, steps, st.dictionaries(texts, texts, max_size=2), st.dictionaries(texts, texts, max_size=2))
def test_any_two_steps_can_be_compared(
    one: dict[str, object], other: dict[str, object], inputs: dict[str, str], others: dict[str, str]
) -> None:
    """A record that somebody made up gives some answer; different ingredients never give none."""
    old, new = Ingredients("p", one, inputs, About()), Ingredients("p", other, others, About())
    found = differences(old, new, lambda _: None, lambda _: None)
    assert found == [] or summary(found)
    if one.get("user") != other.get("user") and one.get("op") == other.get("op"):
        assert found


def step(text: str, number: int = 2, **inputs: str) -> Ingredients:
    about = About(number=number, text=text, inputs={"sources": InputNote("the build context", True, ("src",))})
    return Ingredients("parent", {"op": "run", "args": ["/bin/sh", "-c", text]}, inputs, about)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store(str(tmp_path / "state")) as store:
        fs = tmp_path / "fs"
        fs.mkdir()
        with LayerWriter(str(fs), userxattr=False, owners=True) as writer:
            writer.add_file("file", b"x")
            captured = writer.finish()
        store.layers.add(str(fs), captured.inventory, captured.diff_id, captured.size)
        yield store


def keep(store: Store, ingredients: Ingredients, **names: object) -> None:
    (layer,) = store.layers.all()
    names = {"own": ("file /x",), **names}
    Cache(store, **names).save(ingredients, Made(layer.diff_id, layer.layer_digest), 1.0)  # type: ignore[arg-type]


def test_no_look_up_goes_through_a_table(store: Store) -> None:
    """Ten thousand records of the same step: a few rows are read."""
    (layer,) = store.layers.all()
    with store.database.transaction():
        for number in range(10_000):
            ingredients = step(f"echo {number}")
            key = step_key("parent", ingredients.canonical, {})
            store.records.save(key, layer.diff_id, b"{}", places=["here", f"there {number}"], created=number)
    with closing(sqlite3.connect(store.database.path)) as database:
        for statement, count in (
            (NEAR, 2),
            ("SELECT * FROM records WHERE key = ?", 1),
            ("SELECT gone FROM gone_records WHERE key = ?", 1),
            ("SELECT data FROM input_lists WHERE digest = ?", 1),
            ("SELECT 1 FROM record_inputs WHERE digest = ?", 1),
            ("DELETE FROM record_places WHERE key = ?", 1),
        ):
            plan = [row[3] for row in database.execute(f"EXPLAIN QUERY PLAN {statement}", ("x",) * count)]
            assert plan
            assert not [line for line in plan if "SCAN" in line or "TEMP B-TREE" in line], plan
    assert len(store.records.near("here", 12)) == 12
    assert store.records.near("here", 1)[0].created == 9_999
    assert [one.created for one in store.records.near("there 77", 12)] == [77]


def test_the_nearest_record(store: Store) -> None:
    for number, text in enumerate(["make first", "make second", "make third"], 2):
        keep(store, step(text, number))
    cache = Cache(store, own=("file /x",))

    def reason(wanted: Ingredients, *others: str) -> str:
        return explain(cache, wanted, None, {}, {("", text) for text in others}).reason

    assert reason(step("make 2nd", 3)) == "command `make second` → `make 2nd`"
    assert reason(step("make second", 7)) == "the record has the same ingredients"
    # One that stands elsewhere in the file now is not what an instruction in its old place was.
    assert reason(step("zzz", 3), "make first", "make second", "make third") == "no record: new instruction"
    assert reason(replace(step("make third", 4), parent="other")) == "parent step 0 changed"
    assert explain(Cache(store, own=("file /y",)), step("make first"), None, {}).reason == "no record: first build"


def test_what_is_kept_of_inputs_goes_with_the_last_record(store: Store) -> None:
    (layer,) = store.layers.all()
    lists = {"sha256:1": lambda: b"x" * 100_000, "sha256:2": lambda: b"y"}
    store.records.save("a", layer.diff_id, b"{}", inputs=lists)
    store.records.save("b", layer.diff_id, b"{}", inputs={"sha256:1": lambda: b"never asked for"})
    assert store.records.input_list("sha256:1") == b"x" * 100_000
    store.records.remove("a")
    assert store.records.input_list("sha256:1") == b"x" * 100_000
    assert store.records.input_list("sha256:2") is None
    store.records.remove("b")
    assert store.records.input_list("sha256:1") is None
    assert store.records.gone("a") is not None
    assert store.records.gone("c") is None
    store.records.save("a", layer.diff_id, b"{}")
    assert store.records.gone("a") is None


def test_a_list_that_was_not_kept_is_not_made_up(store: Store) -> None:
    keep(store, step("x", sources="sha256:1"))
    wanted = step("x", sources="sha256:2")
    found = explain(Cache(store, own=("file /x",)), wanted, None, {"sha256:2": lambda: b""})
    assert found.reason == "RUN changed; which files is not known, as no list of them was kept"


def test_a_damaged_list_is_told_as_such(store: Store) -> None:
    (layer,) = store.layers.all()
    ingredients = step("x", sources="sha256:1")
    Cache(store, own=("file /x",)).save(
        ingredients, Made(layer.diff_id, layer.layer_digest), 1.0, lists={"sha256:1": lambda: b"x" * 100_000}
    )
    for damaged in b"z??", b"s??", b"":
        store.database.change("UPDATE input_lists SET data = ?", (damaged,))
        found = explain(Cache(store, own=("file /x",)), step("x", sources="sha256:2"), None, {"sha256:2": lambda: b""})
        assert found.reason.startswith("RUN changed; which files is not known: its list of files in the store is dam")


def test_a_step_of_another_platform_is_another_step() -> None:
    from buildah_py.plan.steps import RunStep

    def run(platform: str) -> RunStep:
        return RunStep(("true",), (), "/", "", "default", "sandbox", platform)

    old, new = (Ingredients("p", run(name).canonical(), {}, About()) for name in ("linux/amd64", "linux/arm64"))
    assert summary(differences(old, new, lambda _: None, lambda _: None)) == "platform linux/amd64 → linux/arm64"

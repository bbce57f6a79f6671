"""Keys: equal for equal ingredients on any machine, different for anything that can change a result."""

from __future__ import annotations

import os
import subprocess
import sys

from hypothesis import given
from hypothesis import strategies as st

from buildah_py.cache.keys import base_chain, canonical_json, next_chain, step_key

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=10,
)


@given(json_values, json_values)
def test_different_data_is_written_differently(one: object, two: object) -> None:
    same = repr(one) == repr(two) or (one == two and type(one) is type(two))
    assert (canonical_json(one) == canonical_json(two)) == same or one == two


@given(st.dictionaries(st.text(), st.text()))
def test_the_order_of_names_does_not_matter(values: dict[str, str]) -> None:
    backwards = dict(reversed(values.items()))
    assert step_key("p", values, {}) == step_key("p", backwards, {})


@given(st.text(), st.text(), st.text())
def test_ingredients_cannot_flow_into_each_other(one: str, two: str, three: str) -> None:
    key = step_key(one, {"op": two}, {"in": three})
    assert key != step_key(one + "x", {"op": two}, {"in": three})
    assert key != step_key(one, {"op": two + "x"}, {"in": three})
    assert key != step_key(one, {"op": two}, {"in": three + "x"})
    assert key != step_key(one, {"op": two, "in": three}, {})


def test_chains() -> None:
    assert base_chain([]) != base_chain(["a"]) != base_chain(["a", "b"]) != base_chain(["ab"])
    assert next_chain(base_chain([]), "x") != base_chain(["x"])


def test_keys_are_those_of_every_process_and_locale() -> None:
    """A key that changed would lose every cache there is: raise KEY_VERSION when one has to."""
    program = (
        "from buildah_py.cache.keys import step_key; print(step_key('p', {'b': '\\u00e9\\udcff', 'a': [1, None]}, {}))"
    )
    keys = {
        subprocess.run(
            [sys.executable, "-c", program],
            check=True,
            capture_output=True,
            text=True,
            env={**os.environ, "PYTHONHASHSEED": seed, "LC_ALL": locale},
        ).stdout.strip()
        for seed, locale in (("1", "C"), ("2", "C.UTF-8"))
    }
    assert keys == {step_key("p", {"a": [1, None], "b": "\u00e9\udcff"}, {})}

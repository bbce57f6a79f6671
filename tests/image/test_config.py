from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from buildah_py.errors import ImageError
from buildah_py.image import config, timestamp
from buildah_py.image.config import HealthcheckConfig, History, ImageConfig
from buildah_py.image.platform import Platform

ONE = "sha256:" + "1" * 64
TWO = "sha256:" + "2" * 64
BASE: dict[str, Any] = {
    "os": "linux",
    "architecture": "amd64",
    "history": [
        {"created": "2020-01-01T00:00:00Z", "created_by": "/bin/sh -c #(nop) ADD file in /", "x-seen": [1, None]},
        {"created_by": "CMD", "empty_layer": True},
    ],
    "rootfs": {"diff_ids": [ONE], "type": "layers"},
    "config": {
        "Labels": {"b": "2", "a": "1"},
        "Env": ["PATH=/bin", "odd", "A=1"],
        "Cmd": ["sh"],
        "Entrypoint": None,
        "Hostname": "",
        "NetworkDisabled": None,
        "Healthcheck": {"Test": ["CMD", "true"], "Interval": 5, "Future": "x"},
    },
    "docker_version": "1.0",
    "container_config": {"Cmd": None},
}


def base() -> ImageConfig:
    return config.from_bytes(json.dumps(BASE).encode())


def test_from_scratch() -> None:
    made = config.new(Platform("linux", "arm", "v7"))
    assert made.to_bytes() == (
        b'{"architecture":"arm","os":"linux","variant":"v7","config":{},"rootfs":{"type":"layers","diff_ids":[]}}'
    )
    assert made.digest() == config.from_bytes(made.to_bytes()).digest()
    assert made.platform == Platform("linux", "arm", "v7")
    assert (made.env, made.cmd, made.history, made.user) == ((), (), (), "")


def test_unknown_properties_survive() -> None:
    changed = base().with_user("app").with_history("USER app").with_healthcheck(None)
    raw = json.loads(changed.to_bytes())
    assert raw["docker_version"] == "1.0"
    assert raw["container_config"] == {"Cmd": None}
    assert raw["config"]["Hostname"] == ""
    assert raw["config"]["NetworkDisabled"] is None
    assert raw["history"][0]["x-seen"] == [1, None]
    assert "Healthcheck" not in raw["config"]
    assert "Entrypoint" not in raw["config"]
    assert json.loads(base().to_bytes())["config"]["Healthcheck"] == BASE["config"]["Healthcheck"]


def test_the_order_is_fixed() -> None:
    made = base().with_created("2026-01-01T00:00:00Z").with_user("u").with_volumes(["/z", "/a"])
    raw = json.loads(made.to_bytes())
    assert list(raw) == [
        "created", "architecture", "os", "config", "rootfs", "history", "container_config", "docker_version",
    ]  # fmt: skip
    assert list(raw["config"])[:3] == ["User", "Env", "Cmd"]
    assert list(raw["config"]["Labels"]) == ["a", "b"]
    assert list(raw["config"]["Volumes"]) == ["/a", "/z"]
    assert made == base().with_volumes(["/a"]).with_user("u").with_volumes(["/z"]).with_created("2026-01-01T00:00:00Z")


def test_environment() -> None:
    changed = base().with_env("PATH", "/usr/bin").with_env("NEW", "a=b").with_env("A", "")
    assert changed.env == ("PATH=/usr/bin", "odd", "A=", "NEW=a=b")
    assert changed.environment() == {"PATH": "/usr/bin", "A": "", "NEW": "a=b"}
    assert changed.without_env("PATH").env == ("odd", "A=", "NEW=a=b")
    assert changed.with_environment(changed.environment()) is changed
    assert changed.with_environment({"B": "1", "NEW": "2", "A": "="}).env == ("odd", "A==", "NEW=2", "B=1")
    twice = config.from_bytes(base().to_bytes().replace(b'"odd"', b'"A=0"'))
    assert twice.with_environment({"PATH": "/x", "A": "1"}).env == ("PATH=/x", "A=0", "A=1")
    assert twice.with_environment({"PATH": "/bin", "A": "2"}).env == ("PATH=/bin", "A=2")
    assert base().env == ("PATH=/bin", "odd", "A=1")


def test_a_variable_set_twice_in_a_base_becomes_one() -> None:
    twice = config.from_bytes(b'{"config":{"Env":["A=1","B=2","A=3"]}}')
    assert twice.with_env("A", "4").env == ("A=4", "B=2")


_keys = st.text(alphabet="ABC_", min_size=1, max_size=2)
_values = st.text(alphabet=st.characters(exclude_categories=["Cs"]), max_size=6)


@given(st.lists(st.tuples(_keys, _values), max_size=12))
def test_environment_like_a_dictionary(assignments: list[tuple[str, str]]) -> None:
    made = config.new(Platform())
    for key, value in assignments:
        made = made.with_env(key, value)
    expected = dict(assignments)
    assert made.environment() == expected
    assert list(made.environment()) == list(dict.fromkeys(key for key, _ in assignments))
    assert config.from_bytes(made.to_bytes()) == made


def test_every_property_comes_back() -> None:
    check = HealthcheckConfig(("CMD-SHELL", "true"), 1, 2, 3, 4, 5)
    made = (
        config.new(Platform("windows", "amd64", "", "10.0.1", ("win32k",)))
        .with_created("2026-01-01T00:00:00Z")
        .with_author("me")
        .with_user("1:2")
        .with_exposed_ports(["80/tcp", "53/udp"])
        .with_env("A", "b")
        .with_entrypoint(["/e", "x"])
        .with_cmd(["c"])
        .with_volumes(["/v"])
        .with_working_dir("/w")
        .with_labels({"l": "<&>\u2028"})
        .with_stop_signal("SIGINT")
        .with_args_escaped(True)
        .with_healthcheck(check)
        .with_onbuild("RUN a")
        .with_onbuild("RUN b")
        .with_shell(["/bin/bash", "-c"])
        .with_layer(ONE, "RUN x", created="2026-01-01T00:00:00Z", comment="c", author="a")
        .with_history("CMD c")
    )
    again = config.from_bytes(made.to_bytes())
    assert again == made
    assert hash(again) == hash(made)
    assert again.platform == Platform("windows", "amd64", "", "10.0.1", ("win32k",))
    assert (again.created, again.author, again.user) == ("2026-01-01T00:00:00Z", "me", "1:2")
    assert again.exposed_ports == ("53/udp", "80/tcp")
    assert (again.env, again.entrypoint, again.cmd, again.volumes) == (("A=b",), ("/e", "x"), ("c",), ("/v",))
    assert (again.working_dir, again.labels) == ("/w", {"l": "<&>\u2028"})
    raw = json.loads(made.to_bytes())["config"]
    assert (raw["StopSignal"], raw["ArgsEscaped"], raw["Healthcheck"]) == (
        "SIGINT",
        True,
        {
            "Test": ["CMD-SHELL", "true"],
            "Interval": 1,
            "Timeout": 2,
            "StartPeriod": 3,
            "StartInterval": 4,
            "Retries": 5,
        },
    )
    assert again.onbuild == ("RUN a", "RUN b")
    assert again.without_onbuild().onbuild == ()
    assert again.shell == ("/bin/bash", "-c")
    assert again.diff_ids == (ONE,)
    assert again.history == (
        History("2026-01-01T00:00:00Z", "RUN x", "a", "c"),
        History(created_by="CMD c", empty_layer=True),
    )
    assert again.with_cmd(()).cmd == ()
    assert again.without_label("l").labels == {}


def test_layers_and_history() -> None:
    grown = base().with_layer(TWO, "RUN make").with_history("LABEL x")
    assert grown.diff_ids == (ONE, TWO)
    assert [entry.empty_layer for entry in grown.history] == [False, True, False, True]
    assert grown.without_history().history == ()
    with pytest.raises(ImageError, match="not a digest"):
        base().with_layer("latest", "RUN x")


@pytest.mark.parametrize(
    ("empty", "layers", "expected"),
    [
        ([], 2, [False, False]),
        ([True], 1, [True, False]),
        ([False, True, False], 1, [True, True, False]),
        ([False, False], 2, [False, False]),
        ([False], 0, [True]),
    ],
)
def test_a_history_that_does_not_fit(empty: list[bool], layers: int, expected: list[bool]) -> None:
    made = config.new(Platform()).with_diff_ids([ONE] * layers)
    for one in empty:
        made = made.with_history("old", empty_layer=one)
    fitted = made.with_complete_history("imported", created="2026-01-01T00:00:00Z")
    assert [entry.empty_layer for entry in fitted.history] == expected
    assert fitted.with_complete_history() == fitted


def test_times_are_clamped() -> None:
    limit = "2021-06-01T00:00:00Z"
    made = base().with_created("2026-01-01T00:00:00Z").with_history("late", created="2026-01-01T00:00:00.5Z")
    clamped = made.clamped(timestamp.from_text(limit))
    assert clamped.created == limit
    assert [entry.created for entry in clamped.history] == ["2020-01-01T00:00:00Z", "", limit]


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"", "not JSON"),
        (b"[]", "not a JSON object"),
        (b"[" * 100_000, "not JSON"),
        (b'{"config":[]}', "`config` is not an object"),
        (b'{"config":{"Env":"A=1"}}', "`Env` is not a list"),
        (b'{"config":{"Env":[1]}}', "`Env` is not a list of strings"),
        (b'{"config":{"Labels":{"a":1}}}', "`Labels` holds values"),
        (b'{"config":{"User":1}}', "`User` is not a string"),
        (b'{"config":{"Healthcheck":{"Retries":"3"}}}', "`Retries` is not an integer"),
        (b'{"rootfs":{"type":"tree"}}', "`tree`"),
        (b'{"rootfs":{"diff_ids":["x"]}}', "not a digest"),
        (b'{"history":[1]}', "`history` is not a list of objects"),
        (b'{"os":[]}', "`os` is not a string"),
        (b" " * (9 << 20), "refused"),
    ],
)
def test_what_is_no_config(data: bytes, said: str) -> None:
    with pytest.raises(ImageError, match=said) as raised:
        config.from_bytes(data, "the config of busybox")
    assert "the config of busybox" in raised.value.message or "digest" in said


def test_text_that_json_cannot_hold() -> None:
    with pytest.raises(ImageError, match="not UTF-8"):
        config.new(Platform()).with_env("A", "\udcff").to_bytes()


_json = st.recursive(st.none() | st.booleans() | st.integers() | st.text(max_size=3), st.lists)


@given(st.dictionaries(st.from_regex(r"x-[a-z]{1,4}", fullmatch=True), _json, max_size=4))
def test_whatever_else_stands_in_a_config_is_kept(extra: dict[str, Any]) -> None:
    raw = {**BASE, **extra, "config": {**BASE["config"], **extra}}
    made = config.from_bytes(json.dumps(raw).encode()).with_user("x")
    again = json.loads(made.to_bytes())
    assert {key: again[key] for key in extra} == extra
    assert {key: again["config"][key] for key in extra} == extra


@pytest.mark.parametrize("value", ["1e999", "9223372036854775808", '"1"', "[1]"])
def test_numbers_of_a_health_check_that_are_none(value: str) -> None:
    raw = {**BASE, "config": {"Healthcheck": {"Test": ["CMD", "x"], "Interval": "here"}}}
    data = json.dumps(raw).replace('"here"', value).encode()
    with pytest.raises(ImageError, match="`Interval`"):
        config.from_bytes(data)

"""Plans of containers go into a file and come back, but for what is secret."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from buildah_py.errors import UsageError
from buildah_py.frozen import replace
from buildah_py.sandbox import BindMount, ContainerSpec, FileMount, OverlayMount, StubFile, TmpfsMount
from buildah_py.sandbox.plan import describe
from buildah_py.sandbox.plan_file import by_paths, parse, render
from buildah_py.sandbox.spec import ResourceLimits

if TYPE_CHECKING:
    from pathlib import Path

# What a command line can hold: bytes that are not UTF-8 as lone surrogates.
texts = st.binary(max_size=20).map(lambda data: data.replace(b"\0", b"").decode("utf-8", "surrogateescape"))


@given(argv=st.lists(texts, min_size=1).map(tuple), cwd=texts, content=st.binary(max_size=30), size=st.integers(0))
def test_a_plan_comes_back(argv: tuple[str, ...], cwd: str, content: bytes, size: int) -> None:
    container = ContainerSpec(
        lowers=("/a/fs", "/b/fs"),
        upper="/",
        work="/w",
        init="/i",
        argv=argv,
        env=("PATH=/bin", f"X={cwd}"),
        cwd=cwd,
        mounts=(
            BindMount("/host", "/target", readonly=False, recursive=True, devices=True, mapped=True),
            OverlayMount(("/a", "/b"), "/o", "/path", "/upper", "/work"),
            TmpfsMount("/t", size, 0o700),
            FileMount("/f", content, 0o400, 1, 2, readonly=False),
            StubFile("/s", content),
        ),
        add_hosts=(("h", "1.2.3.4"),),
        uid_map=((0, 1, 2),),
        rlimits=(("nofile", 1, -1),),
        limits=ResourceLimits(memory=size, cpus=1.5),
    )
    plan = parse(render(container, "/store"), "x")
    assert plan.container == replace(container, upper="", work="", init="")
    assert (plan.store, plan.root[1:]) == ("/store", (0, 0))


def test_descriptors_become_paths_and_secrets_stay_out(tmp_path: Path) -> None:
    os.chmod(tmp_path, 0o751)
    descriptor = os.open(tmp_path, os.O_PATH)
    try:
        container = ContainerSpec(
            lowers=(),
            upper=str(tmp_path),
            work="",
            init="",
            argv=("x",),
            env=("TOKEN=s3cret", "TOKENS=kept"),
            mounts=(BindMount(descriptor, "/d"), FileMount("/run/secrets/t", b"s3cret"), FileMount("/other", b"kept")),
            secrets=("TOKEN", "/run/secrets/t"),
        )
        text = render(container, "/store")
        lines = describe(by_paths(container))
    finally:
        os.close(descriptor)
    assert "s3cret" not in text + "".join(lines)
    assert f"bind {tmp_path} at /d (read-only)" in lines
    plan = parse(text, "x")
    assert plan.container.env == ("TOKENS=kept",)
    assert plan.container.mounts == (BindMount(str(tmp_path), "/d"), FileMount("/other", b"kept"))
    assert plan.container.secrets == ("TOKEN", "/run/secrets/t")
    assert plan.root[0] == 0o751


@pytest.mark.parametrize(
    "change",
    [
        {"container": None},
        {"container": {"lowers": []}},
        {"root": [1, 2]},
        {"store": None, "container": {"mounts": [{"kind": "None"}]}},
    ],
)
def test_what_is_not_a_plan_is_refused(change: dict[str, object]) -> None:
    good = json.loads(render(ContainerSpec(lowers=(), upper="/", work="", init="", argv=("x",)), "/store"))
    parse(json.dumps(good), "p.json")
    with pytest.raises(UsageError, match=r"p\.json is not a plan of a container"):
        parse(json.dumps(good | change), "p.json")
    with pytest.raises(UsageError, match=r"p\.json is a plan of another pybuild: version 2"):
        parse(json.dumps(good | {"version": 2}), "p.json")
    for text in ("", "[]", "{}", "null", "\x7fELF"):
        with pytest.raises(UsageError, match=r"p\.json is not a plan"):
            parse(text, "p.json")

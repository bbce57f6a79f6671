from __future__ import annotations

import os
import string
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from buildah_py.sandbox import BindMount, ContainerSpec, FileMount, OverlayMount, StubFile, TmpfsMount
from buildah_py.sandbox.below import Below
from buildah_py.sandbox.capabilities import ALL, DEFAULT, NAMES, mask
from buildah_py.sandbox.initlayer import locate
from buildah_py.sandbox.operations import KINDS, DeviceTree, Mask, ReadOnlyPaths, from_wire
from buildah_py.sandbox.plan import capability_mask, describe, mount_plan
from buildah_py.sandbox.resolver import hosts_file, resolver_file, servers

if TYPE_CHECKING:
    from pathlib import Path

    from buildah_py.sandbox.operations import Operation

SPEC = ContainerSpec(lowers=("/l",), upper="/u", work="/w", init="/i", argv=("true",))

EXAMPLES: tuple[Operation, ...] = (
    BindMount("/host", "/target", readonly=False, recursive=True, devices=True),
    BindMount(3, "/target"),
    OverlayMount(("/a", "/b"), "/target", "/path", "/upper", "/work"),
    TmpfsMount("/t", 4096, 0o700),
    FileMount("/f", b"content", 0o400, 1, 2, readonly=False),
    StubFile("/f", b"content"),
    *mount_plan(SPEC),
)


@pytest.mark.parametrize("operation", EXAMPLES, ids=repr)
def test_operations_travel(operation: Operation) -> None:
    again = from_wire(operation.wire())
    assert again == operation
    assert again.describe() == operation.describe()
    assert operation.describe()


def test_every_kind_is_tried() -> None:
    assert {type(operation).__name__ for operation in EXAMPLES} == KINDS.keys()


def test_mounts_are_made_from_the_top_down() -> None:
    inner, outer, file = TmpfsMount("/a/b/c"), TmpfsMount("/a"), FileMount("/dev/shm/x", b"")
    plan = mount_plan(ContainerSpec(lowers=(), upper="", work="", init="", argv=("x",), mounts=(inner, file, outer)))
    assert plan[-3:] == [outer, inner, file]
    assert [operation.target for operation in plan[:4]] == ["/proc", "/sys", "/sys/fs/cgroup", "/dev"]


def test_insecure_hides_nothing() -> None:
    plan = mount_plan(ContainerSpec(lowers=(), upper="", work="", init="", argv=("x",), security="insecure"))
    assert not any(isinstance(operation, Mask | ReadOnlyPaths) for operation in plan)
    assert any(isinstance(operation, DeviceTree) for operation in plan)


def test_a_plan_can_be_read_but_its_secrets_cannot() -> None:
    spec = ContainerSpec(
        lowers=("/l",),
        upper="/u",
        work="/w",
        init="/i",
        argv=("make", "all"),
        mounts=(FileMount("/run/s", b"hunter2"),),
    )
    text = "\n".join(describe(spec))
    assert "file at /run/s" in text
    assert "execute make all" in text
    assert "hunter2" not in text
    assert "hunter2" not in repr(spec)


def test_capabilities() -> None:
    assert len(NAMES) == 41
    assert DEFAULT == 0xA80425FB
    assert capability_mask(SPEC) == DEFAULT
    everything = ContainerSpec(lowers=(), upper="", work="", init="", argv=("x",), cap_add=("all",))
    assert capability_mask(everything) == ALL
    assert mask(["cap_chown", "DAC_OVERRIDE"]) == 3
    with pytest.raises(ValueError, match="FLY"):
        mask(["FLY"])


def test_resolver(tmp_path: Path) -> None:
    file = tmp_path / "resolv.conf"
    file.write_text("# x\nnameserver 127.0.0.1\nnameserver 9.9.9.9\nnameserver ::1\nsearch a b\noptions rotate\n")
    path = str(file)
    assert resolver_file((), (), (), host=False, path=path) == b"nameserver 9.9.9.9\nsearch a b\noptions rotate\n"
    assert b"127.0.0.1" in resolver_file((), (), (), host=True, path=path)
    changed = resolver_file(("1.1.1.1",), ("c",), ("ndots:1",), host=False, path=path)
    assert changed == b"nameserver 1.1.1.1\nsearch c\noptions ndots:1\n"
    assert servers(str(tmp_path / "missing")) == ["8.8.8.8", "8.8.4.4"]


def test_hosts() -> None:
    text = hosts_file("builder", [("db", "10.0.0.1")]).decode()
    assert "127.0.0.1\tlocalhost builder\n" in text
    assert text.endswith("10.0.0.1\tdb\n")


NAME = st.text(string.ascii_lowercase, min_size=1, max_size=2)
PATH = st.lists(st.one_of(NAME, st.sampled_from(["..", "."])), min_size=1, max_size=6).map("/".join)


@given(links=st.dictionaries(NAME, PATH, max_size=4), directories=st.lists(PATH, max_size=4), path=PATH)
def test_locate_agrees_with_the_kernel(
    tmp_path_factory: pytest.TempPathFactory, links: dict[str, str], directories: list[str], path: str
) -> None:
    root = tmp_path_factory.mktemp("root")
    for directory in directories:
        inside = os.path.normpath("/" + directory)
        os.makedirs(f"{root}{inside}", exist_ok=True)
    for name, target in links.items():
        if not os.path.lexists(root / name):
            (root / name).symlink_to("/" + target)
    descriptor = os.open(root, os.O_PATH)
    try:
        try:
            names, existing = locate(Below((str(root),), lambda: os.dup(descriptor), {}), path)
        except OSError as error:
            assert error.errno in {20, 40}  # noqa: PT017 (ENOTDIR, ELOOP)
            return
        from buildah_py.linux.paths import openat2

        try:
            found = openat2(descriptor, path, os.O_PATH)
        except OSError:
            # `..` behind what is missing leads to where it would be: nothing that is mounted there is looked up so.
            assert existing < len(names) or ".." in "/".join((path, *links.values())).split("/")
            return
        here = os.readlink(f"/proc/self/fd/{found}").removeprefix(str(root))
        os.close(found)
        assert here == "".join(f"/{name}" for name in names)
        assert existing == len(names)
    finally:
        os.close(descriptor)

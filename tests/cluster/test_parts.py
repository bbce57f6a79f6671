"""Parts of a bake on a cluster that need no scheduler: places, files on their way, a worker's sandbox."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING, Any, cast

import pytest

from buildah_py.api.container import ContainerOptions
from buildah_py.cluster import worker
from buildah_py.cluster.address import read_options
from buildah_py.cluster.bundle import ShippedTree, read_bundle
from buildah_py.cluster.orders import VERSION
from buildah_py.cluster.place import SharedPlace, choose_place, public_text
from buildah_py.cluster.sandboxes import Sandboxes
from buildah_py.errors import NotFound, SandboxError, SourceError, UsageError
from buildah_py.image import platform
from buildah_py.image.descriptor import Descriptor
from buildah_py.image.digest import sha256_of
from buildah_py.layers.entry import DIR, FILE, SYMLINK, Entry
from buildah_py.layers.tree import resolve
from buildah_py.sharing.backends import Backends
from buildah_py.sharing.spec import parse_to

if TYPE_CHECKING:
    from pathlib import Path

    from buildah_py.cluster.orders import Introduction


@pytest.mark.parametrize(
    ("given", "shown"),
    [
        ("type=local,dest=/a,tag=t,mode=max", "type=local,dest=/a,tag=t"),
        ("type=registry,ref=h:5/x:c,sign=/key,compression=zstd", "type=registry,ref=h:5/x:c,compression=zstd"),
        ("type=reapi,endpoint=grpc://h:1,instance=i", "type=reapi,endpoint=grpc://h:1,instance=i"),
        (
            "type=s3,bucket=b,access_key_id=AKIA,secret_access_key=s3cret,session_token=t0ken",
            "type=s3,bucket=b,region=eu-1,endpoint_url=https://s3.example.org",
        ),
    ],
)  # fmt: skip
def test_a_place_is_told_without_secrets_and_with_what_the_environment_says(given: str, shown: str) -> None:
    environ = {"AWS_REGION": "eu-1", "AWS_ENDPOINT_URL": "https://s3.example.org"}
    spec = parse_to(given)
    text = public_text(spec, SharedPlace(spec, Backends(environ)).backend)
    assert text == shown
    assert parse_to(text).type == spec.type


def test_the_place_is_the_first_that_can_carry_layers() -> None:
    assert str(choose_place(["type=inline", "type=gha", "type=local,dest=/a"])) == "local /a"
    with pytest.raises(UsageError, match="needs a shared cache"):
        choose_place(["type=inline"])


def test_resources_are_those_of_all_and_of_the_target() -> None:
    options = read_options("tcp://127.0.0.1:1", resources=["GB=2", "app.web.GB=8", "app.web.GPU=1"])
    assert options.needs("other") == {"GB": 2}
    assert options.needs("app.web") == {"GB": 8, "GPU": 1}
    assert read_options("tcp://localhost:1", workers="userns").restrictions == "in a user namespace"


def test_a_tree_that_was_sent_is_like_the_one_that_it_came_from(tmp_path: Path) -> None:
    (tmp_path / "ab").write_text("text")
    entries = [
        Entry("", DIR),
        Entry("d", DIR),
        Entry("d/f", FILE, digest="sha256:ab", size=4),
        Entry("l", SYMLINK, link="d"),
    ]
    tree = ShippedTree(entries, str(tmp_path))
    assert tree.names("") == ["d", "l"]
    assert [one.path for one in tree.children("d")] == ["d/f"]
    assert resolve(tree, "l/f") == "d/f"
    descriptor = tree.open("d/f")
    assert os.read(descriptor, 9) == b"text"
    os.close(descriptor)
    for path in ("d", "l", "none"):
        with pytest.raises(NotFound):
            tree.open(path)


def test_a_bundle_that_is_cut_short_is_refused(tmp_path: Path) -> None:
    import zstandard

    for number, data in enumerate((b"", b"\0" * 4, (99).to_bytes(8, "big") + b"x")):
        path = tmp_path / f"bundle{number}"
        path.write_bytes(zstandard.ZstdCompressor().compress(data))
        with pytest.raises(SourceError, match="cut short"):
            read_bundle(str(path), str(tmp_path / f"files{number}"), None)


class FakeSandbox:
    """A sandbox that knows whether it was ended."""

    def __init__(self) -> None:
        self.ended = False

    def release(self) -> None:
        """Begin to end."""

    def close(self) -> None:
        """End."""
        self.ended = True


def refused(sandboxes: Sandboxes, make: Any) -> None:
    """Be a step that is refused something."""
    with sandboxes.lent(make) as broken:
        broken.sandbox()
        raise SandboxError("the helper is gone")


def test_a_sandbox_serves_steps_until_nobody_needs_it_or_it_has_refused_something() -> None:
    made: list[FakeSandbox] = []

    def make() -> Any:
        made.append(FakeSandbox())
        return cast("Any", made[-1])

    sandboxes = Sandboxes(idle=0.05)
    with sandboxes.lent(make) as one, sandboxes.lent(make) as other:
        assert one.sandbox() is other.sandbox()
    with sandboxes.lent(make) as again:
        assert cast("Any", again.sandbox()) is made[0]
        assert not made[0].ended
    end = time.monotonic() + 10
    while not made[0].ended and time.monotonic() < end:
        time.sleep(0.01)
    assert made[0].ended
    with pytest.raises(SandboxError):
        refused(sandboxes, make)
    with sandboxes.lent(make) as new:
        new.sandbox()
    assert len(made) == 3


def test_output_is_sent_whole_unless_it_is_more_than_a_scheduler_should_carry() -> None:
    assert worker._shortened(b"a" * 65536) == b"a" * 65536
    short = worker._shortened(b"begin" + b"x" * 1_000_000 + b"end")
    assert short.startswith(b"begin")
    assert short.endswith(b"end")
    assert b"\n[934472 bytes are left out]\n" in short


@pytest.mark.root
def test_what_a_worker_says_of_itself(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = b"probe"
    probe = Descriptor("application/octet-stream", sha256_of(data), len(data))
    options = ContainerOptions()

    def introduced(place: Path, restrictions: str = "") -> Introduction:
        return worker._introduce("w", f"type=local,dest={place}", probe, restrictions, options)

    hidden = introduced(tmp_path / "none")
    assert hidden.problem.startswith("cannot use the shared cache: local ")
    assert "a directory has to be the same one there" in hidden.hint
    other = introduced(tmp_path, "in a user namespace")
    assert other.problem.startswith("executes steps where all can be done, and what is asked for are results of steps")
    (tmp_path / "file").write_bytes(data)
    SharedPlace(parse_to(f"type=local,dest={tmp_path}"), Backends({})).put(probe, str(tmp_path / "file"))
    monkeypatch.setenv("PYBUILD_CLUSTER_SECRETS", f"id=a,src={tmp_path}/file id=b,env=HOME")
    found = introduced(tmp_path)
    assert (found.problem, found.version) == ("", VERSION)
    assert found.secrets == {"a", "b"}
    assert str(platform.host()) in found.platforms
    monkeypatch.setenv("PYBUILD_CLUSTER_SECRETS", "id=c,src=/no/file,wrong")
    assert "cannot use the secrets" in introduced(tmp_path).problem
    monkeypatch.delenv("PYBUILD_CLUSTER_SECRETS")
    (tmp_path / "blobs/sha256" / probe.digest.removeprefix("sha256:")).write_bytes(b"prob!")
    assert "cannot use the shared cache" in introduced(tmp_path).problem, "another blob than this machine has put there"

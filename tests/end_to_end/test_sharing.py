"""Caches that are shared: two stores on one machine stand for a laptop and a CI runner."""

from __future__ import annotations

import io
import json
import shutil
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import pytest

from buildah_py.image import descriptor
from buildah_py.layers.stamps import ALL_GIVEN
from buildah_py.sharing import artifact, records
from buildah_py.sharing.local import LocalCache
from tests import actions_server, reapi_server, s3_server
from tests.registry_server import serving

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.end_to_end.conftest import Pybuild

STAGES = """\
FROM busybox AS tools
RUN mkdir /out && echo made > /out/made && head -c 200000 /dev/urandom > /big
RUN --mount=type=bind,from=busybox,source=/etc,target=/mnt echo more > /out/more

FROM busybox
COPY --from=tools /out /out
COPY file /file
RUN cat /out/made /out/more /file > /all
"""
LARGE = 200_000


@dataclass
class Place:
    """Where a cache goes and comes from, and what the environment has to say for that."""

    to: str
    from_: str
    environ: dict[str, Any] = field(default_factory=dict)


@contextmanager
def _place(kind: str, tmp_path: Path) -> Iterator[Place]:
    if kind == "local":
        where = tmp_path / "cache"
        yield Place(f"type=local,dest={where}", f"type=local,src={where}")
    elif kind == "registry":
        with serving(tmp_path / "registry") as registry:
            name = f"{registry.host}/app:cache"
            yield Place(f"type=registry,ref={name}", name)
    elif kind == "s3":
        with s3_server.serve() as bucket:
            yield Place(bucket.spec, bucket.spec, bucket.environ())
    elif kind == "reapi":
        with reapi_server.serve(instance="main") as server:
            yield Place(server.spec, server.spec)
    else:
        with actions_server.serve() as actions:
            yield Place("type=gha,scope=main", "type=gha,scope=main", actions.environ())


@pytest.fixture(params=["local", "registry", "s3", "gha", "reapi"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Place]:
    """Give each place that can keep a cache."""
    with _place(request.param, tmp_path) as made:
        yield made


@pytest.fixture
def local(tmp_path: Path) -> Iterator[Place]:
    """Give a directory that can keep a cache."""
    with _place("local", tmp_path) as made:
        yield made


@pytest.fixture
def ci(busybox: Pybuild, tmp_path: Path) -> Pybuild:
    """Give another store with the same base image."""
    shutil.copytree(busybox.root, tmp_path / "ci", symlinks=True)
    return replace(busybox, root=tmp_path / "ci")


def _read(shown: str) -> dict[str, dict[str, Any]]:
    """Give what the caches were good for, by the kinds of places."""
    events = [json.loads(line) for line in shown.splitlines()]
    return {event["cache"].partition(" ")[0]: event for event in events if event["event"] == "cache-read"}


def _build(pybuild: Pybuild, context: Path, *options: object, **environ: Any) -> tuple[list[str], dict[str, Any]]:
    """Build; the outcomes of steps that are no base images, and what the caches were good for."""
    shown = pybuild.run("--progress=json", "-t", "test", *options, context, **environ).stderr
    events = [json.loads(line) for line in shown.splitlines()]
    bases = {event["id"] for event in events if event["event"] == "step-started" and event["text"].startswith("FROM")}
    done = [event for event in events if event["event"] == "step-done" and event["id"] not in bases]
    return [event["outcome"] for event in done], _read(shown)


def _id(pybuild: Pybuild) -> str:
    return str(json.loads(pybuild.run("inspect", "test").stdout)[0]["Pybuild"]["id"])


def test_another_machine_hits_all_and_fetches_no_layer(ci: Pybuild, busybox: Pybuild, place: Place) -> None:
    context = busybox.context(STAGES, file=b"of the context\n")
    outcomes, _ = _build(ci, context, f"--cache-to={place.to},mode=max", **place.environ)
    assert outcomes == ["ran"] * 5
    outcomes, read = _build(busybox, context, f"--cache-from={place.from_}", **place.environ)
    assert outcomes == ["hit"] * 5
    (cache,) = read.values()
    assert (cache["hits"], cache["layers"]) == (5, 0)
    assert 0 < cache["records"] < 8000
    assert _id(busybox) == _id(ci)
    # The layers come when something runs on them, and of those that the image has not the large one never.
    done = busybox.run("run", "--network=none", "--entrypoint=", "test", "cat", "/all", **place.environ)
    assert done.stdout == "made\nmore\nof the context\n"
    blobs = sum(file.stat().st_size for file in (busybox.root / "blobs").rglob("*") if file.is_file())
    assert blobs < LARGE
    assert _build(busybox, context)[0] == ["hit"] * 5


def test_the_actions_cache_is_left_out_where_there_is_none(busybox: Pybuild) -> None:
    context = busybox.context("FROM scratch\nCOPY file /\n", file=b"1")
    nothing: dict[str, Any] = {"ACTIONS_RESULTS_URL": "", "ACTIONS_RUNTIME_TOKEN": ""}
    built = busybox.build(context, "--cache-from=type=gha", "--cache-to=type=gha,mode=max", **nothing)
    assert built.outcomes() == ["RAN"]
    assert built.shown.count("type=gha is left out") == 2
    half = {**nothing, "ACTIONS_RESULTS_URL": "http://127.0.0.1:1/"}
    assert "ACTIONS_RUNTIME_TOKEN" in busybox.build(context, "--cache-from=type=gha", status=2, **half).shown


def test_steps_of_equal_layers_keep_their_times_elsewhere(ci: Pybuild, busybox: Pybuild, local: Place) -> None:
    context = busybox.context("FROM busybox\nRUN true\nENV A=b\nRUN true\n")
    _build(ci, context, f"--cache-to={local.to},mode=max")
    assert _build(busybox, context, f"--cache-from={local.from_}")[0] == ["hit"] * 2
    assert _id(busybox) == _id(ci)


def test_only_what_is_needed_is_fetched(ci: Pybuild, busybox: Pybuild, local: Place) -> None:
    context = busybox.context(STAGES, file=b"of the context\n")
    _build(ci, context, f"--cache-to={local.to},mode=max")
    (context / "file").write_bytes(b"changed\n")
    outcomes, read = _build(busybox, context, f"--cache-from={local.from_}")
    assert outcomes == ["hit", "hit", "hit", "ran", "ran"]
    assert 0 < read["local"]["layers"] < 1000
    assert busybox.sh("cat /all") == "made\nmore\nchanged\n"


def test_equal_content_hits_on_another_machine_too(ci: Pybuild, busybox: Pybuild, local: Place) -> None:
    text = "FROM busybox\nRUN --mount=target=/c grep -c . /c/note > /lines\nRUN cp /lines /copy\n"
    context = busybox.context(text, note=b"one\n")
    _build(ci, context, f"--cache-to={local.to}")
    (context / "note").write_bytes(b"uno\n")
    outcomes, _ = _build(busybox, context, f"--cache-from={local.from_}")
    assert outcomes == ["ran", "hit"]


def test_min_leaves_out_the_layers_that_the_image_has_not(ci: Pybuild, busybox: Pybuild, local: Place) -> None:
    context = busybox.context(STAGES, file=b"of the context\n")
    _build(ci, context, f"--cache-to={local.to}")
    cache = LocalCache(local.to.rpartition("=")[2])
    sizes = [one.size for one in artifact.read_manifest(cache.manifest() or b"", "cache").layers]
    assert max(sizes) < LARGE
    again = f"--cache-to=type=local,dest={busybox.work}/again,mode=max"
    assert _build(busybox, context, f"--cache-from={local.from_}", again)[0] == ["hit"] * 5


def test_what_min_left_out_is_made_when_it_is_needed(ci: Pybuild, busybox: Pybuild, local: Place) -> None:
    context = busybox.context(STAGES, file=b"of the context\n")
    _build(ci, context, f"--cache-to={local.to}")
    (context / "Buildfile").write_text(STAGES + "COPY --from=tools /big /big\n")
    outcomes, _ = _build(busybox, context, f"--cache-from={local.from_}")
    assert outcomes.count("ran") >= 2
    assert busybox.sh("wc -c < /big; cat /all").split() == [str(LARGE), "made", "more", "of", "the", "context"]


def test_only_what_is_lacking_is_sent(ci: Pybuild, busybox: Pybuild, local: Place) -> None:
    place = local
    context = busybox.context(STAGES, file=b"of the context\n")
    _build(ci, context, f"--cache-to={place.to},mode=max", **place.environ)
    (context / "file").write_bytes(b"changed\n")
    shown = ci.run("--progress=json", f"--cache-to={place.to},mode=max", context, **place.environ).stderr
    (sent,) = [event for event in map(json.loads, shown.splitlines()) if event["event"] == "cache-sent"]
    assert sent["known"] == 3
    assert sent["bytes"] < 10_000
    # From a machine that has none of the layers itself, nothing but the records is sent, and nothing is fetched.
    options = (f"--cache-from={place.from_}", f"--cache-to={place.to},mode=max")
    shown = busybox.run("--progress=json", *options, context, **place.environ).stderr
    events = [json.loads(line) for line in shown.splitlines()]
    (sent,) = [event for event in events if event["event"] == "cache-sent"]
    (read,) = [event for event in events if event["event"] == "cache-read"]
    assert (sent["known"] >= 5, read["hits"], read["layers"]) == (True, 5, 0)


# Caches that lie


def _edit(local: Place, change: Callable[[bytes], bytes], *, layers: bool = False) -> None:
    """Have the cache in a directory say something else, with all digests as they have to be."""
    cache = LocalCache(local.to.rpartition("dest=")[2])
    manifest = artifact.read_manifest(cache.manifest() or b"", "cache")
    head = next(one for one in manifest.layers if one.media_type == artifact.RECORDS)
    with cache.open(head) as file:
        text = change(artifact.decompress(file.read(), "records"))
    packed = artifact.compress(text)
    new = descriptor.of(artifact.RECORDS, packed)
    with cache.open(manifest.config) as file:
        signatures = artifact.read_config(file.read(), "config").signatures
    config = artifact.write_config(new.digest, signatures)
    cache.put(new, lambda: io.BytesIO(packed))
    cache.put(descriptor.of(artifact.CONFIG, config), lambda: io.BytesIO(config))
    blobs = [one for one in manifest.layers if one != head]
    cache.put_manifest(artifact.write_manifest(config, new, blobs).to_bytes())


def _lines(text: bytes, kind: bytes) -> list[tuple[bytes, dict[str, Any]]]:
    """Give the lines of a kind: name and value."""
    found = [line.split(b" ", 2) for line in text.splitlines() if line.startswith(kind + b" ")]
    return [(name, json.loads(value)) for _, name, value in found]


def _with(text: bytes, kind: bytes, lines: list[tuple[bytes, dict[str, Any]]]) -> bytes:
    rest = [line for line in text[len(records.FORMAT) :].splitlines() if not line.startswith(kind + b" ")]
    made = [kind + b" " + name + b" " + json.dumps(value).encode() for name, value in lines]
    return records.FORMAT + b"\n".join([*rest, *made, b""])


def _swap_keys(text: bytes) -> bytes:
    lines = _lines(text, b"record")
    names = [name for name, _ in lines]
    return _with(text, b"record", list(zip(names[1:] + names[:1], [value for _, value in lines], strict=True)))


def _swap_blobs(text: bytes) -> bytes:
    lines = _lines(text, b"layer")
    blobs = [value["blob"] for _, value in lines]
    swapped = [{**value, "blob": blob} for (_, value), blob in zip(lines, blobs[1:] + blobs[:1], strict=True)]
    return _with(text, b"layer", [(name, value) for (name, _), value in zip(lines, swapped, strict=True)])


def _swap_contents(text: bytes) -> bytes:
    lines = _lines(text, b"record")
    said = [value["content"] for _, value in lines]
    swapped = [{**value, "content": one} for (_, value), one in zip(lines, said[1:] + said[:1], strict=True)]
    return _with(text, b"record", [(name, value) for (name, _), value in zip(lines, swapped, strict=True)])


def _no_times_are_content(text: bytes) -> bytes:
    stamps = ALL_GIVEN.to_data()
    return _with(text, b"record", [(name, {**value, "stamps": stamps}) for name, value in _lines(text, b"record")])


def _false_selections(text: bytes) -> bytes:
    lines = _lines(text, b"selection")
    assert lines
    return _with(text, b"selection", [(name, {"digest": "sha256:" + "5" * 64}) for name, _ in lines])


def _huge(text: bytes) -> bytes:
    lines = [(name, {**value, "blob": {**value["blob"], "size": 1 << 60}}) for name, value in _lines(text, b"layer")]
    return _with(text, b"layer", lines)


def _nonsense(text: bytes) -> bytes:
    return text.replace(b'"parent"', b'"patent"').replace(b'"content"', b'"contend"')


@pytest.mark.parametrize(
    "lie", [_swap_keys, _swap_blobs, _swap_contents, _no_times_are_content, _false_selections, _huge, _nonsense]
)
def test_a_cache_that_lies_changes_no_image(
    lie: Callable[[bytes], bytes], ci: Pybuild, busybox: Pybuild, local: Place
) -> None:
    context = busybox.context(STAGES, file=b"of the context\n")
    _build(ci, context, f"--cache-to={local.to},mode=max")
    _edit(local, lie)
    # The last step is another one: what it runs on has to be there, and as it was said.
    (context / "Buildfile").write_text(STAGES + "RUN cat /all /file > /again\nCOPY --from=tools /big /big\n")
    _build(busybox, context, f"--cache-from={local.from_}")
    shown = busybox.sh("cat /out/made /out/more /file /all /again; wc -c < /big")
    once = "made\nmore\nof the context\n"
    assert shown == once + once + once + f"of the context\n{LARGE}\n"
    # Nothing of the lies stays: later builds, and the image itself, are as they should be.
    _build(busybox, context)
    assert busybox.sh("cat /all") == once


def test_no_output_holds_a_layer_that_is_another(ci: Pybuild, busybox: Pybuild, local: Place) -> None:
    import gzip
    import hashlib
    import tarfile

    context = busybox.context("FROM scratch\nCOPY file /file\nCOPY more /more\n", file=b"one\n", more=b"two\n")
    _build(ci, context, f"--cache-to={local.to}")
    _edit(local, _swap_blobs)
    written = busybox.work / "image.tar"
    outcomes, _ = _build(busybox, context, f"--cache-from={local.from_}", f"--output=type=oci,dest={written}")
    assert outcomes[:2] == ["hit", "hit"]
    with tarfile.open(written) as archive:

        def read(name: str) -> Any:
            file = archive.extractfile(f"blobs/{name.replace(':', '/')}")
            assert file is not None
            return file.read()

        index = archive.extractfile("index.json")
        assert index is not None
        manifest = json.loads(read(json.load(index)["manifests"][0]["digest"]))
        diff_ids = json.loads(read(manifest["config"]["digest"]))["rootfs"]["diff_ids"]
        found = [hashlib.sha256(gzip.decompress(read(layer["digest"]))).hexdigest() for layer in manifest["layers"]]
    assert [f"sha256:{one}" for one in found] == diff_ids


@pytest.mark.parametrize("damage", ["cut", "other", "gone"])
def test_blobs_that_are_not_what_they_should_be_are_made_anew(
    damage: str, ci: Pybuild, busybox: Pybuild, local: Place
) -> None:
    context = busybox.context(STAGES, file=b"of the context\n")
    _build(ci, context, f"--cache-to={local.to},mode=max")
    cache = LocalCache(local.to.rpartition("dest=")[2])
    for blob in artifact.read_manifest(cache.manifest() or b"", "cache").layers:
        path = busybox.root.parent / "cache/blobs/sha256" / blob.digest.removeprefix("sha256:")
        if blob.media_type != artifact.RECORDS:
            data = path.read_bytes()
            if damage == "gone":
                path.unlink()
            else:
                path.write_bytes(data[:-9] if damage == "cut" else data[:-9] + b"different")
    (context / "file").write_bytes(b"changed\n")
    shown = busybox.build(context, f"--cache-from={local.from_}").shown
    assert "warning" in shown
    assert ("has other bytes than it should have" in shown) is (damage == "other")
    assert busybox.sh("cat /all") == "made\nmore\nchanged\n"


def test_a_manifest_that_is_none_spoils_nothing(busybox: Pybuild, local: Place) -> None:
    LocalCache(local.to.rpartition("dest=")[2]).put_manifest(b"[" * 100_000)
    context = busybox.context("FROM busybox\nRUN echo made > /made\n")
    shown = busybox.build(context, f"--cache-from={local.from_}").shown
    assert "warning: the cache is not used" in shown
    assert busybox.sh("cat /made") == "made\n"


def test_a_signature_is_required_where_it_is_asked_for(ci: Pybuild, busybox: Pybuild, local: Place) -> None:
    key = ci.work / "key"
    public = ci.run("cache", "keygen", key).stdout.strip()
    context = busybox.context("FROM busybox\nRUN date +%N > /made\nRUN cat /made > /copy\n")
    _build(ci, context, f"--cache-to={local.to}")
    # Unsigned: an earlier build took it for good, and what is asked for a signature does not.
    assert _build(busybox, context, f"--cache-from={local.from_}")[0] == ["hit", "hit"]
    shown = busybox.build(context, f"--cache-from={local.from_},verify={public}")
    assert shown.outcomes() == ["RAN", "RAN"]
    assert "not signed" in shown.shown
    # What was executed here is signed; what was only imported would not be.
    _build(ci, context, f"--cache-to={local.to},sign={key}")
    other = replace(busybox, root=busybox.root.parent / "other")
    other.run("bootstrap", "busybox")
    outcomes, read = _build(other, context, f"--cache-from={local.from_},verify={public}")
    assert (outcomes, read["local"]["hits"]) == (["hit", "hit"], 2)
    assert _id(other) == _id(ci)
    _edit(local, lambda text: text + b"\n")
    third = replace(busybox, root=busybox.root.parent / "third")
    third.run("bootstrap", "busybox")
    assert _build(third, context, f"--cache-from={local.from_},verify={public}")[0] == ["ran", "ran"]


def test_what_is_imported_unsigned_is_not_signed(ci: Pybuild, busybox: Pybuild, local: Place) -> None:
    key = ci.work / "key"
    public = ci.run("cache", "keygen", key).stdout.strip()
    context = busybox.context("FROM busybox\nRUN echo evil > /made\nRUN echo more > /more\n")
    _build(ci, context, f"--cache-to={local.to}")
    again = busybox.root.parent / "again"
    _build(busybox, context, f"--cache-from={local.from_}", f"--cache-to=type=local,dest={again},sign={key}")
    third = replace(busybox, root=busybox.root.parent / "third")
    third.run("bootstrap", "busybox")
    assert _build(third, context, f"--cache-from=type=local,src={again},verify={public}")[0] == ["ran", "ran"]


# Several places, and places that fail


def test_several_places_and_one_that_may_fail(ci: Pybuild, busybox: Pybuild, local: Place, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"no directory")
    bad, good = f"type=local,dest={tmp_path}/file", f"type=local,dest={tmp_path}/good"
    context = busybox.context("FROM busybox\nRUN echo made > /made\n")
    shown = ci.build(context, f"--cache-to={bad},ignore-error=true", f"--cache-to={good}").shown
    assert "warning: the cache is not exported" in shown
    failed = ci.run("build", f"--cache-to={bad}", f"--cache-to={local.to}", context, status=125)
    assert f"{tmp_path}/file" in failed.stderr
    options = (f"--cache-from=type=local,src={tmp_path}/missing", f"--cache-from={local.from_}")
    outcomes, read = _build(busybox, context, *options)
    assert (outcomes, read["local"]["hits"]) == (["hit"], 1)


def test_a_cache_that_is_not_there_yet_says_nothing(busybox: Pybuild, local: Place) -> None:
    context = busybox.context("FROM busybox\nRUN echo made > /made\n")
    built = busybox.build(context, f"--cache-from={local.from_}", f"--cache-to={local.to}")
    assert built.outcomes() == ["RAN"]
    assert "warning" not in built.shown


@pytest.mark.parametrize(("form", "kind"), [("zstd,compression-level=19", ".tar+zstd"), ("uncompressed", ".tar")])
def test_compression_of_what_is_sent(ci: Pybuild, busybox: Pybuild, local: Place, form: str, kind: str) -> None:
    context = busybox.context("FROM busybox\nRUN seq 10000 > /made\n")
    _build(ci, context, f"--cache-to={local.to},compression={form}")
    cache = LocalCache(local.to.rpartition("dest=")[2])
    kinds = [one.media_type for one in artifact.read_manifest(cache.manifest() or b"", "cache").layers]
    assert f"application/vnd.oci.image.layer.v1{kind}" in kinds
    _build(busybox, context, f"--cache-from={local.from_}")
    assert busybox.sh("wc -l < /made").strip() == "10000"


# Cache mounts

MOUNT = "RUN --mount=type=cache,id=tools,target=/cache "


@pytest.mark.parametrize("kind", ["local", "registry", "reapi"])
def test_cache_mounts_go_along(kind: str, ci: Pybuild, busybox: Pybuild, tmp_path: Path) -> None:
    with _place(kind, tmp_path) as place:
        context = busybox.context(
            f"FROM busybox\n{MOUNT}head -c 300000 /dev/urandom > /cache/large; echo 1 > /cache/n\n"
        )
        _build(ci, context, f"--cache-to={place.to},mounts=all")
        (context / "Buildfile").write_text(f"FROM busybox\n{MOUNT}wc -c < /cache/large > /size; echo 2 > /cache/n\n")
        options = (f"--cache-from={place.from_},mounts=tools", f"--cache-to={place.to},mounts=all")
        shown = busybox.run("--progress=json", "-t", "test", *options, context).stderr
        (sent,) = [event for event in map(json.loads, shown.splitlines()) if event["event"] == "cache-sent"]
        assert busybox.sh("cat /size").strip() == "300000"
        assert sent["bytes"] < 10_000, "only changed files are sent"
        third = replace(busybox, root=tmp_path / "third")
        where = place.from_ if "=" in place.from_ else f"type=registry,ref={place.from_}"
        assert third.run("cache", "mounts", "import", where).stdout == "imported 1 cache mount\n"
        listed = json.loads(third.run("cache", "mounts", "ls", "--format=json").stdout)
        assert [one["id"] for one in listed] == ["tools"]
        (mount,) = (tmp_path / "third/cache-mounts").iterdir()
        assert (mount / "n").read_bytes() == b"2\n"


def test_a_build_that_only_hits_keeps_the_mounts_of_the_cache(ci: Pybuild, busybox: Pybuild, local: Place) -> None:
    context = busybox.context(f"FROM busybox\n{MOUNT}echo 1 > /cache/n\n")
    _build(ci, context, f"--cache-to={local.to},mounts=all")
    options = (f"--cache-from={local.from_},mounts=all", f"--cache-to={local.to},mounts=all")
    assert _build(busybox, context, *options)[0] == ["hit"]
    busybox.run("cache", "mounts", "import", local.from_, "tools")
    assert "tools" in busybox.run("cache", "mounts", "ls").stdout


@pytest.mark.either_user
def test_cache_mounts_are_listed_removed_and_carried_by_hand(busybox: Pybuild) -> None:
    context = busybox.context(
        "FROM busybox\nRUN --mount=type=cache,id=a,target=/a echo a > /a/a\n"
        "RUN --mount=type=cache,id=b,target=/b echo b > /b/b && mkfifo /b/fifo && chown 7:8 /b/b && chmod 600 /b/b "
        "&& ln -s /etc/passwd /b/link\n"
    )
    busybox.build(context)
    where = busybox.work / "carried"
    assert busybox.run("cache", "mounts", "export", where).stdout.startswith("exported 2 cache mounts: sent ")
    assert "missing" in busybox.run("cache", "mounts", "rm", "missing", status=125).stderr
    assert busybox.run("cache", "mounts", "rm", "a").stdout.startswith("removed 1 cache mount")
    assert [one["id"] for one in json.loads(busybox.run("cache", "mounts", "ls", "--format=json").stdout)] == ["b"]
    busybox.run("cache", "mounts", "rm", "--all")
    busybox.run("cache", "mounts", "import", where, "b")
    context = busybox.context(
        "FROM busybox\nRUN --mount=type=cache,id=b,target=/c cat /c/b > /b; readlink /c/link >> /b; "
        "stat -c %u:%g:%a /c/b >> /b\n"
    )
    busybox.build(context)
    assert busybox.sh("cat /b") == "b\n/etc/passwd\n7:8:600\n"
    assert "b" in busybox.run("cache", "mounts", "import", where, "c", status=125).stderr


def test_a_host_directory_backs_a_mount(busybox: Pybuild, tmp_path: Path) -> None:
    (tmp_path / "host").mkdir()
    (tmp_path / "host/there").write_text("before\n")
    context = busybox.context(f"FROM busybox\n{MOUNT}cp /cache/there /made && echo after > /cache/new\n")
    busybox.build(context, f"--cache-mount=tools={tmp_path}/host")
    assert busybox.sh("cat /made") == "before\n"
    assert (tmp_path / "host/new").read_text() == "after\n"
    assert busybox.run("cache", "mounts", "ls").stdout.count("\n") == 1


def test_a_mount_that_has_grown_too_large_begins_anew(busybox: Pybuild) -> None:
    text = f"FROM busybox\nARG N\n{MOUNT}ls /cache > /seen; head -c 20000 /dev/zero > /cache/$N\n"
    context = busybox.context(text)
    seen = []
    for number in range(4):
        busybox.build(context, f"--build-arg=N=n{number}", "--cache-mount=tools,max=50KB")
        seen.append(busybox.sh("cat /seen").split())
    assert seen == [[], ["n0"], ["n0", "n1"], []]


@pytest.mark.root
def test_an_image_carries_its_own_cache(ci: Pybuild, busybox: Pybuild, tmp_path: Path) -> None:
    with serving(tmp_path / "registry") as registry:
        name = f"{registry.host}/app:latest"
        context = busybox.context(STAGES, file=b"of the context\n")
        _build(ci, context, "--cache-to=type=inline", f"--output=type=registry,name={name}")
        outcomes, read = _build(busybox, context, f"--cache-from={name}", "--cache-to=type=inline")
        assert outcomes[-3:] == ["hit"] * 3
        assert read["registry"]["hits"] == 5
        assert _id(busybox) == _id(ci)
        # An image on top of it does not say that it were its cache.
        context = busybox.context("FROM test\nRUN echo child > /child\n")
        busybox.run("build", "-t", "child", context)
        assert "pybuild.cache" not in busybox.run("inspect", "child").stdout


def test_pushing_what_the_registry_has_sends_and_fetches_nothing(ci: Pybuild, busybox: Pybuild, tmp_path: Path) -> None:
    with serving(tmp_path / "registry") as registry:
        context = busybox.context("FROM scratch\nCOPY file /file\nCOPY more /more\n", file=b"one\n", more=b"two\n")
        _build(ci, context, f"--cache-to=type=registry,ref={registry.host}/cache")
        name = f"{registry.host}/app"
        shown = busybox.run("--progress=plain", "-t", name, "--push", f"--cache-from={registry.host}/cache", context)
        assert "2 layers mounted" in shown.stderr
        assert "and 0 of layers" in shown.stderr
        assert not list((busybox.root / "blobs").rglob("*/*"))

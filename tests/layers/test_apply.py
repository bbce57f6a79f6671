"""Archives of any origin: what layers look like in the wild, and what hostile ones try."""

from __future__ import annotations

import bz2
import gzip
import hashlib
import io
import lzma
import os
import resource
import stat
import subprocess
import sys
import tarfile
import zlib
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from buildah_py.errors import ArchiveError, Interrupted
from buildah_py.layers.adopt import hidden_links
from buildah_py.layers.apply import unpack
from buildah_py.layers.compression import decompress, detect
from buildah_py.layers.entry import DIR, FILE, SYMLINK, WHITEOUT, Entry
from buildah_py.layers.inventory import Inventory
from buildah_py.layers.limits import ArchiveLimits
from buildah_py.layers.reader import TarReader
from buildah_py.layers.view import LayerTree, MergedView

if TYPE_CHECKING:
    from collections.abc import Callable

    from buildah_py.layers.inventory import Captured

Given = tarfile.TarInfo | tuple[tarfile.TarInfo, bytes]
UID, GID = os.geteuid(), os.getegid()


def info(name: str, kind: bytes = tarfile.REGTYPE, **fields: object) -> tarfile.TarInfo:
    made = tarfile.TarInfo(name)
    made.type = kind
    made.uid, made.gid = UID, GID
    for field, value in fields.items():
        setattr(made, field, value)
    return made


def archive(*members: Given, form: int = tarfile.PAX_FORMAT) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=form) as writer:
        for member in members:
            if isinstance(member, tuple):
                member[0].size = len(member[1])
                writer.addfile(member[0], io.BytesIO(member[1]))
            else:
                writer.addfile(member)
    return out.getvalue()


def directory(name: str, mode: int = 0o755) -> tarfile.TarInfo:
    return info(name, tarfile.DIRTYPE, mode=mode)


def link(name: str, target: str) -> tarfile.TarInfo:
    return info(name, tarfile.SYMTYPE, linkname=target)


def hard(name: str, target: str) -> tarfile.TarInfo:
    return info(name, tarfile.LNKTYPE, linkname=target)


@pytest.fixture
def dest(tmp_path: Path) -> Path:
    made = tmp_path / "outside" / "dest"
    made.mkdir(parents=True)
    return made


def apply(dest: Path, *members: Given) -> Captured:
    data = archive(*members)
    captured = unpack(io.BytesIO(data), str(dest))
    assert captured.diff_id == "sha256:" + hashlib.sha256(data).hexdigest()
    assert captured.size == len(data)
    return captured


def kinds(captured: Captured) -> dict[str, str]:
    return {entry.path: entry.kind for entry in captured.inventory}


def is_whiteout(path: Path) -> bool:
    status = path.lstat()
    return stat.S_ISCHR(status.st_mode) and status.st_rdev == 0


# Layers in the wild.


def test_whiteouts_and_missing_parents(dest: Path) -> None:
    captured = apply(dest, info("./a/b/.wh.gone"), (info("/a/c"), b"x"))
    assert is_whiteout(dest / "a/b/gone")
    assert kinds(captured) == {"a": DIR, "a/b": DIR, "a/b/gone": WHITEOUT, "a/c": FILE}
    implied = captured.inventory.get("a")
    assert implied is not None
    assert (implied.implied, implied.mode, (dest / "a").stat().st_mode & 0o7777) == (True, 0o755, 0o755)


@pytest.mark.root
@pytest.mark.parametrize("late", [False, True])
def test_an_opaque_directory_whatever_the_order(dest: Path, *, late: bool) -> None:
    marker: list[Given] = [info("d/.wh..wh..opq")]
    rest: list[Given] = [directory("d", 0o700), (info("d/f"), b"x")]
    captured = apply(dest, *(rest + marker if late else marker + rest))
    entry = captured.inventory.get("d")
    assert entry is not None
    assert (entry.opaque, entry.implied, entry.mode) == (True, False, 0o700)
    assert os.getxattr(dest / "d", "trusted.overlay.opaque") == b"y"
    assert (dest / "d/f").read_text() == "x"


def test_userxattr_marks(dest: Path) -> None:
    unpack(io.BytesIO(archive(info("d/.wh..wh..opq"))), str(dest), userxattr=True)
    assert os.getxattr(dest / "d", "user.overlay.opaque") == b"y"


@pytest.mark.root
@pytest.mark.parametrize("late", [False, True])
def test_a_whiteout_hides_lower_layers_alone(dest: Path, *, late: bool) -> None:
    marks: list[Given] = [info(".wh.d"), info(".wh.f")]
    own: list[Given] = [directory("d"), (info("d/x"), b"x"), (info("f"), b"y")]
    captured = apply(dest, *([*own, *marks] if late else [*marks, *own]))
    assert kinds(captured) == {"d": DIR, "d/x": FILE, "f": FILE}
    assert os.getxattr(dest / "d", "trusted.overlay.opaque") == b"y"
    assert (dest / "f").read_text() == "y"


def test_what_aufs_kept_for_itself_is_left_out(dest: Path) -> None:
    assert kinds(apply(dest, directory(".wh..wh.plnk"), info(".wh..wh.aufs"))) == {}
    assert os.listdir(dest) == []


def test_the_later_of_two_wins(dest: Path) -> None:
    captured = apply(
        dest,
        (info("f"), b"first"),
        (info("f"), b"second"),
        directory("d"),
        (info("d/inner/deep"), b"x"),
        (info("d"), b"a file now"),
        link("s", "x"),
        directory("s"),
        directory("again", 0o700),
        (info("again/kept"), b"x"),
        directory("again", 0o711),
    )
    assert kinds(captured) == {"again": DIR, "again/kept": FILE, "d": FILE, "f": FILE, "s": DIR}
    assert (dest / "f").read_text() == "second"
    assert (dest / "again").stat().st_mode & 0o777 == 0o711


def test_hard_links_survive_the_replacement_of_their_first_name(dest: Path) -> None:
    captured = apply(dest, (info("z"), b"old"), hard("m", "z"), hard("b", "./m"), (info("z"), b"new"))
    assert (dest / "b").stat().st_ino == (dest / "m").stat().st_ino
    assert ((dest / "m").read_text(), (dest / "z").read_text()) == ("old", "new")
    entry = captured.inventory.get("b")
    assert entry is not None
    assert entry.digest == "sha256:" + hashlib.sha256(b"old").hexdigest()
    assert [(e.path, e.kind, e.link) for e in captured.inventory] == [
        ("b", FILE, ""),
        ("m", "hardlink", "b"),
        ("z", FILE, ""),
    ]


def test_hard_links_to_links_and_to_themselves(dest: Path) -> None:
    apply(dest, link("s", "/etc/hostname"), hard("t", "s"), (info("f"), b"x"), hard("f", "f"))
    assert (dest / "t").readlink() == Path("/etc/hostname")
    assert (dest / "f").read_text() == "x"


def test_links_on_the_way_are_followed_inside(dest: Path) -> None:
    captured = apply(
        dest,
        directory("usr"),
        directory("usr/lib"),
        link("lib", "usr/lib"),
        link("up", "../../../usr"),
        link("abs", "/usr/lib"),
        (info("lib/a"), b"1"),
        (info("up/lib/b"), b"2"),
        (info("abs/c"), b"3"),
        hard("abs/d", "lib/a"),
        link("new", "/not/there"),
        (info("new/e"), b"4"),
    )
    assert sorted(os.listdir(dest / "usr/lib")) == ["a", "b", "c", "d"]
    assert (dest / "usr/lib/d").read_text() == "1"
    assert (dest / "not/there/e").read_text() == "4"
    assert {"usr/lib/a", "usr/lib/b", "usr/lib/c", "not/there/e"} <= set(kinds(captured))
    assert sorted(os.listdir(dest.parent)) == ["dest"]


def test_parents_that_only_the_layers_below_have(tmp_path: Path) -> None:
    lower = MergedView(
        [
            LayerTree(
                "/nowhere",
                Inventory(
                    [
                        Entry("lib", SYMLINK, 0o777, link="usr/lib"),
                        Entry("usr", DIR, 0o711, UID, GID),
                        Entry("usr/lib", DIR, 0o750, UID, GID),
                        Entry("gone", SYMLINK, 0o777, link="usr"),
                    ]
                ),
            )
        ]
    )
    data = archive((info("lib/x/f"), b"1"), info(".wh.gone"), (info("gone/y"), b"2"), hard("usr/g", "lib/x/f"))
    for name in ("alone", "above"):
        (tmp_path / name).mkdir()
    alone = unpack(io.BytesIO(data), str(tmp_path / "alone"))
    assert hidden_links(alone.inventory, lower) == ["lib"]
    above = unpack(io.BytesIO(data), str(tmp_path / "above"), below=lower)
    assert kinds(above) == {
        "gone": DIR,
        "gone/y": FILE,
        "usr": DIR,
        "usr/g": FILE,
        "usr/lib": DIR,
        "usr/lib/x": DIR,
        "usr/lib/x/f": "hardlink",
    }
    modes = {entry.path: (entry.mode, entry.implied) for entry in above.inventory if entry.kind == DIR}
    assert modes == {
        "gone": (0o755, True),
        "usr": (0o711, False),
        "usr/lib": (0o750, False),
        "usr/lib/x": (0o755, True),
    }
    assert above.diff_id == alone.diff_id


def test_the_last_component_is_never_followed(dest: Path) -> None:
    outside = dest.parent / "target"
    outside.write_text("untouched")
    apply(dest, link("f", str(outside)), (info("f"), b"new"), link("g", "f"), hard("h", "g"))
    assert outside.read_text() == "untouched"
    assert (dest / "f").read_text() == "new"
    assert (dest / "h").is_symlink()


def test_link_targets_are_kept_as_they_are(dest: Path) -> None:
    for_ever = "../" * 40 + "etc/passwd"
    captured = apply(dest, link("a", for_ever), link("b", "x//y/./"))
    assert [entry.link for entry in captured.inventory] == [for_ever, "x//y/./"]
    assert os.readlink(dest / "a") == for_ever


@pytest.mark.root
def test_owners_modes_and_times(dest: Path) -> None:
    apply(
        dest,
        info("d", tarfile.DIRTYPE, mode=0o2751, uid=3, gid=4, mtime=1000),
        (info("d/f", mode=0o6755, uid=5, gid=6, mtime=1.5), b"x"),
        info("d/p", tarfile.FIFOTYPE, mode=0o622, uid=7, mtime=7),
        info("d/n", tarfile.CHRTYPE, mode=0o666, devmajor=1, devminor=3, mtime=8),
        info("d/s", tarfile.SYMTYPE, linkname="x", uid=9, gid=10, mtime=9),
    )
    seen = {}
    for path in [dest / "d", *(dest / "d").iterdir()]:
        status = path.lstat()
        seen[path.name] = (status.st_mode & 0o7777, status.st_uid, status.st_gid, status.st_mtime)
    assert seen == {
        "d": (0o2751, 3, 4, 1000.0),
        "f": (0o6755, 5, 6, 1.5),
        "p": (0o622, 7, GID, 7.0),
        "n": (0o666, 0, 0, 8.0),
        "s": (0o777, 9, 10, 9.0),
    }
    assert (dest / "d/n").stat().st_rdev == os.makedev(1, 3)


def test_attributes_that_steer_overlayfs_are_not_taken_from_archives(dest: Path) -> None:
    names = [
        "trusted.overlay.redirect",
        "user.overlay.redirect",
        "user.mine",
        "security.selinux",
        "trusted.overlay.opaque",
    ]
    headers = {f"SCHILY.xattr.{name}": "/etc" for name in names}
    captured = apply(dest, info("d", tarfile.DIRTYPE, pax_headers=headers), (info("f", pax_headers=headers), b""))
    assert os.listxattr(dest / "d") == os.listxattr(dest / "f") == ["user.mine"]
    assert [entry.xattrs for entry in captured.inventory] == [(("user.mine", b"/etc"),)] * 2


@pytest.mark.parametrize("form", [tarfile.PAX_FORMAT, tarfile.GNU_FORMAT])
def test_long_names_and_links(dest: Path, form: int) -> None:
    name = "/".join(["d" * 200] * 3)
    data = archive((info(name + "/f"), b"x"), link(name + "/s", "t" * 3000), hard(name + "/h", name + "/f"), form=form)
    unpack(io.BytesIO(data), str(dest))
    assert (dest / name / "h").read_text() == "x"
    assert os.readlink(dest / name / "s") == "t" * 3000


def test_a_stream_that_gives_single_bytes(dest: Path) -> None:
    data = archive((info("f"), b"content" * 200), link("s", "x" * 150), directory("d"))

    class Slow(io.BytesIO):
        def read(self, _: int | None = -1, /) -> bytes:
            return super().read(1)

    captured = unpack(Slow(data), str(dest), expect_diff_id="sha256:" + hashlib.sha256(data).hexdigest())
    assert kinds(captured) == {"d": DIR, "f": FILE, "s": "symlink"}


@pytest.mark.parametrize("data", [b"", bytes(512), bytes(1024), bytes(10240), bytes(1024) + b"trailing"])
def test_empty_archives(dest: Path, data: bytes) -> None:
    captured = unpack(io.BytesIO(data), str(dest))
    assert len(captured.inventory) == 0
    assert captured.diff_id == "sha256:" + hashlib.sha256(data).hexdigest()


def test_the_expected_digest_is_insisted_on(dest: Path) -> None:
    with pytest.raises(ArchiveError, match="should be sha256:00"):
        unpack(io.BytesIO(bytes(1024)), str(dest), expect_diff_id="sha256:" + "0" * 64)


# Hostile ones.


def zero_sized_header(kind: bytes, size: int) -> bytes:
    block = bytearray(info("x", kind).tobuf(tarfile.GNU_FORMAT))
    in_bytes = size.to_bytes(12, "big", signed=True)  # as GNU has numbers that need it
    block[124:136] = b"%011o\0" % size if 0 <= size < 8**11 else bytes([in_bytes[0] | 0x80]) + in_bytes[1:]
    block[148:156] = b" " * 8
    block[148:156] = b"%06o\0 " % sum(block)
    return bytes(block)


def pax(records: bytes, name: str = "f") -> bytes:
    block = bytearray(info("p", b"x", size=len(records)).tobuf(tarfile.USTAR_FORMAT))
    return bytes(block) + records + bytes(-len(records) % 512) + archive((info(name), b"x"))


HOSTILE: dict[str, Callable[[], bytes]] = {
    "name with ..": lambda: archive((info("../evil"), b"x")),
    "name with .. inside": lambda: archive((info("a/../../evil"), b"x")),
    "name that is ..": lambda: archive(directory("..")),
    "absolute with ..": lambda: archive((info("/../evil"), b"x")),
    "hard link to outside": lambda: archive(hard("x", "../outside_file")),
    "hard link to an absolute path": lambda: archive(hard("x", "/etc/hostname")),
    "hard link through a link": lambda: archive(link("d", "/"), hard("x", "d/etc/hostname")),
    "hard link to a directory": lambda: archive(directory("d"), hard("x", "d")),
    "hard link to a whiteout": lambda: archive(info(".wh.d"), hard("x", "d")),
    "links in circles": lambda: archive(link("a", "b"), link("b", "a"), (info("a/f"), b"x")),
    "links that grow": lambda: archive(link("a", "a/a"), (info("a/f"), b"x")),
    "below a file": lambda: archive((info("f"), b"x"), (info("f/g"), b"x")),
    "root as a file": lambda: archive((info("."), b"x")),
    "root as a link": lambda: archive(link("./", "/etc")),
    "whiteout of nothing": lambda: archive(info("d/.wh.")),
    "whiteout of ..": lambda: archive(info("d/.wh...")),
    "whiteout of .": lambda: archive(info("d/.wh..")),
    "device 0:0": lambda: archive(info("d", tarfile.CHRTYPE)),
    "device too large": lambda: archive(info("d", tarfile.CHRTYPE, devmajor=0o7777777)),
    "name with a zero": lambda: pax(b"12 path=a\0b\n"),
    "pax path out": lambda: pax(b"16 path=../evil\n"),
    "empty target": lambda: archive(link("s", "")),
    "long target": lambda: archive(link("s", "x" * 5000)),
    "long component": lambda: archive((info("n" * 256), b"x")),
    "long path": lambda: archive((info("/".join(["n" * 200] * 21)), b"x")),
    "unknown type": lambda: archive(info("x", b"Z")),
    "bad checksum": lambda: archive((info("x"), b"y"))[:140] + b"1" + archive((info("x"), b"y"))[141:],
    "cut in a header": lambda: archive((info("x"), b"y"))[:300],
    "cut in a file": lambda: archive((info("x"), b"y" * 2000))[:1500],
    "cut in pax": lambda: pax(b"11 path=xx\n")[:515],
    "more after the end": lambda: bytes(512) + archive((info("x"), b"y")),
    "huge pax": lambda: zero_sized_header(b"x", 1 << 40),
    "huge long name": lambda: zero_sized_header(b"L", 1 << 33),
    "negative size": lambda: zero_sized_header(b"0", -1) + archive((info("y"), b"y")),
    "no number": lambda: pax(b"12 size=0x1\n"),
    "negative pax size": lambda: pax(b"11 size=-1\n"),
    "record without end": lambda: pax(b"99 path=x\n"),
    "record of zero length": lambda: pax(b"0 path=x\n"),
    "record without key": lambda: pax(b"6 =xx\n"),
    "record length missing": lambda: pax(b"path=x\n"),
    "sparse map beyond the file": lambda: pax(
        b"22 GNU.sparse.major=1\n22 GNU.sparse.minor=0\n26 GNU.sparse.realsize=10\n"
    ),
    "sparse map backwards": lambda: pax(b"22 GNU.sparse.size=100\n29 GNU.sparse.map=50,1,10,1,0,9\n"),
    "sparse too much data": lambda: pax(b"22 GNU.sparse.size=100\n23 GNU.sparse.map=0,90\n"),
    "huge attributes": lambda: archive(
        info("d", tarfile.DIRTYPE, pax_headers={f"SCHILY.xattr.user.{n}": "x" * 60_000 for n in range(3)})
    ),
    "sparse file of 16 TiB": lambda: pax(b"34 GNU.sparse.size=17592186044416\n22 GNU.sparse.map=0,1\n"),
    "uid -1": lambda: pax(b"18 uid=4294967295\n"),
    "mtime": lambda: pax(b"14 mtime=1e99\n"),
    "mtime far": lambda: pax(b"25 mtime=999999999999999\n"),
}


@pytest.mark.parametrize("case", HOSTILE)
def test_hostile_archives_are_refused_and_touch_nothing_outside(dest: Path, case: str) -> None:
    (dest.parent / "outside_file").write_text("untouched")
    with pytest.raises(ArchiveError) as caught:
        unpack(io.BytesIO(HOSTILE[case]()), str(dest))
    assert len(str(caught.value)) < 700
    assert sorted(os.listdir(dest.parent)) == ["dest", "outside_file"]
    assert (dest.parent / "outside_file").stat().st_nlink == 1


def test_whiteouts_mean_nothing_in_an_archive_that_is_no_layer(dest: Path) -> None:
    with pytest.raises(ArchiveError, match=r"\.wh\."):
        unpack(io.BytesIO(archive(info("a/.wh.b"))), str(dest), keep_whiteouts=False)


@pytest.mark.parametrize(
    ("limits", "match"),
    [
        (ArchiveLimits(size=100_000), "100000 bytes"),
        (ArchiveLimits(entries=10), "10 entries"),
        (ArchiveLimits(header=1000), "header"),
        (ArchiveLimits(headers=9000), "9000 bytes of headers"),
    ],
)
def test_limits(dest: Path, limits: ArchiveLimits, match: str) -> None:
    members = [(info(f"{number}", pax_headers={"comment": "x" * 2000}), b"x" * 9000) for number in range(20)]
    with pytest.raises(ArchiveError, match=match):
        unpack(io.BytesIO(archive(*members)), str(dest), limits=limits)


def test_whoever_waits_for_a_hole_may_stop(dest: Path) -> None:
    calls = 0

    def check() -> None:
        nonlocal calls
        calls += 1
        if calls > 100:
            raise Interrupted("interrupted")

    sparse = pax(b"32 GNU.sparse.size=200000000000\n22 GNU.sparse.map=0,1\n")
    with pytest.raises(Interrupted):
        unpack(io.BytesIO(sparse), str(dest), check=check)
    calls = 0
    (dest / "again").mkdir()
    with pytest.raises(Interrupted):
        unpack(io.BytesIO(archive(*(info(f"{number}") for number in range(200)))), str(dest / "again"), check=check)


def test_headers_without_end_are_bounded(dest: Path) -> None:
    block = bytes(info("p", b"x", size=0).tobuf(tarfile.USTAR_FORMAT))

    class Endless:
        def read(self, _: int, /) -> bytes:
            return block * 100

    with pytest.raises(ArchiveError, match="entries"):
        unpack(Endless(), str(dest), limits=ArchiveLimits(entries=5000))


def test_a_bomb_meets_the_limit_before_memory_does(tmp_path: Path) -> None:
    """1 GiB of zeros in 1 MB, in a process that may have 250 MB."""
    bomb = tmp_path / "bomb"
    header = zero_sized_header(b"0", 1 << 30)
    with gzip.open(bomb, "wb", 1) as out:
        out.write(header)
        for _ in range(1 << 10):
            out.write(bytes(1 << 20))
    script = """if True:
        import resource, sys
        resource.setrlimit(resource.RLIMIT_AS, (250 << 20, 250 << 20))
        from buildah_py.errors import ArchiveError
        from buildah_py.layers.apply import unpack
        from buildah_py.layers.compression import decompress
        from buildah_py.layers.limits import ArchiveLimits
        import tempfile
        with tempfile.TemporaryDirectory() as dest, open(sys.argv[1], "rb") as file:
            try:
                unpack(decompress(file), dest, limits=ArchiveLimits(size=100 << 20))
            except ArchiveError as error:
                print(error)
    """
    done = subprocess.run([sys.executable, "-c", script, bomb], capture_output=True, text=True, check=True)
    assert done.stdout == f"the archive unpacks to more than the allowed {100 << 20} bytes\n"


@settings(max_examples=300, deadline=None)
@given(
    members=st.lists(
        st.tuples(st.sampled_from([b"0", b"1", b"2", b"5", b"S", b"L", b"K", b"x", b"g"]), st.binary(max_size=700)),
        max_size=4,
    ),
    noise=st.lists(st.tuples(st.integers(0, 4000), st.integers(0, 255)), max_size=4),
)
def test_damage_is_always_an_archive_error(members: list[tuple[bytes, bytes]], noise: list[tuple[int, int]]) -> None:
    data = bytearray()
    for kind, content in members:
        data += info("name", kind, size=len(content), linkname="t").tobuf(tarfile.USTAR_FORMAT)
        data += content + bytes(-len(content) % 512)
    for position, value in noise:
        if position < len(data):
            data[position] = value
            start = position // 512 * 512
            if len(data) >= start + 512:
                data[start + 148 : start + 156] = b" " * 8
                data[start + 148 : start + 156] = b"%06o\0 " % sum(data[start : start + 512])
    reader = TarReader(io.BytesIO(bytes(data)).read)
    try:
        for member in reader:
            taken = 0
            while piece := reader.read(1 << 16):
                taken += len(piece)
            assert member.sparse is not None or taken == member.size
    except ArchiveError:
        pass


def test_device_nodes_need_privileges(dest: Path) -> None:
    if os.geteuid() == 0:
        script = """if True:
            import io, os, sys, tempfile
            from buildah_py.errors import ArchiveError
            from buildah_py.layers.apply import unpack
            # All modules are loaded while they can be: the interpreter may lie where only root can read.
            with tempfile.TemporaryDirectory() as other:
                unpack(io.BytesIO(bytes(10240)), other, owners=False)
            os.setgid(65534); os.setuid(65534)
            try:
                unpack(sys.stdin.buffer, sys.argv[1], owners=False)
            except ArchiveError as error:
                print(error.message)
        """
        os.chmod(dest, 0o777)
        for parent in list(dest.parents)[:5]:
            os.chmod(parent, parent.stat().st_mode | 0o711)
        data = archive(info("dev/sda", tarfile.BLKTYPE, devmajor=8))
        done = subprocess.run([sys.executable, "-c", script, dest], input=data, capture_output=True, check=False)
        assert done.returncode == 0, done.stderr
        assert done.stdout == b"/dev/sda is a block device, and making one takes privileges that are missing here\n"
        assert not (dest / "dev/sda").exists()


# Compression.

TEXT = b"".join(b"%d\n" % number for number in range(200_000))


def zstd(data: bytes) -> bytes:
    zstandard = pytest.importorskip("zstandard")
    made: bytes = zstandard.ZstdCompressor().compress(data)
    return made


CODECS: dict[str, Callable[[bytes], bytes]] = {
    "": bytes,
    "gzip": gzip.compress,
    "bzip2": bz2.compress,
    "xz": lzma.compress,
    "zstd": zstd,
}


def all_of(data: bytes) -> bytes:
    reader = decompress(io.BytesIO(data))
    return b"".join(iter(lambda: reader.read(10_000), b""))


@pytest.mark.parametrize("name", CODECS)
def test_compression_is_recognised_by_content(name: str) -> None:
    compressed = CODECS[name](TEXT)
    assert detect(compressed[:6]) == name
    assert all_of(compressed) == TEXT


@pytest.mark.parametrize("name", list(CODECS)[1:])
def test_a_stream_in_small_pieces(name: str) -> None:
    compressed = CODECS[name](TEXT[:20_000])

    class Slow(io.BytesIO):
        def read(self, _: int | None = -1, /) -> bytes:
            return super().read(1)

    reader = decompress(Slow(compressed))
    assert b"".join(iter(lambda: reader.read(7), b"")) == TEXT[:20_000]


def test_zstd_in_all_its_shapes() -> None:
    zstandard = pytest.importorskip("zstandard")
    skippable = b"\x5e\x2a\x4d\x18" + (5).to_bytes(4, "little") + b"aside"
    for data in (b"", b"x", bytes(1 << 20), os.urandom(300_000), TEXT):
        for checksum in (False, True):
            for size in (False, True):
                compressor = zstandard.ZstdCompressor(write_checksum=checksum, write_content_size=size)
                frame = compressor.compress(data)
                assert all_of(frame) == data
                assert all_of(skippable + frame + skippable + frame) == data * 2
                with pytest.raises(ArchiveError):
                    all_of(frame[:-1])


@pytest.mark.parametrize("name", list(CODECS)[1:])
def test_several_parts_are_one_stream(name: str) -> None:
    assert all_of(CODECS[name](TEXT) + CODECS[name](b"") + CODECS[name](b"more")) == TEXT + b"more"


@pytest.mark.parametrize("name", list(CODECS)[1:])
@pytest.mark.parametrize("damage", ["cut", "garbage behind", "changed"])
def test_damaged_streams_are_archive_errors(name: str, damage: str) -> None:
    data = CODECS[name](TEXT)
    if damage == "cut":
        data = data[:-9]
    elif damage == "garbage behind":
        data += b"garbage"
    else:
        middle = len(data) // 2
        data = data[:middle] + bytes(50) + data[middle + 50 :]
    if (name, damage) == ("zstd", "changed"):
        return  # frames have no checksum unless asked for; the diff_id shows it
    with pytest.raises(ArchiveError, match=name):
        all_of(data)


@pytest.mark.parametrize("name", list(CODECS)[1:])
def test_highly_compressed_zeros_come_in_pieces(name: str) -> None:
    reader = decompress(io.BytesIO(CODECS[name](bytes(80 << 20))))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    total = 0
    while piece := reader.read(1 << 20):
        total += len(piece)
    assert total == 80 << 20
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 40 << 10


def _xz_with_a_dictionary_of_4_gib() -> bytes:
    """The smallest .xz, but for what its block says that it needs."""
    data = bytearray(lzma.compress(b"x"))
    block = 12  # behind the stream's header
    size = (data[block] + 1) * 4
    assert data[block + 2 : block + 4] == b"\x21\x01", "LZMA2, with one byte of properties"
    data[block + 4] = 40  # which means 2^32 - 1 (xz-file-format, 5.3.1)
    data[block + size - 4 : block + size] = zlib.crc32(data[block : block + size - 4]).to_bytes(4, "little")
    return bytes(data)


def _zstd_with_a_window(exponent: int) -> bytes:
    """One frame that says how large its window is (RFC 8878, 3.1.1.1.2), and one raw block of one byte."""
    return b"\x28\xb5\x2f\xfd\0" + bytes([(exponent - 10) << 3]) + b"\x09\0\0x"


def test_windows_of_any_size_are_refused() -> None:
    """What decompression would take of memory, nothing but a header says."""
    assert all_of(lzma.compress(b"x")) == b"x"
    hostile = [_xz_with_a_dictionary_of_4_gib()]
    if "zstd" in CODECS:
        assert all_of(_zstd_with_a_window(20)) == b"x"
        hostile += [_zstd_with_a_window(30), _zstd_with_a_window(41)]
    for data in hostile:
        with pytest.raises(ArchiveError):
            all_of(data)

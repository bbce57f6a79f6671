"""The cases of compare_copy.py: contexts, and build files that copy out of them."""

from __future__ import annotations

import bz2
import gzip
import io
import itertools
import lzma
import os
import random
import socket
import tarfile
from typing import TYPE_CHECKING, NamedTuple

import zstandard

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

STAMP = 1_500_000_000


class Case(NamedTuple):
    """One build: its name, the context it is built in, the build file, and an ignore file beside that."""

    name: str
    context: str
    text: str
    ignore: str | None = None


# What is in the image before the instruction that is looked at.
STATE = """\
COPY state/ /
COPY --chown=5:6 --chmod=0710 state/d/ /own/
"""


def _write(path: Path, data: bytes | str, mode: int = 0o644) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data.encode() if isinstance(data, str) else data)
    path.chmod(mode)


def make_main(root: Path) -> None:
    """Make the context that most cases share."""
    _write(root / "a.txt", "a")
    _write(root / "b.txt", "bb")
    _write(root / "run.sh", "#!/bin/sh\n", 0o755)
    _write(root / "private", "p", 0o600)
    _write(root / "suid", "s", 0o4755)
    _write(root / "sgid", "s", 0o2755)
    _write(root / "readonly", "r", 0o444)
    _write(root / "none", "", 0o000)
    _write(root / "zero", "")
    _write(root / "big", bytes(range(256)) * 9000)
    (root / "empty").mkdir()
    (root / "sticky").mkdir()
    (root / "sticky").chmod(0o1777)
    _write(root / "sticky/f", "f")
    (root / "setgid").mkdir()
    (root / "setgid").chmod(0o2750)
    _write(root / "setgid/inner/f", "f")
    (root / "setgid/inner").chmod(0o2770)
    _write(root / "dir/x.txt", "x")
    _write(root / "dir/y.log", "y", 0o640)
    _write(root / "dir/.hidden", "h")
    _write(root / "dir/sub/deep.txt", "deep")
    _write(root / "dir/sub/z.log", "z")
    _write(root / "dir/sub/more/q", "q", 0o755)
    (root / "dir/sub/void").mkdir()
    (root / "dir/sub").chmod(0o750)
    _write(root / "secretdir/f", "f", 0o600)
    (root / "secretdir").chmod(0o700)
    _write(root / "two/x.txt", "other x")
    _write(root / "two/sub/deep.txt", "other deep")
    _write(root / "two/sub2", "file")
    for name, target in {
        "link": "a.txt", "dirlink": "dir", "abslink": "/a.txt", "absdir": "/dir", "dangling": "nowhere",
        "outlink": "../../../../../../etc/hostname", "loop": "loop", "chain": "link", "dotlink": ".",
        "dir/uplink": "../a.txt", "dir/sublink": "sub", "dir/sub/out": "../../../../..",
        "links/abs": "/dir/x.txt", "links/rel": "../dir", "links/dangling": "nope",
    }.items():  # fmt: skip
        (root / name).parent.mkdir(exist_ok=True)
        (root / name).symlink_to(target)
    _write(root / "hard1", "hard")
    os.link(root / "hard1", root / "hard2")
    _write(root / "hard/h1", "hh")
    os.link(root / "hard/h1", root / "hard/h2")
    (root / "hard/in").mkdir()
    os.link(root / "hard/h1", root / "hard/in/h3")
    os.link(root / "hard/h1", root / "hardout")
    (root / "special").mkdir()
    os.mkfifo(root / "special/fifo", 0o640)
    os.mknod(root / "special/null", 0o666 | 0o020000, os.makedev(1, 3))
    _write(root / "owned/f", "f")
    os.chown(root / "owned/f", 1234, 4321)
    os.chown(root / "owned", 1234, 4321)
    _write(root / "attributes/user", "u")
    os.setxattr(root / "attributes/user", "user.note", b"text\0bin\xff")
    _write(root / "attributes/capable", "c", 0o755)
    (root / "attributes/dir").mkdir()
    os.setxattr(root / "attributes/dir", "user.dir", b"d")
    for name in (
        "sp ace.txt", "br[1].txt", "br1.txt", "st*r.txt", "q?m.txt", "back\\slash", "ünï.txt", "日本.txt", "-dash",
        "#hash", "semi;colon", "'quote'", '"double"', "$dollar", "tab\there", "new\nline", "...", "..dots", "!bang",
        "{brace}", "~tilde", "a" * 255,
    ):  # fmt: skip
        _write(root / "names" / name, name)
    _write(root / "names/dir with space/f", "f")
    _make_state(root / "state")
    _make_archives(root / "archives")
    _still(root)


def _make_state(root: Path) -> None:
    root.mkdir()
    _write(root / "etc/passwd", "root:x:0:0::/root:/bin/sh\nalice:x:1000:1001::/:/bin/sh\nbob:x:1002:7::/:\n")
    _write(root / "etc/group", "root:x:0:\nstaff:x:50:alice\nalice:x:1001:\n")
    _write(root / "d/old", "old")
    _write(root / "d/x.txt", "old x", 0o600)
    _write(root / "d/sub/older", "older")
    (root / "d").chmod(0o711)
    _write(root / "f", "file", 0o600)
    _write(root / "d/a.txt/inside", "a directory where a file would go")
    for name, target in {
        "l": "/d", "rl": "d", "lf": "/f", "dang": "/made", "reldang": "made/deeper", "loop": "loop",
        "up": "../../../d", "d/sl": "sub", "d/lfile": "../f",
    }.items():  # fmt: skip
        (root / name).symlink_to(target)


def _tar(members: list[tuple[tarfile.TarInfo, bytes]], kind: int = tarfile.PAX_FORMAT) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=kind) as tar:
        for member, data in members:
            member.size = len(data)
            member.mtime = member.mtime or STAMP
            tar.addfile(member, io.BytesIO(data))
    return out.getvalue()


def _member(name: str, data: bytes = b"", **values: object) -> tuple[tarfile.TarInfo, bytes]:
    member = tarfile.TarInfo(name)
    if name.endswith("/"):
        member.type = tarfile.DIRTYPE
        member.mode = 0o755
    for key, value in values.items():
        setattr(member, key, value)
    return member, data


def _make_archives(root: Path) -> None:
    root.mkdir()
    symlink, hardlink = tarfile.SYMTYPE, tarfile.LNKTYPE
    plain = _tar(
        [
            _member("top.txt", b"top", uid=7, gid=8, mode=0o640),
            _member("in/", mode=0o750, uid=3),
            _member("in/file", b"data", mode=0o4755),
            _member("in/link", type=symlink, linkname="file"),
            _member("in/abs", type=symlink, linkname="/etc/passwd"),
            _member("in/hard", type=hardlink, linkname="in/file", mode=0o4755),
            _member("implied/deep/f", b"i"),
        ]
    )
    made = {
        "plain.tar": plain,
        "packed.tar.gz": gzip.compress(plain, mtime=0),
        "packed.tar.bz2": bz2.compress(plain),
        "packed.tar.xz": lzma.compress(plain),
        "packed.tar.zst": zstandard.compress(plain),
        "packed.lzma": lzma.compress(plain, lzma.FORMAT_ALONE),
        "tar-by-content.txt": plain,
        "gzip-by-content": gzip.compress(plain, mtime=0),
        "twice.tar.gz.gz": gzip.compress(gzip.compress(plain, mtime=0), mtime=0),
        "text.tar": b"no archive at all\n",
        "text.txt.gz": gzip.compress(b"no archive", mtime=0),
        "empty.tar": b"\0" * 10240,
        "short.tar": b"\0" * 1024,
        "zero.tar": b"",
        "cut.tar": plain[:1000],
        "cut.tar.gz": gzip.compress(plain, mtime=0)[:-20],
        "tail.tar": plain + b"garbage",
        "two-in-one.tar.gz": gzip.compress(plain[:1024], mtime=0) + gzip.compress(plain[1024:], mtime=0),
        "root.tar": _tar([_member("./", mode=0o700, uid=9), _member("./f", b"f")]),
        "dots.tar": _tar([_member("./a/./b", b"b"), _member("a//c", b"c"), _member("/abs/d", b"d")]),
        "dotdot.tar": _tar([_member("in/../f", b"f")]),
        "escape.tar": _tar([_member("../../outside", b"f")]),
        "through-link.tar": _tar([_member("l2", type=symlink, linkname="/d"), _member("l2/new", b"new")]),
        "through-up.tar": _tar([_member("u", type=symlink, linkname="../../d"), _member("u/new", b"new")]),
        "hard-out.tar": _tar([_member("h", type=hardlink, linkname="../../etc/passwd")]),
        "hard-missing.tar": _tar([_member("h", type=hardlink, linkname="nothing")]),
        "hard-later.tar": _tar([_member("h", type=hardlink, linkname="later"), _member("later", b"l")]),
        "hard-existing.tar": _tar([_member("h", type=hardlink, linkname="old")]),
        "hard-symlink.tar": _tar([_member("s", type=symlink, linkname="t"), _member("h", type=hardlink, linkname="s")]),
        "devices.tar": _tar(
            [
                _member("null", type=tarfile.CHRTYPE, devmajor=1, devminor=3),
                _member("pipe", type=tarfile.FIFOTYPE),
                _member("f", b"f"),
            ]
        ),
        "twice.tar": _tar([_member("f", b"one"), _member("f", b"two", mode=0o600)]),
        "dir-then-file.tar": _tar([_member("n/x", b"x"), _member("n", b"file")]),
        "file-then-dir.tar": _tar([_member("n", b"file"), _member("n/", mode=0o700), _member("n/x", b"x")]),
        "over-dir.tar": _tar([_member("sub", b"file in place of a directory")]),
        "over-file.tar": _tar([_member("old/", mode=0o755), _member("old/x", b"x")]),
        "over-dir-mode.tar": _tar([_member("sub/", mode=0o700, uid=77)]),
        "whiteout.tar": _tar([_member(".wh.old", b""), _member("sub/.wh..wh..opq", b"")]),
        "pax.tar": _tar(
            [
                _member("lo" + "n" * 120 + "g/" + "f" * 120, b"long"),
                _member("ünï", b"u"),
                _member("xattr", b"x", pax_headers={"SCHILY.xattr.user.note": "value"}),
                _member("frac", b"x", pax_headers={"mtime": "1500000000.123456789"}),
            ]
        ),
        "gnu.tar": _tar([_member("lo" + "n" * 120 + "g/" + "f" * 120, b"long")], tarfile.GNU_FORMAT),
        "ustar.tar": _tar([_member("u/" + "f" * 90, b"u")], tarfile.USTAR_FORMAT),
        "names.tar": _tar([_member("f", b"f", uid=65534, gid=65534, uname="alice", gname="staff")]),
        "bigid.tar": _tar([_member("f", b"f", uid=3_000_000, gid=3_000_001)]),
        "modes.tar": _tar(
            [_member("sticky/", mode=0o1777), _member("sg/", mode=0o2755), _member("s", b"s", mode=0o6755)]
        ),
    }
    for name, data in made.items():
        _write(root / name, data)


def _still(root: Path) -> None:
    """Give everything a time that is no round one, links too."""
    for folder, folders, files in os.walk(root, topdown=False):
        for name in files + folders:
            path = os.path.join(folder, name)
            os.utime(path, ns=(0, (STAMP + len(name)) * 10**9 + 123_456_789), follow_symlinks=False)


def make_odd(root: Path) -> None:
    """Make a context with a name that is no text."""
    _write(root / "plain", "p")
    with open(os.fsencode(root) + b"/raw\xff\xfe", "wb") as file:
        file.write(b"raw")
    _write(root / ".wh.strange", "w")
    _write(root / "capable", "c", 0o755)
    os.setxattr(root / "capable", "security.capability", bytes.fromhex("01000002" + "00200000" + "00" * 12))
    os.mknod(root / "block", 0o600 | 0o060000, os.makedev(7, 0))
    with socket.socket(socket.AF_UNIX) as server:
        here = os.open(root, os.O_RDONLY)
        server.bind(f"/proc/self/fd/{here}/socket")
        os.close(here)
    _still(root)


NAMES = ("a", "b", "c.txt", "d.log", "e")
LINKS = ("a", "b", "../a", "/a", "b/a", "nowhere", "..", "c.txt", "/src/b", ".")


def make_random(root: Path, seed: int) -> None:
    """Make a small random tree in `src`, and another in `base`."""
    chance = random.Random(seed)

    def grow(here: Path, depth: int) -> None:
        here.mkdir(parents=True)
        for name in chance.sample(NAMES, chance.randint(1, 4)):
            kind = chance.random()
            if kind < 0.45 or depth == 0:
                _write(here / name, name * chance.randint(1, 5), chance.choice([0o644, 0o755, 0o600, 0o4711]))
            elif kind < 0.82:
                grow(here / name, depth - 1)
                (here / name).chmod(chance.choice([0o755, 0o700, 0o2750]))
            else:
                (here / name).symlink_to(chance.choice(LINKS))

    grow(root / "src", 3)
    grow(root / "base", 2)
    _still(root)


SOURCES = (
    "a.txt", "./a.txt", "/a.txt", "../a.txt", "dir/../a.txt", "dir", "dir/", "dir/.", "./dir//sub", "empty", ".",
    "link", "chain", "dirlink", "dirlink/", "dirlink/x.txt", "abslink", "absdir", "dangling", "loop", "outlink",
    "dir/sublink", "dir/sublink/deep.txt", "dir/uplink", "a.txt b.txt", "dir two", "dir a.txt", "*.txt", "*.none",
    "a.txt *.none", "missing", "missing/x", "a.txt/x", "d*", "dir/*", "*/x.txt", "*/sub", "[ab].txt", "[!a].txt",
    "[^a].txt", "[a-z].txt", "?.txt", "dirlink/*", "links/*", "dir/sub*/*", "*/*/deep.txt", "special/fifo", "hard",
    "hard1 hard2", "secretdir", "sticky", "setgid", "**/x.txt", "dir/**",
)  # fmt: skip
DESTINATIONS = (
    "/", "/n", "/n/", "/n/m", "/n/m/", ".", "n", "./n/", "/d", "/d/", "/d/sub", "/d/sub/", "/f", "/f/", "/f/x", "/l",
    "/l/", "/rl/", "/l/new/", "/lf", "/lf/", "/dang", "/dang/", "/dang/x", "/reldang/", "/loop", "/loop/x", "/up/",
    "/d/sl/", "/d/sl", "/d/lfile", "/own", "/own/", "/own/deep/er/", "/../n", "/n/../m/", "/n/.", "/d/.", "/d/..",
)  # fmt: skip
CHMODS = (
    "755", "0640", "7777", "0", "u=rwX,go=rX", "a+x", "+x", "go-rwx", "u+s", "g+s", "+t", "a=r", "u=g", "g=u",
    "a-x+X", "=", "u=rw,g+w", "u=rws", "g-s", "888", "10000", "u=q", "rwx", "", "u+w,", "ug=o", "o=", "-w",
    "a=rX,u+w", "u=srx,o+t", "a-X", "o+s", "u+t", "o+t", "g=X", "u+w,g-X,o=u", "777", "a-st", "g=s",
)  # fmt: skip
CHOWNS = (
    "alice", "alice:staff", "bob", "1000", "1000:50", "alice:50", "33:staff", ":staff", ":50", "0", "root", "unknown",
    "alice:unknown", "4294967294:1", "alice:", "-1", "1:2:3", "5.6", "1001:alice",
)  # fmt: skip
EXCLUDES = (
    "*.log", "**/*.log", "sub", "sub/", "/sub", "dir", "dir/sub", "x.txt", "*", "**", "sub/**", "**/sub/*",
    ".*", "sub --exclude=!sub/deep.txt", "* --exclude=!x.txt", "*.txt --exclude=*.log", "void", "sub/void", "missing",
    "[", "./x.txt", "../x.txt", "sub*", "s?b", "dir/*.txt", "**/deep.txt", "a.txt", "", "\\x.txt",
)  # fmt: skip
PARENTS = (
    "dir/x.txt /n/", "dir/x.txt /n", "dir /n/", "dir/ /n/", "./dir/./x.txt /n/", "dir/./sub/deep.txt /n/",
    "dir/./sub /n/", "./a.txt /n/", "/a.txt /n/", "*/x.txt /n/", "**/x.txt /n/", "**/*.txt /n/",
    "dir/**/deep.txt /n/", "dir/./**/*.txt /n/", "*/sub /n/", "dir/* /n/", "missing /n/", "missing* /n/",
    "dir/missing /n/", "a.txt b.txt /n/", "dir/x.txt /d/", "dir/sub/deep.txt /", "two/sub dir/sub /n/",
    "dirlink/x.txt /n/", "dirlink /n/", "link /n/", ". /n/", "./. /n/", "dir/sub/../x.txt /n/", "../dir/x.txt /n/",
    "dir/./missing /n/", "secretdir/f /n/", "empty /n/", "dir/sub/void /n/", "setgid/inner/f /n/",
    "dir/x.txt two/x.txt /l/", "**/sub /n/", "dir/sub/./deep.txt dir/./x.txt /n/", "*.txt /n/",
)  # fmt: skip
IGNORES = (
    "*", "*\n!dir", "*\n!dir/sub/deep.txt", "dir", "dir/", "/dir", "dir/*", "dir/*\n!dir/x.txt", "**/*.txt",
    "**/*.txt\n!dir/x.txt", "*.txt", "*/*.txt", "**", "**\n!a.txt", "**/sub", "dir/**", "dir/**\n!dir/sub/more",
    "# comment\na.txt", " # no comment\n a.txt ", "!a.txt", "*.txt\n!b.txt\nb.*", "dir\n!dir/sub\ndir/sub/more",
    "[ab].txt", "?.txt", "a\\.txt", "./a.txt", "../a.txt", "/a.txt/", "dir//sub", "dir/./sub", "dir/../two", ".",
    "/", "", "names", "**/deep.txt", "dir/**/deep.txt", "d*r", "**/.*", ".*", "dirlink", "dirlink/x.txt", "link",
    "*/sub/*.log", "\ufeffa.txt", "a.txt\r\nb.txt\r", "!", "dir/sub/\n!dir/sub/more/q", "two/**/../sub", "**/x*",
    "empty", "special", "dir/sub/void", "*\n!**/x.txt", "*\n!*/x.txt", "d\\*r", "**/", "/**/x.txt", "a**t", "**txt",
)  # fmt: skip
NAMED = (
    r'["names/sp ace.txt", "/n/"]', r'["names/dir with space", "/n/"]', r'["names/br[[]1].txt", "/n/"]',
    r'["names/br\\[1].txt", "/n/"]', r"names/br[1].txt /n/", r"names/st\*r.txt /n/", r"names/st*r.txt /n/",
    r'["names/back\\\\slash", "/n/"]', r"names/q?m.txt /n/", r"names/ünï.txt names/日本.txt /n/", r"names/ü* /n/",
    r"names/?本.txt /n/", r"./names/-dash /n/", r"names/#hash /n/", r"names/... /n/", r"names/..dots /n/",
    r"names/~tilde /n/", r"names/semi;colon /n/", r"names/\$dollar /n/", r"names/'quote' /n/",
    r'"names/sp ace.txt" /n/', r"names/a* /n/", r"a.txt /ünï/日本", r'["a.txt", "/with space/"]',
    r'["a.txt", ""]', r'["", "/n/"]', r'["names/tab\there", "/n/"]',
    r'["names/new\nline", "/n/"]', r"names/sp\ ace.txt /n/", r'["a.txt"]', r"a.txt", r"$x/a.txt /n/", r"a.txt $x/n/",
    r"${x:-a.txt} /n/", r'names/\"double\" /n/', r"a.txt C:\\n", r"a.txt /n\\m",
)  # fmt: skip
HEREDOCS = (
    "COPY <<E /n\nhello $x\nE", "COPY <<'E' /n\nhello $x\nE", 'COPY <<"E" /n\nhello\nE', "COPY <<-E /n\n\t\thello\n\tE",
    "COPY <<E /n/\nhello\nE", "COPY <<one <<two /n/\n1\none\n2\ntwo", "COPY a.txt <<E /n/\nhi\nE", "COPY <<E /n\nE",
    "COPY --chmod=751 <<E /n\nhi\nE", "COPY --chown=5:6 <<E /n\nhi\nE", "COPY --chown=alice:staff <<E /n/m/\nhi\nE",
    "COPY <<one <<two /n\n1\none\n2\ntwo", "ADD <<E /n\nhello\nE", "COPY <<E /d\nhi\nE", "COPY <<E /lf\nhi\nE",
    "COPY <<E /dang\nhi\nE", "COPY <<E /d/\nhi\nE", "COPY <<x.txt /d/\nhi\nx.txt", "COPY <<a.txt /d/\nhi\na.txt",
    "COPY --link <<E /n\nhi\nE", "COPY --chmod=u=rwx,g=r <<E /n\nhi\nE", "COPY <<E n\n\\$x \\\\ `b` 'q' \"q\"\nE",
    "COPY <<E /n\n\n\n a\n\nE", "ENV y=1\nCOPY <<E /n\n${y} $y ${z:-d}\nE", "COPY --chmod=4755 <<E /n\nhi\nE",
)  # fmt: skip
STAGES = (
    "COPY --from=s / /", "COPY --from=s /own /n", "COPY --from=s /own/ /n/", "COPY --from=s own/* /n/",
    "COPY --from=s /l /n", "COPY --from=s /l/ /n/", "COPY --from=s /lf /n", "COPY --from=s /dang /n",
    "COPY --from=s /d/sl /n", "COPY --from=s /up /n", "COPY --from=0 /d /n", "COPY --from=s --chown=1:2 /own /n",
    "COPY --from=s --chmod=600 /own/old /n", "COPY --from=s --chown=alice /own /n", "COPY --from=s ../d /n",
    "COPY --from=s /missing* /n/", "COPY --from=s /missing /n/", "COPY --from=s /special /n",
    "COPY --from=s /attributes /n", "COPY --from=s /hard /n", "COPY --from=s /hard/h1 /hard/h2 /n/",
    "COPY --from=s --link /own /n", "COPY --from=s --exclude=old /d /n", "COPY --from=s /own/old /own/x.txt /n/",
    "COPY --from=s /setgid /n", "COPY --from=s /*ec* /n", "COPY --from=s /d/a.txt /n", "COPY --from=s . /n",
    "COPY --from=S /d /n", "COPY --from=s --parents /d/sub/older /n/", "COPY --from=s --parents /own/sub /n/",
    "COPY --from=s --chmod=u+x /own /n",
)  # fmt: skip
OTHERS = (
    "WORKDIR /w\nCOPY a.txt .", "WORKDIR /w\nCOPY a.txt b/", "WORKDIR /w\nCOPY dir .", "WORKDIR w\nCOPY a.txt ../x",
    "WORKDIR /l\nCOPY a.txt z", "WORKDIR /w/x\nCOPY a.txt ..", "USER alice\nCOPY a.txt /n",
    "USER alice\nWORKDIR /w\nCOPY a.txt .", "COPY a.txt /n\nCOPY b.txt /n", "COPY dir /n\nCOPY two /n",
    "COPY two /n\nCOPY dir /n", "COPY dir two /n/", "COPY two dir /n/", "COPY --chmod=700 dir two /n/",
    "COPY --chown=1:2 dir /d/", "COPY --chown=1:2 --chmod=700 dir /x/y/z/", "COPY special /n", "COPY owned /n",
    "COPY owned/f /n", "COPY attributes /n", "COPY names /n", "COPY big zero none /n/",
    "COPY suid sgid readonly private /n/", "COPY hard /n", "COPY hard1 hard2 /n/", "COPY hard/h1 hard/in /n/",
    "COPY hard hardout /n/", "COPY --link hard /n", "COPY --link dir /d/", "COPY --link a.txt /l/n",
    "COPY --link a.txt /l/", "COPY --link a.txt /d", "COPY --link dir /l", "COPY --link a.txt /f/x",
    "COPY --link dir /f", "COPY --link --chown=1:2 dir /n/m/", "COPY --link --chmod=700 dir /d/",
    "COPY --link --chown=alice a.txt /n/", "COPY --link=false a.txt /l/n", "COPY --link . /",
    "COPY --link a.txt b.txt /own/", "COPY --link dirlink /n", "COPY --link empty /n", "COPY --link a.txt n",
    "COPY --link a.txt /own/z", "COPY --link --exclude=sub dir /n", "COPY --link dir/x.txt /d/a.txt",
    "COPY a.txt a.txt /n/", "COPY dir/x.txt two/x.txt /n/", "COPY dir/x.txt two/x.txt /n", "COPY a.txt a.txt /n",
    "COPY empty /d", "COPY empty /n", "COPY empty/ /f", "COPY empty /l", "COPY dir/sub/void a.txt /n/",
    "COPY two/sub2 /d/sub", "COPY two/sub2 /d/sub/", "COPY dir/sub /d/old", "COPY two/. /d/x.txt/", "COPY two /own",
    "COPY --chmod=600 dir /own", "COPY --chown=9 dir /own", "COPY sticky setgid /n/", "COPY sticky /n/sticky",
    "ADD a.txt /n", "ADD dir /n", "ADD dir /n/", "ADD *.txt /n/", "ADD --chmod=600 a.txt /n",
    "ADD --chown=1:2 a.txt /n", "ADD --link a.txt /l/n", "ADD --exclude=*.log dir /n", "ADD missing /n",
    "ADD missing* /n/", "ADD link /n", "ADD . /n", "COPY state/ /", "COPY state/. /", "COPY state /",
    "COPY --chmod=755 state/d /d", "COPY --chmod=u=rwX,go= dir /d/", "COPY dir /d/sub/older/x",
    "COPY a.txt /a/very/long/way/to/go/", "COPY --chmod=1711 --chown=3:4 a.txt /a/b/c",
    "COPY --chmod=g+w --chown=3:4 a.txt /a/b/c", "COPY --chmod=0000 dir /n/", "COPY --chmod=7000 a.txt /p/q",
    "COPY --chmod=2755 dir /n/m", "COPY --chmod=g=u setgid /n", "COPY --chmod=u-s suid /n", "COPY --chmod=a+r . /n",
    "COPY --unknown=1 a.txt /n", "COPY --chown=1 --chown=2 a.txt /n", "COPY --from=nothing a.txt /n", "COPY",
    "COPY a.txt", "ADD --keep-git-dir=true a.txt /n", "ADD --checksum=sha256:00 a.txt /n",
    "COPY https://localhost/x /n", "COPY --unpack=true a.txt /n", "COPY --checksum=sha256:00 a.txt /n",
    "COPY --chown a.txt /n", "COPY --link=maybe a.txt /n", "ADD --from=s a.txt /n",
)  # fmt: skip
UNPACKED_MORE = (
    "archives/*.gz /n/", "archives/plain.tar a.txt /n/", "archives/plain.tar archives/twice.tar /d",
    "archives/plain.tar /f", "archives/plain.tar /lf", "archives/plain.tar /dang", "archives/plain.tar a.txt /n",
    "--exclude=*.gz archives/packed* /n/",
)  # fmt: skip
UNPACKED = (
    "", "--unpack=false ", "--unpack=true ", "--chown=1:2 ", "--chmod=700 ", "--chown=alice:staff --chmod=u=rwX,go= ",
    "--link ",
)  # fmt: skip


def _from_scratch(text: str) -> str:
    return f"FROM scratch\n{STATE}{text}\n"


def cases() -> Iterator[Case]:
    """Give all cases."""
    # Every source to some destinations and every destination from some sources, not each to each.
    chance = random.Random(1)
    pairs = {(source, destination) for source in SOURCES for destination in ("/n", "/n/", "/d", "/d/", "/l", "/f")}
    pairs |= set(itertools.product(("a.txt", "dir", "empty", "link", "*.txt", "a.txt b.txt", "dir/*"), DESTINATIONS))
    pairs |= {(chance.choice(SOURCES), chance.choice(DESTINATIONS)) for _ in range(150)}
    for number, (source, destination) in enumerate(sorted(pairs)):
        yield Case(f"plain-{number}", "main", _from_scratch(f"COPY {source} {destination}"))
    for number, mode in enumerate(CHMODS):
        for place, source in enumerate(("dir /n", "suid setgid /n/", "run.sh /n", "dir /d", "hard links sticky /n/")):
            yield Case(f"chmod-{number}-{place}", "main", _from_scratch(f"COPY --chmod={mode} {source}"))
    for number, owner in enumerate(CHOWNS):
        for place, source in enumerate(("dir /n/m", "owned /d")):
            yield Case(f"chown-{number}-{place}", "main", _from_scratch(f"COPY --chown={owner} {source}"))
    for number, pattern in enumerate(EXCLUDES):
        for place, source in enumerate(("dir /n", "dir/. /n", "dir/* /n/", "dir two a.txt /d/")):
            yield Case(f"exclude-{number}-{place}", "main", _from_scratch(f"COPY --exclude={pattern} {source}"))
    for number, rest in enumerate(PARENTS):
        for place, flags in enumerate(("", "--chmod=700 ", "--chown=1:2 ", "--exclude=**/deep.txt ", "--link ")):
            if not place or number % 3 == 0:
                yield Case(f"parents-{number}-{place}", "main", _from_scratch(f"COPY --parents {flags}{rest}"))
    for number, ignore in enumerate(IGNORES):
        for place, source in enumerate(("COPY . /n", "COPY dir a.txt /n/", "COPY *.txt /n/")):
            yield Case(f"ignore-{number}-{place}", "main", f"FROM scratch\n{source}\n", ignore)
    for number, rest in enumerate(NAMED):
        yield Case(f"names-{number}", "main", _from_scratch(f"COPY {rest}"))
    for number, rest in enumerate((*HEREDOCS, *OTHERS)):
        yield Case(f"other-{number}", "main", _from_scratch(rest))
    stage = "FROM scratch AS s\n" + STATE + "COPY special /special\nCOPY attributes /attributes\nCOPY hard /hard\n"
    stage += "COPY --chown=7:8 setgid /setgid\n"
    for number, rest in enumerate(STAGES):
        for place, before in enumerate(("", STATE)):
            yield Case(f"stage-{number}-{place}", "main", f"{stage}FROM scratch\n{before}{rest}\n")
    yield from _archives()
    for number, rest in enumerate(
        ("plain /", ". /n", "raw* /n/", ".wh.strange /n/", "block /", "socket /", "capable /")
    ):
        yield Case(f"odd-{number}", "odd", f"FROM scratch\nCOPY {rest}\n")
    yield from _random()


def _archives() -> Iterator[Case]:
    names = (
        "plain.tar", "packed.tar.gz", "packed.tar.bz2", "packed.tar.xz", "packed.tar.zst", "packed.lzma",
        "tar-by-content.txt", "gzip-by-content", "twice.tar.gz.gz", "text.tar", "text.txt.gz", "empty.tar",
        "short.tar", "zero.tar", "cut.tar", "cut.tar.gz", "tail.tar", "two-in-one.tar.gz", "root.tar", "dots.tar",
        "dotdot.tar", "escape.tar", "through-link.tar", "through-up.tar", "hard-out.tar", "hard-missing.tar",
        "hard-later.tar", "hard-existing.tar", "hard-symlink.tar", "devices.tar", "twice.tar", "dir-then-file.tar",
        "file-then-dir.tar", "over-dir.tar", "over-file.tar", "over-dir-mode.tar", "whiteout.tar", "pax.tar",
        "gnu.tar", "ustar.tar", "names.tar", "bigid.tar", "modes.tar",
    )  # fmt: skip
    for number, name in enumerate(names):
        for place, destination in enumerate(("/n/", "/n", "/d/", "/l", "/")):
            if place < 3 or number % 4 == 0:
                text = f"ADD archives/{name} {destination}"
                yield Case(f"archive-{name}-{place}", "main", _from_scratch(text))
    for number, flags in enumerate(UNPACKED):
        for place, name in enumerate(
            ("plain.tar /n/", "packed.tar.gz /d/", "text.tar /n/", "modes.tar /n", "over-dir-mode.tar /d")
        ):
            yield Case(f"unpack-{number}-{place}", "main", _from_scratch(f"ADD {flags}archives/{name}"))
    for number, rest in enumerate(UNPACKED_MORE):
        yield Case(f"unpack-more-{number}", "main", _from_scratch(f"ADD {rest}"))


RANDOM_SOURCES = (
    "src",
    "src/",
    "src/*",
    "src/[a-c]*",
    "src/../src/?",
    "/src/*.*",
    "./src/.",
    "src/a src/b",
    "src/*/*",
    "src/b/",
)
RANDOM_DESTINATIONS = (
    "/dst",
    "/dst/",
    "/a",
    "/a/",
    "/b/x",
    "/b/x/",
    "/e/",
    "/",
    "/a/b",
    "/new/deep/dir/",
    "/c.txt",
    "/b",
    "/e",
)
RANDOM_IGNORED = (
    "src/a",
    "**/d.log",
    "!src/a/b",
    "*/b",
    "src/*.txt",
    "src/**/e",
    "src/?",
    "!src/e/*",
    "!src/b",
    "**/c.*",
)
RANDOM_FLAGS = (
    "",
    "",
    "",
    "--chown=3:4 ",
    "--chmod=710 ",
    "--exclude=**/b ",
    "--exclude=* --exclude=!b ",
    "--link ",
    "--chmod=g=u,o+X ",
)


def _random() -> Iterator[Case]:
    for seed in range(30):
        chance = random.Random(seed)
        for number in range(8):
            flags, source = chance.choice(RANDOM_FLAGS), chance.choice(RANDOM_SOURCES)
            text = f"FROM scratch\nCOPY base/ /\nCOPY {flags}{source} {chance.choice(RANDOM_DESTINATIONS)}\n"
            ignore = "\n".join(chance.sample(RANDOM_IGNORED, chance.randint(1, 3))) if number % 2 else None
            yield Case(f"random-{seed}-{number}", f"random-{seed}", text, ignore)


def make_context(name: str, root: Path) -> None:
    """Make the context of that name in the directory `root`."""
    root.mkdir(parents=True)
    if name == "main":
        make_main(root)
    elif name == "odd":
        make_odd(root)
    else:
        make_random(root, int(name.removeprefix("random-")))

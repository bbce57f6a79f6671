"""Cases of a step on copied files that are edited, by name, with what the step then has to be: see test_observe.py."""

from __future__ import annotations

import io
import tarfile
from typing import TYPE_CHECKING, NamedTuple

from tests.truth.inputs import Dir, File, Link, Member, Node, Tar

if TYPE_CHECKING:
    from collections.abc import Mapping

HIT, MISS = True, False
LONG = "n" * 255
DEEP = "/".join(["deep" * 12] * 60)
LONGEST = f"for n in $(seq 83); do mkdir -p {'n' * 48}; cd {'n' * 48}; done"
RAW = b"\xff\xfe".decode("utf-8", "surrogateescape")
LINES = "two\nlines"
FILES: Mapping[str, Node] = {
    "f": File("f\n"),
    "g": File("g\n"),
    "s": File("#!/bin/sh\ncat /c/f\n", 0o755),
    "d/x": File("x\n"),
    "d/y": File("y\n"),
    "d/i/z": File("z\n"),
    "d2/x": File("x2\n"),
    "p/tool": File("#!/bin/sh\necho tool\n", 0o755),
    "l": Link("f"),
    "k": Link("d"),
    "empty": File(""),
    "e": Dir(),
}
"""What lies in the context of each case, and by a plain COPY in /c."""
F, G, X, Y, Z = ({name: File("o\n")} for name in ("f", "g", "d/x", "d/y", "d/i/z"))
"""Other contents, of the same sizes."""


class Case(NamedTuple):
    """What is edited under which steps, whether the last of them is a hit, and what the context has besides FILES."""

    hit: bool
    steps: str
    edit: Mapping[str, Node | None]
    files: Mapping[str, Node] = {}

    def text(self, name: str) -> str:
        """Give the stages; `~` is the directory of the case in the context, and the name of its stage."""
        steps = self.steps if "\n" in self.steps else f"COPY ~/ /c/\nRUN {self.steps}"
        stages = steps if steps.startswith("FROM") else f"FROM base AS ~\n{steps}"
        first, last, end = stages.rpartition("\nRUN ")
        options, command = "", end
        while command.startswith("--"):
            option, _, command = command.partition(" ")
            options += f"{option} "
        return f"{first}{last}{options}: {name}; {command}\n".replace("~", name)


def copied(run: str, *copies: str) -> str:
    """Give the steps of a case that copies in its own way."""
    return "\n".join([*copies, f"RUN {run}"])


def made(how: str, run: str, copy: str = "COPY --from=~s /s/ /c/") -> str:
    """Give the steps of a case whose files come from another stage, which a script in the context makes."""
    return f"FROM base AS ~s\nCOPY ~/ /x/\nRUN mkdir /s; cd /s; {how}\nFROM base AS ~\n{copy}\nRUN {run}"


def packed(*members: Member, xattrs: Mapping[str, Mapping[str, str]] | None = None) -> File:
    """Give an archive, with extended attributes of some members."""
    data = io.BytesIO()
    with (
        tarfile.open(fileobj=io.BytesIO(Tar(members).to_bytes())) as plain,
        tarfile.open(fileobj=data, mode="w", format=tarfile.PAX_FORMAT) as archive,
    ):
        for member in plain:
            known = (xattrs or {}).get(member.name, {})
            member.pax_headers = {f"SCHILY.xattr.{name}": value for name, value in known.items()}
            archive.addfile(member, plain.extractfile(member) if member.isreg() else None)
    return File(data.getvalue().decode("utf-8", "surrogateescape"))


CONTENT = {
    "what is read": Case(MISS, "cat /c/f > /r", F),
    "what is not read": Case(HIT, "cat /c/f > /r", G),
    "what is not read, of another size": Case(HIT, "cat /c/f > /r", {"g": File("longer\n")}),
    "a file beside it comes": Case(HIT, "cat /c/f > /r", {"new": File("n")}),
    "a file beside it goes": Case(HIT, "cat /c/f > /r", {"g": None}),
    "a first byte, and the last changes": Case(MISS, "head -c1 /c/f > /r", {"f": File("fg")}, {"f": File("ff")}),
    "a part of a large file, and another changes": Case(
        MISS,
        "dd if=/c/f bs=1 skip=3000000 count=1 of=/r 2>/dev/null",
        {"f": File("b" + "a" * 3_100_000)},
        {"f": File("a" * 3_100_001)},
    ),
    "an opened file": Case(HIT, "true < /c/f; echo 1 > /r", F),
    "a compared file": Case(MISS, "cmp /c/f /c/g > /r; true", G),
    "a file read through a link": Case(MISS, "cat /c/l > /r", F),
    "a file read through a linked directory": Case(MISS, "cat /c/k/x > /r", X),
    "a copied file": Case(MISS, "cp /c/f /r", F),
    "a file in a copied directory": Case(MISS, "cp -a /c/d /r", Z),
    "a file beside a copied directory": Case(HIT, "cp -a /c/d /r", F),
    "an archive of everything": Case(
        MISS,
        "tar cf - $(find /c -type f | sort) | tar tvf - > /tmp/r; tar cf - $(find /c -type f | sort) | md5sum > /r",
        {"d2/x": File("x3\n")},
    ),
    "sums of a pattern": Case(MISS, "md5sum /c/d/[xy] > /r", Y),
    "not in the pattern": Case(HIT, "md5sum /c/d/[xy] > /r", Z),
    "trees compared": Case(MISS, "diff -r /c/d /c/d2 > /r; true", X),
    "trees compared, another file": Case(HIT, "diff -r /c/d /c/d2 > /r; true", F),
    "an unpacked archive": Case(
        MISS, "tar xf /c/t -C /w", {"t": Tar((Member("m", "2"),))}, {"t": Tar((Member("m", "1"),))}
    ),
    "an executed script": Case(MISS, "/c/s > /r", {"s": File("#!/bin/sh\ncat /c/g\n", 0o755)}),
    "what an executed script reads": Case(MISS, "/c/s > /r", F),
    "what an executed script does not read": Case(HIT, "/c/s > /r", G),
    "the interpreter of a script": Case(
        MISS,
        "/c/a > /r",
        {"i": File("#!/bin/sh\necho B\n", 0o755)},
        {"i": File("#!/bin/sh\necho A\n", 0o755), "a": File("#!/c/i\n", 0o755)},
    ),
    "a sourced file": Case(
        MISS, "sh /c/m > /r", {"n": File("echo 2\n")}, {"m": File(". /c/n\n"), "n": File("echo 1\n")}
    ),
    "another than the sourced file": Case(
        HIT, "sh /c/m > /r", {"o": File("echo 2\n")}, {"m": File(". /c/n\n"), "n": File("echo 1\n"), "o": File("")}
    ),
    "an executed program": Case(
        MISS,
        made("cat /bin/busybox /x/f > busybox; chmod 755 busybox", "/c/busybox echo 1 > /r"),
        F,
    ),
    "a program that is not executed": Case(
        HIT,
        made("cat /bin/busybox /x/f > busybox; chmod 755 busybox", "[ -x /c/busybox ] && echo 1 > /r"),
        F,
    ),
    "a tool in PATH": Case(MISS, "PATH=/c/p:$PATH; tool > /r", {"p/tool": File("#!/bin/sh\necho took\n", 0o755)}),
    "a file given to a child that outlives the step": Case(MISS, "(sleep 100; cat) < /c/f & head -c1 /c/f > /r", F),
    "a file that a child of the end holds": Case(HIT, "exec 3< /c/g; sleep 100 < /c/g & cat /c/f > /r", G),
    "a file read by who ends itself": Case(MISS, "sh -c 'cat /c/f > /r; kill -9 $$'; true", F),
    "a file not read for want of rights": Case(
        HIT,
        copied("cat /c/f > /tmp/r; true", "COPY ~/ /c/", "USER 1000"),
        {"f": File("F\n", 0o600)},
        {"f": File("f\n", 0o600)},
    ),
    "rights that come": Case(
        MISS,
        copied("cat /c/f > /tmp/r; true", "COPY ~/ /c/", "USER 1000"),
        {"f": File("f\n", 0o644)},
        {"f": File("f\n", 0o600)},
    ),
    "an empty file that gets content": Case(MISS, "cat /c/empty > /r", {"empty": File("1")}),
    "an empty file beside": Case(HIT, "cat /c/f > /r", {"empty": File("1")}),
}

STAT = {
    "looked for in vain": Case(MISS, "[ -e /c/no ] && echo 1 > /r; true", {"no": File("")}),
    "looked for in vain, another comes": Case(HIT, "[ -e /c/no ] && echo 1 > /r; true", {"na": File("")}),
    "looked for in vain below nothing": Case(MISS, "cat /c/no/no > /r; true", {"no/na": File("")}),
    "looked for below a file": Case(MISS, "ls /c/f/x > /r; true", {"f": None, "f/x": File("x")}),
    "looked for in vain in a directory that comes": Case(MISS, "(: > /c/no/n); true", {"no": Dir()}),
    "it is there": Case(HIT, "[ -e /c/f ] && echo 1 > /r", F),
    "it is gone": Case(MISS, "[ -e /c/f ] && echo 1 > /r; true", {"f": None}),
    "a size": Case(MISS, "stat -c %s /c/f > /r", {"f": File("longer\n")}),
    "the same size": Case(HIT, "stat -c %s /c/f > /r", F),
    "disk usage": Case(HIT, "du /c/f > /r", F),
    "whether it is empty": Case(MISS, "[ -s /c/empty ] || echo 1 > /r", {"empty": File("1")}),
    "a mode": Case(MISS, "stat -c %a /c/f > /r", {"f": File("f\n", 0o640)}),
    "a mode of a directory": Case(MISS, "stat -c %a /c/d > /r", {"d": Dir(0o700)}),
    "a mode of a directory beside": Case(HIT, "stat -c %a /c/f > /r", {"d": Dir(0o700)}),
    "the bit that makes executable": Case(MISS, "[ -x /c/f ] && echo 1 > /r; true", {"f": File("f\n", 0o755)}),
    "a mode of what is read": Case(MISS, "cat /c/f > /r", {"f": File("f\n", 0o755)}),
    "a mode of a directory on the way": Case(MISS, "cat /c/d/x > /r", {"d": Dir(0o711)}),
    "an owner": Case(
        MISS,
        copied("stat -c %u /c/f > /r", "ADD ~/t /c/"),
        {"t": Tar((Member("f", owner=8),))},
        {"t": Tar((Member("f", owner=7),))},
    ),
    "an owner of another": Case(
        HIT,
        copied("stat -c %u /c/f > /r", "ADD ~/t /c/"),
        {"t": Tar((Member("f", owner=7), Member("g", owner=8)))},
        {"t": Tar((Member("f", owner=7), Member("g", owner=7)))},
    ),
    "setuid": Case(
        MISS,
        made("cp /x/f f; sh /x/m", "[ -u /c/f ] && echo 1 > /r; true"),
        {"m": File("chmod 4755 f")},
        {"m": File("")},
    ),
    "sticky": Case(
        MISS, made("mkdir t; sh /x/m", "[ -k /c/t ] && echo 1 > /r; true"), {"m": File("chmod 1777 t")}, {"m": File("")}
    ),
    "a file becomes a link": Case(MISS, "cat /c/f > /r", {"f": Link("f2"), "f2": File("f\n")}),
    "a file becomes a directory": Case(MISS, "[ -d /c/f ] && echo 1 > /r; true", {"f": None, "f/n": File("")}),
    "a directory becomes a file": Case(MISS, "[ -d /c/e ] && echo 1 > /r; true", {"e": File("")}),
    "a directory becomes a link": Case(
        MISS,
        "cat /c/d/x > /r",
        {"d": Link("q"), "d/x": None, "d/y": None, "d/i/z": None, "d/i": None, "q/x": File("x\n")},
    ),
    "a link becomes a directory": Case(MISS, "cat /c/k/x > /r", {"k": None, "k/x": File("x\n")}),
    "a link's target": Case(MISS, "readlink /c/l > /r", {"l": Link("g")}),
    "a link's target, of the same length and content": Case(MISS, "cat /c/l > /r", {"l": Link("h"), "h": File("f\n")}),
    "a link's target's content": Case(HIT, "readlink /c/l > /r", F),
    "where a link leads": Case(MISS, "readlink -f /c/l > /r", {"l": Link("g")}),
    "a link that leads nowhere": Case(MISS, "[ -e /c/n ] && echo 1 > /r; true", {"m": File("")}, {"n": Link("m")}),
    "a link beside": Case(HIT, "cat /c/f > /r", {"l": Link("g")}),
    "links in a circle": Case(MISS, "cat /c/m > /r; true", {"n": Link("f")}, {"m": Link("n"), "n": Link("m")}),
    "an absolute link out of the slot": Case(HIT, "cat /c/m > /r", G, {"m": Link("/b")}),
    "an absolute link back into the slot": Case(MISS, "cat /c/m > /r", F, {"m": Link("/c/d/../f")}),
    "whether they are one file": Case(MISS, "[ /c/l -ef /c/f ] && echo 1 > /r; true", {"l": Link("g")}),
    "an attribute": Case(MISS, "cat /c/f > /r", {"f": File("f\n", xattr="2")}, {"f": File("f\n", xattr="1")}),
    "an attribute of another": Case(HIT, "cat /c/f > /r", {"g": File("g\n", xattr="2")}, {"g": File("g\n", xattr="1")}),
    "a capability of a file": Case(
        MISS,
        copied("/c/tool > /r", "ADD ~/t /c/"),
        {
            "t": packed(
                Member("tool", "#!/bin/sh\n", 0o755),
                xattrs={"tool": {"security.capability": "\1\0\0\2\0\4\0\0" + "\0" * 12}},
            )
        },
        {
            "t": packed(
                Member("tool", "#!/bin/sh\n", 0o755),
                xattrs={"tool": {"security.capability": "\1\0\0\2\1\0\0\0" + "\0" * 12}},
            )
        },
    ),
    "a time that is content": Case(
        MISS,
        made("sh /x/m", "stat -c %Y /c/n > /r"),
        {"m": File("touch -d @60000 n")},
        {"m": File("touch -d @50000 n")},
    ),
    "a time that is content, of another": Case(
        HIT,
        made("touch -d @50000 n; sh /x/m", "stat -c %Y /c/n > /r"),
        {"m": File("touch -d @60000 o")},
        {"m": File("touch -d @50000 o")},
    ),
    "a time that is content and of a directory": Case(
        MISS,
        made("mkdir n; sh /x/m", "stat -c %Y /c/n > /r"),
        {"m": File("touch -d @60000 n")},
        {"m": File("touch -d @50000 n")},
    ),
    "a time before 1970": Case(
        HIT, made("sh /x/m; touch -d @-50000 n", "stat -c %Y /c/n > /r"), {"m": File("touch o")}, {"m": File("touch p")}
    ),
    "which is newer": Case(
        MISS,
        made("touch -d @50000 n; sh /x/m", "find /c -newer /c/n | sort > /r"),
        {"m": File("touch -d @60000 o")},
        {"m": File("touch -d @40000 o")},
    ),
    "which is newer, of two": Case(
        MISS,
        made("touch -d @50000 n; sh /x/m", "[ /c/o -nt /c/n ] && echo 1 > /r; true"),
        {"m": File("touch -d @60000 o")},
        {"m": File("touch -d @40000 o")},
    ),
    "a directory that is entered": Case(HIT, "cd /c/d && pwd > /r", X),
    "a directory that cannot be entered": Case(MISS, "cd /c/no && pwd > /r; true", {"no": Dir()}),
    "a tool that is looked for first": Case(
        MISS, "PATH=/c/e:/c/p:$PATH; tool > /r", {"e/tool": File("#!/bin/sh\necho no\n", 0o755)}
    ),
    "a tool beside": Case(HIT, "PATH=/c/e:/c/p:$PATH; tool > /r", {"e/tools": File("#!/bin/sh\necho no\n", 0o755)}),
    "a library that is looked for": Case(
        MISS, "for d in /c/a /c/e /c/d; do [ -e $d/x ] && echo $d && break; done > /r", {"e/x": File("")}
    ),
    "many look-ups in vain": Case(
        MISS, "i=0; while [ $i -lt 2000 ]; do [ -e /c/n$i ] && echo $i; i=$((i+1)); done > /r", {"n1999": File("")}
    ),
    "many look-ups in vain, another comes": Case(
        HIT,
        "i=0; while [ $i -lt 2000 ]; do [ -e /c/n$i ] && echo $i; i=$((i+1)); done > /r; echo 1 > /r",
        {"n2000": File("")},
    ),
}

LISTED = {
    "a name comes": Case(MISS, "echo /c/d/* > /r", {"d/n": File("")}),
    "a name goes": Case(MISS, "echo /c/d/* > /r", {"d/y": None}),
    "a name changes": Case(MISS, "echo /c/d/* > /r", {"d/y": None, "d/z": File("y\n")}),
    "a name comes elsewhere": Case(HIT, "echo /c/d/* > /r", {"d/i/n": File("")}),
    "content": Case(HIT, "echo /c/d/* > /r", {"d/x": File("longer\n", 0o755)}),
    "another kind": Case(MISS, "for n in /c/*; do [ $n = /c/s ] || echo $n; done > /r", {"s": Link("f")}),
    "a name that is hidden from the pattern": Case(MISS, "echo /c/d/* > /r", {"d/.n": File("")}),
    "ls": Case(MISS, "ls /c/d > /r", {"d/n": File("")}),
    "ls -a of an empty directory": Case(MISS, "ls -A /c/e > /r", {"e/n": File("")}),
    "ls -R": Case(MISS, "ls -R /c > /r", {"d/i/n": File("")}),
    "ls of the root": Case(MISS, copied("ls / > /tmp/r", "COPY ~/ /"), {"n": File("")}),
    "ls elsewhere": Case(HIT, copied("ls /w > /tmp/r", "COPY ~/ /"), {"n": File("")}),
    "find": Case(MISS, "find /c -name z | sort > /r", {"e/z": File("")}),
    "find of what is empty": Case(MISS, "find /c -empty | sort > /r", {"e/n": File("1")}),
    "find of links": Case(MISS, "find /c -type l | sort > /r", {"d/x": Link("y")}),
    "find, and content": Case(HIT, "find /c -name z | sort > /r", F),
    "a pattern without a match": Case(
        MISS, "for n in /c/*.c; do [ -e $n ] && cat $n; done > /r; true", {"a.c": File("c")}
    ),
    "a pattern through directories": Case(MISS, "cat /c/*/x > /r", {"e/x": File("e")}),
    "a pattern through directories, beside": Case(HIT, "cat /c/*/x > /r", Y),
    "a removed directory, and a name comes": Case(MISS, "rm -r /c/d", {"d/n": File("")}),
    "a removed directory, and content": Case(HIT, "rm -r /c/d", X),
    "a removed empty directory": Case(MISS, "rmdir /c/e 2> /dev/null; true", {"e/n": File("")}),
    "a directory made anew": Case(MISS, "rm -r /c/d; mkdir /c/d", {"d/n": File("")}),
    "a directory made anew, and content": Case(HIT, "rm -r /c/d; mkdir /c/d; echo 1 > /c/d/x", X),
    "all that is there removed": Case(MISS, "rm -rf /c/*", {"n": File("")}),
    "all removed": Case(HIT, "rm -rf /c", X),
    "a name of 255 bytes": Case(MISS, f"[ -e /c/{LONG} ] && echo 1 > /r; true", {LONG: File("")}),
    "a name of 255 bytes, listed": Case(MISS, "ls /c/e > /r", {f"e/{LONG}": File("")}),
    "a name that is too long": Case(HIT, f"[ -e /c/{LONG}n ] || echo 1 > /r", G),
    "a deep path": Case(
        MISS, f"cat /c/{DEEP}/a > /r", {f"{DEEP}/a": File("2")}, {f"{DEEP}/a": File("1"), f"{DEEP}/b": File("1")}
    ),
    "a deep path beside": Case(
        HIT, f"cat /c/{DEEP}/a > /r", {f"{DEEP}/b": File("2")}, {f"{DEEP}/a": File("1"), f"{DEEP}/b": File("1")}
    ),
    "a name that is not UTF-8": Case(MISS, "cat /c/e/* > /r", {f"e/{RAW}": File("2")}, {f"e/{RAW}": File("1")}),
    "a name that is not UTF-8 beside": Case(HIT, "cat /c/f > /r", {f"e/{RAW}": File("2")}, {f"e/{RAW}": File("1")}),
    "a name that is not UTF-8 comes": Case(MISS, "ls /c/e | od > /r", {f"e/{RAW}": File("2")}),
    "a name of two lines": Case(MISS, "cat /c/e/* > /r", {f"e/{LINES}": File("2")}, {f"e/{LINES}": File("1")}),
    "a name of two lines beside": Case(HIT, "cat /c/f > /r", {f"e/{LINES}": File("2")}, {f"e/{LINES}": File("1")}),
    "very many names": Case(
        MISS,
        made(
            "i=0; q=$(basename /x/q*); while [ $i -lt 900 ]; do : > $i-$q-$i; i=$((i+1)); done; sh /x/m",
            "ls /c | md5sum > /r",
        ),
        {"m": File(": > z")},
        {"m": File(""), "q" * 100: File("")},
    ),
    "very many names, and content": Case(
        HIT,
        made(
            "i=0; q=$(basename /x/q*); while [ $i -lt 900 ]; do : > $i-$q-$i; i=$((i+1)); done; sh /x/m",
            "echo /c/* | md5sum > /r",
        ),
        {"m": File("echo 2 > z")},
        {"m": File("echo 1 > z"), "q" * 100: File("")},
    ),
}

WRITTEN = {
    "a removed file's content": Case(HIT, "rm /c/f", F),
    "a removed file's mode": Case(MISS, "rm /c/f", {"f": File("f\n", 0o600)}),
    "a removed file is gone": Case(MISS, "rm -f /c/f", {"f": None}),
    "removed in vain": Case(MISS, "rm -f /c/no", {"no": File("")}),
    "appended to": Case(MISS, "echo 1 >> /c/f", F),
    "appended to, nothing": Case(MISS, ": >> /c/f", F),
    "written over": Case(HIT, "echo 1 > /c/f", F),
    "written over, of another size": Case(MISS, "echo 1 > /c/f", {"f": File("longer\n")}),
    "opened for writing, and nothing written": Case(MISS, "exec 3<> /c/f; echo 1 > /r", F),
    "written over with what it was": Case(MISS, "printf 'f\\n' > /c/f; touch -d @1420000000 /c/f", F),
    "written over with what it was, by cp -p": Case(MISS, "cp -p /c/h /c/f", F, {"h": File("f\n")}),
    "given the time that it had": Case(
        MISS,
        "touch -d @50000 /c/f",
        {**G, "f": File("its own\n", mtime=60_000)},
        {"f": File("its own\n", mtime=50_000)},
    ),
    "a link given the time that it had": Case(
        MISS,
        made("cp /x/g .; ln -s g l; cp /x/n n; touch -h -d @$(cat n) l; :", "touch -h -d @50000 /c/l"),
        {**G, "n": File("60000")},
        {"n": File("50000")},
    ),
    "written over, by cp -p": Case(HIT, "cp -p /c/g /c/f", F),
    "written over with what another was": Case(HIT, "cp -p /c/g /c/f", {"f": File("g\n")}),
    "removed, and again what it was": Case(MISS, "rm /c/f; cp -p /c/h /c/f", F, {"h": File("f\n")}),
    "a directory removed, and again what it was": Case(
        MISS,
        "cp -a /c/d /w/; rm -r /c/d; cp -a /c/h /c/d",
        X,
        {"h/x": File("x\n"), "h/y": File("y\n"), "h/i/z": File("z\n")},
    ),
    "a directory removed, and in it again what it was": Case(
        MISS, "rm -r /c/d; mkdir /c/d; cp -p /c/h /c/d/x", X, {"h": File("x\n")}
    ),
    "a link made again": Case(MISS, "ln -sfn f /c/l; touch -h -d @1420000000 /c/l", {"l": Link("g")}),
    "renamed forth and back": Case(MISS, "mv /c/d/x /c/q; mv /c/q /c/d/x", X),
    "edited in place": Case(MISS, "sed -i s/q/r/ /c/f", F),
    "edited in place, beside": Case(HIT, "sed -i s/f/r/ /c/f", G),
    "cut": Case(MISS, "truncate -s 1 /c/f", F),
    "cut to nothing": Case(MISS, "truncate -s 0 /c/f", {"f": File("longer\n")}),
    "a mode given": Case(MISS, "chmod 600 /c/f", F),
    "the mode given that it had": Case(MISS, "chmod 644 /c/f", F),
    "a mode of a directory given": Case(HIT, "chmod 700 /c/d", X),
    "a mode of a directory given, and another name": Case(HIT, "chmod 700 /c/d", {"d/n": File("")}),
    "a mode of a directory given and back": Case(MISS, "chmod 700 /c/d; chmod 755 /c/d", {"d": Dir(0o711)}),
    "modes below a directory": Case(MISS, "chmod -R g+w /c/d", Z),
    "modes below a directory, beside": Case(HIT, "chmod -R g+w /c/d", F),
    "owners below a directory": Case(MISS, "chown -R 5:6 /c/d", Z),
    "owners below a directory, and a name": Case(MISS, "chown -R 5:6 /c/d", {"d/i/n": File("")}),
    "an owner of a link": Case(MISS, "chown -h 5:6 /c/l", {"l": Link("g")}),
    "an owner of a link, and its target": Case(HIT, "chown -h 5:6 /c/l", F),
    "a time given": Case(MISS, "touch -d @50000 /c/f", F),
    "renamed": Case(MISS, "mv /c/f /r", F),
    "renamed in place": Case(MISS, "mv /c/f /c/f2", F),
    "renamed over another": Case(HIT, "mv /c/f /c/g", G),
    "a renamed directory": Case(MISS, "mv /c/d /r", Z),
    "a renamed directory, and a name": Case(MISS, "mv /c/d /c/q", {"d/i/n": File("")}),
    "a linked file": Case(MISS, "ln /c/f /r", F),
    "a linked file beside": Case(HIT, "ln /c/f /r", G),
    "linked and unlinked": Case(MISS, "ln /c/f /c/q; rm /c/q", F),
    "a symbolic link to it": Case(HIT, "ln -s /c/f /r", F),
    "made where nothing was": Case(MISS, "echo 1 > /c/no", {"no": File("")}),
    "made beside": Case(HIT, "echo 1 > /c/no", F),
    "a directory made where nothing was": Case(MISS, "mkdir -p /c/no/n", {"no": Dir(0o700)}),
    "a directory made that is there": Case(HIT, "mkdir -p /c/d/i", Z),
    "made in a directory of another mode": Case(MISS, "echo 1 > /c/d/n", {"d": Dir(0o700)}),
    "a sum of two": Case(MISS, "cat /c/f /c/g > /c/h; cat /c/h > /c/f", G),
    "sorted in place": Case(MISS, "sort -o /c/f /c/g /c/f", G),
    "a pipe's place": Case(MISS, "mkfifo /c/no; true", {"no": File("")}),
    "a path as long as can be": Case(
        MISS, made(f"{LONGEST}; cp /x/f {'f' * 20}; cp /x/g g", f"cd /c; {LONGEST}; echo 1 >> {'f' * 20}"), F
    ),
    "a path as long as can be, beside": Case(
        HIT, made(f"{LONGEST}; cp /x/f {'f' * 20}; cp /x/g g", f"cd /c; {LONGEST}; echo 1 >> {'f' * 20}"), G
    ),
}

STEPS = {
    "in the other of two": Case(HIT, copied("cat /c/f > /r", "COPY ~/f /c/f", "COPY ~/g /c/g"), G),
    "in the one of two": Case(MISS, copied("cat /c/f > /r", "COPY ~/f /c/f", "COPY ~/g /c/g"), F),
    "hidden by an upper one": Case(HIT, copied("cat /c/f > /r", "COPY ~/f /c/f", "COPY ~/g /c/f"), F),
    "what hides it": Case(MISS, copied("cat /c/f > /r", "COPY ~/f /c/f", "COPY ~/g /c/f"), G),
    "an upper one stops to hide it": Case(
        MISS, copied("cat /c/x > /r", "COPY ~/d /c", "COPY ~/d2 /c"), {"d2/x": None, "d2/n": File("")}
    ),
    "an upper one begins to hide it": Case(
        MISS, copied("cat /c/y > /r", "COPY ~/d /c", "COPY ~/d2 /c"), {"d2/y": File("y2\n")}
    ),
    "a list of two": Case(MISS, copied("ls /c > /r", "COPY ~/d /c", "COPY ~/d2 /c"), {"d/n": File("")}),
    "a list of one of two": Case(HIT, copied("ls /c/i > /r", "COPY ~/d /c", "COPY ~/d2 /c"), {"d/n": File("")}),
    "a directory's mode in a lower one": Case(
        MISS, copied("stat -c %a /c/i > /r", "COPY ~/d /c", "COPY ~/m /c"), {"d/i": Dir(0o711)}, {"m/i": Dir(0o750)}
    ),
    "the same twice": Case(MISS, copied("cat /c/f > /r", "COPY ~/ /c/", "COPY ~/ /c/"), F),
    "the same twice, not read": Case(HIT, copied("cat /c/f > /r", "COPY ~/ /c/", "COPY ~/ /c/"), G),
    "the same thrice, listed": Case(MISS, copied("echo /c/* > /r", *["COPY ~/ /c/"] * 3), {"n": File("")}),
    "read by an earlier step": Case(HIT, copied("cat /r > /r2", "COPY ~/ /c/", "RUN cat /c/f > /r"), G),
    "written over by an earlier step": Case(HIT, copied("cat /c/f > /r", "COPY ~/ /c/", "RUN echo 1 > /c/f"), F),
    "removed by an earlier step": Case(HIT, copied("[ -e /c/d ] || echo 1 > /r", "COPY ~/ /c/", "RUN rm -r /c/d"), X),
    "made again by an earlier step": Case(HIT, copied("ls /c/d > /r", "COPY ~/ /c/", "RUN rm -r /c/d; mkdir /c/d"), X),
    "an earlier step gives what it gave": Case(HIT, copied("cat /r > /r2", "COPY ~/ /c/", "RUN wc -l < /c/f > /r"), F),
    "an earlier step gives another thing": Case(MISS, copied("cat /r > /r2", "COPY ~/ /c/", "RUN cat /c/f > /r"), F),
    "copied again above a step": Case(MISS, copied("cat /c/f > /r", "COPY ~/ /c/", "RUN rm /c/f", "COPY ~/f /c/"), F),
    "nothing but copies": Case(HIT, "FROM scratch AS ~\nCOPY --from=base / /\nCOPY ~/ /c/\nRUN cat /c/f > /r", G),
    "nothing but copies, read": Case(
        MISS, "FROM scratch AS ~\nCOPY --from=base / /\nCOPY ~/ /c/\nRUN cat /c/f > /r", F
    ),
    "a stage on a stage": Case(HIT, "FROM base AS ~s\nCOPY ~/ /c/\nFROM ~s AS ~\nRUN cat /c/f > /r", G),
    "a stage on a stage, read": Case(MISS, "FROM base AS ~s\nCOPY ~/ /c/\nFROM ~s AS ~\nRUN cat /c/f > /r", F),
    "of another stage": Case(MISS, made("cp /x/f /x/g .", "cat /c/f > /r"), F),
    "of another stage, not read": Case(HIT, made("cp /x/f /x/g .", "cat /c/f > /r"), G),
    "a base stage that makes something else": Case(
        MISS, "FROM base AS ~s\nCOPY ~/f /f\nRUN cat /f > /f2\nFROM ~s AS ~\nCOPY ~/ /c/\nRUN cat /c/g > /r", F
    ),
    "below what a base has": Case(MISS, copied("cat /a > /r", "COPY ~/ /"), {"a": None}, {"a": File("A\n")}),
    "over what a base has": Case(MISS, copied("cat /a > /r", "COPY ~/ /"), {"a": File("B\n")}),
    "beside what a base has": Case(HIT, copied("cat /b > /r", "COPY ~/ /"), {"a": File("B\n")}),
    "a link of a base's to what is copied over": Case(HIT, copied("cat /w/a > /r", "COPY ~/ /"), {"a": File("B\n")}),
    "a file of a base's removed": Case(MISS, copied("rm /b", "COPY ~/ /"), {"b": File("b\n")}),
    "a directory of a base's removed": Case(MISS, copied("rm -r /d", "COPY ~/e /d/"), {"e/n": File("")}),
    "through a link of a base's": Case(MISS, copied("cat /w/l > /r", "COPY ~/ /"), {"b": File("b\n")}),
    "over a directory": Case(HIT, copied("cat /d/x > /r", "COPY ~/d2/ /d/"), {"d2/n": File("")}),
    "over a directory, read": Case(MISS, copied("cat /d/x > /r", "COPY ~/d2/ /d/"), {"d2/x": File("x3\n")}),
    "with an owner and a mode": Case(
        HIT, copied("ls -ln /c/f | cut -c1-30 > /r", "COPY --chown=7:8 --chmod=640 ~/ /c/"), G
    ),
    "what becomes a directory as a whole": Case(
        MISS, copied("[ -d /q ] && echo 1 > /r; true", "COPY ~/m /q"), {"m": None, "m/n": File("")}, {"m": File("")}
    ),
    "linked to nothing below": Case(HIT, copied("cat /q/c/f > /r", "COPY --link ~/ /q/c/"), G),
    "linked at the root": Case(HIT, copied("cat /f > /r", "COPY --link ~/f ~/g /"), G),
    "linked at the root, read": Case(MISS, copied("cat /f > /r", "COPY --link ~/f ~/g /"), F),
    "an archive": Case(
        MISS, copied("cat /c/f > /r", "ADD ~/t /c/"), {"t": Tar((Member("f", "2"),))}, {"t": Tar((Member("f", "1"),))}
    ),
    "an archive, not read": Case(
        HIT,
        copied("cat /c/f > /r", "ADD ~/t /c/"),
        {"t": Tar((Member("f", "1"), Member("g", "2")))},
        {"t": Tar((Member("f", "1"), Member("g", "1")))},
    ),
    "an archive with a time": Case(
        MISS,
        copied("cat /c/f > /r", "ADD ~/t /c/"),
        {"t": Tar((Member("f", "1", mtime=60_000),))},
        {"t": Tar((Member("f", "1", mtime=50_000),))},
    ),
    "an archive with hard links": Case(
        MISS,
        copied("stat -c %h /c/f > /r", "ADD ~/t /c/"),
        {"t": Tar((Member("f", "1"), Member("g", link="f"), Member("h", link="f")))},
        {"t": Tar((Member("f", "1"), Member("g", link="f")))},
    ),
    "an archive with hard links beside what is observed": Case(
        MISS,
        copied("stat -c %h /q/f > /r", "COPY ~/g /c/", "ADD ~/t /q/"),
        {"t": Tar((Member("f", "1"), Member("g", link="f"), Member("h", link="f")))},
        {"t": Tar((Member("f", "1"), Member("g", link="f")))},
    ),
    "what is not read beside an archive with hard links": Case(
        HIT,
        copied("stat -c %h /q/f > /r", "COPY ~/g /c/", "ADD ~/t /q/"),
        G,
        {"t": Tar((Member("f", "1"), Member("g", link="f")))},
    ),
    "an archive that gets a hard link": Case(
        MISS,
        copied("stat -c %h /c/f > /r", "ADD ~/t /c/"),
        {"t": Tar((Member("f", "1"), Member("g", link="f")))},
        {"t": Tar((Member("f", "1"),))},
    ),
    "a pipe beside": Case(MISS, made("mkfifo p; cp /x/g .", "[ -p /c/p ] && echo 1 > /r"), G),
    "a pipe comes": Case(
        MISS, made("sh /x/m", "[ -p /c/p ] && echo 1 > /r; true"), {"m": File("mkfifo p")}, {"m": File(":")}
    ),
    "an empty directory": Case(MISS, copied("cat /c/n > /r; true", "COPY ~/e/ /c/"), {"e/n": File("1")}),
    "nothing at all": Case(MISS, copied("cat /n > /r; true", "COPY ~/e/ /"), {"e/n": File("1")}),
    "with a file system in memory above": Case(
        HIT, copied("--mount=type=tmpfs,target=/c/d ls /c/d > /r", "COPY ~/ /c/"), X
    ),
    "a mount's place becomes a link": Case(
        MISS, copied("--mount=type=tmpfs,target=/c/no : > /c/d/q; true", "COPY ~/ /c/"), {"no": Link("d")}
    ),
    "a mounted stage above": Case(
        HIT,
        copied(
            "--mount=from=~s,source=/w,target=/c/d ls /c/d > /r",
            "FROM base AS ~s",
            "RUN : > /w/~",
            "FROM base AS ~",
            "COPY ~/ /c/",
        ),
        X,
    ),
    "a mounted stage's content": Case(
        MISS,
        copied(
            "--mount=from=~s,source=/w,target=/m ls /c > /r",
            "FROM base AS ~s",
            "COPY ~/f /w/",
            "FROM base AS ~",
            "COPY ~/g /c/",
        ),
        F,
    ),
    "a mounted context": Case(HIT, copied("--mount=target=/m,source=~ cat /c/f > /r", "COPY ~/f /c/"), G),
    "a mounted context, read": Case(MISS, copied("--mount=target=/m,source=~ cat /m/g > /r", "COPY ~/f /c/"), G),
    "a mounted context, listed": Case(
        MISS, copied("--mount=target=/m,source=~ ls /m > /r", "COPY ~/f /c/"), {"new": File("n")}
    ),
    "a mounted context, written": Case(HIT, copied("--mount=target=/m,source=~,rw cat /m/f > /m/r", "COPY ~/f /c/"), G),
    "a mounted cache": Case(MISS, copied("--mount=type=cache,target=/m,id=~ cat /c/f > /r", "COPY ~/ /c/"), G),
    "a working directory": Case(MISS, copied("cat x > /r", "COPY ~/ /c/", "WORKDIR /c/d"), X),
    "a working directory, not read": Case(HIT, copied("cat x > /r", "COPY ~/ /c/", "WORKDIR /c/d"), F),
    "a working directory's mode": Case(MISS, copied("pwd > /r", "COPY ~/ /c/", "WORKDIR /c/d"), {"d": Dir(0o711)}),
    "a working directory that was made": Case(
        MISS, copied("pwd > /r", "COPY ~/ /c/", "WORKDIR /c/no"), {"no": Dir(0o711)}
    ),
    "a user by name": Case(
        MISS,
        copied("id -u > /tmp/r", "COPY ~/u /etc/passwd", "USER u"),
        {"u": File("u:x:8:8::/:/bin/sh\n")},
        {"u": File("u:x:7:8::/:/bin/sh\n")},
    ),
    "a user by name, and another file": Case(
        HIT,
        copied("id -u > /tmp/r", "COPY ~/ /c/", "COPY ~/u /etc/passwd", "USER u"),
        F,
        {"u": File("u:x:7:8::/:/bin/sh\n")},
    ),
    "a user by number": Case(
        MISS,
        copied("id -u > /tmp/r", "COPY ~/u /etc/passwd", "USER 7"),
        {"u": File("u:x:7:9::/:/bin/sh\n")},
        {"u": File("u:x:7:8::/:/bin/sh\n")},
    ),
    "groups of a user": Case(
        MISS,
        copied("id -G > /tmp/r", "COPY ~/u /etc/passwd", "COPY ~/v /etc/group", "USER u"),
        {"v": File("a:x:71:u\n")},
        {"u": File("u:x:7:8::/:/bin/sh\n"), "v": File("a:x:70:u\n")},
    ),
    "the container's own hosts": Case(HIT, copied("wc -l < /etc/hosts > /r", "COPY ~/ /c/", "COPY ~/f /etc/hosts"), F),
    "the container's own servers, by a link": Case(
        HIT, copied("cat /c/f > /r", "COPY ~/ /c/", "COPY ~/m/ /etc/"), G, {"m/resolv.conf": Link("/c/g")}
    ),
    "a name of the host": Case(MISS, copied("cat /etc/hostname > /r", "COPY ~/f /etc/hostname"), F),
    "a name of the host comes": Case(
        MISS, copied("cat /etc/hostname > /r", "COPY ~/m/ /etc/"), {"m/hostname": File("n\n")}, {"m/n": File("")}
    ),
    "a script in the build file": Case(HIT, "FROM base AS ~\nCOPY ~/ /c/\nRUN sh -c 'cat /c/f > /r'", G),
}

PATCHED = {
    f"{name}, in a patch": case._replace(
        files={**case.files, **{f"more/{number}": File(f"{name} {number}") for number in range(24)}}
    )
    for name, case in {
        "what is read": Case(MISS, "cat /c/f > /r", F),
        "what is not read": Case(HIT, "cat /c/f > /r", G),
        "what was not changed": Case(HIT, "cat /c/d/x > /r; ls -ln /c/d/x | cut -c1-30 > /r2", {**F, "n": File("")}),
        "a name comes": Case(MISS, "ls /c/d > /r", {"d/n": File("")}),
        "a name goes": Case(MISS, "echo /c/d/* > /r; ls -d /c/d/y >> /r; true", {"d/y": None}),
        "a name goes, not listed": Case(HIT, "cat /c/d/x > /r", {"d/y": None}),
        "a directory goes": Case(MISS, "echo /c/d/* > /r; ls /c/d/i >> /r; true", {"d/i": None, "d/i/z": None}),
        "a directory goes and is removed": Case(MISS, "rm -r /c/d", {"d/i": None, "d/i/z": None}),
        "a file becomes a link": Case(MISS, "cat /c/f > /r", {"f": Link("g")}),
        "a link becomes a directory": Case(
            MISS,
            "cat /c/m/passwd > /r; cat /c/m/q/group >> /r; ls /c/m /c/m/q >> /r; true",
            {"m": None, "m/q/n": File("")},
            {"m": Link("/etc")},
        ),
        "a link below a link becomes a directory": Case(
            MISS,
            "cat /c/m/n/x /c/m/n/passwd > /r; ls -R /c/m >> /r; true",
            {"m": None, "m/n/x": File("")},
            {"m": Link("q"), "q/n": Link("/etc")},
        ),
        "a directory becomes a link": Case(
            MISS, "ls /c/k2/ /c/d/ > /r; true", {"k2": Link("d"), "k2/x": None}, {"k2/x": File("")}
        ),
        "a file becomes a directory": Case(MISS, "ls -R /c/f > /r", {"f": None, "f/x/y": File("")}),
        "a directory becomes a file": Case(
            MISS, "cat /c/d2/x > /r; ls /c/d2 >> /r; true", {"d2": File(""), "d2/x": None}
        ),
    }.items()
}

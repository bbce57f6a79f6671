"""Hypothesis strategies for build files: whole ones, damaged ones, and plain noise."""

from __future__ import annotations

from hypothesis import strategies as st

_FRAGMENTS = [
    "FROM",
    "from",
    "RUN",
    "run",
    "COPY",
    "ADD",
    "ENV",
    "LABEL",
    "ARG",
    "CMD",
    "ENTRYPOINT",
    "HEALTHCHECK",
    "ONBUILD",
    "EXPOSE",
    "VOLUME",
    "USER",
    "WORKDIR",
    "SHELL",
    "STOPSIGNAL",
    "MAINTAINER",
    "IF",
    "ELSE",
    "END",
    "UNSET",
    "INCLUDE",
    "NONE",
    " AS ",
    "a",
    "b=c",
    "x",
    "scratch",
    "--from=a",
    "--mount=type=cache,target=/x",
    '--mount=type=bind,"from=a,b"',
    "--chown=1:2",
    "--link",
    "--",
    "--interval=1m",
    "<<EOF",
    "<<-'E'",
    '<<"X"',
    "EOF",
    "\tE",
    "X",
    '["a", "b"]',
    "['a']",
    "[1]",
    '"q r"',
    "'s t'",
    "$x",
    "${x}",
    "${x:-y}",
    "${x#*.}",
    "${x/a/b}",
    "${",
    "\\",
    "`",
    " ",
    "  ",
    "\t",
    "\n",
    "\r\n",
    "\\\n",
    "`\n",
    " \\ \n",
    "# c\n",
    "# escape=`\n",
    "# syntax=pybuild/1\n",
    "# check=skip=all\n",
    "#",
    "\ufeff",
    "\xa0",
    "\x85",
    "\x0b",
    "\x00",
    "é",
    "😀",
    "80/tcp",
    "=",
    ",",
    '"',
    "'",
]

noise = st.text(max_size=200)
"""Any text."""

scrambled = st.lists(st.sampled_from(_FRAGMENTS), max_size=40).map("".join)
"""Text made of what build files are made of, in any order."""

_name = st.sampled_from(["a", "b1", "long.name", "x-y", "_z"])
_value = st.sampled_from(
    [
        "",
        "v",
        '"a b"',
        "'c d'",
        "e\\ f",
        "$x",
        "${y:-z}",
        '"$x\\""',
        "1.2",
        "a=b",
        "/p/q",
        "é",
        "x\\\\",
        '"#"',
        "*.txt",
        '"a \\\n  b"',
        "'c\\\n# d\n e'",
    ]
)
_blank = st.sampled_from([" ", "  ", "\t", " \\\n", " \\\n    ", " \\\n# note\n  "])
_pairs = st.lists(st.tuples(_name, _value).map("=".join), min_size=1, max_size=4)
_path = st.sampled_from(["a", "./b/", "c*", "/d e".replace(" ", "_"), "$x/f", "é.txt", "--g"])
_words = st.lists(_path, min_size=2, max_size=4)
_exec = st.lists(st.sampled_from(["a", "b c", "é", 'q"', "\\", "$x", "\n"]), max_size=3)
_shell = st.sampled_from(["echo a", 'echo "a  b" && c', "a | b  > c", "x='y", "# not", "[ -f a ]", "echo $x \\\n   y"])
_body = st.sampled_from(["", "x\n", "a b\n\n  c\n", "\ttab\n", "# c\n$x\n", "\\\n"])


def _joined(words: list[str]) -> st.SearchStrategy[str]:
    return st.lists(_blank, min_size=len(words), max_size=len(words)).map(
        lambda blanks: "".join(blank + word for blank, word in zip(blanks, words, strict=True))
    )


def _json(args: list[str]) -> str:
    import json

    return json.dumps(args)


_flags = st.lists(
    st.sampled_from(["--from=a", "--chown=1:2", "--chmod='u=r X'", "--link", "--parents", '--exclude="a b"']),
    unique_by=lambda flag: flag.split("=")[0],
    max_size=3,
)
_mounts = st.lists(
    st.sampled_from(
        [
            "--mount=type=cache,target=/x",
            '--mount=type=bind,"source=a,b",target=/x',
            "--mount='type=secret,id=a b'",
            "--network=none",
            "--mount=type=tmpfs,target=$x,size=1g",
        ]
    ),
    unique=True,
    max_size=2,
)

_instruction = st.one_of(
    _pairs.flatmap(_joined).map("ENV{}".format),
    _pairs.flatmap(_joined).map("LABEL{}".format),
    st.lists(st.one_of(_name, st.tuples(_name, _value).map("=".join)), min_size=1, max_size=3)
    .flatmap(_joined)
    .map("ARG{}".format),
    st.tuples(_name, _value.filter(bool)).map(lambda pair: f"ENV {pair[0]}  {pair[1]}"),
    st.tuples(_flags.flatmap(_joined), _words.flatmap(_joined)).map(lambda parts: f"COPY{parts[0]} --{parts[1]}"),
    st.tuples(_words, st.booleans()).map(lambda parts: f"{'ADD' if parts[1] else 'COPY'} {_json(parts[0])}"),
    st.tuples(_mounts.flatmap(_joined), _blank, _shell).map(lambda parts: f"RUN{parts[0]}{parts[1]}{parts[2]}"),
    st.tuples(st.sampled_from(["RUN", "CMD", "ENTRYPOINT", "run"]), _exec).map(lambda p: f"{p[0]} {_json(p[1])}"),
    _shell.map("CMD {}".format),
    _body.map("RUN <<E\n{}E".format),
    st.tuples(_body, _body).map(lambda p: f"COPY <<A <<-'B' /d\n{p[0]}A\n{p[1]}\tB"),
    _body.map("ONBUILD RUN cat <<E\n{}E".format),
    _words.flatmap(_joined).map("ONBUILD COPY{}".format),
    st.lists(st.sampled_from(["80", "81/udp", "90-95", "$x"]), min_size=1, max_size=3)
    .flatmap(_joined)
    .map("EXPOSE{}".format),
    st.sampled_from(
        [
            "HEALTHCHECK NONE",
            "HEALTHCHECK --interval=1m30s --retries=2 CMD a b",
            'HEALTHCHECK --timeout=1500ms CMD ["a"]',
            "USER a:b",
            "WORKDIR /a b",
            "STOPSIGNAL SIGTERM",
            "MAINTAINER me  too",
            'SHELL ["/bin/sh", "-c"]',
            "VOLUME /a /b",
            'VOLUME ["/a b"]',
            "ENTRYPOINT",
            "RUN",
        ]
    ),
)
_line = st.one_of(_instruction, st.sampled_from(["", "", "# comment", "#tight", "  # indented", "#"]))


def _file(parts: tuple[list[str], list[tuple[str, list[str]]]]) -> str:
    head, stages = parts
    lines = list(head)
    for base, body in stages:
        lines += [base, *body]
    return "\n".join(lines) + "\n"


valid = st.tuples(
    st.lists(st.sampled_from(["# syntax=docker/dockerfile:1", "ARG x=1 y", "", "# note"]), max_size=3, unique=True),
    st.lists(
        st.tuples(
            st.sampled_from(["FROM a", "from b as c", "FROM --platform=$x d:${y} AS E"]), st.lists(_line, max_size=8)
        ),
        min_size=1,
        max_size=2,
    ),
).map(_file)
"""Build files that are right as far as they can be parsed."""

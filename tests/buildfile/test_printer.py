"""The canonical form, by examples."""

from __future__ import annotations

import pytest

from buildah_py.buildfile import parse
from buildah_py.buildfile.printer import duration, quote_flag, render


@pytest.mark.parametrize(
    ("text", "printed"),
    [
        ("from  a  as  B", "FROM a AS B"),
        ("FROM a\n\n\n\nrun  x", "FROM a\n\nRUN x"),
        ("FROM a\n  #c\n\t# d  \nRUN x", "FROM a\n# c\n# d\nRUN x"),
        ("FROM a\n#!x\n##y\n#\nRUN x", "FROM a\n#!x\n##y\n#\nRUN x"),
        ("# ESCAPE = `\nFROM a", "# escape=`\nFROM a"),
        (
            "FROM a\nRUN --mount=type=cache,target=/x\\\n\t--network=none \\\n\n# c\n  x  &&  \\\n  y",
            "FROM a\nRUN --mount=type=cache,target=/x \\\n    # c\n    --network=none \\\n    x  &&  \\\n  y",
        ),
        ("FROM a\nRUN --mount='type=secret,id=a b' x", 'FROM a\nRUN --mount="type=secret,id=a b" x'),
        ("FROM a\nENV a=b   c=d", "FROM a\nENV a=b c=d"),
        ("FROM a\nENV a=b  \\\n # c\n\tc=d", "FROM a\nENV a=b \\\n    # c\n    c=d"),
        ("FROM a\nENV a='b \\\n  c' d=e", "FROM a\nENV a='b \\\n  c' d=e"),
        ("FROM a\nCOPY --link=TRUE --parents=false a  b", "FROM a\nCOPY --link a b"),
        ("FROM a\nADD --unpack=false --keep-git-dir a b", "FROM a\nADD --keep-git-dir --unpack=false a b"),
        ("FROM a\nCOPY a <<E /x\nb\nE", "FROM a\nCOPY a <<E /x\nb\nE"),
        ('FROM a\nCOPY 3<<-"E" /x\n\tb\n\tE', "FROM a\nCOPY 3<<-'E' /x\n\tb\nE"),
        ('FROM a\ncmd [ \'x\' ]\ncmd ["a","é"]', 'FROM a\nCMD [ \'x\' ]\nCMD ["a", "é"]'),
        ("FROM a\nhealthcheck --interval=90s --timeout=0 cmd x", "FROM a\nHEALTHCHECK --interval=1m30s CMD x"),
        ("FROM a\nHEALTHCHECK --interval=1s \\\n CMD x", "FROM a\nHEALTHCHECK --interval=1s \\\n    CMD x"),
        ("FROM a\nonbuild  run  x  y", "FROM a\nONBUILD run  x  y"),
        ("FROM a\nONBUILD RUN x \\\n  y <<E\nz\nE", "FROM a\nONBUILD RUN x \\\n  y <<E\nz\nE"),
        ("FROM a\nRUN x\\\n", "FROM a\nRUN x"),
    ],
)
def test_canonical_form(text: str, printed: str) -> None:
    assert render(parse(text, "Buildfile")) == printed + "\n"
    assert render(parse(printed, "Buildfile")) == printed + "\n"


def test_durations() -> None:
    assert [duration(value) for value in (0, 1, 1500, 10**6, 10**9, 90 * 10**9, 3600 * 10**9)] == [
        "0s",
        "1ns",
        "1500ns",
        "1ms",
        "1s",
        "1m30s",
        "1h",
    ]


def test_flags_are_quoted_where_they_have_to_be() -> None:
    assert quote_flag("a,b=c") == "a,b=c"
    assert quote_flag("a b") == '"a b"'
    assert quote_flag('a"b\\') == '"a\\"b\\\\"'
    assert quote_flag('a"b\\', "`") == '"a`"b\\"'

"""Build files to syntax trees."""

from __future__ import annotations

import pytest

from buildah_py.buildfile import parse, parse_trigger
from buildah_py.buildfile.tree import Cmd, Copy, Env, ExecForm, Healthcheck, Instruction, Onbuild, Run, ShellForm
from buildah_py.errors import BuildFileError
from buildah_py.source_text import Source


def one(text: str) -> Instruction:
    """The instruction `text`, read behind a FROM."""
    (instruction,) = parse(f"FROM scratch\n{text}", "Buildfile").stages[0].instructions
    return instruction


def fault(text: str) -> BuildFileError:
    """What is wrong with `text`."""
    with pytest.raises(BuildFileError) as caught:
        parse(text, "Buildfile")
    return caught.value


def test_stages_and_global_arguments() -> None:
    file = parse("ARG V=1 W\nFROM a:$V AS One\nRUN x\nFROM one\n", "Buildfile")
    assert [argument.name for arg in file.arguments for argument in arg.arguments] == ["V", "W"]
    assert [(stage.index, stage.name, stage.base.image.text) for stage in file.stages] == [
        (0, "one", "a:$V"),
        (1, None, "one"),
    ]


def test_continuation_drops_comments_and_keeps_leading_blanks() -> None:
    run = one("RUN a \\\n  # no\n\n  && b\n")
    assert isinstance(run, Run)
    assert run.command == ShellForm("a   && b", run.command.span)
    assert run.blank_line == 5
    assert run.span.end.line == 5


@pytest.mark.parametrize(
    ("text", "args"),
    [
        ('CMD ["a", "b c"]', ("a", "b c")),
        ('CMD [ "a\\u00e9\\n" ]', ("aé\n",)),
        ('CMD ["\\ud83d\\ude00", "\\ud83d"]', ("😀", "\ufffd")),
        ("CMD []", ()),
    ],
)
def test_exec_form(text: str, args: tuple[str, ...]) -> None:
    cmd = one(text)
    assert isinstance(cmd, Cmd)
    assert isinstance(cmd.command, ExecForm)
    assert cmd.command.args == args


@pytest.mark.parametrize("text", ["['a']", '["a"]"b', '["a"', '["a",]', '["a"] x', "[a]", '["\t"]', "[01]", ""])
def test_what_is_no_json_is_for_the_shell(text: str) -> None:
    cmd = one(f"CMD {text}")
    assert isinstance(cmd, Cmd)
    assert isinstance(cmd.command, ShellForm)
    assert cmd.command.text == text


def test_words_keep_quotes() -> None:
    env = one("ENV a=\"b c\" d=e\\ f g='h' i=")
    assert isinstance(env, Env)
    assert [(key.text, value.text) for key, value in env.pairs] == [
        ("a", '"b c"'),
        ("d", "e\\ f"),
        ("g", "'h'"),
        ("i", ""),
    ]
    assert not env.legacy


def test_legacy_env_takes_the_rest_of_the_line() -> None:
    env = one("ENV a b=c  'd' ")
    assert isinstance(env, Env)
    assert [(key.text, value.text) for key, value in env.pairs] == [("a", "b=c  'd'")]
    assert env.legacy


def test_flags() -> None:
    copy = one("COPY --from=x --chown='a b' --link --exclude=p --exclude=q -- --src /d")
    assert isinstance(copy, Copy)
    assert copy.from_ is not None
    assert copy.chown is not None
    assert (copy.from_.text, copy.chown.text, copy.link, copy.parents) == ("x", "a b", True, False)
    assert [word.text for word in copy.exclude] == ["p", "q"]
    assert [word.text for word in copy.sources] == ["--src"]


def test_heredocs_of_copy() -> None:
    copy = one("COPY a <<X <<-'Y' /d\n$x\nX\n\ty\n\tY\n")
    assert isinstance(copy, Copy)
    assert [(doc.name, doc.expand, doc.strip_tabs, doc.body, doc.text) for doc in copy.heredocs] == [
        ("X", True, False, "$x\n", "$x\n"),
        ("Y", False, True, "\ty\n", "y\n"),
    ]
    assert [word.text for word in copy.sources] == ["a"]
    assert copy.span.end.line == 6


def test_trigger_keeps_its_heredoc() -> None:
    onbuild = one("ONBUILD  RUN <<E\necho\nE\n")
    assert isinstance(onbuild, Onbuild)
    assert onbuild.trigger == "RUN <<E\necho\nE"
    again = parse_trigger(onbuild.trigger, Source("trigger", ""))
    assert isinstance(again, Run)
    assert again.heredocs[0].body == "echo\n"


def test_healthcheck() -> None:
    check = one("HEALTHCHECK --interval=1m30s --timeout=1.5s --retries=3 CMD curl x")
    assert isinstance(check, Healthcheck)
    assert (check.interval, check.timeout, check.retries) == (90 * 10**9, 15 * 10**8, 3)


@pytest.mark.parametrize(
    ("text", "message", "line", "column"),
    [
        ("", "the file is empty", 1, 1),
        ("# c\n", "file with no instructions", 1, 1),
        ("RUN x", "no build stage in current context", 1, 1),
        ("ARG x", "dockerfile contains no stages to build", 1, 1),
        ("FROM a\nRUM x", "unknown instruction: RUM", 2, 1),
        ("FROM a b", "FROM requires either one or three arguments", 1, 1),
        ("FROM a AS 1b", "invalid name for build stage", 1, 11),
        ("FROM a\nCOPY --form=b x /y", "unknown flag: --form", 2, 6),
        ("FROM a\nCOPY --from x /y", "missing a value on flag: --from", 2, 6),
        ("FROM a\nCOPY --link --link x /y", "duplicate flag specified: --link", 2, 13),
        ("FROM a\nCOPY --from=$b x /y", "variable expansion is not supported for --from", 2, 13),
        ("FROM a\nCOPY x", "requires at least two arguments", 2, 1),
        ("FROM a\nCOPY x <<E\nE", "cannot accept a heredoc as a destination", 2, 8),
        ("FROM a\nRUN <<E\nx", "unterminated heredoc", 2, 5),
        ("FROM a\nENV a", "ENV must have two arguments", 2, 5),
        ("FROM a\nENV a=b c", "can't find = in", 2, 9),
        ("FROM a\nENV =b", "ENV names can not be blank", 2, 5),
        ("FROM a\nCMD [1]", "arrays must be comprised of strings only", 2, 5),
        ("FROM a\nSHELL bash", "in JSON form", 2, 7),
        ("FROM a\nUSER", "USER requires exactly one argument", 2, 1),
        ("FROM a\nONBUILD FROM b", "FROM isn't allowed as an ONBUILD trigger", 2, 9),
        ("FROM a\nONBUILD ONBUILD RUN b", "Chaining ONBUILD", 2, 9),
        ("FROM a\nHEALTHCHECK CND b", "Unknown type", 2, 13),
        ("FROM a\nHEALTHCHECK --interval=3 CMD b", "missing unit", 2, 13),
        ("FROM a\nRUN --network=nope b", 'invalid value "nope"', 2, 5),
        ("# escape=x\nFROM a", "invalid escape token", 1, 1),
        ("# check=skip=all\n# check=skip=all\nFROM a", "only one check parser directive", 2, 1),
    ],
)
def test_faults(text: str, message: str, line: int, column: int) -> None:
    error = fault(text)
    assert message in error.message
    assert error.span.start == (line, column)
    assert error.others == ()


def test_suggestions() -> None:
    assert fault("FROM a\nRUM x").hint == "did you mean RUN?"
    assert fault("FROM a\nCOPY --form=b x /y").hint == "did you mean --from?"
    assert "syntax=pybuild/1" in fault("FROM a\nINCLUDE x").hint


def test_several_faults_in_one_go() -> None:
    error = fault("FROM a\nRUM x\nENV\nCOPY y\n")
    assert [other.span.start.line for other in (error, *error.others)] == [2, 3, 4]
    assert "Buildfile:4:1" in str(error)


def test_a_misspelt_from_is_said_once() -> None:
    error = fault("FORM a\nRUN b\nCMD c\n")
    assert error.hint == "did you mean FROM?"
    assert error.others == ()


def test_backtick_escape() -> None:
    file = parse("# escape=`\nFROM a\nCOPY a `\n c:\\\nENV x=a` b\n", "Buildfile")
    copy, env = file.stages[0].instructions
    assert isinstance(copy, Copy)
    assert copy.destination.text == "c:\\"
    assert isinstance(env, Env)
    assert env.pairs[0][1].text == "a` b"


def test_bom_and_crlf() -> None:
    file = parse(b"\xef\xbb\xbfFROM a\r\nRUN x \\\r\n  y\r\n", "Buildfile")
    run = file.stages[0].instructions[0]
    assert isinstance(run, Run)
    assert run.command == ShellForm("x   y", run.command.span)


def test_what_looks_like_a_substring_expansion_hides_no_heredoc() -> None:
    run = one("RUN echo ${x:0:3} <<E\nbody\nE\n")
    assert isinstance(run, Run)
    assert run.heredocs[0].body == "body\n"


def test_an_unbalanced_quote_hides_heredocs() -> None:
    run = one("RUN echo it's <<E\n")
    assert isinstance(run, Run)
    assert run.heredocs == ()

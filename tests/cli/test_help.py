"""Help as a person reads it, and what a shell completes."""

from __future__ import annotations

import shlex
from importlib import import_module
from typing import TYPE_CHECKING

import pytest

from buildah_py.cli import COMMANDS, main
from buildah_py.cli import help as help_command
from buildah_py.cli.aliases import translate
from buildah_py.cli.arguments import Parser, make_parser
from buildah_py.cli.examples import EXAMPLES, OVERVIEW

if TYPE_CHECKING:
    from pathlib import Path


def parser_of(name: str) -> Parser:
    """Give the parser of a command."""
    parser = make_parser(name, COMMANDS[name])
    import_module(f"buildah_py.cli.{'import_' if name == 'import' else name.replace('-', '_')}").configure(parser)
    return parser


@pytest.mark.parametrize("name", [*COMMANDS])
def test_help_begins_with_usage_and_examples(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    parser = parser_of(name)
    lines = parser.format_help().splitlines()
    assert lines[0].startswith(f"usage: pybuild {name}")
    assert lines[1] == ""
    assert max(map(len, lines)) <= 80
    assert "docs/" not in parser.format_help()
    if name in EXAMPLES:
        assert lines.index("examples:") < lines.index("options:")


def test_examples_are_command_lines() -> None:
    for line, _ in [*OVERVIEW, *(one for examples in EXAMPLES.values() for one in examples)]:
        words = shlex.split(line.partition(" >")[0])
        assert words.pop(0) == "pybuild"
        assert translate(words, COMMANDS, lambda _: None) == words
        name = words.pop(0) if words[0] in COMMANDS else "build"
        parser = parser_of(name)
        (parser.parse_intermixed_args if name == "why" else parser.parse_args)(words)


def test_topics_and_their_sections(capsys: pytest.CaptureFixture[str]) -> None:
    def said(*arguments: str, status: int = 0) -> str:
        assert main(["help", *arguments]) == status
        captured = capsys.readouterr()
        return captured.err if status else captured.out

    assert said("caching").startswith("# ")
    assert said("language#pybuildsecretvalue").startswith("### PybuildSecretValue\n")
    assert "pybuildaptleftovers" not in said("language#pybuildsecretvalue").lower()
    assert said("from-docker").startswith("# ")
    assert "did you mean caching?" in said("cachign", status=125)
    assert "the page has no section none" in said("caching#none", status=125)
    overview = said()
    assert overview == help_command.overview(COMMANDS) + "\n"
    assert overview.index("examples:") < overview.index("commands:")
    assert max(map(len, overview.splitlines())) <= 80
    with pytest.raises(SystemExit):
        main(["help", "images"])
    assert capsys.readouterr().out.startswith("usage: pybuild images [OPTION…] [NAME]\n")


def test_findings_lead_to_pages(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "Buildfile").write_text("FROM scratch\nENV TOKEN=ghp_abcdefghijklmnopqrstuvwxyz0123456789\n")
    assert main(["check", str(tmp_path)]) == 0
    shown = capsys.readouterr().out
    assert "`pybuild help language#pybuildsecretvalue`" in shown
    assert main(["help", "language#pybuildsecretvalue"]) == 0

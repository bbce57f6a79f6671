"""Options of the command line."""

from __future__ import annotations

import pytest

from buildah_py.cli import main
from buildah_py.cli.arguments import key_values
from buildah_py.errors import UsageError


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["-f", "a", "--file", "b", "."], "--file is given twice"),
        (["--target=a", "--target=b", "."], "--target is given twice"),
        (["--iidfile=a", "--iidfile=b", "."], "--iidfile is given twice"),
        (["--progress=plain", "--progress=json", "."], "--progress is given twice"),
        (["--pull", "--pull=never", "."], "--pull is given twice"),
        (["check", "-f", "a", "-f", "b"], "-f is given twice"),
        (["run", "--network=none", "--network=host", "x"], "--network is given twice"),
        (["pull", "--platform=linux/amd64", "--platform=linux/arm64", "x"], "--platform is given twice"),
        (["import", "-t", "a", "-t", "b", "x"], "-t is given twice"),
    ],
)
def test_an_option_for_one_value_takes_no_second_one(
    arguments: list[str], words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(arguments) == 2
    assert words in capsys.readouterr().err


def test_several_platforms_where_there_is_one(
    capsys: pytest.CaptureFixture[str], tmp_path: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYBUILD_ROOT", f"{tmp_path}/root")
    assert main(["pull", "--platform=linux/amd64,linux/arm64", "app"]) == 2
    assert "linux/amd64,linux/arm64" in capsys.readouterr().err


def test_platforms_are_joined(tmp_path: object, capsys: pytest.CaptureFixture[str]) -> None:
    with open(f"{tmp_path}/Buildfile", "w", encoding="utf-8") as file:
        file.write("FROM --platform=$TARGETPLATFORM scratch\nARG TARGETARCH\nCOPY $TARGETARCH $X$TARGETARCH /\n")
    given = ["--platform=linux/amd64", "--platform", "linux/arm64,linux/amd64", "--platform=linux/arm/v9"]
    assert main(["check", *given, str(tmp_path)]) == 0
    assert capsys.readouterr().out.count("UndefinedVar") == 1, "what is found for each platform is said once"
    assert main(["check", "--platform=linux/amd64,linux/", str(tmp_path)]) == 2
    assert "`linux/` is not a platform" in capsys.readouterr().err


def test_the_same_value_twice_says_nothing_new(tmp_path: object, capsys: pytest.CaptureFixture[str]) -> None:
    with open(f"{tmp_path}/Buildfile", "w", encoding="utf-8") as file:
        file.write("FROM scratch\n")
    assert main(["check", "--platform=linux/amd64", "--platform=linux/amd64", str(tmp_path)]) == 0
    assert "no findings" in capsys.readouterr().out


def test_a_label_without_a_value_is_empty() -> None:
    assert key_values(["a", "b=", "c=d=e"], "--label", bare="") == {"a": "", "b": "", "c": "d=e"}
    with pytest.raises(UsageError, match="--label =x"):
        key_values(["=x"], "--label", bare="")

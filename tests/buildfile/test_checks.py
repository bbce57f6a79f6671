"""What the checks find, and what makes a file fail that can be parsed."""

from __future__ import annotations

import pytest

from buildah_py.buildfile import parse
from buildah_py.buildfile.checks import find
from buildah_py.buildfile.rules import RULES
from buildah_py.buildfile.stage import Base
from buildah_py.errors import BuildFileError, UsageError
from buildah_py.image.config import new
from buildah_py.image.platform import parse as parse_platform
from buildah_py.plan import Plan, PlanOptions, make_plan


def found(text: str, **options: object) -> list[tuple[str, int]]:
    """The rules that warn, with their lines, without our own."""
    findings = find(parse(text, "Buildfile"), **options)  # type: ignore[arg-type]
    assert findings.error is None, findings.error
    return [(warning.rule, warning.line) for warning in findings.warnings if not RULES[warning.rule].own]


def own(text: str) -> list[tuple[str, int]]:
    """What our own checks find."""
    findings = find(parse(text, "Buildfile"))
    return [(warning.rule, warning.line) for warning in findings.warnings if RULES[warning.rule].own]


def fault(text: str, **options: object) -> BuildFileError:
    """What a build of `text` would end with."""
    error = find(parse(text, "Buildfile"), **options).error  # type: ignore[arg-type]
    assert error is not None
    return error


def test_there_are_all_22_rules() -> None:
    assert sum(not rule.own for rule in RULES.values()) == 22
    assert all(rule.name.startswith("Pybuild") for rule in RULES.values() if rule.own)


def test_a_clean_file_has_no_findings() -> None:
    assert found('FROM scratch AS a\nARG x\nENV y="$x"\nWORKDIR /a\nCMD ["a"]\n') == []


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("FROM a:1 AS Base", [("StageNameCasing", 1)]),
        ("FROM a:1 as b", [("FromAsCasing", 1)]),
        ("from a:1 AS b", [("FromAsCasing", 1)]),
        ("From a:1 AS b\nRUN x", [("ConsistentInstructionCasing", 1)]),
        ("FROM a:1\nrun x\nUSER y", [("ConsistentInstructionCasing", 2)]),
        ("from a:1\nrun x\nUSER y", [("ConsistentInstructionCasing", 3)]),
        ("FROM a:1\nRUN x \\\n\n\n  y\nUSER z", [("NoEmptyContinuation", 5)]),
        ("FROM a:1 AS x\nFROM a:2 AS x", [("DuplicateStageName", 2)]),
        ("FROM a:1 AS scratch\nFROM a:1 AS context", [("ReservedStageName", 1), ("ReservedStageName", 2)]),
        ("FROM a:1\nCMD x", [("JSONArgsRecommended", 2)]),
        ('FROM a:1\nSHELL ["sh", "-c"]\nENTRYPOINT x', []),
        ('FROM a:1 AS b\nSHELL ["sh", "-c"]\nFROM b\nENTRYPOINT x', []),
        ("FROM a:1\nMAINTAINER x", [("MaintainerDeprecated", 2)]),
        ("FROM a:${T:-1}", [("UndefinedArgInFrom", 1)]),
        ("ARG T\nFROM a:${T:-1}", []),
        ("FROM --platform=$BUILDPLATFORM a:1", []),
        ("FROM a:1\nWORKDIR x\nWORKDIR y", [("WorkdirRelativePath", 2)]),
        ("FROM a:1 AS b\nWORKDIR /x\nFROM b\nWORKDIR y", []),
        ("FROM a:1\nENV x=$y", [("UndefinedVar", 2)]),
        ("FROM a:1\nENV PATH=/x:$PATH", []),
        ("FROM a:1\nARG y\nENV x=$y", []),
        ("FROM a:1 AS b\nARG y\nFROM b\nENV x=$y", []),
        ("FROM a:1\nENV x=1 z=$x", [("UndefinedVar", 2)]),
        ("ARG y=1\nFROM a:1\nUSER $y", [("UndefinedVar", 3)]),
        ("FROM a:1\nUSER $TARGETARCH\nARG TARGETARCH\nUSER $TARGETARCH", [("UndefinedVar", 2)]),
        ('FROM a:1\nRUN echo $y\nCMD ["$y"]\nEXPOSE $y', []),
        ("FROM a:1\nRUN --mount=type=cache,target=/a$y x", [("UndefinedVar", 2)]),
        ("FROM a:1\nCOPY <<E /x\n$y\nE", [("UndefinedVar", 2)]),
        ("FROM a:1\nCOPY <<'E' /x\n$y\nE", []),
        ('FROM a:1\nCMD ["a"]\nCMD ["b"]', [("MultipleInstructionsDisallowed", 2)]),
        ('FROM a:1\nHEALTHCHECK NONE\nHEALTHCHECK CMD x\nCMD ["b"]', [("MultipleInstructionsDisallowed", 2)]),
        ("FROM a:1\nENV a b\nLABEL c d", [("LegacyKeyValueFormat", 2), ("LegacyKeyValueFormat", 3)]),
        ("FROM --platform=$TARGETPLATFORM a:1", [("RedundantTargetPlatform", 1)]),
        ("FROM --platform=linux/amd64 a:1", [("FromPlatformFlagConstDisallowed", 1)]),
        ("FROM --platform=linux/amd64 a:1 AS x-amd64", []),
        ("FROM a:1\nARG API_KEY\nENV MY_TOKEN=x", [("SecretsUsedInArgOrEnv", 2), ("SecretsUsedInArgOrEnv", 3)]),
        ("FROM a:1\nENV PUBLIC_KEY=x TOKEN_FILE=y MONKEY=z", []),
        ("ARG T\nFROM a:$T", [("InvalidDefaultArgInFrom", 2)]),
        ("FROM a:1\nEXPOSE 80/TCP", [("ExposeProtoCasing", 2)]),
        ("FROM a:1\nEXPOSE 80:80 1.2.3.4:80:80", [("ExposeInvalidFormat", 2), ("ExposeInvalidFormat", 2)]),
        ("# x\nFROM a:1 AS b", []),
        (
            "# check=experimental=all\n# x\nFROM a:1 AS b\n# c does\nARG c\n# other\nARG d",
            [
                ("InvalidDefinitionDescription", 3),
                ("InvalidDefinitionDescription", 7),
            ],
        ),
        ("# check=experimental=all\n# x\n\nFROM a:1 AS b\n# x\n#\nARG c", []),
        ("FROM a:1 AS b\nONBUILD CMD x\nFROM b\nRUN y", [("JSONArgsRecommended", 3)]),
    ],
)
def test_rules(text: str, expected: list[tuple[str, int]]) -> None:
    arguments = {"T": "1"} if "ARG T\nFROM a:$T" in text else {}
    assert found(text, build_args=arguments) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("FROM a:1", [("InvalidBaseImagePlatform", 1)]),
        ("FROM --platform=$BUILDPLATFORM a:1", []),
        ("FROM --platform=linux/arm/v7 a:1 AS linux", [("InvalidBaseImagePlatform", 1)]),
        ("FROM --platform=linux/arm64/v8 a:1 AS linux", []),
        ("FROM scratch\nFROM a:1 AS b\nFROM b", [("InvalidBaseImagePlatform", 2)]),
        ("FROM unknown:1", []),
    ],
)
def test_the_platform_of_a_base_image(text: str, expected: list[tuple[str, int]]) -> None:
    known = {"a:1": Base({}, "linux/arm64")}
    settings = {"platform": "linux/s390x", "build_args": {"BUILDPLATFORM": "linux/arm64"}}
    assert found(text, bases=lambda name, _: known.get(name), **settings) == expected


def test_variables_of_a_base_image_are_defined() -> None:
    text = "FROM a:1\nUSER $WHO"
    assert found(text) == [("UndefinedVar", 2)]
    assert found(text, platform="linux/amd64", bases=lambda *_: Base({"WHO": "me"}, "linux/amd64")) == []


def test_suggestions() -> None:
    (warning,) = find(parse("FROM scratch\nARG version=1\nUSER $versoin", "Buildfile")).warnings
    assert "did you mean $version?" in warning.message


@pytest.mark.parametrize(
    "text",
    [
        "# check=skip=JSONArgsRecommended\nFROM scratch\nCMD x",
        "# check=skip=all\nFROM scratch\nCMD x",
        "# syntax=x\n# check=skip=all;error=true\nFROM scratch\nCMD x",
        "FROM scratch\n# check=skip=JSONArgsRecommended\nCMD x",
        "FROM scratch\n# why not\n# check=skip=all\nCMD x",
    ],
)
def test_skipping(text: str) -> None:
    assert found(text) == []


def test_the_build_argument_overrides_the_directive() -> None:
    file = parse("# check=error=true\nFROM scratch\nCMD x", "Buildfile")
    assert find(file).fails
    assert not find(file, build_args={"BUILDKIT_DOCKERFILE_CHECK": ""}).fails
    assert not find(file, build_args={"BUILDKIT_DOCKERFILE_CHECK": "skip=all"}).warnings


def test_our_own_checks_fail_nothing() -> None:
    findings = find(parse("# check=error=true\nFROM a\nRUN x", "Buildfile"))
    assert [warning.rule for warning in findings.warnings] == ["PybuildUnpinnedBase"]
    assert not findings.fails


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("FROM a\nFROM b:latest\nFROM c:1\nFROM d@sha256:x\nFROM scratch", 2),
        ("FROM a:1 AS b\nFROM b", 0),
        ("FROM r.io:5000/a", 1),
    ],
)
def test_unpinned_base(text: str, expected: int) -> None:
    assert [rule for rule, _ in own(text)] == ["PybuildUnpinnedBase"] * expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("RUN <<E\na\nb\nE", ["PybuildHeredocErrexit"]),
        ("RUN <<E\nset -e\na\nb\nE", []),
        ("RUN <<E\nset -euo pipefail\na\nb\nE", []),
        ("RUN <<E\na\nE", []),
        ("RUN <<E\n#!/usr/bin/env python3\na\nb\nE", []),
        ('SHELL ["/bin/bash", "-ec"]\nRUN <<E\na\nb\nE', []),
        ("COPY . .\nRUN npm ci", ["PybuildCopyBeforeInstall"]),
        ("COPY package.json .\nRUN npm ci\nCOPY . .", []),
        ("COPY . /app/\nRUN pip install --no-cache-dir -r x.txt", ["PybuildCopyBeforeInstall"]),
        ("COPY --from=x . .\nRUN npm ci", []),
        ("RUN apt-get update && apt-get install -y x", ["PybuildAptLeftovers"]),
        ("RUN apt-get install -y x && rm -rf /var/lib/apt/lists/*", []),
        ("RUN --mount=type=cache,target=/var/lib/apt apt-get install -y x", []),
        ("ENV a=ghp_0123456789abcdefghijklmnopqrstuvwxyz", ["PybuildSecretValue"]),
        ("ARG a=https://user:pass@example.org/", ["PybuildSecretValue"]),
        ("ENV a=https://example.org:80/@x", []),
    ],
)
def test_own_checks(text: str, expected: list[str]) -> None:
    assert [rule for rule, _ in own(f"FROM scratch\n{text}")] == expected


@pytest.mark.parametrize(
    ("syntax", "expected"),
    [
        ("docker/dockerfile:1", []),
        ("docker.io/docker/dockerfile-upstream:master-labs", []),
        ("mirror.example/hub/docker/dockerfile@sha256:0", []),
        ("pybuild/1", []),
        ("me/dockerfile", [("PybuildForeignSyntax", 2)]),
        ("docker/dockerfiles:1", [("PybuildForeignSyntax", 2)]),
    ],
)
def test_front_ends_that_are_not_run(syntax: str, expected: list[tuple[str, int]]) -> None:
    text = f"# escape=`\n# syntax={syntax}\nFROM scratch\n"
    assert own(text) == expected
    options = PlanOptions(
        resolve=lambda *_: new(parse_platform("linux/amd64")), platform="linux/amd64", build_platform="linux/amd64"
    )
    plan = make_plan(parse(text, "Buildfile"), options)
    assert isinstance(plan, Plan)
    assert [warning.startswith("Buildfile:2: the front end") for warning in plan.warnings] == [True] * len(expected)


def test_ignored_files() -> None:
    text = "FROM scratch\nCOPY a b /x/\nADD https://e.org/a /\nCOPY --from=z:1 a /"
    assert found(text, ignored=lambda path: path == "a") == [("CopyIgnoredFile", 2)]


@pytest.mark.parametrize(
    ("text", "message", "line"),
    [
        ("FROM $x", "should not be blank", 1),
        ("FROM --platform=$x a", "empty platform", 1),
        ("FROM --platform=nope a", "nope", 1),
        ("FROM A", "failed to parse stage name", 1),
        ("FROM a AS b\nFROM B", "failed to parse stage name", 2),
        ("FROM a\nCOPY --from=B /x /y", "failed to parse stage name", 2),
        ("FROM a\nCOPY --from=1 /x /y", "invalid stage index 1", 2),
        ("FROM a\nCOPY --from=0 /x /y", "circular dependency", 2),
        ("FROM a AS x\nCOPY --from=y /x /y\nFROM a AS y\nCOPY --from=x /x /y", "circular dependency", 4),
        ("FROM a AS x\nCOPY --from=y /x /y\nFROM a AS y", "cannot copy from stage", 2),
        ("FROM a AS x\nRUN --mount=from=y,target=/x z\nFROM a AS y", "cannot mount from stage", 2),
        ("FROM a\nCOPY --chmod=8 /x /y", "invalid chmod parameter", 2),
        ("FROM a\nCOPY https://e.org/x /y", "can't be a URL for COPY", 2),
        ("FROM a\nCOPY https://e.org/x.git /y", "can't be a git ref for COPY", 2),
        ("FROM a\nADD --checksum=sha256:x x /y", "checksum requires", 2),
        ("FROM a\nADD --checksum=sha256:x https://e.org/x https://e.org/y /y", "for multiple sources", 2),
        ("FROM a\nEXPOSE x", "invalid containerPort", 2),
        ("FROM a\nEXPOSE 1/x", "invalid proto", 2),
        ("FROM a\nVOLUME $x", "VOLUME specified can not be an empty string", 2),
        ("FROM a\nSTOPSIGNAL x", "invalid signal", 2),
        ("FROM a\nENV x='y", "matching single-quote", 2),
        ("FROM a\nUSER ${x", "missing '}'", 2),
        ("FROM a\nUSER ${x:?set it}", "x: set it", 2),
        ("FROM a\nRUN --mount=type=nope x", "unsupported mount type", 2),
        ("FROM a\nRUN --mount=type=cache x", "invalid mount target", 2),
        ("FROM a\nRUN --mount=type=cache,target=/ x", "invalid mount target", 2),
        ("FROM a AS x\nONBUILD FOO\nFROM x", "unknown instruction", 3),
        ("# check=foo\nFROM a", "invalid check option", 1),
        ("# check=skip=a; error=true\nFROM a", "invalid check option", 1),
        ("ARG x=${y:?}\nFROM a", "is not allowed to be unset", 1),
    ],
)
def test_faults(text: str, message: str, line: int) -> None:
    error = fault(text)
    assert message in error.message
    assert error.span.start.line == line


def test_the_marker_of_a_checksum_stands_below_it() -> None:
    text = "FROM a\nADD --checksum=sha256:x https://e.org/x https://e.org/y /y"
    assert str(fault(text)).splitlines()[2] == "                 ^^^^^^^^"


@pytest.mark.parametrize(
    "text",
    [
        "FROM a\nONBUILD FOO",
        "FROM a AS x\nONBUILD COPY --from=later /a /b\nFROM b AS later",
        "FROM a\nCOPY --from=b /x /y\nCOPY --from=1 /x /y",
        "FROM a AS x\nFROM b AS x\nCOPY --from=0 /x /y",
        "FROM a\nCOPY --chmod=u=rwX,go-w /x /y",
        "FROM a\nSTOPSIGNAL 9\nSTOPSIGNAL sigterm\nSTOPSIGNAL RTMIN+3",
        "FROM a\nRUN\nCMD\nENTRYPOINT",
        "FROM a\nCOPY -x@host:foo user@host:// git@[::1]:r /y/",
        "FROM a\nARG --x y\nSTOPSIGNAL --z 9",
        "FROM a\nHEALTHCHECK --nope NONE",
        "FROM a\nRUN --mount=target=x,type=bind y\nWORKDIR /w\nRUN --mount=type=cache y",
    ],
)
def test_what_is_accepted(text: str) -> None:
    assert find(parse(text, "Buildfile")).error is None


def test_a_target_needs_only_its_own_stages() -> None:
    text = "FROM a AS x\nUSER y\nFROM a AS z\nSTOPSIGNAL nope"
    assert find(parse(text, "Buildfile"), target="x").error is None
    assert fault(text).span.start.line == 4
    with pytest.raises(UsageError, match="could not be found"):
        find(parse(text, "Buildfile"), target="xx")


BOMB = "".join(f"ARG a{number}={f'$a{number - 1}' * 16}\n" for number in range(1, 9))


@pytest.mark.parametrize(
    ("text", "line"),
    [
        (f"FROM scratch\nARG a0=0123456789abcdef\n{BOMB}", 7),
        (f"ARG a0=0123456789abcdef\n{BOMB}FROM scratch\n", 6),
        ("FROM scratch\nARG a=" + "x" * 2000 + "\nARG b=${a//x/$a}\n", 3),
        ("FROM scratch\nARG a=" + "x" * 900_000 + "\n" + "LABEL l=y$a\n" * 20, 21),
        ("FROM scratch\nARG a=" + "x" * 600_000 + "\nCOPY <<E /x\n$a$a\nE\n", 3),
    ],
    ids=["stage", "global", "replacements", "labels", "body"],
)
def test_what_variables_come_to_is_bounded(text: str, line: int) -> None:
    error = fault(text)
    assert "come to more than" in error.message
    assert error.span.start.line == line

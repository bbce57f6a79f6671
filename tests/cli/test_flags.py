"""The flags of docker and buildah: each is decided, each goes through the parser, and the page tells of each."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from buildah_py.cli import build, main, run
from buildah_py.cli.arguments import Parser, make_parser
from buildah_py.cli.flags import DIFFERS, NOTE, REFUSED, SAME, TABLE, ForeignFlag
from buildah_py.cli.flags_page import page
from buildah_py.errors import UsageError

if TYPE_CHECKING:
    import argparse

DOCKER = """add-host allow annotation attest build-arg build-context builder cache-from cache-to call cgroup-parent
    check debug file iidfile label load metadata-file network no-cache no-cache-filter output platform policy progress
    provenance pull push quiet resource sbom secret shm-size ssh tag target ulimit"""
BUILDAH = """add-host all-platforms annotation arch authfile build-arg build-arg-file build-context cache-from cache-to
    cache-ttl cap-add cap-drop cert-dir cgroup-parent cgroupns compat-volumes compress compression-format
    compression-level cpp-flag cpu-period cpu-quota cpu-shares cpuset-cpus cpuset-mems created-annotation creds cw
    decryption-key device disable-compression disable-content-trust dns dns-option dns-search env file
    force-compression force-rm format from group-add help hooks-dir http-proxy identity-label ignorefile iidfile
    iidfile-raw inherit-annotations inherit-labels ipc isolation jobs label layer-label layers logfile logsplit manifest
    memory memory-swap metadata-file mount network no-cache no-hostname no-hosts omit-history os os-feature os-version
    output pid platform pull quiet retry retry-delay rewrite-timestamp rm runtime runtime-flag save-stages sbom
    sbom-image-output sbom-image-purl-output sbom-merge-strategy sbom-output sbom-purl-output sbom-scanner-command
    sbom-scanner-image secret security-opt shm-size sign-by skip-unused-stages source-date-epoch source-policy-file
    squash ssh stage-labels stdin tag target timestamp tls-verify ulimit unsetannotation unsetenv unsetlabel userns
    userns-gid-map userns-gid-map-group userns-uid-map userns-uid-map-user uts variant volume"""
VALUES = {
    "format": "oci", "network": "bridge", "progress": "rawjson", "isolation": "oci", "cpu-shares": "2",
    "cpu-period": "100000", "cpu-quota": "50000", "compression-level": "3",
}  # fmt: skip
"""Values where not any would do."""


def parser() -> Parser:
    """Give the parser of `pybuild build`."""
    made = make_parser("build", "build an image")
    build.configure(made)
    return made


def parse(*arguments: str) -> argparse.Namespace:
    """Parse a command line as `pybuild build` does."""
    found: argparse.Namespace = parser().parse_args([*arguments, "."])
    return found


def test_the_page_is_the_table() -> None:
    """Where it is not: scripts/run python scripts/make_pages.py."""
    assert (Path(__file__).parents[2] / "docs/flags.md").read_text() == page()


def test_every_flag_is_decided_once() -> None:
    names = [flag.name for flag in TABLE]
    assert names == sorted(set(names))
    assert {flag.name for flag in TABLE if flag.docker} == set(DOCKER.split())
    assert {flag.name for flag in TABLE if flag.buildah} == set(BUILDAH.split())
    assert sum(flag.docker for flag in TABLE) + sum(flag.buildah for flag in TABLE) == 157
    assert {flag.decision for flag in TABLE} == {SAME, DIFFERS, NOTE, REFUSED}


@pytest.mark.parametrize("flag", TABLE, ids=[flag.name for flag in TABLE])
def test_every_flag_goes_through_the_parser(flag: ForeignFlag) -> None:
    if flag.name == "help":
        with pytest.raises(SystemExit):
            parse("--help")
        return
    made = parser()
    made.declare_further()
    action = next(one for one in made._actions if flag.option() in one.option_strings)
    is_switch = action.nargs == 0 or (flag.decision in (NOTE, REFUSED) and not flag.value)
    options = [flag.option()] if is_switch else [flag.option(), VALUES.get(flag.name, "x")]
    if flag.option() in made.bare and not is_switch:
        options = [flag.option()]
    if flag.decision == REFUSED:
        with pytest.raises(UsageError) as raised:
            parse(*(options if flag.name != "inherit-labels" else ["--inherit-labels=false"]))
        assert flag.option() in raised.value.message
        assert flag.text in raised.value.message
        assert raised.value.hint == flag.instead != ""
    else:
        assert parse(*options).context == "."
    for value in flag.fine:  # asks for what happens anyway: no word about it
        given = {"*": "false" if is_switch else "x"}.get(value, value)
        assert getattr(parse(f"{flag.option()}={given}"), "notes", []) == []
    if is_switch and flag.decision in (SAME, DIFFERS):
        for value in ("false", "0", "F", "true", "1", "t"):
            args = parse(f"{flag.option()}={value}")
            assert getattr(args, action.dest, False) is (value in ("true", "1", "t"))
        with pytest.raises(UsageError, match="neither true nor false"):
            parse(f"{flag.option()}=maybe")


@pytest.mark.parametrize(
    ("arguments", "notes"),
    [
        (["--layers", "--rm", "--force-rm=true", "--provenance=false", "--sbom=false", "--retry", "3"], []),
        (["--layers=false"], ["--layers=false has no effect: each step is a layer"]),
        (["--provenance", "--attest", "type=sbom", "--builder", "default"], []),
        (["--builder", "other", "--runtime=runc"], ["--builder=other has no", "--runtime=runc has no"]),
        (["--stdin"], ["--stdin has no effect: steps read nothing"]),
    ],
)
def test_notes(arguments: list[str], notes: list[str]) -> None:
    found = getattr(parse(*arguments), "notes", [])
    assert len(found) == len(notes)
    assert all(one.startswith(start) for one, start in zip(found, notes, strict=True))


def test_attestations() -> None:
    assert request().attest is None
    asked = request("--provenance", "--attest", "type=sbom,format=cyclonedx").attest
    assert (asked.provenance.mode, asked.provenance.version, asked.sbom.format) == ("min", "v1", "cyclonedx")
    assert [request(f"--provenance={one}").attest.provenance.mode for one in ("min", "max", "mode=max")] == [
        "min",
        "max",
        "max",
    ]
    off = request("--attest=type=provenance,mode=max", "--attest=type=sbom", "--provenance=false", "--sbom=0").attest
    assert not off
    last = request("--attest=type=provenance,mode=max", "--attest=type=provenance,version=v0.2").attest
    assert (last.provenance.mode, last.provenance.version) == ("min", "v0.2")
    assert not request("--attest=type=sbom,disabled=true").attest


def test_options_of_run_end_where_the_containers_command_begins() -> None:
    made = make_parser("run", "run")
    run.configure(made)
    args = made.parse_args(["--rm=false", "-it", "-e", "A=1", "--tty=false", "busybox", "ls", "--all=true", "-D"])
    assert (args.rm, args.interactive, args.image, args.command) == (False, True, "busybox", ["ls", "--all=true", "-D"])


def request(*arguments: str) -> Any:
    """Give the request for a build that a command line makes."""
    return build.read_request(parse(*arguments))


def test_other_spellings_say_the_same(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "args"
    file.write_text("# comment\nA=of the file\nB=2\n")
    monkeypatch.setenv("HTTP_PROXY", "http://proxy:3128")
    asked = request("--os=linux", "--arch=aarch64", f"--build-arg-file={file}", "--build-arg=A=1", "--http-proxy")
    assert asked.platform == "linux/arm64"
    assert asked.build_args == {"A": "1", "B": "2", "HTTP_PROXY": "http://proxy:3128"} | {
        name: value for name, value in asked.build_args.items() if name.lower().endswith("_proxy")
    }
    assert request("--resource=memory=64m,cpu-quota=50000").container == request("-m64m", "--cpus=0.5").container
    assert request("--cpu-quota=150000", "-c5").container == request("--cpus=1.5", "--cpu-shares=5").container
    assert request("--isolation=oci", "--security-opt=label=disable").container == request().container
    assert request("--network=pasta").network == "default"
    assert request("--build-context=a=container-image://x:1").contexts == ("a=docker-image://x:1",)
    usual = request("--format=docker", "--compression-format=gzip", "--compression-level=9").outputs.usual
    assert usual == "oci-mediatypes=false,compression=gzip,compression-level=9"
    with pytest.raises(UsageError, match="did you mean memory-swap"):
        request("--resource=memory-swp=1g")
    with pytest.raises(UsageError, match="leave either of them out"):
        request("--platform=linux/amd64", "--arch=arm64")


@pytest.mark.parametrize(
    ("arguments", "message", "hint"),
    [
        (["--tga", "x", "."], "unknown option --tga", "did you mean --tag?"),
        (["--no-cahce", "."], "unknown option --no-cahce", "did you mean --no-cache?"),
        (["--build-args=A=1", "."], "unknown option --build-args", "did you mean --build-arg?"),
        (["--compresion-format=zstd", "."], "unknown option --compresion-format", "did you mean --compression-format?"),
        (["--nothing-like-it", "."], "unknown option --nothing-like-it", "`pybuild build --help` lists what it takes"),
        ([".", "other"], "other is one argument too many", "`pybuild build --help` lists what it takes"),
        (["--progress=plian", "."], "--progress: there is no plian", "did you mean plain?"),
        (["--network=somewhere", "."], "--network: there is no somewhere", "there are default, none, host"),
        (
            ["-t", "oci-archive:x.tar", "."],
            "-t oci-archive:x.tar: this is a place, and -t gives an image a name",
            "-o type=oci,dest=FILE writes such an archive",
        ),
        (["manifest", "psuh", "x"], "pybuild manifest: there is no psuh", "did you mean push?"),
        (["images", "--formt=json"], "unknown option --formt", "did you mean --format?"),
        (["run", "--rm=perhaps", "x"], "--rm=perhaps: this is neither true nor false", "write --rm, or --rm=false"),
    ],
)
def test_what_is_misspelt(arguments: list[str], message: str, hint: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(arguments) == 2
    assert capsys.readouterr().err == f"pybuild: {message}\n  hint: {hint}\n"

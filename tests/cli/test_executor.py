"""kaniko's flags and variables: each is decided, each goes through the parser, and does what its row says."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from buildah_py.cli import build, executor, executor_context, executor_registries, main
from buildah_py.cli.arguments import Parser, make_parser
from buildah_py.cli.executor_flags import TABLE
from buildah_py.cli.executor_variables import PREFIX, SO_ANYWAY, VARIABLES, WITHOUT_MEANING, without_effect
from buildah_py.cli.flags import ANYTHING, DIFFERS, NOTE, REFUSED, SAME, ForeignFlag
from buildah_py.errors import UsageError
from buildah_py.http.tls import Files
from buildah_py.image import reference
from buildah_py.registry import RegistryOptions
from buildah_py.registry.configuration import Configuration, Rule
from buildah_py.registry.endpoint import endpoints
from buildah_py.sources.git_url import parse as parse_git
from buildah_py.sources.urls import context_place

if TYPE_CHECKING:
    import argparse
    from pathlib import Path

README = """build-arg cache cache-copy-layers cache-dir cache-repo cache-run-layers cache-ttl cleanup compressed-caching
    context-sub-path custom-platform digest-file dockerfile force git ignore-path ignore-var-run image-download-retry
    image-fs-extract-retry image-name-tag-with-digest-file image-name-with-digest-file insecure insecure-pull
    insecure-registry label log-format log-timestamp no-push no-push-cache oci-layout-path
    push-ignore-immutable-tag-errors push-retry registry-certificate registry-client-cert registry-map registry-mirror
    reproducible single-snapshot skip-default-registry-fallback skip-push-permission-check skip-tls-verify
    skip-tls-verify-pull skip-tls-verify-registry skip-unused-stages snapshot-mode tar-path target use-new-run
    verbosity"""
OTHERS = """annotation bucket compression compression-level context credential-helpers destination dryrun image-format
    kaniko-dir materialize pre-cleanup preserve-context secret"""
VALUES = {
    "log-format": "json", "verbosity": "debug", "snapshot-mode": "redo", "compression": "zstd", "image-format": "oci",
    "custom-platform": "linux/arm64", "compression-level": "3", "push-retry": "7", "image-download-retry": "9",
    "registry-map": "a=b", "build-arg": "A=b", "label": "a=b", "annotation": "a=b", "cache-ttl": "7h",
    "secret": "id=x,env=HOME",
}  # fmt: skip
"""Values where not any would do."""


def parser() -> Parser:
    made = make_parser("executor", "build")
    executor.configure(made)
    return made


def parse(*arguments: str) -> argparse.Namespace:
    """Parse a command line as `pybuild executor` does."""
    found: argparse.Namespace = parser().parse_args(list(arguments))
    return found


def built(*arguments: str, context: str = ".") -> argparse.Namespace:
    """Give the options of the build that a command line means."""
    args = parse(*arguments)
    executor._settle_environment(args)
    executor._check(args)
    return executor._build_options(args, executor_context.ContextAndFile(context, "Dockerfile"), "/scratch")


def test_every_flag_is_decided_once() -> None:
    names = [flag.name for flag in TABLE]
    assert names == sorted(set(names))
    assert len(README.split()) == 49
    assert set(names) == {*README.split(), *OTHERS.split()}
    assert {flag.decision for flag in TABLE} == {SAME, DIFFERS, NOTE, REFUSED}
    assert all(flag.text for flag in TABLE)
    assert all(flag.instead for flag in TABLE if flag.decision == REFUSED)


@pytest.mark.parametrize("flag", TABLE, ids=[flag.name for flag in TABLE])
def test_every_flag_goes_through_the_parser(flag: ForeignFlag) -> None:
    before, dest = vars(parse()), flag.name.replace("-", "_")
    value = VALUES.get(flag.name, "x") if flag.value else "true"
    for spelling in (flag.option(), *flag.spelled):
        glued = f"{spelling}={value}" if spelling.startswith("--") else f"{spelling}{value}"
        for words in ([glued], [spelling, value] if flag.value else [spelling]):
            if flag.decision == REFUSED:
                with pytest.raises(UsageError) as raised:
                    parse(*words)
                assert flag.text in raised.value.message
                assert raised.value.hint == flag.instead
                continue
            args = vars(parse(*words))
            if flag.decision == NOTE:
                fine = ANYTHING in flag.fine or value in flag.fine
                assert [flag.text in one for one in args["notes"]] == [] if fine else [True]
                continue
            changed = {name for name in args if args[name] != before.get(name)}
            assert changed == {dest} or (not changed and flag.usual == value)
            assert args[dest] == ([value] if flag.many else value if flag.value else True)
    for one in flag.fine:  # asks for what happens anyway: no word about it
        given_value = {ANYTHING: flag.choices[0] if flag.choices else "x" if flag.value else "false"}.get(one, one)
        assert parse(f"{flag.option()}={given_value}").notes == []
    if not flag.value and flag.decision in (SAME, DIFFERS):
        for text in ("false", "0", "F", "true", "1", "t"):
            assert getattr(parse(f"{flag.option()}={text}"), dest) is (text in ("true", "1", "t"))
        with pytest.raises(UsageError, match="neither true nor false"):
            parse(f"{flag.option()}=maybe")
    if flag.choices:
        with pytest.raises(UsageError, match=f"{flag.option()}: there is no nothing"):
            parse(f"{flag.option()}=nothing")


@pytest.mark.parametrize("flag", [flag for flag in TABLE if flag.means], ids=lambda flag: flag.name)
def test_flags_that_are_options_of_a_build(flag: ForeignFlag, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "environ", {})
    value = VALUES.get(flag.name, "x")
    usual, found = built("--no-push"), built("--no-push", f"{flag.option()}={value}" if flag.value else flag.option())
    of_build = make_parser("build", "build")
    build.configure(of_build)
    of_build.declare_further()
    dest = of_build._option_string_actions[flag.means].dest
    assert getattr(found, dest) == ([value] if flag.many else value if flag.value else True)
    assert [name for name, one in vars(usual).items() if name != dest and getattr(found, name) != one] == []


@given(st.sampled_from([flag.name for flag in TABLE]), st.data())
def test_what_is_misspelt(name: str, data: st.DataObject) -> None:
    """One letter that is missing, doubled or exchanged with its neighbour: what was meant is said."""
    place = data.draw(st.integers(0, len(name) - 1))
    wrong = data.draw(st.sampled_from([
        name[:place] + name[place + 1 :], name[: place + 1] + name[place:],
        name[: max(0, place - 1)] + name[place : place + 1] + name[max(0, place - 1) : place] + name[place + 1 :],
    ]))  # fmt: skip
    known = parser().options()
    if f"--{wrong}" in known or not wrong.strip("-"):
        return
    with pytest.raises(UsageError, match="unknown option") as raised:
        parse(f"--{wrong}=x")
    assert raised.value.hint.startswith("did you mean --")
    if len(name) > 12:
        assert name[:5] in raised.value.hint


def test_the_last_of_two_values_counts() -> None:
    args = parse("--verbosity=info", "--target=a", "-v", "warn", "--target", "b", "--cache", "--cache=false")
    assert (args.verbosity, args.target, args.cache) == ("warn", "b", False)


def test_outputs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "environ", {})
    both = built("-d=h.io/a:1", "-d", "h.io/b", '--tar-path=x,"y.tar', "--oci-layout-path=out")
    assert both.tag == ["h.io/a:1", "h.io/b"]
    assert both.push
    assert both.output == ['type=docker,"dest=x,""y.tar"', "type=oci,dest=out,tar=false"]
    assert built("--no-push").output == []
    monkeypatch.setattr(executor, "_empty", lambda *_: None)
    digest = built("--no-push", "--digest-file=d")
    assert (digest.push, digest.output) == (False, ["type=oci,dest=/scratch/layout,tar=false"])
    assert built("-d=a", "--digest-file=d").output == []
    assert built("--no-push", "--reproducible").timestamp == "0"
    assert (built("--no-push").pull, built("--no-push").no_cache) == ("always", True)
    monkeypatch.setenv("PYBUILD_PULL", "missing")
    assert built("--no-push").pull == "missing"


def test_paths_that_no_step_may_take() -> None:
    args = parse("--registry-client-cert=h=/c/one.crt,key", "--registry-certificate=i=/ca", "--digest-file=/d/x")
    executor._settle_environment(args)
    assert executor._places(args) == ("/kaniko", "/ca", "/c/one.crt", os.path.abspath("key"), "/d/x")


def test_what_a_build_is_asked_for(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    asked: list[Any] = []

    def execute(request: Any, *_: object) -> int:
        asked.append(request)
        return 0

    monkeypatch.setattr(build, "execute", execute)
    (tmp_path / "Dockerfile").write_text("FROM scratch\n")
    words = [
        "--no-push",
        f"-c={tmp_path}",
        "--ignore-path=/a//b/",
        "--ignore-path=a/b",
        "--ignore-var-run",
        "--insecure-pull",
    ]
    assert executor.run(parse(*words, f"--digest-file={tmp_path}/d")) == 0
    (request,) = asked
    assert request.outputs.shape.without == ("a/b", "var/run")
    assert request.left == ("/kaniko", f"{tmp_path}/d")
    assert request.registries().given.insecure_pulls
    assert (request.context, request.file, request.text) == (str(tmp_path), "Dockerfile", None)


def test_isolation_is_the_configurations_where_it_is_not_said(monkeypatch: pytest.MonkeyPatch) -> None:
    assert not hasattr(parse(), "isolation")
    assert built("--no-push", "--isolation=chroot").isolation == "chroot"
    monkeypatch.setenv("PYBUILD_ISOLATION", "nested")
    assert built("--no-push").isolation == "nested"
    assert built("--no-push", "--isolation=in-place").isolation == "in-place"


def test_places_of_caches() -> None:
    def place(*arguments: str) -> str:
        return executor.cache_place(parse("--cache", *arguments))

    usual = place("-d=gcr.io/team/test:1")
    assert usual.startswith("type=registry,ref=gcr.io/team/test/cache:pybuild-")
    assert place("-d=gcr.io/team/test:2", "-d=b") == usual
    assert place("--cache-repo=h.io/c", "-d=a").startswith("type=registry,ref=h.io/c:pybuild-")
    assert place("--cache-repo=oci:/a,b", "-d=a").startswith('type=local,"src=/a,b",tag=pybuild-')
    others = {place("--cache-repo=h.io/c", *more) for more in (
        ["-d=a"], ["-d=b"], ["-d=a", "--target=x"], ["-d=a", "--custom-platform=linux/arm64"], ["-f", "other", "-d=a"],
        [], ["-c", "x"], ["-d=a", "--context-sub-path=x"],
    )}  # fmt: skip
    assert len(others) == 8


@pytest.mark.parametrize(
    ("context", "more", "environ", "url", "ref", "subdir"),
    [
        ("git://h/a.git", {}, {}, "https://h/a.git", "", ""),
        ("git://h/a#refs/heads/x", {}, {}, "https://h/a", "refs/heads/x", ""),
        ("git://h/a.git#x#0123abcd", {}, {}, "https://h/a.git", "0123abcd", ""),
        ("git://h/a.git", {"git": "branch=x,single-branch=true"}, {}, "https://h/a.git", "refs/heads/x", ""),
        ("git://h/a.git#refs/heads/x", {"git": "branch=x"}, {}, "https://h/a.git", "refs/heads/x", ""),
        ("git://h/a.git#x", {"sub_path": "/b//c/"}, {}, "https://h/a.git", "x", "b/c"),
        ("git://h/a", {"sub_path": "b"}, {"GIT_PULL_METHOD": "http"}, "http://h/a", "", "b"),
        ("git://git@h/a", {}, {"GIT_PULL_METHOD": "ssh", "GIT_TOKEN": "t"}, "ssh://git@h/a", "", ""),
        ("git://h/a", {}, {"GIT_TOKEN": "t/x", "GIT_USERNAME": "u"}, "https://t%2Fx@h/a", "", ""),
        ("git://h/a", {}, {"GIT_USERNAME": "u", "GIT_PASSWORD": "p@:"}, "https://u:p%40%3A@h/a", "", ""),
        ("git://x@h/a", {}, {"GIT_TOKEN": "t"}, "https://x@h/a", "", ""),
        ("https://h/a.git", {"sub_path": "b"}, {}, "https://h/a.git", "", "b"),
        ("https://h/a.git#x", {"sub_path": "b"}, {}, "https://h/a.git", "x", "b"),
    ],
)
def test_repositories(
    context: str, more: dict[str, str], environ: dict[str, str], url: str, ref: str, subdir: str
) -> None:
    found = executor_context.find(context, more.get("sub_path", ""), "Nothing", more.get("git", ""), environ)
    place = context_place(found.context)
    assert place.kind == "git"
    source = parse_git(place.where)
    assert (source.remote, source.ref, source.subdir) == (url, ref, subdir)
    assert source.submodules is (False if context.startswith("git://") else None)


def test_submodules_come_along_where_they_are_asked_for() -> None:
    found = executor_context.find("git://h/a", "", "Nothing", "recurse-submodules=true", {})
    assert parse_git(context_place(found.context).where).submodules is True


@given(st.sampled_from(["tar", "s3"]), st.text("abc/._-#: ü%", min_size=1), st.sampled_from(["", "d", "d/e", "d e"]))
def test_archives_are_called_by_what_is_read_again(kind: str, where: str, inside: str) -> None:
    if "#:" in where or where.endswith("#") or where == "stdin":
        return
    found = executor_context.find(f"{kind}://{where}", inside, "Nothing", "", {})
    place = context_place(found.context)
    assert (place.kind, place.where, place.inside) == (kind, where, inside)
    assert context_place(place.text()) == place


def test_azures_containers() -> None:
    url, key = "https://me.blob.core.windows.net/c/x.tar.gz", {"AZURE_STORAGE_ACCESS_KEY": "a2V5"}
    with pytest.raises(UsageError, match="nothing is signed"):
        executor_context.find(url, "", "Nothing", "", key)
    signed = f"{url}?sv=1&sig=abc"
    assert executor_context.find(signed, "", "Nothing", "", key).context == signed
    with pytest.raises(UsageError, match="taken whole"):
        executor_context.find(signed, "sub", "Nothing", "", {})


def options(*arguments: str, environ: dict[str, str] | None = None, directory: str = "/nowhere") -> RegistryOptions:
    known = RegistryOptions.from_environment(environ or {})
    return executor_registries.with_options(known, parse(*arguments), ["dest.io/a"], directory)


def hosts(found: RegistryOptions, name: str, *, pushing: bool = False) -> list[str]:
    """Give where an image is asked for, in this order; with ! where neither TLS nor a certificate is asked for."""
    assert found.given is not None
    places = endpoints(reference.parse(name), found.given, pushing=pushing)
    return [f"{one.registry}/{one.repository}{'!' if one.insecure else ''}" for one in places]


def test_registries_that_are_insecure() -> None:
    assert hosts(options(), "dest.io/a", pushing=True) == ["dest.io/a"]
    for flag in ("--insecure", "--skip-tls-verify"):
        assert hosts(options(flag), "dest.io/a", pushing=True) == ["dest.io/a!"]
        assert hosts(options(flag), "other.io/a") == ["other.io/a"]
    for flag in ("--insecure-pull", "--skip-tls-verify-pull"):
        assert hosts(options(flag), "other.io/a") == ["other.io/a!"]
        assert hosts(options(flag), "dest.io/a", pushing=True) == ["dest.io/a"]
    for flag in ("--insecure-registry", "--skip-tls-verify-registry"):
        found = options(f"{flag}=other.io:5000", f"{flag}=index.docker.io")
        assert hosts(found, "other.io:5000/a") == ["other.io:5000/a!"]
        assert hosts(found, "other.io:5000/a", pushing=True) == ["other.io:5000/a!"]
        assert hosts(found, "other.io/a") == ["other.io/a"]
        assert hosts(found, "busybox") == ["docker.io/library/busybox!"]


def test_mirrors() -> None:
    maps = (
        "--registry-map=index.docker.io=a.io;quay.io=http://b.io:5000/x",
        "--registry-map=docker.io=https://c.io/y/",
    )
    found = options(*maps)
    assert hosts(found, "busybox") == ["a.io/library/busybox", "c.io/y/library/busybox", "docker.io/library/busybox"]
    assert hosts(found, "quay.io/p/q") == ["b.io:5000/x/p/q!", "quay.io/p/q"]
    assert hosts(found, "quay.io/p/q", pushing=True) == ["quay.io/p/q"]
    only = options(*maps, "--registry-mirror=d.io", "--skip-default-registry-fallback")
    assert hosts(only, "busybox")[-1] == "d.io/library/busybox"
    assert hosts(only, "quay.io/p/q") == ["b.io:5000/x/p/q!"]
    assert hosts(only, "quay.io/p/q", pushing=True) == ["quay.io/p/q"]
    assert hosts(only, "gcr.io/a") == ["gcr.io/a"]
    variables = {"KANIKO_REGISTRY_MAP": "gcr.io=e.io", "KANIKO_REGISTRY_MIRROR": "f.io,g.io"}
    of_variables = options(environ=variables)
    assert hosts(of_variables, "gcr.io/a") == ["e.io/a", "gcr.io/a"]
    assert hosts(of_variables, "busybox")[:2] == ["f.io/library/busybox", "g.io/library/busybox"]
    assert hosts(options("--registry-mirror=h.io", environ=variables), "busybox")[0] == "h.io/library/busybox"


def test_what_the_command_line_says_is_above_files() -> None:
    given_rules = Configuration((Rule("a.io", location="b.io"),), frozenset({"x.io"}))
    known = Configuration((Rule("a.io", blocked=True), Rule("c.io", blocked=True)), frozenset({"y.io"}))
    both = given_rules.above(known)
    assert {rule.prefix: rule.blocked for rule in both.rules} == {"a.io": False, "c.io": True}
    assert both.insecure == {"x.io", "y.io"}


def test_certificates(tmp_path: Path) -> None:
    from buildah_py.registry.certificates import RegistryCertificates

    for name in ("ca.pem", "one.crt", "one.key"):
        (tmp_path / name).write_text("")
    further = tmp_path / "kaniko/ssl/certs"
    further.mkdir(parents=True)
    for name in ("additional-ca-cert-bundle.crt", "b.pem", "README"):
        (further / name).write_text("")
    pair = (f"{tmp_path}/one.crt", f"{tmp_path}/one.key")
    found = options(
        f"--registry-certificate=a.io={tmp_path}/ca.pem", f"--registry-client-cert=a.io={','.join(pair)}",
        directory=str(tmp_path / "kaniko"),
    )  # fmt: skip
    assert RegistryCertificates(found).files("a.io") == Files((f"{tmp_path}/ca.pem",), (pair,))
    assert RegistryCertificates(found).files("b.io") == Files()
    assert found.ca_files == (f"{further}/additional-ca-cert-bundle.crt", f"{further}/b.pem")


def test_attempts_and_helpers() -> None:
    assert options().policy.attempts == 5
    assert options("--push-retry=7", "--image-download-retry=9").policy.attempts == 10
    assert options("--push-retry=2").policy.attempts == 5
    assert options().helpers == ("env", "google", "ecr", "acr", "gitlab")
    assert options("--credential-helpers=").helpers == ()
    assert options("--credential-helpers=ecr", "--credential-helpers", "env").helpers == ("ecr", "env")
    assert options("--push-ignore-immutable-tag-errors").immutable_is_fine


FEATURES = """ADD_CHECKSUM BUILDKIT_ARG_ENV_PRECEDENCE CACHE_LOOKAHEAD CACHE_PROBE_AFTER_MISS CHOWN_ON_IMPLICIT_DIRS
    CLEAN_KANIKO_DIR COPY_AS_ROOT COPY_CHMOD_ON_IMPLICIT_DIRS COPY_SKIP_SPECIAL_FILES CROSS_REPO_MOUNT
    DEPRECATE_INTER_STAGE_RESTORE DEPRECATE_LAYERLESS_CACHE_ENTRIES DISABLE_HTTP2 EXPAND_HEREDOC HASH_DIR_FRAMING
    IGNORE_CACHED_MANIFEST INFER_CROSS_STAGE_CACHE_KEY NATIVE_COPY NO_PROPAGATE_ANNOTATIONS OCI_SCRATCH_BASE OCI_WARMER
    PATH_SCOPED_REGISTRY_AUTH PLATFORM_CACHE_KEY PRECOMPILE_DOCKERIGNORE PRESERVE_HARDLINKS PRESERVE_MOUNTED_PATHS
    RELATIVE_LINK_TARGETS REPRODUCIBLE_PRESERVE_BASE_LAYERS RESOLVE_CACHE_KEY ROLLING_CACHE_KEY RUN_HONOR_GROUP
    RUN_MOUNT_BIND RUN_VIA_TINI SCOPED_DOCKERIGNORE SECUREJOIN_EXTRACTION SHARED_BASE_CACHE SKIP_CACHED_STAGES
    SKIP_RELABEL_RECOMPRESS SKIP_WRITE_WHITEOUTS UNTAR_SKIP_ROOT VOLUME_SKIP_MKDIR WARMER_CACHE_LOCK"""


def test_variables() -> None:
    def said(**environ: str) -> list[str]:
        return list(without_effect(environ))

    assert set(FEATURES.split()) == {*SO_ANYWAY, *WITHOUT_MEANING}
    assert not set(SO_ANYWAY) & set(WITHOUT_MEANING)
    for name in SO_ANYWAY:
        assert said(**{PREFIX + name: "true"}) == said(**{PREFIX + name: "1"}) == said(**{PREFIX + name: ""}) == []
        assert said(**{PREFIX + name: "false"}) == [f"{PREFIX}{name}=false has no effect: {SO_ANYWAY[name]}"]
    assert said(**{PREFIX + name: value for name in WITHOUT_MEANING for value in ("true", "0")}) == []
    assert said(FF_KANIKO_NEW="1") == ["FF_KANIKO_NEW=1 has no effect: it is not a feature flag that is known here"]
    assert [one.partition("=")[0] for one in said(**{one.name: "x" for one in VARIABLES})] == [
        one.name for one in VARIABLES if one.noted
    ]


@pytest.mark.parametrize(
    ("arguments", "status", "printed"),
    [(["version"], 0, "pybuild "), (["help"], 0, "usage: pybuild executor"), (["--help"], 0, "--destination"),
     (["completion", "bash"], 0, "complete")],
)  # fmt: skip
def test_words_of_its_program(
    arguments: list[str], status: int, printed: str, capsys: pytest.CaptureFixture[str]
) -> None:
    try:
        found: Any = main(["executor", *arguments])
    except SystemExit as ended:
        found = ended.code
    assert found == status
    assert printed in capsys.readouterr().out

"""Plans: which steps a build file becomes, on what they stand, and what the image config says."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from buildah_py.buildfile import parse
from buildah_py.errors import BuildFileError, NotFound, UsageError
from buildah_py.image import config as image_config
from buildah_py.image import platform
from buildah_py.plan import Plan, PlanOptions, make_plan
from buildah_py.plan.assemble import MadeLayer, finish_config
from buildah_py.plan.steps import BaseStep, CopyStep, RunStep, WorkdirStep
from buildah_py.sources.named import parse_named

if TYPE_CHECKING:
    from buildah_py.buildfile.named import NamedContext
    from buildah_py.image.config import ImageConfig

LAYER = "sha256:" + "a" * 64


def base_image() -> ImageConfig:
    made = image_config.new(platform.parse("linux/amd64")).with_env("BASE", "yes").with_cmd(("sh",))
    return made.with_layer(LAYER, "base", created="2020-01-01T00:00:00Z").with_created("2020-01-01T00:00:00Z")


def plan(
    text: str,
    images: dict[str, ImageConfig] | None = None,
    target: str = "",
    contexts: dict[str, NamedContext] | None = None,
    **build_args: str,
) -> Plan:
    known = {"base": base_image(), **(images or {})}

    def resolve(name: str, wanted: str) -> ImageConfig:
        assert wanted == "linux/amd64"
        if name not in known:
            raise NotFound(f"no {name}")
        return known[name]

    options = PlanOptions(
        resolve=resolve,
        build_args=build_args,
        target=target,
        contexts=contexts or {},
        platform="linux/amd64",
        build_platform="linux/amd64",
    )
    made = make_plan(parse(text, "Buildfile"), options)
    assert isinstance(made, Plan)
    return made


def runs(made: Plan) -> list[RunStep]:
    return [node.step for node in made.nodes if isinstance(node.step, RunStep)]


def test_each_node_follows_what_it_needs() -> None:
    made = plan("FROM base AS a\nRUN one\nFROM base\nCOPY --from=a /x /y\nWORKDIR /w\nRUN two\n")
    for node in made.nodes:
        assert node.parent is None or node.parent < node.index
        assert all(one.node is None or one.node < node.index for one in node.inputs)
    kinds = [type(node.step) for node in made.nodes]
    assert kinds == [BaseStep, RunStep, CopyStep, WorkdirStep, RunStep], "one node for the base that both stages share"
    assert made.nodes[2].inputs[0].node == 1
    assert made.nodes[2].parent == 0
    assert made.target == 4


def test_stages_that_nothing_needs_are_left_out() -> None:
    made = plan("FROM base AS a\nRUN one\nFROM nowhere AS b\nRUN two\nFROM base\nRUN three\n")
    assert [step.args[-1] for step in runs(made)] == ["three"]
    assert [step.args[-1] for step in runs(plan("FROM base AS a\nRUN one\nFROM base\nRUN two\n", target="A"))] == [
        "one"
    ]
    assert [step.args[-1] for step in runs(plan("FROM base AS a\nRUN one\nFROM base\nRUN two\n", target="0"))] == [
        "one"
    ]


def test_a_stage_on_a_stage_inherits_all_of_it() -> None:
    made = plan("FROM base AS a\nARG X=1\nENV Y=2\nUSER u\nRUN one\nFROM a\nRUN two\n")
    (one, two) = runs(made)
    assert two.user == "u"
    assert dict(two.env)["X"] == "1"
    assert dict(two.env)["Y"] == "2"
    assert [item.created_by.split()[0] for item in made.history] == ["ARG", "ENV", "USER", "RUN", "RUN"]
    assert one.env == two.env


def test_what_a_run_sees() -> None:
    (step,) = runs(
        plan(
            'ARG G=g\nFROM base\nARG G\nARG L=l\nARG E=arg\nENV E=env\nARG N\nSHELL ["/bin/sh", "-ec"]\nRUN x\n',
            L="given",
        )
    )
    environment = dict(step.env)
    assert environment["G"] == "g"
    assert environment["L"] == "given"
    assert environment["E"] == "env"
    assert environment["BASE"] == "yes"
    assert "N" not in environment
    assert environment["PATH"].startswith("/usr/local/sbin:")
    assert step.args == ("/bin/sh", "-ec", "x")


@pytest.mark.parametrize(
    ("text", "given", "value"),
    [
        ("FROM base\nENV V=2\nARG V\nRUN x\n", {"V": "5"}, "5"),
        ("FROM base\nENV V=2\nARG V=def\nRUN x\n", {}, "def"),
        ("FROM base\nENV V=2\nARG V=$V.1\nRUN x\n", {}, "2.1"),
        ("FROM base\nENV V=2\nARG V\nRUN x\n", {}, "2"),
        ("FROM base\nENV V=2\nARG V\nARG V=3\nENV V=4\nRUN x\n", {"V": "5"}, "4"),
        ("ARG V=global\nFROM base\nENV V=2\nARG V\nRUN x\n", {}, "global"),
        ("FROM base AS a\nENV V=2\nFROM a\nARG V\nRUN x\n", {"V": "5"}, "5"),
        ("FROM base AS a\nENV V=2\nARG V=3\nFROM a\nRUN x\n", {}, "2"),
        ("FROM base AS a\nENV V=2\nARG V=3\nFROM a\nARG V\nRUN x\n", {}, "2"),
        ("FROM versioned\nARG V\nRUN x\n", {"V": "5"}, "5"),
        ("FROM versioned\nARG V=def\nRUN x\n", {}, "def"),
        ("FROM versioned\nRUN x\n", {"V": "5"}, "2"),
        ("FROM base\nENV V=2 TARGETARCH=mine\nARG TARGETARCH\nENV V=$TARGETARCH\nRUN x\n", {}, "amd64"),
        (
            "FROM base\nENV HTTP_PROXY=mine\nARG HTTP_PROXY\nENV V=$HTTP_PROXY\nRUN x\n",
            {"HTTP_PROXY": "theirs"},
            "theirs",
        ),
        (
            "FROM base AS a\nENV V=2\nONBUILD ARG V=trigger\nFROM a\nRUN x\n",
            {},
            "trigger",
        ),
    ],
)
def test_env_and_arg_write_one_environment_in_the_order_of_the_file(
    text: str, given: dict[str, str], value: str
) -> None:
    (step,) = runs(plan(text, {"versioned": base_image().with_env("V", "2")}, "", None, **given))
    assert dict(step.env)["V"] == value


def test_all_that_follows_an_arg_sees_it_and_the_image_keeps_what_env_said() -> None:
    made = plan(
        "FROM base\nENV V=/env W=$V\nARG V\nENV X=$V\nLABEL l=$V\nWORKDIR $V\nUSER $V\nCOPY $V $V/\nRUN one\n", V="/arg"
    )
    config = made.config
    assert config.environment()["V"] == "/env", "ARG is nothing that the image keeps"
    assert config.environment()["X"] == "/arg"
    assert (config.labels["l"], config.working_dir, config.user) == ("/arg", "/arg", "/arg")
    (copy,) = [node.step for node in made.nodes if isinstance(node.step, CopyStep)]
    assert (copy.sources, copy.destination) == (("/arg",), "/arg/")
    (run,) = runs(made)
    assert dict(run.env)["V"] == "/arg"
    assert run.arguments == ("V",)
    assert "RUN |1 V=/arg /bin/sh" in made.history[-1].created_by


def test_steps_are_shown_with_the_values_of_their_variables() -> None:
    lines = ["WORKDIR $D/x", 'COPY ["${D}", \'$D\', "$NONE"]', "COPY $D \\\n /y", "COPY <<E $D/y\n$D\nE", "RUN echo $D"]
    made = plan("\n".join(["FROM base", "ARG D=/app", *lines, ""]))
    assert [node.shown for node in made.nodes[1:]] == [
        "WORKDIR /app/x",
        'COPY ["/app", \'$D\', "$NONE"]',
        "COPY /app  /y",
        "COPY <<E /app/y",
        "RUN echo $D",
    ]
    assert made.nodes[1].text == lines[0]


def test_the_key_of_a_run_holds_the_value_that_it_sees() -> None:
    text = "FROM base\nENV V=2\nRUN before\nARG V\nRUN after\n"
    one, two = runs(plan(text, V="1")), runs(plan(text, V="3"))
    assert one[0].canonical() == two[0].canonical()
    assert one[1].canonical() != two[1].canonical()
    hidden = "FROM base\nARG V\nENV V=2\nRUN after\n"
    assert runs(plan(hidden, V="1"))[0].canonical() == runs(plan(hidden, V="3"))[0].canonical()


def test_the_options_variables_stay_whatever_the_file_says() -> None:
    file = parse("FROM base\nENV V=2\nARG V=3\nRUN x\n", "Buildfile")
    options = PlanOptions(
        resolve=lambda *_: base_image(), env={"V": "1"}, platform="linux/amd64", build_platform="linux/amd64"
    )
    made = make_plan(file, options)
    assert isinstance(made, Plan)
    assert dict(runs(made)[0].env)["V"] == "1"


def test_an_argument_changes_a_run_only_from_its_line_on() -> None:
    text = "FROM base\nRUN before\nARG X\nRUN after\n"
    one, two = runs(plan(text, X="1")), runs(plan(text, X="2"))
    assert one[0].canonical() == two[0].canonical()
    assert one[1].canonical() != two[1].canonical()


def test_what_never_changes_a_key() -> None:
    plain = runs(plan("FROM base\nRUN x\n"))[0].canonical()
    assert runs(plan("FROM base\n# comment\nLABEL a=b\nEXPOSE 80\nCMD y\nRUN   x\n"))[0].canonical() == plain
    assert runs(plan("FROM base\nRUN x\n", HTTP_PROXY="http://proxy"))[0].canonical() == plain
    assert runs(plan("FROM base\nRUN --network=host x\n"))[0].canonical() == plain
    assert runs(plan("FROM base\nRUN --network=none x\n"))[0].canonical() != plain
    assert runs(plan("FROM base\nUSER u\nRUN x\n"))[0].canonical() != plain


def test_proxies_are_seen_without_being_declared() -> None:
    made = plan("FROM base\nRUN x\n", http_proxy="http://p", OTHER="1")
    assert runs(made)[0].proxies == (("http_proxy", "http://p"),)
    assert len(made.warnings) == 1
    assert "OTHER" in made.warnings[0]
    assert plan("FROM base AS a\nARG OTHER\nFROM base\n", OTHER="1").warnings == ()


def test_platform_arguments() -> None:
    made = plan("FROM --platform=$BUILDPLATFORM base\nARG TARGETARCH\nARG TARGETSTAGE\nRUN x\n")
    assert dict(runs(made)[0].env)["TARGETARCH"] == "amd64"
    assert dict(runs(made)[0].env)["TARGETSTAGE"] == "default"


def test_words_see_the_variables_from_before_their_instruction() -> None:
    made = plan("FROM base\nENV A=1\nENV A=2 B=$A\nRUN x\n")
    assert dict(runs(made)[0].env)["B"] == "1"


def test_destinations() -> None:
    made = plan("FROM base\nWORKDIR /w\nWORKDIR sub\nCOPY a b\nCOPY a ./\nCOPY a /x/../y/\nCOPY a .\n")
    steps = [node.step for node in made.nodes if isinstance(node.step, CopyStep)]
    assert [step.destination for step in steps] == ["/w/sub/b", "/w/sub/", "/y/", "/w/sub/"]


def test_triggers_run_in_the_child_and_are_gone() -> None:
    parent = base_image().with_onbuild("RUN first").with_onbuild("COPY x /x")
    made = plan("FROM parent\nRUN second\n", {"parent": parent})
    assert [type(node.step).__name__ for node in made.nodes] == ["BaseStep", "RunStep", "CopyStep", "RunStep"]
    assert made.config.onbuild == ()


def test_an_entry_point_clears_an_inherited_command() -> None:
    assert plan('FROM base\nENTRYPOINT ["x"]\n').config.cmd == ()
    assert plan('FROM base\nCMD ["y"]\nENTRYPOINT ["x"]\n').config.cmd == ("y",)
    assert plan("FROM base\n").config.cmd == ("sh",)


def test_the_finished_config_counts_layers_and_history() -> None:
    made = plan("FROM base\nENV A=1\nRUN x\nLABEL l=1\nWORKDIR /w\n")
    layers = {
        1: MadeLayer("sha256:" + "b" * 64, 1_700_000_000_000_000_000),
        2: MadeLayer("sha256:" + "c" * 64, 1_600_000_000_000_000_000),
    }
    config = finish_config(made, layers)
    assert config.diff_ids == (LAYER, layers[1].diff_id, layers[2].diff_id)
    assert [item.empty_layer for item in config.history] == [False, True, False, True, False]
    assert config.history[1].created == "2020-01-01T00:00:00Z"
    assert config.history[2].created == "2023-11-14T22:13:20Z"
    assert [item.created for item in config.history[2:]] == ["2023-11-14T22:13:20Z"] * 3, "none is older than its base"
    assert config.created == "2023-11-14T22:13:20Z"
    assert finish_config(made, layers).digest() == config.digest()


@pytest.mark.parametrize(
    ("of_base", "created"),
    [("2025-01-01T01:00:00+01:00", "2025-01-01T01:00:00+01:00"), ("yesterday", "2023-11-14T22:13:20Z")],
)
def test_an_image_is_no_older_than_its_base(of_base: str, created: str) -> None:
    made = plan("FROM base\nRUN one\nENV A=b\n", {"base": base_image().with_created(of_base)})
    config = finish_config(made, {1: MadeLayer("sha256:" + "b" * 64, 1_700_000_000_000_000_000)})
    assert {config.created, *(item.created for item in config.history[1:])} == {created}


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("FROM base AS a\nCOPY --from=b / /\nFROM base AS b\nCOPY --from=a / /\n", "in turn needs"),
        ("FROM base\nCOPY --from=7 / /\n", "no stage 7"),
        ("FROM base AS build\nFROM base\nCOPY --from=buidl / /\n", "did you mean build"),
        ("FROM $X\n", "empty"),
        ("FROM base\nEXPOSE 70000\n", "70000"),
        ("FROM base\nSTOPSIGNAL NOPE\n", "NOPE"),
        (f"FROM base\nADD --checksum=sha256:{'0' * 64} a /b\n", "from elsewhere"),
    ],
)
def test_what_is_refused(text: str, words: str) -> None:
    target = "b" if "in turn" in words else ""
    with pytest.raises(BuildFileError) as caught:
        plan(text, target=target)
    assert words in str(caught.value)
    assert str(caught.value).startswith("Buildfile:")


def test_an_unknown_target() -> None:
    with pytest.raises(UsageError, match="did you mean build"):
        plan("FROM base AS build\n", target="biuld")


@pytest.mark.parametrize(
    ("text", "working_dir"),
    [
        ("FROM scratch\n", "/"),
        ("WORKDIR /a/\n", "/a/"),
        ("WORKDIR /a//b/./c\n", "/a//b/./c"),
        ("WORKDIR /a/\nWORKDIR b/\n", "/a/b"),
        ("WORKDIR /a\nWORKDIR ..\n", "/"),
        ("WORKDIR /a\nWORKDIR $X\n", "/a"),
        ("WORKDIR $X\n", "/"),
    ],
)
def test_the_working_directory(text: str, working_dir: str) -> None:
    made = plan(text if text.startswith("FROM") else f"FROM base\n{text}")
    assert made.config.working_dir == working_dir


def test_empty_words_after_expansion() -> None:
    made = plan("FROM base\nUSER a\nUSER $X\nWORKDIR /w\nCOPY f $X\n")
    assert made.config.user == ""
    copy = made.nodes[-1].step
    assert isinstance(copy, CopyStep)
    assert copy.destination == "/w"


def contexts(*specs: str) -> dict[str, NamedContext]:
    return {context.key: context for context in map(parse_named, specs)}


@pytest.mark.parametrize(
    ("name", "image"),
    [
        ("busybox", "busybox"),
        ("busybox:latest", "busybox"),
        ("docker.io/library/busybox", "busybox"),
        ("busybox", "busybox:latest"),
        ("busybox", "docker.io/library/busybox:latest"),
        ("localhost:5000/x:latest", "localhost:5000/x"),
        ("localhost:5000/x", "localhost:5000/x:latest"),
        ("Base", "base"),
        ("busybox::linux/amd64", "busybox"),
    ],
)
def test_contexts_are_found_by_the_image_that_a_name_means(name: str, image: str) -> None:
    given = contexts(f"{name}=docker-image://base", "busybox::linux/arm64=docker-image://other")
    for text in (f"FROM {image}\n", f"FROM scratch\nCOPY --from={image} /a /b\n"):
        made = plan(text, contexts=given)
        assert "base" in [node.step.name for node in made.nodes if isinstance(node.step, BaseStep)]
        assert not any("base " in warning for warning in made.warnings)


@pytest.mark.parametrize("image", ["busybox:1", "docker.io/other/busybox", "localhost:5000/busybox"])
def test_contexts_replace_nothing_else(image: str) -> None:
    with pytest.raises(BuildFileError, match=f"no {image}"):
        plan(f"FROM {image}\n", contexts=contexts("busybox=docker-image://base"))


def test_the_files_of_a_context_are_a_stage() -> None:
    made = plan("FROM files AS a\nENV X=1\nFROM a\nCOPY --from=files b /c\n", contexts=contexts("files=../dir"))
    scratch, whole, copy = made.nodes
    assert isinstance(scratch.step, BaseStep)
    assert (scratch.step.name, whole.parent, copy.parent) == ("scratch", 0, 1)
    assert isinstance(whole.step, CopyStep)
    assert (whole.step.sources, whole.step.destination) == (("/",), "/")
    assert [one.context for node in (whole, copy) for one in node.inputs] == ["files", "files"]
    assert made.config.environment()["PATH"]


def test_a_context_replaces_a_stage_of_its_name() -> None:
    text = "FROM nowhere AS a\nRUN never\nFROM base\nCOPY --from=a /x /\nCOPY --from=0 /x /\n"
    made = plan(text, contexts=contexts("a=docker-image://base"))
    assert not runs(made)
    assert [one.node for node in made.nodes[1:] for one in node.inputs] == [0, 0]
    assert not runs(plan(text, contexts=contexts("a=docker-image://base"), target="a"))


def test_contexts_that_nothing_names_are_warned_of() -> None:
    text = "FROM base AS a\nCOPY --from=used /x /\nFROM base\nRUN --mount=from=too,target=/x y\n"
    made = plan(text, contexts=contexts("used=x", "too=x", "typo=x", "scratch=x"))
    assert [warning.split()[2] for warning in made.warnings] == ["typo", "scratch"]


def test_a_later_stage_is_no_source() -> None:
    for text, place in (
        ("FROM base AS a\nCOPY --from=b / /\nFROM base AS b\n", "Buildfile:2:13: cannot copy from"),
        ("FROM base AS a\nCOPY --from=1 / /\nFROM base AS b\n", "Buildfile:2:13: cannot copy from"),
        ("FROM base AS a\nRUN --mount=from=b,target=/x y\nFROM base AS b\n", "Buildfile:2:13: cannot mount from"),
    ):
        with pytest.raises(BuildFileError) as caught:
            plan(text, target="a")
        assert str(caught.value).startswith(place)
        assert "move the stage in front of this one" in caught.value.hint


def test_a_linked_copy_to_nothing_goes_into_the_working_directory() -> None:
    made = plan("FROM base\nWORKDIR /var/www\nCOPY --link file $empty\n")
    copy = made.nodes[-1].step
    assert isinstance(copy, CopyStep)
    assert copy.destination == "/var/www/"


def test_an_image_whose_config_nobody_would_read_is_not_planned() -> None:
    with pytest.raises(BuildFileError, match="config would be longer than 8388608 bytes") as caught:
        plan("FROM base\nARG a=" + "x" * 500_000 + "\n" + "RUN y\n" * 20)
    assert caught.value.span.start.line == 18


def test_a_long_chain_of_stages() -> None:
    chain = "".join(f"FROM s{number} AS s{number + 1}\n" for number in range(2000))
    assert len(plan(f"FROM base AS s0\n{chain}RUN x\n").nodes) == 2
    copies = "".join(f"FROM base AS s{number + 1}\nCOPY --from=s{number} / /\n" for number in range(1000))
    made = plan(f"FROM base AS s0\n{copies}")
    assert len(made.nodes) == 1001
    assert [node.stage for node in made.nodes[:3]] == ["s0", "s1", "s2"]

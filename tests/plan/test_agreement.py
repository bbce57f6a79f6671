"""A check, an outline and a plan of one file see the same stages, the same values and the same faults."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hypothesis import given, settings
from hypothesis import strategies as st

from buildah_py.buildfile import parse
from buildah_py.buildfile.checks import find, settings_of
from buildah_py.buildfile.outline import outline
from buildah_py.buildfile.stage import Base
from buildah_py.errors import BuildFileError, UsageError
from buildah_py.image import config as image_config
from buildah_py.image import platform as platforms
from buildah_py.plan import Plan, PlanOptions, make_plan

if TYPE_CHECKING:
    from buildah_py.buildfile.tree import BuildFile

PLATFORM = "linux/amd64"
BASE = (
    image_config.new(platforms.parse(PLATFORM))
    .with_env("X", "base")
    .with_working_dir("/base")
    .with_onbuild("ARG Y=trigger")
)

names = st.sampled_from(["X", "Y", "Z", "TARGETARCH", "TARGETSTAGE", "HTTP_PROXY"])
values = st.sampled_from(["", "1", "$X", "${Y}", "${Z:-d}", "${X:?}", "a$TARGETARCH", "${Y%1}", "'$X'", "'"])
stages = st.sampled_from(["base", "a", "b", "$X", "0", "1", "7", "Named", "B"])
instructions = st.one_of(
    st.builds("ENV {}={}".format, names, values),
    st.builds("ARG {}={}".format, names, values),
    st.builds("ARG {}".format, names),
    st.builds("UNSET ENV {}".format, names),
    st.builds("LABEL l={}".format, values),
    st.builds("WORKDIR {}".format, values),
    st.builds("USER {}".format, values),
    st.builds("EXPOSE {}".format, values),
    st.builds("STOPSIGNAL {}".format, values),
    st.builds("VOLUME {}".format, values),
    st.builds("RUN echo {}".format, names),
    st.builds("RUN --mount=from={},target=/{} x".format, stages, values),
    st.builds("RUN --mount=type=secret,id=s{} x".format, values),
    st.builds("COPY --from={} {} /x/".format, stages, values),
    st.builds("COPY --chmod=7{} x /x/".format, values),
    st.builds("ADD --checksum=sha256:{} x{} /x/".format, values, values),
    st.builds("COPY <<E /x\n{}\nE".format, values),
    st.builds("IF {}\nENV {}={}\nELSE\nARG {}={}\nEND".format, names, names, values, names, values),
    st.builds("ONBUILD ENV {}={}".format, names, values),
    st.builds("ONBUILD COPY --from={} x /x/".format, stages),
)
files = st.builds(
    lambda head, parts: "# syntax=pybuild/1\n" + "\n".join([*head, *(line for part in parts for line in part)]) + "\n",
    st.lists(st.builds("ARG {}={}".format, names, values), max_size=2),
    st.lists(
        st.builds(
            lambda start, body: [start, *body],
            st.builds(
                "FROM {}{}{}".format,
                st.sampled_from(["", "", "", "--platform=$TARGETPLATFORM "]),
                st.sampled_from(["base", "base", "a", "b", "scratch", "named", "$X"]),
                st.sampled_from(["", " AS a", " AS b", " AS B"]),
            ),
            st.lists(instructions, max_size=5),
        ),
        min_size=1,
        max_size=3,
    ),
)
arguments = st.dictionaries(names, st.sampled_from(["", "given", "a"]), max_size=2)


def planned(file: BuildFile, target: str, given_arguments: dict[str, str]) -> Plan:
    options = PlanOptions(
        resolve=lambda *_: BASE,
        build_args=given_arguments,
        target=target,
        platform=PLATFORM,
        build_platform=PLATFORM,
    )
    made = make_plan(file, options)
    assert isinstance(made, Plan)
    return made


@given(files, arguments, st.sampled_from(["a", "0", "1", "nope", "b"]))
@settings(max_examples=300)
def test_a_check_and_a_plan_find_the_same_fault(text: str, given_arguments: dict[str, str], target: str) -> None:
    try:
        file = parse(text, "Buildfile")
    except BuildFileError:
        return
    fault = ""
    try:
        planned(file, target, given_arguments)
    except (BuildFileError, UsageError) as error:
        fault = str(error)
    known = Base(BASE.environment(), PLATFORM, BASE.working_dir, BASE.onbuild)
    found = ""
    try:
        checked = find(
            file,
            build_args=given_arguments,
            target=target,
            platform=PLATFORM,
            bases=lambda name, _: None if name == "scratch" else known,
        ).error
        found = "" if checked is None else str(checked)
    except UsageError as usage:
        found = str(usage)
    assert found == fault


sets = st.one_of(
    st.builds("ENV {}={}".format, names, st.sampled_from(["", "1", "$X$Y", "${Z:-d}"])),
    st.builds("ARG {}={}".format, names, st.sampled_from(["", "2", "$Y$X", "a$TARGETARCH"])),
    st.builds("ARG {}".format, names),
)


@given(st.lists(sets, max_size=2), st.lists(sets, max_size=6), arguments, st.sampled_from(["", "0", "A"]))
@settings(max_examples=200)
def test_an_outline_says_what_steps_see(
    head: list[str], lines: list[str], given_arguments: dict[str, str], target: str
) -> None:
    text = "\n".join([*(line for line in head if line.startswith("ARG")), "FROM scratch AS a", *lines, "RUN x"])
    file = parse(text, "Buildfile")
    options = settings_of(build_args=given_arguments, target=target, platform=PLATFORM)
    outlined = {argument.name: argument.value for argument in outline(file, options).arguments}
    items = [item.created_by.partition(" ") for item in planned(file, target, given_arguments).history]
    pairs = [text.partition("=") for keyword, _, text in reversed(items) if keyword == "ARG"]
    assert outlined == {name: value for name, _, value in pairs}

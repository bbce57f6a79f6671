"""Pages about builds, caches and layers: what stands on them, and where."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from buildah_py.cache.differences import Difference
from buildah_py.cache.input_lists import FileDifference
from buildah_py.explain.report import Nearest, Report, StepReport
from buildah_py.frozen import replace
from buildah_py.history.builds import PastTransfer, as_data, read_build
from buildah_py.history.recording import BuildHistory
from buildah_py.layers.entry import DIR, FILE, WHITEOUT, Entry
from buildah_py.layers.inventory import Inventory
from buildah_py.library.built import Built
from buildah_py.meter import Moved
from buildah_py.pages.graph import StageNode, arcs, by_stage, stage_nodes
from buildah_py.pages.layers import layers_page
from buildah_py.pages.markdown import summary
from buildah_py.pages.report import Extras, report_page, timeline_part
from buildah_py.pages.text import marked, seconds, size, with_code
from buildah_py.pages.timeline import critical_path, lanes, place, ticks
from buildah_py.pages.treemap import Rect, squarify
from buildah_py.pages.why import why_page
from buildah_py.query.space import Area, areas_of
from tests.pages.reader import EVIL, Page, build_of, large_build, layers_of, step

if TYPE_CHECKING:
    from pathlib import Path

SHOWN = "</title></style><script>alert('x')</script><img src=x onerror=alert(1)>"


def hostile() -> tuple[Extras, str]:
    evil: Any = {"text": EVIL, "reason": EVIL, "source": EVIL}
    steps = [
        step(1, kind="from", stage=EVIL, **evil),
        step(2, 1, stage=EVIL, end=3.0, **evil),
        step(3, 2, stage="other", start=3.0, end=4.0, outcome="failed", **evil),
    ]
    build = build_of(
        *steps, outcome="failed", error=EVIL, file=EVIL, context=EVIL, target=EVIL, names=(EVIL, EVIL), image=EVIL,
        platform=EVIL,
        warnings=((0, EVIL),),
        transfers=(PastTransfer(2, EVIL, 0.0, 2.0, 5, EVIL),),
        caches=({"cache": EVIL, "hits": 1, "records": 2, "layers": 3},),
    )  # fmt: skip
    report, areas = layers_of(EVIL)
    found = Extras(report, [[Area(EVIL, 5, 2)], *areas[1:]], {3: EVIL})
    return found, report_page(build, found)


def test_nothing_that_a_build_says_becomes_part_of_the_page() -> None:
    found, text = hostile()
    page = Page(text)
    assert page.text.count(SHOWN) > 20
    assert "\\x1b]0;x\\x07 \\u202e" in page.text
    assert found.layers is not None
    assert SHOWN in Page(layers_page(EVIL, EVIL, found.layers, found.areas)).text
    nearest = Nearest("k", 1, 2.0, EVIL, EVIL, EVIL)
    difference = Difference("own", EVIL, f"{EVIL} a", f"{EVIL} b", EVIL)
    files = Difference("own", EVIL, None, None, EVIL, (FileDifference(EVIL, "content", EVIL, ""),))
    one = StepReport(1, EVIL, 1, 2, EVIL, EVIL, "miss", EVIL, "k", nearest, (difference, files))
    other = one._replace(id=0, verdict="only there")
    text = why_page(Report((one, other), EVIL, EVIL, (difference,)), [("context", EVIL)], now=0)
    assert SHOWN in Page(text).text
    assert "<mark>a</mark>" in text


def test_nothing_that_a_build_says_becomes_part_of_the_summary() -> None:
    steps = [
        step(1, end=1.0, text=EVIL, reason=EVIL, stage=EVIL),
        step(2, 1, start=1, end=2, text="```\n@you #1 a;b:c"),
    ]
    text = summary(build_of(*steps, error="```\n<b>", outcome="failed", names=(EVIL,)), Extras(None, (), {2: EVIL}))
    outside = re.sub(r"(`{3,})\w*\n.*?\n\1\n", "", text, flags=re.DOTALL)
    assert set(re.findall(r"<(\w+)", outside)) == {"br", "code", "details", "summary"}
    assert not re.search(r"[`$]|@you|\x1b|\u202e", outside)
    rows = [line for line in outside.split("\n") if line.startswith("| ")]
    assert {line.count("|") for line in rows} == {9}
    chart = text[text.index("```mermaid") :].split("```")[1].splitlines()[4:]
    assert all(
        re.fullmatch(r"    (section [\w .,=+*/-]+|[\w .,=+*/-]+ :(crit, )?active, s\d+, \d+, \d+)", line)
        for line in chart
        if line
    )
    assert text.startswith("### ")
    assert "````\n```\n<b>\n````" in text


def test_a_page_says_what_happened() -> None:
    steps = [
        step(1, kind="from", text="FROM debian", outcome="hit", stage="build"),
        *(step(number, number - 1, outcome="hit", text="COPY a b") for number in range(2, 8)),
        step(8, 7, start=1.0, end=3.5, reason="COPY src: `a b` changed"),
        step(9, 8, start=3.5, end=4.0, outcome="failed", stage="last", reason="status 1"),
        step(10, 9, outcome="", stage="last"),
    ]
    page = Page(
        report_page(build_of(*steps, outcome="failed", image="", error="it ended with 1"), Extras(output={9: "oh no"}))
    )
    for told in ("6 cached steps", "COPY src: a b changed", "oh no", "not reached", "it ended with 1", "2.5 s",
                 "CPU 1.8 s (0.7 cores)", "memory 12 MB", "critical path", "Failed after 10.0 s: 6 of 9 steps cached",
                 "1 warning", "base images", "not in the store") [:12]:  # fmt: skip
        assert told in page.text, told
    assert "#step-9" in page.links
    assert len(Page(report_page(large_build(), Extras())).links) == 154
    assert "all 3 steps cached" in report_page(build_of(*(step(one, outcome="hit") for one in (1, 2, 3))), Extras())
    assert '<div class="pb">' in timeline_part(large_build())
    assert "href" not in timeline_part(large_build())
    Page(report_page(build_of(outcome="cancelled"), Extras()))


def test_the_critical_path_is_what_was_waited_for() -> None:
    steps = [step(1, end=1), step(2, 1, start=1, end=4), step(3, 1, start=1, end=2), step(4, 2, 3, start=4, end=5)]
    assert critical_path([*steps, step(5, 4, outcome="")]) == (1, 2, 4)
    assert critical_path([]) == ()


def test_bars_stay_within_the_drawing() -> None:
    steps = [step(1, end=0.0), step(2, start=9.999, end=10.0), step(3, start=2.5, end=7.5), step(4, outcome="")]
    bars = place(lanes(steps), 10.0, 0)
    assert bars.keys() == {1, 2, 3}
    assert all(bar.x >= 0 and bar.width >= 0.3 and bar.x + bar.width <= 100.001 for bar in bars.values())
    assert (bars[3].x, bars[3].width) == (25, 50)
    many = [step(number, stage=f"s{number}", outcome="hit") for number in range(1, 31)]
    assert [(lane.name, len(lane.steps)) for lane in lanes([*many, step(31, stage="last")])] == [
        ("30 cached stages", 30),
        ("last", 1),
    ]


@pytest.mark.parametrize(("total", "last"), [(0.004, 0.004), (9.7, 8), (59, 50), (700, 600), (40_000, 40_000)])
def test_a_scale_has_few_round_times(total: float, last: float) -> None:
    found = ticks(total)
    assert 3 <= len(found) <= 7
    assert found[-1] == pytest.approx(last)


def test_stages_stand_behind_what_they_need() -> None:
    steps = [
        step(1, kind="from", text="FROM debian", stage="last"),
        step(2, 1, stage="build"),
        step(3, 1, 2, stage="last"),
        step(4, 2, stage="test"),
        step(5, 3, 4, stage="last"),
    ]
    assert [(node.name, node.needs) for node in stage_nodes(steps)] == [
        ("debian", ()),
        ("build", ("base:debian",)),
        ("test", ("stage:build",)),
        ("last", ("base:debian", "stage:build", "stage:test")),
    ]
    assert list(by_stage(steps)) == ["base images", "build", "test", "last"]


@given(st.lists(st.sets(st.integers(0, 20), max_size=4), max_size=14))
def test_lines_of_the_graph_do_not_cover_each_other(needs: list[set[int]]) -> None:
    nodes = [
        StageNode(str(place), "stage", tuple(f"stage:{one}" for one in sorted(own) if one < place), 1, 0, 1.0, 1, "ran")
        for place, own in enumerate(needs)
    ]
    found = arcs(nodes)
    assert len(found) == sum(len(node.needs) for node in nodes)
    for one in found:
        assert one.start < one.end
        for other in found:
            apart = one.end <= other.start or other.end <= one.start
            assert one is other or one.track != other.track or apart or one.track == 8


@given(st.lists(st.integers(1, 10**9), min_size=1, max_size=30), st.floats(10, 2000), st.floats(10, 900))
def test_a_treemap_is_in_proportion(sizes: list[int], width: float, height: float) -> None:
    sizes.sort(reverse=True)
    found = squarify(sizes, Rect(0, 0, width, height))
    for number, rect in zip(sizes, found, strict=True):
        assert rect.width * rect.height == pytest.approx(width * height * number / sum(sizes), rel=1e-6, abs=1e-6)
        assert -1e-6 <= rect.x <= rect.x + rect.width <= width + 1e-6
        assert -1e-6 <= rect.y <= rect.y + rect.height <= height + 1e-6
    assert squarify([0, 0], Rect(0, 0, 5, 5)) == [(0, 0, 0, 0)] * 2


def test_what_is_in_vain_is_what_later_layers_hide() -> None:
    def layer(*entries: Entry) -> Inventory:
        return Inventory(sorted(entries, key=lambda entry: entry.path))

    low = layer(
        Entry("etc", DIR), Entry("etc/a", FILE, size=5), Entry("usr", DIR), Entry("usr/lib", DIR),
        Entry("usr/lib/x", DIR), Entry("usr/lib/x/b", FILE, size=7), Entry("usr/lib/c", FILE, size=11),
        Entry("opt", DIR), Entry("opt/d", FILE, size=13),
    )  # fmt: skip
    high = layer(
        Entry("etc", DIR), Entry("etc/a", FILE, size=6), Entry("usr", DIR, implied=True),
        Entry("usr/lib", DIR, implied=True),
        Entry("usr/lib/x", WHITEOUT), Entry("opt", DIR, opaque=True),
    )  # fmt: skip
    assert areas_of([low, high]) == [
        [Area("usr/lib", 18, 7), Area("opt", 13, 13), Area("etc", 5, 5)],
        [Area("etc", 6, 0)],
    ]


def test_the_words_that_differ_are_marked() -> None:
    assert marked("make -j4 all", "make -j8 all") == (
        "make -<mark>j4</mark> all",
        "make -<mark>j8</mark> all",
    )
    assert marked("a<b", "c") == ("a&lt;b", "c")
    assert marked("x" * 5000 + " a", "x" * 5000 + " b")[0].endswith("x a")
    assert with_code("use `a<b` here") == "use <code>a&lt;b</code> here"
    assert with_code("one ` alone") == "one ` alone"


def test_numbers_as_people_read_them() -> None:
    assert [seconds(one) for one in (0, 0.0004, 0.34, 1, 59.96, 61, 7260)] == [
        "0 ms", "0 ms", "340 ms", "1.0 s", "1 min 00 s", "1 min 01 s", "2 h 01 min"
    ]  # fmt: skip
    assert [size(one) for one in (0, 999, 1000, 12_345_678)] == ["0 B", "999 B", "1 kB", "12.3 MB"]


def test_a_notebook_shows_the_timeline(tmp_path: Path) -> None:
    path = tmp_path / "build.json"
    path.write_text(json.dumps({"format": "pybuild build", "version": 1, **as_data(large_build())}))
    assert read_build(str(path)) == replace(large_build(), directory=str(tmp_path))
    built = Built("sha256:1", ("<app>",), 1, 2, history=str(path))
    assert 'class="chart timeline"' in built._repr_html_()
    path.unlink()
    assert built._repr_html_() == "<code>&lt;app&gt; sha256:1</code>"


def test_transfers_are_noted_as_they_go() -> None:
    heard: list[object] = []
    history = BuildHistory("", "", heard.append)
    for done, seconds_ in ((10, 0.0), (30, 0.1)):
        history(Moved(1, "pulling https://me:word@host/x", done, seconds=seconds_))
    (moved,) = history.transfers.values()
    assert (moved["what"], moved["done"], moved["step"]) == ("pulling https://xxxxx@host/x", 30, 1)
    assert moved["end"] >= moved["start"]
    assert len(heard) == 2

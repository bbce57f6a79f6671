"""Pages as a browser shows them: on a phone and a desk, light and dark, by keyboard alone."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from buildah_py.explain.report import Nearest, Report, StepReport
from buildah_py.pages.layers import layers_page
from buildah_py.pages.report import Extras, report_page
from buildah_py.pages.why import why_page
from tests.browser import CHROMIUM, browser
from tests.pages.reader import large_build, layers_of

if TYPE_CHECKING:
    from pathlib import Path

    from tests.browser import Browser

pytestmark = pytest.mark.skipif(not CHROMIUM, reason="needs chromium")
LONG = "RUN " + "a_word_without_any_blank" * 40
TAB, ENTER = 9, 13


def pages(directory: Path) -> list[Path]:
    report, areas = layers_of(LONG)
    nearest = Nearest("k", 10**18, 2.0, "1.0", LONG, "")
    steps = tuple(
        StepReport(one, "build", one, 12, LONG, "Dockerfile:1", "miss" if one == 7 else "hit", "", "k", nearest)
        for one in range(1, 13)
    )
    texts = {
        "build": report_page(large_build(), Extras(report, areas, {})),
        "layers": layers_page("app", "sha256:" + "5" * 64, report, areas),
        "why": why_page(Report(steps), [("context", LONG)]),
    }
    for name, text in texts.items():
        (directory / f"{name}.html").write_text(text)
    return [directory / f"{name}.html" for name in texts]


def test_pages_in_a_browser(tmp_path: Path) -> None:
    with browser(tmp_path / "profile") as tab:
        for path in pages(tmp_path):
            backgrounds = set()
            for width, dark in ((390, False), (1280, True)):
                tab.open(path, width, dark=dark)
                assert tab.value("document.documentElement.scrollWidth") <= width, path
                assert tab.requests == [path.as_uri()]
                assert tab.messages == []
                backgrounds.add(tab.value("getComputedStyle(document.body).backgroundColor"))
            assert len(backgrounds) == 2
            wanted = {"build": {"A"}, "layers": {"BODY"}, "why": {"A", "INPUT", "SUMMARY"}}
            assert wanted[path.stem] <= walk(tab, 4), path
        tab.open(tmp_path / "build.html", 390)
        follow_a_bar(tab)
        tab.open(tmp_path / "why.html", 390)
        filter_steps(tab)


def walk(tab: Browser, presses: int) -> set[str]:
    """Press Tab; the names of what had the focus."""
    found = set()
    for _ in range(presses):
        tab.press("Tab", TAB)
        found.add(tab.value("document.activeElement.tagName.toUpperCase()"))
    return found


def follow_a_bar(tab: Browser) -> None:
    """A bar of the timeline leads to its step, by keyboard, also where that is folded."""
    tab.value("document.querySelector('a[href=\"#step-3\"]').focus()")
    assert not tab.value("document.getElementById('step-3').checkVisibility()")
    tab.press("Enter", ENTER)
    assert tab.value("location.hash") == "#step-3"
    assert tab.value("new Promise(done => setTimeout(() => done(1), 50))", wait=True) == 1
    assert tab.value("document.getElementById('step-3').checkVisibility()")


def filter_steps(tab: Browser) -> None:
    """What is typed leaves the steps that hold it."""
    tab.value("document.querySelector('.filter').focus()")
    tab.call("Input.insertText", text="#7 ")
    assert tab.value("[...document.querySelectorAll('li[id]:not(.hidden)')].map(one => one.id).join()") == "step-7"

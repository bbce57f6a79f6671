"""The picture at the top of the README: what is drawn of a screen, and that it is one of the program as it is now."""

from __future__ import annotations

import json
import re
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import pytest

from tests.end_to_end.conftest import PYBUILD

HERE = Path(__file__).parent.parent
PICTURES = HERE / "docs" / "pictures"
SVG = "{http://www.w3.org/2000/svg}"


@pytest.fixture(scope="module")
def script() -> Any:
    spec = spec_from_file_location("make_picture", HERE / "scripts" / "make_picture.py")
    assert spec is not None
    assert spec.loader is not None
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def cast(*events: tuple[float, str]) -> str:
    header = {"version": 2, "width": 40, "height": 10}
    return "\n".join(json.dumps(line) for line in [header, *([at, "o", data] for at, data in events)])


def test_a_screen_is_drawn(script: Any) -> None:
    running, over = "\rworking 50 %", "\r\x1b[J\x1b[32m*\x1b[0m <a> & b   \x1b[2mDONE\x1b[0m\r\n"
    text = script.draw(cast((0.0, "$ \x1b[1mmake\x1b[0m\r\n"), (0.2, running), (0.4, over), (99, "\x1b[31mend\x1b[0m")))
    assert re.search(r"prefers-color-scheme:dark.*\.green\{fill:#", text, re.DOTALL)
    drawn = [
        [(float(one.attrib["x"]), int(one.attrib["y"]), one.attrib.get("class"), one.text) for one in line]
        for line in ET.fromstring(text).iter(f"{SVG}g")
    ]
    cell, edge = 8.4, 16
    assert drawn == [
        [(edge, 30, None, "$"), (edge + 2 * cell, 30, "bold", "make")],
        [
            (edge, 50, "green", "*"),
            (edge + 2 * cell, 50, None, "<a> & b"),
            (pytest.approx(edge + 12 * cell), 50, "brightblack", "DONE"),
        ],
        [(edge, 70, "red", "end")],
    ]
    delays = [float(one) for one in re.findall(r"animation-delay:([\d.]+)s", text)]
    assert delays == [0.9, 1.3, 1.9]  # a command's pause, what was waited for, and no more than that


def test_the_picture_is_that_of_the_recording(script: Any) -> None:
    text = (PICTURES / "build.svg").read_text()
    assert text == script.draw((PICTURES / "build.cast").read_text()), "run scripts/make_picture.py"
    assert len(text) < 60_000
    assert "](docs/pictures/build.svg)" in (HERE / "README.md").read_text()


@pytest.mark.root
def test_the_recording_is_one_of_this_program(script: Any) -> None:
    def words(recording: str) -> list[str]:
        lines = [" ".join(run.text for run in row.runs) for row in script.read(recording)]
        lines = [re.sub(r"\(?[\d.]+s CPU, \d+ [kM]B\)?|, [\d.]+s CPU, \d+ [kM]B", "", line) for line in lines]
        return [re.sub(r"\b[\d.]+s\b|sha256:\w+|\s+", " ", line) for line in lines]

    assert words(script.record(PYBUILD)) == words((PICTURES / "build.cast").read_text()), (
        "run scripts/make_picture.py --record"
    )

"""What a page may hold, and builds to make pages of."""

from __future__ import annotations

import re
from html.parser import HTMLParser

from buildah_py.history.builds import PastBuild, PastStep, PastTransfer, Phase
from buildah_py.query.image import Hidden, LargeFile, LayerReport, LayersReport
from buildah_py.query.space import Area

EVIL = "</title></style><script>alert('x')</script><img src=x onerror=alert(1)> `$(x)` \x1b]0;x\x07 \u202e & | \udcff"
VOID = frozenset(("meta", "br", "link", "input"))
_TAGS = """html head meta link title style script body header main footer section h1 h2 h3 p a b ul ol li dl dt dd div
span details summary table tr th td code pre mark time input svg g path circle rect line text defs pattern"""
TAGS = frozenset(_TAGS.split())


class Page(HTMLParser):
    """Reads a page, and fails where something is in it that nobody has meant."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.ids: list[str] = []
        self.links: list[str] = []
        self.text = ""
        self.feed(text)
        assert self.open == []
        assert len(set(self.ids)) == len(self.ids)
        assert {f"#{one}" for one in self.ids} >= set(self.links)
        assert text.count("<script>") == text.count("<style>") == 1
        assert not re.search("[\x00-\x09\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]", text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert tag in TAGS, tag
        for name, value in attrs:
            assert not name.startswith("on")
            assert name not in ("src", "style", "xlink:href")
            if name == "href" and value != "data:,":
                assert value is not None
                assert value.startswith("#")
                self.links.append(value)
            if name == "id":
                self.ids.append(str(value))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data


def step(
    number: int, *depends: int, stage: str = "build", start: float = 0.0, end: float = 0.0, **more: object
) -> PastStep:
    """Make a step."""
    values: dict[str, object] = {
        "number": number,
        "total": 9,
        "text": f"RUN make part {number}",
        "line": number,
        "kind": "run",
        "outcome": "ran",
        "reason": "no record: first build",
        "same": False,
        "source": "",
        "cpu": (end - start) * 0.7,
        "memory": 12_000_000,
        "bytes": 3_000_000,
        "layer": "sha256:1",
    }
    return PastStep(id=number, stage=stage, depends=depends, start=start, end=end, **{**values, **more})  # type: ignore[arg-type]


def build_of(*steps: PastStep, seconds: float = 10.0, **more: object) -> PastBuild:
    """Make a build of steps."""
    values: dict[str, object] = {
        "id": "b123456789",
        "created": 1_796_000_000.5,
        "outcome": "done",
        "error": "",
        "file": "/src/Dockerfile",
        "context": "/src",
        "target": "",
        "platform": "linux/amd64",
        "names": ("registry.example.org/team/app:1.4",),
        "image": f"sha256:{'5' * 64}",
        "phases": (Phase("prepare", 0.0, 0.2), Phase("steps", 0.2, 9.0), Phase("outputs", 9.0, seconds)),
        "caches": (),
        "transfers": (PastTransfer(0, "pulling debian", 0.1, 0.4, 80_000_000, "bytes"),),
        "warnings": ((0, "Dockerfile:3: a `word` is not meant so"),),
        "notes": (),
    }
    return PastBuild(seconds=seconds, steps=steps, **{**values, **more})  # type: ignore[arg-type]


def large_build(stages: int = 9, steps: int = 17) -> PastBuild:
    """Make a build of many steps in stages that are executed side by side, a base image below each."""
    found = [step(1, kind="from", text="FROM debian:bookworm", outcome="hit", stage="stage-0", cpu=0.0)]
    for stage in range(stages):
        start = 0.3 + stage / 10
        for place in range(steps):
            number = len(found) + 1
            hit = (stage + place) % 5 != 0
            end = start + (0.002 if hit else 0.4)
            depends = (1,) if not place else (number - 1, 2) if stage and place == 3 else (number - 1,)
            found.append(
                step(number, *depends, stage=f"stage-{stage}", start=start, end=end, outcome="hit" if hit else "ran")
            )
            start = end
    return build_of(*found)


def layers_of(name: str = "RUN make") -> tuple[LayersReport, list[list[Area]]]:
    """Make what is known of three layers, one of which hides what another has."""
    layers = [
        LayerReport(f"sha256:{place}", f"{name} {place}", size, size, 9, 1, 0, wasted)
        for place, (size, wasted) in enumerate(((40_000_000, 0), (9_000_000, 0), (3000, 6_000_000)))
    ]
    report = LayersReport(layers, [LargeFile("usr/lib/libx.so", 30_000_000, 0)], [Hidden("var/cache/x", 6_000_000, 1)])
    areas = [[Area("usr/lib", 30_000_000, 0), Area("", 9_000_000, 0)], [Area("var/cache", 9_000_000, 6_000_000)], []]
    return report, areas

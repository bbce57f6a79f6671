"""What builds leave behind: records, what steps printed, and the pages that are made of them."""

from __future__ import annotations

import json
import re
import stat
from typing import TYPE_CHECKING

import pytest

from tests.pages.reader import Page

if TYPE_CHECKING:
    from tests.end_to_end.conftest import Pybuild

TEXT = """FROM busybox AS make
RUN echo made; echo x >/x
FROM busybox
COPY --from=make /x /x
RUN echo https://me:word@host/ </x; cat /run/secrets/none 2>/dev/null; echo over >&2
"""


@pytest.mark.either_user
def test_builds_and_their_logs(busybox: Pybuild) -> None:
    context = busybox.context(TEXT)
    busybox.build(context)
    busybox.build(context)
    (context / "Buildfile").write_text(TEXT + "RUN echo no; exit 3\n")
    busybox.build(context, status=3)
    failed, hits, first = busybox.run("builds").stdout.splitlines()[1:]
    assert [line.split()[-3:] for line in (failed, hits, first)] == [
        ["3/3", "FAILED", "-"],
        ["3/3", "DONE", "test:latest"],
        ["0/3", "DONE", "test:latest"],
    ]
    assert busybox.run("logs", "^2", "make/1").stdout == "made\n"
    assert busybox.run("logs", "^2").stdout.count("\nhttps://me:word@host/\nover\n") == 1
    assert busybox.run("logs").stdout.endswith("RUN echo no; exit 3\nno\n")
    assert "printed nothing" in busybox.run("logs", "test").stderr
    (shown,) = json.loads(busybox.run("builds", "^2", "--format=json").stdout)["builds"]
    assert (shown["outcome"], shown["names"], shown["error"]) == ("done", ["test:latest"], "")
    made, copied, ran = (step for step in shown["steps"] if step["kind"] != "from")
    assert (made["stage"], made["outcome"], made["reason"]) == ("make", "ran", "no record: first build")
    assert (copied["depends"], ran["depends"]) == ([1, made["id"]], [copied["id"]])
    assert "https://xxxxx@host/" in ran["text"]
    assert 0 < made["start"] < made["end"] <= copied["start"] < ran["end"] < shown["seconds"]
    assert min(made["bytes"], ran["bytes"], ran["memory"]) > 0
    assert "clean" in busybox.run("fsck").stdout
    kept = [path for path in (busybox.root / "logs").rglob("*") if path.name != "logs"]
    assert {stat.S_IMODE(path.stat().st_mode) for path in kept} == {0o700, 0o600}
    (context / "Buildfile").write_text("FROM busybox\nRUN --mount=type=secret,id=a cat /run/secrets/a; echo =\n")
    (busybox.work / "secret").write_text("one hidden line\nanother\n")
    assert "another" in busybox.build(context, "--secret", "id=a,src=secret").shown
    assert busybox.run("logs", "^0", "2").stdout == "***\n=\n"
    busybox.run("-q", "-t", "registry.example.org/a/team/app:1.42", "--secret", "id=a,src=secret", context)
    shown = busybox.run("builds").stdout
    assert "…g/a/team/app:1.42" in shown
    steps = busybox.run("builds", "^2").stdout.partition("\nSTEP ")[2]
    assert max(map(len, shown.splitlines() + steps.splitlines())) <= 80
    busybox.run("prune", "--all", "--force")
    assert len(busybox.run("builds").stdout.splitlines()) == 1
    assert "no build is remembered here" in busybox.run("logs", status=125).stderr


def test_reports_of_builds(busybox: Pybuild) -> None:
    context = busybox.context(TEXT + "RUN rm /x; echo '<b>bold</b>'\nCMD /x\n")
    busybox.build(context, "--report", "report.html", "-o", "type=oci,dest=image.tar")
    page = Page((busybox.work / "report.html").read_text())
    for told in (
        "test:latest",
        "0 of 4 steps cached",
        "RUN rm /x; echo '<b>bold</b>'",
        "exported",
        "critical path",
        "base images",
        "1 warning",
        "Where the bytes are",
        "Largest files",
        "/bin/busybox",
        "In vain",
    ):
        assert told in page.text, told
    assert "wrote the report" in busybox.run("report", "test", "-o", "again.md").stdout
    assert "```mermaid\ngantt\n" in (busybox.work / "again.md").read_text()
    assert busybox.run("report", "-o", "-").stdout.startswith("<!DOCTYPE html>")
    busybox.run("layers", "test", "--html", "layers.html")
    assert "/bin/busybox" in Page((busybox.work / "layers.html").read_text()).text
    (context / "Buildfile").write_text(TEXT + "RUN echo alas; exit 3\n")
    failed = busybox.build(context, "--report", "failed.html", status=3)
    assert "warning" not in failed.shown
    page = Page((busybox.work / "failed.html").read_text())
    assert page.text.count("alas") > 2
    assert "Failed after" in page.text
    assert "there is no report" in busybox.build(context, "--report", "none/x.html", status=3).shown
    assert "FILE.html or FILE.md" in busybox.build(context, "--report", "x.pdf", status=2).shown


@pytest.mark.root
def test_the_trend_of_what_is_built_again_and_again(busybox: Pybuild) -> None:
    context = busybox.context(TEXT)
    for options in ((), (), ("--no-cache",)):
        busybox.build(context, *options)
    (context / "Buildfile").write_text(TEXT.replace("echo made", "exit 4"))
    busybox.build(context, status=4)
    busybox.run("-q", "-t", "other", busybox.context("FROM busybox\nLABEL a=b\n", "other"))
    other, test = (line.split() for line in busybox.run("builds", "--trend").stdout.splitlines()[1:])
    assert (other[:2], test[:2], test[4], len(test[5])) == (["other:latest", "1"], ["test:latest", "4"], "33%", 4)
    (trend,) = json.loads(busybox.run("builds", "--trend", "test", "--format=json").stdout)["trends"]
    assert [(one["hits"], one["ran"], one["outcome"]) for one in trend["builds"]] == [
        (0, 3, "done"),
        (3, 0, "done"),
        (0, 3, "done"),
    ], "up to the one that was asked for"
    assert sorted(one["seconds"] for one in trend["builds"])[1] == trend["usual"]
    busybox.run("report", "-o", busybox.work / "page.html", "^1")
    text = (busybox.work / "page.html").read_text()
    assert "The last 4 builds" in Page(text).text
    chart = text.partition('aria-label="Durations')[2].partition("</svg>")[0]
    assert re.findall('<g class="(.*?)"><title>', chart) == ["ran", "hit", "ran", "failed"]
    busybox.run("report", "-o", busybox.work / "page.html", "other")
    assert "builds</h2>" not in (busybox.work / "page.html").read_text()


def test_a_build_file_that_does_not_parse_leaves_a_record(busybox: Pybuild) -> None:
    context = busybox.context("FROM busybox\nRUM echo\n")
    busybox.build(context, "--report", busybox.work / "page.html", status=125)
    assert (busybox.work / "page.html").is_file()
    (shown,) = json.loads(busybox.run("builds", "--format=json").stdout)["builds"]
    file = str(context / "Buildfile")
    assert (shown["outcome"], shown["context"], shown["file"]) == ("failed", str(context), file)
    assert f"{file}:2:1: unknown instruction: RUM" in shown["error"]
    assert "FAILED" in busybox.run("builds").stdout
    assert "unknown instruction: RUM\n  RUM echo\n  ^^^" in busybox.run("logs").stderr


def test_a_record_that_cannot_be_written_fails_no_build(busybox: Pybuild) -> None:
    context = busybox.context("FROM busybox\nWORKDIR /srv\n")
    busybox.build(context)
    (busybox.root / "logs").rename(busybox.root / "elsewhere")
    (busybox.root / "logs").write_text("")
    assert busybox.build(context).outcomes() == ["HIT"]
    (busybox.root / "logs").unlink()
    assert len(busybox.run("builds").stdout.splitlines()) == 1

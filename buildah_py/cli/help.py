"""`pybuild help`: the commands, one of them, or a page of the documentation."""

from __future__ import annotations

import os
import re
import textwrap
from typing import TYPE_CHECKING

from buildah_py.cli.printing import say, say_exactly
from buildah_py.errors import NotFound

if TYPE_CHECKING:
    import argparse
    from collections.abc import Mapping


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument("topic", metavar="COMMAND|TOPIC[#SECTION]", nargs="?", default="", help="what it is about")


def run(args: argparse.Namespace) -> int:
    """Print a page; the help of commands is the program's own business."""
    topic, _, section = args.topic.partition("#")
    pages = topics()
    if topic not in pages:
        from buildah_py.suggest import did_you_mean

        known = ", ".join(sorted(pages))
        raise NotFound(
            f"there is neither a command nor a topic {args.topic}",
            hint=did_you_mean(topic, pages) or f"`pybuild help` lists the commands; the topics are {known}",
        )
    with open(pages[topic], encoding="utf-8") as file:
        text = file.read()
    say_exactly(_section(text, section) if section else text.rstrip())
    return 0


def topics() -> Mapping[str, str]:
    """Return the pages by name: those that were installed with the package, else those of the checkout."""
    package = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    for directory in (os.path.join(package, "docs"), os.path.join(os.path.dirname(package), "docs")):
        if os.path.isfile(os.path.join(directory, "configuration.md")):
            return {**_pages(os.path.join(directory, "how-to")), **_pages(directory)}
    return {}


def _pages(directory: str) -> dict[str, str]:
    """Return the pages of a directory, {} where there is none."""
    names = sorted(os.listdir(directory)) if os.path.isdir(directory) else []
    return {name.removesuffix(".md"): os.path.join(directory, name) for name in names if name.endswith(".md")}


def _section(text: str, wanted: str) -> str:
    """Return a section with what stands below its head. Raises NotFound."""
    heads = list(re.finditer(r"^(#+) +(.*)$", text, re.MULTILINE))
    slugs = [re.sub(r"[^\w -]", "", head[2]).strip().lower().replace(" ", "-") for head in heads]
    if wanted not in slugs:
        raise NotFound(f"the page has no section {wanted}", hint=f"its sections are {', '.join(slugs)}")
    head = heads[slugs.index(wanted)]
    later = (one.start() for one in heads if one.start() > head.start() and len(one[1]) <= len(head[1]))
    return text[head.start() : next(later, len(text))].rstrip()


def overview(commands: Mapping[str, str]) -> str:
    """Return what `pybuild --help` prints."""
    from buildah_py.cli.examples import OVERVIEW, shown

    width = max(map(len, commands))
    return "\n".join(
        [
            "usage: pybuild [build] [-f FILE] [-t NAME[:TAG]] [OPTION…] CONTEXT",
            "       pybuild COMMAND [OPTION…] [ARGUMENT…]",
            "",
            "Builds OCI images from Dockerfiles: no daemon, root or not.",
            "",
            shown(OVERVIEW, 80),
            "",
            "commands:",
            *(f"  {name:<{width}}  {text}" for name, text in commands.items()),
            "",
            textwrap.fill(", ".join(topics()), 80, initial_indent="topics: ", subsequent_indent="        "),
            "",
            "`pybuild help COMMAND` and `pybuild help TOPIC` tell more.",
            "With --debug, each command says what it does.",
        ]
    )


def say_overview(commands: Mapping[str, str]) -> None:
    """Print it."""
    say(overview(commands))

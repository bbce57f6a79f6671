"""`pybuild info`: facts about the program and the machine, by the names that docker gives them."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from buildah_py.cli.printing import say, say_data, say_exactly

if TYPE_CHECKING:
    import argparse


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument(
        "-f", "--format", metavar="TEMPLATE", default="", help="json, or a Go template such as '{{.DockerRootDir}}'"
    )


def run(args: argparse.Namespace) -> int:
    """Print the facts."""
    from buildah_py.api.facts import machine_facts

    facts = machine_facts(os.environ)
    if args.format == "json":
        say_data(facts)
    elif args.format:
        from buildah_py.cli.template import render

        say_exactly(render(args.format, facts))
    else:
        from buildah_py.cli.tables import human

        facts["MemTotal"] = human(facts["MemTotal"])
        width = max(map(len, facts))
        for name, value in facts.items():
            say(f"{name + ':':<{width + 1}} {', '.join(value) if isinstance(value, list) else value}")
    return 0

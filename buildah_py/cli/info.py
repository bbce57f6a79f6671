"""`pybuild info`: facts about the program and the machine, by the names that docker gives them."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from buildah_py.cli.printing import say, say_data, say_exactly

if TYPE_CHECKING:
    import argparse


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument(
        "-f", "--format", metavar="TEMPLATE", default="", help="json, or a Go template such as '{{.DockerRootDir}}'"
    )
    parser.add_argument(
        "--as", choices=("inspect", "ls"), default="", dest="shape", help="as `docker buildx` prints its one builder"
    )
    parser.add_argument("names", metavar="BUILDER", nargs="*", help="what `docker buildx inspect` is given")
    parser.add_argument("--bootstrap", action="store_true", help="accepted and without effect: nothing has to start")


def run(args: argparse.Namespace) -> int:
    """Print the facts."""
    facts = _facts()
    if args.format == "json":
        say_data(facts)
    elif args.format:
        from buildah_py.cli.template import render

        say_exactly(render(args.format, facts))
    elif args.shape:
        say(_builder(facts, args.shape))
    else:
        from buildah_py.cli.tables import human

        facts["MemTotal"] = human(facts["MemTotal"])
        width = max(map(len, facts))
        for name, value in facts.items():
            say(f"{name + ':':<{width + 1}} {', '.join(value) if isinstance(value, list) else value}")
    return 0


def _facts() -> dict[str, Any]:
    from buildah_py.api.state import own_root
    from buildah_py.image import platform as platforms
    from buildah_py.linux import binfmt
    from buildah_py.linux.identity import outer_uid
    from buildah_py.version import __version__

    system, host = os.uname(), platforms.host()
    others = [platforms.parse(f"{host.os}/{architecture}") for architecture in binfmt.emulated()]
    return {
        "ServerVersion": __version__,
        "Name": system.nodename,
        "OSType": host.os,
        "Architecture": system.machine,
        "KernelVersion": system.release,
        "NCPU": len(os.sched_getaffinity(0)),
        "MemTotal": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
        "Driver": "overlay",
        "DockerRootDir": own_root(),
        "SecurityOptions": ["name=seccomp,profile=builtin", *(["name=rootless"] if outer_uid() else [])],
        "Platforms": list(dict.fromkeys(str(one) for one in (*platforms.runnable(host), *others))),
    }


def _builder(facts: dict[str, Any], shape: str) -> str:
    """Show the builder that pybuild is as buildx shows one of its own."""
    listed = ", ".join(facts["Platforms"])
    if shape == "ls":
        from buildah_py.cli.tables import table

        heads = ("NAME/NODE", "DRIVER/ENDPOINT", "STATUS", "VERSION", "PLATFORMS")
        return table([heads, ("default*", "pybuild", "running", facts["ServerVersion"], listed)])
    node = {"Name": "default", "Endpoint": "default", "Status": "running", "pybuild version": facts["ServerVersion"]}
    lines = ["Name:   default", "Driver: pybuild", "", "Nodes:", *(f"{name}: {value}" for name, value in node.items())]
    return "\n".join([*lines, f"Platforms: {listed}"])

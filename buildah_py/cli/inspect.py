"""`pybuild inspect`."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Any

from buildah_py.cli.printing import say_exactly, say_json
from buildah_py.errors import NotFound, UsageError

if TYPE_CHECKING:
    import argparse

    from buildah_py.store import Store


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    add = parser.add_argument
    add("name", metavar="IMAGE|CONTAINER", nargs="+", help="name or id; a container comes before an image of its name")
    add("-f", "--format", metavar="TEMPLATE", default="", help="a Go template, such as '{{json .Config.Env}}'")
    add(
        "--type",
        choices=("image", "container", "config", "manifest"),
        help="what to show: what is known of the image or the container, an image's config or its manifest",
    )
    add("--platform", metavar="OS/ARCH", default="", help="of several images of that name the one for a platform")
    add("--raw", action="store_true", help="print config or manifest byte by byte; a config unless --type says else")


def run(args: argparse.Namespace) -> int:
    """Print what is known of images and containers: a JSON array, a filled in template for each, or raw bytes.

    What JSON and templates say has docker's names; `Pybuild` in JSON is the image's config as it is, with its layers.
    """
    from buildah_py.cli.stores import open_store

    if args.raw and (args.format or len(args.name) > 1):
        raise UsageError("--raw prints the bytes of one image", hint="leave --format and the other images out")
    with open_store() as store:
        names = args.name
        if args.platform:
            from buildah_py.transfer.write_index import image_for

            names = [image_for(store, name, args.platform).id for name in names]
        if args.raw:
            sys.stdout.buffer.write(_raw(store, names[0], args.type))
            return 0
        shown = [_shown(store, name, args.type, template=bool(args.format)) for name in names]
    if not args.format:
        say_json(shown)
        return 0
    from buildah_py.cli.template import render

    for one in shown:
        say_exactly(render("{{json .}}" if args.format == "json" else args.format, one))
    return 0


def _shown(store: Store, name: str, kind: str | None, *, template: bool) -> Any:
    if kind in (None, "container"):
        from buildah_py.running.describe import describe_container
        from buildah_py.store.containers import find_container

        try:
            return _freed(describe_container(find_container(store.root, name)), template=template)
        except NotFound:
            if kind is not None:
                raise
    if kind in ("config", "manifest"):
        return json.loads(_raw(store, name, kind))
    from buildah_py.query.describe import describe_image

    if template:
        return _freed(describe_image(store, name), template=True)
    from buildah_py.query.images import inspect_image

    shown = {key: value for key, value in describe_image(store, name).items() if key != "OCIv1"}
    return {**shown, "Pybuild": inspect_image(store, name)}


def _freed(shown: Any, *, template: bool) -> Any:
    """Have templates ask for labels and the like that are not there."""
    from buildah_py.cli.template import freed

    return freed(shown, ("Labels", "ExposedPorts", "Volumes", "Ports", "PortBindings")) if template else shown


def _raw(store: Store, name: str, kind: str | None) -> bytes:
    if kind == "manifest":
        from buildah_py.transfer.export import manifest_bytes

        return manifest_bytes(store, name)
    from buildah_py.store.names import find_image

    return find_image(store, name).config

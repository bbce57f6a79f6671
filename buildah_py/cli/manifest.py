"""`pybuild manifest`: images for several platforms under one name; spelled as buildah and docker spell it."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, Any

from buildah_py.cli import registry
from buildah_py.cli.arguments import Parser, key_values
from buildah_py.cli.printing import say, say_json

if TYPE_CHECKING:
    import argparse

    from buildah_py.transfer.lists import Said


class _Intermixed(Parser):
    """A parser whose options may stand anywhere between arguments of which some may be left out."""

    _inside = False

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        if self._inside:
            return super().parse_known_args(args, namespace)
        self._inside = True
        try:
            return self.parse_known_intermixed_args(args, namespace)
        finally:
            self._inside = False


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the subcommands and their options."""
    parts = parser.add_subparsers(dest="part", required=True, metavar="PART", parser_class=_Intermixed)

    def part(name: str, text: str) -> Parser:
        return parts.add_parser(name, help=text, description=f"{text[0].upper()}{text[1:]}.", allow_abbrev=False)

    create = part("create", "make a manifest list of images")
    create.add_argument("list", metavar="LIST", help="what it is called")
    create.add_argument("images", metavar="IMAGE", nargs="*", help="images of the store, or of registries")
    create.add_argument("-a", "--amend", action="store_true", help="add to the list if it is there already")
    _configure_all(create)
    _configure_annotation(create, "annotation of the list itself")
    _configure_registry(create)

    adding = part("add", "add an image to a list")
    adding.add_argument("list", metavar="LIST")
    adding.add_argument("image", metavar="IMAGE", help="image of the store, else of its registry; docker://NAME")
    _configure_all(adding)
    _configure_said(adding)
    _configure_registry(adding)

    annotating = part("annotate", "say something else of an image in a list, or of the list")
    annotating.add_argument("list", metavar="LIST")
    annotating.add_argument("image", metavar="IMAGE", nargs="?", help="name, id, or digest of its manifest")
    annotating.add_argument("--index", action="store_true", help="annotate the list itself")
    _configure_said(annotating)

    inspecting = part("inspect", "print a list, or what a registry has under that name, as JSON")
    inspecting.add_argument("list", metavar="LIST")
    _configure_registry(inspecting)

    pushing = part("push", "push the images of a list, then the list; prints its digest")
    pushing.add_argument("list", metavar="LIST")
    pushing.add_argument("destination", metavar="DEST", nargs="?", default="", help="another name; docker://NAME")
    pushing.add_argument("--all", action="store_true", help="push the images too; that is always done")
    pushing.add_argument("-f", "--format", metavar="oci|v2s2", choices=("oci", "v2s2"), help="media types")
    pushing.add_argument("-p", "--purge", "--rm", dest="rm", action="store_true", help="then remove the list")
    pushing.add_argument("--digestfile", metavar="FILE", help="write the digest of what was pushed to FILE")
    pushing.add_argument("--compression-format", metavar="FORMAT", help="gzip (default), zstd or uncompressed")
    pushing.add_argument("--compression-level", metavar="NUMBER", type=int)
    pushing.add_argument("--force-compression", action="store_true", help="layers that came in another format too")
    pushing.add_argument("-q", "--quiet", action="store_true", help="print nothing but the digest")
    _configure_registry(pushing)

    removing = part("remove", "take an image out of a list")
    removing.add_argument("list", metavar="LIST")
    removing.add_argument("image", metavar="IMAGE", help="name, id, or digest of its manifest")
    part("rm", "remove lists; their images stay").add_argument("lists", metavar="LIST", nargs="+")
    part("exists", "end with status 0 if there is such a list, else 1").add_argument("list", metavar="LIST")
    part("ls", "print the names of all lists")


def run(args: argparse.Namespace) -> int:
    """Do what was asked for."""
    parts = {
        "create": _create,
        "add": _add,
        "annotate": _annotate,
        "inspect": _inspect,
        "push": _push,
        "remove": _remove,
        "rm": _rm,
        "exists": _exists,
        "ls": _ls,
    }
    return parts[args.part](args)


def _create(args: argparse.Namespace) -> int:
    from buildah_py.cli.stores import open_store
    from buildah_py.store.names import familiar_name
    from buildah_py.transfer.find_listed import find_images
    from buildah_py.transfer.lists import Said, create_list
    from buildah_py.transfer.provider import Registries

    annotations = key_values(args.annotation, "--annotation")
    registries = Registries(options=lambda: registry.read(args))
    with open_store(registries) as store:
        images = (
            found
            for name in args.images
            for found in find_images(store, registries.registry, name, Said(), every=args.all)
        )
        full = create_list(store, args.list, images, amend=args.amend, annotations=annotations)
    say(familiar_name(full))
    return 0


def _add(args: argparse.Namespace) -> int:
    from buildah_py.cli.stores import open_store
    from buildah_py.transfer.find_listed import find_images
    from buildah_py.transfer.lists import add, find_list
    from buildah_py.transfer.provider import Registries

    said = _said(args)
    registries = Registries(options=lambda: registry.read(args))
    with open_store(registries) as store:
        full = find_list(store, args.list)
        images = find_images(store, registries.registry, args.image, said, every=args.all)
        for image in add(store, full, images):
            say(image)
    return 0


def _annotate(args: argparse.Namespace) -> int:
    from buildah_py.cli.stores import open_store
    from buildah_py.errors import UsageError
    from buildah_py.transfer.lists import Said, annotate, create_list, find_list

    said = _said(args)
    if bool(args.image) == args.index:
        raise UsageError("say what to annotate: an image of the list, or with --index the list itself")
    if args.index and said._replace(annotations={}) != Said():
        raise UsageError("a list has no platform", hint="--index takes --annotation alone")
    with open_store() as store:
        full = find_list(store, args.list)
        if args.index:
            create_list(store, full, amend=True, annotations=said.annotations)
        else:
            annotate(store, full, args.image, said)
    return 0


def _inspect(args: argparse.Namespace) -> int:
    from buildah_py.cli.stores import open_store
    from buildah_py.transfer.provider import Registries
    from buildah_py.transfer.push_list import inspect_list

    registries = Registries(options=lambda: registry.read(args))
    with open_store(registries) as store:
        say_json(inspect_list(store, registries, args.list))
    return 0


def _push(args: argparse.Namespace) -> int:
    from buildah_py.cli.outputs import write_whole
    from buildah_py.cli.stores import open_store
    from buildah_py.progress.choose import renderer
    from buildah_py.transfer.lists import find_list
    from buildah_py.transfer.provider import Registries
    from buildah_py.transfer.push_list import ListForm, push_list

    form = ListForm(
        None if args.format is None else args.format == "oci",
        args.compression_format,
        args.compression_level,
        args.force_compression,
    )
    options = registry.read(args, (args.destination or args.list).removeprefix("docker://"))
    registries = Registries(options=lambda: options)
    mode = "quiet" if args.quiet else "plain"
    with (
        open_store(registries) as store,
        renderer(mode, err=sys.stderr, out=sys.stderr, env=os.environ) as sink,
    ):
        pushed = push_list(store, registries, args.list, args.destination, form, sink)
        if args.rm:
            store.manifest_lists.remove(find_list(store, args.list))
    say(pushed.digest)
    if args.digestfile:
        write_whole(args.digestfile, pushed.digest.encode("ascii"))
    return 0


def _remove(args: argparse.Namespace) -> int:
    from buildah_py.cli.stores import open_store
    from buildah_py.transfer.lists import find_list, remove_entry

    with open_store() as store:
        say(remove_entry(store, find_list(store, args.list), args.image))
    return 0


def _rm(args: argparse.Namespace) -> int:
    from buildah_py.cli.stores import open_store
    from buildah_py.store.names import familiar_name
    from buildah_py.transfer.lists import find_list

    with open_store() as store, store.manifest_lists.editing():
        for full in [find_list(store, name) for name in args.lists]:
            store.manifest_lists.remove(full)
            say(f"removed {familiar_name(full)}")
    return 0


def _exists(args: argparse.Namespace) -> int:
    from buildah_py.cli.stores import open_store
    from buildah_py.errors import NotFound
    from buildah_py.transfer.lists import find_list

    with open_store() as store:
        try:
            find_list(store, args.list)
        except NotFound:  # which is the answer
            return 1
    return 0


def _ls(_args: argparse.Namespace) -> int:
    from buildah_py.cli.stores import open_store
    from buildah_py.store.names import familiar_name

    with open_store() as store:
        for name in store.manifest_lists.names():
            say(familiar_name(name))
    return 0


def _configure_all(parser: Parser) -> None:
    parser.add_argument("--all", action="store_true", help="all images of what is an index, or another list")


def _configure_annotation(parser: Parser, text: str) -> None:
    parser.add_argument("--annotation", metavar="K=V", action="append", default=[], help=text)


def _configure_said(parser: Parser) -> None:
    add = parser.add_argument
    add("--os", metavar="OS", default="", help="operating system that the list names for the image")
    add("--arch", metavar="ARCH", default="", help="its architecture")
    add("--variant", metavar="VARIANT", default="", help="its variant, such as v7")
    add("--os-version", metavar="VERSION", default="", help="version of its operating system")
    add("--os-features", metavar="FEATURE", action="append", default=[], help="what the operating system has to have")
    _configure_annotation(parser, "annotation of the image in the list")


def _configure_registry(parser: Parser) -> None:
    parser.bare["--tls-verify"] = "true"
    registry.configure(parser)


def _said(args: argparse.Namespace) -> Said:
    from buildah_py.transfer.lists import Said

    features = tuple(one for text in args.os_features for one in text.split(",") if one)
    annotations = key_values(args.annotation, "--annotation")
    return Said(args.os, args.arch, args.variant, args.os_version, features, annotations)

"""`pybuild cache`: cache mounts, and keys that sign caches."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING

from buildah_py.cli.printing import complain, say, say_data
from buildah_py.cli.tables import FORMATS, count, human, one_line, short, since, table

if TYPE_CHECKING:
    import argparse


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the subcommands and their options."""
    parts = parser.add_subparsers(dest="part", required=True, metavar="PART")
    mounts = parts.add_parser("mounts", help="what RUN --mount=type=cache keeps")
    actions = mounts.add_subparsers(dest="action", required=True, metavar="ACTION")
    listing = actions.add_parser("ls", help="list them")
    listing.add_argument("--format", choices=FORMATS, default="table", help="default: %(default)s")
    removing = actions.add_parser("rm", help="remove some or all")
    removing.add_argument("ids", metavar="ID", nargs="*", help="their ids")
    removing.add_argument("-a", "--all", action="store_true", help="all of them")
    exporting = actions.add_parser("export", help="write them to a cache; only what it lacks is sent")
    exporting.add_argument("place", metavar="DEST", help="a directory, or what --cache-to takes")
    exporting.add_argument("ids", metavar="ID", nargs="*", help="their ids; default: all")
    importing = actions.add_parser("import", help="read them from a cache; what they hold is replaced")
    importing.add_argument("place", metavar="SRC", help="a directory, or what --cache-from takes")
    importing.add_argument("ids", metavar="ID", nargs="*", help="their ids; default: all that are there")
    keygen = parts.add_parser("keygen", help="make a key for `--cache-to …,sign=FILE`; prints what verify= takes")
    keygen.add_argument("file", metavar="FILE", help="where the secret key goes")


def run(args: argparse.Namespace) -> int:
    """Do what was asked for."""
    if args.part == "keygen":
        from buildah_py.sharing.signing import generate

        say(generate(args.file))
        return 0
    return {"ls": _list, "rm": _remove, "export": _export, "import": _import}[args.action](args)


def _list(args: argparse.Namespace) -> int:
    from buildah_py.cli.stores import open_store

    with open_store() as store:
        mounts = store.cache_mounts.all()
    if args.format == "json":
        say_data([mount._asdict() for mount in mounts])
        return 0
    rows = [("ID", "ON DISK", "LAST USED")]
    for mount in mounts:
        used = since(mount.used, time.time())
        rows.append((one_line(mount.id.shown) or short(mount.name), human(mount.disk), used))
    say(table(rows))
    return 0


def _remove(args: argparse.Namespace) -> int:
    from buildah_py.cli.stores import open_store
    from buildah_py.errors import UsageError
    from buildah_py.sharing.cache_mounts import remove_mounts

    if bool(args.ids) == args.all:
        raise UsageError("name the cache mounts to remove, or --all", hint="`pybuild cache mounts ls` lists them")
    with open_store() as store:
        removed, used = remove_mounts(store, args.ids)
    freed = sum(mount.disk for mount in removed)
    say(f"removed {count(len(removed), 'cache mount')}, freed {human(freed)}")
    for mount in used:
        complain(f"pybuild: {one_line(mount.id.shown)} is in use, or was a moment ago")
    return 1 if used else 0


def _export(args: argparse.Namespace) -> int:
    from buildah_py.cli.stores import open_store
    from buildah_py.sharing.cache_mounts import export_mounts

    with open_store() as store:
        ids, sent = export_mounts(store, args.place, args.ids, dict(os.environ))
    say(f"exported {count(len(ids), 'cache mount')}: sent {human(sent.bytes)}, {count(sent.known, 'blob')} were there")
    return 0


def _import(args: argparse.Namespace) -> int:
    from buildah_py.cli.stores import open_store
    from buildah_py.sharing.cache_mounts import import_mounts

    with open_store() as store:
        ids = import_mounts(store, args.place, args.ids, dict(os.environ))
    say(f"imported {count(len(ids), 'cache mount')}")
    return 0

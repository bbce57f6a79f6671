"""The options that say what becomes of a built image: outputs, what is changed of it, files that tell about it."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, Any

from buildah_py.errors import UsageError

if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence
    from typing import TextIO

    from buildah_py.api.output_options import OutputOptions
    from buildah_py.api.request import BuildResult


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the options; spelled as `docker buildx build` spells them, then as `buildah build` does."""
    group = parser.add_argument_group("outputs")
    add = group.add_argument
    add(
        "-o",
        "--output",
        metavar="SPEC",
        action="append",
        default=[],
        help="what else to write: a directory, - for a tar on stdout, or such as type=oci,dest=app.tar; repeatable",
    )
    add("--push", action="store_true", help="the same as --output type=registry")
    add("--load", action="store_true", help="the same as --output type=docker: into a running Docker or Podman")
    add("--iidfile", metavar="FILE", help="write the image's id to FILE")
    add("--metadata-file", metavar="FILE", help="write what was made to FILE as JSON")
    add(
        "--annotation",
        metavar="[LEVEL:]K=V",
        action="append",
        default=[],
        help="annotation of what is written out; LEVEL: manifest (default), index, manifest-descriptor, …",
    )
    add("--label", metavar="K[=V]", action="append", default=[], help="label of the image")
    add("--unsetlabel", metavar="K", action="append", default=[], help="leave a label of the base image out")
    add("--unsetenv", metavar="K", action="append", default=[], help="leave a variable out of the image")
    add("--identity-label", action="store_true", help="label the image with pybuild's version")
    add("--squash", action="store_true", help="make one layer of those that the build adds")
    add("--squash-all", action="store_true", help="make one layer of all, those of the base image too")
    add("--omit-history", action="store_true", help="leave the history out of the image")
    add(
        "--source-date-epoch",
        metavar="SECONDS",
        help="no time in the image is later, in seconds since 1970, or `context` for the time of the context; "
        "default: SOURCE_DATE_EPOCH, or times as they are",
    )
    add(
        "--rewrite-timestamp",
        action="store_true",
        help="clamp the times of files too, in all that is written out, but in the base image's layers",
    )
    add("--timestamp", metavar="SECONDS", help="the time of the image, and of all files that it adds to its base")


def read(args: argparse.Namespace) -> OutputOptions:
    """Read the options' values. Raises UsageError."""
    from buildah_py.api.output_options import SQUASH_ALL, SQUASH_NEW, OutputOptions, ShapeOptions

    if args.timestamp is not None and args.source_date_epoch is not None:
        raise UsageError("--timestamp and --source-date-epoch both say what time it is", hint="give one of them")
    for file in (args.iidfile, args.metadata_file, getattr(args, "iidfile_raw", None)):
        if file:
            forget(file)
    return OutputOptions(
        specs=tuple(args.output),
        push=args.push,
        load=args.load,
        annotations=tuple(args.annotation),
        rewrite_timestamp=args.rewrite_timestamp,
        usual=_usual(args),
        shape=ShapeOptions(
            squash=SQUASH_ALL if args.squash_all else SQUASH_NEW if args.squash else "",
            omit_history=args.omit_history,
            unset_env=_names(args.unsetenv, "--unsetenv"),
            unset_labels=_names(args.unsetlabel, "--unsetlabel"),
            identity_label=args.identity_label,
            timestamp=_seconds(args.timestamp),
        ),
    )


def _usual(args: argparse.Namespace) -> str:
    """Return the attributes that all outputs have which say nothing else themselves."""
    form, compression, level, force = (
        getattr(args, name, None) for name in ("format", "compression_format", "compression_level", "force_compression")
    )
    found = {
        "oci-mediatypes": {"oci": "true", "docker": "false"}.get(form or ""),
        "compression": compression or None,
        "compression-level": None if level is None else str(level),
        "force-compression": "true" if force else None,
    }
    return ",".join(f"{key}={value}" for key, value in found.items() if value is not None)


def loads_into_nothing() -> bool:
    """Whether --load finds no engine where one usually is, and the environment names none."""
    if os.environ.get("DOCKER_HOST") or os.environ.get("CONTAINER_HOST"):
        return False
    from buildah_py.errors import OutputError
    from buildah_py.outputs.engine_api import find_engine

    try:
        find_engine(os.environ)
    except OutputError:
        return True
    return False


def stdout(args: argparse.Namespace) -> TextIO:
    """Where there is room for what the command prints: not where an output goes to the standard output itself."""
    return free_stdout(args.output)


def free_stdout(specs: Sequence[str]) -> TextIO:
    """Where there is room beside outputs."""
    if specs:
        from buildah_py.outputs import spec
        from buildah_py.outputs.target import STDOUT

        if any(spec.parse(text).dest == STDOUT for text in specs):
            return sys.stderr
    return sys.stdout


def tell(args: argparse.Namespace, result: BuildResult) -> None:
    """Write the files that tell about the image; each is whole or not there. Raises OutputError."""
    # Where docker calls this, its engine is to know the id.
    own = (result.loaded if "PYBUILD_DOCKER_PLUGIN" in os.environ else "") or result.image
    if args.iidfile:
        write_whole(args.iidfile, own.encode("ascii"))
    if raw := getattr(args, "iidfile_raw", None):
        write_whole(raw, own.removeprefix("sha256:").encode("ascii"))
    if args.metadata_file:
        write_json(args.metadata_file, metadata(result))


def write_json(path: str, value: dict[str, Any]) -> None:
    """Write a file of metadata. Raises OutputError."""
    import json

    write_whole(path, json.dumps(value, indent=2, ensure_ascii=False).encode() + b"\n")


def metadata(result: BuildResult) -> dict[str, Any]:
    """Return the metadata of the image as buildx writes them.

    One that was only stored is known by its id alone, as in Docker's store. The digest of one that was pushed is the
    registry's, of one that an engine alone was given the id that it has there.
    """
    found: dict[str, Any] = {}
    if result.history:
        from buildah_py.history.files import build_id

        build = build_id(os.path.basename(os.path.dirname(result.history)))
        found["buildx.build.ref"] = f"default/default/{build}"
    found["containerimage.config.digest"] = result.image
    if result.descriptor is None:
        found["containerimage.digest"] = result.image
    else:
        found["containerimage.descriptor"] = result.descriptor.to_dict()
        found["containerimage.digest"] = result.descriptor.digest
    if result.loaded and not result.pushed:
        found["containerimage.digest"] = result.loaded
    if os.environ.get("BUILDX_METADATA_PROVENANCE", "").lower() not in ("disabled", "false", "0"):
        for platform, said in result.provenance:
            where = f"/{platform}" if len(result.provenance) > 1 else ""
            found[f"buildx.build.provenance{where}"] = dict(said)
    if result.names:
        found["image.name"] = ",".join(result.names)
    return found


def write_whole(path: str, data: bytes) -> None:
    """Write a small file, which is whole or as it was. Raises OutputError."""
    from buildah_py.outputs import target

    with target.opened(path) as descriptor, target.naming(path):
        target.write(descriptor, data)


def forget(path: str) -> None:
    """Remove what an earlier build told, and see now whether this one will be able to tell."""
    from buildah_py.outputs import precheck

    precheck.check_file(path)
    if os.path.isfile(path) and not os.path.islink(path):
        os.unlink(path)


def _names(names: list[str], option: str) -> tuple[str, ...]:
    for name in names:
        if not name or "=" in name:
            raise UsageError(f"{option} {name}: this is not a name")
    return tuple(names)


def _seconds(text: str | None) -> int | None:
    if text is None:
        return None
    if not text.isdecimal() or not text.isascii() or len(text) > 11:
        raise UsageError(f"--timestamp {text}: this is not a number of seconds since 1970")
    return int(text)

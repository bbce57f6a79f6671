"""Refuse before a build what could not be written after it."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from buildah_py.errors import OutputError, UsageError
from buildah_py.image.media_types import GZIP, ZSTD
from buildah_py.outputs import target

if TYPE_CHECKING:
    from buildah_py.outputs.spec import Output


def check(output: Output, *, stdout: int = 1) -> None:
    """Raise UsageError or OutputError for an output that is known to fail. Nothing is written.

    The build itself may change what was looked at, so that writing checks once more.
    """
    if output.compression is not None or output.level is not None:
        from buildah_py.outputs import compress

        compression = output.compression or GZIP
        compress.check(compression, output.level)
        compress.compressor(compression, output.level)
    if output.oci_media_types is False and (output.compression == ZSTD or output.annotations):
        what = "annotations" if output.annotations else "layers compressed with zstd"
        raise UsageError(f"Docker's media types know no {what}", hint="leave out oci-mediatypes=false")
    dest = output.dest
    if dest is None:
        return
    if output.type == "local" or not output.tar:
        check_directory(dest, layout=output.type != "local")
    else:
        check_file(dest, stdout=stdout)


def check_file(dest: str, *, stdout: int = 1) -> None:
    """Raise OutputError where a file could not be written to `dest`."""
    if dest == target.STDOUT:
        target.check_terminal(stdout)
        return
    with target.naming(dest):
        place = target.check_place(dest)
        if os.path.lexists(place) and not os.path.isfile(place):
            return  # a pipe or a device: only opening it would tell, and a pipe's reader would notice that
        _check_parent(dest, place)


def check_directory(dest: str, *, layout: bool) -> None:
    """Raise OutputError where a directory could not be written to `dest`, for `layout` an OCI layout."""
    with target.naming(dest):
        place = os.path.realpath(dest)
        if not os.path.lexists(place):
            _check_parent(dest, place)
        elif layout:
            from buildah_py.outputs.directory import DirectoryLayout

            DirectoryLayout(dest)
        elif not os.path.isdir(place):
            raise OutputError(f"{dest} is not a directory", hint="name a directory")


def _check_parent(dest: str, place: str) -> None:
    parent = os.path.dirname(place)
    if not os.path.isdir(parent):
        raise OutputError(f"{dest} cannot be written: there is no directory {parent}", hint="make it first")
    if not os.access(parent, os.W_OK | os.X_OK):
        raise OutputError(f"{dest} cannot be written: {parent} is closed to us", hint="name another place")

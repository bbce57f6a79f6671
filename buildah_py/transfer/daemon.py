"""Loading an image into a running Docker or Podman: as a stream, without the layers that it is known to have."""

from __future__ import annotations

import os
import threading
from typing import TYPE_CHECKING, NamedTuple

from buildah_py.errors import OutputError, PybuildError
from buildah_py.image import digest as digests
from buildah_py.image import reference as references
from buildah_py.outputs.engine_api import Daemon, find_engine
from buildah_py.outputs.layer_source import LayerSource
from buildah_py.outputs.oci import write_oci
from buildah_py.progress import events

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from buildah_py.image.descriptor import Descriptor
    from buildah_py.progress.events import Event
    from buildah_py.transfer.export import ImageExport

_PIECE = 1 << 18


class LoadedImage(NamedTuple):
    """An image in an engine: the descriptor of what was sent, or would have been, and the engine's id for it."""

    descriptor: Descriptor
    id: str


def load_image(
    image: ImageExport, names: Sequence[str], emit: Callable[[Event], None], environ: Mapping[str, str], *, scratch: str
) -> LoadedImage:
    """Have the engine have an image under `names`. Raises OutputError.

    One that it has already is given the names alone.
    """
    engine = Daemon(find_engine(environ))
    expected = _expected(image)
    there = _find(image, engine, expected)
    if there and expected is not None:
        for name in names:
            engine.tag(there, references.parse(name).with_default_tag().full)
        emit(events.Note(events.IN_ENGINE))
        return LoadedImage(expected, there)
    omit = _omitted(image, engine.layers_there())
    try:
        written = _send(image, names, engine, omit, scratch)
    except OutputError:
        if not omit:
            raise
        omit = {}  # some engines check more than others: this one wants the layers that it has
        written = _send(image, names, engine, omit, scratch)
    in_containerd = engine.in_containerd()
    if omit and in_containerd and not engine.has(written.digest):
        omit = {}  # it has their files, and not the blobs: the image could neither be pushed nor saved
        written = _send(image, names, engine, omit, scratch)
    many = len(set(image.diff_ids))
    known = f", {len(omit)} were there already" if omit else ""
    emit(events.Note(f"loaded {many - len(omit)} of {many} layers{known}"))
    return LoadedImage(written, written.digest if in_containerd else _config_digest(image))


def _expected(image: ImageExport) -> Descriptor | None:
    """Give the descriptor that the image will be sent with, None where its layers have to be compressed first."""
    layers = [image.uncompressed_or_known(one) for one in image.diff_ids]
    known = [one for one in layers if one is not None]
    return image.assembled(known).top if len(known) == len(layers) else None


def _find(image: ImageExport, engine: Daemon, expected: Descriptor | None) -> str:
    """Give the id by which the engine has the image, "" where it has it not."""
    config = _config_digest(image)
    if engine.has(config):
        return config
    if expected is not None and engine.in_containerd() and engine.has(expected.digest):
        return expected.digest
    return ""


def _config_digest(image: ImageExport) -> str:
    return digests.sha256_of(image.config_bytes)


def _omitted(image: ImageExport, there: Sequence[tuple[str, ...]]) -> dict[str, Descriptor]:
    """Return the layers that need not be sent: those at the beginning of an image that the engine has."""
    longest = 0
    for layers in there:
        length = 0
        for ours, theirs in zip(image.diff_ids, layers, strict=False):
            if ours != theirs:
                break
            length += 1
        longest = max(longest, length)
    rest = set(image.diff_ids[longest:])
    found = {one: image.uncompressed_or_known(one) for one in image.diff_ids[:longest] if one not in rest}
    return {diff_id: layer for diff_id, layer in found.items() if layer is not None}


def _send(
    image: ImageExport, names: Sequence[str], engine: Daemon, omit: Mapping[str, Descriptor], scratch: str
) -> Descriptor:
    """Write the archive in one thread and have the engine read it in this one."""
    read_end, write_end = os.pipe2(os.O_CLOEXEC)
    form = image.blobs.form
    ended: list[Descriptor | BaseException] = []

    def write() -> None:
        try:
            sources = [LayerSource(one, _not_asked) if one in omit else image.source(one) for one in image.diff_ids]
            written = write_oci(
                "-",
                image.config,
                sources,
                names=names,
                compression=form.compression,
                level=form.level,
                force=form.force,
                assembled=image.assembled,
                keep=image.blobs.keep,
                omit=omit,
                docker=True,
                oci_media_types=not form.docker_types,
                threads=os.cpu_count() or 1,
                scratch=scratch,
                stdout=write_end,
            )
            ended.append(written.descriptor)
        except BaseException as error:  # noqa: BLE001 - it is raised again by the thread that sends
            ended.append(error)
        finally:
            os.close(write_end)

    def archive() -> Iterator[bytes]:
        while data := os.read(read_end, _PIECE):
            yield data
        writer.join()
        if isinstance(ended[0], BaseException):
            raise ended[0]

    writer = threading.Thread(target=write, name="archive", daemon=True)
    writer.start()
    try:
        engine.load(archive())
    finally:
        os.close(read_end)  # a writer that is still at it ends with EPIPE
        writer.join()
    assert not isinstance(ended[0], BaseException)
    return ended[0]


def _not_asked(_write: object) -> str:
    raise PybuildError("a layer that the engine has was to be sent")

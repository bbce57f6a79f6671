"""Building an image again, without the cache, to see whether the same input still gives the same image."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any, NamedTuple

from buildah_py.api.build import build
from buildah_py.api.recorded import read_record
from buildah_py.api.request import BuildRequest
from buildah_py.api.reuse import ReuseOptions
from buildah_py.api.state import open_store
from buildah_py.errors import NotFound
from buildah_py.frozen import replace
from buildah_py.image import platform as platforms
from buildah_py.progress.events import Note
from buildah_py.query.compare import compare_configs, compare_files
from buildah_py.query.image import open_image
from buildah_py.sources.urls import STDIN, redact
from buildah_py.transfer.base_images import BaseImages
from buildah_py.transfer.provider import Registries

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from buildah_py.progress.events import Event
    from buildah_py.query.compare import Change, Property
    from buildah_py.store import Store

EVERYTHING = ReuseOptions(no_cache=True, apart=True)


class Verification(NamedTuple):
    """The image, what it became, and what differs. `notes` say what of the input is not as it was."""

    image: str
    rebuilt: str
    changes: list[Change]
    properties: list[Property]
    notes: list[str]


def verify(
    name: str,
    emit: Callable[[Event], None],
    *,
    secrets: Sequence[str] = (),
    ssh: Sequence[str] = (),
    ca_bundle: str = "",
    environ: Mapping[str, str],
) -> Verification:
    """Build the image again from its recorded input and compare file by file; times do not count.

    The second build shares nothing with the first but the base images and what is in cache mounts: a file that depends
    on when the files below it were made differs. The outcome is not kept.

    Raises NotFound where the store does not know how the image was built.
    """
    # This store's lease holds both images until they are compared.
    registries = Registries(environ)
    with open_store(environ, registries, tell=lambda text: emit(Note(text))) as store:
        image = open_image(store, name)
        data = store.images.build_of(image.id)
        if data is None:
            raise NotFound(
                f"it is not known how the image `{name}` was built",
                hint="only what `pybuild build` named can be verified",
            )
        options, bases = read_record(data)
        if options["context"] == STDIN:
            raise NotFound(
                f"the context of `{name}` came on standard input, and is gone",
                hint="build it again from the same archive, and compare with `pybuild diff`",
            )
        notes = list(_changed_inputs(store, registries, options, bases))  # may find the text with its credentials
        known = set(store.images.ids())
        if ca_bundle:
            options["container"] = replace(options["container"], ca_bundle=ca_bundle)
        request = BuildRequest(**options, reuse=EVERYTHING, secrets=tuple(secrets), ssh=tuple(ssh), environ=environ)
        rebuilt = open_image(store, build(request, emit).image)
        changes = list(compare_files(image.view, rebuilt.view))
        properties = compare_configs(image.config, rebuilt.config)
        if rebuilt.id not in known:
            store.images.remove(rebuilt.id)
        return Verification(image.id, rebuilt.id, changes, properties, notes)


def _changed_inputs(
    store: Store, registries: Registries, options: dict[str, Any], bases: Mapping[str, tuple[str, ...]]
) -> list[str]:
    notes = []
    platform = options["platform"] or str(platforms.host())
    images = BaseImages(store, registries)
    for name, diff_ids in bases.items():
        if name != "scratch" and images.resolve(name, platform).diff_ids != diff_ids:
            notes.append(f"the base image {name} is another one now")
    file = options["file"]
    if isinstance(file, str) and os.path.isabs(file):
        try:
            with open(file, encoding="utf-8", errors="surrogateescape") as opened:
                text = opened.read()
            if redact(text) == options["text"]:
                options["text"] = text
            else:
                notes.append(f"{file} has changed; the image is built again from what it said")
        except OSError as error:
            notes.append(
                f"{file} cannot be read any more ({error.strerror}); the image is built again from what it said"
            )
    return notes

"""Looking at the images of a store."""

from __future__ import annotations

from hashlib import sha256
from typing import TYPE_CHECKING

from buildah_py.api.prune import parse_filters
from buildah_py.image import config as image_config
from buildah_py.image import platform as platforms
from buildah_py.query.fsck import fsck
from buildah_py.query.images import list_images
from buildah_py.query.usage import report_usage
from buildah_py.store import Store
from buildah_py.store.collect import collect

if TYPE_CHECKING:
    from pathlib import Path


def put(store: Store, config: bytes, name: str) -> str:
    digest = "sha256:" + sha256(config).hexdigest()
    store.images.put(digest, config, (), [f"docker.io/library/{name}:latest"])
    return digest


def test_an_image_that_cannot_be_read_is_in_nobodys_way(tmp_path: Path) -> None:
    good = image_config.new(platforms.host()).to_bytes()
    large = good[:-1] + b" " * (9 << 20) + b"}"
    with Store(str(tmp_path / "state")) as store:
        sound, unsound = put(store, good, "sound"), put(store, large, "unsound")
        warnings: list[str] = []
        assert [image.id for image in list_images(store, warn=warnings.append)] == [sound]
        assert [image.id for image in report_usage(store, warnings.append).images] == [sound]
        told = f"the config of {unsound} is {len(large)} bytes long; more than 8388608 are refused"
        assert warnings == [f"{told}; `pybuild rmi {unsound[7:19]}` removes the image"] * 2
        collect(store, parse_filters(["label=a"], 0))
        assert store.images.by_name("docker.io/library/unsound:latest") is not None
    assert [(fault.what, fault.name) for fault in fsck(str(tmp_path / "state")).faults] == [("image", unsound)]

"""Archives that are not what they seem."""

from __future__ import annotations

import io
import json
import tarfile
from typing import TYPE_CHECKING

import pytest

from buildah_py.errors import ArchiveError, ImageError, PybuildError
from buildah_py.image import config as image_config
from buildah_py.image import platform as platforms
from buildah_py.store import Store
from buildah_py.transfer.load import load

if TYPE_CHECKING:
    from pathlib import Path


def test_a_name_that_another_image_had_is_told(tmp_path: Path) -> None:
    name = "docker.io/library/app:1"
    with Store(str(tmp_path / "state")) as store:
        first = image_config.new(platforms.host())
        store.images.put(first.digest(), first.to_bytes(), (), [name])
        second = first.with_cmd(("sh",)).to_bytes()
        listed = json.dumps([{"Config": "config", "RepoTags": [name], "Layers": []}]).encode()
        archive = write(tmp_path, {"manifest.json": listed, "config": second})
        (loaded,) = load(store, archive)
        assert (loaded.names, loaded.taken) == ((name,), {name: first.digest()})
        (again,) = load(store, archive)
        assert again.taken == {}


def write(directory: Path, files: dict[str, bytes]) -> str:
    path = directory / "images.tar"
    with tarfile.open(path, "w") as archive:
        for name, data in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return str(path)


@pytest.mark.parametrize("text", [b"[" * 100_000, b'[{"Config":' * 50_000, b"1" * 10_000])
def test_a_list_of_images_without_bottom(tmp_path: Path, text: bytes) -> None:
    path = write(tmp_path, {"manifest.json": text})
    with Store(str(tmp_path / "state")) as store, pytest.raises(PybuildError) as caught:
        load(store, path)
    assert isinstance(caught.value, ImageError)


def linked(directory: Path, first: str, **links: tuple[bytes, str]) -> str:
    """Write an archive of one image whose config is called `first`, with links by their names: type and target."""
    path = directory / "linked.tar"
    listed = json.dumps([{"Config": first, "RepoTags": [], "Layers": []}]).encode()
    with tarfile.open(path, "w") as archive:
        info = tarfile.TarInfo("manifest.json")
        info.size = len(listed)
        archive.addfile(info, io.BytesIO(listed))
        for name, (kind, target) in links.items():
            info = tarfile.TarInfo(name)
            info.type, info.linkname = kind, target
            archive.addfile(info)
    return str(path)


def test_files_of_this_machine_are_none_of_an_archive(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.write_bytes(image_config.new(platforms.host()).to_bytes())
    places = (str(outside), f"../../../../..{outside}")
    kinds = (tarfile.SYMTYPE, tarfile.LNKTYPE)
    with Store(str(tmp_path / "state")) as store:
        for place in places:
            with pytest.raises(ArchiveError, match="is not an archive of an image"):
                load(store, linked(tmp_path, place))
            for kind in kinds:
                with pytest.raises(ArchiveError, match="is not an archive of an image"):
                    load(store, linked(tmp_path, "config", config=(kind, place)))


def test_links_in_circles_lead_nowhere(tmp_path: Path) -> None:
    archive = linked(tmp_path, "a", a=(tarfile.SYMTYPE, "b"), b=(tarfile.SYMTYPE, "a"))
    with Store(str(tmp_path / "state")) as store, pytest.raises(ArchiveError, match="is not an archive of an image"):
        load(store, archive)

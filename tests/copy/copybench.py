"""What the tests of COPY share: a context, an image and what is copied between them."""

from __future__ import annotations

import os
import stat
from typing import TYPE_CHECKING

from buildah_py.buildfile.ignore import IgnorePatterns
from buildah_py.copy.materialise import Inline, materialise
from buildah_py.copy.mode import parse_mode
from buildah_py.copy.select import select
from buildah_py.layers.entry import DIR, FILE, HARDLINK, SYMLINK
from buildah_py.layers.pack_file import PatchBase, Reading
from buildah_py.layers.packer import LayerPacker
from buildah_py.layers.view import LayerTree, MergedView
from buildah_py.layers.writer import LayerWriter
from buildah_py.sources.directory import DirectoryContext

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path
    from typing import Self

    from buildah_py.copy.selection import Selection
    from buildah_py.layers.entry import Entry
    from buildah_py.layers.inventory import Captured

MTIME = 1_600_000_000_123_456_789


class Bench:
    """A context directory, an image made of layers, and COPY from the one to the other."""

    def __init__(self, tmp_path: Path) -> None:
        self.context = tmp_path / "context"
        self.context.mkdir(exist_ok=True)
        self.tmp_path = tmp_path
        self.layers: list[LayerTree] = []
        self.fs: list[Path] = []
        self.contexts: list[DirectoryContext] = []

    def write(self, path: str, text: str = "", mode: int = 0o644) -> Path:
        target = self.context / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text or path)
        target.chmod(mode)
        os.utime(target, ns=(MTIME, MTIME))
        return target

    def open(self, *ignored: str) -> DirectoryContext:
        context = DirectoryContext(str(self.context), IgnorePatterns(ignored) if ignored else None)
        self.contexts.append(context)
        return context

    def view(self) -> MergedView:
        return MergedView(list(reversed(self.layers)))

    def writer(self) -> LayerWriter:
        fs = self.tmp_path / f"layer{len(self.fs)}"
        fs.mkdir()
        self.fs.append(fs)
        return LayerWriter(str(fs))

    def add_layer(self, fill: Callable[[LayerWriter], object]) -> MergedView:
        with self.writer() as writer:
            fill(writer)
            self.keep(writer.finish())
        return self.view()

    def keep(self, captured: Captured) -> None:
        self.layers.append(LayerTree(str(self.fs[-1]), captured.inventory))

    def copy(
        self,
        sources: Sequence[str | Inline] | Selection,
        destination: str,
        *,
        chown: tuple[int, int] | None = None,
        chmod: str | None = None,
        link: bool = False,
        exclude: Sequence[str] = (),
        parents: bool = False,
        unpack: bool = False,
        context: DirectoryContext | None = None,
    ) -> dict[str, Entry]:
        """Copy, and give the entries of the new layer by path."""
        from buildah_py.copy.selection import Selection

        pieces: list[Selection | Inline] = []
        if isinstance(sources, Selection):
            pieces.append(sources)
        else:
            inside = context or self.open()
            names = [source for source in sources if isinstance(source, str)]
            pieces.append(select(inside, names, exclude=exclude, parents=parents))
            pieces += [source for source in sources if isinstance(source, Inline)]
        mode = parse_mode(chmod) if chmod is not None else None
        view = self.view()

        def copy(writer: LayerWriter | LayerPacker) -> Captured:
            tree = writer if isinstance(writer, LayerWriter) else None
            materialise(
                pieces,
                destination,
                view,
                writer,
                chown=chown,
                chmod=mode,
                link=link,
                unpack=unpack,
                unpack_into=tree,
                now=7,
            )
            return writer.finish()

        with self.writer() as writer:
            captured = copy(writer)
        if not unpack and {entry.kind for entry in captured.inventory} <= {FILE, DIR, SYMLINK, HARDLINK}:
            self.check_packed(captured, copy)
        self.keep(captured)
        entries = {entry.path: entry for entry in captured.inventory}
        self.check(captured)
        return entries

    def check_packed(self, captured: Captured, copy: Callable[[LayerPacker], Captured]) -> None:
        """Packed, whole or as a patch of the same, it is the same layer."""
        places = [self.tmp_path / f"{self.fs[-1].name}.{number}" for number in range(2)]
        for place in places:
            place.mkdir()
        with LayerPacker(str(places[0])) as packer:
            packed = copy(packer)
        assert packed == captured
        tar = str(places[0] / "tar")
        with Reading(tar) as reading:
            base = PatchBase(packed.diff_id, tar, iter(packed.inventory), reading)
            with LayerPacker(str(places[1]), base) as packer:
                patched = copy(packer)
        assert patched._replace(base="") == captured

    def check(self, captured: Captured) -> None:
        """What the inventory says is what the directory holds."""
        for entry in captured.inventory:
            status = os.lstat(self.fs[-1] / entry.path)
            assert (stat.S_IMODE(status.st_mode), status.st_uid, status.st_gid) == (entry.mode, entry.uid, entry.gid)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for context in self.contexts:
            context.close()

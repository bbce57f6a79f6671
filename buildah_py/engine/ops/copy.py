"""COPY and ADD: files of a context, a stage, an image or the build file itself into a layer."""

from __future__ import annotations

import os
import time
from functools import cache, partial
from typing import TYPE_CHECKING, NamedTuple

from buildah_py.buildfile.remote import kind_of
from buildah_py.cache.selections import selection_key
from buildah_py.copy.select import can_copy_unread, complete, select
from buildah_py.engine.ops.op import NOTHING_USED, InputList
from buildah_py.errors import StoreError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from buildah_py.copy.materialise import Inline
    from buildah_py.copy.mode import Mode
    from buildah_py.copy.selection import Selection
    from buildah_py.engine.ops.op import Task
    from buildah_py.layers.inventory import Captured, Inventory
    from buildah_py.layers.packer import LayerPacker
    from buildah_py.layers.sink import LayerSink
    from buildah_py.layers.stamps import Stamps
    from buildah_py.layers.writer import LayerWriter
    from buildah_py.plan.steps import CopyStep


class Selected(NamedTuple):
    """Sources of one tree, and whether archives among them are unpacked.

    `identity` stands for them in the key where their content differs each time; `local` is what was not fetched.
    """

    selection: Selection
    unpacks: bool
    identity: str = ""
    local: bool = True


class CopyOp:
    """A COPY or ADD from the tree of the first input.

    With `ahead`, when no record is to be found, files of a context that nobody has read yet are read once: `inputs`
    makes the layer, and learns from that what they hold. `opened` says that something else of the build will look at
    the files of the layer. `selected` is what the sources stand for, where that was found elsewhere.
    """

    usage = NOTHING_USED
    learned = None

    def __init__(
        self,
        task: Task,
        step: CopyStep,
        *,
        ahead: bool = False,
        opened: bool = True,
        selected: Sequence[Selected] | None = None,
    ) -> None:
        self._task = task
        self._worker = task.worker
        self._step = step
        self._origin = task.trees[0]
        self._source = task.node.inputs[0]
        self._mode = _mode(step.chmod)
        self._ahead = ahead
        self._opened = opened
        self._selections = selected
        self._digests: Mapping[str, str] | None = None
        self._lists: Mapping[str, InputList] | None = None
        self._made: tuple[Captured, str] | None = None

    def inputs(self) -> Mapping[str, str]:
        """Return the content that the sources select, in their order.

        With --link the key has nothing of what lies below but what it is asked for: the ids of an owner's names.
        """
        if self._digests is None:
            known = self._worker.cache.selections.find(key) if (key := self._question()) else None
            digests = [known] if known else self._look()
            found = {f"sources {place}" if place else "sources": digest for place, digest in enumerate(digests)}
            if self._step.chown and self._step.link:
                found["owner"] = "{}:{}".format(*self._owner(self._step.chown))
            self._digests = found
        return self._digests

    @property
    def is_answered(self) -> bool:
        """Whether it is known what the sources select of another stage or image, so that nobody has to look."""
        key, looks = self._question(), self._step.chown and self._step.link
        return bool(key) and not looks and self._worker.cache.selections.find(key) is not None

    def _look(self) -> list[str]:
        """Return the digests of what the sources select. Raises SourceChanged where a shared cache has said another."""
        chown = bool(self._step.chown)
        digests = [one.identity or one.selection.digest(chmod=self._mode, chown=chown) for one in self.selected()]
        if key := self._question():
            self._worker.cache.selections.save(key, digests[0], self._source.name)
        return digests

    def _question(self) -> str:
        """Name what the sources select of another stage or image; "" for what is not decided by that alone."""
        if self._origin is None or self._step.add or not self._step.sources:
            return ""
        step = self._step
        how = [f"chmod={step.chmod}", f"chown={bool(step.chown)}"]
        return selection_key(self._origin.chain, step.sources, exclude=step.exclude, parents=step.parents, how=how)

    def lists(self) -> Mapping[str, InputList]:
        """Return the selections of the sources, but for those that a git commit stands for."""
        if self._lists is None:
            chown, context = bool(self._step.chown), self._origin is None
            self._lists = {
                f"sources {place}" if place else "sources": InputList(
                    one.selection.where,
                    context and one.local,
                    one.selection.bases(),
                    cache(partial(one.selection.packed, chmod=self._mode, chown=chown)),
                )
                for place, one in enumerate(self.selected())
                if not one.identity
            }
        return self._lists

    def planned(self) -> tuple[Inventory, Stamps] | None:
        """Tell what the layer would hold, without making it; None where that is not known before."""
        if self._step.add:
            return None
        from buildah_py.layers.listed import LayerList

        sink = LayerList()
        stamps = self._write(self.selected(), sink)
        return sink.finish().inventory, stamps

    def origins(self) -> Mapping[str, str] | None:
        """Tell of the files that the layer would hold which they are among the sources; None where that is not known.

        They are told apart by their content and by how much of their paths is the same.
        """
        planned = self.planned()
        if planned is None:
            return None
        sources: dict[str, list[str]] = {}
        for one in self.selected():
            for source in one.selection.sources:
                for entry in source.entries:
                    if entry.digest:
                        sources.setdefault(entry.digest, []).append(entry.path)
        found = {}
        for entry in planned[0]:
            if candidates := sources.get(entry.digest) if entry.digest else None:
                found[entry.path] = max(candidates, key=partial(_common_end, entry.path))
        return found

    def execute(self, staged: str, near: str | None) -> tuple[Captured, str]:
        """Copy into a layer. Raises SourceChanged where a file is no longer what its digest in the key says."""
        selected = self.selected()
        if self._worker.cache.selections.only_said(self._question()):
            self._look()
        return self._made or self._copy(selected, staged, near)

    def _copy(self, selected: Sequence[Selected], staged: str, near: str | None = None) -> tuple[Captured, str]:
        made = self._packed(selected, staged, near)
        if made is None:
            fs = os.path.join(staged, "fs")
            self._worker.file_systems.make_root(fs, () if self._step.link else self._task.parent.layers)
            with self._worker.file_systems.writer(fs) as writer:
                stamps = self._write(selected, writer, writer)
                made = writer.finish()._replace(stamps=stamps), fs
        self.warn()
        return made

    def _packed(self, selected: Sequence[Selected], staged: str, near: str | None) -> tuple[Captured, str] | None:
        """Make the layer as a tar, where that is less work than a tree."""
        from buildah_py.store.packing import can_be_packed, pack_into

        copied = [source.entries for one in selected for source in one.selection.sources]
        if any(one.unpacks for one in selected) or not can_be_packed(copied):
            return None
        store = self._worker.store
        try:
            with pack_into(store, staged, copied, near, tree=self._opened) as packer:
                return None if packer is None else self._pack(selected, packer)
        except StoreError as error:
            self._worker.reporter.warn(f"{error.message}; what it holds is copied again")
        with pack_into(store, store.stage(), copied, None, tree=self._opened) as packer:
            return None if packer is None else self._pack(selected, packer)

    def _pack(self, selected: Sequence[Selected], packer: LayerPacker) -> tuple[Captured, str]:
        stamps = self._write(selected, packer)
        return packer.finish()._replace(stamps=stamps), packer.path

    def _write(self, selected: Sequence[Selected], sink: LayerSink, tree: LayerWriter | None = None) -> Stamps:
        """Write the files; which times among theirs are not content."""
        from buildah_py.copy.materialise import Inline, materialise

        now = time.time_ns()
        pieces: list[Selection | Inline] = [
            Inline(file.name, file.content, file.mode, now) for file in self._step.files
        ]
        pieces += [one.selection for one in selected]
        return materialise(
            pieces,
            self._step.destination,
            self._task.below(),
            sink,
            chown=self._owner(self._step.chown) if self._step.chown else None,
            chmod=self._mode,
            link=self._step.link,
            unpack=[False] * len(self._step.files) + [one.unpacks for one in selected],
            unpack_into=tree,
            now=now,
            warn=lambda text: self._worker.reporter.warn(f"{self._task.node.place}: {text}"),
            limits=self._worker.reach.limits,
            check=self._worker.cancellation.check,
        )

    def _owner(self, chown: str) -> tuple[int, int]:
        from buildah_py.copy.owner import parse_owner

        return parse_owner(chown, self._task.below())

    def warn(self) -> None:
        """Say what was surely not meant to be in the layer, once in a build. Named contexts are named on purpose."""
        if self._source.context:
            return
        from buildah_py.sources.context_lint import advice
        from buildah_py.sources.directory import DirectoryContext

        for one in self.selected():
            tree, sources = one.selection.tree, [source for source in one.selection.sources if source.is_dir]
            if self._origin is None and sources and isinstance(tree, DirectoryContext):
                meant = {source.base for source in sources}
                if not one.local:  # a repository comes without its data unless that was asked for
                    meant |= {f"{base}/.git".removeprefix("/") for base in meant}
                text = advice(
                    tree,
                    (entry for source in sources for entry in source.entries),
                    meant=meant,
                    ignore=tree.ignore.name if tree.ignore is not None else ".dockerignore",
                )
                if text:
                    self._worker.reporter.warn(text)

    def _copy_ahead(self, selected: Sequence[Selected]) -> Sequence[Selected]:
        """Copy files as they are found, and give the selections with what that told of them."""
        if not any(one.unpacks for one in selected) and any(can_copy_unread(one.selection) for one in selected):
            self._made = self._copy(selected, self._worker.store.stage())
        return [one._replace(selection=complete(one.selection)) for one in selected]

    def selected(self) -> Sequence[Selected]:
        """Find what the sources stand for, in their order, and whether archives among them are unpacked.

        Sources of one tree that follow each other make one selection. ADD unpacks what is in the context unless told
        not to, and what it has fetched only when told to.
        """
        if self._selections is None:
            step = self._step
            found: list[Selected] = []
            local: list[str] = []
            for source in step.sources:
                if step.add and kind_of(source) != "path":
                    from buildah_py.engine.ops.fetch import fetch

                    found += self._select_local(local)
                    local = []
                    selection, identity = fetch(self._worker.store, self._worker.reach, step, source)
                    found.append(Selected(selection, step.unpack is True, identity, local=False))
                else:
                    local.append(source)
            found += self._select_local(local)
            self._selections = self._copy_ahead(found) if self._ahead else found
        return self._selections

    def _select_local(self, sources: Sequence[str]) -> list[Selected]:
        if not sources:
            return []
        step = self._step
        selection = select(
            self._task.open(0),
            sources,
            exclude=step.exclude,
            parents=step.parents,
            where=self._source.name,
            unread=self._ahead,
            timed=self._origin is not None,
        )
        return [Selected(selection, step.add and step.unpack is not False)]


def _common_end(one: str, other: str) -> int:
    """Count the last components that two paths have in common."""
    count = 0
    for left, right in zip(reversed(one.split("/")), reversed(other.split("/")), strict=False):
        if left != right:
            break
        count += 1
    return count


def _mode(chmod: str) -> Mode | None:
    if not chmod:
        return None
    from buildah_py.copy.mode import parse_mode

    return parse_mode(chmod)

"""Checking what the store keeps against its digests, and making good what can be made good."""

from __future__ import annotations

import hashlib
import os
import stat
from typing import TYPE_CHECKING, NamedTuple

from buildah_py import meter
from buildah_py.errors import ArchiveError, StoreError
from buildah_py.layers import ondisk, xattrs
from buildah_py.layers.entry import BLOCK, CHAR, DIR, FIFO, FILE, HARDLINK, SYMLINK, WHITEOUT
from buildah_py.layers.tar import measure
from buildah_py.linux.identity import has_single_id, may_make_devices, uses_userxattr
from buildah_py.linux.paths import Beneath

if TYPE_CHECKING:
    from collections.abc import Iterator

    from buildah_py.layers.entry import Entry
    from buildah_py.layers.inventory import Inventory
    from buildah_py.store.blobs import Blobs
    from buildah_py.store.layers import Layers

_TYPES = {
    FILE: stat.S_IFREG,
    DIR: stat.S_IFDIR,
    SYMLINK: stat.S_IFLNK,
    FIFO: stat.S_IFIFO,
    CHAR: stat.S_IFCHR,
    BLOCK: stat.S_IFBLK,
}
_FEW = 5


class LayerCheck(NamedTuple):
    """Findings on an inventory and the files beside it: the digests, and what does not fit together."""

    layer_digest: str
    diff_id: str
    size: int
    problems: tuple[str, ...]


def look(inventory: Inventory, fs: str) -> LayerCheck:
    """Read a layer whole. Its problems are lines for people, the first few of them."""
    try:
        problems = list(_attribute_problems(inventory, fs))
        diff_id, size = measure(inventory, fs)
    except (ArchiveError, OSError) as error:
        reason = error.message if isinstance(error, ArchiveError) else f"{error.filename}: {error.strerror}"
        return LayerCheck(inventory.layer_digest, "", 0, (reason,))
    return LayerCheck(inventory.layer_digest, diff_id, size, tuple(problems[:_FEW]))


def problems_of_layer(layers: Layers, diff_id: str) -> list[str]:
    """Compare a layer of the store with its row, its inventory and its digests; a line for each fault."""
    row = layers.get(diff_id)
    if row is None or row.absent:
        return []
    if not layers.is_there(diff_id):
        return ["its directory is missing or incomplete"]
    try:
        inventory = layers.inventories.read(diff_id)
    except StoreError as error:
        return [f"its inventory is damaged: {error.message.rpartition(': ')[2]}"]
    found = _look_at(layers, diff_id, inventory)
    problems = [*found.problems, *problems_of_made(layers, diff_id)]
    if found.layer_digest != row.layer_digest:
        problems.append("its inventory is not the one that it was made with")
    if found.diff_id not in (diff_id, "") and not row.foreign:  # others' tars may have another form
        problems.append(f"its content has the digest {found.diff_id}")
    if found.diff_id == diff_id and found.size != row.size:
        problems.append(f"its tar has {found.size} bytes, and {row.size} are noted")
    return problems


def problems_of_made(layers: Layers, diff_id: str) -> list[str]:
    """Compare the trees that were made of a layer's tar with its inventory; a line for each fault."""
    from buildah_py.store.trees import can_be_made, made

    if not can_be_made(layers, diff_id):
        return []
    problems: list[str] = []
    for inventory, path in made(layers, diff_id):
        problems += look(inventory, path).problems
    return problems


def repair_trees(layers: Layers, diff_id: str) -> bool:
    """Remove the trees that were made of a layer's tar, where these are all that is damaged; whether that was so."""
    from buildah_py.store.trees import remove_made

    if not problems_of_made(layers, diff_id):
        return False
    remove_made(layers, diff_id)
    return not problems_of_layer(layers, diff_id)


def keep_tree(layers: Layers, diff_id: str) -> bool:
    """Remove the tar of a layer where that is damaged and the tree beside it is whole; whether that was so."""
    fs = layers.fs(diff_id)
    if not os.path.isdir(fs) or not layers.is_packed(diff_id):
        return False
    try:
        inventory = layers.inventories.read(diff_id)
    except StoreError:  # which says what is wrong with the layer
        return False
    if _look_at(layers, diff_id, inventory).diff_id == diff_id:
        return False
    found = look(inventory, fs)
    if found.problems or found.diff_id != diff_id:
        return False
    layers.remove_tar(diff_id)
    return True


def _look_at(layers: Layers, diff_id: str, inventory: Inventory) -> LayerCheck:
    """Read a layer whole: its tar where it is kept as one, else its tree."""
    try:
        packed = layers.packed(diff_id)
        if packed is None:
            return look(inventory, layers.fs(diff_id))
        hashed = hashlib.sha256()
        size = 0
        with packed, meter.start("reading a layer") as moved:
            for piece in moved.counted(packed.pieces()):
                hashed.update(piece)
                size += len(piece)
    except ArchiveError as error:
        return LayerCheck(inventory.layer_digest, "", 0, (error.message,))
    return LayerCheck(inventory.layer_digest, "sha256:" + hashed.hexdigest(), size, ())


def repair_inventory(layers: Layers, diff_id: str) -> bool:
    """Make a layer's inventory anew of its files; whether that gave the layer's digest, and was kept."""
    from buildah_py.layers.capture import capture

    if not os.path.isdir(layers.fs(diff_id)):
        return False
    try:
        captured = capture(layers.fs(diff_id), (), userxattr=uses_userxattr())
    except (ArchiveError, OSError):
        return False
    row = layers.get(diff_id)
    expected = row is not None and captured.inventory.layer_digest == row.layer_digest
    if captured.diff_id != diff_id and not expected:
        return False
    layers.write_inventory(diff_id, captured.inventory)
    return not problems_of_layer(layers, diff_id)


def repair_size(layers: Layers, diff_id: str) -> bool:
    """Note how long the layer's tar really is, where that alone is wrong; whether it was."""
    row = layers.get(diff_id)
    if row is None or row.absent or not layers.is_there(diff_id):
        return False
    try:
        found = _look_at(layers, diff_id, layers.inventories.read(diff_id))
    except StoreError:  # which says what is wrong with the layer
        return False
    if found.problems or found.diff_id != diff_id or found.size == row.size:
        return False
    layers.set_size(diff_id, found.size)
    return not problems_of_layer(layers, diff_id)


def adopt(layers: Layers, name: str) -> bool:
    """Take a directory into the store that no row stands for, if it holds the layer that it is called after."""
    diff_id = f"sha256:{name}"
    if not layers.is_there(diff_id):
        return False
    try:
        inventory = layers.inventories.read(diff_id)
    except StoreError:
        return False
    found = _look_at(layers, diff_id, inventory)
    if found.problems or found.diff_id != diff_id:
        return False
    layers.adopt(diff_id, inventory, found.size)
    return True


def recover(layers: Layers, blobs: Blobs) -> list[str]:
    """After a power cut: keep the layers and blobs in flight that are whole; names of images that went.

    A layer that can be fetched again becomes absent instead of being dropped. Trees are made again where tars are.
    """
    from buildah_py.store.trees import can_be_made, remove_made

    sound: list[str] = []
    for blob in blobs.in_flight():
        if blobs.problem(blob):
            blobs.remove(blob.digest)
        else:
            sound.append(blob.digest)
    blobs.settle(sound)
    lost: list[str] = []
    whole: list[str] = []
    for diff_id in layers.in_flight():
        if not keep_tree(layers, diff_id) and can_be_made(layers, diff_id):
            remove_made(layers, diff_id)
        sound_now = not problems_of_layer(layers, diff_id) or repair_size(layers, diff_id)
        (whole if sound_now else lost).append(diff_id)
    layers.settle(whole)
    again = layers.make_absent(lost)
    lost = [diff_id for diff_id in lost if diff_id not in again]
    return layers.drop(lost) if lost else []


def _attribute_problems(inventory: Inventory, fs: str) -> Iterator[str]:
    owners = not has_single_id()
    root = Beneath(os.open(fs, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC))
    try:
        for entry in inventory:
            try:
                status = root.lstat(entry.path)
            except FileNotFoundError:
                if entry.kind != WHITEOUT and not (entry.kind in (CHAR, BLOCK) and not may_make_devices()):
                    yield f"/{entry.path} is missing"
                continue
            if what := _difference(entry, status, root, owners=owners):
                yield f"/{entry.path}: {what}"
    finally:
        root.close()


def _difference(entry: Entry, status: os.stat_result, root: Beneath, *, owners: bool) -> str:
    """Say what of a path is not as the inventory has it; bytes and times are not looked at here."""
    kind = stat.S_IFMT(status.st_mode)
    if entry.kind == WHITEOUT:
        # A directory that was made anew hides what is below as a whole: then nothing is at the path.
        return "" if kind in (stat.S_IFCHR, stat.S_IFREG) and not status.st_size else "is there, and should be deleted"
    if entry.kind == HARDLINK:  # to a file of any kind but a directory; the first of its names tells what it is like
        first = root.lstat(entry.link)
        same = (first.st_dev, first.st_ino) == (status.st_dev, status.st_ino)
        return "" if same else f"is not a link to /{entry.link}"
    if kind != _TYPES[entry.kind]:
        return f"is not a {entry.kind}"
    if entry.implied:
        return ""
    if owners and (status.st_uid, status.st_gid) != (entry.uid, entry.gid):
        return f"belongs to {status.st_uid}:{status.st_gid}, not to {entry.uid}:{entry.gid}"
    if entry.kind == SYMLINK:
        return "" if root.readlink(entry.path) == entry.link else "leads elsewhere"
    pairs = _xattrs(root, entry.path) if entry.kind in (FILE, DIR) else ()
    mode, pairs = ondisk.decode(status.st_mode & 0o7777, pairs)
    if mode != entry.mode:
        return f"has mode {mode:o}, not {entry.mode:o}"
    if entry.kind in (CHAR, BLOCK) and entry.device != (os.major(status.st_rdev), os.minor(status.st_rdev)):
        return "is another device"
    if entry.kind == FILE and status.st_size != entry.size:
        return f"has {status.st_size} bytes, not {entry.size}"
    if entry.kind in (FILE, DIR) and pairs != entry.xattrs:
        return "has other extended attributes"
    return ""


def _xattrs(root: Beneath, path: str) -> tuple[tuple[str, bytes], ...]:
    descriptor = root.open(path, os.O_RDONLY | os.O_NONBLOCK)
    try:
        return xattrs.read(descriptor)
    finally:
        os.close(descriptor)

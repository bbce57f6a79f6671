"""Find what the sources of a COPY or ADD stand for in a tree."""

from __future__ import annotations

from typing import TYPE_CHECKING

from buildah_py import meter
from buildah_py.buildfile.ignore import IgnorePatterns, clean
from buildah_py.copy.selection import SelectedSource, Selection
from buildah_py.errors import NotFound
from buildah_py.layers.entry import DIR, FILE, SYMLINK, sort_key
from buildah_py.layers.tree import resolve

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from buildah_py.layers.entry import Entry
    from buildah_py.layers.tree import SourceTree


def select(
    tree: SourceTree,
    sources: Sequence[str],
    *,
    exclude: Sequence[str] = (),
    parents: bool = False,
    where: str = "the build context",
    unread: bool = False,
    timed: bool = False,
) -> Selection:
    """Find what `sources` (already expanded) stand for in `tree`, and know the digests of it all.

    With `unread` no file is read for that: where a digest is not known, it stays "" until `complete`.

    `..` and a leading slash stop at the root. Symbolic links in an argument are followed inside the tree, those below a
    directory are not. `exclude` are patterns relative to each source, `parents` is --parents. `where` names the tree in
    messages. A pattern that matches nothing selects nothing. `timed` is that of the Selection.

    Raises NotFound for a path without wildcards that is not there, UsageError for a malformed pattern, SourceError or
    its SourceChanged for what cannot be read.
    """
    excluded = IgnorePatterns(exclude, name="--exclude", flag=True) if exclude else None
    found: list[SelectedSource] = []
    for argument in sources:
        if parents:
            found += _with_parents(tree, argument, excluded, where)
        else:
            found += _plain(tree, argument, excluded, where)
    selection = Selection(tree, where, tuple(found), timed)
    return selection if unread else complete(selection)


def complete(selection: Selection) -> Selection:
    """Know the digests of all that is selected; what nobody has read yet is read."""
    return selection._replace(sources=tuple(_complete(selection.tree, source) for source in selection.sources))


def can_copy_unread(selection: Selection) -> bool:
    """Whether there are files that nobody has read yet, and copying them can be their first reading."""
    tree = selection.tree
    if tree.link_groups():  # names of one file are told by its digest
        return False
    return any(
        _is_unread(entry) and _is_unread(tree.entry(entry.path) or entry)
        for source in selection.sources
        for entry in source.entries
    )


def _is_unread(entry: Entry) -> bool:
    return not entry.digest and entry.kind == FILE


def select_path(tree: SourceTree, path: str, *, where: str) -> Selection:
    """Select one path of `tree` as it is written: no wildcards, no symbolic links. For what ADD has fetched.

    Raises NotFound where it is not there.
    """
    root = tree.entry(path)
    if root is None:
        raise missing(tree, path, path, where)
    entries, _ = _walk(tree, root, None, None) if root.kind == DIR else ([root], None)
    source = SelectedSource(path, path.rpartition("/")[2], path, entries)
    return complete(Selection(tree, where, (source,)))


def _plain(tree: SourceTree, argument: str, excluded: IgnorePatterns | None, where: str) -> Iterable[SelectedSource]:
    path = _inside(argument)
    if any(character in path for character in "*?["):
        from buildah_py.copy import wildcard

        base, pattern = wildcard.split(path)
    else:
        base, pattern = path, ""
    if not pattern:
        yield _source(tree, argument, path, excluded, where)
        return
    start = tree.entry(resolve(tree, base))
    if start is None:
        raise missing(tree, argument, base, where)
    if start.kind != DIR:
        return
    for found in wildcard.find(tree, start.path, pattern):
        name = found.rpartition("/")[2]
        source = _source(tree, argument, found, excluded, where)
        if source.is_dir or excluded is None or not excluded.matches(name):
            yield source


def _source(tree: SourceTree, argument: str, path: str, excluded: IgnorePatterns | None, where: str) -> SelectedSource:
    base = resolve(tree, path)
    root = tree.entry(base)
    if root is None:
        raise missing(tree, argument, path, where)
    name = path.rpartition("/")[2]
    if root.kind != DIR:
        return SelectedSource(argument, name, base, [root])
    entries, implied = _walk(tree, root, None, excluded)
    return SelectedSource(argument, name, base, entries, implied)


def _with_parents(
    tree: SourceTree, argument: str, excluded: IgnorePatterns | None, where: str
) -> Iterable[SelectedSource]:
    from buildah_py.copy import wildcard

    before, pivot, after = argument.partition("/./")
    pattern = _inside(after if pivot else argument)
    included = IgnorePatterns([pattern] if pattern else ["**"], name="COPY --parents", flag=True)
    for base in _pivots(tree, argument, _inside(before) if pivot else "", where):
        entries, implied = _walk(tree, base, included, excluded)
        if pattern and not wildcard.has_wildcard(argument):
            wanted = f"{base.path}/{pattern}" if base.path else pattern
            if tree.entry(wanted) is None:
                raise missing(tree, argument, wanted, where)
        yield SelectedSource(argument, base.path.rpartition("/")[2], base.path, entries, implied)


def _pivots(tree: SourceTree, argument: str, path: str, where: str) -> Iterable[Entry]:
    """Find the directories that the part in front of `/./` means."""
    from buildah_py.copy import wildcard

    above, pattern = wildcard.split(path)
    root = tree.entry(resolve(tree, above))
    if root is None or root.kind != DIR:
        raise missing(tree, argument, above, where)
    if not pattern:
        yield root
        return
    for found in wildcard.find(tree, root.path, pattern):
        entry = tree.entry(resolve(tree, found))
        if entry is not None and entry.kind == DIR:
            yield entry


def _inside(path: str) -> str:
    """Clean a source's path: relative to the root, which `..` cannot leave."""
    return clean("/" + path).removeprefix("/")


def _walk(
    tree: SourceTree, root: Entry, included: IgnorePatterns | None, excluded: IgnorePatterns | None
) -> tuple[list[Entry], frozenset[str]]:
    """List what is below `root`, parents first, names in order, with a stack of our own: trees may be deep."""
    with meter.start("scanning", 0, meter.ITEMS) as moved:
        return _walked(tree, root, included, excluded, moved)


def _walked(
    tree: SourceTree,
    root: Entry,
    included: IgnorePatterns | None,
    excluded: IgnorePatterns | None,
    moved: meter.Meter,
) -> tuple[list[Entry], frozenset[str]]:
    entries = [root]
    implied: set[str] = set()
    cut = len(root.path) + 1 if root.path else 0
    stack: list[Entry] = list(reversed(tree.children(root.path)))
    waiting: list[Entry] = []  # directories that are taken along once something in them is
    while stack:
        entry = stack.pop()
        path = entry.path
        relative = path[cut:]
        while waiting and not path.startswith(waiting[-1].path + "/"):
            waiting.pop()
        taken = (included is None or included.matches(relative)) and (
            excluded is None or not excluded.matches(relative)
        )
        if taken:
            for above in waiting:
                entries.append(above)
                implied.add(above.path)
            waiting.clear()
            entries.append(entry)
        if entry.kind == DIR:
            if not taken:
                if included is not None and not included.matches(relative) and not included.may_match_below(relative):
                    continue
                if excluded is not None and excluded.matches(relative) and not excluded.may_contain_included(relative):
                    continue
                waiting.append(entry)
            inner = tree.children(path)
            moved.add(len(inner))
            stack += reversed(inner)
    return entries, frozenset(implied)


def _complete(tree: SourceTree, source: SelectedSource) -> SelectedSource:
    """Fill in digests, and find the files that are selected under several names."""
    # Some may have been read meanwhile.
    entries = [(tree.entry(entry.path) or entry) if _is_unread(entry) else entry for entry in source.entries]
    groups = tree.link_groups()
    entries = tree.complete(entries)
    if groups is None:
        firsts = {entry.link: entry.link for entry in entries if entry.link and entry.kind == FILE}
        groups = {entry.path: entry.link for entry in entries if entry.link} | firsts if firsts else {}
    return source._replace(entries=entries, links=_links(entries, groups) if groups else {})


def _links(entries: Sequence[Entry], groups: Mapping[str, object]) -> dict[str, str]:
    """Map the further names of a file to the first that is selected."""
    first: dict[object, str] = {}
    links: dict[str, str] = {}
    for entry in entries:
        group = groups.get(entry.path) if entry.kind == FILE else None
        if group is not None:
            # Names that were given other bytes in between are no longer names of one file.
            known = first.setdefault((group, entry.digest), entry.path)
            if known != entry.path:
                links[entry.path] = known
    return links


def missing(tree: SourceTree, argument: str, path: str, where: str) -> NotFound:
    """Say that a source is not there, and why that may be: an ignore file, a link to nowhere, a slip of the pen."""
    shown = path or "/"
    hidden = tree.hidden_by(path) if path else None
    if hidden is not None:
        return NotFound(
            f"{argument}: {where} has no {shown}: {hidden.file} line {hidden.line} ({hidden.pattern}) hides it",
            hint=f"take that line out of {hidden.file}, or add a line !{path} below it",
        )
    entry = tree.entry(path)
    if entry is not None and entry.kind == SYMLINK:
        return NotFound(
            f"{argument}: {shown} in {where} is a symbolic link to {entry.link}, which leads to nothing inside of it",
            hint="links cannot lead out of where they are copied from: copy the file itself",
        )
    if _leads_out(argument):
        out = "take a directory above as the context, or name another one with --build-context"
        why = f"{argument}: `..` cannot leave {where}, and it has no {shown}"
        return NotFound(why, hint=out if where == "the build context" else _did_you_mean(tree, path))
    return NotFound(f"{argument}: {where} has no {shown}", hint=_did_you_mean(tree, path))


def _leads_out(argument: str) -> bool:
    """Whether a path's `..` would leave the directory that it is relative to."""
    depth = 0
    for name in argument.split("/"):
        depth += {"": 0, ".": 0, "..": -1}.get(name, 1)
        if depth < 0:
            return True
    return False


def _did_you_mean(tree: SourceTree, path: str) -> str:
    from buildah_py.suggest import did_you_mean

    above, _, name = path.rpartition("/")
    while above:
        entry = tree.entry(resolve(tree, above))
        if entry is not None and entry.kind == DIR:
            break
        if entry is not None:
            return f"{above} is not a directory"
        above, _, name = above.rpartition("/")
    names = sorted(tree.names(resolve(tree, above)), key=sort_key)
    if hint := did_you_mean(name, names, prefix=f"{above}/" if above else "", fold=True):
        return hint
    if not names:
        return f"{above or 'it'} is empty"
    listed = ", ".join(names[:8])
    return f"{above or 'it'} holds {listed}{', …' if len(names) > 8 else ''}"

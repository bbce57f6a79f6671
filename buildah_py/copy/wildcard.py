"""Wildcards of COPY and ADD sources, as Go's filepath.Match decides: `*`, `?`, `[…]` and a backslash, no `**`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from buildah_py.errors import UsageError
from buildah_py.layers.entry import DIR, sort_key

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from buildah_py.layers.tree import Tree


def has_wildcard(text: str) -> bool:
    """Whether `text` has a `*`, `?` or `[` that no backslash takes the meaning from."""
    escaped = False
    for character in text:
        if escaped:
            escaped = False
        elif character == "\\":
            escaped = True
        elif character in "*?[":
            return True
    return False


def split(path: str) -> tuple[str, str]:
    """Split a clean path before its first component with a wildcard; the second part is empty where there is none."""
    components = path.split("/")
    for index, component in enumerate(components):
        if has_wildcard(component):
            return "/".join(components[:index]), "/".join(components[index:])
    return path, ""


def compiled(pattern: str) -> Callable[[str], bool]:
    """Give a function that says whether `pattern` matches the whole of a text; raises UsageError where malformed."""
    from buildah_py.buildfile import glob

    problem = glob.malformed(pattern)
    if problem:
        raise UsageError(
            f"the pattern {pattern!r} is malformed: {problem}",
            hint="put a backslash before [ or ] where they are part of a name",
        )
    from buildah_py.buildfile import glob

    return glob.matcher(glob.read(pattern, crossing=False))


def match(pattern: str, name: str) -> bool:
    """Whether `pattern` matches the whole of `name`; raises UsageError where it is malformed."""
    return compiled(pattern)(name)


def find(tree: Tree, base: str, pattern: str) -> Sequence[str]:
    """Give the paths below the directory `base` that `pattern` matches, in order; nothing is searched below a match.

    Symbolic links on the way are not followed.
    """
    found: list[str] = []
    whole = compiled(pattern)
    components = pattern.split("/")
    # A class may match a slash: then the pattern's components are not those of the path.
    steps = None if "[" in pattern or "\\" in pattern else [compiled(part) for part in components]
    todo = [("", 0)]
    while todo:
        inside, depth = todo.pop()
        deeper = []
        for name in tree.names("/".join(part for part in (base, inside) if part)):
            path = f"{inside}/{name}" if inside else name
            full = f"{base}/{path}" if base else path
            if whole(path):
                found.append(full)
            elif steps is None or (depth + 1 < len(steps) and steps[depth](name)):
                entry = tree.entry(full)
                if entry is not None and entry.kind == DIR:
                    deeper.append((path, depth + 1))
        todo += reversed(deeper)
    return sorted(found, key=sort_key)

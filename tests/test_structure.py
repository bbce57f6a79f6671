"""The shape of the package: which modules know of each other, and what its classes are called."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parent.parent / "buildah_py"


def parsed() -> dict[str, ast.Module]:
    """All modules of the package by their names; a package's own name is its `__init__`."""
    found = {}
    for path in sorted(PACKAGE.rglob("*.py")):
        parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = ast.parse(path.read_text())
    return found


def imports(modules: dict[str, ast.Module]) -> dict[str, set[str]]:
    """Which modules of the package each one imports: at its top, in functions, and for type checkers alone."""
    found: dict[str, set[str]] = {}
    for name, module in modules.items():
        names = set()
        for node in ast.walk(module):
            if isinstance(node, ast.Import):
                names |= {alias.name for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module:
                assert not node.level, f"{name} imports relatively"
                whole = {f"{node.module}.{alias.name}": node.module for alias in node.names}
                names |= {full if full in modules else short for full, short in whole.items()}
        found[name] = {other for other in names if other in modules and other != name}
    return found


def circle_through(start: str, edges: dict[str, set[str]]) -> list[str]:
    """The shortest way from a module back to itself; empty where there is none."""
    ways = [[start]]
    seen = set()
    for way in ways:
        for other in sorted(edges[way[-1]]):
            if other == start:
                return [*way, start]
            if other not in seen:
                seen.add(other)
                ways.append([*way, other])
    return []


def circles(edges: dict[str, set[str]]) -> list[str]:
    """Circles of modules, one a line; each module that is in one is in at least one of these."""
    found: dict[frozenset[str], str] = {}
    for name in edges:
        way = circle_through(name, edges)
        if way:
            found.setdefault(frozenset(way), " -> ".join(way))
    return list(found.values())


def test_no_circle_of_modules() -> None:
    found = circles(imports(parsed()))
    assert not found, f"{len(found)} circles of modules; move what they share:\n" + "\n".join(found)


@pytest.mark.parametrize(
    ("texts", "found"),
    [
        ({"p.a": "import p.b", "p.b": "from p import c", "p.c": ""}, []),
        ({"p.a": "import p.b", "p.b": "def f():\n    from p.a import x"}, ["p.a -> p.b -> p.a"]),
        ({"p": "from p.a import x", "p.a": "if TYPE_CHECKING:\n    from p import y"}, ["p -> p.a -> p"]),
        ({"p.a": "import p.b", "p.b": "import p.c", "p.c": "from p import a"}, ["p.a -> p.b -> p.c -> p.a"]),
    ],
)
def test_circles_are_found(texts: dict[str, str], found: list[str]) -> None:
    assert circles(imports({name: ast.parse(text) for name, text in texts.items()})) == found


def test_a_public_name_of_a_type_means_one_thing() -> None:
    homes: dict[str, list[str]] = {}
    for module, tree in parsed().items():
        names = [node.name for node in ast.walk(tree) if isinstance(node, ast.ClassDef)]
        statements = [inner for node in tree.body for inner in (node.body if isinstance(node, ast.If) else [node])]
        aliases = [node.targets[0] for node in statements if isinstance(node, ast.Assign)]
        names += [node.id for node in aliases if isinstance(node, ast.Name) and re.fullmatch("[A-Z][a-z].*", node.id)]
        for name in names:
            if not name.startswith("_"):
                homes.setdefault(name, []).append(module)
    twice = {name: modules for name, modules in homes.items() if len(modules) > 1}
    assert not twice

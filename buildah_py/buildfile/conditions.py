"""The conditions of IF (an extension)."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from buildah_py.buildfile.driver import MismatchError, driver
from buildah_py.buildfile.expand import ExpansionError, expand
from buildah_py.buildfile.spaces import swap_escape
from buildah_py.buildfile.tree import Condition
from buildah_py.errors import BuildFileError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from buildah_py.buildfile.statement import Statement
    from buildah_py.source_text import Source

_NAME = r"[A-Za-z_][A-Za-z0-9_]*"
_FALSE = ("", "0", "false", "no", "off")
_MAX_DEPTH = 50


def parse_condition(statement: Statement) -> Condition:
    """Read the arguments of an IF.

    Raises:
        BuildFileError: they are not a condition.

    """
    text = statement.args
    if not text:
        raise statement.error("IF needs a condition", hint="write IF NAME, IF NAME == VALUE or IF defined NAME")
    try:
        _, nodes = driver("condition").parse(swap_escape(text, statement.escape), "condition")
    except MismatchError as error:
        at = statement.offset + error.offset
        end = at + 1 if error.offset < len(text) else at
        raise statement.error(
            "this is not a condition", at, end, hint="conditions are made of NAME, ==, !=, defined, !, &&, || and ( )"
        ) from None
    if _depth(nodes) > _MAX_DEPTH:
        raise statement.error("the condition is nested too deeply")
    return Condition(text, _frozen(nodes), statement.whole().span)


def _depth(nodes: Any) -> int:
    deepest = 0
    waiting = [(nodes, 1)]
    while waiting:
        node, depth = waiting.pop()
        deepest = max(deepest, depth)
        waiting += [(child[1], depth + 1) for child in node if isinstance(child[1], list)]
    return deepest


def _frozen(node: Any) -> Any:
    return tuple(_frozen(child) for child in node) if isinstance(node, list | tuple) else node


def holds(condition: Condition, env: Mapping[str, str], source: Source, escape: str = "\\") -> bool:
    """Whether `condition` is true with the variables `env`.

    Raises:
        BuildFileError: a word of it cannot be expanded.

    """
    try:
        return _holds(condition.tree[0], condition.text, env, escape)
    except ExpansionError as error:
        raise BuildFileError(error.message, source, condition.span) from None


def _holds(node: Any, text: str, env: Mapping[str, str], escape: str) -> bool:
    kind, children = node
    if kind == "any":
        return any(_holds(child, text, env, escape) for child in children)
    if kind == "all":
        return all(_holds(child, text, env, escape) for child in children)
    if kind == "no":
        return not _holds(children[0], text, env, escape)
    if kind == "group":
        return _holds(children[0], text, env, escape)
    tokens = [(name, text[start:end].lstrip(" \t")) for name, start, end in children]
    if tokens[0][0] == "DEFINED":
        return tokens[1][1] in env
    left = _value(tokens[0][1], env, escape)
    if len(tokens) == 1:
        return left.lower() not in _FALSE
    right = expand(tokens[2][1], env, escape)
    same = left == right
    return same if tokens[1][0] == "EQUAL" else not same


def _value(word: str, env: Mapping[str, str], escape: str) -> str:
    """Return the value of a variable for a bare name; expand all else as a word."""
    return env.get(word, "") if re.fullmatch(_NAME, word) else expand(word, env, escape)

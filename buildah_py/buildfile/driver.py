"""Run the LALR tables that `tables` made from our grammars, without importing lark.

A parse gives a nested tree of tuples: `(rule, [children])` for rules, `(terminal, start, end)` for tokens, with the
names of the grammar. As in lark, rules whose name starts with an underscore give their children to the rule around
them, and terminals whose name starts with an underscore are dropped.
"""

from __future__ import annotations

import re
from typing import Any

Grammar = tuple[
    tuple[tuple[str, str], ...],  # terminals in the order in which they are tried: name, regular expression
    tuple[tuple[str, int, int, int], ...],  # rules: shown name or "", length, bits of kept symbols, number of origin
    tuple[tuple[dict[int, int], dict[int, int]], ...],  # states: terminal -> shift + 1 or -rule - 1; origin -> state
    dict[str, int],  # start rule -> first state
    dict[str, int],  # start rule -> state in which all has been read
]


class MismatchError(Exception):
    """The text is not of the grammar: `offset` is where, `expected` what could have stood there."""

    def __init__(self, offset: int, expected: tuple[str, ...]) -> None:
        super().__init__(offset, expected)
        self.offset = offset
        self.expected = expected


class Driver:
    """The parser of one grammar."""

    def __init__(self, name: str) -> None:
        terminals, self._rules, self._states, self._starts, self._ends = load(name)
        self._names = [name for name, _ in terminals]
        self._patterns = [pattern for _, pattern in terminals]
        # Compiled when first needed: most files need few of them.
        self._scanners: list[tuple[Any, tuple[int, ...]] | None] = [None] * len(self._states)
        self._compiled: dict[tuple[int, ...], tuple[Any, tuple[int, ...]]] = {}

    def _scanner(self, state: int) -> tuple[Any, tuple[int, ...]]:
        accepted = tuple(sorted(number for number in self._states[state][0] if number >= 0))
        scanner = self._compiled.get(accepted)
        if scanner is None:
            expression = "|".join(f"({self._patterns[number]})" for number in accepted) or r"(?!)"
            scanner = self._compiled[accepted] = (re.compile(expression).match, accepted)
        self._scanners[state] = scanner
        return scanner

    def parse(self, text: str, start: str) -> tuple[str, list[Any]]:
        """The tree of `text`, read as the rule `start`.

        Raises:
            MismatchError: the text is not of the grammar.

        """
        states, rules, names = self._states, self._rules, self._names
        scanners = self._scanners
        state = self._starts[start]
        end_state = self._ends[start]
        state_stack = [state]
        value_stack: list[Any] = []
        offset = 0
        length = len(text)
        while True:
            if offset < length:
                scanner = scanners[state] or self._scanner(state)
                match = scanner[0](text, offset)
                if match is None:
                    raise MismatchError(offset, self._expected(state))
                terminal = scanner[1][match.lastindex - 1]
            else:
                terminal = -1
            while True:
                action = states[state][0].get(terminal)
                if action is None:
                    raise MismatchError(offset, self._expected(state))
                if action > 0:
                    state = action - 1
                    break
                name, size, kept, origin = rules[-action - 1]
                children: list[Any] = []
                if size:
                    first = len(value_stack) - size
                    for position in range(size):
                        if kept >> position & 1:
                            value = value_stack[first + position]
                            if type(value) is list:
                                # Left recursion: take over the long list instead of copying it.
                                if children:
                                    children += value
                                else:
                                    children = value
                            else:
                                children.append(value)
                    del value_stack[first:]
                    del state_stack[first + 1 :]
                value_stack.append((name, children) if name else children)
                state = states[state_stack[-1]][1][origin]
                state_stack.append(state)
                if terminal == -1 and state == end_state:
                    result: tuple[str, list[Any]] = value_stack[-1]
                    return result
            state_stack.append(state)
            if terminal == -1:
                return value_stack[-1]  # type: ignore[no-any-return]
            end = match.end()
            value_stack.append((names[terminal], offset, end))
            offset = end

    def _expected(self, state: int) -> tuple[str, ...]:
        return tuple(self._names[number] if number >= 0 else "$END" for number in self._states[state][0])


def load(name: str) -> Grammar:
    """The tables of the grammar `name`: those made ahead of time, else made now with lark."""
    try:
        from buildah_py.buildfile import _tables
    except ImportError:
        from buildah_py.buildfile.tables import compile_grammar

        return compile_grammar(name)
    grammar: Grammar = getattr(_tables, name.upper())
    return grammar


_drivers: dict[str, Driver] = {}


def driver(name: str) -> Driver:
    """The parser of the grammar `name`, made once."""
    found = _drivers.get(name)
    if found is None:
        found = _drivers[name] = Driver(name)
    return found

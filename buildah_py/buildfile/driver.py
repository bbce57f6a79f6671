"""Run the LALR tables that `tables` made from our grammars, without importing lark.

A parse gives a nested tree of tuples: `(rule, [children])` for rules, `(terminal, start, end)` for tokens, with the
names of the grammar. As in lark, rules whose name starts with an underscore give their children to the rule around
them, and terminals whose name starts with an underscore are dropped.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from buildah_py.buildfile.tables import Grammar

_State = tuple[Any, tuple[int, ...], dict[int, int], dict[int, int]]


class MismatchError(Exception):
    """The text is not of the grammar: `offset` is where, `expected` what could have stood there."""

    def __init__(self, offset: int, expected: tuple[str, ...]) -> None:
        super().__init__(offset, expected)
        self.offset = offset
        self.expected = expected


class Driver:
    """The parser of one grammar."""

    def __init__(self, name: str) -> None:
        terminals, self._rules, self._table, starts = load(name)
        self._starts = {start: (first, end) for start, first, end in starts}
        self._names = [name for name, _ in terminals]
        self._patterns = [pattern for _, pattern in terminals]
        # Compiled when first needed: most files need few of them.
        self._states: list[_State | None] = [None] * len(self._table)
        self._compiled: dict[tuple[int, ...], Any] = {}

    def _state(self, number: int) -> _State:
        """Decode a state: what matches its terminals, which these are, what to do on each, where to go on."""
        actions, gotos = map(_decoded, self._table[number].split("|"))
        accepted = tuple(terminal for terminal in actions if terminal >= 0)
        scanner = self._compiled.get(accepted)
        if scanner is None:
            expression = "|".join(f"({self._patterns[terminal]})" for terminal in accepted) or r"(?!)"
            scanner = self._compiled[accepted] = re.compile(expression).match
        state = self._states[number] = (scanner, accepted, actions, gotos)
        return state

    def parse(self, text: str, start: str) -> tuple[str, list[Any]]:
        """Return the tree of `text`, read as the rule `start`.

        Raises:
            MismatchError: the text is not of the grammar.

        """
        states, rules, names = self._states, self._rules, self._names
        number, end_number = self._starts[start]
        state = states[number] or self._state(number)
        stack = [state]
        values: list[Any] = []
        offset = 0
        length = len(text)
        while True:
            if offset < length:
                match = state[0](text, offset)
                if match is None:
                    raise MismatchError(offset, self._expected(state))
                terminal = state[1][match.lastindex - 1]
            else:
                terminal = -1
            while True:
                action = state[2].get(terminal)
                if action is None:
                    raise MismatchError(offset, self._expected(state))
                if action > 0:
                    state = states[action - 1] or self._state(action - 1)
                    break
                name, size, kept, origin = rules[-action - 1]
                children: list[Any] = []
                if size:
                    for value in values[-size:]:
                        if kept & 1:
                            if type(value) is not list:
                                children.append(value)
                            elif children:
                                children += value
                            else:
                                # Left recursion: take over the long list instead of copying it.
                                children = value
                        kept >>= 1
                    del values[-size:]
                    del stack[-size:]
                values.append(children if name == "_" else (name, children))
                number = stack[-1][3][origin]
                if terminal == -1 and number == end_number:
                    result: tuple[str, list[Any]] = values[-1]
                    return result
                state = states[number] or self._state(number)
                stack.append(state)
            stack.append(state)
            end = match.end()
            values.append((names[terminal], offset, end))
            offset = end

    def _expected(self, state: _State) -> tuple[str, ...]:
        return tuple(self._names[terminal] if terminal >= 0 else "$END" for terminal in state[2])


def load(name: str) -> Grammar:
    """Return the tables of the grammar `name`: those made ahead of time, else made now with lark."""
    try:
        from buildah_py.buildfile import _tables
    except ImportError:
        from buildah_py.buildfile.tables import compile_grammar

        return compile_grammar(name)
    terminals, rules, states, starts = getattr(_tables, name.upper())
    fields = [line.split(" ") for line in rules.split("\n")[1:-1]]
    return (
        terminals,
        tuple((shown, int(size), int(kept), int(origin)) for shown, size, kept, origin in fields),
        tuple(states.split("\n")[1:-1]),
        starts,
    )


def _decoded(pairs: str) -> dict[int, int]:
    found = {}
    for pair in pairs.split():
        key, _, value = pair.partition(":")
        found[int(key)] = int(value)
    return found


_drivers: dict[str, Driver] = {}


def driver(name: str) -> Driver:
    """Return the parser of the grammar `name`, made once."""
    found = _drivers.get(name)
    if found is None:
        found = _drivers[name] = Driver(name)
    return found

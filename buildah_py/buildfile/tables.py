"""Compile the lark grammars into the data that `driver` runs: `python -m buildah_py.buildfile.tables` rewrites it.

lark is needed to make the tables, not to use them. They are those that lark computed for a contextual lexer: the
terminals in the order in which they are tried, the rules, and for each state what to do on each terminal.
"""

from __future__ import annotations

import os
import sys
from typing import Any

Grammar = tuple[
    tuple[tuple[str, str], ...],  # terminals in the order in which they are tried: name, regular expression
    tuple[tuple[str, int, int, int], ...],  # rules: shown name or "_", length, bits of kept symbols, number of origin
    tuple[str, ...],  # states: `terminal:shift + 1` or `terminal:-rule - 1`, then `|`, then `origin:state`
    tuple[tuple[str, int, int], ...],  # start rule, first state, state in which all has been read
]

GRAMMARS: dict[str, tuple[str, ...]] = {
    "arguments": ("flags", "words", "list", "from", "healthcheck"),
    "json": ("array",),
    "mount": ("mount",),
    "word": ("word", "body"),
    "condition": ("condition",),
}


def grammar_path(name: str) -> str:
    """Where the grammar `name` lies, in an installed package or in a working copy."""
    package = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    for folder in (os.path.join(package, "grammar"), os.path.join(os.path.dirname(package), "grammar")):
        path = os.path.join(folder, f"{name}.lark")
        if os.path.exists(path):
            return path
    raise FileNotFoundError(f"the grammar {name}.lark is missing from this installation of pybuild")


def read_grammar(name: str) -> str:
    """Return the text of the grammar `name`."""
    with open(grammar_path(name), encoding="utf-8") as file:
        return file.read()


def compile_grammar(name: str) -> Grammar:
    """Have lark compute the tables of the grammar `name`."""
    from lark import Lark
    from lark.parsers.lalr_analysis import Shift

    # lark has no public way to its tables, nor types for it.
    lark: Any = Lark(read_grammar(name), parser="lalr", lexer="contextual", start=list(GRAMMARS[name]))
    lexer = lark.parser.lexer
    parser = lark.parser.parser
    table = parser._parse_table  # noqa: SLF001
    order = [terminal.name for terminal in lexer.root_lexer.terminals]
    patterns = {terminal.name: terminal.pattern.to_regexp() for terminal in lexer.root_lexer.terminals}
    number = {terminal: index for index, terminal in enumerate(order)}
    number["$END"] = -1

    rules: list[tuple[str, int, int]] = []
    rule_number: dict[object, int] = {}
    for rule in parser.parser_conf.rules:
        kept = 0
        for position, symbol in enumerate(rule.expansion):
            if not (symbol.is_term and symbol.filter_out):
                kept |= 1 << position
        rule_number[rule] = len(rules)
        shown = str(rule.alias or rule.origin.name)
        rules.append(("_" if shown.startswith("_") else shown, len(rule.expansion), kept))

    origin = {rule_number[rule]: str(rule.origin.name) for rule in parser.parser_conf.rules}
    nonterminals = sorted(set(origin.values()))
    # lark numbers states as its sets happen to be ordered; here they are numbered as they are met.
    met = {table.start_states[start]: None for start in GRAMMARS[name]}
    order_of_states = list(met)
    states = []
    for state in order_of_states:
        actions: list[tuple[int, int]] = []
        gotos: list[tuple[int, int]] = []
        for symbol, (action, argument) in sorted(table.states[state].items()):
            if (symbol in nonterminals or action is Shift) and argument not in met:
                met[argument] = None
                order_of_states.append(argument)
            if symbol in nonterminals:
                gotos.append((nonterminals.index(symbol), order_of_states.index(argument)))
            elif action is Shift:
                actions.append((number[symbol], order_of_states.index(argument) + 1))
            else:
                actions.append((number[symbol], -rule_number[argument] - 1))
        states.append("|".join(_encoded(pairs) for pairs in (actions, gotos)))
    starts = tuple(
        (start, order_of_states.index(table.start_states[start]), order_of_states.index(table.end_states[start]))
        for start in GRAMMARS[name]
    )
    return (
        tuple((terminal, patterns[terminal]) for terminal in order),
        tuple((*rule, nonterminals.index(origin[index])) for index, rule in enumerate(rules)),
        tuple(states),
        starts,
    )


def _encoded(pairs: list[tuple[int, int]]) -> str:
    return " ".join(f"{key}:{value}" for key, value in sorted(pairs))


def render() -> str:
    """Return the text of the module `_tables`: strings, which cost nothing to load.

    `driver` reads what it uses of them.
    """
    import hashlib

    lines = [
        '"""Made from grammar/*.lark by `python -m buildah_py.buildfile.tables`; not for editing."""',
        "",
        "# fmt: off",
        "# ruff: noqa: Q000",
        "from __future__ import annotations",
        "",
        "DIGESTS = {",
    ]
    lines += [
        f"    {name!r}: {hashlib.sha256(read_grammar(name).encode()).hexdigest()!r}," for name in sorted(GRAMMARS)
    ]
    lines += ["}", ""]
    for name in sorted(GRAMMARS):
        terminals, rules, states, starts = compile_grammar(name)
        lines += [f"{name.upper()} = (", "    ("]
        lines += [f"        {terminal!r}," for terminal in terminals]
        lines += ["    ),", '    """']
        lines += [" ".join(map(str, rule)) for rule in rules]
        lines += ['""",', '    """']
        lines += states
        lines += ['""",', f"    {starts!r},", ")", ""]
    return "\n".join(lines)


def main() -> None:
    """Write the tables beside this module."""
    path = os.path.join(os.path.dirname(os.path.abspath(__file__)), "_tables.py")
    text = render()
    with open(path, "w", encoding="utf-8") as file:
        file.write(text)
    sys.stdout.write(f"{path}: {len(text)} bytes\n")


if __name__ == "__main__":
    main()

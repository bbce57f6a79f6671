"""Which paths of a build context an ignore file hides; also the matcher behind `--exclude` and `--parents`.

The rules are those of Docker's .dockerignore: a `#` in the first column starts a comment, blanks around a pattern fall
away, `!` brings back, paths are cleaned and a leading `/` means nothing; `*` and `?` stay within a name, `**` crosses
directories, `[…]` is a class and a backslash takes the next character as it is. A pattern that matches a directory
covers everything below it, and the last line that matches a path or one of its parents decides.
"""

from __future__ import annotations

import posixpath
import re
from typing import TYPE_CHECKING, NamedTuple

from buildah_py.errors import SourceError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence


class Decision(NamedTuple):
    """The pattern that decided about a path: its text as written, the line it stands in, and what it decided."""

    ignored: bool
    line: int
    pattern: str


class _Pattern(NamedTuple):
    """One cleaned pattern; `negated` is true for those that bring paths back."""

    text: str
    negated: bool
    line: int
    written: str


class _Run:
    """Neighbouring patterns of the same sign, matched together: within a run it does not matter which one matched."""

    __slots__ = ("matches", "negated", "patterns")

    def __init__(self, patterns: Sequence[_Pattern]) -> None:
        self.patterns = patterns
        self.negated = patterns[0].negated
        self.matches: Callable[[str], bool] = _test(patterns)


def _test(patterns: Sequence[_Pattern]) -> Callable[[str], bool]:
    """Make the cheapest function that says whether one of the patterns matches a path."""
    exact: set[str] = set()
    ends: list[str] = []
    starts: list[str] = []
    regexes: list[str] = []
    automata: list[Callable[[str], bool]] = []
    for pattern in patterns:
        _sort_in(pattern.text, exact, starts, ends, regexes, automata)
    suffixes, prefixes = tuple(ends), tuple(starts)
    if not regexes and not automata:
        if not prefixes:
            if not suffixes:
                return exact.__contains__
            return lambda path: path in exact or path.endswith(suffixes)
        return lambda path: path in exact or path.endswith(suffixes) or path.startswith(prefixes)
    regex = re.compile("|".join(regexes) or "(?!)", re.DOTALL).fullmatch

    def matches(path: str) -> bool:
        return path in exact or path.endswith(suffixes) or path.startswith(prefixes) or regex(path) is not None

    if not automata:
        return matches
    return lambda path: matches(path) or any(test(path) for test in automata)


class IgnorePatterns:
    """The patterns of one ignore file. Text in, decisions out: no method touches a file.

    Paths are relative to the context, clean, without a leading slash. A directory's state, as `step` gives it, is what
    its children need to be decided without looking at their parents again.
    """

    def __init__(self, lines: Iterable[str], *, name: str = ".dockerignore", flag: bool = False) -> None:
        """Read the lines of an ignore file called `name`, or with `flag` patterns as --exclude gives them.

        A flag's patterns know no comments and keep a leading slash. Raises SourceError for a malformed pattern.
        """
        patterns = _take(lines, name) if flag else _read(lines, name)
        self.name = name
        self.patterns = tuple(patterns)
        runs: list[list[_Pattern]] = []
        for pattern in patterns:
            if runs and runs[-1][0].negated == pattern.negated:
                runs[-1].append(pattern)
            else:
                runs.append([pattern])
        self._runs = tuple(_Run(run) for run in runs)
        self._states: dict[str, int] = {"": 0}
        self._by_depth: dict[int, tuple[_Run | None, ...]] = {}

    def __bool__(self) -> bool:
        return bool(self.patterns)

    def step(self, path: str, parent: int) -> int:
        """Give the state of `path` from its parent directory's state; the root's is 0.

        A state has a bit for each run that matches the path, or a directory above it. As in Docker, a run is asked only
        where it would change what those before it say: a `!dir` for a directory that is not ignored brings nothing
        back that is hidden further down.
        """
        state = 0
        is_ignored = False
        for index, run in enumerate(self._runs):
            if parent >> index & 1 or (run.negated == is_ignored and run.matches(path)):
                state |= 1 << index
                is_ignored = not run.negated
        return state

    def ignores(self, state: int) -> bool:
        """Whether a path of this state is ignored."""
        return state > 0 and not self._runs[state.bit_length() - 1].negated

    def state(self, directory: str) -> int:
        """Give the state of a directory, remembered for the next question."""
        states = self._states
        todo = [directory]
        while todo[-1] not in states:
            todo.append(posixpath.dirname(todo[-1]))
        found = states[todo.pop()]
        while todo:
            below = todo.pop()
            found = states[below] = self.step(below, found)
        return found

    def child_test(self, directory: str) -> Callable[[str], bool] | None:
        """Give a function that says of the paths right in `directory` whether they are ignored; None where none is."""
        state = self.state(directory)
        base = self.ignores(state)
        depth = directory.count("/") + 1 if directory else 0
        # The decision about the directory holds until a later run changes it.
        runs = [run for run in self._at_depth(depth)[state.bit_length() :] if run is not None]
        while runs and runs[0].negated != base:  # says nothing that is not so anyway
            runs.pop(0)
        if not runs:
            return (lambda _path: True) if base else None
        if len(runs) == 1:
            matches = runs[0].matches
            return (lambda path: not matches(path)) if base else matches

        def test(path: str) -> bool:
            is_ignored = base
            for run in runs:
                if run.negated == is_ignored and run.matches(path):
                    is_ignored = not run.negated
            return is_ignored

        return test

    def _at_depth(self, depth: int) -> tuple[_Run | None, ...]:
        """Give the runs, each without the patterns that have too few or too many components for that depth."""
        found = self._by_depth.get(depth)
        if found is None:
            reduced = []
            for run in self._runs:
                patterns = [
                    pattern
                    for pattern in run.patterns
                    if pattern.text.count("/") == depth or any(mark in pattern.text for mark in ("**", "[", "\\"))
                ]
                reduced.append(_Run(patterns) if patterns else None)
            found = self._by_depth[depth] = tuple(reduced)
        return found

    def matches(self, path: str) -> bool:
        """Whether `path` is ignored, because of its own name or a directory above it."""
        if not path:
            return False
        return self.ignores(self.step(path, self.state(posixpath.dirname(path))))

    def decision(self, path: str) -> Decision | None:
        """Give the line that decided about `path`; None where no line speaks of it or of a directory above it."""
        state = self.step(path, self.state(posixpath.dirname(path)))
        if not state:
            return None
        ancestors = [path]
        while above := posixpath.dirname(ancestors[-1]):
            ancestors.append(above)
        for pattern in reversed(self._runs[state.bit_length() - 1].patterns):
            matches = _test([pattern])
            if any(matches(ancestor) for ancestor in ancestors):
                return Decision(not pattern.negated, pattern.line, pattern.written)
        raise AssertionError(path)

    def may_contain_included(self, directory: str) -> bool:
        """Whether something below an ignored directory can be brought back: if not, it need not be walked."""
        state = self.state(directory)
        return any(run.negated and _reaches_below(run, directory) for run in self._runs[state.bit_length() :])

    def may_match_below(self, directory: str) -> bool:
        """Whether any pattern, whatever its sign, can match a path below `directory`."""
        return any(_reaches_below(run, directory) for run in self._runs)


def _take(values: Iterable[str], name: str) -> list[_Pattern]:
    stripped = ((number, value.strip()) for number, value in enumerate(values, 1))
    return [_pattern(text, number, text, name) for number, text in stripped if text]


def _read(lines: Iterable[str], name: str) -> list[_Pattern]:
    found = []
    for number, line in enumerate(lines, 1):
        written = line.removeprefix("\ufeff") if number == 1 else line
        if written.startswith("#"):
            continue
        text = written.strip()
        if not text:
            continue
        negated = text.startswith("!")
        if negated:
            text = text[1:].strip()
        if text:
            text = clean(text)
            if len(text) > 1:
                text = text.removeprefix("/")
        found.append(_pattern("!" + text if negated else text, number, written.strip(), name))
    return found


def _pattern(text: str, line: int, written: str, name: str) -> _Pattern:
    text = clean(text)
    negated = text.startswith("!")
    if negated:
        text = text[1:]
        if not text:
            raise SourceError(
                f"{name}:{line}: a lone “!” brings nothing back", hint="write the path to bring back behind it"
            )
    from buildah_py.buildfile import glob

    problem = glob.malformed(text)
    if problem:
        raise SourceError(
            f"{name}:{line}: the pattern {written!r} is malformed: {problem}",
            hint="put a backslash before [ or ] where they are part of a name",
        )
    return _Pattern(text, negated, line, written)


def clean(path: str) -> str:
    """Shorten a path the way Go's filepath.Clean does: no `.`, no doubled slash, `..` resolved in the text."""
    cleaned = posixpath.normpath(path) if path else "."
    return cleaned[1:] if cleaned.startswith("//") else cleaned


def _sort_in(
    text: str,
    exact: set[str],
    prefixes: list[str],
    suffixes: list[str],
    regexes: list[str],
    automata: list[Callable[[str], bool]],
) -> None:
    """File a pattern under the cheapest test that decides it."""
    plain = not any(character in text for character in "*?[\\")
    if plain:
        exact.add(text)
        return
    inner = text.removeprefix("**").removesuffix("**")
    special = any(character in inner for character in "*?[\\")
    if not special and text.startswith("**") and (not text.endswith("**") or text == "**"):
        suffix = text[2:]
        suffixes.append(suffix)
        if suffix.startswith("/"):
            exact.add(suffix[1:])
        return
    if not special and text.endswith("**") and not text.startswith("**"):
        prefixes.append(text[:-2])
        return
    tail = text.removeprefix("**/*")
    if tail != text and tail and not any(character in tail for character in "*?[\\/"):
        suffixes.append(tail)  # "**/*.pyc": whatever the directories, the name ends so
        return
    from buildah_py.buildfile import glob

    tokens = glob.read(text, crossing=True)
    if regex := glob.to_regex(tokens):
        regexes.append(regex)
    else:
        automata.append(glob.Automaton(tokens).matches)


def _reaches_below(run: _Run, directory: str) -> bool:
    names = directory.split("/") if directory else []
    return any(_can_match_below(pattern.text, names) for pattern in run.patterns)


def _can_match_below(text: str, names: Sequence[str]) -> bool:
    """Whether a pattern can match a path below a directory; says yes where a closer look would not pay."""
    from buildah_py.buildfile import glob

    components = text.split("/")
    for index, name in enumerate(names):
        if index == len(components):
            return False
        component = components[index]
        if "**" in component or "[" in component or "\\" in component:  # may run over a slash, or be cut by one
            return True
        if not glob.matcher(glob.read(component, crossing=True))(name):
            return False
    return len(components) > len(names)

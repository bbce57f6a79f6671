"""Print a syntax tree in canonical form, comments included.

The meaning to a build does not change: shell commands and ONBUILD triggers keep their text and line breaks, because
the blanks in them may matter. Everything else is printed from the tree: keywords in upper case, one blank between
arguments, long lists with one item a line where they were spread over lines before.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from buildah_py.buildfile import tree
from buildah_py.buildfile.lines import LineReader
from buildah_py.buildfile.spaces import SPACES

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from buildah_py.buildfile.tree import BuildFile, CommandForm, Heredoc, Instruction, Word
    from buildah_py.source_text import Position, Span

INDENT = "    "


def render(file: BuildFile) -> str:
    """Return the text of `file` in canonical form; parsing it gives the same tree but for places in the text."""
    return _Printer(file).run()


def quote_flag(value: str, escape: str = "\\") -> str:
    """Return a flag's value, in quotes where it needs them."""
    if value and not re.search(f"[{SPACES}'\"{re.escape(escape)}]", value):
        return value
    if not value:
        return value
    special = value.replace(escape, escape + escape).replace('"', f'{escape}"')
    return f'"{special}"'


def duration(nanoseconds: int) -> str:
    """Return a duration as HEALTHCHECK takes it: `1m30s`."""
    for unit, size in (("ns", 1_000), ("us", 1_000), ("ms", 1_000)):
        if nanoseconds % size:
            return f"{nanoseconds}{unit}"
        nanoseconds //= size
    minutes, seconds = divmod(nanoseconds, 60)
    hours, minutes = divmod(minutes, 60)
    parts = [f"{amount}{unit}" for amount, unit in ((hours, "h"), (minutes, "m"), (seconds, "s")) if amount]
    return "".join(parts) or "0s"


class _Printer:
    def __init__(self, file: BuildFile) -> None:
        self._file = file
        self._escape = file.directives.escape
        self._lines = file.source.text.split("\n")
        self._out: list[str] = []
        self._comments = sorted(file.comments)
        self._next_comment = 0

    def run(self) -> str:
        reader = LineReader(self._file.source)
        reader.next_line()
        self._out += [f"# {name}={value}" for name, value in reader.directives.items()]
        instructions: list[Instruction] = [*self._file.arguments]
        for stage in self._file.stages:
            instructions += [stage.base, *stage.instructions]
        self._block(instructions, "")
        self._print_comments(len(self._lines) + 1, "")
        return "\n".join(self._out) + "\n"

    def _block(self, instructions: Iterable[Instruction], indent: str) -> None:
        for instruction in instructions:
            first = instruction.span.start.line
            self._print_comments(first, indent)
            self._gap(first)
            if isinstance(instruction, tree.If):
                self._out.append(f"{indent}IF {instruction.condition.text}")
                self._block(instruction.then, indent + INDENT)
                if instruction.otherwise:
                    self._print_comments(self._else_line(instruction), indent + INDENT)
                    self._out.append(f"{indent}ELSE")
                    self._block(instruction.otherwise, indent + INDENT)
                self._print_comments(instruction.span.end.line, indent + INDENT)
                self._out.append(f"{indent}END")
            else:
                self._out += self._instruction(instruction, indent)

    def _else_line(self, instruction: tree.If) -> int:
        """Return the number of the line of the ELSE: comments before it belong to the first branch."""
        after = instruction.then[-1].span.end.line if instruction.then else instruction.span.start.line
        for number in range(after + 1, instruction.otherwise[0].span.start.line):
            if self._lines[number - 1].strip().upper() == "ELSE":
                return number
        return instruction.otherwise[0].span.start.line

    def _gap(self, line: int) -> None:
        """Print an empty line where there was at least one above `line`."""
        if line > 1 and not self._lines[line - 2].strip(SPACES) and (not self._out or self._out[-1]):
            self._out.append("")

    def _print_comments(self, before: int, indent: str) -> None:
        while self._next_comment < len(self._comments) and self._comments[self._next_comment][0] < before:
            line, text = self._comments[self._next_comment]
            self._next_comment += 1
            self._gap(line)
            self._out.append(indent + _comment(text))

    def _inner_comments(self, last: int) -> list[tuple[int, str]]:
        """Take the comments up to the line `last`: those in an instruction's continuation."""
        start = self._next_comment
        while self._next_comment < len(self._comments) and self._comments[self._next_comment][0] <= last:
            self._next_comment += 1
        return self._comments[start : self._next_comment]

    # instructions

    def _instruction(self, instruction: Instruction, indent: str) -> list[str]:
        keyword = indent + instruction.keyword.upper()
        if isinstance(instruction, tree.Run):
            return self._shell(instruction, [keyword, *self._run_flags(instruction)], "", instruction.command)
        if isinstance(instruction, tree.Healthcheck):
            head = [keyword, *_healthcheck_flags(instruction)]
            if instruction.command is None:
                return self._listed(instruction, keyword, head[1:], [(instruction.span.end.line, "NONE")])
            return self._shell(instruction, head, "CMD ", instruction.command)
        if isinstance(instruction, tree.Cmd | tree.Entrypoint):
            return self._shell(instruction, [keyword], "", instruction.command)
        if isinstance(instruction, tree.EnvFromRun):
            return self._shell(instruction, [keyword, "--from-run"], f"{instruction.name} ", instruction.command)
        if isinstance(instruction, tree.Onbuild):
            return self._onbuild(instruction, keyword)
        spread = _spread_word(instruction)
        if spread is not None:
            return self._verbatim(instruction, [keyword], "", spread.line, spread.column)
        flags, items = _parts(instruction, self._escape)
        return self._listed(instruction, keyword, flags, items)

    def _run_flags(self, run: tree.Run) -> list[str]:
        flags = [f"--mount={quote_flag(_csv(mount.options), self._escape)}" for mount in run.mounts]
        flags += [f"--network={run.network}"] if run.network is not None else []
        flags += [f"--security={run.security}"] if run.security is not None else []
        return flags + [f"--device={quote_flag(device, self._escape)}" for device in run.devices]

    def _shell(self, instruction: Instruction, head: Sequence[str], tail: str, command: CommandForm) -> list[str]:
        """Keyword and flags, what else stands in front of the command, and the command."""
        if isinstance(command, tree.ExecForm):
            item = (command.span.start.line, f"{tail}{_json(command.args)}")
            return self._listed(instruction, head[0], head[1:], [item])
        if not command.text:
            return self._listed(instruction, head[0], head[1:], [])
        return self._verbatim(instruction, head, tail, command.span.start.line, command.span.start.column)

    def _verbatim(self, instruction: Instruction, head: Sequence[str], tail: str, line: int, column: int) -> list[str]:
        """Keyword and flags, then the source's own lines from there on, without empty ones and blanks at their ends.

        Where the text began on a line of its own, so it does again, and so do the flags in front of it.
        """
        last = self._last_line(instruction)
        self._inner_comments(last)
        first = instruction.span.start.line
        rest = self._lines[line - 1].rstrip("\r")[column - 1 :]
        if line == first:
            out = [" ".join([*head, tail + rest])]
        else:
            indent = head[0][: len(head[0]) - len(head[0].lstrip())] + INDENT
            several = 2 if isinstance(instruction, tree.Run) else len(head)
            rows = [" ".join(head[:several]), *(indent + flag for flag in head[several:])]
            if (tail + rest).startswith("#"):
                # On a line of its own it would be a comment.
                rows = [head[0], *(indent + flag for flag in head[1:])]
                rows[-1] += f" {rest}"
            else:
                rows.append(indent + tail + rest)
            out = [f"{row} {self._escape}" for row in rows[:-1]] + rows[-1:]
            out[1:1] = [indent + _comment(text) for text in self._between(first, line)]
        for number in range(line + 1, last + 1):
            text = self._lines[number - 1].rstrip("\r")
            if text.strip(SPACES):
                out.append(text.rstrip(SPACES) if text.lstrip(SPACES).startswith("#") else text)
        out = [text.rstrip(" \t") for text in out[:-1]] + [out[-1].rstrip(SPACES)]
        out[-1] = self._finished(out[-1])
        return out + self._bodies(instruction, last)

    def _finished(self, line: str) -> str:
        """End a last line, which must not continue: an escape character at the end of the file continues nothing."""
        bare = line.rstrip(" \t")
        continues = bare[-1:] == self._escape and bare[-2:-1] != self._escape
        return bare[:-1].rstrip(SPACES) if continues else line

    def _between(self, first: int, line: int) -> list[str]:
        """Comments in the lines behind `first` and before `line`."""
        stripped = (self._lines[number - 1].strip(SPACES) for number in range(first + 1, line))
        return [text for text in stripped if text.startswith("#")]

    def _bodies(self, instruction: Instruction, last: int) -> list[str]:
        return self._lines[last : instruction.span.end.line] if instruction.heredocs else []

    def _last_line(self, instruction: Instruction) -> int:
        """Return the number of an instruction's last line before the bodies of its here-documents."""
        if not instruction.heredocs:
            return instruction.span.end.line
        bodies = sum(document.body.count("\n") + 1 for document in instruction.heredocs)
        return instruction.span.end.line - bodies

    def _onbuild(self, instruction: tree.Onbuild, keyword: str) -> list[str]:
        first = self._lines[instruction.span.start.line - 1].rstrip("\r")
        found = re.match(r"[^\S\n]*onbuild[ \t]+(?=\S)", first, re.IGNORECASE)
        if found is not None and first[found.end()] != self._escape:
            return self._verbatim(instruction, [keyword], "", instruction.span.start.line, found.end() + 1)
        trigger, *bodies = instruction.trigger.split("\n")
        return [*self._listed(instruction, keyword, [], [(instruction.span.end.line, trigger)]), *bodies]

    def _listed(
        self, instruction: Instruction, keyword: str, flags: Sequence[str], items: Sequence[tuple[int, str]]
    ) -> list[str]:
        """Return the lines of an instruction.

        That is one line, or an item a line with the comments between them where it was spread so.
        """
        last = self._last_line(instruction)
        comments = self._inner_comments(last)
        head = " ".join([keyword, *flags])
        documents = [] if isinstance(instruction, tree.Onbuild) else self._documents(instruction)
        if not items:
            return [head, *(_comment(text) for _, text in comments)]
        if not comments and (last == instruction.span.start.line or len(items) == 1):
            return [" ".join([head, *(text for _, text in items)]), *documents]
        indent = keyword[: len(keyword) - len(keyword.lstrip())] + INDENT
        out = [f"{head} {self._escape}"]
        for line, text in items:
            while comments and comments[0][0] < line:
                out.append(indent + _comment(comments.pop(0)[1]))
            if len(out) == 1 and out[0] == f"{head} {self._escape}":
                out[0] = f"{head} {text} {self._escape}"
            else:
                out.append(f"{indent}{text} {self._escape}")
        out += [indent + _comment(text) for _, text in comments]
        final = max(number for number, text in enumerate(out) if not text.lstrip().startswith("#"))
        out[final] = out[final].removesuffix(f" {self._escape}")
        return out + documents

    def _documents(self, instruction: Instruction) -> list[str]:
        out: list[str] = []
        for document in instruction.heredocs:
            out += [*document.body.split("\n")[:-1], document.name]
        return out


def _comment(text: str) -> str:
    text = text.rstrip(SPACES)
    return f"# {text[1:]}" if len(text) > 1 and text[1] not in " \t#!" else text


def _json(args: Iterable[str]) -> str:
    import json

    return json.dumps(list(args), ensure_ascii=False)


def _csv(options: Iterable[tuple[str, str | None]]) -> str:
    fields = []
    for key, value in options:
        field = key if value is None else f"{key}={value}"
        if "," in field or '"' in field or "\n" in field:
            escaped = field.replace('"', '""')
            field = f'"{escaped}"'
        fields.append(field)
    return ",".join(fields)


def _healthcheck_flags(check: tree.Healthcheck) -> list[str]:
    durations = (
        ("interval", check.interval),
        ("timeout", check.timeout),
        ("start-period", check.start_period),
        ("start-interval", check.start_interval),
    )
    flags = [f"--{name}={duration(value)}" for name, value in durations if value]
    return flags + ([f"--retries={check.retries}"] if check.retries else [])


def _spread_word(instruction: Instruction) -> Position | None:
    """Where the arguments of an ENV, LABEL or ARG begin, if one of them goes over several lines."""
    words: list[Span] = []
    if isinstance(instruction, tree.Env | tree.Label):
        words = [word.span for pair in instruction.pairs for word in pair]
    elif isinstance(instruction, tree.Arg):
        words = [argument.span for argument in instruction.arguments]
    return words[0].start if any(word.start.line != word.end.line for word in words) else None


def _flags(pairs: Iterable[tuple[str, object]], escape: str) -> list[str]:
    flags = []
    for name, value in pairs:
        if value is True:
            flags.append(f"--{name}")
        elif value is False:
            flags.append(f"--{name}=false")
        elif isinstance(value, tree.Word):
            flags.append(f"--{name}={quote_flag(value.text, escape)}")
    return flags


_Items = list[tuple[int, str]]


def _parts(instruction: Instruction, escape: str) -> tuple[list[str], _Items]:
    """Return the flags of an instruction printed from the tree, and its arguments with the lines where they stood."""
    line = instruction.span.start.line
    if isinstance(instruction, tree.From):
        items = [instruction.image.text]
        if instruction.as_ is not None:
            items += ["AS", instruction.as_[1].text]
        return _flags([("platform", instruction.platform)], escape), [
            (instruction.image.span.start.line, " ".join(items))
        ]
    if isinstance(instruction, tree.Copy | tree.Add):
        return _copy_parts(instruction, escape)
    if isinstance(instruction, tree.Env | tree.Label):
        between = " " if instruction.legacy else "="
        return [], [(key.span.start.line, f"{key.text}{between}{value.text}") for key, value in instruction.pairs]
    if isinstance(instruction, tree.Arg):
        return [], [
            (item.span.start.line, item.name if item.default is None else f"{item.name}={item.default.text}")
            for item in instruction.arguments
        ]
    if isinstance(instruction, tree.Expose):
        return [], _items(instruction.ports)
    if isinstance(instruction, tree.Volume):
        items = [word.text for word in instruction.paths]
        return [], [(instruction.paths[0].span.start.line, _json(items))] if instruction.json else _items(
            instruction.paths
        )
    if isinstance(instruction, tree.Shell):
        return [], [(line, _json(instruction.args))]
    if isinstance(instruction, tree.Unset):
        return [instruction.kind], _items(instruction.names)
    return [], [_single(instruction)]


def _items(words: Iterable[Word]) -> _Items:
    return [(word.span.start.line, word.text) for word in words]


def _single(instruction: Instruction) -> tuple[int, str]:
    if isinstance(instruction, tree.Maintainer):
        return instruction.span.start.line, instruction.name
    if isinstance(instruction, tree.Workdir | tree.Include):
        word = instruction.path
    elif isinstance(instruction, tree.User):
        word = instruction.user
    else:
        assert isinstance(instruction, tree.StopSignal)
        word = instruction.signal
    return word.span.start.line, word.text


def _copy_parts(copy: tree.Copy | tree.Add, escape: str) -> tuple[list[str], _Items]:
    pairs: list[tuple[str, object]] = []
    if isinstance(copy, tree.Copy):
        pairs += [("from", copy.from_)]
    pairs += [("chown", copy.chown), ("chmod", copy.chmod), ("link", copy.link or None)]
    if isinstance(copy, tree.Copy):
        pairs += [("parents", copy.parents or None)]
    else:
        pairs += [("checksum", copy.checksum), ("keep-git-dir", copy.keep_git_dir), ("unpack", copy.unpack)]
    flags = _flags([*pairs, *(("exclude", word) for word in copy.exclude)], escape)
    words = _items(copy.sources)
    words += [(document.span.start.line, _delimiter(document)) for document in copy.heredocs]
    words += _items([copy.destination])
    if copy.json:
        return flags, [(words[0][0], _json(text for _, text in words))]
    if words[0][1].startswith("--"):
        flags.append("--")
    return flags, words


def _delimiter(document: Heredoc) -> str:
    fd = str(document.fd) if document.fd else ""
    dash = "-" if document.strip_tabs else ""
    if document.expand:
        name = re.sub(r"(['\"\\])", r"\\\1", document.name)
    elif "'" in document.name:
        name = '"' + re.sub(r'(["\\$])', r"\\\1", document.name) + '"'
    else:
        name = f"'{document.name}'"
    return f"{fd}<<{dash}{name}"

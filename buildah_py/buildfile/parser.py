"""From the text of a build file to its syntax tree."""

from __future__ import annotations

from typing import TYPE_CHECKING

from buildah_py.buildfile.instructions import build
from buildah_py.buildfile.lines import LineReader, LogicalLine
from buildah_py.buildfile.statement import Statement
from buildah_py.buildfile.tree import Arg, BuildFile, Directives, From, If, Instruction, Stage
from buildah_py.errors import BuildFileError
from buildah_py.source_text import Position, Source, Span, decode

if TYPE_CHECKING:
    from buildah_py.buildfile.include import IncludeReader
    from buildah_py.buildfile.statement import Common
    from buildah_py.buildfile.tree import Condition

_MAX_ERRORS = 100
_MAX_BLOCKS = 50


def parse(text: str | bytes, name: str, *, extensions: bool = False, include: IncludeReader | None = None) -> BuildFile:
    """Read a build file.

    Bytes that are not UTF-8 become replacement characters. `extensions` turns pybuild's extensions on; a file does so
    itself with `# syntax=pybuild/1`. `include` is asked for the text of an INCLUDE's file.

    Raises:
        BuildFileError: the file is wrong; `others` holds further faults.

    """
    source = Source(name, decode(text))
    if include is not None and "include" in source.text.lower() and (extensions or _asks_for_extensions(source)):
        from buildah_py.buildfile.include import splice

        source = splice(source, include)
    return _Parser(source, extensions=extensions).run()


def parse_trigger(text: str, source: Source, *, extensions: bool = False) -> Instruction:
    """Read an ONBUILD trigger from an image's config; `source` gives it a telling name.

    Raises:
        BuildFileError: it is not exactly one instruction that may stand in a stage.

    """
    parser = _Parser(Source(source.name, text), extensions=extensions)
    instructions = parser.instructions()
    whole = Span(Position(1, 1), Position(1, 1))
    if parser.errors:
        raise _joined(parser.errors)
    if len(instructions) != 1:
        raise BuildFileError("onbuild trigger should be a single expression", parser.source, whole)
    instruction = instructions[0]
    if isinstance(instruction, From):
        raise BuildFileError("FROM isn't allowed as an ONBUILD trigger", parser.source, instruction.span)
    return instruction


def _wants_extensions(syntax: str) -> bool:
    name = syntax.split(" ", 1)[0]
    return name == "pybuild/1" or name.startswith("pybuild/1.")


def _joined(errors: list[BuildFileError]) -> BuildFileError:
    first, *others = sorted(errors[:_MAX_ERRORS], key=lambda error: error.span.start)
    first.others = tuple(others)
    return first


def _asks_for_extensions(source: Source) -> bool:
    reader = LineReader(source)
    reader.next_line()
    return _wants_extensions(reader.directives.get("syntax", ""))


class _Block:
    """An IF whose END has not come yet."""

    def __init__(self, statement: Statement, common: Common) -> None:
        self._statement = statement
        self._common = common
        self._then: list[Instruction] | None = None
        self.condition: Condition | None = None
        self.instructions: list[Instruction] = []

    def turn(self, statement: Statement) -> None:
        """ELSE: what follows belongs to the other branch."""
        if self._then is not None:
            raise statement.error("this IF has an ELSE already")
        self._then, self.instructions = self.instructions, []

    def node(self, end: Position) -> Instruction | None:
        """END; None where the condition was wrong, which has been said."""
        if self.condition is None:
            return None
        then, otherwise = (self.instructions, []) if self._then is None else (self._then, self.instructions)
        common = self._common
        common["span"] = Span(common["span"].start, end)
        return If(**common, condition=self.condition, then=tuple(then), otherwise=tuple(otherwise))

    def unclosed(self) -> BuildFileError:
        """Return the error for a block that never ends."""
        return self._statement.error("this IF has no END", hint="add a line END behind its instructions")


class _Parser:
    def __init__(self, source: Source, *, extensions: bool) -> None:
        self.source = source
        self.errors: list[BuildFileError] = []
        self._reader = LineReader(source)
        self._extensions = extensions
        self._blocks: list[_Block] = []

    def run(self) -> BuildFile:
        instructions = self.instructions()
        arguments, stages = self._stages(instructions)
        if self.errors:
            raise _joined(self.errors)
        given = self._reader.directives
        directives = Directives(given.get("syntax", ""), self._reader.escape, given.get("check", ""))
        return BuildFile(
            self.source, directives, arguments, stages, tuple(self._reader.comments), extensions=self._extensions
        )

    def instructions(self) -> list[Instruction]:
        """All instructions of the file, as far as they can be read; faults are in `errors`."""
        instructions: list[Instruction] = []
        seen = False
        while True:
            line = self._reader.next_line()
            if line is None or len(self.errors) >= _MAX_ERRORS:
                break
            if not seen and _wants_extensions(self._reader.directives.get("syntax", "")):
                self._extensions = True
            seen = True
            try:
                instruction = self._instruction(line)
            except BuildFileError as error:
                self.errors.append(error)
                continue
            if instruction is not None:
                (self._blocks[-1].instructions if self._blocks else instructions).append(instruction)
        self.errors += [block.unclosed() for block in self._blocks]
        self.errors += self._reader.errors
        if not seen and not self.errors:
            self.errors.append(self._empty())
        return instructions

    def _empty(self) -> BuildFileError:
        message = "the file is empty" if not self.source.text.strip() else "file with no instructions"
        return BuildFileError(
            message, self.source, Span(Position(1, 1), Position(1, 1)), hint="a build file begins with FROM IMAGE"
        )

    def _instruction(self, line: LogicalLine) -> Instruction | None:
        reader = self._reader
        statement = Statement(self.source, line, reader.escape)
        statement.extensions = self._extensions
        if "<<" in line.text and statement.takes_heredocs():
            statement.heredocs = reader.heredocs(line)
        start = line.pieces[0]
        if statement.heredocs:
            last = reader.line_number
            end = Position(last, len(self.source_line(last)) + 1)
        elif len(line.pieces) == 1 and not line.has_blank:
            end = Position(start.line, start.column + len(line.text))
        else:
            end = Position(line.last_line, len(self.source_line(line.last_line)) + 1)
        common = statement.common(Span(Position(start.line, start.column), end))
        if self._extensions and statement.name in ("IF", "ELSE", "END"):
            return self._block(statement, common)
        if self._blocks and statement.name == "FROM":
            raise statement.error("FROM cannot stand in an IF", hint="end the IF with END before it")
        return build(statement, common)

    def _block(self, statement: Statement, common: Common) -> Instruction | None:
        """IF opens a block, ELSE opens its other branch, END makes a node of both."""
        from buildah_py.buildfile.conditions import parse_condition

        if statement.name == "IF":
            block = _Block(statement, common)
            self._blocks.append(block)
            if len(self._blocks) > _MAX_BLOCKS:
                raise statement.error("IFs are nested too deeply", hint=f"{_MAX_BLOCKS} levels are enough")
            block.condition = parse_condition(statement)
            return None
        if statement.args or statement.flags:
            raise statement.error(f"{statement.name} takes no arguments")
        if not self._blocks:
            raise statement.error(f"{statement.name} without IF")
        if statement.name == "ELSE":
            self._blocks[-1].turn(statement)
            return None
        return self._blocks.pop().node(common["span"].end)

    def source_line(self, number: int) -> str:
        """Return a physical line without splitting the file again."""
        return self._reader.physical(number)

    def _stages(self, instructions: list[Instruction]) -> tuple[tuple[Arg, ...], tuple[Stage, ...]]:
        arguments: list[Arg] = []
        stages: list[tuple[From, list[Instruction]]] = []
        for instruction in instructions:
            if isinstance(instruction, From):
                stages.append((instruction, []))
            elif stages:
                stages[-1][1].append(instruction)
            elif isinstance(instruction, Arg):
                arguments.append(instruction)
            elif not self.errors:
                # One is enough; and after any other fault, the missing FROM may be what is misspelt.
                self.errors.append(
                    BuildFileError(
                        "no build stage in current context",
                        self.source,
                        instruction.span,
                        hint=f"{instruction.keyword} has to stand after a FROM; only ARG may stand before it",
                    )
                )
        if not stages and not self.errors:
            last = instructions[-1].span if instructions else Span(Position(1, 1), Position(1, 1))
            self.errors.append(
                BuildFileError(
                    "dockerfile contains no stages to build", self.source, last, hint="add FROM IMAGE after it"
                )
            )
        return tuple(arguments), tuple(Stage(index, base, tuple(body)) for index, (base, body) in enumerate(stages))

"""Syntax tree of a bake file: bodies of attributes and blocks, and expressions (hcl/hclsyntax/spec.md)."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, NoReturn

from buildah_py.errors import BuildFileError
from buildah_py.source_text import Position, Span

if TYPE_CHECKING:
    from collections.abc import Mapping

    from buildah_py.bake.values import Value
    from buildah_py.source_text import Source


class Location(NamedTuple):
    """A run of characters of a file, by offsets in its text."""

    source: Source
    start: int
    end: int

    @property
    def span(self) -> Span:
        """The same in lines and columns."""
        return Span(_position(self.source.text, self.start), _position(self.source.text, max(self.start, self.end)))

    def to(self, other: Location) -> Location:
        """Reach from here to the end of another place."""
        return self._replace(end=max(self.end, other.end))

    def error(self, message: str, hint: str = "") -> BuildFileError:
        """Return an error for what stands here."""
        return BuildFileError(message, self.source, self.span, hint=hint)

    def fail(self, message: str, hint: str = "") -> NoReturn:
        """Raise that error."""
        raise self.error(message, hint)

    def __str__(self) -> str:
        start = self.span.start
        return f"{self.source.name}:{start.line}:{start.column}"


def _position(text: str, offset: int) -> Position:
    begin = text.rfind("\n", 0, offset) + 1
    return Position(text.count("\n", 0, offset) + 1, offset - begin + 1)


class Literal(NamedTuple):
    """A value that stands there as it is."""

    place: Location
    value: Value


class Template(NamedTuple):
    """Parts that are joined to a string."""

    place: Location
    parts: tuple[Expression, ...]


class Variable(NamedTuple):
    """A name that the scope knows."""

    place: Location
    name: str


class Each(NamedTuple):
    """The element of a splat that is being looked at."""

    place: Location


class Attribute(NamedTuple):
    """`on.name`."""

    place: Location
    on: Expression
    name: str


class IndexOf(NamedTuple):
    """`on[key]`."""

    place: Location
    on: Expression
    key: Expression


class Splat(NamedTuple):
    """`on[*]` and `on.*` with what follows; `each` has an `Each` where the element goes."""

    place: Location
    on: Expression
    each: Expression


class Unary(NamedTuple):
    """`-` or `!`."""

    place: Location
    operator: str
    operand: Expression


class Binary(NamedTuple):
    """Two operands and what stands between them."""

    place: Location
    operator: str
    left: Expression
    right: Expression


class Conditional(NamedTuple):
    """`condition ? yes : no`, and `%{ if }` of templates."""

    place: Location
    condition: Expression
    yes: Expression
    no: Expression


class Tuple(NamedTuple):
    """`[a, b]`."""

    place: Location
    items: tuple[Expression, ...]


class Object(NamedTuple):
    """`{ a = b }`."""

    place: Location
    items: tuple[tuple[Expression, Expression], ...]


class For(NamedTuple):
    """`[for k, v in over : value if condition]`, or with `key` an object; `groups` for `...`; `joins` in templates."""

    place: Location
    names: tuple[str, ...]
    over: Expression
    key: Expression | None
    value: Expression
    condition: Expression | None
    groups: bool = False
    joins: bool = False


class Call(NamedTuple):
    """`name(arguments)`; with `expands` the last argument is a sequence of further ones."""

    place: Location
    name: str
    arguments: tuple[Expression, ...]
    expands: bool


Expression = (
    Literal
    | Template
    | Variable
    | Each
    | Attribute
    | IndexOf
    | Splat
    | Unary
    | Binary
    | Conditional
    | Tuple
    | Object
    | For
    | Call
)


class Assignment(NamedTuple):
    """`name = value` of a body; `place` is that of the name."""

    place: Location
    name: str
    value: Expression


class HclBlock(NamedTuple):
    """`kind "label" { … }`; `place` is that of the first word and the labels."""

    place: Location
    kind: str
    labels: tuple[str, ...]
    body: HclBody


class HclBody(NamedTuple):
    """Settings by their names, and blocks in the order of the file."""

    settings: Mapping[str, Assignment]
    blocks: tuple[HclBlock, ...]

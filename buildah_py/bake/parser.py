"""Parser of HCL's native syntax: a file's text becomes a body (hcl/hclsyntax/spec.md).

Why it is not that of a library stands in docs/bake.md.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final, NamedTuple, TypeVar

from buildah_py.bake import syntax
from buildah_py.bake.syntax import Location
from buildah_py.bake.values import NULL, ValueFault, bool_value, number, string

if TYPE_CHECKING:
    from collections.abc import Callable

    from buildah_py.bake.syntax import Expression, HclBody
    from buildah_py.source_text import Source

T = TypeVar("T")

_TOKEN: Final = re.compile(
    r"""(?P<newline>\r?\n)
    |(?P<number>\d+(?:\.\d+)?(?:[eE][+-]?\d+)?)
    |(?P<name>[^\W\d][\w-]*|_[\w-]*)
    |(?P<heredoc><<-?(?=[^\W\d][\w.-]*\r?\n|_[\w.-]*\r?\n))
    |(?P<operator>\.\.\.|=>|==|!=|<=|>=|&&|\|\||[-+*/%!<>?:=.,(){}\[\]"~])""",
    re.VERBOSE,
)
_SPACE: Final = re.compile(r"(?:[ \t]+|\r(?!\n)|#[^\n]*|//[^\n]*|/\*.*?\*/)*", re.DOTALL)
_LEVELS: Final = (("||",), ("&&",), ("==", "!="), ("<", "<=", ">", ">="), ("+", "-"), ("*", "/", "%"))
_ESCAPES: Final = {"n": "\n", "r": "\r", "t": "\t", '"': '"', "\\": "\\"}
_DEEPEST: Final = 100
_END: Final = "the end of the file"


class HclToken(NamedTuple):
    """`kind` is name, number, heredoc, newline, end, or an operator's own characters."""

    kind: str
    text: str
    start: int
    end: int


class _Strip(NamedTuple):
    """A part of a template that is only there to take white space away: before it, behind it."""

    before: bool
    behind: bool


class _Part(NamedTuple):
    """A part of a template: text, an expression, or a directive by its word; `strip` is what its `~`s say."""

    text: str = ""
    expression: Expression | None = None
    word: str = ""
    names: tuple[str, ...] = ()
    strip: _Strip = _Strip(False, False)
    place: Location | None = None


def parse(source: Source) -> HclBody:
    """Parse a file. Raises BuildFileError at the first fault."""
    parser = HclParser(source)
    body = parser.body("end")
    parser.expect("end")
    return body


def parse_template(source: Source) -> Expression:
    """Parse a text that is a template as a whole, as strings in JSON are."""
    return HclParser(source).whole_template()


def parse_expression(source: Source) -> Expression:
    """Parse a text that is one expression. Raises BuildFileError."""
    parser = HclParser(source)
    with_newlines = parser.inside(parser.expression)
    parser.skip_newlines()
    parser.expect("end")
    return with_newlines


class HclParser:
    """Parses characters of a text from `start` to `end`."""

    def __init__(self, source: Source, start: int = 0, end: int | None = None) -> None:
        self._source = source
        self._text = source.text
        self._at = start
        self._end = len(source.text) if end is None else end
        self._free = False  # whether line ends mean nothing
        self._depth = 0
        self._next: HclToken | None = None

    # tokens

    def peek(self) -> HclToken:
        """Give the next token, and leave it."""
        if self._next is None:
            self._next = self._scan()
        return self._next

    def _scan(self) -> HclToken:
        while True:
            space = _SPACE.match(self._text, self._at, self._end)
            at = space.end() if space else self._at
            if at >= self._end:
                return HclToken("end", "", self._end, self._end)
            found = _TOKEN.match(self._text, at, self._end)
            if found is None:
                if self._text.startswith("/*", at):
                    self._place(at, at + 2).fail("this comment does not end", "write */ behind it")
                self._place(at, at + 1).fail(f"the character {self._text[at]!r} means nothing here")
            kind = str(found.lastgroup)
            if kind == "newline" and self._free:
                self._at = found.end()
                continue
            return HclToken(found[0] if kind == "operator" else kind, found[0], found.start(), found.end())

    def take(self) -> HclToken:
        """Give the next token, and go past it."""
        token = self.peek()
        self._at, self._next = token.end, None
        return token

    def _jump(self, to: int) -> None:
        self._at, self._next = to, None

    def accept(self, *kinds: str) -> HclToken | None:
        """Take the next token if it is one of these."""
        return self.take() if self.peek().kind in kinds else None

    def expect(self, kind: str, why: str = "") -> HclToken:
        """Take the next token, which has to be this one."""
        token = self.peek()
        if token.kind != kind:
            wanted = {"end": _END, "newline": "the end of the line", "name": "a name"}.get(kind, f"`{kind}`")
            self.place(token).fail(f"{self._shown(token)} stands where {wanted} is expected", why)
        return self.take()

    def _shown(self, token: HclToken) -> str:
        return {"end": _END, "newline": "the end of the line"}.get(token.kind, f"`{token.text}`")

    def _place(self, start: int, end: int) -> Location:
        return Location(self._source, start, end)

    def place(self, token: HclToken) -> Location:
        """Give the place of a token."""
        return self._place(token.start, token.end)

    def inside(self, parse: Callable[[], T], *, free: bool = True) -> T:
        """Parse where line ends mean nothing, as inside of parentheses, or with `free` false where they do again."""
        before, self._free, self._next = self._free, free, None
        try:
            return self._deeper(parse)
        finally:
            self._free, self._next = before, None

    def _deeper(self, parse: Callable[[], T]) -> T:
        self._depth += 1
        if self._depth > _DEEPEST:
            self._place(self._at, self._at + 1).fail("expressions stand too deep in one another")
        try:
            return parse()
        finally:
            self._depth -= 1

    def skip_newlines(self) -> None:
        """Go past line ends."""
        while self.accept("newline"):
            pass

    # bodies

    def body(self, until: str) -> HclBody:
        """Parse settings and blocks up to a token, which is left."""
        settings: dict[str, syntax.Assignment] = {}
        blocks: list[syntax.HclBlock] = []
        while True:
            self.skip_newlines()
            if self.peek().kind == until:
                return syntax.HclBody(settings, tuple(blocks))
            if self.peek().kind == '"':
                self.place(self.peek()).fail("names of attributes and blocks have no quotation marks", "leave them out")
            name = self.expect("name", 'a body holds attributes (`name = value`) and blocks (`kind "label" { … }`)')
            if self.accept("="):
                value = self.expression()
                setting = syntax.Assignment(self.place(name), name.text, value)
                if name.text in settings:
                    setting.place.fail(
                        f"`{name.text}` is set already, in line {settings[name.text].place.span.start.line}",
                        "leave one of them out",
                    )
                settings[name.text] = setting
                if self.peek().kind != until:
                    self._line_end("an attribute ends with its line")
            else:
                blocks.append(self._block(name))
                if self.peek().kind != until:
                    self._line_end("a block ends with its line")

    def _line_end(self, why: str) -> None:
        if self.peek().kind != "end":
            self.expect("newline", why)

    def _block(self, name: HclToken) -> syntax.HclBlock:
        labels: list[str] = []
        end = name
        while True:
            token = self.peek()
            if token.kind == "name":
                end = self.take()
                labels.append(end.text)
            elif token.kind == '"':
                labels.append(self._label())
                end = HclToken('"', "", token.start, self._at)
            else:
                break
        self.expect("{", f"`{name.text} = value` sets an attribute, `{name.text} {{` begins a block")
        body = self.inside(self._block_body, free=False)
        self.expect("}")
        return syntax.HclBlock(self._place(name.start, end.end), name.text, tuple(labels), body)

    def _block_body(self) -> HclBody:
        """Parse what stands between braces: one attribute in the line of both, or lines of their own."""
        if self.peek().kind in ("newline", "}", '"'):
            return self.body("}")
        name = self.expect("name")
        hint = "write one attribute and the brace behind it, or begin a new line behind the first brace"
        if not self.accept("="):
            self.place(self.peek()).fail("a block in one line holds one attribute", hint)
        setting = syntax.Assignment(self.place(name), name.text, self.expression())
        if self.peek().kind != "}":
            self.place(self.peek()).fail("a block that begins with an attribute in its first line ends there", hint)
        return syntax.HclBody({name.text: setting}, ())

    def _label(self) -> str:
        quote = self.take()
        expression = self._quoted(quote)
        if not isinstance(expression, syntax.Literal):
            self._place(quote.start, self._at).fail("a label holds no variables", "write the name itself")
        return str(expression.value.raw)

    # expressions

    def expression(self) -> Expression:
        """Parse an expression."""
        return self._deeper(self._conditional)

    def _conditional(self) -> Expression:
        condition = self._binary(0)
        if not self.accept("?"):
            return condition
        yes = self.expression()
        self.expect(":", "a condition is `test ? yes : no`")
        no = self.expression()
        return syntax.Conditional(condition.place.to(no.place), condition, yes, no)

    def _binary(self, level: int) -> Expression:
        if level == len(_LEVELS):
            return self._with_traversals(self._term())
        left = self._binary(level + 1)
        while operator := self.accept(*_LEVELS[level]):
            right = self._binary(level + 1)
            left = syntax.Binary(left.place.to(right.place), operator.kind, left, right)
        return left

    def _with_traversals(self, on: Expression) -> Expression:
        while True:
            if dot := self.accept("."):
                on = self._behind_dot(on, dot)
            elif self.peek().kind == "[":
                bracket = self.take()
                on = self._in_brackets(on, bracket)
            else:
                return on

    def _behind_dot(self, on: Expression, dot: HclToken) -> Expression:
        token = self.peek()
        if token.kind == "name":
            self.take()
            return syntax.Attribute(on.place.to(self.place(token)), on, token.text)
        if token.kind == "number":
            self.take()
            place = self.place(token)
            parts = token.text.split(".")  # `a.0.1` looks like a number
            if not all(part.isdecimal() for part in parts):
                place.fail(f"`{token.text}` is not a position in a list")
            for part in parts:
                on = syntax.IndexOf(on.place.to(place), on, syntax.Literal(place, number(int(part))))
            return on
        if token.kind == "*":
            self.take()
            each: Expression = syntax.Each(self.place(token))
            while self.peek().kind == ".":
                each = self._behind_dot(each, self.take())
            return syntax.Splat(on.place.to(each.place), on, each)
        raise self.place(dot).error("a name or a position is expected behind the dot")

    def _in_brackets(self, on: Expression, bracket: HclToken) -> Expression:
        def key() -> Expression | None:
            star = self.accept("*")
            found = None if star and self.peek().kind == "]" else self.expression()
            self.expect("]")
            return found

        index = self.inside(key)
        place = on.place.to(self._place(bracket.start, self._at))
        if index is not None:
            return syntax.IndexOf(place, on, index)
        each = self._with_traversals(syntax.Each(place))
        return syntax.Splat(place.to(each.place), on, each)

    def _term(self) -> Expression:
        token = self.peek()
        kind, place = token.kind, self.place(token)
        if kind == "number":
            self.take()
            return self._number(place, token.text)
        if kind == '"':
            self.take()
            return self._quoted(token)
        if kind == "heredoc":
            self.take()
            return self._heredoc(token)
        if kind in ("-", "!"):
            self.take()
            operand = self.inside(lambda: self._with_traversals(self._term()), free=self._free)
            return syntax.Unary(place.to(operand.place), kind, operand)
        if kind == "(":
            self.take()

            def parenthesised() -> Expression:
                found = self.expression()
                self.expect(")")
                return found

            return self.inside(parenthesised)
        if kind == "[":
            self.take()
            return self.inside(lambda: self._tuple(token))
        if kind == "{":
            self.take()
            return self._object(token)
        if kind == "name":
            return self._name(self.take())
        raise place.error(f"{self._shown(token)} stands where a value is expected")

    def _number(self, place: Location, text: str) -> Expression:
        try:
            return syntax.Literal(place, number(text))
        except ValueFault as fault:
            raise place.error(fault.message) from None

    def _name(self, token: HclToken) -> Expression:
        place = self.place(token)
        if token.text in ("true", "false"):
            return syntax.Literal(place, bool_value(token.text == "true"))
        if token.text == "null":
            return syntax.Literal(place, NULL)
        name = token.text
        while self._text.startswith("::", self._at):  # a name space, such as provider::name
            self._jump(self._at + 2)
            name += f"::{self.expect('name').text}"
        if self.peek().kind != "(":
            return syntax.Variable(place, name)
        self.take()
        return self.inside(lambda: self._call(token, name))

    def _call(self, token: HclToken, name: str) -> Expression:
        arguments: list[Expression] = []
        expands = False
        while self.peek().kind != ")":
            arguments.append(self.expression())
            if self.accept("..."):
                expands = True
                self.accept(",")
                break
            if not self.accept(","):
                break
        end = self.expect(")", f"arguments of `{name}` stand between parentheses, with commas between them")
        return syntax.Call(self._place(token.start, end.end), name, tuple(arguments), expands)

    def _tuple(self, bracket: HclToken) -> Expression:
        if self.peek().kind == "name" and self.peek().text == "for":
            return self._for(bracket, "]")
        items: list[Expression] = []
        while self.peek().kind != "]":
            items.append(self.expression())
            if not self.accept(","):
                break
        end = self.expect("]", "values of a list have commas between them")
        return syntax.Tuple(self._place(bracket.start, end.end), tuple(items))

    def _object(self, brace: HclToken) -> Expression:
        def is_for() -> bool:
            token = self.peek()
            return token.kind == "name" and token.text == "for"

        if self.inside(is_for):
            return self.inside(lambda: self._for(brace, "}"))
        return self.inside(lambda: self._items(brace), free=False)

    def _items(self, brace: HclToken) -> Expression:
        items: list[tuple[Expression, Expression]] = []
        while True:
            self.skip_newlines()
            if end := self.accept("}"):
                return syntax.Object(self._place(brace.start, end.end), tuple(items))
            key = self._key()
            if not self.accept("=", ":"):
                self.place(self.peek()).fail(
                    f"{self._shown(self.peek())} stands where `=` is expected", "write `key = value`"
                )
            items.append((key, self.expression()))
            if self.peek().kind not in ("newline", "}"):
                self.expect(",", "values of an object end with a comma or with their line")

    def _key(self) -> Expression:
        token = self.peek()
        if token.kind == "name":
            at = self._at
            self.take()
            if self.peek().kind in ("=", ":"):
                return syntax.Literal(self.place(token), string(token.text))
            self._jump(at)
        key = self.expression()
        if token.kind != "(" and isinstance(key, syntax.Attribute | syntax.IndexOf):
            key.place.fail("this key could mean a name or a value", "write (…) around it, or quotation marks")
        return key

    def _for(self, begin: HclToken, end: str) -> Expression:
        self.take()
        names = [self.expect("name").text]
        if self.accept(","):
            names.append(self.expect("name").text)
        self._word("in")
        over = self.expression()
        self.expect(":", "write `for x in list : value`")
        value = self.expression()
        key, groups, condition = None, False, None
        if end == "}":
            self.expect("=>", "an object is made of `key => value`")
            key, value = value, self.expression()
            groups = self.accept("...") is not None
        if self.peek().kind == "name" and self.peek().text == "if":
            self.take()
            condition = self.expression()
        last = self.expect(end)
        return syntax.For(self._place(begin.start, last.end), tuple(names), over, key, value, condition, groups)

    def _word(self, word: str) -> None:
        token = self.expect("name", f"`{word}` is expected here")
        if token.text != word:
            self.place(token).fail(f"`{token.text}` stands where `{word}` is expected")

    # templates

    def whole_template(self) -> Expression:
        """Parse all as a template."""
        start = self._at
        parts = self._parts(lambda at: at >= self._end, escapes=False)
        return self._assemble(parts, self._place(start, self._end))

    def _quoted(self, quote: HclToken) -> Expression:
        def is_end(at: int) -> bool:
            if at >= self._end or self._text[at] == "\n":
                self.place(quote).fail("this string does not end in its line", "write \\n for a line end, or use <<EOT")
            return self._text[at] == '"'

        parts = self._parts(is_end, escapes=True)
        self._jump(self._at + 1)
        return self._assemble(parts, self._place(quote.start, self._at))

    def _heredoc(self, token: HclToken) -> Expression:
        line_end = self._text.index("\n", token.end)
        marker = self._text[token.end : line_end].rstrip("\r")
        begin = line_end + 1
        at = begin
        while True:
            stop = self._text.find("\n", at, self._end)
            stop = self._end if stop < 0 else stop
            if self._text[at:stop].strip() == marker:
                break
            if stop >= self._end:
                self.place(token).fail(f"the text does not end: there is no line `{marker}`")
            at = stop + 1
        self._jump(begin)
        parts = self._parts(lambda here: here >= at, escapes=False)
        self._jump(at + len(self._text[at:stop].rstrip("\r")))
        if token.text == "<<-":
            parts = _without_indent(parts)
        return self._assemble(parts, self._place(token.start, self._at))

    def _parts(self, is_end: Callable[[int], bool], *, escapes: bool) -> list[_Part]:
        """Split a template; what is behind it is left. Text is split at line ends too."""
        found: list[_Part] = []
        text: list[str] = []
        raw = self._at

        def flush(at: int) -> None:
            nonlocal raw
            if text:
                found.append(_Part("".join(text), place=self._place(raw, at)))
                text.clear()
            raw = at

        while not is_end(self._at):
            at = self._at
            two = self._text[at : at + 2]
            if self._text[at : at + 3] in ("$${", "%%{"):
                text.append(self._text[at + 1 : at + 3])
                self._jump(at + 3)
            elif two in ("${", "%{"):
                flush(at)
                self._jump(at + 2)
                found.append(self.inside(lambda at=at, two=two: self._sequence(at, two)))  # type: ignore[misc]
                raw = self._at
            elif escapes and two[0] == "\\":
                text.append(self._escape(at))
            else:
                text.append(two[0])
                self._jump(at + 1)
                if two[0] == "\n":
                    flush(at + 1)
        flush(self._at)
        return _stripped(found)

    def _escape(self, at: int) -> str:
        char = self._text[at + 1 : at + 2]
        if char in _ESCAPES:
            self._jump(at + 2)
            return _ESCAPES[char]
        length = {"u": 4, "U": 8}.get(char, 0)
        digits = self._text[at + 2 : at + 2 + length]
        if length and re.fullmatch(f"[0-9a-fA-F]{{{length}}}", digits) and int(digits, 16) <= 0x10FFFF:
            self._jump(at + 2 + length)
            return chr(int(digits, 16))
        raise self._place(at, at + 2).error(
            f"`\\{char}` is not an escape", 'there are \\n, \\r, \\t, \\", \\\\, \\uNNNN'
        )

    def _sequence(self, start: int, opening: str) -> _Part:
        """Parse `${…}` or `%{…}` behind its brace."""
        before = self._strips()
        if opening == "${":
            part = _Part(expression=self.expression())
        else:
            word = self.expect("name", "a directive is if, else, endif, for or endfor")
            names: list[str] = []
            expression = None
            if word.text == "if":
                expression = self.expression()
            elif word.text == "for":
                names.append(self.expect("name").text)
                if self.accept(","):
                    names.append(self.expect("name").text)
                self._word("in")
                expression = self.expression()
            elif word.text not in ("else", "endif", "endfor"):
                self.place(word).fail(f"`{word.text}` is not a directive", "there are if, else, endif, for, endfor")
            part = _Part(expression=expression, word=word.text, names=tuple(names))
        behind = self._strips()
        self.expect("}", f"`{opening}` ends with a brace")
        return part._replace(strip=_Strip(before, behind), place=self._place(start, self._at))

    def _strips(self) -> bool:
        space = _SPACE.match(self._text, self._at, self._end)
        at = space.end() if space else self._at
        while self._text[at : at + 1] in ("\n", " ", "\t") and at < self._end:
            at += 1
        if self._text[at : at + 1] != "~":
            return False
        self._jump(at + 1)
        return True

    def _assemble(self, parts: list[_Part], place: Location) -> Expression:
        left = [part for part in reversed(parts) if part.text or part.word or part.expression is not None]
        found = self._sequence_of(left, (), place)
        if len(found) == 1 and (isinstance(found[0], syntax.Literal) or len(parts) == 1):
            only = found[0]
            return only if parts[0].word == "" else syntax.Template(place, (only,))
        if not found:
            return syntax.Literal(place, string(""))
        texts = [one.value.raw for one in found if isinstance(one, syntax.Literal) and isinstance(one.value.raw, str)]
        if len(texts) == len(found):
            return syntax.Literal(place, string("".join(texts)))
        return syntax.Template(place, tuple(found))

    def _sequence_of(self, left: list[_Part], until: tuple[str, ...], opened: Location) -> list[Expression]:
        """Make expressions of parts (the next one last) up to a directive, which is left."""
        found: list[Expression] = []
        while left:
            part = left[-1]
            place = part.place or opened
            if part.word in until and part.word:
                return found
            left.pop()
            if part.word == "if":
                yes = self._sequence_of(left, ("else", "endif"), place)
                no: list[Expression] = []
                if left and left[-1].word == "else":
                    left.pop()
                    no = self._sequence_of(left, ("endif",), place)
                left.pop()
                assert part.expression is not None
                found.append(
                    syntax.Conditional(
                        place,
                        part.expression,
                        syntax.Template(place, tuple(yes)),
                        syntax.Template(place, tuple(no)),
                    )
                )
            elif part.word == "for":
                inner = syntax.Template(place, tuple(self._sequence_of(left, ("endfor",), place)))
                left.pop()
                assert part.expression is not None
                found.append(syntax.For(place, part.names, part.expression, None, inner, None, joins=True))
            elif part.word:
                place.fail(f"`{part.word}` has nothing that it could belong to")
            elif part.expression is not None:
                found.append(part.expression)
            else:
                found.append(syntax.Literal(place, string(part.text)))
        if until:
            opened.fail(f"this directive does not end: there is no {' or '.join(until[-1:])}")
        return found


def _stripped(parts: list[_Part]) -> list[_Part]:
    """Take away the white space that `~`s ask for: that of the text beside them, which ends with its line."""
    found: list[_Part] = []
    for position, part in enumerate(parts):
        text = part.text
        if position and parts[position - 1].strip.behind:
            text = text.lstrip()
        if parts[position + 1 : position + 2] and parts[position + 1].strip.before:
            text = text.rstrip()
        found.append(part._replace(text=text))
    return found


def _without_indent(parts: list[_Part]) -> list[_Part]:
    """Take the least indentation of all lines away, of which blank ones do not count."""
    least: int | None = None
    begins = True
    for part in parts:
        is_text = part.expression is None and not part.word
        if begins:
            blank = is_text and not part.text.strip() and part.text.endswith("\n")
            indent = len(part.text) - len(part.text.lstrip()) if is_text else 0
            if not blank:
                least = indent if least is None else min(least, indent)
        begins = is_text and part.text.endswith("\n")
    found, begins = [], True
    for part in parts:
        is_text = part.expression is None and not part.word
        blank = is_text and not part.text.strip() and part.text.endswith("\n")
        cut = part._replace(text=part.text[least or 0 :]) if begins and is_text and not blank else part
        begins = is_text and part.text.endswith("\n")
        found.append(cut)
    return found

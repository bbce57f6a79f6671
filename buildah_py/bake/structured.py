"""Bake files in JSON (hcl/json/spec.md) and in pybuild's YAML: objects become bodies, strings are templates."""

from __future__ import annotations

import re
from json.decoder import JSONDecodeError, scanstring  # type: ignore[attr-defined]
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from buildah_py.bake import syntax
from buildah_py.bake.parser import parse_expression, parse_template
from buildah_py.bake.syntax import Location
from buildah_py.bake.values import NULL, ValueFault, bool_value, number, string
from buildah_py.errors import BuildFileError
from buildah_py.source_text import Source
from buildah_py.suggest import did_you_mean

if TYPE_CHECKING:
    from collections.abc import Iterator

    from buildah_py.bake.syntax import Expression, HclBody

_BLOCKS: Final = ("variable", "group", "target", "function")
_PLURALS: Final = {f"{kind}s": kind for kind in _BLOCKS}
_COMMENT: Final = "//"
_DEEPEST: Final = 100
_EXPONENT: Final = re.compile(r"[-+]?\d+(?:\.\d*)?[eE][-+]?\d+")


class DataNode(NamedTuple):
    """A value where it stands: `value` is a str, bool, None, a number's text, a list of nodes, or members."""

    place: Location
    value: Any


class Number(NamedTuple):
    """A number as it is written."""

    text: str


class Replaced(NamedTuple):
    """A value with Compose's `!override`, which is not merged, or None for `!reset`."""

    node: DataNode | None


class DataMember(NamedTuple):
    """A member of an object."""

    key: DataNode
    value: DataNode


class Members(NamedTuple):
    """The members of an object, in the order of the file."""

    items: tuple[DataMember, ...]


def read_json(source: Source) -> HclBody:
    """Read a bake file in JSON. Raises BuildFileError."""
    return _body(_JsonReader(source).document())


class _JsonReader:
    """Reads JSON, and where everything stands."""

    def __init__(self, source: Source) -> None:
        self._source = source
        self._text = source.text

    def document(self) -> DataNode:
        node, at = self._value(self._skip(0), 0)
        at = self._skip(at)
        if at < len(self._text):
            self._fail(at, "the file goes on behind its value")
        return node

    def _fail(self, at: int, message: str, hint: str = "") -> Any:
        Location(self._source, at, at + 1).fail(message, hint)

    def _skip(self, at: int) -> int:
        text = self._text
        while at < len(text) and text[at] in " \t\r\n":
            at += 1
        return at

    def _value(self, at: int, depth: int) -> tuple[DataNode, int]:
        text = self._text
        if depth > _DEEPEST:
            self._fail(at, f"values stand more than {_DEEPEST} deep in one another")
        char = text[at : at + 1]
        if char == "{":
            return self._object(at, depth)
        if char == "[":
            return self._list(at, depth)
        if char == '"':
            return self._string(at)
        for word, value in (("true", True), ("false", False), ("null", None)):
            if text.startswith(word, at):
                return DataNode(Location(self._source, at, at + len(word)), value), at + len(word)
        end = at
        while end < len(text) and text[end] in "+-.0123456789eE":
            end += 1
        if end > at:
            return DataNode(Location(self._source, at, end), Number(text[at:end])), end
        message = "a value is expected here" if char else "the file ends within a value"
        raise Location(self._source, at, at + 1).error(message, "this is not JSON")

    def _string(self, at: int) -> tuple[DataNode, int]:
        try:
            value, end = scanstring(self._text, at + 1, True)
        except JSONDecodeError as error:
            return self._fail(error.pos, f"this string is not JSON: {error.msg}")  # type: ignore[no-any-return]
        return DataNode(Location(self._source, at, end), value), end

    def _list(self, start: int, depth: int) -> tuple[DataNode, int]:
        items: list[DataNode] = []
        at = self._skip(start + 1)
        while self._text[at : at + 1] != "]":
            item, at = self._value(at, depth + 1)
            items.append(item)
            at = self._skip(at)
            if self._text[at : at + 1] == ",":
                at = self._skip(at + 1)
            elif self._text[at : at + 1] != "]":
                self._fail(at, "a comma or `]` is expected here")
        return DataNode(Location(self._source, start, at + 1), items), at + 1

    def _object(self, start: int, depth: int) -> tuple[DataNode, int]:
        items: list[DataMember] = []
        at = self._skip(start + 1)
        while self._text[at : at + 1] != "}":
            if self._text[at : at + 1] != '"':
                self._fail(at, "a key in quotation marks is expected here")
            key, at = self._string(at)
            at = self._skip(at)
            if self._text[at : at + 1] != ":":
                self._fail(at, "a colon is expected here")
            value, at = self._value(self._skip(at + 1), depth + 1)
            items.append(DataMember(key, value))
            at = self._skip(at)
            if self._text[at : at + 1] == ",":
                at = self._skip(at + 1)
            elif self._text[at : at + 1] != "}":
                self._fail(at, "a comma or `}` is expected here")
        return DataNode(Location(self._source, start, at + 1), Members(tuple(items))), at + 1


# bodies


def _body(document: DataNode) -> HclBody:
    """Make the body of a whole file."""
    settings: dict[str, syntax.Assignment] = {}
    blocks: list[syntax.HclBlock] = []
    for member in _members(document, "the file"):
        kind = member.key.value
        if kind in _BLOCKS:
            blocks += _blocks(kind, member)
        else:
            settings[kind] = syntax.Assignment(member.key.place, kind, expression(member.value))
    return syntax.HclBody(settings, tuple(blocks))


def _members(node: DataNode, what: str) -> Iterator[DataMember]:
    """Go through an object's members, or those of all objects in a list."""
    if isinstance(node.value, list):
        for item in node.value:
            yield from _members(item, what)
        return
    if not isinstance(node.value, Members):
        node.place.fail(f"{what} is an object")
    for member in node.value.items:
        if member.key.value != _COMMENT:
            yield member


def _blocks(kind: str, of: DataMember) -> Iterator[syntax.HclBlock]:
    for member in _members(of.value, f"`{kind}`"):
        bodies = member.value.value if isinstance(member.value.value, list) else [member.value]
        for one in bodies:
            yield syntax.HclBlock(member.key.place, kind, (member.key.value,), _inner(kind, one))


def _inner(kind: str, node: DataNode) -> HclBody:
    settings: dict[str, syntax.Assignment] = {}
    blocks: list[syntax.HclBlock] = []
    for member in _members(node, f"a {kind}"):
        name = member.key.value
        if kind == "variable" and name == "validation":
            bodies = member.value.value if isinstance(member.value.value, list) else [member.value]
            blocks += [syntax.HclBlock(member.key.place, name, (), _inner(name, one)) for one in bodies]
            continue
        value = member.value
        if kind == "variable" and name == "type" and isinstance(value.value, str):
            found = _parsed(value, parse_expression)
        else:
            found = expression(value)
        settings[name] = syntax.Assignment(member.key.place, name, found)
    return syntax.HclBody(settings, tuple(blocks))


def expression(node: DataNode) -> Expression:
    """Make an expression of a value: strings are templates, and so are keys."""
    place, value = node
    if isinstance(value, str):
        if "${" not in value and "%{" not in value:
            return syntax.Literal(place, string(value))
        return _parsed(node, parse_template)
    if isinstance(value, bool):
        return syntax.Literal(place, bool_value(value))
    if value is None:
        return syntax.Literal(place, NULL)
    if isinstance(value, Number):
        try:
            return syntax.Literal(place, number(value.text))
        except ValueFault as fault:
            place.fail(fault.message)
    if isinstance(value, Members):
        return syntax.Object(place, tuple((expression(one.key), expression(one.value)) for one in _members(node, "")))
    return syntax.Tuple(place, tuple(map(expression, value)))


def _parsed(node: DataNode, parse: Any) -> Expression:
    """Parse a string's text; all of it stands where the string does."""
    try:
        found: Expression = parse(Source(node.place.source.name, node.value))
    except BuildFileError as error:
        raise node.place.error(error.message, error.hint) from None
    moved: Expression = _moved(found, node.place)
    return moved


def _moved(part: Any, place: Location) -> Any:
    if isinstance(part, Location):
        return place
    if isinstance(part, tuple) and type(part).__module__ == syntax.__name__:
        return type(part)(
            *(
                one if name == "value" and isinstance(part, syntax.Literal) else _moved(one, place)
                for name, one in zip(part._fields, part, strict=True)  # type: ignore[attr-defined]
            )
        )
    return tuple(_moved(one, place) for one in part) if type(part) is tuple else part


# YAML


def read_yaml(source: Source) -> HclBody:
    """Read a bake file in pybuild's YAML, docs/schema/bake.json. Raises BuildFileError."""
    document = yaml_node(source)
    settings: dict[str, syntax.Assignment] = {}
    blocks: list[syntax.HclBlock] = []
    for member in _members(document, "the file"):
        name = member.key.value
        kind = _PLURALS.get(name)
        if kind is None:
            if name.startswith("x-"):
                continue
            known = did_you_mean(name, _PLURALS)
            member.key.place.fail(f"`{name}` is not a part of a bake file", known or f"there are {', '.join(_PLURALS)}")
        blocks += [_yaml_block(kind, one) for one in _members(member.value, f"`{name}`")]
    return syntax.HclBody(settings, tuple(blocks))


def _yaml_block(kind: str, member: DataMember) -> syntax.HclBlock:
    value = member.value
    if kind == "group" and isinstance(value.value, list):
        key = DataNode(member.key.place, "targets")
        value = DataNode(value.place, Members((DataMember(key, value),)))
    elif kind == "variable" and not isinstance(value.value, Members):
        key = DataNode(member.key.place, "default")
        value = DataNode(value.place, Members((DataMember(key, value),)))
    elif kind in ("target", "group") and value.value is None:
        value = DataNode(value.place, Members(()))
    return syntax.HclBlock(member.key.place, kind, (member.key.value,), _inner(kind, value))


def yaml_node(source: Source) -> DataNode:
    """Read YAML, and where everything stands; keys are strings. Raises BuildFileError."""
    import yaml

    try:
        loader = yaml.SafeLoader(source.text)
        try:
            root = loader.get_single_node()
            if root is None:
                return DataNode(Location(source, 0, 0), Members(()))
            return _YamlReader(source, loader).node(root, 0)
        finally:
            loader.dispose()
    except yaml.reader.ReaderError as error:
        at = error.position
        raise Location(source, at, at + 1).error("this is not YAML: it has a character that no text has") from None
    except RecursionError:
        raise Location(source, 0, 1).error("values stand too deep in one another") from None
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        at = mark.index if mark is not None else 0
        raise Location(source, at, at + 1).error(f"this is not YAML: {error.problem or error.context}") from None
    except (yaml.YAMLError, ValueError) as error:
        raise Location(source, 0, 1).error(f"this is not YAML: {error}") from None


class _YamlReader:
    """Makes nodes of PyYAML's."""

    def __init__(self, source: Source, loader: Any) -> None:
        self._source = source
        self._loader = loader
        self._count = 0

    def node(self, found: Any, depth: int) -> DataNode:
        place = Location(self._source, found.start_mark.index, max(found.start_mark.index + 1, found.end_mark.index))
        self._count += 1
        if depth > _DEEPEST or self._count > 200_000:
            place.fail("values stand too deep in one another, or there are too many of them")
        if found.tag in ("!reset", "!override"):
            inner = None if found.tag == "!reset" else self._plain(found, depth, place)
            return DataNode(place, Replaced(inner))
        return self._plain(found, depth, place)

    def _plain(self, found: Any, depth: int, place: Location) -> DataNode:
        import yaml

        if isinstance(found, yaml.SequenceNode):
            return DataNode(place, [self.node(item, depth + 1) for item in found.value])
        if isinstance(found, yaml.MappingNode):
            self._loader.flatten_mapping(found)
            items: dict[str, DataMember] = {}
            for key, value in found.value:
                key_place = Location(self._source, key.start_mark.index, key.end_mark.index)
                if not isinstance(key, yaml.ScalarNode):
                    key_place.fail("a key is a word")
                name = str(key.value)
                items[name] = DataMember(DataNode(key_place, name), self.node(value, depth + 1))
            return DataNode(place, Members(tuple(items.values())))
        return DataNode(place, self._scalar(found))

    def _scalar(self, found: Any) -> Any:
        tag, text = found.tag, found.value
        if tag == "tag:yaml.org,2002:null":
            return None
        if tag == "tag:yaml.org,2002:bool":
            if text.lower() in ("true", "false"):
                return text.lower() == "true"
            return text  # yes, no, on, off: words, as in YAML 1.2
        if tag in ("tag:yaml.org,2002:int", "tag:yaml.org,2002:float"):
            value = self._loader.construct_object(found)
            if (isinstance(value, float) and value in (float("inf"), float("-inf"))) or value != value:  # noqa: PLR0124
                return text
            if isinstance(value, float):
                return Number(repr(value).removesuffix(".0"))
            return Number(str(value))
        if found.style is None and _EXPONENT.fullmatch(text):  # a number in YAML 1.2 alone
            return Number(repr(float(text)).removesuffix(".0"))
        return text

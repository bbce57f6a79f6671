"""RUN --mount and --device: option lists, and what they mean once variables are known."""

from __future__ import annotations

import posixpath
import re
from typing import TYPE_CHECKING, NamedTuple

from buildah_py.buildfile.driver import MismatchError, driver
from buildah_py.buildfile.expand import ExpansionError
from buildah_py.buildfile.tree import Mount
from buildah_py.errors import BuildFileError
from buildah_py.image import numbers
from buildah_py.suggest import did_you_mean

if TYPE_CHECKING:
    from collections.abc import Callable

    from buildah_py.source_text import Source, Span

TYPES = ("bind", "cache", "tmpfs", "secret", "ssh")
SHARING = ("shared", "private", "locked")
KEYS = (
    "type",
    "from",
    "source",
    "target",
    "readonly",
    "id",
    "sharing",
    "required",
    "size",
    "mode",
    "uid",
    "gid",
    "src",
    "dst",
    "destination",
    "ro",
    "rw",
    "readwrite",
    "env",
)
_SIZE = r"([0-9]{1,18}(?:\.[0-9]*)?) ?(?:([kKmMgGtTpP])i?[bB]?|[bB])?"


class MountSpec(NamedTuple):
    """A mount with all variables expanded.

    `type` is one of `TYPES`. `target`, `source`, `from_`, `id` and `sharing` are empty where they were not given;
    `size` is in bytes, 0 for no limit; `mode`, `uid`, `gid` and `env` are None where they were not given.
    """

    type: str
    target: str
    source: str
    from_: str
    id: str
    readonly: bool
    sharing: str
    size: int
    mode: int | None
    uid: int | None
    gid: int | None
    required: bool
    env: str | None
    span: Span


def split_options(text: str, span: Span, source: Source) -> tuple[tuple[str, str | None], ...]:
    """Split `key=value,key,"key=value"`; keys as written.

    Raises:
        BuildFileError: quotes stand where they must not.

    """
    if not text:
        raise BuildFileError("an empty list of options", source, span, hint="write something like type=cache,target=/x")
    if '"' not in text and "\n" not in text:
        cut = [option.partition("=") for option in text.split(",")]
        return tuple((key, value if equals else None) for key, equals, value in cut)
    try:
        _, nodes = driver("mount").parse(text, "mount")
    except MismatchError as error:
        raise BuildFileError(
            f"failed to parse csv mounts: a stray quote in {text[error.offset :]}",
            source,
            span,
            hint='quotes go around a whole option: "target=/a,b"',
        ) from None
    options: list[tuple[str, str | None]] = []
    for kind, tokens in nodes:
        parts = [text[start:end] for _, start, end in tokens]
        if kind == "option":
            options.append((parts[0] if parts else "", None))
        elif kind == "pair":
            options.append((parts[0], parts[1] if len(parts) > 1 else ""))
        elif kind == "nameless":
            options.append(("", parts[0] if parts else ""))
        else:
            key, equals, value = parts[0][1:-1].replace('""', '"').partition("=")
            options.append((key, value if equals else None))
    return tuple(options)


def parse_mount(text: str, span: Span, source: Source, *, variables_in_from: bool = False) -> Mount:
    """Read a --mount flag as far as that goes without variables.

    Raises:
        BuildFileError: the list is malformed, or `from` holds a variable.

    """
    options = tuple((key.lower(), value) for key, value in split_options(text, span, source))
    for key, value in options:
        if key == "from" and value and not variables_in_from and "$" in value[:-1]:
            raise BuildFileError(
                "'from' doesn't support variable expansion, define alias stage instead",
                source,
                span,
                hint="write FROM $VARIABLE AS NAME with an ARG before the first FROM, and from=NAME here",
            )
    return Mount(options, span, source)


def check_device(text: str, span: Span, source: Source) -> tuple[str, bool]:
    """Read a --device flag: the device's name, and whether it is required.

    Raises:
        BuildFileError: an option is unknown.

    """
    name = ""
    required = False
    for key, value in split_options(text, span, source):
        field = key if value is None else f"{key}={value}"
        lowered = key.lower()
        if lowered == "required":
            wanted = True if value is None else numbers.boolean(value)
            if wanted is None:
                raise BuildFileError(f"invalid value for required: {value}", source, span)
            required = wanted
        elif lowered == "name" and value is not None:
            if name:
                raise BuildFileError(f"device name already set to {name}", source, span)
            name = value
        elif not name:
            name = field
        elif value is None:
            raise BuildFileError(f"invalid field '{field}' must be a key=value pair", source, span)
        else:
            raise BuildFileError(f"unexpected key '{lowered}' in '{field}'", source, span)
    return name, required


def read_mount(mount: Mount, expand: Callable[[str], str]) -> MountSpec:
    """Expand the values of `mount` and check that they fit together.

    `expand` may raise ExpansionError. A relative or empty target is meant below the working directory, see `target_of`.

    Raises:
        BuildFileError: an option is unknown, not allowed for the type, or has a wrong value.

    """
    return _Reading(mount, expand).spec()


def target_of(spec: MountSpec, workdir: str, source: Source) -> str:
    """Where a bind, cache or tmpfs mount goes, as an absolute path.

    Raises:
        BuildFileError: the root cannot be covered by a mount.

    """
    target = posixpath.normpath(posixpath.join("/", workdir, spec.target))
    target = "/" + target.lstrip("/")
    if target == "/":
        raise BuildFileError(
            'invalid mount target "/"', source, spec.span, hint="" if spec.target else "add target=/PATH"
        )
    return target


class _Reading:
    """The options of one mount while they are read; the order of options matters for those that depend on the type."""

    def __init__(self, mount: Mount, expand: Callable[[str], str]) -> None:
        assert mount.source is not None
        self._mount = mount
        self._expand = expand
        self._source = mount.source
        self._type = "bind"
        self._readonly: bool | None = None
        self._required = False
        self._size = 0
        self._texts: dict[str, str] = {}
        self._numbers: dict[str, int] = {}
        self._env: str | None = None

    def _error(self, message: str, hint: str = "") -> BuildFileError:
        return BuildFileError(message, self._source, self._mount.span, hint=hint)

    def spec(self) -> MountSpec:
        for key, value in self._mount.options:
            if value is None:
                self._switch(key)
            else:
                try:
                    self._option(key, self._expand(value))
                except ExpansionError as error:
                    raise self._error(error.message) from None
        self._validate()
        readonly = self._readonly
        if readonly is None:
            readonly = self._type not in ("cache", "tmpfs")
        text = self._texts.get
        return MountSpec(
            self._type,
            text("target", ""),
            text("source", ""),
            text("from", ""),
            text("id", ""),
            readonly,
            text("sharing", ""),
            self._size,
            self._numbers.get("mode"),
            self._numbers.get("uid"),
            self._numbers.get("gid"),
            self._required,
            self._env,
            self._mount.span,
        )

    def _switch(self, key: str) -> None:
        if key in ("readonly", "ro"):
            self._readonly = True
        elif key in ("readwrite", "rw"):
            self._readonly = False
        elif key == "required":
            self._only(key, "secret", "ssh")
            self._required = True
        elif key == "env":
            self._only(key, "secret")
            self._env = ""
        else:
            raise self._error(f"invalid field '{key}' must be a key=value pair")

    def _only(self, key: str, *types: str) -> None:
        if self._type not in types:
            raise self._error(
                f"unexpected key '{key}' for mount type '{self._type}'",
                hint=f"{key} is for type={' and type='.join(types)}; type= has to stand before it",
            )

    def _option(self, key: str, value: str) -> None:
        if key == "type":
            self._type = self._choice("mount type", value, TYPES)
        elif key in ("source", "src"):
            self._texts["source"] = value
        elif key in ("target", "dst", "destination"):
            self._texts["target"] = value
        elif key in ("from", "id"):
            self._texts[key] = value
        elif key == "sharing":
            self._texts[key] = self._choice("sharing value", value, SHARING)
        elif key in ("readonly", "ro"):
            self._readonly = self._boolean(key, value)
        elif key in ("readwrite", "rw"):
            self._readonly = not self._boolean(key, value)
        elif key == "required":
            self._only(key, "secret", "ssh")
            self._required = self._boolean(key, value)
        elif key == "size":
            self._only(key, "tmpfs")
            self._size = self._bytes(value)
        elif key in ("mode", "uid", "gid"):
            self._numbers[key] = self._number(key, value)
        elif key == "env":
            self._only(key, "secret")
            self._env = value
        else:
            raise self._error(f"unexpected key '{key}' in '{key}={value}'", hint=did_you_mean(key, KEYS))

    def _choice(self, what: str, value: str, allowed: tuple[str, ...]) -> str:
        if value.lower() in allowed:
            return value.lower()
        hint = did_you_mean(value, allowed) or f"use {', '.join(allowed)}"
        raise self._error(f'unsupported {what} "{value}"', hint=hint)

    def _boolean(self, key: str, value: str) -> bool:
        truth = numbers.boolean(value)
        if truth is None:
            raise self._error(f"invalid value for {key}: {value}", hint="use true or false")
        return truth

    def _number(self, key: str, value: str) -> int:
        digits, base, most = (r"0*[0-7]{1,11}", 8, 2**32) if key == "mode" else (r"0*[0-9]{1,10}", 10, 2**32 - 1)
        if re.fullmatch(digits, value) and int(value, base) < most:  # (uid_t) -1 means "leave it as it is"
            return int(value, base)
        raise self._error(f"invalid value {value} for {key}")

    def _bytes(self, value: str) -> int:
        found = re.fullmatch(_SIZE, value)
        if found is None:
            raise self._error(f"invalid value for size: {value}", hint="write something like 64m or 1g")
        factor = 1024 ** (" kmgtp".index((found.group(2) or " ").lower()))
        return int(float(found.group(1)) * factor)

    def _validate(self) -> None:
        kind = self._type
        if kind in ("bind", "tmpfs"):
            for key in ("mode", "uid", "gid"):
                if key in self._numbers:
                    raise self._error(f'{key} not allowed for "{kind}" type mounts')
        if kind == "secret":
            if self._texts.get("from"):
                raise self._error("secret mount should not have a from")
            if self._texts.get("sharing"):
                raise self._error("secret mount should not define sharing")
            if not any(self._texts.get(key) for key in ("source", "target", "id")):
                raise self._error("invalid secret mount. one of source, target required", hint="write id=NAME")
            if self._texts.get("source") and self._texts.get("id"):
                raise self._error("both source and id can't be set")
        if self._texts.get("sharing") and kind != "cache":
            raise self._error(f"invalid cache sharing set for {kind} mount")
        if kind == "ssh" and self._texts.get("source"):
            raise self._error("ssh mount does not support source", hint="name the agent with id=")

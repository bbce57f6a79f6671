"""Source policies: which images, files and repositories a build may use, and what it uses in their place.

The form is that of BuildKit's `spb.Policy` as JSON, which buildx and buildah read: rules with a selector, and an action
ALLOW, DENY or CONVERT. Of rules that match, the last that allows or denies counts; a rule that converts changes the
identifier, and all rules are gone through again with that.
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from buildah_py.errors import SourceError, UsageError
from buildah_py.frozen import dataclass
from buildah_py.sources.urls import redact

if TYPE_CHECKING:
    from collections.abc import Mapping

_ACTIONS: Final = ("ALLOW", "DENY", "CONVERT")
_MATCHES: Final = ("WILDCARD", "EXACT", "REGEX")
_CONDITIONS: Final = ("EQUAL", "NOTEQUAL", "MATCHES")
_MOST_CONVERSIONS: Final = 20
_MAX_BYTES: Final = 1 << 20
IMAGE: Final = "docker-image://"
LAYOUT: Final = "oci-layout://"
LOCAL: Final = "local://"
_GIT: Final = "git://"
_CHECKSUM: Final = "http.checksum"
_FULL_URL: Final = "git.fullurl"
_HINT: Final = 'it looks like {"rules": [{"action": "DENY", "selector": {"identifier": "docker-image://*"}}]}'


class Constraint(NamedTuple):
    """Something that an attribute of a source has to be."""

    key: str
    value: str
    condition: str

    def holds(self, attributes: Mapping[str, str]) -> bool:
        """Whether the attributes of a source are so."""
        value = attributes.get(self.key, "")
        if self.condition == "MATCHES":
            return re.search(self.value, value) is not None
        return (value == self.value) == (self.condition == "EQUAL")


class PolicyRule(NamedTuple):
    """A rule. `pattern` is what `identifier` means; `becomes` and `attributes` are what a source is converted to."""

    action: str
    identifier: str
    match: str
    pattern: re.Pattern[str]
    constraints: tuple[Constraint, ...] = ()
    becomes: str = ""
    attributes: Mapping[str, str] = {}

    def finds(self, identifier: str, attributes: Mapping[str, str]) -> re.Match[str] | None:
        """Return the match with a source, None where the rule is not about it."""
        found = self.pattern.search(identifier)
        return found if found and all(one.holds(attributes) for one in self.constraints) else None

    def converted(self, found: re.Match[str]) -> str:
        """Return what an identifier becomes: `$1`, `${1}` stand for what the parts of the pattern matched."""
        if self.match == "EXACT" or not self.becomes:
            return self.becomes
        return re.sub(
            r"\$(?:\{(\w+)\}|(\d+))", lambda name: _group(found, name[1] or name[2], self.becomes), self.becomes
        )


class Used(NamedTuple):
    """A source that may be used: its identifier, and its attributes."""

    identifier: str
    attributes: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class SourcePolicy:
    """The rules, in their order, and the file that they stand in; without rules all may be used."""

    rules: tuple[PolicyRule, ...] = ()
    file: str = ""

    def image(self, name: str) -> str:
        """Return the image to use where `name`, in full, is asked for. Raises SourceError.

        One in a layout is asked for as `oci-layout://…`, which is its identifier as it is.
        """
        if not self.rules:
            return name
        asked = name if name.startswith(LAYOUT) else f"{IMAGE}{name}"
        found = self._used(asked, {}).identifier
        return found if found.startswith(LAYOUT) else self._of_kind(found, IMAGE, asked).removeprefix(IMAGE)

    def http(self, url: str, checksum: str = "") -> tuple[str, str]:
        """Return the URL to fetch, and the digest of what has to come, "" for anything. Raises SourceError."""
        if not self.rules:
            return url, checksum
        used = self._used(url, {_CHECKSUM: checksum} if checksum else {})
        if not used.identifier.startswith(("http://", "https://")):
            self._of_kind(used.identifier, "https://", url)
        found = used.attributes.get(_CHECKSUM, "")
        if checksum and found != checksum:
            raise SourceError(
                f"{redact(url)}: the source policy {self.file} wants the digest {found}, and --checksum says "
                f"{checksum}",
                hint="make them the same, or leave --checksum out",
            )
        return used.identifier, found

    def git(self, url: str) -> str:
        """Return the URL of the repository to fetch. Raises SourceError."""
        if not self.rules:
            return url
        head, mark, fragment = url.partition("#")
        remote, ask, query = head.partition("?")
        before = f"{_GIT}{_host_and_path(remote)}{mark}{fragment}"
        used = self._used(before, {_FULL_URL: remote})
        if used == Used(before, {_FULL_URL: remote}):
            return url
        path, mark, fragment = self._of_kind(used.identifier, _GIT, before).removeprefix(_GIT).partition("#")
        full = used.attributes.get(_FULL_URL, "")
        if full == remote:
            scheme = remote.partition("://")[0] if "://" in remote else "https"
            full = f"{scheme}://{path}"
        return f"{full}{ask}{query}{mark}{fragment}"

    def local(self, name: str) -> None:
        """See that a directory of this machine may be used as the context of that name. Raises SourceError."""
        if self.rules:
            before = f"{LOCAL}{name}"
            if self._used(before, {}).identifier != before:
                raise SourceError(
                    f"the source policy {self.file} converts {before}, and a directory of this machine stays what "
                    "it is",
                    hint="name other files with --build-context, or as the context",
                )

    def _used(self, identifier: str, attributes: Mapping[str, str]) -> Used:
        first, used = identifier, Used(identifier, dict(attributes))
        for _ in range(_MOST_CONVERSIONS):
            changed, denied = self._once(used)
            if changed is not None:
                used = changed
                continue
            if denied:
                told = f" (converted from {redact(first)})" if used.identifier != first else ""
                raise SourceError(
                    f"{redact(used.identifier)}{told} is denied by the source policy {self.file}: the rule with the "
                    f"identifier `{denied.identifier}`",
                    hint="use another source, or add a rule that allows this one behind that one",
                )
            return used
        raise SourceError(
            f"{redact(first)}: the rules of the source policy {self.file} convert it again and again",
            hint="see that what a rule converts to is not what it, or one before it, converts",
        )

    def _once(self, used: Used) -> tuple[Used | None, PolicyRule | None]:
        """Go through the rules; what a source is converted to, or the rule that denies it."""
        denied = None
        for rule in self.rules:
            found = rule.finds(used.identifier, used.attributes)
            if found is None:
                continue
            if rule.action == "CONVERT":
                becomes = Used(rule.converted(found) or used.identifier, {**used.attributes, **rule.attributes})
                if becomes != used:
                    return becomes, None
            else:
                denied = rule if rule.action == "DENY" else None
        return None, denied

    def _of_kind(self, identifier: str, kind: str, before: str) -> str:
        if not identifier.startswith(kind):
            raise SourceError(
                f"the source policy {self.file} converts {redact(before)} to {redact(identifier)}, which is of another "
                "kind",
                hint=f"convert it to something that begins with {kind}",
            )
        return identifier


ANYTHING: Final = SourcePolicy()


def read_policy(path: str) -> SourcePolicy:
    """Read a policy from a JSON file. Raises UsageError that names the rule at fault."""
    try:
        with open(path, "rb") as file:
            data = file.read(_MAX_BYTES + 1)
    except OSError as error:
        raise UsageError(f"the source policy {path} cannot be read: {error.strerror}") from error
    if len(data) > _MAX_BYTES:
        raise UsageError(f"the source policy {path} is larger than {_MAX_BYTES >> 20} MiB")
    try:
        raw = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise UsageError(f"the source policy {path} is not JSON: {error}", hint=_HINT) from error
    if not isinstance(raw, dict) or not isinstance(raw.get("rules"), list):
        raise UsageError(f"the source policy {path} has no list of `rules`", hint=_HINT)
    for key in raw.keys() - {"rules", "version"}:
        raise UsageError(f"the source policy {path}: `{key}` means nothing", hint="there are `rules` and `version`")
    return SourcePolicy(
        tuple(_rule(one, f"the source policy {path}, rule {number}") for number, one in enumerate(raw["rules"], 1)),
        path,
    )


def _rule(raw: Any, where: str) -> PolicyRule:
    raw = _table(raw, where, ("action", "selector", "updates"))
    selector = _table(
        raw.get("selector", {}), f"{where}, selector", ("identifier", "match_type", "matchType", "constraints")
    )
    updates = _table(raw.get("updates") or {}, f"{where}, updates", ("identifier", "attrs"))
    action = _choice(raw.get("action", 0), _ACTIONS, f"{where}: action")
    match = _choice(selector.get("matchType", selector.get("match_type", 0)), _MATCHES, f"{where}: matchType")
    identifier = _text(selector.get("identifier", ""), f"{where}: identifier")
    if not identifier:
        raise UsageError(f"{where} has no identifier that it is about", hint=_HINT)
    attributes = _table(updates.get("attrs") or {}, f"{where}, attrs", None)
    if action == "CONVERT" and not (updates.get("identifier") or attributes):
        raise UsageError(f"{where} converts to nothing", hint='give "updates": {"identifier": …}')
    if action != "CONVERT" and updates:
        raise UsageError(f"{where}: {action} changes nothing, and has `updates`", hint="leave them out, or CONVERT")
    return PolicyRule(
        action,
        identifier,
        match,
        _pattern(identifier, match, where),
        tuple(_constraint(one, where) for one in selector.get("constraints") or ()),
        _text(updates.get("identifier", ""), f"{where}: updates"),
        {key: _text(value, f"{where}: {key}") for key, value in attributes.items()},
    )


def _pattern(identifier: str, match: str, where: str) -> re.Pattern[str]:
    if match == "EXACT":
        return re.compile(rf"\A{re.escape(identifier)}\Z")
    if match == "WILDCARD":
        return re.compile(rf"\A{'(.*)'.join(map(re.escape, identifier.split('*')))}\Z", re.DOTALL)
    return _compiled(identifier, where)


def _compiled(text: str, where: str) -> re.Pattern[str]:
    try:
        return re.compile(text)
    except re.error as error:
        raise UsageError(f"{where}: `{text}` is not a regular expression: {error}") from error


def _constraint(raw: Any, where: str) -> Constraint:
    raw = _table(raw, f"{where}, constraint", ("key", "value", "condition"))
    value = _text(raw.get("value", ""), f"{where}: constraint")
    condition = _choice(raw.get("condition", 0), _CONDITIONS, f"{where}: condition")
    if condition == "MATCHES":
        _compiled(value, where)
    return Constraint(_text(raw.get("key", ""), f"{where}: constraint"), value, condition)


def _group(found: re.Match[str], name: str, becomes: str) -> str:
    try:
        return found[int(name) if name.isdecimal() else name] or ""
    except IndexError:
        raise SourceError(f"a source policy converts to `{becomes}`, and nothing was matched that ${name} is") from None


def _table(raw: Any, where: str, known: tuple[str, ...] | None) -> Mapping[str, Any]:
    if not isinstance(raw, dict):
        raise UsageError(f"{where} is not an object", hint=_HINT)
    for key in raw:
        if known is not None and key not in known:
            raise UsageError(f"{where}: `{key}` means nothing", hint=f"there are {', '.join(known)}")
    return raw


def _text(value: Any, where: str) -> str:
    if not isinstance(value, str):
        raise UsageError(f"{where}: {value!r} is not a string")
    return value


def _choice(value: Any, known: tuple[str, ...], where: str) -> str:
    """Read a value that may stand there as its number, as protocol buffers write them too."""
    if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < len(known):
        return known[value]
    if isinstance(value, str) and value.upper() in known:
        return value.upper()
    raise UsageError(f"{where} is {value!r}", hint=f"there are {', '.join(known)}")


def _host_and_path(remote: str) -> str:
    """Return a repository as BuildKit's identifiers have it: without scheme and user."""
    rest = remote.partition("://")[2]
    if rest:
        host, slash, path = rest.partition("/")
        return f"{host.rpartition('@')[2]}{slash}{path}"
    return remote.rpartition("@")[2].replace(":", "/", 1)

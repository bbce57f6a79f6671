"""registries.conf: which registries have mirrors, are elsewhere, insecure or blocked (containers-registries.conf(5)).

Names without a registry are Docker Hub's, as with docker: `unqualified-search-registries` and aliases are not used.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any, Final

from buildah_py.errors import UsageError
from buildah_py.frozen import dataclass, replace

if TYPE_CHECKING:
    from collections.abc import Mapping

    from buildah_py.image.reference import Reference

SYSTEM: Final = "/etc/containers"
_ALWAYS, _DIGEST_ONLY, _TAG_ONLY = "all", "digest-only", "tag-only"


@dataclass(frozen=True, slots=True)
class Mirror:
    """Another place for what a registry has; `pull` says for which references."""

    location: str
    insecure: bool = False
    pull: str = _ALWAYS

    def serves(self, *, by_digest: bool) -> bool:
        """Whether the mirror is asked for a reference with a digest, or without."""
        return self.pull in (_ALWAYS, _DIGEST_ONLY if by_digest else _TAG_ONLY)


@dataclass(frozen=True, slots=True)
class Rule:
    """Rule for references that begin with `prefix`; `location` ("" for the prefix itself) is where they are.

    With `mirrors_only` nothing is pulled from there, only from the mirrors.
    """

    prefix: str
    location: str = ""
    insecure: bool = False
    blocked: bool = False
    mirrors: tuple[Mirror, ...] = ()
    origin: str = ""
    mirrors_only: bool = False

    def matches(self, name: str) -> bool:
        """Whether a name (with tag and digest) begins with the prefix, and the prefix ends where a part ends."""
        if self.prefix.startswith("*."):
            host = name.partition("/")[0].partition(":")[0]
            return host.endswith(self.prefix[1:])
        return name.startswith(self.prefix) and name[len(self.prefix) :][:1] in ("", "/", ":", "@")


@dataclass(frozen=True, slots=True)
class Configuration:
    """All rules; `insecure` are registries that need neither TLS nor a certificate, as all with `insecure_pulls`."""

    rules: tuple[Rule, ...] = ()
    insecure: frozenset[str] = frozenset()
    insecure_pulls: bool = False

    def above(self, other: Configuration) -> Configuration:
        """Return both, of which this one's rules replace those of the other with the same prefixes."""
        rules = {rule.prefix: rule for rule in (*other.rules, *self.rules)}
        return Configuration(
            tuple(rules.values()), self.insecure | other.insecure, self.insecure_pulls or other.insecure_pulls
        )

    def is_insecure(self, registry: str, *, pushing: bool) -> bool:
        """Whether neither TLS nor a certificate is asked for, whatever the rules say."""
        return registry in self.insecure or (self.insecure_pulls and not pushing)

    def rule(self, reference: Reference) -> Rule | None:
        """Give the rule with the longest prefix that a reference has."""
        found = [rule for rule in self.rules if rule.matches(reference.full)]
        return max(found, key=lambda rule: len(rule.prefix), default=None)


def load(environ: Mapping[str, str], chosen: str = "", system: str = SYSTEM) -> Configuration:
    """Read the files: `chosen` alone if it is given, else the user's registries.conf or the system's, and drop-ins.

    A drop-in's rule replaces one with the same prefix. Raises UsageError for what is not such a configuration.
    """
    if chosen:
        return Configuration(tuple(_read(chosen)))
    home = environ.get("XDG_CONFIG_HOME") or (os.path.join(environ["HOME"], ".config") if environ.get("HOME") else "")
    users = os.path.join(home, "containers") if home else ""
    mains = [os.path.join(folder, "registries.conf") for folder in (users, system) if folder]
    files = [path for path in mains if os.path.exists(path)][:1]
    for folder in (system, users):
        drop_ins = os.path.join(folder, "registries.conf.d")
        if folder and os.path.isdir(drop_ins):
            files += [os.path.join(drop_ins, name) for name in sorted(os.listdir(drop_ins)) if name.endswith(".conf")]
    rules: dict[str, Rule] = {}
    for path in files:
        rules.update((rule.prefix, rule) for rule in _read(path))
    return Configuration(tuple(rules.values()))


def _read(path: str) -> list[Rule]:
    import tomllib

    try:
        with open(path, "rb") as file:
            data = tomllib.load(file)
    except FileNotFoundError:
        raise UsageError(f"{path} does not exist", hint="it was named as the configuration of registries") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UsageError(f"{path} is not TOML: {error}") from error
    if "registries" in data:
        return _read_first_version(data["registries"], path)
    tables = data.get("registry", [])
    if not isinstance(tables, list):
        raise UsageError(f"{path}: `registry` has to be written as [[registry]]")
    rules: dict[str, Rule] = {}
    for raw in tables:
        rule = _rule(raw, path)
        if rule.prefix in rules and replace(rules[rule.prefix], origin="") != replace(rule, origin=""):
            raise UsageError(f"{path}: there are two different [[registry]] with the prefix {rule.prefix}")
        rules[rule.prefix] = rule
    return list(rules.values())


def _rule(raw: Any, path: str) -> Rule:
    location = _place(_text(raw, "location", path), path)
    prefix = _place(_text(raw, "prefix", path), path) or location
    if not prefix:
        raise UsageError(f"{path}: a [[registry]] has neither prefix nor location")
    if prefix.startswith("*.") and "/" in prefix:
        raise UsageError(f"{path}: the prefix {prefix} has a path; `*.` is for hosts only")
    by_digest = _flag(raw, "mirror-by-digest-only", path)
    mirrors = raw.get("mirror", [])
    if not isinstance(mirrors, list):
        raise UsageError(f"{path}: `mirror` has to be written as [[registry.mirror]]")
    return Rule(
        prefix,
        location,
        _flag(raw, "insecure", path),
        _flag(raw, "blocked", path),
        tuple(_mirror(mirror, path, by_digest=by_digest) for mirror in mirrors),
        path,
    )


def _mirror(raw: Any, path: str, *, by_digest: bool) -> Mirror:
    location = _place(_text(raw, "location", path), path)
    if not location:
        raise UsageError(f"{path}: a [[registry.mirror]] has no location")
    pull = _text(raw, "pull-from-mirror", path) or (_DIGEST_ONLY if by_digest else _ALWAYS)
    if pull not in (_ALWAYS, _DIGEST_ONLY, _TAG_ONLY):
        raise UsageError(f"{path}: pull-from-mirror = {pull!r} is not all, digest-only or tag-only")
    return Mirror(location, _flag(raw, "insecure", path), pull)


def _read_first_version(raw: Any, path: str) -> list[Rule]:
    """Read the lists of the first version of the file."""
    named: dict[str, dict[str, bool]] = {}
    for key, flag in (("insecure", "insecure"), ("block", "blocked")):
        part = raw.get(key, {}) if isinstance(raw, dict) else {}
        for name in part.get("registries", []) if isinstance(part, dict) else []:
            named.setdefault(_place(str(name), path), {})[flag] = True
    return [
        Rule(name, insecure="insecure" in flags, blocked="blocked" in flags, origin=path)
        for name, flags in named.items()
    ]


def _place(text: str, path: str) -> str:
    if "://" in text:
        raise UsageError(f"{path}: `{text}` has to be written without {text.partition('://')[0]}://")
    return text.rstrip("/")


def _text(raw: Any, key: str, path: str) -> str:
    value = raw.get(key, "") if isinstance(raw, dict) else None
    if not isinstance(value, str):
        raise UsageError(f"{path}: `{key}` has to be a string")
    return value


def _flag(raw: Any, key: str, path: str) -> bool:
    value = raw.get(key, False)
    if not isinstance(value, bool):
        raise UsageError(f"{path}: `{key}` has to be true or false")
    return value

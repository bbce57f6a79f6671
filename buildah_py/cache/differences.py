"""How two steps differ, ingredient by ingredient, in words that a person knows from the build file."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, NamedTuple

from buildah_py.cache import input_lists
from buildah_py.cache.keys import BEFORE, MACHINE
from buildah_py.errors import CacheError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from buildah_py.cache.ingredients import Ingredients
    from buildah_py.cache.input_lists import FileDifference

    Lists = Callable[[str], bytes | None]

OWN = "own"
PARENT = "parent"
UNKNOWN = "unknown"

GIT_MODES = "--context-modes=git"

_SHOWN = 40
_SHORT = 24
_EMPTY = '""'
_OPTIONS = {
    "hosts": "--add-host",
    "cap_add": "--cap-add",
    "cap_drop": "--cap-drop",
    "seccomp": "the seccomp profile",
    "no_new_privileges": "--security-opt no-new-privileges",
    "devices": "--device",
    "volumes": "--volume",
}
_NAMES = {
    "cwd": "working directory",
    "user": "user",
    "hostname": "host name",
    "network": "network",
    "security": "--security",
    "platform": "platform",
    "destination": "destination",
    "chown": "--chown",
    "chmod": "--chmod",
    "parents": "--parents",
    "link": "--link",
    "unpack": "--unpack",
    "path": "path",
}


class Difference(NamedTuple):
    """One ingredient that differs: what it is called, what it was and is (None: not there), and a phrase of it all.

    `kind` is OWN for an ingredient of the step itself, PARENT for what it runs on, UNKNOWN for what cannot be told
    before something has run. `files` tell it file by file.
    """

    kind: str
    what: str
    before: str | None
    after: str | None
    phrase: str
    files: tuple[FileDifference, ...] = ()


def differences(old: Ingredients, new: Ingredients, old_lists: Lists, new_lists: Lists) -> list[Difference]:
    """Say how `new` differs from `old`: the step's own ingredients first, then what it runs on.

    The last two give what stood behind the digests of inputs.
    """
    found: list[Difference] = []
    if old.version != new.version:
        before, after = str(old.version), str(new.version)
        phrase = f"the version of keys {before} → {after}: pybuild {old.about.pybuild or '?'} made the record"
        found.append(Difference(OWN, "version of keys", before, after, phrase))
    found += _of_step(old, new)
    found += _of_inputs(old, new, old_lists, new_lists)
    if old.parent != new.parent:
        found.append(_of_parent(old, new))
    return found


def summary(found: list[Difference]) -> str:
    """Say it in one phrase: the step's own differences before those of what it runs on."""
    for kind in (OWN, PARENT):
        if chosen := [one for one in found if one.kind == kind]:
            return f"{chosen[0].phrase}, and {len(chosen) - 1} more" if len(chosen) > 1 else chosen[0].phrase
    return found[0].phrase


def short(value: object, width: int = _SHOWN) -> str:
    """Show a value on one line, cut to a width."""
    text = value if isinstance(value, str) else json.dumps(value, sort_keys=True)
    text = " ".join(text.split())
    return text if len(text) <= width else text[: width - 1] + "…"


def short_digest(digest: str) -> str:
    """Give the first digits of a digest."""
    return digest.removeprefix("sha256:")[:8] + "…"


# the step itself


def _of_step(old: Ingredients, new: Ingredients) -> Iterator[Difference]:
    if old.kind != new.kind:
        before, after = old.kind.upper(), new.kind.upper()
        yield Difference(OWN, "instruction", before, after, f"instruction {before} → {after}")
        return
    for name in sorted(old.canonical.keys() | new.canonical.keys(), key=_rank):
        before_value, after_value = old.canonical.get(name), new.canonical.get(name)
        if before_value == after_value:
            continue
        if name == "env":
            yield from _of_environment(old, new)
        elif name == "args":
            yield _of_command(before_value, after_value)
        elif name == "container":
            yield from _of_container(before_value, after_value)
        elif name == "mounts":
            yield from _of_items("--mount", "target", before_value, after_value)
        elif name == "files":
            yield from _of_items("here-document", "name", before_value, after_value)
        else:
            yield _plain(_NAMES.get(name, name), before_value, after_value)


def _rank(name: str) -> tuple[int, str]:
    order = ("args", "env", "files", "mounts")
    return (order.index(name) if name in order else len(order), name)


def _plain(what: str, before: object, after: object) -> Difference:
    one, other = (None if value in (None, "") else short(value, 10_000) for value in (before, after))
    if one is None:
        phrase = f"{what} {short(other)} added" if after is not None else f"{what} differs"
    elif other is None:
        phrase = f"{what} {short(one)} removed"
    else:
        phrase = f"{what} {short(one)} → {short(other)}"
    return Difference(OWN, what, one, other, phrase)


def _of_environment(old: Ingredients, new: Ingredients) -> Iterator[Difference]:
    before, after = _mapping(old.canonical.get("env")), _mapping(new.canonical.get("env"))
    for name in sorted(before.keys() | after.keys()):
        one, other = before.get(name), after.get(name)
        if one == other:
            continue
        is_argument = name in (new if name in after else old).about.arguments
        what = f"{'ARG' if is_argument else 'environment'} {name}"
        if one is None or other is None:
            value = "" if other is None or not is_argument else f"={short(other, _SHORT)}"
            phrase = f"{what}{value} {'added' if one is None else 'removed'}"
        elif is_argument or max(len(str(one)), len(str(other))) <= _SHORT:
            phrase = f"{what} {short(one) or _EMPTY} → {short(other) or _EMPTY}"
        else:
            phrase = f"{what} differs"
        yield Difference(OWN, what, _shown(one), _shown(other), phrase)


def _of_command(before: object, after: object) -> Difference:
    one = before if isinstance(before, list) else []
    other = after if isinstance(after, list) else []
    if one[-1:] == other[-1:] and len(one) > 1 and len(other) > 1:
        return _plain("shell", one[:-1], other[:-1])
    head = one[:-1] if len(one) == 3 else None
    texts = [str(args[-1]) if args[:-1] == head else short(args, 10_000) for args in (one, other)]
    phrase = f"command `{short(texts[0])}` → `{short(texts[1])}`"
    if short(texts[0]) == short(texts[1]):
        phrase = f"command `{short(texts[1])}` differs"
    return Difference(OWN, "command", texts[0], texts[1], phrase)


def _of_container(before: object, after: object) -> Iterator[Difference]:
    one, other = _mapping(before), _mapping(after)
    for name in sorted(one.keys() | other.keys()):
        if one.get(name) != other.get(name):
            values = (
                ",".join(map(str, value)) if isinstance(value, list) else value
                for value in (one.get(name), other.get(name))
            )
            yield _plain(_OPTIONS.get(name, name), *values)


def _of_items(what: str, key: str, before: object, after: object) -> Iterator[Difference]:
    """Compare lists of mounts or files, which are told apart by one of their properties."""
    one, other = _items(before, key), _items(after, key)
    for name in dict.fromkeys([*one, *other]):
        if one.get(name) == other.get(name):
            continue
        old, new = one.get(name), other.get(name)
        if old is None or new is None:
            phrase = f"{what} {name} {'added' if old is None else 'removed'}"
        else:
            parts = [part for part in sorted(old.keys() | new.keys()) if old.get(part) != new.get(part)]
            phrase = f"{what} {name}: {', '.join(parts)} differs"
        yield Difference(OWN, f"{what} {name}", _shown(old), _shown(new), phrase)
    if list(one) != list(other) and one.keys() == other.keys():
        yield Difference(OWN, what, ", ".join(one), ", ".join(other), f"the order of {what}s differs")


def _items(value: object, key: str) -> dict[str, Mapping[str, object]]:
    items = value if isinstance(value, list) else []
    return {str(item.get(key)): item for item in items if isinstance(item, dict)}


def _mapping(value: object) -> Mapping[str, object]:
    return value if isinstance(value, dict) else {}


def _shown(value: object) -> str | None:
    return None if value is None else value if isinstance(value, str) else json.dumps(value, sort_keys=True)


# what it reads


def _of_inputs(old: Ingredients, new: Ingredients, old_lists: Lists, new_lists: Lists) -> Iterator[Difference]:
    for name in sorted(old.inputs.keys() | new.inputs.keys()):
        before, after = old.inputs.get(name, ""), new.inputs.get(name, "")
        if before == after:
            continue
        what = _input_name(name, new if name in new.inputs else old)
        if name == BEFORE:
            if old.parent == new.parent:  # else that tells it
                yield _of_steps_before(before, after)
        elif after is None or before is None:
            where = new.about.inputs[name].where if name in new.about.inputs else "another step"
            phrase = f"{what}: not known before {where} is there"
            yield Difference(UNKNOWN, what, before or None, after, phrase)
        elif name == MACHINE:
            here, there = (restrictions or "without restrictions" for restrictions in (after, before))
            phrase = f"containers here run {here}, and it was executed {there}"
            yield Difference(OWN, what, before or None, after or None, phrase)
        elif name.startswith(("secret ", "ssh ")):
            yield Difference(OWN, what, before or None, after or None, _lent_phrase(what, before, after))
        elif not before or not after:
            phrase = f"{what} {'added' if after else 'removed'}"
            yield Difference(OWN, what, before or None, after or None, phrase)
        else:
            yield _of_list(name, what, before, after, (old, new), (old_lists, new_lists))


def _of_steps_before(before: str | None, after: str | None) -> Difference:
    if after is None:
        return Difference(
            UNKNOWN, BEFORE, before, after, "the steps before it, which may write to what lasts, come first"
        )
    phrase = "a step before it ran with other inputs, and may have left something else in a cache, volume or device"
    return Difference(OWN, BEFORE, before or None, after or None, phrase)


def _input_name(name: str, step: Ingredients) -> str:
    if name.startswith("sources"):
        return f"{step.kind.upper()} {short(step.about.sources)}".strip()
    return name


def _lent_phrase(what: str, before: str, after: str) -> str:
    if not before or not after:
        return f"{what} {'added' if after else 'removed'}"
    if "not given" in (before, after):
        return f"{what} was {before}, and is {'not given' if after == 'not given' else 'given'} now"
    return f"{what} has another value" if before != "given" and after != "given" else f"{what}: key=digest differs"


def _of_list(
    name: str, what: str, before: str, after: str, steps: tuple[Ingredients, Ingredients], lists: tuple[Lists, Lists]
) -> Difference:
    """Say which files of an input differ, as far as both lists are there."""
    if not before.startswith("sha256:") or not after.startswith("sha256:"):
        return Difference(OWN, what, before, after, f"{what}: {short(before)} → {short(after)}")
    notes = [step.about.inputs.get(name) for step in steps]
    bases = [note.bases if note else () for note in notes]
    try:
        data = [load(digest) for load, digest in zip(lists, (before, after), strict=True)]
        if data[0] is None or data[1] is None:
            phrase = f"{what} changed; which files is not known, as no list of them was kept"
            return Difference(OWN, what, before, after, phrase)
        old, new = map(input_lists.parse, input_lists.shorten(data[0], data[1]))
        files = input_lists.compare(old, new, bases[0], bases[1])
    except CacheError as error:
        return Difference(OWN, what, before, after, f"{what} changed; which files is not known: {error.message}")
    if not files:
        # The same names with the same content in another order, or with directories in other places.
        return Difference(OWN, what, before, after, f"{what}: the same files are taken in another way")
    phrase = f"{what}: {_files_phrase(files)}"
    if notes[1] is not None and notes[1].context and input_lists.same_for_git(files):
        phrase += f"; modes alone differ, in what {GIT_MODES} leaves out"
    return Difference(OWN, what, before, after, phrase, tuple(files))


def _files_phrase(files: list[FileDifference]) -> str:
    first = files[0]
    others = len({one.path for one in files} - {first.path})
    return f"{first}, and {others} more" if others else str(first)


# what it runs on


def _of_parent(old: Ingredients, new: Ingredients) -> Difference:
    was, now = old.about.below, new.about.below
    if new.parent is None:
        return Difference(UNKNOWN, "parent", old.parent, None, f"follows from step {now.label}")
    if now.name and was.name:
        what = f"base {now.name}"
        if was.name != now.name:
            phrase = f"base {was.name} → {now.name}"
        elif was.image and now.image and was.image != now.image:
            phrase = f"{what} moved {short_digest(was.image)} → {short_digest(now.image)}"
        else:
            phrase = f"{what} changed"
        before, after = (f"{one.name} {one.image}".strip() for one in (was, now))
        return Difference(PARENT, what, before, after, phrase)
    if now.name:
        phrase = f"it comes right after FROM {now.name} now"
        if was.text:
            phrase = f"step `{short(was.text)}` before it was removed"
        return Difference(PARENT, "parent", was.text or None, f"FROM {now.name}", phrase)
    what = f"parent step {now.label}"
    if was.text and was.text != now.text and was.stage == now.stage and was.number != now.number:
        phrase = f"step `{short(was.text)}` before it was removed"
        if was.number < now.number:
            phrase = f"step {now.label} before it is new"
        return Difference(PARENT, what, was.text, now.text, phrase)
    return Difference(PARENT, what, old.parent, new.parent, f"{what} changed")

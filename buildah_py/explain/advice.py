"""Advice on a build file, from what its RUNs were seen to read: which COPY is broader than it is used, and what helps.

A finding says what was seen, and what could be written instead. What no observation shows is not guessed.
"""

from __future__ import annotations

import posixpath
import re
from typing import TYPE_CHECKING, NamedTuple

from buildah_py.cache.observations import EXISTS, LISTED, READ

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping, Sequence

    from buildah_py.cache.observations import Observation

_FEW = 12
"""Files that an instruction of their own can name."""
_BROAD = 0.5
"""The share of a COPY's files that a step may read before it is not worth telling them apart."""
_SHORT = 0.5
"""Seconds that are not worth advice."""
_SHOWN = 8


class Copied(NamedTuple):
    """A COPY of the context: its files by where they are in the image, and which of these are kept in what is built."""

    place: str
    text: str
    files: Mapping[str, str]
    kept: Collection[str]


class Ran(NamedTuple):
    """A RUN with what it learned of the COPYs before it, None for each that is not of the context.

    `seconds` is what it took, `again` how often lately it was executed because of a listing, `unread` how often it was
    a hit only because of what it reads. `arguments` are the ARGs in its environment, `command` is its text.
    """

    place: str
    text: str
    command: str
    seconds: float
    arguments: tuple[str, ...]
    observation: Observation | None
    copies: tuple[Copied | None, ...]
    again: int = 0
    unread: int = 0


class Advice(NamedTuple):
    """A finding: what it is about, where, in a sentence, and lines to write, if there are any."""

    kind: str
    place: str
    text: str
    lines: tuple[str, ...] = ()


def advise(runs: Sequence[Ran], copies: Sequence[Copied]) -> list[Advice]:
    """Say what could be better, step by step, and then of the context."""
    return [*_narrower(runs), *_listings(runs), *_arguments(runs), *_unread(runs, copies)]


def used(run: Ran, copied: Copied) -> tuple[set[str], set[str]]:
    """Give the files of a COPY that a RUN read, or looked at, by their names in the context; and what it listed."""
    read: set[str] = set()
    listed: set[str] = set()
    if run.observation is None:
        return read, listed
    for learned, other in zip(run.observation.slots, run.copies, strict=False):
        if other is copied:
            read |= {copied.files[path] for path, (flags, _) in learned.paths.items() if path in copied.files and flags}
            listed |= {path for path, (flags, _) in learned.paths.items() if flags & LISTED}
    return read, listed


def _copies(run: Ran) -> Sequence[Copied]:
    return list({copied.place: copied for copied in run.copies if copied is not None}.values())


def _narrower(runs: Sequence[Ran]) -> Iterator[Advice]:
    """Find RUNs that read little of a COPY before them: others run them again for each file of it."""
    for run in runs:
        for copied in _copies(run):
            read, _ = used(run, copied)
            if not read or run.seconds < _SHORT or len(read) > _FEW or len(read) > _BROAD * len(copied.files):
                continue
            saved = f"; it was spared {run.unread} times lately, which others execute" if run.unread else ""
            yield Advice(
                "narrower",
                run.place,
                f"`{run.text}` reads {len(read)} of the {len(copied.files):,} files of `{copied.text}`: with these "
                f"copied before it, and the others behind it, every builder hits ({run.seconds:.1f}s{saved})",
                tuple(_instructions(copied, read)),
            )


def _instructions(copied: Copied, read: Collection[str]) -> Iterator[str]:
    """Write the COPYs that bring files to where they were, by directories."""
    places = {source: path for path, source in copied.files.items()}
    by_directory: dict[str, list[str]] = {}
    for source in sorted(read):
        by_directory.setdefault(posixpath.dirname(places[source]), []).append(source)
    for directory, sources in by_directory.items():
        yield f"COPY {' '.join(sources)} /{directory}{'/' if directory else ''}"


def _listings(runs: Sequence[Ran]) -> Iterator[Advice]:
    for run in runs:
        for copied in _copies(run):
            _, listed = used(run, copied)
            if run.again and listed:
                names = ", ".join(f"/{path}" for path in sorted(listed)[:_SHOWN])
                yield Advice(
                    "listing",
                    run.place,
                    f"`{run.text}` was executed {run.again} times lately because names in {names} differed, which it "
                    f"lists ({run.seconds:.1f}s each time): a COPY of what it needs alone would keep it",
                )


def _arguments(runs: Sequence[Ran]) -> Iterator[Advice]:
    """Find ARGs in the environment of RUNs of which none mentions them."""
    behind: dict[str, list[Ran]] = {}
    for run in runs:
        for name in run.arguments:
            behind.setdefault(name, []).append(run)
    for name, found in behind.items():
        if any(re.search(rf"\b{re.escape(name)}\b", run.command) for run in found):
            continue
        yield Advice(
            "argument",
            found[0].place,
            f"ARG {name} is in the environment of {_count(len(found), 'RUN')}, whose text does not mention it: a new "
            "value executes all of them; declare it where it is used",
        )


def _unread(runs: Sequence[Ran], copies: Sequence[Copied]) -> Iterator[Advice]:
    """Find files that are copied, and neither read by any RUN nor part of what is built."""
    if any(run.observation is None for run in runs):
        return  # who knows
    everything = {source for copied in copies for source in copied.files.values()}
    wanted = {copied.files[path] for copied in copies for path in copied.kept if path in copied.files}
    for run in runs:
        assert run.observation is not None
        for learned, copied in zip(run.observation.slots, run.copies, strict=False):
            if copied is not None:
                if learned.whole:
                    wanted |= set(copied.files.values())
                wanted |= {
                    copied.files[path]
                    for path, (flags, _) in learned.paths.items()
                    if path in copied.files and flags & (EXISTS | READ)
                }
    unread = everything - wanted
    if unread:
        yield Advice(
            "unread",
            ".dockerignore",
            f"{len(unread):,} of {len(everything):,} files of the context are copied, and neither read by a RUN nor in "
            "the image",
            tuple(_patterns(unread, everything)),
        )


def _patterns(unread: Collection[str], everything: Collection[str]) -> Iterator[str]:
    """Name files, and directories of which no file is used, as an ignore file does."""
    used_directories = {""}
    for source in everything:
        if source not in unread:
            parts = source.split("/")
            used_directories |= {"/".join(parts[:end]) for end in range(1, len(parts))}
    named: set[str] = set()
    for source in sorted(unread):
        parts = source.split("/")
        tops = ("/".join(parts[:end]) for end in range(1, len(parts)))
        named.add(next((top for top in tops if top not in used_directories), source))
    yield from sorted(named)


def _count(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"

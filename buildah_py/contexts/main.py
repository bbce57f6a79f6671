"""The main context of a build, wherever it comes from, and the build file in it, beside it, or instead of it."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, Final, NamedTuple

from buildah_py.buildfile import parse
from buildah_py.buildfile.remote import kind_of
from buildah_py.errors import NotFound, UsageError
from buildah_py.layers.entry import SECOND
from buildah_py.sources.find import FoundFile, find_build_file, find_directory, find_ignore, include_reader
from buildah_py.sources.reach import NOWHERE
from buildah_py.sources.urls import STDIN, ContextPlace, as_repository, context_place, redact, without_credentials

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from buildah_py.buildfile.ignore import IgnorePatterns
    from buildah_py.buildfile.tree import BuildFile
    from buildah_py.sources.reach import Reach
    from buildah_py.store import Store

_SHOWN_STDIN: Final = "<stdin>"
_KEEP_GIT_DIR: Final = "BUILDKIT_CONTEXT_KEEP_GIT_DIR"


class MainContext(NamedTuple):
    """Where the main context lies, and the build file.

    `remote`: it came from elsewhere, and nothing in it leads out of it. `lasting` is what leads to the same content
    another time: an absolute path, a URL without credentials (of a repository: with the commit), None for nothing but a
    build file; `-` for what came on standard input, which is gone. `stamp` is a commit's time, or the one that a web
    server gave, in seconds; 0 where there is none.
    """

    directory: str
    build_file: FoundFile
    remote: bool
    lasting: str | None
    stamp: int = 0

    def time(self) -> int | None:
        """When the content was made, in seconds since 1970: `stamp`, else that of an archive's newest file.

        None for a directory of this machine, whose times say when it was checked out.
        """
        if self.stamp or not self.remote or self.lasting is None:
            return self.stamp or None
        found = [
            os.lstat(os.path.join(directory, name)).st_mtime_ns
            for directory, _, names in os.walk(self.directory)
            for name in names
        ]
        return max(found) // SECOND if found else None

    def lasting_file(self) -> str | None:
        """Return the build file's path for another time: absolute, in a remote context the one inside of it."""
        path = self.build_file.path
        if not path:
            return None
        return os.path.relpath(path, self.directory) if self.remote else os.path.abspath(path)

    def ignore(self, ignore_file: str = "") -> IgnorePatterns | None:
        """Read the ignore file that applies: `ignore_file` where one is named."""
        path = self.build_file.path
        return find_ignore(self.directory, path or None, ignore_file=ignore_file or None, inside=self.remote)


def open_main(
    context: str | None,
    file: str | None,
    store: Callable[[], Store],
    *,
    reach: Reach = NOWHERE,
    build_args: Mapping[str, str] | None = None,
    text: str | None = None,
    needs_file: bool = True,
    warn: Callable[[str], object] = lambda _: None,
) -> MainContext:
    """Find the main context `context` and the build file `file` in it: both as the command line names them.

    `context` is a directory, `-`, a URL, what else `context_place` knows, or None for an empty one. `file` is a path
    (in what is remote: inside of it), `-`, an http(s) URL, or None. `store` is asked for where something has to be
    kept. `text` is the build file's text where that is known. Without `needs_file` a context in which no build file
    lies is taken as it is. `warn` is told of what could not be taken along. Raises UsageError, NotFound, SourceError.
    """
    place = context_place(context) if context is not None else ContextPlace("path", "")
    url = place.where
    given = _given(place, file, store, reach, text)
    if context is not None and place.kind == "path":
        if os.path.isfile(context):
            raise UsageError(
                f"the context `{context}` is not a directory",
                hint="name a build file with -f and its directory as CONTEXT",
            )
        found = given or _find(lambda: find_build_file(context, file), needed=needs_file or file is not None)
        return MainContext(context, found, False, os.path.abspath(context))
    from buildah_py.contexts import remote

    lone: bytes | None = None
    stamp = 0
    if context is None:
        directory, lasting = remote.empty(store()), None
    elif place.kind == "stdin":
        directory, lone, _ = remote.from_stdin(store(), reach, warn)
        lasting = STDIN if lone is None else None
    elif place.kind == "git":
        keep = (build_args or {}).get(_KEEP_GIT_DIR, "").lower() in ("1", "true")
        checkout = remote.from_git(store(), url, reach, keep_git_dir=keep)
        directory, lasting, stamp = checkout.path, _pinned(url, checkout.commit), checkout.time // SECOND
    elif place.kind == "tar":
        directory = remote.from_archive(store(), url, reach, warn).directory
        lasting = place._replace(where=os.path.abspath(url)).text()
    elif place.kind == "s3":
        directory, lasting = remote.from_bucket(store(), url, reach, warn).directory, place.text()
    else:
        directory, lone, stamp = remote.from_web(store(), url, reach, warn)
        lasting = without_credentials(url)
    if place.inside:
        if lone is not None:
            raise UsageError(f"{_called(context)} is a build file, and has no directory {place.inside}")
        directory = find_directory(directory, place.inside, _called(context))
    if lone is not None:
        if file is not None and text is None:
            raise UsageError(
                f"{_called(context)} is a build file, and -f {redact(file)} names another one",
                hint="leave one of them out",
            )
        given = given or FoundFile(_SHOWN_STDIN if place.kind == "stdin" else redact(url), "", lone)
    elif given is not None and text is not None and file is not None:
        given = given._replace(path=os.path.join(directory, file))
    if given is None:
        given = _find(lambda: _find_inside(directory, file), needed=needs_file or file is not None)
    return MainContext(directory, given, True, lasting, stamp)


def parse_build_file(main: MainContext, *, extensions: bool) -> BuildFile:
    """Parse the build file of a context. Raises BuildFileError."""
    found = main.build_file
    include = None
    if found.path:
        include = include_reader(os.path.dirname(found.path))
    elif found.name == _SHOWN_STDIN and not main.remote:
        include = include_reader(os.getcwd())
    return parse(found.data, found.name, extensions=extensions, include=include)


def _given(
    place: ContextPlace,
    file: str | None,
    store: Callable[[], Store],
    reach: Reach,
    text: str | None,
) -> FoundFile | None:
    """Give a build file that is not in the context."""
    if text is not None:
        data = text.encode("utf-8", "surrogateescape")
        return FoundFile(os.path.basename(file or "") or "<inline>", file or "", data)
    if file == STDIN:
        if place.kind == "stdin":
            raise UsageError(
                "standard input cannot be both the context and the build file",
                hint="send the build file alone (`pybuild -`), or inside of a tar archive",
            )
        return FoundFile(_SHOWN_STDIN, "", sys.stdin.buffer.read())
    if file is not None and kind_of(file) == "http":
        from buildah_py.contexts import remote

        fetched = remote.fetch(store(), file, reach)
        with open(fetched.path, "rb") as opened_file:
            return FoundFile(redact(file), "", opened_file.read())
    return None


def _find(find: Callable[[], FoundFile], *, needed: bool) -> FoundFile:
    try:
        return find()
    except NotFound:
        if needed:
            raise
        return FoundFile("", "", b"")


def _find_inside(directory: str, file: str | None) -> FoundFile:
    try:
        return find_build_file(directory, file, inside=True)
    except NotFound as error:
        if file is not None and os.path.isfile(file):
            error.hint = f"{file} is here, not in the context: send it with `-f - <{file}`"
        raise


def _called(context: str | None) -> str:
    return "standard input" if context_place(context or "").kind == "stdin" else f"the context {redact(context or '')}"


def _pinned(url: str, commit: str) -> str:
    """Give the URL of a repository with its commit for the ref."""
    from buildah_py.sources import git_url

    source = git_url.parse(url)
    ref = f"{commit}:{source.subdir}" if source.subdir else commit
    flags = {"keep-git-dir": source.keep_git_dir, "submodules": source.submodules}
    query = "&".join(f"{name}={str(value).lower()}" for name, value in flags.items() if value is not None)
    return as_repository(f"{without_credentials(source.remote)}{'?' if query else ''}{query}#{ref}")

"""Reading a bake definition from where it is: files of this machine, standard input, a repository or a web server."""

from __future__ import annotations

import os
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final, NamedTuple

from buildah_py.bake.home import Home
from buildah_py.bake.reading import Inputs, evaluate_files, find_files, read_file
from buildah_py.bake.resolving import CWD
from buildah_py.buildfile.remote import kind_of
from buildah_py.errors import NotFound, UsageError
from buildah_py.image import platform as platforms
from buildah_py.source_text import Source, decode
from buildah_py.sources.urls import redact

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from buildah_py.bake.definition import Evaluated
    from buildah_py.sources.reach import Reach
    from buildah_py.store import Store

STDIN: Final = "-"
_FILES: Final = "BUILDX_BAKE_FILE"
_SEPARATOR: Final = "BUILDX_BAKE_FILE_SEPARATOR"


class BakeFiles(NamedTuple):
    """Which files make a definition: `files` as `-f` names them, in `url` where that is not "".

    `variables` are those of `--var`, `directory` is where files of this machine are looked for, "" for the working
    directory.
    """

    files: tuple[str, ...] = ()
    url: str = ""
    variables: Mapping[str, str] = {}
    directory: str = ""


class BakeFile(NamedTuple):
    """A definition that was read: what it says, where its paths begin, and what it is called."""

    evaluated: Evaluated
    home: Home
    name: str


def named_files(given: Sequence[str], environ: Mapping[str, str]) -> tuple[str, ...]:
    """Return the files that the command line names, else the environment; none for those that are looked for."""
    if given or not environ.get(_FILES):
        return tuple(given)
    return tuple(environ[_FILES].split(environ.get(_SEPARATOR) or os.pathsep))


def read_bake(asked: BakeFiles, environ: Mapping[str, str], store: Callable[[], Store], reach: Reach) -> BakeFile:
    """Read and evaluate a definition; `store` is asked for where something is fetched.

    Raises BuildFileError with the place of the first fault, NotFound, SourceError, UsageError.
    """
    with _opened(asked, store, reach) as (home, directory, lone):
        if lone is not None:
            sources = [lone]
        else:
            files = asked.files or find_files(directory)
            sources = [_read(file, directory, remote=bool(home.url)) for file in files]
        if len({source.name for source in sources}) < len(sources):
            raise UsageError("a bake file is named twice", hint="name each with one -f")
        inputs = Inputs(
            environ,
            asked.variables,
            {"BAKE_CMD_CONTEXT": CWD, "BAKE_LOCAL_PLATFORM": str(platforms.host())},
            _dotenv(asked.directory),
            lambda path: _read(path, directory, remote=bool(home.url)),
        )
        return BakeFile(evaluate_files(sources, inputs), home, ", ".join(source.name for source in sources))


@contextmanager
def _opened(asked: BakeFiles, store: Callable[[], Store], reach: Reach) -> Iterator[tuple[Home, str, Source | None]]:
    """Give where paths begin, where the files are, and the file itself where it came alone."""
    if not asked.url:
        yield Home(asked.directory), asked.directory, None
        return
    from buildah_py.contexts.main import open_main

    main = open_main(asked.url, None, store, reach=reach, needs_file=False)
    assert main.lasting is not None
    url = main.lasting
    if kind_of(asked.url) != "git" and not os.listdir(main.directory) and main.build_file.data:
        if asked.files:
            raise UsageError(f"{redact(asked.url)} is a file, and -f names another one", hint="leave -f out")
        lone = Source(os.path.basename(url.partition("?")[0]) or "bake", decode(main.build_file.data))
        yield Home(url=url, lone=True), main.directory, lone
        return
    yield Home(url=url), main.directory, None


def _read(file: str, directory: str, *, remote: bool) -> Source:
    if file == STDIN:
        return Source("<stdin>", decode(sys.stdin.buffer.read()))
    if file.startswith(CWD):
        return read_file(file.removeprefix(CWD))
    path = os.path.join(directory, file)
    if remote:
        real, top = os.path.realpath(path), os.path.realpath(directory)
        if os.path.commonpath([real, top]) != top:
            raise NotFound(
                f"the bake file {file} leads out of the repository", hint=f"{CWD}{file} is one of this machine"
            )
    return read_file(path, file)


def _dotenv(directory: str) -> str:
    try:
        with open(os.path.join(directory, ".env"), "rb") as file:
            return decode(file.read())
    except (FileNotFoundError, NotADirectoryError):
        return ""
    except OSError as error:
        raise NotFound(f".env cannot be read: {error.strerror}") from error

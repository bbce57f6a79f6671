"""Where paths of a bake definition begin: the working directory, another one, or something that was fetched."""

from __future__ import annotations

import os
import posixpath
from typing import NamedTuple

from buildah_py.bake.resolving import CWD
from buildah_py.buildfile.remote import kind_of
from buildah_py.errors import UsageError


class Home(NamedTuple):
    """`directory` is where relative paths begin. Of a definition that was fetched, `url` is what stands for that.

    `lone` says that no more than a file was fetched: nothing lies beside it.
    """

    directory: str = ""
    url: str = ""
    lone: bool = False

    def path(self, text: str) -> str:
        """Give what a path of the definition means: a path or a URL; one that begins with cwd:// is of this machine.

        Raises UsageError for one that leads out of what was fetched.
        """
        if text.startswith(CWD):
            return text.removeprefix(CWD) or "."
        if not self.url:
            return os.path.join(self.directory, text) if self.directory else text
        base, _, fragment = self.url.partition("#")
        ref, _, subdir = fragment.partition(":")
        inside = posixpath.normpath(posixpath.join(subdir, text))
        if self.lone or posixpath.isabs(text) or inside.split("/")[0] == "..":
            beside = "with the bake file nothing else was fetched" if self.lone else "it is not in the repository"
            raise UsageError(f"`{text}`: {beside}", hint=f"write {CWD}{text} for a path of this machine")
        if kind_of(self.url) != "git":
            if inside == ".":
                return self.url
            raise UsageError(f"`{text}`: a part of an archive cannot be a context", hint="use a git repository")
        return f"{base}#{ref}" + (f":{inside}" if inside != "." else "")

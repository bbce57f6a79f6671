"""Parts of a git URL: the repository, what to check out of it, and how. Nothing in it can be taken for an option."""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING, Final, NamedTuple

from buildah_py.errors import SourceError
from buildah_py.sources.urls import check, redact

if TYPE_CHECKING:
    from collections.abc import Mapping

_PREFIX: Final = re.compile(r"[0-9a-f]{4,64}")
_SCP: Final = re.compile(r"(?P<user>[\w.-]+)@(?P<host>[\w.-]+):(?P<path>.+)")
_QUERY: Final = ("ref", "tag", "branch", "subdir", "checksum", "commit", "keep-git-dir", "submodules", "mtime")


class GitSource(NamedTuple):
    """A parsed repository URL. `commit` is what the checked out commit's id has to begin with; None: not given."""

    remote: str
    ref: str = ""
    subdir: str = ""
    commit: str = ""
    keep_git_dir: bool | None = None
    submodules: bool | None = None
    mtime: str = "commit"


def parse(url: str) -> GitSource:
    """Read `URL[?key=value…][#ref[:subdir]]`; raises SourceError for what git would take for something else."""
    from urllib.parse import parse_qsl

    check(url)
    head, _, fragment = url.partition("#")
    head, _, query = head.partition("?")
    ref, _, subdir = fragment.partition(":")
    values = {"ref": ref, "subdir": subdir}
    for key, value in parse_qsl(query, keep_blank_values=True):
        if key not in _QUERY:
            raise SourceError(f"{redact(url)}: {key!r} means nothing", hint=f"known are {', '.join(_QUERY)}")
        if key in values and values[key] not in ("", value):
            raise SourceError(f"{redact(url)} gives {key} twice")
        values[key] = value
    refs = {kind: values.get(kind, "") for kind in ("ref", "tag", "branch") if values.get(kind)}
    if len(refs) > 1:
        raise SourceError(f"{redact(url)} gives {' and '.join(refs)}", hint="one says what to check out")
    chosen = refs.get("ref") or (f"refs/tags/{refs['tag']}" if "tag" in refs else "")
    chosen = chosen or (f"refs/heads/{refs['branch']}" if "branch" in refs else "")
    commit = values.get("commit") or values.get("checksum") or ""
    if commit and not _PREFIX.fullmatch(commit):
        raise SourceError(f"{redact(url)}: {commit!r} is not a commit id")
    if values.get("mtime", "commit") not in ("commit", "checkout"):
        raise SourceError(f"{redact(url)}: mtime is commit or checkout")
    check_ref(chosen, url)
    return GitSource(
        check_remote(head, url),
        chosen,
        _subdir(values["subdir"], url),
        commit,
        _flag(values, "keep-git-dir", url),
        _flag(values, "submodules", url),
        values.get("mtime", "commit"),
    )


def check_ref(ref: str, url: str) -> None:
    """Refuse a ref that git could take for an option, a range or a pattern. Remotes can send such names too."""
    if (
        ref.startswith(("-", "/", "."))
        or ref.endswith((".lock", "/", "."))
        or re.search(r"[\s~^:?*\[\\\x7f]|\.\.|@\{", ref)
    ):
        raise SourceError(f"{redact(url)}: {ref!r} is not a name of a branch, tag or commit")


def check_remote(head: str, url: str) -> str:
    """Refuse a repository that git could take for an option or a helper of its own."""
    if head.startswith("-"):
        raise SourceError(f"{redact(url)!r} is not a repository")
    if "://" not in head and not _SCP.fullmatch(head) and not os.path.isabs(head):
        raise SourceError(
            f"{redact(url)!r} is not a repository", hint="give https://…, ssh://…, git://… or git@host:path"
        )
    host = re.match(r"\w+://(?:[^@/]*@)?([^/:]*)", head)
    if host is not None and host[1].startswith("-"):
        raise SourceError(f"{redact(url)!r} is not a repository: its host begins with -")
    return head


def host_of(remote: str) -> str:
    """Give the host that a repository is on; empty for a path."""
    from urllib.parse import urlsplit

    if "://" in remote:
        return urlsplit(remote).hostname or ""
    found = _SCP.fullmatch(remote)
    return found["host"] if found is not None else ""


def _subdir(subdir: str, url: str) -> str:
    parts = [part for part in subdir.split("/") if part not in ("", ".")]
    if ".." in parts:
        raise SourceError(f"{redact(url)}: the directory {subdir!r} leads out of the repository")
    if parts[:1] == [".git"]:
        raise SourceError(f"{redact(url)}: the directory {subdir!r} is git's own")
    return "/".join(parts)


def _flag(values: Mapping[str, str], key: str, url: str) -> bool | None:
    value = values.get(key)
    if value is None:
        return None
    if value.lower() in ("", "1", "true"):
        return True
    if value.lower() in ("0", "false"):
        return False
    raise SourceError(f"{redact(url)}: {key}={value} is neither true nor false")

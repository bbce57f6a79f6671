"""Build contexts as kaniko names them, said as `pybuild build` says them; and the build file that goes with one."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Final, NamedTuple
from urllib.parse import quote, urlsplit

from buildah_py.cli.arguments import key_values
from buildah_py.errors import UsageError
from buildah_py.image import numbers
from buildah_py.sources.urls import as_repository, context_place, redact

if TYPE_CHECKING:
    from collections.abc import Mapping

_DIRECTORY: Final = "dir://"
GIT: Final = "git://"
_GS: Final = "gs://"
_KNOWN: Final = "dir://, tar://, tar://stdin, git://, s3://, https://, or the path of a directory"
_METHODS: Final = ("https", "http", "ssh")
_SWITCHES: Final = ("single-branch", "recurse-submodules", "insecure-skip-tls")
_GIT_KEYS: Final = ("branch", "depth", *_SWITCHES)


class ContextAndFile(NamedTuple):
    """A context and a build file as `pybuild build` takes them.

    `text` is the build file's where it lies on this machine and the context does not; `note` says so.
    """

    context: str
    file: str
    text: str | None = None
    note: str = ""


def find(context: str, sub_path: str, file: str, git: str, environ: Mapping[str, str]) -> ContextAndFile:
    """Read --context, --context-sub-path, --dockerfile and --git. Raises UsageError for what cannot be a context."""
    sub_path = _sub_path(sub_path)
    if context.startswith(GIT):
        place = _repository(context, sub_path, git, environ)
    else:
        place = _other(context, sub_path, environ)
    if context_place(place).kind == "path" or "://" in file or not os.path.isfile(file):
        return ContextAndFile(place, file)
    # kaniko looks at its own container first, wherever the context is.
    with open(file, encoding="utf-8", errors="surrogateescape") as opened:
        text = opened.read()
    note = f"the build file is {os.path.abspath(file)}, of this container and not of the context"
    return ContextAndFile(place, os.path.basename(file), text, note)


def _sub_path(text: str) -> str:
    parts = [part for part in text.split("/") if part not in ("", ".")]
    if ".." in parts:
        raise UsageError(f"--context-sub-path {text} leads out of the context")
    return "/".join(parts)


def _other(context: str, sub_path: str, environ: Mapping[str, str]) -> str:
    scheme = context.partition("://")[0] + "://" if "://" in context else ""
    if scheme in ("", _DIRECTORY):
        return _directory(context.removeprefix(_DIRECTORY), sub_path)
    if scheme in ("tar://", "s3://"):
        return f"{context}#:{sub_path}" if sub_path else context
    if scheme == _GS:
        raise UsageError(
            f"--context {context}: buckets of Google are not read",
            hint="with an HMAC key: S3_ENDPOINT=https://storage.googleapis.com and s3://BUCKET/KEY; or have an init"
            " container fetch it, and name the file: tar:///PATH",
        )
    if scheme in ("https://", "http://"):
        return _web(context, sub_path, environ)
    raise UsageError(f"--context {redact(context)}: {scheme} is not a kind of context", hint=f"write {_KNOWN}")


def _directory(path: str, sub_path: str) -> str:
    place = os.path.join(path or ".", sub_path) if sub_path else path or "."
    if not os.path.isdir(place):
        hint = "mount it there, or name another place with --context"
        if os.path.isfile(place):
            hint = f"an archive is written as tar://{os.path.abspath(place)}"
        raise UsageError(f"--context: there is no directory {place}", hint=hint)
    return place


def _web(context: str, sub_path: str, environ: Mapping[str, str]) -> str:
    host = urlsplit(context).hostname or ""
    if environ.get("AZURE_STORAGE_ACCESS_KEY") and ".blob." in host and "sig=" not in context:
        raise UsageError(
            f"--context {redact(context)}: nothing is signed with AZURE_STORAGE_ACCESS_KEY",
            hint="give the URL a shared access signature, ?sv=…&sig=…, and leave the variable out",
        )
    if sub_path and context_place(context).kind != "git":
        raise UsageError(
            f"--context-sub-path {sub_path}: an archive from a web server is taken whole",
            hint="fetch it before, and name the file: tar:///PATH",
        )
    return f"{context}{':' if '#' in context else '#:'}{sub_path}" if sub_path else context


def _repository(context: str, sub_path: str, git: str, environ: Mapping[str, str]) -> str:
    """Give the URL of a repository: git://HOST/PATH[#REF][#COMMIT], reached by GIT_PULL_METHOD."""
    options = _git_options(git)
    remote, *rest = context.removeprefix(GIT).split("#")
    if len(rest) > 2:
        raise UsageError(
            f"--context {redact(context)} has more than a reference and a commit",
            hint="write git://HOST/REPOSITORY.git#REFERENCE#COMMIT",
        )
    method = environ.get("GIT_PULL_METHOD") or "https"
    if method not in _METHODS:
        raise UsageError(f"GIT_PULL_METHOD={method} means nothing", hint=f"there are {', '.join(_METHODS)}")
    reference, commit = [*rest, "", ""][:2]
    branch = options.get("branch", "")
    if branch and reference and reference.removeprefix("refs/heads/") != branch:
        raise UsageError(
            f"--git branch={branch}, and --context says {reference}", hint="one of them says what to check out"
        )
    reference = commit or reference or (f"refs/heads/{branch}" if branch else "")
    modules = str(bool(numbers.boolean(options.get("recurse-submodules", "false")))).lower()
    inside = f":{sub_path}" if sub_path else ""
    fragment = f"#{reference}{inside}" if reference or inside else ""
    return as_repository(f"{method}://{_with_user(remote, method, environ)}?submodules={modules}{fragment}")


def _with_user(remote: str, method: str, environ: Mapping[str, str]) -> str:
    """Put the user's name and password of the environment before the host, unless somebody stands there already."""
    if "@" in remote.partition("/")[0] or method == "ssh":
        return remote
    name, password = environ.get("GIT_TOKEN", ""), ""
    if not name:
        name, password = environ.get("GIT_USERNAME", ""), environ.get("GIT_PASSWORD", "")
    if not name and not password:
        return remote
    return f"{quote(name, safe='')}{':' if password else ''}{quote(password, safe='')}@{remote}"


def _git_options(text: str) -> dict[str, str]:
    """Read --git. Raises UsageError for what means nothing, or cannot be."""
    found = key_values([one for one in text.split(",") if one], "--git")
    for name, value in found.items():
        if name not in _GIT_KEYS:
            from buildah_py.suggest import did_you_mean

            hint = did_you_mean(name, _GIT_KEYS) or f"there are {', '.join(_GIT_KEYS)}"
            raise UsageError(f"--git {text}: there is no option {name}", hint=hint)
        if name in _SWITCHES and numbers.boolean(value) is None:
            raise UsageError(f"--git {name}={value} is neither true nor false")
    if numbers.boolean(found.get("insecure-skip-tls", "false")):
        raise UsageError(
            "--git insecure-skip-tls=true: certificates of repositories' servers are always looked at",
            hint="SSL_CERT_FILE names a file of CAs to believe; GIT_PULL_METHOD=http needs none",
        )
    return found

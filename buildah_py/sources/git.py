"""Git repositories as contexts and as sources of ADD, fetched by the git program with everything local switched off."""

from __future__ import annotations

import os
import re
import time
from contextlib import contextmanager, nullcontext, suppress
from typing import TYPE_CHECKING, Final, NamedTuple

from buildah_py.errors import NotFound, SourceError
from buildah_py.sources.find import find_directory
from buildah_py.sources.git_url import GitSource, check_ref, check_remote, host_of
from buildah_py.sources.urls import check, redact, without_credentials

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from contextlib import AbstractContextManager

_PROTOCOLS: Final = ("https", "http", "ssh", "git")
_HEX: Final = re.compile(r"[0-9a-f]{40}(?:[0-9a-f]{24})?")
_PREFIX: Final = re.compile(r"[0-9a-f]{4,64}")
_MAX_DEPTH: Final = 10
_REDIRECTED: Final = re.compile(r"returned error: 30[12378]\b|from redirection")
_PROBE: Final = "/info/refs?service=git-upload-pack"
_FETCH: Final = ("fetch", "-q", "--depth=1", "--no-tags")
_LONGEST: Final = 3600.0
"""Seconds that one command of git may take."""
_LARGEST: Final = 64 << 30
"""Bytes of the largest file that git may write."""
_SSH: Final = "ssh -o BatchMode=yes -o ConnectTimeout=60 -o ServerAliveInterval=20"
# Nothing of this user but the hosts that he knows: what an agent that was lent signs is all there is.
_SSH_LENT: Final = (
    f"{_SSH} -F none -o IdentityFile=none -o IdentityAgent=SSH_AUTH_SOCK -o PreferredAuthentications=publickey"
    " -o ForwardAgent=no -o ClearAllForwardings=yes -o UpdateHostKeys=no"
)


class Checkout(NamedTuple):
    """A checked out tree: the directory, the whole id of its commit and that commit's time (ns)."""

    path: str
    commit: str
    time: int


def checkout(
    source: GitSource,
    cache: str,
    dest: str,
    *,
    keep_git_dir: bool = False,
    submodules: bool = True,
    allow_file: bool = False,
    authorization: Callable[[str], str | None] | None = None,
    environment: Mapping[str, str] | None = None,
    lock: Callable[[str], AbstractContextManager[object]] = lambda _: nullcontext(),
    local_redirects: bool = False,
    own_access: bool = False,
    agent: str = "",
    cancelled: Callable[[], bool] = lambda: False,
    longest: float = _LONGEST,
) -> Checkout:
    """Check out `source` into the empty directory `dest`; objects are kept in the directory `cache` for next time.

    Files have mode 0644 or 0755 whatever the umask, and the commit's time. Nothing of the repository runs: no hooks, no
    filters, no configuration of this user. With a `subdir` the result's path is that directory, which no symbolic
    link leads to. `authorization` gives the Authorization header for a URL; neither it nor what stands before the `@`
    of an http URL is seen in the list of processes or in a message. `environment` is what the proxies see of the
    caller's. By ssh a repository is reached with the `agent` whose socket that is, and, if `own_access`, `source`
    itself with whatever this user's ssh has; no submodule is. `allow_file` permits repositories on this machine. `lock`
    makes builds that share `cache` take turns: it is given the name of a directory in there, one at a time. A redirect
    of the server is followed only where one would be for ADD of a file; `local_redirects` is as there, and permits
    submodules on this machine too. No command of git takes longer than `longest` seconds.

    Raises NotFound for a ref or directory that is not there, Interrupted where `cancelled()`, SourceError for the rest.
    """
    git = _Git(
        os.environ if environment is None else environment,
        authorization,
        lock,
        cache,
        allow_file=allow_file,
        local_redirects=local_redirects,
        own=source.remote if own_access else "",
        agent=agent,
        cancelled=cancelled,
        longest=longest,
    )
    with git.store(source.remote) as store:
        commit, ref = _fetch(git, store, source)
        if source.commit and not commit.startswith(source.commit):
            raise SourceError(
                f"{redact(source.remote)}: {source.ref or 'HEAD'} is commit {commit}, and {source.commit} is asked for"
            )
        when = int(git.run("--git-dir", store, "log", "-1", "--format=%ct", commit).strip()) * 1_000_000_000
        _populate(git, store, commit, dest)
    if submodules if source.submodules is None else source.submodules:
        _submodules(git, store, commit, dest, source.remote, 0)
    if source.mtime == "commit":
        _set_times(dest, when)
    if keep_git_dir if source.keep_git_dir is None else source.keep_git_dir:
        with git.store(source.remote) as store:
            _keep_git_dir(git, store, commit, ref, dest, source.remote)
    return Checkout(find_directory(dest, source.subdir, redact(source.remote)), commit, when)


def authorization_from(secret: Callable[[str], bytes | None], remote: str) -> Callable[[str], str | None]:
    """Give the Authorization header for a URL from secrets, for a build of the repository `remote`.

    GIT_AUTH_HEADER.<host> is the header, GIT_AUTH_TOKEN.<host> a token; without a host they are for the scheme, host
    and port of `remote`. Else those of ADD from a web server count.
    """
    from base64 import b64encode
    from urllib.parse import urlsplit

    from buildah_py.http.redirects import origin
    from buildah_py.sources import http

    own, otherwise = origin(remote), http.authorization_from(secret)

    def header(url: str) -> str | None:
        host = urlsplit(url).hostname or ""
        for end in (f".{host}", "") if origin(url) == own else (f".{host}",):
            value = secret("GIT_AUTH_HEADER" + end)
            if value is not None:
                return value.decode("latin-1").strip()
            token = secret("GIT_AUTH_TOKEN" + end)
            if token is not None:
                return "Basic " + b64encode(b"x-access-token:" + token.strip()).decode()
        return otherwise(url)

    return header


class _Git:
    """The git program in an environment in which no configuration counts but ours."""

    def __init__(
        self,
        environment: Mapping[str, str],
        authorization: Callable[[str], str | None] | None,
        lock: Callable[[str], AbstractContextManager[object]],
        cache: str,
        *,
        allow_file: bool,
        local_redirects: bool,
        own: str,
        agent: str,
        cancelled: Callable[[], bool],
        longest: float,
    ) -> None:
        self.local_redirects = local_redirects
        self._own = own
        self._agent = agent
        self._cancelled = cancelled
        self._longest = longest
        self._authorization = authorization
        self._lock = lock
        self._cache = cache
        self._caller = environment
        self._moved: dict[str, str] = {}
        self._headers: dict[str, str] = {}
        protocols = [*_PROTOCOLS, "file"] if allow_file else list(_PROTOCOLS)
        kept = ("PATH", "LD_LIBRARY_PATH", "SSL_CERT_FILE", "SSL_CERT_DIR")
        self._environment = {
            name: value for name, value in environment.items() if name in kept or name.lower().endswith("_proxy")
        } | {
            "HOME": os.devnull,  # not even a .netrc
            "GIT_CEILING_DIRECTORIES": os.path.realpath(cache),
            "GIT_CONFIG_NOSYSTEM": "1",
            "GIT_CONFIG_GLOBAL": os.devnull,
            "GIT_ATTR_NOSYSTEM": "1",
            "GIT_TERMINAL_PROMPT": "0",
            "GIT_ALLOW_PROTOCOL": ":".join(protocols),
            "GIT_ASKPASS": "",
            "GIT_PROXY_COMMAND": "",
            "GIT_SSH_COMMAND": "false",
            "GIT_NO_REPLACE_OBJECTS": "1",
            "LC_ALL": "C",
        }
        settings = {
            "core.askPass": "",
            "core.hooksPath": os.devnull,
            "core.fsmonitor": "false",
            "core.symlinks": "true",
            "core.protectHFS": "true",
            "core.protectNTFS": "true",
            "credential.helper": "",
            "fetch.fsckObjects": "true",
            "gc.auto": "0",
            "http.followRedirects": "false",
            "http.lowSpeedLimit": "100",
            "http.lowSpeedTime": "60",
            "init.defaultBranch": "main",
        }
        self._settings = [part for name, value in settings.items() for part in ("-c", f"{name}={value}")]

    def run(
        self,
        *arguments: str,
        index: str = "",
        check_status: bool = True,
        local: bool = False,
        ssh: Mapping[str, str] | None = None,
    ) -> str:
        """Run git in the cache; give its output. Its messages reach the error without credentials.

        `local` permits file paths, `ssh` are the variables with which another machine may be reached by it.
        """
        from buildah_py.sources.program import run

        environment = {**self._environment, **(ssh or {})}
        # Through the environment, which other users cannot see, unlike arguments.
        for number, (site, header) in enumerate(self._headers.items()):
            environment[f"GIT_CONFIG_KEY_{number}"] = f"http.{site}.extraHeader"
            environment[f"GIT_CONFIG_VALUE_{number}"] = f"Authorization: {header}"
            environment["GIT_CONFIG_COUNT"] = str(number + 1)
        if index:
            environment["GIT_INDEX_FILE"] = index
        if local:
            environment["GIT_ALLOW_PROTOCOL"] = "file"
        os.makedirs(self._cache, mode=0o700, exist_ok=True)
        try:
            done = run(
                ["git", *self._settings, *arguments],
                environment,
                self._cache,
                cancelled=self._cancelled,
                longest=self._longest,
                largest=_LARGEST,
            )
        except FileNotFoundError:
            raise SourceError("git repositories need the program git", hint="install git") from None
        except TimeoutError:
            raise SourceError(f"git {_verb(arguments)} was ended: it took longer than {self._longest:g} s") from None
        if done.status and check_status:
            text = redact(done.said.strip())
            raise GitFailed(f"git {_verb(arguments)} failed: {_last_lines(text)}")
        return done.output

    def _ssh(self, remote: str) -> Mapping[str, str] | None:
        """Give the variables for reaching a remote by ssh, None where that is not how it is reached."""
        if not remote.startswith("ssh://") and ("://" in remote or "@" not in remote.partition(":")[0]):
            return None
        if remote == self._own:
            kept = {name: self._caller[name] for name in ("HOME", "SSH_AUTH_SOCK") if name in self._caller}
            return {"GIT_SSH_COMMAND": _SSH, **kept}
        if not self._agent:
            raise SourceError(
                f"{redact(remote)} is reached by ssh, and no keys were given to this build",
                hint="lend it an agent or a key: --ssh default, or --ssh default=FILE",
            )
        return {"GIT_SSH_COMMAND": _SSH_LENT, "SSH_AUTH_SOCK": self._agent}

    def remote(self, url: str) -> str:
        """Give a remote's URL for the command line; its credentials go another way."""
        from base64 import b64encode
        from urllib.parse import unquote, urlsplit

        if not url.startswith(("http://", "https://")):
            return url
        url = self._moved.get(url, url)
        parts = urlsplit(url)
        place = parts.netloc.rpartition("@")[2]
        header = None
        if parts.username is not None:
            pair = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
            header = "Basic " + b64encode(pair.encode()).decode()
        elif self._authorization is not None and parts.hostname:
            header = self._authorization(url)
        if header and not any(character in header for character in "\r\n\0"):
            self._headers[f"{parts.scheme}://{place}/"] = header
        return parts._replace(netloc=place).geturl()

    def ask(self, store: str, remote: str, *arguments: str, after: Sequence[str] = ()) -> str:
        """Run git with a remote behind the arguments; where its server leads elsewhere, there."""
        ssh = self._ssh(remote)
        try:
            return self.run("--git-dir", store, *arguments, "--", self.remote(remote), *after, ssh=ssh)
        except GitFailed as error:
            if _REDIRECTED.search(error.message) is None or remote in self._moved:
                raise
        from buildah_py.sources import http

        head = remote.rstrip("/")
        there = http.follow(
            head + _PROBE,
            authorization=self._authorization,
            environ=self._caller,
            local_redirects=self.local_redirects,
            cancelled=self._cancelled,
        )
        path, question, _ = there.partition("?")
        if not question or not path.endswith("/info/refs"):
            raise SourceError(f"{redact(remote)} leads to {redact(there)}, which is not a repository")
        self._moved[remote] = path.removesuffix("/info/refs")
        return self.run("--git-dir", store, *arguments, "--", self.remote(remote), *after)

    @contextmanager
    def store(self, remote: str) -> Iterator[str]:
        """Give the bare repository that keeps a remote's objects, for this process alone and marked as used now."""
        from hashlib import sha256

        name = sha256(remote.encode()).hexdigest()
        path = os.path.join(self._cache, name)
        with self._lock(name):
            if os.path.exists(os.path.join(path, "HEAD")):
                _tidy(path)
            else:
                os.makedirs(path, mode=0o700, exist_ok=True)
                self.run("init", "-q", "--bare", "--template=", "--", path)
            os.utime(path, ns=(time.time_ns(),) * 2)
            yield path


def _tidy(store: str) -> None:
    """Remove what a git left that was killed: the locks of what it changed, and packs that are not whole."""
    packs = os.path.join(store, "objects/pack")
    places = [(store, os.listdir(store)), *((place, names) for place, _, names in os.walk(os.path.join(store, "refs")))]
    left = [os.path.join(place, name) for place, names in places for name in names if name.endswith(".lock")]
    if os.path.isdir(packs):
        left += [os.path.join(packs, name) for name in os.listdir(packs) if name.startswith("tmp_")]
    for path in left:
        with suppress(FileNotFoundError):
            os.unlink(path)


class GitFailed(SourceError):
    """Git ended with an error."""


def _verb(arguments: Sequence[str]) -> str:
    skip = False
    for argument in arguments:
        if skip:
            skip = False
        elif argument in ("--git-dir", "-C", "-c", "--work-tree"):
            skip = True
        elif not argument.startswith("-"):
            return argument
    return ""


def _last_lines(text: str) -> str:
    lines = [line for line in text.splitlines() if line.strip()]
    return "; ".join(lines[-3:]) or "it says nothing"


def _fetch(git: _Git, store: str, source: GitSource) -> tuple[str, str]:
    """Fetch what is to be checked out; give the commit's id and the whole name of its ref, `""` for a bare commit."""
    ref = source.ref
    if _HEX.fullmatch(ref):
        if not _has(git, store, ref):
            _fetch_commit(git, store, source, ref)
        return _commit(git, store, ref, source), ""
    name, found = _look_up(git, store, source)
    if not name:
        if _PREFIX.fullmatch(ref):
            _fetch_all(git, store, source)
            return _commit(git, store, ref, source), ""
        raise NotFound(f"{redact(source.remote)} has no branch, tag or commit {ref!r}")
    check_ref(name, source.remote)
    if not _has(git, store, found):
        git.ask(store, source.remote, *_FETCH, after=[f"+{name}:{_ours(name)}"])
        found = git.run("--git-dir", store, "rev-parse", "--verify", "--end-of-options", _ours(name)).strip()
    return _commit(git, store, found, source), name


def _ours(name: str) -> str:
    return "refs/pybuild/" + (name.removeprefix("refs/") if name != "HEAD" else "head")


def _look_up(git: _Git, store: str, source: GitSource) -> tuple[str, str]:
    """Ask the remote for a ref; give its whole name and what it points to, empty where there is none."""
    ref = source.ref or "HEAD"
    wanted = (
        [ref] if ref == "HEAD" or ref.startswith("refs/") else [f"refs/heads/{ref}", f"refs/tags/{ref}", f"refs/{ref}"]
    )
    found = {}
    for line in git.ask(store, source.remote, "ls-remote", "-q", after=wanted).splitlines():
        digest, _, name = line.partition("\t")
        if _HEX.fullmatch(digest):
            found[name] = digest
    for name in wanted:
        if name in found:
            return name, found[name]
    return "", ""


def _fetch_commit(git: _Git, store: str, source: GitSource, commit: str) -> None:
    try:
        git.ask(store, source.remote, *_FETCH, after=[commit])
    except GitFailed:  # many servers give only what a ref points to
        _fetch_all(git, store, source)


def _fetch_all(git: _Git, store: str, source: GitSource) -> None:
    whole = ["+refs/heads/*:refs/pybuild/heads/*", "+refs/tags/*:refs/pybuild/tags/*"]
    unshallow = ["--unshallow"] if os.path.exists(os.path.join(store, "shallow")) else []
    git.ask(store, source.remote, "fetch", "-q", "--no-tags", *unshallow, after=whole)


def _has(git: _Git, store: str, commit: str) -> bool:
    return bool(
        git.run("--git-dir", store, "rev-list", "-1", "--missing=error", commit, "--", check_status=False).strip()
    )


def _commit(git: _Git, store: str, name: str, source: GitSource) -> str:
    try:
        return git.run("--git-dir", store, "rev-parse", "--verify", "--end-of-options", name + "^{commit}").strip()
    except GitFailed as error:
        raise NotFound(f"{redact(source.remote)} has no commit {name}") from error


def _populate(git: _Git, store: str, commit: str, dest: str) -> None:
    """Write a commit's files into `dest`, by an index of its own."""
    from tempfile import TemporaryDirectory

    with TemporaryDirectory(prefix="pybuild-git-") as scratch:
        index = os.path.join(scratch, "index")
        git.run("--git-dir", store, "read-tree", "--end-of-options", commit, index=index)
        prefix = os.path.abspath(dest) + "/"
        git.run(
            "--git-dir", store, "--work-tree", dest, "checkout-index", "-a", "-f", f"--prefix={prefix}", index=index
        )


def _submodules(git: _Git, store: str, commit: str, dest: str, remote: str, depth: int) -> None:
    """Check out the submodules that .gitmodules names, each at the commit that its parent says."""
    links = {}
    for record in git.run("--git-dir", store, "ls-tree", "-r", "-z", "--end-of-options", commit).split("\0"):
        fields, _, path = record.partition("\t")
        if fields.startswith("160000 "):
            links[path] = fields.split()[2]
    if not links:
        return
    if depth >= _MAX_DEPTH:
        raise SourceError(f"{redact(remote)}: submodules are nested more than {_MAX_DEPTH} deep")
    urls = _submodule_urls(git, store, commit)
    for path, wanted in links.items():
        if path not in urls:
            continue
        url = _relative(remote, urls[path])
        check_remote(url, url)
        check(url)
        if not git.local_redirects:
            _stay_away(url, remote)
        inner = os.path.join(dest, path)
        with git.store(url) as inner_store:
            found, _ = _fetch(git, inner_store, GitSource(url, wanted))
            # checkout-index has made the directory; nothing that it wrote can stand in its place.
            _populate(git, inner_store, found, inner)
        _submodules(git, inner_store, found, inner, url, depth + 1)


def _stay_away(url: str, parent: str) -> None:
    """Refuse a submodule on this machine or its link, of a repository that is elsewhere."""
    from buildah_py.http.addresses import is_here

    if is_here(host_of(url)) and host_of(parent) and not is_here(host_of(parent)):
        raise SourceError(
            f"{redact(parent)} has a submodule at {redact(url)}, which is this machine or its link",
            hint="leave submodules out with ?submodules=false, or give --allow-local-redirects",
        )


def _submodule_urls(git: _Git, store: str, commit: str) -> dict[str, str]:
    text = git.run("--git-dir", store, "config", "-z", "--blob", f"{commit}:.gitmodules", "--list", check_status=False)
    values: dict[str, dict[str, str]] = {}
    for record in text.split("\0"):
        key, _, value = record.partition("\n")
        section, _, field = key.rpartition(".")
        if section.startswith("submodule."):
            values.setdefault(section, {})[field] = value
    return {fields["path"]: fields["url"] for fields in values.values() if fields.get("path") and fields.get("url")}


def _relative(remote: str, url: str) -> str:
    """Resolve a submodule's relative URL against its parent's."""
    if not url.startswith(("./", "../")):
        return url
    base, rest = remote.rstrip("/"), url
    while rest.startswith(("./", "../")):
        if rest.startswith("../"):
            above = base.rpartition("/")[0]
            if not above or above.endswith("/"):
                raise SourceError(f"the submodule URL {redact(url)} leads out of {redact(remote)}")
            base, rest = above, rest[3:]
        else:
            rest = rest[2:]
    return f"{base}/{rest}"


def _keep_git_dir(git: _Git, store: str, commit: str, ref: str, dest: str, remote: str) -> None:
    """Make `dest` a repository of its own, with that one commit."""
    inner = os.path.join(dest, ".git")
    git.run("init", "-q", "--template=", "--", dest)
    git.run("--git-dir", store, "update-ref", "refs/pybuild/keep", commit)
    git.run("--git-dir", inner, "fetch", "-q", "--depth=1", "--no-tags", "--", store, "refs/pybuild/keep", local=True)
    git.run("--git-dir", inner, "remote", "add", "--", "origin", without_credentials(remote))
    if ref.startswith("refs/tags/"):
        git.run("--git-dir", inner, "update-ref", ref, commit)
    git.run("--git-dir", inner, "update-ref", "--no-deref", "HEAD", commit)
    git.run("--git-dir", inner, "--work-tree", dest, "read-tree", "--end-of-options", "HEAD")
    os.unlink(os.path.join(inner, "FETCH_HEAD"))


def _set_times(dest: str, when: int) -> None:
    for folder, folders, files, descriptor in os.fwalk(dest, topdown=False):
        del folder
        for name in (*files, *folders):
            os.utime(name, ns=(when, when), dir_fd=descriptor, follow_symlinks=False)
    os.utime(dest, ns=(when, when))

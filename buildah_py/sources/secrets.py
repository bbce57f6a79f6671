"""Secrets and agents of RUN steps (`--secret`, `--ssh`): values are read once, when needed, and kept only in memory."""

from __future__ import annotations

import os
import select
import shutil
import stat
import subprocess
import tempfile
from functools import cache
from threading import Lock
from typing import TYPE_CHECKING, NamedTuple

from buildah_py.errors import Interrupted, NotFound, UsageError
from buildah_py.sources.reach import DIGESTED

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

MAX_BYTES = 500 * 1024
"""The size that BuildKit allows a secret too."""
_TICK = 100  # ms
_KEYS = ("id", "src", "source", "env", "type", "key")
_COST = {"n": 1 << 15, "r": 8, "p": 1, "maxmem": 64 << 20, "dklen": 32}


class Secret(NamedTuple):
    """Where a secret's value is: a file, or a variable of pybuild's own environment.

    With `in_key` a digest of the value enters the keys of the steps that get it.
    """

    id: str
    path: str = ""
    variable: str = ""
    in_key: bool = False

    def read(self, environ: Mapping[str, str], cancelled: Callable[[], bool] = lambda: False) -> bytes:
        """Return the value; what comes through a pipe can be had once.

        Raises NotFound where it is not there, Interrupted where `cancelled()` while a pipe is waited for; no message
        ever holds it.
        """
        if self.variable:
            if self.variable not in environ:
                raise NotFound(f"secret {self.id}: the variable {self.variable} is not set")
            return environ[self.variable].encode("utf-8", "surrogateescape")
        try:
            value = _read(self.path, cancelled)
        except OSError as error:
            raise NotFound(f"secret {self.id}: {self.path} cannot be read: {error.strerror}") from error
        if len(value) > MAX_BYTES:
            raise UsageError(f"secret {self.id}: {self.path} is larger than {MAX_BYTES >> 10} KiB")
        return value

    def check(self) -> None:
        """Raise NotFound where its file is not there."""
        if self.path:
            try:
                os.stat(self.path)
            except OSError as error:
                raise NotFound(f"secret {self.id}: {self.path} cannot be read: {error.strerror}") from error

    def digest(self, value: bytes) -> str:
        """Give the text that stands for a value in keys, equal on every machine.

        scrypt (RFC 7914) with the id as salt: whoever reads a record has to spend 32 MiB of memory and a tenth of a
        second on each guess.
        """
        import hashlib

        return DIGESTED + hashlib.scrypt(value, salt=b"pybuild secret\0" + self.id.encode(), **_COST).hex()


def _read(path: str, cancelled: Callable[[], bool]) -> bytes:
    """Read a file, or what comes through a pipe until its writers have closed it: one byte more than is allowed."""
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
    try:
        mode = os.fstat(descriptor).st_mode
        has_name = not os.readlink(f"/proc/self/fd/{descriptor}").startswith("pipe:")
        poll = select.poll()
        poll.register(descriptor, select.POLLIN)
        value, left = b"", False
        while len(value) <= MAX_BYTES:
            if not stat.S_ISREG(mode):
                left = any(events & select.POLLHUP for _, events in poll.poll(_TICK))
                if cancelled():
                    raise Interrupted("interrupted while a secret was waited for")
            try:
                data = os.read(descriptor, MAX_BYTES + 1 - len(value))
            except BlockingIOError:  # whoever writes has not written all
                continue
            # A pipe with a name is empty until somebody comes to write.
            if not data and (value or left or not (stat.S_ISFIFO(mode) and has_name)):
                break
            value += data
        return value
    finally:
        os.close(descriptor)


class SecretReaders(NamedTuple):
    """Questions of a build: a secret's value by its id, and the part of it that enters keys."""

    value: Callable[[str], bytes | None]
    digest: Callable[[str], str]


def readers(
    secrets: Mapping[str, Secret], environ: Mapping[str, str], cancelled: Callable[[], bool] = lambda: False
) -> SecretReaders:
    """Give what reads those secrets, each once, when it is first asked for: a pipe gives its value only once.

    Raises NotFound at once for a file that is not there, whether a step will ask for it or not.
    """
    for secret in secrets.values():
        secret.check()
    values: dict[str, bytes] = {}
    lock = Lock()

    def value(name: str) -> bytes | None:
        if name not in secrets:
            return None
        with lock:
            if name not in values:
                values[name] = secrets[name].read(environ, cancelled)
            return values[name]

    @cache
    def digest(name: str) -> str:
        if name not in secrets or not secrets[name].in_key:
            return "given" if name in secrets else ""
        return secrets[name].digest(value(name) or b"")

    return SecretReaders(value, digest)


def parse_secrets(specs: Iterable[str], environ: Mapping[str, str]) -> dict[str, Secret]:
    """Read `--secret id=ID[,src=FILE|,env=VARIABLE][,key=digest]`.

    Without a source it is the variable or else the file called ID.

    Raises UsageError that names the faulty part, NotFound for a file that is not there, whether or not a step
    would read it.
    """
    found: dict[str, Secret] = {}
    for spec in specs:
        values: dict[str, str] = {}
        for part in spec.split(","):
            key, equals, value = part.partition("=")
            if not equals or key not in _KEYS:
                raise UsageError(
                    f"--secret {spec}: `{part}` is not understood", hint="write id=ID,src=FILE or id=ID,env=NAME"
                )
            values["src" if key == "source" else key] = value
        name = values.get("id", "")
        if not name:
            raise UsageError(f"--secret {spec}: it has no id", hint="add id=ID")
        kind = values.get("type", "")
        if kind not in ("", "file", "env"):
            raise UsageError(f"--secret {spec}: there is no type `{kind}`", hint="the types are file and env")
        if values.get("key", "digest") != "digest":
            raise UsageError(f"--secret {spec}: there is no key={values['key']}", hint="write key=digest")
        in_key = "key" in values
        source = values.get("src", "")
        variable = values.get("env", "") or (source if kind == "env" else "")
        if not source and not variable:
            variable, source = (name, "") if kind == "env" or (kind == "" and name in environ) else ("", name)
        path = "" if variable else os.path.abspath(source)
        if path and not os.path.exists(path):
            raise NotFound(
                f"secret {name}: {path} cannot be read: there is no such file",
                hint=f"--secret id={name},src=FILE or env=NAME",
            )
        found[name] = Secret(name, path, variable, in_key)
    return found


class Agents:
    """The sockets of ssh agents by their ids; a context manager that ends the agents it has started."""

    def __init__(self, specs: Iterable[str], environ: Mapping[str, str]) -> None:
        """Read `--ssh default|ID[=SOCKET|KEY[,KEY…]]`; for key files an agent is started.

        Raises UsageError where no agent runs, a path is not there, or a key cannot be added.
        """
        self.sockets: dict[str, str] = {}
        self._started: list[tuple[subprocess.Popen[bytes], str]] = []
        try:
            for spec in specs:
                name, equals, paths = spec.partition("=")
                self.sockets[name or "default"] = self._socket(spec, paths if equals else "", environ)
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Mapping[str, str]:
        return self.sockets

    def __exit__(self, *_exception: object) -> None:
        self.close()

    def close(self) -> None:
        """End the agents and remove their sockets."""
        while self._started:
            process, directory = self._started.pop()
            process.terminate()
            process.wait()
            shutil.rmtree(directory)

    def _socket(self, spec: str, paths: str, environ: Mapping[str, str]) -> str:
        socket = paths or environ.get("SSH_AUTH_SOCK", "")
        if not socket:
            raise UsageError(
                f"--ssh {spec}: no agent runs", hint="start ssh-agent, or name a socket or a key: --ssh default=FILE"
            )
        kinds = []
        for path in socket.split(","):
            try:
                kinds.append(stat.S_ISSOCK(os.stat(path).st_mode))
            except OSError as error:
                raise UsageError(f"--ssh {spec}: {path}: {error.strerror}") from error
        return socket if kinds == [True] else self._agent(spec, socket.split(","))

    def _agent(self, spec: str, keys: list[str]) -> str:
        if shutil.which("ssh-agent") is None:
            raise UsageError(
                f"--ssh {spec}: ssh-agent is not installed", hint="on Debian: apt-get install openssh-client"
            )
        directory = tempfile.mkdtemp(prefix="pybuild-ssh-")
        socket = os.path.join(directory, "agent")
        # It loads no library, whoever asks: -P names those that it may.
        command = ["ssh-agent", "-P", "", "-D", "-a", socket]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
        self._started.append((process, directory))
        assert process.stdout is not None
        with process.stdout as announced:
            announced.readline()  # the agent names its socket when it is there
        added = subprocess.run(
            ["ssh-add", "-q", *keys],
            check=False,
            capture_output=True,
            text=True,
            stdin=subprocess.DEVNULL,
            env={"PATH": os.environ.get("PATH", os.defpath), "SSH_AUTH_SOCK": socket, "SSH_ASKPASS_REQUIRE": "never"},
        )
        if added.returncode:
            raise UsageError(
                f"--ssh {spec}: the key cannot be added: {added.stderr.strip()}",
                hint="a key with a passphrase has to be added to an agent of yours: ssh-add FILE",
            )
        return socket

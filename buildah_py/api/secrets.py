"""What `--secret` and `--ssh` lend to RUN steps. Values are read when they are needed, and kept nowhere."""

from __future__ import annotations

import os
import stat
from typing import TYPE_CHECKING, NamedTuple

from buildah_py.errors import NotFound, UsageError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

MAX_BYTES = 500 * 1024
"""The size that BuildKit allows a secret too."""
_KEYS = ("id", "src", "source", "env", "type")


class Secret(NamedTuple):
    """Where a secret's value is: a file, or a variable of pybuild's own environment."""

    id: str
    path: str = ""
    variable: str = ""

    def read(self, environ: Mapping[str, str]) -> bytes:
        """The value. Raises NotFound where it is not there; no message ever holds it."""
        if self.variable:
            if self.variable not in environ:
                raise NotFound(f"secret {self.id}: the variable {self.variable} is not set")
            return environ[self.variable].encode("utf-8", "surrogateescape")
        try:
            with open(self.path, "rb") as file:
                value = file.read(MAX_BYTES + 1)
        except OSError as error:
            raise NotFound(f"secret {self.id}: {self.path} cannot be read: {error.strerror}") from error
        if len(value) > MAX_BYTES:
            raise UsageError(f"secret {self.id}: {self.path} is larger than {MAX_BYTES >> 10} KiB")
        return value


def parse_secrets(specs: Iterable[str], environ: Mapping[str, str]) -> dict[str, Secret]:
    """Read `--secret id=ID[,src=FILE|,env=VARIABLE]`; without a source, the variable or else the file called ID.

    Raises UsageError that names the faulty part.
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
        source = values.get("src", "")
        variable = values.get("env", "") or (source if kind == "env" else "")
        if not source and not variable:
            variable, source = (name, "") if kind == "env" or (kind == "" and name in environ) else ("", name)
        found[name] = Secret(name, variable=variable) if variable else Secret(name, path=os.path.abspath(source))
    return found


def parse_agents(specs: Iterable[str], environ: Mapping[str, str]) -> dict[str, str]:
    """Read `--ssh default|ID[=SOCKET]` into the socket of an agent for each id.

    Raises UsageError where no agent runs, or the path is no socket.
    """
    found: dict[str, str] = {}
    for spec in specs:
        name, equals, path = spec.partition("=")
        socket = path if equals else environ.get("SSH_AUTH_SOCK", "")
        if not socket:
            raise UsageError(
                f"--ssh {spec}: no agent runs", hint="start ssh-agent, or name a socket: --ssh default=SOCKET"
            )
        try:
            is_socket = stat.S_ISSOCK(os.stat(socket).st_mode)
        except OSError as error:
            raise UsageError(f"--ssh {spec}: {socket}: {error.strerror}") from error
        if not is_socket:
            raise UsageError(f"--ssh {spec}: {socket} is no socket", hint="add the key to an agent: ssh-add FILE")
        found[name or "default"] = socket
    return found

"""`POST /build`: parameters of the classic builder become options of `pybuild build`, its events the old messages."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final

from buildah_py.serve.body import read_object
from buildah_py.serve.faults import RequestError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from buildah_py.serve.answers import Answer

_TRUE: Final = ("1", "true", "t", "yes")
_FALSE: Final = ("", "0", "false", "f", "no")
_PLAIN: Final = {
    "target": "target",
    "platform": "platform",
    "cgroupparent": "cgroup-parent",
    "cpusetcpus": "cpuset-cpus",
}
"""Parameters whose value an option takes as it is."""
_NUMBERS: Final = {"cpushares": "cpu-shares", "cpuperiod": "cpu-period", "cpuquota": "cpu-quota"}
_SIZES: Final = {"memory": "memory", "memswap": "memory-swap", "shmsize": "shm-size"}
_SWITCHES: Final = {"nocache": "no-cache", "squash": "squash"}
_WITHOUT_MEANING: Final = frozenset({"rm", "forcerm", "buildid", "version", "session", "q", "isolation"})
"""Parameters that ask for what is so anyway, or is looked at elsewhere."""
_REFUSED: Final = {
    "cpusetmems": "memory is not tied to nodes",
    "outputs": "outputs are for BuildKit; images are kept here, and pushed or saved from here",
}
_DEFAULT_FILE: Final = "Dockerfile"
_WORTH_A_WORD: Final = 1.0
"""Seconds that something takes of which is told how far it is."""


def words(query: Mapping[str, list[str]], warn: Callable[[str], object], authfile: str = "") -> list[str]:
    """Give the command line of a build. Raises RequestError for parameters that mean nothing, or must not be passed by.

    `warn` is told of those that have no effect. The context is the standard input, or what `remote` names.
    """
    if query.get("version", ["1"])[-1] not in ("", "1"):
        raise RequestError(400, "there is the classic builder alone here (version=1), which takes what BuildKit's does")
    found = ["build", "--progress=json"]
    remote = _one(query, "remote")
    found += _file(_one(query, "dockerfile"), remote)
    for name, values in query.items():
        if name in _REFUSED and any(values):
            raise RequestError(400, f"{name}={values[-1]}: {_REFUSED[name]}")
        if name not in _WITHOUT_MEANING and name not in _READ:
            warn(f"the parameter {name} has no effect")
    found += [f"--tag={name}" for name in query.get("t", ()) if name]
    found += [f"--{option}={_one(query, name)}" for name, option in _PLAIN.items() if _one(query, name)]
    for name, option in _NUMBERS.items():
        if number := _number(query, name):
            found.append(f"--{option}={number}")
    for name, option in _SIZES.items():
        if number := _number(query, name):
            found.append(f"--{option}={number}")
    found += [f"--{option}" for name, option in _SWITCHES.items() if flag(query, name)]
    if flag(query, "pull"):
        found.append("--pull=always")
    if network := _one(query, "networkmode"):
        found.append(f"--network={network}")
    found += _pairs(query, "buildargs", "build-arg")
    found += _pairs(query, "labels", "label")
    found += [f"--add-host={host}" for text in query.get("extrahosts", ()) for host in _hosts(text)]
    found += [f"--cache-from={name}" for name in _list(query, "cachefrom")]
    found += [_ulimit(one) for one in _list(query, "ulimits")]
    if options := _list(query, "securityopt"):
        found += [f"--security-opt={option}" for option in options]
    if authfile:
        found.append(f"--authfile={authfile}")
    return [*found, "--", remote or "-"]


_READ: Final = frozenset(
    {
        *_PLAIN, *_NUMBERS, *_SIZES, *_SWITCHES, *_REFUSED, "t", "remote", "dockerfile", "pull", "networkmode",
        "buildargs", "labels", "extrahosts", "cachefrom", "ulimits", "securityopt",
    }
)  # fmt: skip


def flag(query: Mapping[str, list[str]], name: str) -> bool:
    """Read a parameter that is on or off. Raises RequestError."""
    value = _one(query, name).lower()
    if value not in _TRUE + _FALSE:
        raise RequestError(400, f"{name}={value} is neither true nor false")
    return value in _TRUE


def _one(query: Mapping[str, list[str]], name: str) -> str:
    """Return the value of a parameter, "" without one."""
    value = query.get(name, [""])[-1]
    if "\0" in value:
        raise RequestError(400, f"{name} has a null byte")
    return value


def _number(query: Mapping[str, list[str]], name: str) -> int:
    text = _one(query, name)
    bare = text.removeprefix("-")
    if text and not (bare.isascii() and bare.isdecimal() and len(bare) < 20):
        raise RequestError(400, f"{name}={text} is not a number")
    return int(text or 0)


def _file(file: str, remote: str) -> list[str]:
    """Name the build file, which lies in the context."""
    from buildah_py.sources.urls import context_url

    if remote:
        if not context_url(remote):
            raise RequestError(400, f"remote={remote} is not a URL")
        if file in ("", _DEFAULT_FILE):
            return []  # what is fetched may be a build file itself
    file = file or _DEFAULT_FILE
    if file == "-" or context_url(file):
        raise RequestError(400, f"dockerfile={file} is not a path in the context")
    return [f"--file={file}"]


def _pairs(query: Mapping[str, list[str]], name: str, option: str) -> Iterator[str]:
    for key, value in read_object(_one(query, name), name).items():
        if not key or "=" in key:
            raise RequestError(400, f"{name}: `{key}` cannot be a name")
        if value is not None:  # an ARG that the client's environment has not
            yield f"--{option}={key}={value}"


def _list(query: Mapping[str, list[str]], name: str) -> list[Any]:
    text = _one(query, name)
    if not text:
        return []
    try:
        found = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise RequestError(400, f"{name} is not JSON: {error}") from error
    if found is not None and not isinstance(found, list):
        raise RequestError(400, f"{name} is not a JSON array")
    return found or []


def _hosts(text: str) -> list[str]:
    """Read hosts as docker sends them, one in each parameter, or as docker-py does: all in one."""
    return [host for host in text.split(",") if host]


def _ulimit(one: Any) -> str:
    try:
        name, soft, hard = (one.get(key, one.get(key.lower())) for key in ("Name", "Soft", "Hard"))
        return f"--ulimit={name}={int(soft)}:{int(hard)}"
    except (AttributeError, TypeError, ValueError) as error:
        raise RequestError(400, f"ulimits: {one} is not a limit") from error


class ClassicMessages:
    """Turns the events of a build into the messages of the classic builder, which clients look for ids in."""

    def __init__(self, answer: Answer, *, quiet: bool) -> None:
        self._answer = answer
        self._quiet = quiet
        self._last = 0
        self._steps = 0
        self._total = 0
        self._error: dict[str, Any] = {}
        self.failed = False

    def warn(self, text: str) -> None:
        """Tell of something that is probably not meant so."""
        self._stream(f" ---> [Warning] {text}\n")

    def hear(self, line: bytes) -> None:
        """Take a line of `--progress=json`."""
        if not line.strip():
            return
        try:
            event = json.loads(line)
            kind = event["event"]
        except (ValueError, KeyError, TypeError):
            self._stream(line.decode("utf-8", "replace") + "\n")  # such as a complaint of the interpreter
            return
        match kind:
            case "build-started":
                self._total = event["total"]
            case "step-started":
                self._started(event)
            case "step-output":
                self._stream(event["text"])
            case "step-done":
                self._done(event)
            case "transfer":
                self._moved(event)
            case "note":
                self._stream(f" ---> {event['text']}\n")
            case "warning":
                self.warn(event["text"])
            case "build-done":
                self._built(event)
            case "error":
                self._error = event

    def complaint(self, status: int) -> tuple[str, bool]:
        """Return what ended a build with that status, and whether it is a fault in the build file."""
        if not self._error:
            return f"the build ended with status {status}", False
        text = str(self._error["message"])
        file, line = self._error["file"], self._error["line"]
        if line and not text.startswith(f"{file}:{line}"):
            text = f"{file}:{line}: {text}"
        hint = self._error["hint"]
        return (f"{text}\n  hint: {hint}" if hint else text), bool(line)

    def fail(self, message: str, code: int) -> None:
        """Tell, as the last message, of what ended the build."""
        detail: dict[str, Any] = {"message": message}
        if code:
            detail["code"] = code
        self._answer.say(errorDetail=detail, error=message)

    def _started(self, event: Mapping[str, Any]) -> None:
        self._steps += 1
        text = " ".join(event["text"].split("\n", 1)[0].split())
        self._stream(f"Step {self._steps}/{max(self._total, self._steps)} : {text}\n")

    def _done(self, event: Mapping[str, Any]) -> None:
        outcome = event["outcome"]
        if outcome == "hit":
            self._stream(" ---> Using cache\n")
        elif outcome == "failed":
            self.failed = True

    def _moved(self, event: Mapping[str, Any]) -> None:
        if self._quiet or event["seconds"] < _WORTH_A_WORD:
            return
        progress = {"current": event["done"], **({"total": event["total"]} if event["total"] else {})}
        self._answer.say(status=event["what"], progressDetail=progress, id=event["what"])

    def _built(self, event: Mapping[str, Any]) -> None:
        image = event["image"]
        self._answer.say(aux={"ID": image})
        if self._quiet:
            self._answer.say(stream=f"{image}\n")
            return
        self._answer.say(stream=f"Successfully built {image.removeprefix('sha256:')[:12]}\n")
        for name in event["names"]:
            self._answer.say(stream=f"Successfully tagged {name}\n")

    def _stream(self, text: str) -> None:
        if text and not self._quiet:
            self._answer.say(stream=text)

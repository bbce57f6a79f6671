"""Why a command failed, as far as its status, its last words and the files that it left can tell."""

from __future__ import annotations

import re
import stat
import struct
from typing import TYPE_CHECKING, Final, NamedTuple

from buildah_py.engine.ops.command_words import line_of
from buildah_py.errors import BuildFileError
from buildah_py.image.config import DEFAULT_PATH

if TYPE_CHECKING:
    from collections.abc import Callable

    from buildah_py.layers.looking import ShownRoot
    from buildah_py.plan.steps import RunStep
    from buildah_py.sandbox import ExitStatus
    from buildah_py.source_text import Where

NOT_EXECUTABLE, NOT_FOUND = 126, 127
_BY_SIGNAL: Final = 128
_FEW_LINES: Final = 12
_HEAD: Final = 64 << 10
_OF_SHELL: Final = re.compile(
    r"[^:]*: (?:line )?(?:\d+: )?(?P<name>[^:\s]+): "
    r"(?:(?:command )?not found|Permission denied|Exec format error|No such file or directory|cannot execute\b.*"
    r"|.*bad interpreter\b.*|Is a directory|is a directory)"
)
_NO_NAMES: Final = re.compile(
    r"(?i)bad address|could not resolve|temporary failure (?:in name resolution|resolving)|name or service not known"
    r"|name does not resolve|unable to resolve host|network is unreachable|no address associated with hostname"
    r"|temporary error \(try again later\)"
)
_SPEAKER: Final = re.compile(
    r"(?:\S*/)?(?:(?P<name>[A-Za-z0-9_.+-]+)(?:\[\d+\])?: |(?P<other>npm|yarn|pnpm) (?:ERR|err))"
)
"""A program's name as it stands before its errors."""
_NO_SPACE: Final = re.compile(r"(?i)no space left on device|disk quota exceeded")
_REFUSED: Final = re.compile(r"(?i)permission denied|operation not permitted|are you root\b")
_MANAGERS: Final = {
    "apk": "apk add",
    "apt-get": "apt-get install",
    "dnf": "dnf install",
    "microdnf": "microdnf install",
    "yum": "yum install",
    "zypper": "zypper install",
    "pacman": "pacman -S",
}
_ASKED_FOR: Final = {**dict.fromkeys(_MANAGERS), "apt": None, "apt-cache": None}
_SIGNALS: Final = {
    "SIGKILL": "the kernel kills what asks for memory that is not there: see `dmesg`, --memory and --jobs",
    "SIGSEGV": "the program crashed: it used memory that is not its own",
    "SIGABRT": "the program gave up by itself; its last words may say why",
    "SIGILL": "the program uses instructions that this processor has not",
    "SIGSYS": "it made a system call that containers may not: --security-opt seccomp=unconfined allows all",
    "SIGXFSZ": "a file became larger than `--ulimit fsize=` allows",
    "SIGXCPU": "it used more time than `--ulimit cpu=` allows",
}
_MACHINES: Final = {3: "386", 8: "mips", 20: "ppc", 21: "ppc64le", 22: "s390x", 40: "arm", 62: "amd64", 183: "arm64"}
_MACHINES_OF_LATE: Final = {243: "riscv64", 258: "loong64"}


class Cause(NamedTuple):
    """Reason of a failure: what the status means (`""` for no more than it says), and what to do about it."""

    what: str = ""
    hint: str = ""


class Failure(NamedTuple):
    """A command that failed: its step, how it ended, its last output, its lines in the build file."""

    step: RunStep
    ended: ExitStatus
    said: str
    where: Where | None

    @property
    def last_lines(self) -> list[str]:
        """The last lines of output, the last one first."""
        return [line for line in reversed(self.said.splitlines()) if line.strip()][:_FEW_LINES]

    def place(self, command: str) -> str:
        """Say which line runs a command, "" where that cannot be told."""
        if self.where is None or self.where.span.start.line == self.where.span.end.line:
            return ""
        line = line_of(self.where, command)
        return "" if line is None else f" (line {line})"


def explain(failure: Failure, root: Callable[[], ShownRoot]) -> Cause:
    """Say why a command failed. `root` gives the file system as it left it."""
    ended = failure.ended
    if ended.out_of_memory:
        return Cause("out of memory: its limit was reached (--memory)")
    signal = _signal_name(ended)
    if signal:
        what = "" if ended.signal is not None else f"most likely a command of it was ended by {signal}"
        return Cause(what, _SIGNALS.get(signal, ""))
    if advice := _by_check(failure.where):
        return Cause("", advice)
    found = Cause()
    if ended.status in (NOT_EXECUTABLE, NOT_FOUND):
        found = _not_executed(failure, root)
    return found if found.what else _by_last_words(failure)._replace(what=_last_speaker(failure))


def status_text(ended: ExitStatus) -> str:
    """Say how a command ended, in a word."""
    return f"status {ended.status}" if ended.signal is None else _name(ended.signal)


def _signal_name(ended: ExitStatus) -> str:
    """Name the signal that ended the command, or by its status most likely a command of it."""
    if ended.signal is not None:
        return _name(ended.signal)
    name = _name(ended.status - _BY_SIGNAL) if ended.status > _BY_SIGNAL else ""
    return name if name in _SIGNALS or name in ("SIGTERM", "SIGPIPE", "SIGBUS", "SIGFPE") else ""


def _name(number: int) -> str:
    from signal import Signals

    try:
        return Signals(number).name
    except ValueError:
        return f"signal {number}"


def _not_executed(failure: Failure, root: Callable[[], ShownRoot]) -> Cause:
    """Explain 126 and 127 by the program that was to be executed."""
    usual = Cause("command not found" if failure.ended.status == NOT_FOUND else "found, but it cannot be executed")
    name = _program(failure)
    if not name or any(_is_below(name, mount.target) for mount in failure.step.mounts):
        return usual
    own = {f"/dev/pipes/{file.name}": file.content for file in failure.step.files}
    try:
        with root() as shown:
            path = name if "/" in name else _in_path(failure.step, shown, name)
            if name in own:
                return _of_content(failure, shown, name, own[name]) or usual
            return _not_there(failure, shown, name) if path is None else _of_file(failure, shown, path, name) or usual
    except OSError:  # whatever lies there, it is not to hide the failure
        return usual


def _program(failure: Failure) -> str:
    """Name the program that could not be executed, "" where nothing tells."""
    args = failure.step.args
    for line in failure.last_lines:
        if line.startswith(f"pybuild: {args[0]}: "):
            return args[0]
        if found := _OF_SHELL.fullmatch(line):
            return found["name"]
    return ""


def _is_below(path: str, target: str) -> bool:
    return bool(target) and f"{path}/".startswith(f"{target.rstrip('/')}/")


def _in_path(step: RunStep, shown: ShownRoot, name: str) -> str | None:
    path = dict(step.env).get("PATH", DEFAULT_PATH)
    for directory in path.split(":"):
        found = shown.find(f"{directory}/{name}")
        if found is not None and stat.S_ISREG(found[1].st_mode):
            return f"{directory.rstrip('/')}/{name}"
    return None


def _not_there(failure: Failure, shown: ShownRoot, name: str) -> Cause:
    """Explain a program that is not in the image: which one, and how programs come into images of its kind."""
    place = failure.place(name)
    managers = [one for one in _MANAGERS if _in_path(failure.step, shown, one)]
    if name in _ASKED_FOR:
        has = f"this image has {managers[0]} instead" if managers else "this image has no package manager"
        return Cause(f"`{name}`{place} is not in the image", has)
    hint = (
        f"`{_MANAGERS[managers[0]]} …` in an earlier RUN installs programs, if it is not misspelt" if managers else ""
    )
    return Cause(f"`{name}`{place} is not in the image's PATH", hint)


def _of_file(failure: Failure, shown: ShownRoot, path: str, name: str) -> Cause | None:
    absolute = path if path.startswith("/") else f"{failure.step.cwd}/{path}"
    found = shown.find(absolute)
    place = failure.place(name)
    if found is None:
        return Cause(
            f"there is no file `{name}`{place} in the image", "paths are those of the image, not the context's"
        )
    mode = found[1].st_mode
    if stat.S_ISDIR(mode):
        return Cause(f"`{name}`{place} is a directory")
    if not mode & 0o111:
        return Cause(
            f"`{name}`{place} is not executable (mode {stat.S_IMODE(mode):04o})",
            "copy it with `COPY --chmod=755`, or `chmod +x` it in an earlier RUN",
        )
    return _of_content(failure, shown, name, shown.read(absolute, _HEAD))


def _of_content(failure: Failure, shown: ShownRoot, name: str, head: bytes) -> Cause | None:
    """Explain a program that is there and cannot be executed by what it is."""
    place = failure.place(name)
    if head.startswith(b"\x7fELF"):
        return _of_elf(failure, shown, name, head)
    if not head.startswith(b"#!"):
        why = "is empty" if not head else "is neither a program nor a script with a line `#!` at its beginning"
        return Cause(f"`{name}`{place} {why}", "begin a script with `#!/bin/sh`")
    line = head.partition(b"\n")[0].decode("utf-8", "replace")
    if line.endswith("\r"):
        return Cause(
            f"the first line of `{name}`{place} is `{line[:-1]}\\r`: its line ends are CRLF",
            "save it with LF, or `sed -i 's/\\r$//'` it before; `*.sh text eol=lf` in .gitattributes keeps git from it",
        )
    words = line[2:].split()
    if words and shown.find(words[0]) is None:
        return Cause(
            f"`{name}`{place} wants `{words[0]}`, which is not in the image", "install it, or change its `#!` line"
        )
    return None


def _of_elf(failure: Failure, shown: ShownRoot, name: str, head: bytes) -> Cause | None:
    place = failure.place(name)
    machine, interpreter = _elf(head)
    wanted = failure.step.platform.split("/")[1:2]
    if machine and wanted and machine != wanted[0]:
        what = f"`{name}`{place} is a program for {machine}, and this step runs on {wanted[0]}"
        return Cause(what, "get the one for this platform: the variable TARGETARCH names it (ARG TARGETARCH)")
    if interpreter and shown.find(interpreter) is None:
        libc = "musl" if "musl" in interpreter else "glibc" if "ld-linux" in interpreter else ""
        hint = f"it was built for {libc}: link it statically, or use a base image that has it" if libc else ""
        return Cause(f"`{name}`{place} needs the loader {interpreter}, which is not in the image", hint)
    return None


def _elf(head: bytes) -> tuple[str, str]:
    """Give a program's architecture and its loader, elf(5); "" for what is not known."""
    try:
        wide, order = head[4] == 2, "<" if head[5] == 1 else ">"
        (number,) = struct.unpack_from(f"{order}H", head, 18)
        machine = (_MACHINES | _MACHINES_OF_LATE).get(number, "")
        if wide:
            (offset,), (size, count) = (
                struct.unpack_from(f"{order}Q", head, 32),
                struct.unpack_from(f"{order}HH", head, 54),
            )
        else:
            (offset,), (size, count) = (
                struct.unpack_from(f"{order}I", head, 28),
                struct.unpack_from(f"{order}HH", head, 42),
            )
        for number in range(min(count, 64)):
            at = offset + number * size
            (kind,) = struct.unpack_from(f"{order}I", head, at)
            if kind == 3:
                start, length = (
                    (
                        struct.unpack_from(f"{order}Q", head, at + 8)[0],
                        struct.unpack_from(f"{order}Q", head, at + 32)[0],
                    )
                    if wide
                    else (
                        struct.unpack_from(f"{order}I", head, at + 4)[0],
                        struct.unpack_from(f"{order}I", head, at + 16)[0],
                    )
                )
                name = head[start : start + length].rstrip(b"\0").decode("utf-8", "replace")
                return machine, name if name.startswith("/") else ""
    except (struct.error, IndexError):
        return "", ""
    return machine, ""


def _by_check(where: Where | None) -> str:
    """Give what a check says of the instruction that may be the reason."""
    from buildah_py.buildfile.own_checks import own_checks
    from buildah_py.buildfile.parser import parse
    from buildah_py.buildfile.rules import RULES

    found: list[str] = []
    if where is not None:

        def report(rule: str, line: int, message: str, _own: object) -> None:
            if RULES[rule].told and line == where.span.start.line:
                found.append(message)

        try:
            own_checks(parse(where.source.text, where.source.name, extensions=True), report)
        except BuildFileError:  # it is a trigger of an image, not a file
            return ""
    return found[0] if found else ""


def _last_speaker(failure: Failure) -> str:
    """Say which command of several lines begins the last line of output with its name, as programs do for errors."""
    found = _SPEAKER.match(failure.last_lines[0]) if failure.last_lines else None
    if found is None:
        return ""
    name = found["name"] or found["other"]
    place = failure.place(name)
    return f"`{name}`{place} spoke last" if place else ""


def _by_last_words(failure: Failure) -> Cause:
    """Explain by what the command said last, which is a hint and not more."""
    said = "\n".join(failure.last_lines)
    if _NO_NAMES.search(said):
        if failure.step.network == "none":
            return Cause("", "this step has no network (--network none)")
        return Cause("", "the network was not reached: `pybuild doctor` looks at it; --network=host uses the machine's")
    if _NO_SPACE.search(said):
        from buildah_py.linux.failures import SPACE

        return Cause("", SPACE)
    user = failure.step.user.partition(":")[0]
    if user not in ("", "0", "root") and _REFUSED.search(said):
        return Cause("", f"this step runs as the user {user} (USER)")
    return Cause()

"""Run mmdebstrap(1), and tell in meters what it does: what is fetched, unpacked and configured."""

from __future__ import annotations

import os
import re
import subprocess
import threading
from collections import Counter, deque
from contextlib import contextmanager, suppress
from typing import IO, TYPE_CHECKING, Final, cast

from buildah_py import debug, meter
from buildah_py.errors import NotFound, PybuildError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from io import BufferedReader

_PASSED: Final = ("PATH", "TMPDIR", "http_proxy", "https_proxy", "ftp_proxy", "no_proxy")
"""Variables that only decide how it works, not what comes of it. apt knows those of proxies in small letters."""
_UNITS: Final = {"B": 1, "kB": 1000, "MB": 1000**2, "GB": 1000**3}
_SIZE: Final = r"(\d+(?:\.\d+)?) ([kMG]?B)"
_FETCHED: Final = re.compile(rf"Get:\d+ .*\[{_SIZE}\]$")
_TO_FETCH: Final = re.compile(rf"Need to get {_SIZE}")
_PACKAGES: Final = re.compile(r"\d+ upgraded, (\d+) newly installed")
_STAGES: Final = {
    "I: running apt-get update": "package lists",
    "I: downloading packages": "essential packages",
    "I: installing remaining packages": "other packages",
}
_LAST_WORDS: Final = 12  # lines that are shown when it fails


@contextmanager
def file_system(
    suite: str, sources: str, hook: str, *, epoch: int, environ: Mapping[str, str] = os.environ
) -> Iterator[IO[bytes]]:
    """Give the tar of `suite`'s minimal root file system as it is written, with nothing newer than `epoch`.

    `sources` are the entries to install from, `hook` a shell command whose `$1` is the file system when all is
    installed. Raises NotFound without mmdebstrap; PybuildError, at the end, with its words where it failed.
    """
    from shutil import which

    program = which("mmdebstrap")
    if program is None:
        raise NotFound("mmdebstrap is not installed", hint="on Debian: apt-get install mmdebstrap")
    command = [program, "--variant=minbase", "--format=tar", "--verbose"]
    passed = {name: environ[name] for name in _PASSED if name in environ}
    with subprocess.Popen(
        [*command, f"--customize-hook={hook}", suite, "-", "-"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={**passed, "HOME": "/root", "LC_ALL": "C.UTF-8", "SOURCE_DATE_EPOCH": str(epoch)},
        umask=0o022,
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stderr is not None
        words = Words()
        following = threading.Thread(target=meter.carried(words.follow), args=(process.stderr,))
        following.start()
        try:
            with suppress(BrokenPipeError):  # it has ended; why, its status and words tell
                process.stdin.write(sources.encode())
                process.stdin.close()
            stdout = cast("BufferedReader", process.stdout)
            stdout.peek(1)  # it comes when all is installed
            yield stdout
        except PybuildError:
            if process.stdout.read(1):
                raise
            # It was mmdebstrap that ended too early.
        except BaseException:
            process.terminate()
            raise
        finally:
            process.stdout.close()
            following.join()
        if status := process.wait():
            raise PybuildError(
                f"mmdebstrap {suite} ended with status {status}:\n{words.last()}",
                hint="`pybuild --debug bootstrap …` shows all that it says",
            )


class Words:
    """What mmdebstrap, and apt and dpkg below it, say in English: told as meters, one at a time."""

    def __init__(self) -> None:
        self._of = "packages"
        self._what = ""
        self._packages = 0
        self._done: Counter[str] = Counter()
        self._meter = meter.NOTHING
        self._lines: deque[str] = deque(maxlen=_LAST_WORDS)
        self._errors: deque[str] = deque(maxlen=_LAST_WORDS)

    def follow(self, lines: Iterable[bytes]) -> None:
        """Hear them all."""
        try:
            for line in lines:
                self.hear(line.decode("utf-8", "replace").rstrip())
        finally:
            self._end()

    def last(self) -> str:
        """Return the last errors; without any the last lines."""
        return "\n".join(f"  {line}" for line in self._errors or self._lines)

    def hear(self, line: str) -> None:
        """Hear one line."""
        debug.log("mmdebstrap: %s", line)
        self._lines.append(line)
        if line.startswith(("E: ", "Err:", "dpkg: error")):
            self._errors.append(line)
        for start, of in _STAGES.items():
            if line.startswith(start):
                self._of, self._packages = of, 0
                self._done.clear()
                if of == "package lists":
                    self._begin("fetching")
        if found := _PACKAGES.match(line):
            self._packages = int(found[1])
        elif found := _TO_FETCH.match(line):
            self._begin("fetching", _bytes(found[1], found[2]))
        elif found := _FETCHED.match(line):
            self._meter.add(_bytes(found[1], found[2]))
        elif line.startswith("Unpacking "):
            self._count("unpacking")
        elif line.startswith("Setting up "):
            self._count("configuring")
        elif line.startswith("I: extracting"):
            self._begin("extracting")
        elif line.startswith(("Fetched ", "I: creating tarball")):
            self._end()

    def _count(self, verb: str) -> None:
        """Count a package; dpkg may go back and forth between unpacking and configuring."""
        if self._begin(verb, self._packages, meter.ITEMS):
            self._meter.add(self._done[verb])
        self._done[verb] += 1
        self._meter.add(1)

    def _begin(self, verb: str, total: int = 0, unit: str = meter.BYTES) -> bool:
        what = f"{verb} {self._of}"
        if what == self._what:
            return False
        self._end()
        self._what = what
        self._meter = meter.start(what, total, unit, waits=True)
        self._meter.__enter__()
        return True

    def _end(self) -> None:
        self._meter.__exit__(None, None, None)
        self._meter, self._what = meter.NOTHING, ""


def _bytes(number: str, unit: str) -> int:
    return round(float(number) * _UNITS[unit])

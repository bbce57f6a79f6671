"""Errors of the system as told to a person: where it came up, what it says, and what to do, by its cause."""

from __future__ import annotations

import errno
import os
from typing import Final

SPACE: Final = "`pybuild prune` frees space; PYBUILD_ROOT names a state directory on another disk"
_HINTS: Final = {
    errno.ENOSPC: SPACE,
    errno.EDQUOT: SPACE,
    errno.EROFS: "name a state directory that can be written with PYBUILD_ROOT",
    errno.EMFILE: "allow more open files: `ulimit -n 65536`",
    errno.ENFILE: "the machine's table of open files is full: see the sysctl fs.file-max",
    errno.ENOMEM: "build fewer things at once, or on a machine with more memory",
    errno.EAGAIN: "a limit of processes is reached: see `ulimit -u`, and the control group's pids.max",
    errno.EIO: "the disk has faults: see the kernel's log (dmesg)",
    errno.ENOTSUP: "the file system of the state directory lacks what is wanted; name another one with PYBUILD_ROOT",
}
NO_MEMORY: Final = _HINTS[errno.ENOMEM]


def describe(error: OSError) -> tuple[str, str]:
    """Give a message that names the paths, and a hint, "" where none is known."""
    names = [name for name in (error.filename, error.filename2) if isinstance(name, str | bytes) and name]
    what = error.strerror or str(error) or type(error).__name__
    text = f"{' -> '.join(map(os.fsdecode, names))}: {what}" if names else what
    return text, _HINTS.get(error.errno or 0, "")

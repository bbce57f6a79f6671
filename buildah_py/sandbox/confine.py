"""Process 1 of a container, confined once its command is executed: it may reap it, end it, say how it ended.

A command that is given CAP_SYS_PTRACE, or some descriptor by a mistake of ours, can make process 1 do what it wants; so
that must be nothing that the command could not do by itself.
"""

from __future__ import annotations

from buildah_py.linux import process
from buildah_py.sandbox import capabilities

CALLS = """
    brk close exit exit_group futex getpid getrusage gettid kill madvise mmap mmap2 mremap munmap restart_syscall
    rt_sigaction rt_sigprocmask rt_sigreturn sigreturn wait4 waitpid write
"""
"""Calls that the interpreter needs to wait, pass signals on and write one record."""

_KILL = 1 << capabilities.number("KILL")  # users of the container have other ids


def confine(program: bytes) -> None:
    """Give up everything else, for ever; `program` is the filter for CALLS, empty where none can be made."""
    process.limit_bounding_set(0)
    process.clear_ambient_capabilities()
    process.capset(_KILL, _KILL, 0)
    process.set_no_new_privileges()
    if program:
        process.set_seccomp_filter(program)

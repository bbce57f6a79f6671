"""The system calls that a container may make: docker's default policy, compiled by libseccomp.

What is not listed fails with EPERM. Calls newer than this list fail with ENOSYS, so that programs fall back to what
came before them. clone3 does too, as its flags lie in memory where no filter can see them.
"""

from __future__ import annotations

import binascii
import ctypes
import errno
import os
import struct

from buildah_py.sandbox import capabilities

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

_VERSION = 1
"""Counts changes of the policy, for the names of files."""

_ALLOW = 0x7FFF0000
_REFUSE = 0x00050000
_BINARY_TREE, _OPTIMIZE = 2, 8
_LESS, _EQUAL, _GREATER, _MASKED_EQUAL = 2, 4, 6, 7

_AF_ALG, _AF_VSOCK = 38, 40
_NAMESPACES = 0x7E020000
_PERSONALITIES = (0, 0x8, 0x20000, 0x20008, 0xFFFFFFFF)

_PLAIN = """
    accept accept4 bind connect getpeername getsockname getsockopt listen recv recvfrom recvmmsg recvmmsg_time64
    recvmsg send sendmmsg sendmsg sendto setsockopt shutdown socketcall socketpair

    access chdir chmod chown chown32 close close_range copy_file_range creat dup dup2 dup3 faccessat faccessat2
    fadvise64 fadvise64_64 fallocate fchdir fchmod fchmodat fchown fchown32 fchownat fcntl fcntl64 fdatasync flock
    fstat fstat64 fstatat64 fstatfs fstatfs64 fsync ftruncate ftruncate64 futimesat getcwd getdents getdents64 ioctl
    lchown lchown32 link linkat _llseek lseek lstat lstat64 mkdir mkdirat mknod mknodat name_to_handle_at newfstatat
    open openat openat2 pipe pipe2 pread64 preadv preadv2 pwrite64 pwritev pwritev2 read readahead readlink
    readlinkat readv rename renameat renameat2 rmdir sendfile sendfile64 splice stat stat64 statfs statfs64 statx
    symlink symlinkat sync sync_file_range syncfs tee truncate truncate64 umask unlink unlinkat utime utimensat
    utimensat_time64 utimes vmsplice write writev fgetxattr flistxattr fremovexattr fsetxattr getxattr lgetxattr
    listxattr llistxattr lremovexattr lsetxattr removexattr setxattr

    epoll_create epoll_create1 epoll_ctl epoll_ctl_old epoll_pwait epoll_pwait2 epoll_wait epoll_wait_old eventfd
    eventfd2 fanotify_mark inotify_add_watch inotify_init inotify_init1 inotify_rm_watch _newselect poll ppoll
    ppoll_time64 pselect6 pselect6_time64 select signalfd signalfd4 io_cancel io_destroy io_getevents io_pgetevents
    io_pgetevents_time64 io_setup io_submit

    brk get_thread_area madvise membarrier memfd_create memfd_secret mincore mlock mlock2 mlockall mmap mmap2
    mprotect mremap msync munlock munlockall munmap pkey_alloc pkey_free pkey_mprotect process_mrelease
    remap_file_pages set_thread_area

    capget capset execve execveat exit exit_group fork getegid getegid32 geteuid geteuid32 getgid getgid32 getgroups
    getgroups32 getpgid getpgrp getpid getppid getpriority getresgid getresgid32 getresuid getresuid32 getrlimit
    getrusage getsid gettid getuid getuid32 ioprio_get ioprio_set kill landlock_add_rule landlock_create_ruleset
    landlock_restrict_self pause pidfd_open pidfd_send_signal prctl prlimit64 restart_syscall rseq rt_sigaction
    rt_sigpending rt_sigprocmask rt_sigqueueinfo rt_sigreturn rt_sigsuspend rt_sigtimedwait rt_sigtimedwait_time64
    rt_tgsigqueueinfo seccomp setfsgid setfsgid32 setfsuid setfsuid32 setgid setgid32 setgroups setgroups32 setpgid
    setpriority setregid setregid32 setresgid setresgid32 setresuid setresuid32 setreuid setreuid32 setrlimit setsid
    set_tid_address setuid setuid32 sigaltstack sigprocmask sigreturn tgkill tkill ugetrlimit vfork wait4 waitid
    waitpid process_vm_readv process_vm_writev ptrace

    futex futex_time64 futex_waitv get_robust_list set_robust_list ipc mq_getsetattr mq_notify mq_open
    mq_timedreceive mq_timedreceive_time64 mq_timedsend mq_timedsend_time64 mq_unlink msgctl msgget msgrcv msgsnd
    semctl semget semop semtimedop semtimedop_time64 shmat shmctl shmdt shmget

    sched_getaffinity sched_getattr sched_getparam sched_get_priority_max sched_get_priority_min sched_getscheduler
    sched_rr_get_interval sched_rr_get_interval_time64 sched_setaffinity sched_setattr sched_setparam
    sched_setscheduler sched_yield

    adjtimex alarm clock_adjtime clock_adjtime64 clock_getres clock_getres_time64 clock_gettime clock_gettime64
    clock_nanosleep clock_nanosleep_time64 getcpu getitimer getrandom gettimeofday nanosleep setitimer sysinfo time
    timer_create timer_delete timer_getoverrun timer_gettime timer_gettime64 timer_settime timer_settime64
    timerfd_create timerfd_gettime timerfd_gettime64 timerfd_settime timerfd_settime64 times uname
"""

_OWNERS = {"chown", "chown32", "fchown", "fchown32", "fchownat", "lchown", "lchown32", "setgroups", "setgroups32"}

_OF_ARCHITECTURE = {
    "x86_64": "arch_prctl modify_ldt",
    "aarch64": "arm_fadvise64_64 arm_sync_file_range sync_file_range2 breakpoint cacheflush set_tls",
    "ppc64le": "sync_file_range2 swapcontext",
    "s390x": "s390_pci_mmio_read s390_pci_mmio_write s390_runtime_instr",
    "riscv64": "riscv_flush_icache",
}

_OF_CAPABILITY = {
    "DAC_READ_SEARCH": "open_by_handle_at",
    "SYS_ADMIN": """bpf clone clone3 fanotify_init fsconfig fsmount fsopen fspick lookup_dcookie mount mount_setattr
        move_mount open_tree perf_event_open quotactl quotactl_fd setdomainname sethostname setns syslog umount umount2
        unshare""",
    "SYS_BOOT": "reboot",
    "SYS_CHROOT": "chroot",
    "SYS_MODULE": "delete_module init_module finit_module",
    "SYS_PACCT": "acct",
    "SYS_PTRACE": "kcmp pidfd_getfd process_madvise",
    "SYS_RAWIO": "iopl ioperm",
    "SYS_TIME": "settimeofday stime clock_settime clock_settime64",
    "SYS_TTY_CONFIG": "vhangup",
    "SYS_NICE": "get_mempolicy mbind set_mempolicy set_mempolicy_home_node",
    "SYSLOG": "syslog",
    "BPF": "bpf",
    "PERFMON": "perf_event_open",
}

_ARCHITECTURES = {
    "x86_64": (0xC000003E, (0x40000003, 0x4000003E)),
    "aarch64": (0xC00000B7, (0x40000028,)),
    "ppc64le": (0xC0000015, ()),
    "s390x": (0x80000016, (0x00000016,)),
    "riscv64": (0xC00000F3, ()),
}
"""The kernel's number of each, and those whose programs it runs too."""

_RECENT = {
    "cachestat": 451,
    "fchmodat2": 452,
    "map_shadow_stack": 453,
    "futex_wake": 454,
    "futex_wait": 455,
    "futex_requeue": 456,
    "mseal": 462,
    "setxattrat": 463,
    "getxattrat": 464,
    "listxattrat": 465,
    "removexattrat": 466,
}
"""Allowed calls that the libseccomp of a stable distribution has no name for; the same numbers everywhere."""
_FIRST_RECENT, _LAST_KNOWN = 451, 466


class UnavailableError(Exception):
    """No filter can be made here; says why."""


def cached_filter(wanted: int, directory: str, *, ignore_owners: bool = False) -> bytes:
    """Give what `compile_filter` gives, from a file in `directory` if one run before has put it there."""
    path = f"{directory}/seccomp-{_VERSION}-{os.uname().machine}-{wanted:x}{'-ignore' if ignore_owners else ''}"
    try:
        with open(path, "rb") as file:
            kept = file.read(1 << 20)
    except FileNotFoundError:
        kept = b""
    if len(kept) > 4 and binascii.crc32(kept[4:]).to_bytes(4) == kept[:4]:
        return kept[4:]
    program = compile_filter(wanted, ignore_owners=ignore_owners)
    if os.path.isdir(directory) and os.access(directory, os.W_OK):
        new = f"{path}.{os.getpid()}"
        with open(new, "wb") as file:
            file.write(binascii.crc32(program).to_bytes(4) + program)
        os.rename(new, path)
    return program


def compile_filter(wanted: int, *, ignore_owners: bool = False) -> bytes:
    """Give the policy as a program for the kernel, for a container with the capabilities of this mask.

    With `ignore_owners`, changing the owner of a file or one's groups does nothing and succeeds: for a user namespace
    in which there is only one id. Raises UnavailableError where there is no libseccomp, or no table for this machine.
    """
    machine = os.uname().machine
    if machine not in _ARCHITECTURES:
        raise UnavailableError(f"there is no seccomp policy for the architecture {machine}")
    try:
        library = ctypes.CDLL("libseccomp.so.2", use_errno=True)
    except OSError:
        raise UnavailableError("libseccomp.so.2 is not installed (Debian: libseccomp2)") from None
    library.seccomp_init.restype = ctypes.c_void_p
    library.seccomp_init.argtypes = (ctypes.c_uint32,)
    context = library.seccomp_init(_REFUSE | errno.EPERM)
    if not context:
        raise UnavailableError("libseccomp cannot begin a filter")
    try:
        return _newer_calls(machine) + _compile(library, ctypes.c_void_p(context), machine, wanted, ignore_owners)
    finally:
        library.seccomp_release(ctypes.c_void_p(context))


def _compile(library: ctypes.CDLL, context: ctypes.c_void_p, machine: str, wanted: int, ignore_owners: bool) -> bytes:
    def must(result: int, what: str) -> None:
        if result < 0:
            raise UnavailableError(f"libseccomp refuses {what}: {os.strerror(-result)}")

    for other in _ARCHITECTURES[machine][1]:
        must(library.seccomp_arch_add(context, ctypes.c_uint32(other)), f"architecture {other:#x}")
    library.seccomp_attr_set(context, _OPTIMIZE, ctypes.c_uint32(_BINARY_TREE))  # before 2.5 there is no tree
    add = library.seccomp_rule_add_array
    add.argtypes = (ctypes.c_void_p, ctypes.c_uint32, ctypes.c_int, ctypes.c_uint, ctypes.c_char_p)
    for name, action, comparison in _rules(machine, wanted, ignore_owners):
        number = library.seccomp_syscall_resolve_name(name.encode())
        if number == -1:  # younger than the library
            continue
        must(add(context, action, number, 1 if comparison else 0, comparison or None), name)
    memory = os.memfd_create("seccomp", os.MFD_CLOEXEC)
    try:
        must(library.seccomp_export_bpf(context, memory), "to export the filter")
        return os.pread(memory, os.fstat(memory).st_size, 0)
    finally:
        os.close(memory)


def _rules(machine: str, wanted: int, ignore_owners: bool) -> Iterator[tuple[str, int, bytes]]:
    for name in (*_PLAIN.split(), *_OF_ARCHITECTURE[machine].split()):
        ignored = ignore_owners and name in _OWNERS
        yield name, _REFUSE if ignored else _ALLOW, b""
    allowed = set()
    for capability, names in _OF_CAPABILITY.items():
        if wanted >> capabilities.number(capability) & 1:
            allowed.update(names.split())
    for name in sorted(allowed):
        yield name, _ALLOW, b""
    for value in _PERSONALITIES:
        yield "personality", _ALLOW, _compare(0, _EQUAL, value)
    for operator, family in ((_LESS, _AF_ALG), (_EQUAL, _AF_ALG + 1), (_GREATER, _AF_VSOCK)):
        yield "socket", _ALLOW, _compare(0, operator, family)
    if "clone" not in allowed:
        yield "clone", _ALLOW, _compare(1 if machine == "s390x" else 0, _MASKED_EQUAL, _NAMESPACES, 0)
        yield "clone3", _REFUSE | errno.ENOSYS, b""


def _compare(argument: int, operator: int, first: int, second: int = 0) -> bytes:
    return struct.pack("@IiQQ", argument, operator, first, second)


def _newer_calls(machine: str) -> bytes:
    """Decide the calls that libseccomp may not know, before its program begins."""
    load, jump_equal, jump_greater, give = 0x20, 0x15, 0x25, 0x06
    recent = sorted(_RECENT.values())
    # Jumps are relative: with nothing decided, the last instruction is passed over and libseccomp's program follows.
    length = 8 + len(recent)
    program = [
        (load, 0, 0, 4),
        (jump_equal, 0, length - 2, _ARCHITECTURES[machine][0]),
        (load, 0, 0, 0),
        (jump_greater, length - 4, 0, 0x3FFFFFFF),  # the x32 calls of x86_64 have a bit set
        (jump_greater, length - 7, 0, _LAST_KNOWN),
    ]
    for place, number in enumerate(recent, start=len(program)):
        program.append((jump_equal, length - 2 - place, 0, number))
    program += [(0x05, 0, 0, 2), (give, 0, 0, _REFUSE | errno.ENOSYS), (give, 0, 0, _ALLOW)]
    return b"".join(struct.pack("=HBBI", *instruction) for instruction in program)

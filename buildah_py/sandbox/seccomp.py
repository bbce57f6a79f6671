"""The system calls that a container may make: docker's default policy as a program for the kernel.

Other calls than these fail with EPERM. Calls newer than this list fail with ENOSYS, so that programs fall back to what
came before them. clone3 does too, as its flags lie in memory where no filter can see them. libseccomp knows the calls'
numbers; the program is our own, a search among ranges of numbers, because it takes the kernel a third of the time to
install and is made at once.
"""

from __future__ import annotations

import ctypes
import errno
import os
import struct

from buildah_py.sandbox import capabilities

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

BpfInstruction = tuple[int, int, int, int]
"""Code, where to jump if true and if false, operand: as in struct sock_filter."""

_ALLOW = 0x7FFF0000
_REFUSE = 0x00050000

_LOAD, _AND, _RETURN = 0x20, 0x54, 0x06
_JUMP, _JUMP_EQUAL, _JUMP_AT_LEAST = 0x05, 0x15, 0x35
_NUMBER, _ARCHITECTURE, _FIRST_ARGUMENT = 0, 4, 16
"""Offsets in struct seccomp_data; of an argument, its lower half on a little-endian machine."""
_FARTHEST = 255

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

ARCHITECTURES = {
    "x86_64": (0xC000003E, 0x40000003),
    "aarch64": (0xC00000B7, 0x40000028),
    "ppc64le": (0xC0000015,),
    "riscv64": (0xC00000F3,),
}
"""The kernel's number of each, and of the one whose programs it runs too (x32 is not among them)."""

_I386 = 0x40000003
_SOCKETS_OF_I386 = """
    socket socketpair bind connect listen accept4 getsockopt setsockopt getsockname getpeername sendto sendmsg recvfrom
    recvmsg shutdown
"""
_IPC_OF_I386 = "semget semctl shmget shmctl shmat shmdt msgget msgsnd msgrcv msgctl"
_OF_I386 = {name: 359 + place for place, name in enumerate(_SOCKETS_OF_I386.split())} | {
    name: 393 + place for place, name in enumerate(_IPC_OF_I386.split())
}
"""Calls that i386 got of its own after socketcall and ipc, for which libseccomp has numbers of no use here."""

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
_LAST_KNOWN = 466


class UnavailableError(Exception):
    """No filter can be made here; says why."""


def resolver() -> tuple[str, Callable[[int, str], int]]:
    """Give this machine's name, and a function from one of its ARCHITECTURES and a call's name to its number or -1.

    Raises UnavailableError where there is no libseccomp, or no table for this machine.
    """
    machine = os.uname().machine
    if machine not in ARCHITECTURES:
        raise UnavailableError(f"there is no seccomp policy for the architecture {machine}")
    try:
        library = ctypes.CDLL("libseccomp.so.2")
    except OSError:
        raise UnavailableError("libseccomp.so.2 is not installed (Debian: libseccomp2)") from None
    ask = library.seccomp_syscall_resolve_name_arch
    ask.argtypes = (ctypes.c_uint32, ctypes.c_char_p)

    def resolve(architecture: int, name: str) -> int:
        number = int(ask(architecture, name.encode()))
        if number < 0:  # younger than the library, or unknown to this architecture
            number = _OF_I386.get(name, -1) if architecture == _I386 else -1
            number = _RECENT.get(name, number)
        return number

    return machine, resolve


def compile_filter(wanted: int, *, ignore_owners: bool = False) -> bytes:
    """Give the policy as an array of struct sock_filter, for a container with the capabilities of this mask.

    With `ignore_owners`, changing the owner of a file or one's groups does nothing and succeeds: for a user namespace
    in which there is only one id. Raises UnavailableError where there is no libseccomp, or no table for this machine.
    """
    return _program(dict(_rules(os.uname().machine, wanted, ignore_owners)))


def compile_list(names: str) -> bytes:
    """Give the program that allows these calls and no others. Raises UnavailableError."""
    return _program(dict.fromkeys(names.split(), _give(_ALLOW)))


def _program(rules: dict[str, list[BpfInstruction]]) -> bytes:
    machine, resolve = resolver()
    program: list[BpfInstruction] = [(_LOAD, 0, 0, _ARCHITECTURE)]
    for architecture in ARCHITECTURES[machine]:
        numbers: dict[int, list[BpfInstruction]] = {}
        for name, code in rules.items():
            number = resolve(architecture, name)
            if number >= 0:
                numbers[number] = code
        last = max(_LAST_KNOWN, *numbers)
        decided = ranges(numbers, last, _give(_REFUSE | errno.EPERM), _give(_REFUSE | errno.ENOSYS))
        section = [(_LOAD, 0, 0, _NUMBER), *search(decided)]
        program += [(_JUMP_EQUAL, 1, 0, architecture), (_JUMP, 0, 0, len(section)), *section]
    program.append((_RETURN, 0, 0, _REFUSE | errno.EPERM))
    return b"".join(struct.pack("=HBBI", *instruction) for instruction in program)


def _rules(machine: str, wanted: int, ignore_owners: bool) -> Iterator[tuple[str, list[BpfInstruction]]]:
    """Give for each call the instructions that decide it."""
    allow = _give(_ALLOW)
    for name in (*_PLAIN.split(), *_OF_ARCHITECTURE.get(machine, "").split(), *_RECENT):
        yield name, _give(_REFUSE) if ignore_owners and name in _OWNERS else allow
    yield "personality", _among(_PERSONALITIES, _ALLOW, _REFUSE | errno.EPERM)
    yield "socket", _among((_AF_ALG, _AF_VSOCK), _REFUSE | errno.EPERM, _ALLOW)
    no_namespaces = [
        (_LOAD, 0, 0, _FIRST_ARGUMENT),
        (_AND, 0, 0, _NAMESPACES),
        (_JUMP_EQUAL, 0, 1, 0),
        *_give(_ALLOW),
        *_give(_REFUSE | errno.EPERM),
    ]
    yield "clone", no_namespaces
    yield "clone3", _give(_REFUSE | errno.ENOSYS)
    for capability, names in _OF_CAPABILITY.items():
        if wanted >> capabilities.number(capability) & 1:
            for name in names.split():
                yield name, allow


def _give(result: int) -> list[BpfInstruction]:
    return [(_RETURN, 0, 0, result)]


def _among(values: tuple[int, ...], result: int, otherwise: int) -> list[BpfInstruction]:
    """Decide by the first argument."""
    count = len(values)
    tests = [(_JUMP_EQUAL, count - place, 0, value) for place, value in enumerate(values)]
    return [(_LOAD, 0, 0, _FIRST_ARGUMENT), *tests, *_give(otherwise), *_give(result)]


def ranges(
    numbers: dict[int, list[BpfInstruction]], last: int, default: list[BpfInstruction], unknown: list[BpfInstruction]
) -> list[tuple[int, list[BpfInstruction]]]:
    """Give the first number of each range of calls that are decided alike, from 0 to the end of all numbers.

    A number that is not among `numbers` is decided by `default` up to `last`, by `unknown` behind it.
    """
    found = [(0, numbers.get(0, default))]
    for number in range(1, last + 1):
        code = numbers.get(number, default)
        if code != found[-1][1]:
            found.append((number, code))
    return [*found, (last + 1, unknown)]


def search(decided: list[tuple[int, list[BpfInstruction]]]) -> list[BpfInstruction]:
    """Find the range of the number that was loaded, halving what is left each time."""
    if len(decided) == 1:
        return decided[0][1]
    middle = len(decided) // 2
    first, second = search(decided[:middle]), search(decided[middle:])
    start = decided[middle][0]
    if len(first) <= _FARTHEST:
        return [(_JUMP_AT_LEAST, len(first), 0, start), *first, *second]
    return [(_JUMP_AT_LEAST, 0, 1, start), (_JUMP, 0, 0, len(first)), *first, *second]

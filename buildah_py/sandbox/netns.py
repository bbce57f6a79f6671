"""What every network namespace of a container gets first, from within."""

from __future__ import annotations

import _socket
import errno
import fcntl

_SIOCGIFFLAGS, _SIOCSIFFLAGS, _IFF_UP = 0x8913, 0x8914, 1
_SETTINGS = "/proc/sys/net/ipv4"
_MOST = (1 << 31) - 1


def loopback_up() -> None:
    """Bring up `lo`."""
    with_socket = _socket.socket(_socket.AF_INET, _socket.SOCK_DGRAM | _socket.SOCK_CLOEXEC)
    request = bytearray(b"lo".ljust(40, b"\0"))
    fcntl.ioctl(with_socket.fileno(), _SIOCGIFFLAGS, request)
    request[16] |= _IFF_UP
    fcntl.ioctl(with_socket.fileno(), _SIOCSIFFLAGS, request)
    with_socket.close()


def open_to_all_users() -> None:
    """Let whoever is in there listen on any port and send pings, as docker does: nobody else is behind its address."""
    with open("/proc/self/gid_map", encoding="ascii") as file:
        ranges = [list(map(int, line.split())) for line in file]
    last = min(max(inside + count - 1 for inside, _, count in ranges), _MOST)
    for name, value in (("ip_unprivileged_port_start", "0"), ("ping_group_range", f"0 {last}")):
        try:
            with open(f"{_SETTINGS}/{name}", "w", encoding="ascii") as file:
                file.write(value)
        except OSError as error:
            # A container around us may show its settings read-only: then this is as it was.
            if error.errno not in {errno.EROFS, errno.EACCES, errno.EPERM, errno.ENOENT, errno.EINVAL}:
                raise

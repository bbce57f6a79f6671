"""Messages to nftables: what rules are made of; see linux/netfilter/nf_tables.h."""

from __future__ import annotations

import struct

from buildah_py.linux import netlink
from buildah_py.linux.netlink import NLM_F_ACK, Netlink, attribute, nested, text

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

_SUBSYSTEM = 10
_BATCH_BEGIN, _BATCH_END = 0x10, 0x11
_NLM_F_DUMP = 0x300
FAMILY_INET = 1
IIFNAME, OIFNAME, _NFPROTO, L4PROTO = 6, 7, 15, 16
LINK_HEADER, NETWORK_HEADER, TRANSPORT_HEADER = 0, 1, 2
NEW_TABLE, NEW_CHAIN, NEW_RULE = 0, 3, 6
DROP, ACCEPT = 0, 1
_REGISTER = 1
_EQUAL, _UNEQUAL = 0, 1
_ESTABLISHED_RELATED = 2 | 4
_NAME_BYTES = 16


def batch(channel: Netlink, messages: Sequence[bytes]) -> None:
    """Have all of it done, or nothing. Raises OSError."""
    mark = struct.pack("!BBH", 0, 0, _SUBSYSTEM)
    channel.request([netlink.message(_BATCH_BEGIN, 0, mark), *messages, netlink.message(_BATCH_END, 0, mark)])


def question(kind: int) -> bytes:
    """Ask for everything of one kind, in the tables of all families."""
    return netlink.message(_SUBSYSTEM << 8 | kind, _NLM_F_DUMP, struct.pack("!BBH", 0, 0, 0))


def message(kind: int, flags: int, *attributes: bytes, family: int = FAMILY_INET) -> bytes:
    """Make a message of the subsystem, for a table of `family`."""
    body = struct.pack("!BBH", family, 0, 0) + b"".join(attributes)
    return netlink.message(_SUBSYSTEM << 8 | kind, flags | NLM_F_ACK, body)


def expression(name: str, *attributes: bytes) -> bytes:
    """Make one expression of a rule."""
    data = nested(2, *attributes) if attributes else b""
    return nested(1, text(1, name), data)


def number(kind: int, value: int) -> bytes:
    """Make an attribute of a number in the network's order."""
    return attribute(kind, struct.pack("!I", value))


def meta(key: int) -> bytes:
    """Load what the kernel knows of the packet."""
    return expression("meta", number(2, key), number(1, _REGISTER))


def of_family(family: int) -> list[bytes]:
    """Match packets of IPv4 or IPv6."""
    return [meta(_NFPROTO), compare(bytes([family]))]


def compare(value: bytes, *, same: bool = True) -> bytes:
    """Match what was loaded."""
    operator = _EQUAL if same else _UNEQUAL
    return expression("cmp", number(1, _REGISTER), number(2, operator), nested(3, attribute(1, value)))


def interface(key: int, name: str, *, exact: bool = True, same: bool = True) -> list[bytes]:
    """Match where a packet came in or goes out: a name, or how it begins."""
    value = name.encode().ljust(_NAME_BYTES, b"\0") if exact else name.encode()
    return [meta(key), compare(value, same=same)]


def payload(base: int, offset: int, length: int) -> bytes:
    """Load bytes of the packet."""
    return expression("payload", number(1, _REGISTER), number(2, base), number(3, offset), number(4, length))


def bitwise(mask: bytes) -> bytes:
    """Mask what was loaded."""
    zero = nested(5, attribute(1, bytes(len(mask))))
    numbers = (number(1, _REGISTER), number(2, _REGISTER), number(3, len(mask)))
    return expression("bitwise", *numbers, nested(4, attribute(1, mask)), zero)


def established() -> list[bytes]:
    """Match packets of connections that were begun before."""
    state = expression("ct", number(2, 0), number(1, _REGISTER))
    # The state is a number in the machine's order, unlike everything that comes from a packet.
    return [state, bitwise(struct.pack("=I", _ESTABLISHED_RELATED)), compare(bytes(4), same=False)]


def verdict(code: int) -> bytes:
    """Say what becomes of the packet."""
    return expression("immediate", number(1, 0), nested(2, nested(2, number(1, code))))

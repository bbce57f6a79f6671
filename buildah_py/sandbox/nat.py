"""The packet filter of a build's bridge: one nftables table that translates addresses and guards the host.

Written as netlink messages, so that no program need be there. The table belongs to the socket that made it: the kernel
(since 5.12) removes it when that process is gone, however it ended.
"""

from __future__ import annotations

import errno
import struct

from buildah_py.linux.netlink import (
    NETLINK_NETFILTER,
    NLM_F_ACK,
    NLM_F_APPEND,
    NLM_F_CREATE,
    Netlink,
    attribute,
    message,
    nested,
    text,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

_SUBSYSTEM = 10
_BATCH_BEGIN, _BATCH_END = 0x10, 0x11
_NEW_TABLE, _DELETE_TABLE, _NEW_CHAIN, _NEW_RULE = 0, 2, 3, 6
_FAMILY_INET, IPV4, IPV6 = 1, 2, 10
_TABLE_OWNER = 2
_INPUT, _FORWARD, _POSTROUTING = 1, 2, 4
_PRIORITY_FILTER, _PRIORITY_SOURCE_NAT = 0, 100
_REGISTER = 1
_IIFNAME, _OIFNAME, _NFPROTO, _L4PROTO = 6, 7, 15, 16
_NETWORK_HEADER, _TRANSPORT_HEADER = 1, 2
_EQUAL, _UNEQUAL = 0, 1
_ESTABLISHED_RELATED = 2 | 4
_DROP, _ACCEPT = 0, 1
_TCP, _UDP, _ICMPV6 = 6, 17, 58
_DOMAIN_PORT = 53
_NAME_BYTES = 16
_ADDRESSES = {4: (IPV4, 12, 16), 16: (IPV6, 8, 24)}
"""By the length of an address: its family, and where in a packet the source's and the destination's are."""


class PacketFilter:
    """The table of one bridge."""

    def __init__(self, name: str) -> None:
        self.name = name
        self._netlink = Netlink(NETLINK_NETFILTER)

    def install(
        self,
        bridge: str,
        networks: Iterable[tuple[bytes, bytes]],
        servers: Iterable[bytes],
        prefix: str,
        switched: Iterable[int],
    ) -> None:
        """Masquerade what leaves `bridge` for elsewhere; let nothing in that was not asked for.

        `networks` are the bridge's own, each with its mask; `servers` are the packed addresses of name servers that
        containers may ask even if the host is one of them. The host forwards packets of the families `switched` for no
        interfaces but those whose name begins with `prefix`. Raises OSError.
        """
        rules = [*self._chains(), *self._rules(bridge, networks, servers)]
        for family in switched:
            others = [*_interface(_IIFNAME, prefix, exact=False, same=False)]
            others += _interface(_OIFNAME, prefix, exact=False, same=False)
            rules.append(self._rule("forward", *_family(family), *others, _verdict(_DROP)))
        try:
            self._batch([self._table(_TABLE_OWNER), *rules])
        except OSError as error:
            if error.errno not in {errno.EOPNOTSUPP, errno.EINVAL}:
                raise
            self._batch([self._table(0), *rules])

    def remove(self) -> None:
        """Take the table away, if it is there."""
        try:
            self._batch([_message(_DELETE_TABLE, 0, text(1, self.name))])
        except OSError as error:
            if error.errno != errno.ENOENT:
                raise
        self._netlink.close()

    def _batch(self, messages: list[bytes]) -> None:
        mark = struct.pack("!BBH", 0, 0, _SUBSYSTEM)
        self._netlink.request([message(_BATCH_BEGIN, 0, mark), *messages, message(_BATCH_END, 0, mark)])

    def _table(self, flags: int) -> bytes:
        return _message(_NEW_TABLE, NLM_F_CREATE, text(1, self.name), attribute(2, struct.pack("!I", flags)))

    def _chains(self) -> Iterable[bytes]:
        for name, kind, hook, priority in (
            ("postrouting", "nat", _POSTROUTING, _PRIORITY_SOURCE_NAT),
            ("forward", "filter", _FORWARD, _PRIORITY_FILTER),
            ("input", "filter", _INPUT, _PRIORITY_FILTER),
        ):
            where = nested(4, attribute(1, struct.pack("!I", hook)), attribute(2, struct.pack("!i", priority)))
            yield _message(_NEW_CHAIN, NLM_F_CREATE, text(1, self.name), text(3, name), where, text(7, kind))

    def _rules(self, bridge: str, networks: Iterable[tuple[bytes, bytes]], servers: Iterable[bytes]) -> Iterable[bytes]:
        from_bridge, to_bridge = _interface(_IIFNAME, bridge), _interface(_OIFNAME, bridge)
        for network, mask in networks:
            family, source, _ = _ADDRESSES[len(network)]
            yield self._rule(
                "postrouting",
                *_family(family),
                _payload(_NETWORK_HEADER, source, len(network)),
                _bitwise(mask),
                _compare(network),
                *_interface(_OIFNAME, bridge, same=False),
                _expression("masq"),
            )
        yield self._rule("forward", *to_bridge, *_established(), _verdict(_ACCEPT))
        yield self._rule("forward", *to_bridge, _verdict(_DROP))
        yield self._rule("input", *from_bridge, *_established(), _verdict(_ACCEPT))
        for server in servers:
            family, _, destination = _ADDRESSES[len(server)]
            for protocol in (_UDP, _TCP):
                yield self._rule(
                    "input",
                    *from_bridge,
                    *_family(family),
                    _payload(_NETWORK_HEADER, destination, len(server)),
                    _compare(server),
                    _meta(_L4PROTO),
                    _compare(bytes([protocol])),
                    _payload(_TRANSPORT_HEADER, 2, 2),
                    _compare(struct.pack("!H", _DOMAIN_PORT)),
                    _verdict(_ACCEPT),
                )
        yield self._rule("input", *from_bridge, _meta(_L4PROTO), _compare(bytes([_ICMPV6])), _verdict(_ACCEPT))
        yield self._rule("input", *from_bridge, _verdict(_DROP))

    def _rule(self, chain: str, *expressions: bytes) -> bytes:
        flags = NLM_F_CREATE | NLM_F_APPEND
        return _message(_NEW_RULE, flags, text(1, self.name), text(2, chain), nested(4, *expressions))


def _message(kind: int, flags: int, *attributes: bytes) -> bytes:
    body = struct.pack("!BBH", _FAMILY_INET, 0, 0) + b"".join(attributes)
    return message(_SUBSYSTEM << 8 | kind, flags | NLM_F_ACK, body)


def _expression(name: str, *attributes: bytes) -> bytes:
    data = nested(2, *attributes) if attributes else b""
    return nested(1, text(1, name), data)


def _number(kind: int, value: int) -> bytes:
    return attribute(kind, struct.pack("!I", value))


def _meta(key: int) -> bytes:
    return _expression("meta", _number(2, key), _number(1, _REGISTER))


def _family(family: int) -> list[bytes]:
    return [_meta(_NFPROTO), _compare(bytes([family]))]


def _compare(value: bytes, *, same: bool = True) -> bytes:
    operator = _EQUAL if same else _UNEQUAL
    return _expression("cmp", _number(1, _REGISTER), _number(2, operator), nested(3, attribute(1, value)))


def _interface(key: int, name: str, *, exact: bool = True, same: bool = True) -> list[bytes]:
    value = name.encode().ljust(_NAME_BYTES, b"\0") if exact else name.encode()
    return [_meta(key), _compare(value, same=same)]


def _payload(base: int, offset: int, length: int) -> bytes:
    return _expression("payload", _number(1, _REGISTER), _number(2, base), _number(3, offset), _number(4, length))


def _bitwise(mask: bytes) -> bytes:
    zero = nested(5, attribute(1, bytes(len(mask))))
    numbers = (_number(1, _REGISTER), _number(2, _REGISTER), _number(3, len(mask)))
    return _expression("bitwise", *numbers, nested(4, attribute(1, mask)), zero)


def _established() -> list[bytes]:
    state = _expression("ct", _number(2, 0), _number(1, _REGISTER))
    # The state is a number in the machine's order, unlike everything that comes from a packet.
    return [state, _bitwise(struct.pack("=I", _ESTABLISHED_RELATED)), _compare(bytes(4), same=False)]


def _verdict(code: int) -> bytes:
    return _expression("immediate", _number(1, 0), nested(2, nested(2, _number(1, code))))

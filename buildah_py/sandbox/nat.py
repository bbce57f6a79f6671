"""The packet filter of a build's bridge: one nftables table that translates addresses and guards the host.

Written as netlink messages, so that no program need be there. The table belongs to the socket that made it: the kernel
(since 5.12) removes it when that process is gone, however it ended.
"""

from __future__ import annotations

import errno
import struct

from buildah_py.linux.netlink import (
    NETLINK_NETFILTER,
    NLM_F_APPEND,
    NLM_F_CREATE,
    Netlink,
    attribute,
    nested,
    text,
)
from buildah_py.sandbox import nft

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

_DELETE_TABLE = 2
IPV4, IPV6 = 2, 10
_TABLE_OWNER = 2
_INPUT, _FORWARD, _POSTROUTING = 1, 2, 4
_PRIORITY_FILTER, _PRIORITY_SOURCE_NAT = 0, 100
_ICMP, _TCP, _UDP, _ICMPV6 = 1, 6, 17, 58
_ICMP_REDIRECT = 5
_ICMPV6_ALLOWED = (2, 128, 135, 136)
"""Packet too big, echo request, neighbour solicitation and advertisement; nothing of routers, redirects, groups."""
_DOMAIN_PORT = 53
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
            others = [*nft.interface(nft.IIFNAME, prefix, exact=False, same=False)]
            others += nft.interface(nft.OIFNAME, prefix, exact=False, same=False)
            rules.append(self._rule("forward", *nft.of_family(family), *others, nft.verdict(nft.DROP)))
        try:
            nft.batch(self._netlink, [self._table(_TABLE_OWNER), *rules])
        except OSError as error:
            if error.errno not in {errno.EOPNOTSUPP, errno.EINVAL}:
                raise
            nft.batch(self._netlink, [self._table(0), *rules])

    def remove(self) -> None:
        """Take the table away, if it is there."""
        try:
            nft.batch(self._netlink, [nft.message(_DELETE_TABLE, 0, text(1, self.name))])
        except OSError as error:
            if error.errno != errno.ENOENT:
                raise
        self._netlink.close()

    def _table(self, flags: int) -> bytes:
        return nft.message(nft.NEW_TABLE, NLM_F_CREATE, text(1, self.name), attribute(2, struct.pack("!I", flags)))

    def _chains(self) -> Iterable[bytes]:
        for name, kind, hook, priority in (
            ("postrouting", "nat", _POSTROUTING, _PRIORITY_SOURCE_NAT),
            ("forward", "filter", _FORWARD, _PRIORITY_FILTER),
            ("input", "filter", _INPUT, _PRIORITY_FILTER),
        ):
            where = nested(4, attribute(1, struct.pack("!I", hook)), attribute(2, struct.pack("!i", priority)))
            yield nft.message(nft.NEW_CHAIN, NLM_F_CREATE, text(1, self.name), text(3, name), where, text(7, kind))

    def _rules(self, bridge: str, networks: Iterable[tuple[bytes, bytes]], servers: Iterable[bytes]) -> Iterable[bytes]:
        from_bridge, to_bridge = nft.interface(nft.IIFNAME, bridge), nft.interface(nft.OIFNAME, bridge)
        for network, mask in networks:
            family, source, _ = _ADDRESSES[len(network)]
            yield self._rule(
                "postrouting",
                *nft.of_family(family),
                nft.payload(nft.NETWORK_HEADER, source, len(network)),
                nft.bitwise(mask),
                nft.compare(network),
                *nft.interface(nft.OIFNAME, bridge, same=False),
                nft.expression("masq"),
            )
        yield self._rule("forward", *to_bridge, *nft.established(), nft.verdict(nft.ACCEPT))
        yield self._rule("forward", *to_bridge, nft.verdict(nft.DROP))
        redirect = (*_of_type(_ICMP, _ICMP_REDIRECT), nft.verdict(nft.DROP))  # tracked as part of what it redirects
        yield self._rule("input", *from_bridge, *nft.of_family(IPV4), *redirect)
        yield self._rule("input", *from_bridge, *nft.established(), nft.verdict(nft.ACCEPT))
        for server in servers:
            family, _, destination = _ADDRESSES[len(server)]
            for protocol in (_UDP, _TCP):
                yield self._rule(
                    "input",
                    *from_bridge,
                    *nft.of_family(family),
                    nft.payload(nft.NETWORK_HEADER, destination, len(server)),
                    nft.compare(server),
                    nft.meta(nft.L4PROTO),
                    nft.compare(bytes([protocol])),
                    nft.payload(nft.TRANSPORT_HEADER, 2, 2),
                    nft.compare(struct.pack("!H", _DOMAIN_PORT)),
                    nft.verdict(nft.ACCEPT),
                )
        for kind in _ICMPV6_ALLOWED:
            yield self._rule("input", *from_bridge, *_of_type(_ICMPV6, kind), nft.verdict(nft.ACCEPT))
        yield self._rule("input", *from_bridge, nft.verdict(nft.DROP))

    def _rule(self, chain: str, *expressions: bytes) -> bytes:
        flags = NLM_F_CREATE | NLM_F_APPEND
        return nft.message(nft.NEW_RULE, flags, text(1, self.name), text(2, chain), nested(4, *expressions))


def _of_type(protocol: int, kind: int) -> list[bytes]:
    """Match messages of ICMP by their type."""
    of_protocol = [nft.meta(nft.L4PROTO), nft.compare(bytes([protocol]))]
    return [*of_protocol, nft.payload(nft.TRANSPORT_HEADER, 0, 1), nft.compare(bytes([kind]))]

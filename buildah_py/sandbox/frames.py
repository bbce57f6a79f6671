"""Frames that containers make themselves: routes refuse this machine's addresses, and packet(7) goes past routes.

What serves the network (pasta, slirp4netns) takes an address in a frame for one of the machine that it runs on: its
loopback is reached by 127.0.0.1 and 0.0.0.0, and whatever listens on all of its addresses by multicast.
"""

from __future__ import annotations

import _socket
import errno
import struct

from buildah_py.linux.netlink import NETLINK_NETFILTER, NLM_F_APPEND, NLM_F_CREATE, Netlink, attribute, nested, text
from buildah_py.sandbox import nft
from buildah_py.sandbox.netns import packed_network

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

_TABLE, _CHAIN = "pybuild", "egress"
_FAMILY_NETDEV, _EGRESS = 5, 1
_KINDS = {4: (b"\x08\x00", 30), 16: (b"\x86\xdd", 38)}
"""By the length of an address: the type of a frame, and where in it the destination is."""
_TYPE_OFFSET, _NEXT_HEADER_OFFSET = 12, 20
_ICMPV6 = 58
MULTICAST = "224.0.0.0/3"
"""With all that is not for one machine: what listens on every address is reached by it, this machine's too."""
_OF_THIS_MACHINE = ("0.0.0.0/8", "127.0.0.0/8", "::/96", "::ffff:0.0.0.0/96")
_OF_THIS_LINK = ("fe80::/10", "ff00::/8")
"""Where neighbours are looked for, by ICMPv6; nothing else is for anybody there."""
_NO_SUCH_HOOK = {errno.EOPNOTSUPP, errno.EINVAL, errno.ENOENT, errno.EPROTONOSUPPORT}


def refuse_frames(addresses: Iterable[str]) -> None:
    """Drop what leaves this network namespace for the addresses, this machine's own, or for its link. Raises OSError.

    Whoever made it, if the kernel can: since Linux 5.16. A frame's own bytes are looked at: what else is said of it is
    its maker's to say.
    """
    rules = [_to(network) for network in (*addresses, MULTICAST, *_OF_THIS_MACHINE)]
    unlike = nft.payload(nft.LINK_HEADER, _NEXT_HEADER_OFFSET, 1), nft.compare(bytes([_ICMPV6]), same=False)
    rules += [(*_to(network), *unlike) for network in _OF_THIS_LINK]
    devices = [name for _, name in _socket.if_nameindex() if name != "lo"]
    messages = [nft.message(nft.NEW_TABLE, NLM_F_CREATE, text(1, _TABLE), family=_FAMILY_NETDEV)]
    for device in devices:
        chain = f"{_CHAIN}-{device}"
        hook = nested(4, nft.number(1, _EGRESS), attribute(2, struct.pack("!i", 0)), text(3, device))
        names = text(1, _TABLE), text(3, chain)
        messages.append(
            nft.message(nft.NEW_CHAIN, NLM_F_CREATE, *names, hook, text(7, "filter"), family=_FAMILY_NETDEV)
        )
        for rule in rules:
            where = text(1, _TABLE), text(2, chain), nested(4, *rule, nft.verdict(nft.DROP))
            messages.append(nft.message(nft.NEW_RULE, NLM_F_CREATE | NLM_F_APPEND, *where, family=_FAMILY_NETDEV))
    channel = Netlink(NETLINK_NETFILTER)
    try:
        nft.batch(channel, messages)
    except OSError as error:
        if error.errno not in _NO_SUCH_HOOK:
            raise
    finally:
        channel.close()


def _to(network: str) -> tuple[bytes, ...]:
    """Match frames for an address or a network."""
    address, bits = packed_network(network)
    kind, place = _KINDS[len(address)]
    mask = (((1 << bits) - 1) << len(address) * 8 - bits).to_bytes(len(address))
    return (
        nft.payload(nft.LINK_HEADER, _TYPE_OFFSET, len(kind)),
        nft.compare(kind),
        nft.payload(nft.LINK_HEADER, place, len(address)),
        nft.bitwise(mask),
        nft.compare(address),
    )

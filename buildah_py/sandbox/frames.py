"""Frames that containers make themselves: routes refuse this machine's addresses, and packet(7) goes past routes."""

from __future__ import annotations

import _socket
import errno
import struct

from buildah_py.linux.netlink import NETLINK_NETFILTER, NLM_F_APPEND, NLM_F_CREATE, Netlink, attribute, nested, text
from buildah_py.sandbox import nft

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

_TABLE, _CHAIN = "pybuild", "egress"
_FAMILY_NETDEV, _EGRESS = 5, 1
_KINDS = {4: (b"\x08\x00", 30), 16: (b"\x86\xdd", 38)}
"""By the length of an address: the type of a frame, and where in it the destination is."""
_TYPE_OFFSET = 12
_NO_SUCH_HOOK = {errno.EOPNOTSUPP, errno.EINVAL, errno.ENOENT, errno.EPROTONOSUPPORT}


def refuse_frames(addresses: Iterable[str]) -> None:
    """Drop what leaves this network namespace for the addresses, whoever made it, if the kernel can: since Linux 5.16.

    A frame's own bytes are looked at: what else is said of it is its maker's to say.
    """
    packed = [_socket.inet_pton(_socket.AF_INET6 if ":" in one else _socket.AF_INET, one) for one in addresses]
    devices = [name for _, name in _socket.if_nameindex() if name != "lo"]
    messages = [nft.message(nft.NEW_TABLE, NLM_F_CREATE, text(1, _TABLE), family=_FAMILY_NETDEV)]
    for device in devices:
        chain = f"{_CHAIN}-{device}"
        hook = nested(4, nft.number(1, _EGRESS), attribute(2, struct.pack("!i", 0)), text(3, device))
        names = text(1, _TABLE), text(3, chain)
        messages.append(
            nft.message(nft.NEW_CHAIN, NLM_F_CREATE, *names, hook, text(7, "filter"), family=_FAMILY_NETDEV)
        )
        for address in packed:
            kind, place = _KINDS[len(address)]
            rule = (
                nft.payload(nft.LINK_HEADER, _TYPE_OFFSET, len(kind)),
                nft.compare(kind),
                nft.payload(nft.LINK_HEADER, place, len(address)),
                nft.compare(address),
                nft.verdict(nft.DROP),
            )
            where = text(1, _TABLE), text(2, chain), nested(4, *rule)
            messages.append(nft.message(nft.NEW_RULE, NLM_F_CREATE | NLM_F_APPEND, *where, family=_FAMILY_NETDEV))
    channel = Netlink(NETLINK_NETFILTER)
    try:
        nft.batch(channel, messages)
    except OSError as error:
        if error.errno not in _NO_SUCH_HOOK:
            raise
    finally:
        channel.close()

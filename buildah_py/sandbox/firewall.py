"""Other packet filters of this machine that drop what is forwarded, such as Docker's or ufw's: a way through them.

A packet is forwarded only if every table lets it. So where a chain of another table drops by default, two rules are put
in front of it that accept what comes from and goes to our bridge; our own table says what of that is dropped. The rules
bear the bridge's name as their comment, by which they are found again and removed, by a later process if need be.
"""

from __future__ import annotations

import errno
import struct

from buildah_py.linux.netlink import NETLINK_NETFILTER, NLM_F_CREATE, Netlink, attribute, attributes, nested
from buildah_py.sandbox import nft

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

_GET_CHAIN, _GET_RULE, _DELETE_RULE = 4, 7, 8
_FAMILIES = (1, 2, 10)
"""inet, IPv4, IPv6."""
_TABLE, _CHAIN, _HANDLE, _EXPRESSIONS, _NOTE = 1, 2, 3, 4, 7
_NAME, _HOOK, _POLICY = 3, 4, 5
_FORWARD, _DROP = 2, 0


class Chain:
    """A chain of somebody's table."""

    __slots__ = ("family", "name", "table")

    def __init__(self, family: int, table: bytes, name: bytes) -> None:
        self.family = family
        self.table = table
        self.name = name


class Passage:
    """The rules for one bridge in other tables."""

    def __init__(self, bridge: str, prefix: str) -> None:
        """Look after `bridge`; the tables of bridges, whose names begin with `prefix`, are ours."""
        self._bridge = bridge
        self._prefix = prefix.encode()
        self._netlink = Netlink(NETLINK_NETFILTER)

    def open(self) -> None:
        """Let through what would be dropped. Raises OSError."""
        for chain in self._dropping():
            rules = []
            for key in (nft.IIFNAME, nft.OIFNAME):
                expressions = nested(_EXPRESSIONS, *nft.interface(key, self._bridge), nft.verdict(nft.ACCEPT))
                note = self._bridge.encode() + b"\0"
                where = attribute(_TABLE, chain.table), attribute(_CHAIN, chain.name)
                rule = nft.message(
                    nft.NEW_RULE,
                    NLM_F_CREATE,  # without the flag for "behind the others": in front of them
                    *where,
                    expressions,
                    attribute(_NOTE, bytes([0, len(note)]) + note),
                    family=chain.family,
                )
                rules.append(rule)
            try:
                nft.batch(self._netlink, rules)
            except OSError as error:
                if error.errno not in {errno.EPERM, errno.ENOENT}:  # it belongs to a process, or is gone already
                    raise

    def close(self) -> None:
        """Take the rules away."""
        for chain, handle in list(self._own_rules()):
            where = attribute(_TABLE, chain.table), attribute(_CHAIN, chain.name)
            rule = nft.message(_DELETE_RULE, 0, *where, attribute(_HANDLE, handle), family=chain.family)
            try:
                nft.batch(self._netlink, [rule])
            except OSError as error:
                if error.errno != errno.ENOENT:  # whoever made the table has made it anew meanwhile
                    raise
        self._netlink.close()

    def _dropping(self) -> Iterator[Chain]:
        """Give the chains for forwarded packets that drop what no rule of theirs accepts."""
        for family, found in self._dump(_GET_CHAIN):
            if family not in _FAMILIES or found[_TABLE].startswith(self._prefix) or _HOOK not in found:
                continue
            hook = attributes(found[_HOOK])
            policy = found.get(_POLICY)
            if hook.get(1) == struct.pack("!I", _FORWARD) and policy == struct.pack("!I", _DROP):
                yield Chain(family, found[_TABLE], found[_NAME])

    def _own_rules(self) -> Iterator[tuple[Chain, bytes]]:
        note = self._bridge.encode() + b"\0"
        for family, found in self._dump(_GET_RULE):
            if found.get(_NOTE, b"").endswith(note) and not found[_TABLE].startswith(self._prefix):
                yield Chain(family, found[_TABLE], found[_CHAIN]), found[_HANDLE]

    def _dump(self, kind: int) -> Iterator[tuple[int, dict[int, bytes]]]:
        for body in self._netlink.dump(nft.question(kind)):
            yield body[0], attributes(body[4:])

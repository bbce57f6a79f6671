"""Bridges and pairs of virtual interfaces, made with pyroute2's messages.

Importing `pyroute2` loads asyncio and every protocol it knows, some 100 ms; the message classes alone take 20. So the
package is entered without its `__init__`: only the process that makes networks does this.
"""

from __future__ import annotations

import importlib.util
import struct
import sys
import types
from typing import Any

from buildah_py.linux.netlink import (
    NLM_F_ACK,
    NLM_F_CREATE,
    NLM_F_EXCL,
    NLM_F_REQUEST,
    attribute,
    message,
    nested,
)

_NEW_LINK, _DELETE_LINK, _NEW_ADDRESS, _NEW_ROUTE = 16, 17, 20, 24
_SET_LINK, _BRIDGE, _PROTOCOL_INFO, _PORT_ISOLATED = 19, 7, 12, 33
_UP = 1
_IPV4, _IPV6 = 2, 10
_NO_DUPLICATES_LOOKED_FOR = 2
_MAIN_TABLE, _PROTOCOL_BOOT, _UNICAST = 254, 3, 1


def _enter_package() -> None:
    if "pyroute2" in sys.modules:
        return
    found = importlib.util.find_spec("pyroute2")
    if found is None or found.submodule_search_locations is None:
        raise ModuleNotFoundError("there is no pyroute2", name="pyroute2")
    package = types.ModuleType("pyroute2")
    package.__path__ = list(found.submodule_search_locations)
    package.__spec__ = found
    sys.modules["pyroute2"] = package


_enter_package()

from pyroute2.netlink.rtnl.ifaddrmsg import ifaddrmsg  # noqa: E402
from pyroute2.netlink.rtnl.ifinfmsg import ifinfmsg  # noqa: E402
from pyroute2.netlink.rtnl.rtmsg import rtmsg  # noqa: E402


def _encode(message: Any, kind: int, flags: int, fields: dict[str, Any], attributes: list[tuple[str, Any]]) -> bytes:
    message["header"]["type"] = kind
    message["header"]["flags"] = flags | NLM_F_REQUEST | NLM_F_ACK
    for name, value in fields.items():
        message[name] = value
    message["attrs"] = attributes
    message.encode()
    return bytes(message.data)


def new_bridge(name: str, group: int, mtu: int) -> bytes:
    """Make a bridge."""
    kind = {"attrs": [("IFLA_INFO_KIND", "bridge")]}
    attributes = [("IFLA_IFNAME", name), ("IFLA_GROUP", group), ("IFLA_MTU", mtu), ("IFLA_LINKINFO", kind)]
    return _encode(ifinfmsg(), _NEW_LINK, NLM_F_CREATE | NLM_F_EXCL, {}, attributes)


def new_pair(name: str, group: int, mtu: int, bridge: int, namespace: int, inner: str, inner_index: int) -> bytes:
    """Make a port of a bridge, and its other end as `inner` in a network namespace; both are down."""
    peer = {
        "index": inner_index,
        "attrs": [("IFLA_IFNAME", inner), ("IFLA_MTU", mtu), ("IFLA_NET_NS_FD", namespace)],
    }
    data = {"attrs": [("VETH_INFO_PEER", peer)]}
    kind = {"attrs": [("IFLA_INFO_KIND", "veth"), ("IFLA_INFO_DATA", data)]}
    attributes = [
        ("IFLA_IFNAME", name),
        ("IFLA_GROUP", group),
        ("IFLA_MTU", mtu),
        ("IFLA_MASTER", bridge),
        ("IFLA_LINKINFO", kind),
    ]
    return _encode(ifinfmsg(), _NEW_LINK, NLM_F_CREATE | NLM_F_EXCL, {}, attributes)


def bring_up(index: int) -> bytes:
    """Bring up an interface."""
    return _encode(ifinfmsg(), _NEW_LINK, 0, {"index": index, "flags": _UP, "change": _UP}, [])


def new_address(index: int, address: str, prefix: int, broadcast: str) -> bytes:
    """Give an interface an IPv4 address."""
    attributes = [("IFA_LOCAL", address), ("IFA_ADDRESS", address), ("IFA_BROADCAST", broadcast)]
    fields = {"family": _IPV4, "prefixlen": prefix, "index": index}
    return _encode(ifaddrmsg(), _NEW_ADDRESS, NLM_F_CREATE | NLM_F_EXCL, fields, attributes)


def new_address6(index: int, address: str, prefix: int) -> bytes:
    """Give an interface an IPv6 address, which can be used at once: nobody else can have it."""
    flags = _NO_DUPLICATES_LOOKED_FOR
    fields = {"family": _IPV6, "prefixlen": prefix, "flags": flags, "index": index}
    attributes = [("IFA_ADDRESS", address), ("IFA_FLAGS", flags)]
    return _encode(ifaddrmsg(), _NEW_ADDRESS, NLM_F_CREATE | NLM_F_EXCL, fields, attributes)


def default_route(gateway: str, index: int) -> bytes:
    """Send everything else to a gateway."""
    family = _IPV6 if ":" in gateway else _IPV4
    fields = {"family": family, "table": _MAIN_TABLE, "proto": _PROTOCOL_BOOT, "type": _UNICAST}
    attributes = [("RTA_GATEWAY", gateway), ("RTA_OIF", index)]
    return _encode(rtmsg(), _NEW_ROUTE, NLM_F_CREATE | NLM_F_EXCL, fields, attributes)


def isolate(index: int) -> bytes:
    """Have the port of a bridge exchange nothing with other isolated ports (IFLA_BRPORT_ISOLATED, linux/if_link.h)."""
    header = struct.pack("=BxHiII", _BRIDGE, 0, index, 0, 0)
    port = nested(_PROTOCOL_INFO, attribute(_PORT_ISOLATED, b"\1"))
    return message(_SET_LINK, NLM_F_ACK, header + port)


def delete_group(group: int) -> bytes:
    """Delete every interface of a group at once."""
    return _encode(ifinfmsg(), _DELETE_LINK, 0, {}, [("IFLA_GROUP", group)])

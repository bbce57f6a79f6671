"""Disbelief in what containers say on their network: routers, redirects, addresses."""

from __future__ import annotations

import os

_SETTINGS = "/proc/sys/net"
_SAID = (
    ("ipv6", (("accept_ra", "0"), ("autoconf", "0"), ("accept_redirects", "0"), ("addr_gen_mode", "1"))),
    (
        "ipv4",
        (
            ("accept_redirects", "0"),
            ("secure_redirects", "0"),
            ("send_redirects", "0"),
            ("accept_source_route", "0"),
            ("rp_filter", "1"),
            ("arp_accept", "0"),
            ("arp_ignore", "1"),
        ),
    ),
)
"""Of single interfaces, ip-sysctl; an addr_gen_mode of 1 is to have no address but those that are given to it."""


def distrust(interface: str) -> None:
    """Set up an interface, while it is down, so that nothing said on it changes the machine. Raises OSError."""
    for family, settings in _SAID:
        directory = f"{_SETTINGS}/{family}/conf/{interface}"
        if os.path.isdir(directory):  # a kernel may have no IPv6
            for name, value in settings:
                with open(f"{directory}/{name}", "w", encoding="ascii") as file:
                    file.write(value)

"""A router in the lab: it translates addresses, as most at home do, and its memory can be wiped.

The rule: who is behind it reaches everybody; what comes in that nobody has asked for is dropped without a word. What it
remembers of connections lives in the kernel; it is wiped by the kernel's own message for that, so no further tool is
needed.
"""

from __future__ import annotations

import sys

from springline.tests.network.tools import ip, nft, within

_FORGET = """
import socket, struct
CTNETLINK, DELETE, REQUEST, ACK = 1, 2, 1, 4
with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 12) as sock:  # NETLINK_NETFILTER
    sock.send(struct.pack("=IHHII", 20, CTNETLINK << 8 | DELETE, REQUEST | ACK, 1, 0) + bytes(4))
    error = struct.unpack_from("=IHHIIi", sock.recv(4096))[5]
assert error == 0, error
"""
"""Deletes every entry of the connection table (linux/netfilter/nfnetlink_conntrack.h)."""


class Router:
    """A namespace with an interface ``outside`` and one ``inside``."""

    outside = "outside"
    inside = "inside"

    def __init__(self, namespace: str) -> None:
        self.namespace = namespace
        within(namespace, "sh", "-c", "echo 1 > /proc/sys/net/ipv4/ip_forward")
        self.translate()

    def translate(self, ports: str = "10000-19999") -> None:
        """Callers from inside appear at these ports outside."""
        nft(
            self.namespace,
            "table ip nat { chain out { type nat hook postrouting priority 100; "
            f"oifname outside meta l4proto {{ tcp, udp }} masquerade to :{ports}; }}; }}\n"
            "table inet wall {\n"
            "chain through { type filter hook forward priority 0; "
            "ct status dnat accept; ct state invalid drop; iifname outside ct state new drop; }\n"
            "chain in { type filter hook input priority 0; iifname outside meta l4proto tcp drop; }\n"
            "}\n",
        )

    def move(self, address: str) -> None:
        """Get another address outside, and begin anew with it."""
        ip("-n", self.namespace, "address", "flush", "dev", self.outside)
        ip("-n", self.namespace, "address", "add", f"{address}/24", "dev", self.outside)
        within(self.namespace, sys.executable, "-c", _FORGET)

    def forget(self) -> None:
        """Be started anew: nothing is known of the connections that were open; callers appear at other ports."""
        self.translate("20000-29999")
        within(self.namespace, sys.executable, "-c", _FORGET)

    def insist(self) -> None:
        """From now on packets of connections it has not seen begin are dropped, instead of translated."""
        within(self.namespace, "sh", "-c", "echo 0 > /proc/sys/net/netfilter/nf_conntrack_tcp_loose")

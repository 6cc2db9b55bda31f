"""Which address of a device is tried next. Pure: what is known of each one is given.

The rule is RFC 8305's (§4): the best first, then the two families take turns, each in the order of its ranks, so that
a network where one of them leads nowhere costs one interval and not a list of them. What comes later (a name that has
been looked up, an address that was found meanwhile) goes where its rank says. Nothing is tried twice in one dial, and
the number of tries is bounded, whoever names the addresses.
"""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Iterable
from dataclasses import dataclass, field

from springline.transport.address import Address

MOST = 48
"""Tries in one dial; what is beyond has to wait for the next one."""

Rank = tuple[int, int]
"""Lower is earlier."""


@dataclass(frozen=True, slots=True)
class Target:
    """One thing to connect to.

    :param address: as it was given: a name stays a name. :param ip: IPv4 or IPv6 without scope.
    :param scope: index of the interface an IPv6 link-local address is at, or 0.
    """

    address: Address
    ip: str
    scope: int = 0

    @property
    def family(self) -> int:
        """``AF_INET`` or ``AF_INET6``."""
        return int(socket.AF_INET6 if ":" in self.ip else socket.AF_INET)

    @property
    def sockaddr(self) -> tuple[str, int] | tuple[str, int, int, int]:
        """What ``connect`` takes."""
        port = self.address.port
        return (self.ip, port, 0, self.scope) if ":" in self.ip else (self.ip, port)

    def __str__(self) -> str:
        named = self.address.host.partition("%")[0] != self.ip
        return f"{self.address} ({self.ip})" if named else str(self.address)


def plain(text: str) -> str:
    """An IP address in its one form: without scope, and IPv4 for what is IPv4 in an IPv6 one.

    :raises ValueError: it is none.
    """
    ip = ipaddress.ip_address(text.partition("%")[0])
    mapped = ip.ipv4_mapped if isinstance(ip, ipaddress.IPv6Address) else None
    return str(mapped or ip)


def objection(ip: str, port: int) -> str:
    """Why nothing can be reached there, whoever named it; or ``""``."""
    found = ipaddress.ip_address(ip)
    if port == 0:
        return "0 is no port to reach anybody at"
    if found.is_unspecified or found.is_multicast or ip == "255.255.255.255":
        return "that is not the address of one device"
    return ""


@dataclass(slots=True)
class Lineup:
    """The targets of one dial that are still to be tried.

    :param left_out: how many were not taken, because there are :data:`MOST`.
    """

    left_out: int = 0
    _waiting: list[tuple[Rank, int, Target]] = field(default_factory=list)
    _seen: set[tuple[str, int, int]] = field(default_factory=set)
    _last: int = 0

    def add(self, rank: Rank, targets: Iterable[Target]) -> None:
        """These as well; of the same rank in the order given."""
        for target in targets:
            key = target.ip, target.address.port, target.scope
            if key in self._seen:
                continue
            if len(self._seen) >= MOST:
                self.left_out += 1
                continue
            self._waiting.append((rank, len(self._seen), target))
            self._seen.add(key)

    def next(self) -> Target | None:
        """The one to try now; None if there is none at the moment."""
        if not self._waiting:
            return None
        chosen = min(self._waiting, key=lambda one: (one[2].family == self._last, one[:2]))
        self._waiting.remove(chosen)
        self._last = chosen[2].family
        return chosen[2]

    def __len__(self) -> int:
        return len(self._waiting)

"""Callers who have not shown yet who they are: how many may wait, and who has to leave for another. Pure.

The rule: when the room is full, the oldest caller of the source that has the most of them leaves. So a source that
calls a thousand times pushes out nobody but itself, and one that calls for the first time always gets in. A source is
an IPv4 address or an IPv6 /64, which is what one customer gets (RFC 6177 §2).
"""

from __future__ import annotations

import ipaddress
from collections import OrderedDict
from typing import Generic, TypeVar

Caller = TypeVar("Caller")


def source_of(host: str) -> str:
    """What callers from ``host`` (an IP address) are counted under."""
    ip = ipaddress.ip_address(host.partition("%")[0])
    if isinstance(ip, ipaddress.IPv6Address):
        if ip.ipv4_mapped is not None:
            return str(ip.ipv4_mapped)
        return str(ipaddress.IPv6Network((int(ip) >> 64 << 64, 64)))
    return str(ip)


class Anteroom(Generic[Caller]):
    """:param most: how many may be inside. Callers are told apart by identity."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._sources: dict[str, OrderedDict[int, Caller]] = {}
        self._inside: dict[int, str] = {}

    def enter(self, caller: Caller, source: str) -> Caller | None:
        """Let ``caller`` in; whoever is returned has to leave for it, and is out already."""
        self._sources.setdefault(source, OrderedDict())[id(caller)] = caller
        self._inside[id(caller)] = source
        if len(self._inside) <= self._most:
            return None
        fullest = max(self._sources.values(), key=len)
        out = next(iter(fullest.values()))
        self.leave(out)
        return out

    def leave(self, caller: Caller) -> None:
        """It is gone, or has shown who it is; again does no harm."""
        source = self._inside.pop(id(caller), None)
        if source is not None:
            callers = self._sources[source]
            del callers[id(caller)]
            if not callers:
                del self._sources[source]

    @property
    def inside(self) -> list[Caller]:
        """Everybody."""
        return [caller for callers in self._sources.values() for caller in callers.values()]

    def __len__(self) -> int:
        return len(self._inside)

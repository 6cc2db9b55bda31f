"""Callers who have not shown yet who they are: how many may wait, and who has to leave for another. Pure.

The rule: when the room is full, somebody leaves of the source that has the most callers in it. So a source that calls a
thousand times pushes out nobody but itself, and one that calls for the first time always gets in. A source is an IPv4
address or an IPv6 /64, which is what one customer gets (RFC 6177 §2).

Who of that source leaves: its oldest, once it has had its time, or silent callers would keep a room for themselves;
before that its newest, which has cost nothing yet. Were it always the oldest, hundreds of devices that call at once of
one network would push each other out just before their turn, and nobody would ever get in.
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
    """Callers are told apart by identity.

    :param most: how many may be inside. :param fair: seconds that each may have, even if others want to come in.
    """

    def __init__(self, most: int, fair: float) -> None:
        self._most, self._fair = most, fair
        self._sources: dict[str, OrderedDict[int, tuple[Caller, float]]] = {}
        self._inside: dict[int, str] = {}

    def enter(self, caller: Caller, source: str, now: float) -> Caller | None:
        """Let ``caller`` in; whoever is returned has to leave, ``caller`` itself maybe, and is out already.

        :param now: monotonic seconds.
        """
        self._sources.setdefault(source, OrderedDict())[id(caller)] = caller, now
        self._inside[id(caller)] = source
        if len(self._inside) <= self._most:
            return None
        fullest = max(self._sources.values(), key=len)
        out, since = next(iter(fullest.values()))
        if since + self._fair > now:
            out, _ = next(reversed(fullest.values()))
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
        return [caller for callers in self._sources.values() for caller, _ in callers.values()]

    def __contains__(self, caller: Caller) -> bool:
        return id(caller) in self._inside

    def __len__(self) -> int:
        return len(self._inside)

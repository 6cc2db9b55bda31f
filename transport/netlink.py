"""The Linux kernel as it tells of the network: a socket on which it rings, and one for each time it is asked.

The rule: what it rings with is only looked through for whether it matters; what is so is asked anew. So nothing is
built up from messages of which the kernel may drop some (then it says ``ENOBUFS``, which is a ring, too), and a view is
always one that the kernel has shown. Datagrams of other processes, which may write to such sockets, are dropped unread.

Routes are not listed, for a router has a million of them: the kernel is asked which way a packet would go. That takes
every rule and every metric into account, as a default route alone does not (think of tunnels).
"""

from __future__ import annotations

import ipaddress
import os
import socket

from springline.errors import Malformed
from springline.transport import rtnetlink
from springline.transport.network import OUTSIDE, Place, View, Way
from springline.transport.rtnetlink import Done, Link, News, Placed, Refused, Route

WIDE = 8
"""Bits of a destination at most that the way out may depend on; tunnels take the world in two halves."""

MOST_AT_ONCE = 64
"""Datagrams read at a time: more than what a change brings."""

MOST_IN_ANSWER = 10_000
"""Datagrams in one answer: far more than any machine's interfaces need."""

PATIENCE = 2.0
"""Seconds for an answer, which the kernel gives at once."""

_MOST_BYTES = 1 << 16


class Bell:
    """Rings when something may have changed. :raises OSError: there is no such thing here, or it is refused."""

    def __init__(self) -> None:
        self._bell = _opened(rtnetlink.GROUPS)
        self._bell.setblocking(False)

    def fileno(self) -> int:
        """Readable when the kernel rings."""
        return self._bell.fileno()

    def close(self) -> None:
        """Let go of the socket."""
        self._bell.close()

    def matters(self) -> bool:
        """Read what the kernel has rung with; whether it is worth a look."""
        found = False
        for _ in range(MOST_AT_ONCE):
            try:
                found |= any(map(is_worth_a_look, _received(self._bell)))
            except BlockingIOError:
                break
            except (OSError, Malformed):  # ENOBUFS: more has happened than it could tell
                found = True
        return found


def look() -> View:
    """The network as it is. :raises OSError: the kernel does not say. :raises Malformed: it says nonsense."""
    with _opened(0) as sock:
        sock.settimeout(PATIENCE)
        links = {news.index: news for news in _ask(sock, rtnetlink.all_links()) if isinstance(news, Link)}
        placed = [news for news in _ask(sock, rtnetlink.all_addresses()) if isinstance(news, Placed)]
        ways = [_way(sock, family, links) for family in OUTSIDE]
    return seen(links, placed, [way for way in ways if way is not None])


def _ask(sock: socket.socket, question: bytes) -> list[News]:
    sock.send(question)
    answer: list[News] = []
    for _ in range(MOST_IN_ANSWER):
        for news in _received(sock):
            if isinstance(news, Refused) and news.errno:
                raise OSError(news.errno, os.strerror(news.errno))
            answer.append(news)
            if isinstance(news, Done | Route | Refused):
                return answer
    raise Malformed("the kernel's answer does not end")


def _way(sock: socket.socket, family: int, links: dict[int, Link]) -> Way | None:
    try:
        route = _ask(sock, rtnetlink.route_to(OUTSIDE[family]))[0]
    except OSError:  # there is none, or this family is not there
        return None
    link = links.get(route.index) if isinstance(route, Route) else None
    if not isinstance(route, Route) or link is None or link.loopback:
        return None
    return Way(family, link.name, route.gateway)


def seen(links: dict[int, Link], placed: list[Placed], ways: list[Way]) -> View:
    """What matters of all that: usable addresses that are not this machine's own affair."""
    places, carrying = set(), set()
    for one in placed:
        link = links.get(one.index)
        if link is None or link.member or not one.usable or ipaddress.ip_address(one.ip).is_loopback:
            continue
        places.add(Place(link.name, one.ip))
        if link.running:
            carrying.add(link.name)
    return View(frozenset(places), frozenset(carrying), frozenset(ways))


def is_worth_a_look(news: News) -> bool:
    """True if a view could differ by it."""
    match news:
        case Link(member=member, loopback=loopback):
            return not member and not loopback
        case Placed(ip=ip):
            return not ipaddress.ip_address(ip).is_loopback
        case Route(prefix=prefix):
            return prefix <= WIDE
        case Done() | Refused():
            return False
    return True


def _opened(groups: int) -> socket.socket:
    sock = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, socket.NETLINK_ROUTE)
    try:
        sock.bind((0, groups))
    except BaseException:
        sock.close()
        raise
    return sock


def _received(sock: socket.socket) -> tuple[News, ...]:
    data, _, flags, sender = sock.recvmsg(_MOST_BYTES)
    if sender[0] != 0:  # not the kernel's
        return ()
    if flags & socket.MSG_TRUNC:
        raise Malformed("a netlink datagram is too long")
    return rtnetlink.read_untrusted(data)

"""A node of the distributed table in which devices find each other over the internet: it keeps, asks and answers.

The rule: everything that comes in is a stranger's. Datagrams are parsed by one parser, answered within a pace, and
dropped without a trace otherwise; what is found is checked by the key of its place, and all that passes is handed on.

The id is random, and another one after each change of the network: nobody can follow a device by it from one address to
another. A node whose sockets are on this machine only never sends anything beyond it.
"""

from __future__ import annotations

import asyncio
import contextlib
import secrets
import socket
from collections import OrderedDict
from collections.abc import Callable, Iterable, Sequence

from springline.errors import Malformed
from springline.transport.address import Address
from springline.transport.discovery import parcels
from springline.transport.discovery.calls import At, Calls
from springline.transport.discovery.crawl import Crawl
from springline.transport.discovery.datagrams import (
    MOST_SIZE,
    NODE_SIZE,
    Again,
    Contact,
    Stored,
    Told,
    pack,
    parse_untrusted,
)
from springline.transport.discovery.parcels import Parcel
from springline.transport.discovery.routes import ANYWHERE, HERE, NEAR, NOWHERE, Routes, reach
from springline.transport.discovery.serving import Servant
from springline.transport.discovery.shelf import Shelf
from springline.transport.discovery.sockets import family_of
from springline.transport.interfaces import here
from springline.transport.lineup import plain

AT_A_TIME = 4
"""Nodes asked at a time in one search; the *alpha* of Kademlia."""

AT_ONCE = 64
"""Datagrams taken from a socket before others have a turn."""

FORMER = 6
"""Of the nodes that a former search has found at a place, how many the next one begins with."""

MOST_PLACES = 512
"""Places whose nearest nodes are remembered, so that the next search there is short."""


class Table:
    """:param listeners: sockets from ``sockets.bind``, which become its own.

    :param present: tells this machine's addresses.
    """

    def __init__(self, listeners: Sequence[socket.socket], present: Callable[[], Iterable[str]] = here) -> None:
        self._loop = asyncio.get_running_loop()
        self._sockets = {sock.family: sock for sock in listeners}
        self._stays_here = all(reach(sock.getsockname()[0]) == HERE for sock in listeners)
        self._present = present
        self.is_mapped = False
        """Whether a router passes on what comes to it from outside."""
        self.shelf = Shelf()
        self._begin()
        for sock in listeners:
            self._loop.add_reader(sock.fileno(), self._readable, sock)

    def _begin(self) -> None:
        self._own = secrets.token_bytes(NODE_SIZE)
        self._is_open = any(reach(ip) == ANYWHERE for ip in self._present())
        self._routes = Routes(self._own)
        self._servant = Servant(self._own, self.shelf, self._routes)
        self._calls = Calls(self._own, self._send, self._is_guest_of)
        self._near: OrderedDict[bytes, tuple[Contact, ...]] = OrderedDict()

    def close(self) -> None:
        """Let go of the sockets; again does no harm."""
        while self._sockets:
            _, sock = self._sockets.popitem()
            self._loop.remove_reader(sock.fileno())
            sock.close()

    # -- how it is -------------------------------------------------------------------------------------------------

    @property
    def addresses(self) -> tuple[Address, ...]:
        """Where it can be asked."""
        return tuple(Address(*sock.getsockname()[:2]) for sock in self._sockets.values())

    @property
    def neighbours(self) -> int:
        """How many nodes it knows."""
        return len(self._routes)

    @property
    def answered(self) -> float | None:
        """Seconds since somebody has last given an answer; None if nobody ever did."""
        at = self._calls.answered_at
        return None if at is None else self._loop.time() - at

    # -- what it does ----------------------------------------------------------------------------------------------

    async def join(self, nodes: Iterable[At]) -> bool:
        """Become known to these nodes and those near; whether anybody has answered."""
        answers = await asyncio.gather(*(self._greet(at) for at in dict.fromkeys(nodes) if self._may_ask(at)))
        if any(answers):
            await self._search(self._own)
        return any(answers)

    async def refresh(self) -> bool:
        """Learn who is near, and somewhere else; whether anybody has answered."""
        found = [await self._search(place) for place in (self._own, secrets.token_bytes(NODE_SIZE))]
        return any(crawl.nearest for crawl, _ in found)

    def renew(self) -> tuple[At, ...]:
        """The network has changed: be another node, at the same sockets. Whom it knew, to join again."""
        known = tuple(contact.at for contact in self._routes.nearest(self._own, 32))
        self._begin()
        return known

    async def put(self, parcel: Parcel) -> int:
        """Bring a parcel to the nodes near its place; how many keep it."""
        crawl, _ = await self._search(parcel.place)
        kept = await asyncio.gather(*(self._calls.store(contact.at, parcel.packed) for contact in crawl.nearest))
        return sum(kept)

    async def get(self, place: bytes) -> tuple[Parcel, ...]:
        """Everything that lies there and belongs there, whoever keeps it."""
        _, packed = await self._search(place)
        found = dict.fromkeys(self.shelf.get(place, self._loop.time()))
        for one in packed:
            with contextlib.suppress(Malformed):
                found[parcels.parse_untrusted(one, place)] = None
        return tuple(found)

    # -- searching -------------------------------------------------------------------------------------------------

    async def _search(self, place: bytes) -> tuple[Crawl, tuple[bytes, ...]]:
        """Ask the nodes nearest to that place; everything they say lies there."""
        known = dict.fromkeys((*self._near.pop(place, ())[:FORMER], *self._routes.nearest(place)))
        crawl = Crawl(place, self._own, [one for one in known if self._may_ask(one.at)][:NEAR])
        found: dict[bytes, None] = {}
        running: dict[asyncio.Task[None], None] = {}
        try:
            while True:
                while len(running) < AT_A_TIME and (contact := crawl.next()) is not None:
                    running[self._loop.create_task(self._ask(contact, place, crawl, found))] = None
                if not running:
                    break
                done, _ = await asyncio.wait(running, return_when=asyncio.FIRST_COMPLETED)
                for task in done:
                    del running[task]
                    task.result()
        finally:
            for task in running:
                task.cancel()
        self._near[place] = crawl.nearest
        if len(self._near) > MOST_PLACES:
            self._near.popitem(last=False)
        return crawl, tuple(found)

    async def _ask(self, contact: Contact, place: bytes, crawl: Crawl, found: dict[bytes, None]) -> None:
        """One step of a search."""
        calls, routes, since = self._calls, self._routes, self._loop.time()
        told = await calls.find(contact.at, place) if self._may_ask(contact.at) else None
        if told is not None:
            if told.node != contact.node:
                routes.remove(contact)
            routes.add(Contact(told.node, *contact.at))
            crawl.answered(contact, told.node, told.contacts)
            found.update(dict.fromkeys(told.parcels))
        else:
            crawl.failed(contact)
            if calls.answered_at is not None and calls.answered_at > since:
                routes.remove(contact)  # others do answer, so it is not our own network

    async def _greet(self, at: At) -> bool:
        routes, own = self._routes, self._own
        told = await self._calls.find(at, own)
        if told is not None:
            routes.add(Contact(told.node, *at))
        return told is not None and told.node != own

    def _is_guest_of(self, ip: str) -> bool:
        """Whether who is there can't ask us."""
        return reach(ip) == ANYWHERE and not (self._is_open or self.is_mapped)

    # -- datagrams -------------------------------------------------------------------------------------------------

    def _may_ask(self, at: At) -> bool:
        if family_of(at[0]) not in self._sockets or reach(*at) == NOWHERE:
            return False
        return reach(*at) == HERE or not self._stays_here

    def _send(self, datagram: bytes, at: At) -> None:
        sock = self._sockets.get(family_of(at[0]))
        if sock is not None:
            with contextlib.suppress(OSError):  # it may get lost, and this is one of the ways
                sock.sendto(datagram, at)

    def _readable(self, sock: socket.socket) -> None:
        for _ in range(AT_ONCE):
            try:
                datagram, sockaddr = sock.recvfrom(MOST_SIZE + 1)
            except OSError:  # nothing more, or what the system tells of a datagram that came back
                return
            self._received(datagram, (plain(sockaddr[0]), sockaddr[1]))

    def _received(self, datagram: bytes, at: At) -> None:
        try:
            said = parse_untrusted(datagram)
        except Malformed:
            return
        if isinstance(said, (Again, Told, Stored)):
            self._calls.take(said, at)
        elif self._may_ask(at) and (answer := self._servant.answer(said, at, self._loop.time())) is not None:
            self._send(pack(answer), at)

"""Racing the ways to a peer: start the best one first, the next one a little later, keep the first that works.

The rule is RFC 8305's ("happy eyeballs"): attempts start :data:`STAGGER` seconds apart, or at once when one has failed,
in the order of :class:`~springline.transport.lineup.Lineup`; the first to finish wins and the others are cancelled.
Names are looked up meanwhile, and further addresses may join while the race runs. What "works" means is the caller's
business: an attempt may be a connect alone, or a connect and a handshake. A race that is lost tells why for each way.

A socket that is connected to its own end, or to a listener of this very device, is none: an address that other devices
have in their networks too, or a router that sends us back to ourselves, must not look like a peer that is silent.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
from collections.abc import Callable, Coroutine, Hashable, Iterable, Sequence
from typing import Any, Generic, TypeVar

from springline.errors import SpringlineError, Unreachable
from springline.transport.address import Address
from springline.transport.lineup import Lineup, Target, plain
from springline.transport.places import Place
from springline.transport.resolving import Resolver, in_figures
from springline.transport.trouble import Itself, Silent

STAGGER = 0.25
"""Seconds between the starts of two attempts (RFC 8305 §5 recommends 250 ms)."""

CONNECT_TIMEOUT = 5.0
"""Seconds one TCP connect may take."""

PATIENCE = 12.0
"""Seconds a race may take: less than a link waits for its dial (``link.DIAL_DEADLINE``), so that the reasons get
there."""

USER_TIMEOUT = 10.0
"""Seconds after which a connection is dead whose data is not acknowledged (RFC 5482), where the system can do that."""

EVERYWHERE = ("0.0.0.0", "::")  # noqa: S104 - compared with, not bound
"""A listener at one of these is at every address of its family."""

MOST_TOLD = 12
"""Failures told one by one."""

MOST_JOINED = 64
"""Addresses that may be given in one go."""

Won = TypeVar("Won")
Attempt = Callable[[Target], Coroutine[Any, Any, Won]]


class Race(Generic[Won]):
    """One race.

    :param attempt: tries one target; cancelled when another has won.
    :param discard: closes the result of an attempt that finished together with the winner.
    :param resolver: looks names up. :param owner: on whose account.
    :param stagger: seconds between two starts. :param patience: seconds for all of it.
    """

    def __init__(
        self,
        attempt: Attempt[Won],
        discard: Callable[[Won], object],
        resolver: Resolver,
        owner: Hashable = None,
        *,
        stagger: float = STAGGER,
        patience: float = PATIENCE,
    ) -> None:
        self._attempt, self._discard, self._resolver, self._owner = attempt, discard, resolver, owner
        self._stagger, self._patience = stagger, patience
        self._lineup = Lineup()
        self._batches = 0
        self._lookups: dict[asyncio.Task[None], Address] = {}
        self._running: dict[asyncio.Task[Won], Target] = {}
        self._failures: dict[str, str] = {}
        self._joined: set[Address] = set()
        self._news = asyncio.Event()

    def join(self, addresses: Sequence[Address]) -> None:
        """Try these as well, best first; they come before those that have not been tried yet."""
        self._batches += 1
        for position, address in enumerate(addresses[:MOST_JOINED]):
            if address in self._joined:
                continue
            self._joined.add(address)
            rank = -self._batches, position
            try:
                found = in_figures(address)
            except Unreachable as error:
                self._failures[str(address)] = error.message
                continue
            if found is None:
                lookup = asyncio.ensure_future(self._look_up(rank, address))
                self._lookups[lookup] = address
                lookup.add_done_callback(self._looked_up)
            else:
                self._lineup.add(rank, found)
        self._news.set()

    def enter(self, targets: Sequence[Target]) -> None:
        """Try these, which are known already."""
        self._joined.update(target.address for target in targets)
        self._lineup.add((0, 0), targets)
        self._news.set()

    async def _look_up(self, rank: tuple[int, int], address: Address) -> None:
        try:
            self._lineup.add(rank, await self._resolver.resolve(address, self._owner))
        except Unreachable as error:
            self._failures[str(address)] = error.message

    def _looked_up(self, lookup: asyncio.Task[None]) -> None:
        self._lookups.pop(lookup, None)
        self._news.set()

    async def run(self) -> Won:
        """The result of the first attempt that succeeds.

        :raises Unreachable: there are no addresses, or every attempt failed, or time is up; the message tells why for
            each of them.
        """
        try:
            async with asyncio.timeout(self._patience):
                return await self._run()
        except TimeoutError:
            self._failures.update((str(target), "no answer in time") for target in self._running.values())
            self._failures.update((str(name), "the name was not found in time") for name in self._lookups.values())
            raise Unreachable(self._story()) from None
        finally:
            await self._call_off()

    async def _run(self) -> Won:
        loop = asyncio.get_running_loop()
        due = loop.time()
        while True:
            if loop.time() >= due and (target := self._lineup.next()) is not None:
                self._running[asyncio.ensure_future(self._attempt(target))] = target
                due = loop.time() + self._stagger
            elif not (self._running or self._lookups or self._lineup):
                raise self._lost()
            await self._wait(due)
            for task in [task for task in self._running if task.done()]:
                target = self._running.pop(task)
                error = task.exception()
                if error is None:
                    return task.result()
                self._failures[str(target)] = reason(error)
                due = loop.time()

    async def _wait(self, due: float) -> None:
        """Until an attempt is over, there is news, or the next start is due."""
        timeout = max(0.0, due - asyncio.get_running_loop().time()) if self._lineup else None
        news = asyncio.ensure_future(self._news.wait())
        try:
            await asyncio.wait({news, *self._running}, timeout=timeout, return_when=asyncio.FIRST_COMPLETED)
        finally:
            news.cancel()
        self._news.clear()

    async def _call_off(self) -> None:
        for task in (*self._lookups, *self._running):
            task.cancel()
        for late in await asyncio.gather(*self._running, return_exceptions=True):
            if not isinstance(late, BaseException):
                self._discard(late)

    def _lost(self) -> Unreachable:
        if not self._joined:
            return Unreachable("no address is known", "give one, or wait until the other device calls")
        return Unreachable(self._story())

    def _story(self) -> str:
        told = [f"{where}: {why}" for where, why in sorted(self._failures.items())[:MOST_TOLD]]
        if more := len(self._failures) - len(told):
            told.append(f"{more} more failed")
        if untried := len(self._lineup) + self._lineup.left_out:
            told.append(f"{untried} more not tried")
        return "; ".join(told)


async def race(
    addresses: Sequence[Address],
    attempt: Attempt[Won],
    discard: Callable[[Won], object],
    resolver: Resolver | None = None,
    stagger: float = STAGGER,
) -> Won:
    """A race with nobody joining; arguments and errors as of :class:`Race`."""
    one = Race(attempt, discard, resolver or Resolver(), stagger=stagger)
    one.join(addresses)
    return await one.run()


async def connect(target: Target, place: Place | None = None, own: Iterable[Address] = ()) -> socket.socket:
    """A connected, non-blocking TCP socket; the caller's to close.

    :param place: is left early if somebody else needs it. :param own: where this device listens.
    :raises OSError: as the system says. :raises Silent: no answer in :data:`CONNECT_TIMEOUT` seconds.
    :raises Itself: it is this device.
    """
    loop = asyncio.get_running_loop()
    sock = socket.socket(target.family, socket.SOCK_STREAM)
    began = loop.time()
    try:
        sock.setblocking(False)
        tune(sock)
        async with asyncio.timeout(CONNECT_TIMEOUT) as patience:
            if place is not None:
                place.give_way = lambda: None if patience.expired() else patience.reschedule(loop.time())
            await loop.sock_connect(sock, target.sockaddr)
        if is_self(sock, own):
            raise Itself("that is this device itself")
    except TimeoutError:
        sock.close()
        raise Silent(f"no answer in {loop.time() - began:.0f} s") from None
    except BaseException:
        sock.close()
        raise
    finally:
        if place is not None:
            place.give_way = None
    return sock


def tune(sock: socket.socket) -> None:
    """What every TCP socket of a link is set to: no delay, and no endless retransmission."""
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    option = getattr(socket, "TCP_USER_TIMEOUT", None)
    if option is not None:
        with contextlib.suppress(OSError):
            sock.setsockopt(socket.IPPROTO_TCP, option, int(USER_TIMEOUT * 1000))


def is_self(sock: socket.socket, own: Iterable[Address]) -> bool:
    """True if the socket's other end is in this device.

    :param own: where this device listens.
    """
    try:
        here, there = sock.getsockname(), sock.getpeername()
    except OSError:  # it is gone already
        return False
    ip, port = plain(there[0]), there[1]
    if here[:2] == there[:2]:
        return True  # the two opened each other (RFC 9293 §3.5), which happens with the ports of outgoing connections
    ours = ip == plain(here[0]) or ip == "::1" or ip.startswith("127.")
    return any(
        listener.port == port and (listener.host.partition("%")[0] == ip or (ours and listener.host in EVERYWHERE))
        for listener in own
    )


def reason(error: BaseException) -> str:
    """Why an attempt has failed, in a few words for people."""
    if isinstance(error, SpringlineError):
        return error.message
    if isinstance(error, TimeoutError):
        return "no answer in time"
    if isinstance(error, OSError) and error.errno:
        return os.strerror(error.errno).lower()  # its own text is asyncio's, and says less
    return str(error) or type(error).__name__

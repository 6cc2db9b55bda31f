"""Racing the ways to a peer: start the best address first, the next one a little later, keep the first that works.

The rule is RFC 8305's ("happy eyeballs"): attempts start ``STAGGER`` seconds apart, or at once when the one before has
failed, in the order given (last good first); the first to finish wins and the others are cancelled. What "works" means
is the caller's business: an attempt may be a connect alone or a connect and a handshake.
"""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Awaitable, Callable, Sequence
from typing import TypeVar

from springline.errors import Unreachable
from springline.transport.address import Address

STAGGER = 0.25
"""Seconds between the starts of two attempts (RFC 8305 §5 recommends 250 ms)."""

CONNECT_TIMEOUT = 5.0
"""Seconds one TCP connect may take."""

Won = TypeVar("Won")


async def race(
    addresses: Sequence[Address],
    attempt: Callable[[Address], Awaitable[Won]],
    discard: Callable[[Won], None],
    stagger: float = STAGGER,
) -> Won:
    """The result of the first attempt that succeeds.

    :param addresses: best first.
    :param attempt: tries one address; cancelled when another has won.
    :param discard: closes the result of an attempt that finished together with the winner.
    :param stagger: seconds between two starts.
    :raises Unreachable: there are no addresses, or every attempt failed; the message tells why for each.
    """
    if not addresses:
        raise Unreachable("no address is known", "give one, or wait until the other device calls")
    waiting = list(addresses)
    running: dict[asyncio.Task[Won], Address] = {}
    failures: list[str] = []
    try:
        while waiting or running:
            if waiting:
                address = waiting.pop(0)
                running[asyncio.ensure_future(attempt(address))] = address
            timeout = stagger if waiting else None
            done, _ = await asyncio.wait(running, timeout=timeout, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                address = running.pop(task)
                error = task.exception()
                if error is None:
                    return task.result()
                failures.append(f"{address}: {_reason(error)}")
    finally:
        for task in running:
            task.cancel()
        for late in await asyncio.gather(*running, return_exceptions=True):
            if not isinstance(late, BaseException):
                discard(late)
    raise Unreachable("; ".join(failures))


async def connect(address: Address) -> socket.socket:
    """A connected, non-blocking TCP socket; the caller's to close.

    :raises OSError: as the system says. :raises TimeoutError: after :data:`CONNECT_TIMEOUT`.
    """
    loop = asyncio.get_running_loop()
    async with asyncio.timeout(CONNECT_TIMEOUT):
        found = await loop.getaddrinfo(address.host, address.port, type=socket.SOCK_STREAM)
        family, kind, protocol, _, target = found[0]
        sock = socket.socket(family, kind, protocol)
        try:
            sock.setblocking(False)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            await loop.sock_connect(sock, target)
        except BaseException:
            sock.close()
            raise
    return sock


def _reason(error: BaseException) -> str:
    if isinstance(error, TimeoutError):
        return "no answer in time"
    if isinstance(error, OSError) and error.errno:
        return os.strerror(error.errno).lower()  # its own text is asyncio's, and says less
    return str(error) or type(error).__name__

"""Asking a router by NAT-PMP: questions are repeated for a few seconds, and only the router's own answers count.

The rule: a socket that is connected to the router hears nobody else; what it hears is read by ``natpmp.py``, and what
is no answer to the question is dropped. A router that is silent or sends a million of wrong ones costs the same few
seconds.
"""

from __future__ import annotations

import asyncio
import socket

from springline.errors import Malformed, Refused, TimedOut
from springline.transport.address import Address
from springline.transport.ports import natpmp
from springline.transport.ports.keeping import LIFETIME, Grant, Router
from springline.transport.ports.natpmp import Answer, Mapped, Outside

METHOD = "NAT-PMP"

PAUSES = (0.25, 0.5, 1.0, 2.0)
"""Seconds after each repetition of a question (RFC 6886 §3.1; beyond these there is no NAT-PMP)."""

MOST_WRONG = 64
"""Datagrams that are no answer, per question: more are noise that is not worth hearing."""


async def outside(router: Router, port: int = natpmp.PORT) -> Outside:
    """Its address outside. :raises SpringlineError: it does not say."""
    answer = await _ask(router, port, natpmp.which_outside())
    assert isinstance(answer, Outside)  # noqa: S101 - matched with the question
    return answer


async def grant(router: Router, own: int, wanted: int, *, udp: bool, port: int = natpmp.PORT) -> Grant:
    """Have TCP (and, if it will, UDP) to port ``own`` passed on. :param wanted: the port outside, if it is free.

    :raises SpringlineError: it will not.
    """
    where = await outside(router, port)
    tcp = await _map(router, port, own, wanted, LIFETIME, udp=False)
    both = udp and await _datagrams_too(router, port, own, tcp.given)
    return Grant(METHOD, Address(where.ip, tcp.given), both, float(tcp.seconds), float(tcp.epoch))


async def give_back(router: Router, own: int, *, udp: bool, port: int = natpmp.PORT) -> None:
    """It is not needed any more. :raises SpringlineError: the router does not hear."""
    await _map(router, port, own, 0, 0, udp=False)
    if udp:
        await _map(router, port, own, 0, 0, udp=True)


async def _datagrams_too(router: Router, port: int, own: int, given: int) -> bool:
    """Under another number they would be of no use: others know one port. What is granted then goes back."""
    try:
        mapped = await _map(router, port, own, given, LIFETIME, udp=True)
        if mapped.given != given:
            await _map(router, port, own, 0, 0, udp=True)
    except (Refused, TimedOut):
        return False
    return mapped.given == given


async def _map(router: Router, port: int, own: int, wanted: int, seconds: int, *, udp: bool) -> Mapped:
    answer = await _ask(router, port, natpmp.map_port(own, wanted, seconds, udp=udp))
    assert isinstance(answer, Mapped)  # noqa: S101 - matched with the question
    if seconds and not answer.seconds:
        raise Refused("it grants no time")
    return answer


async def _ask(router: Router, port: int, question: bytes) -> Answer:
    loop = asyncio.get_running_loop()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.setblocking(False)
        try:
            sock.bind((router.own, 0))
            sock.connect((router.way.gateway, port))
            for pause in PAUSES:
                await loop.sock_sendall(sock, question)
                try:
                    async with asyncio.timeout(pause):
                        return await _answer(loop, sock, question)
                except TimeoutError:
                    continue
        except OSError as error:  # refused: there is no such thing at that port
            raise Refused((error.strerror or str(error)).lower()) from None
    raise TimedOut("no answer")


async def _answer(loop: asyncio.AbstractEventLoop, sock: socket.socket, question: bytes) -> Answer:
    for _ in range(MOST_WRONG):
        try:
            answer = natpmp.read_untrusted(await loop.sock_recv(sock, natpmp.MOST_BYTES))
        except Malformed:
            continue
        if isinstance(answer, natpmp.Refused):
            raise Refused(answer.why)
        if natpmp.answers(question, answer):
            return answer
    raise Refused("it answers nonsense")

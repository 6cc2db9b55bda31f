"""Asking a router that is this very process, on 127.0.0.1: one that is honest, deaf for a while, or talks nonsense."""

from __future__ import annotations

import asyncio
import struct
from collections.abc import Awaitable, Callable
from typing import TypeVar, cast

import pytest

from springline.errors import Refused, TimedOut
from springline.transport.address import Address
from springline.transport.network import Way
from springline.transport.ports import natpmp_client
from springline.transport.ports.keeping import LIFETIME, Grant, Router
from springline.transport.ports.natpmp_client import MOST_WRONG, give_back, grant, outside

HERE = "127.0.0.1"
ROUTER = Router(HERE, Way(4, "lo", HERE))
OUTSIDE = "93.184.216.34"

T = TypeVar("T")
Say = Callable[[bytes], list[bytes]]


class Server(asyncio.DatagramProtocol):
    """:param say: the answers to a question."""

    def __init__(self, say: Say) -> None:
        self.say, self.heard = say, list[bytes]()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.DatagramTransport", transport)

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        self.heard.append(data)
        for answer in self.say(data):
            self.transport.sendto(answer, addr)


def honest(question: bytes, given: int | None = None) -> bytes:
    head = bytes((0, question[1] + 128)) + struct.pack("!HI", 0, 77)
    if question[1] == 0:
        return head + bytes(map(int, OUTSIDE.split(".")))
    own, wanted, seconds = struct.unpack("!HHI", question[4:])
    return head + struct.pack("!HHI", own, (given or wanted) if seconds else 0, seconds)


def asked(say: Say, work: Callable[[int], Awaitable[T]]) -> tuple[T, list[bytes]]:
    """What comes of it, and the questions the router has heard."""

    async def play() -> tuple[T, list[bytes]]:
        loop = asyncio.get_running_loop()
        transport, server = await loop.create_datagram_endpoint(lambda: Server(say), local_addr=(HERE, 0))
        try:
            return await work(transport.get_extra_info("sockname")[1]), server.heard
        finally:
            transport.close()

    return asyncio.run(play())


def mapped(say: Say) -> tuple[Grant, list[bytes]]:
    return asked(say, lambda port: grant(ROUTER, 7400, 7400, udp=True, port=port))


@pytest.fixture(autouse=True)
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(natpmp_client, "PAUSES", (0.05, 0.05, 0.05, 5.0))


def test_what_an_honest_router_grants_and_takes_back() -> None:
    granted, heard = mapped(lambda question: [honest(question)])
    assert granted == Grant("NAT-PMP", Address(OUTSIDE, 7400), True, LIFETIME, 77)
    assert [question[1] for question in heard] == [0, 2, 1]
    _, heard = asked(lambda question: [honest(question)], lambda port: give_back(ROUTER, 7400, udp=True, port=port))
    assert [(question[1], question[4:]) for question in heard] == [
        (2, struct.pack("!HHI", 7400, 0, 0)),
        (1, struct.pack("!HHI", 7400, 0, 0)),
    ]


def test_questions_that_are_lost_are_repeated() -> None:
    turns = iter([[], [], [True]])
    answer, heard = asked(
        lambda question: [honest(question)] if next(turns) else [], lambda port: outside(ROUTER, port)
    )  # fmt: skip
    assert answer.ip == OUTSIDE
    assert heard == [b"\0\0"] * 3


def test_answers_to_other_questions_and_nonsense_are_passed_over() -> None:
    def say(question: bytes) -> list[bytes]:
        other = b"\0\2\0\0" + struct.pack("!HHI", 7401, 7401, 60)
        return [b"", b"\x01" * 12, honest(other), honest(b"\0\0") if question[1] else b"x", honest(question)]

    assert mapped(say)[0].outside == Address(OUTSIDE, 7400)


def test_datagrams_under_another_number_are_given_back() -> None:
    granted, heard = mapped(lambda question: [honest(question, 7500 if question[1] == 1 else None)])
    assert not granted.udp
    assert heard[-1] == b"\0\1\0\0" + struct.pack("!HHI", 7400, 0, 0)


def test_one_that_passes_on_no_datagrams_passes_on_calls() -> None:
    no = b"\0\x81" + struct.pack("!HI", 5, 77)
    granted, _ = mapped(lambda question: [no if question[1] == 1 else honest(question)])
    assert (granted.udp, granted.outside) == (False, Address(OUTSIDE, 7400))


@pytest.mark.parametrize(
    ("say", "why"),
    [
        (lambda _: [b"\0\x80" + struct.pack("!HI", 3, 1)], "no address itself"),
        (lambda _: [b"x" * 12] * (MOST_WRONG + 1), "nonsense"),
        (lambda question: [honest(question[:8] + b"\0\0\0\0" if question[1] else question)], "no time"),
    ],
)
def test_routers_that_do_not(say: Say, why: str) -> None:
    with pytest.raises(Refused, match=why):
        mapped(say)


def test_a_silent_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(natpmp_client, "PAUSES", (0.05,))
    with pytest.raises(TimedOut):
        mapped(lambda _: [])


def test_where_nobody_is() -> None:
    transport_port = asked(lambda _: [], _port_of)[0]
    with pytest.raises((Refused, TimedOut)):
        asyncio.run(outside(ROUTER, transport_port))


async def _port_of(port: int) -> int:
    return port

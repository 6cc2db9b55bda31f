"""One message at a time over a real socket, and one that comes while somebody decides."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Awaitable, Callable

import pytest

from springline.errors import Malformed
from springline.protocols.pairing.talk import Talk
from springline.transport.noise import SessionKeys
from springline.transport.session import Session

ONE, OTHER, HASH = b"1" * 32, b"2" * 32, b"h" * 32


def between(body: Callable[[Talk, Talk, socket.socket], Awaitable[None]]) -> None:
    """Run ``body`` with both ends, and the second one's bare socket."""

    async def run() -> None:
        here, there = socket.socketpair()
        with here, there:
            here.setblocking(False)
            there.setblocking(False)
            left = Talk(here, Session(SessionKeys(ONE, OTHER, HASH)))
            right = Talk(there, Session(SessionKeys(OTHER, ONE, HASH)))
            try:
                await body(left, right, there)
            finally:
                left.close()
                right.close()

    asyncio.run(run())


def test_there_and_back() -> None:
    async def body(left: Talk, right: Talk, _: socket.socket) -> None:
        for message in (b"", b"one", b"x" * 8000):
            await left.say(message)
            assert await right.hear() == message
            await right.say(message)
            assert await left.hear() == message

    between(body)


def test_a_decision_before_the_message_loses_none() -> None:
    async def body(left: Talk, right: Talk, _: socket.socket) -> None:
        decision = asyncio.get_running_loop().create_future()
        waiting = asyncio.create_task(left.hear_before(decision))
        await asyncio.sleep(0)
        decision.set_result(True)
        assert await waiting is None
        await right.say(b"later")
        assert await left.hear() == b"later"

    between(body)


def test_a_message_before_the_decision() -> None:
    async def body(left: Talk, right: Talk, _: socket.socket) -> None:
        decision = asyncio.get_running_loop().create_future()
        await right.say(b"first")
        assert await left.hear_before(decision) == b"first"
        decision.set_result(True)
        assert await left.hear_before(decision) is None

    between(body)


def test_hanging_up_is_heard_while_somebody_decides() -> None:
    async def body(left: Talk, right: Talk, there: socket.socket) -> None:
        decision = asyncio.get_running_loop().create_future()
        there.shutdown(socket.SHUT_RDWR)
        with pytest.raises(ConnectionError):
            await left.hear_before(decision)

    between(body)


@pytest.mark.parametrize("raw", [b"\x00\x0f" + bytes(15), b"\xff\xff", b"\x00\x20" + bytes(32)])
def test_what_is_no_message_is_malformed(raw: bytes) -> None:
    async def body(left: Talk, right: Talk, there: socket.socket) -> None:
        there.send(raw)
        with pytest.raises(Malformed):
            await left.hear()

    between(body)


def test_the_end_is_waited_for_and_not_for_ever() -> None:
    async def body(left: Talk, right: Talk, there: socket.socket) -> None:
        await left.end(0.0)
        waiting = asyncio.create_task(left.end(60.0))
        await asyncio.sleep(0)
        assert not waiting.done()
        there.shutdown(socket.SHUT_RDWR)
        await waiting

    between(body)

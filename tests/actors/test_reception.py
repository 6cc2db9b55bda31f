"""The transport's incoming half on real sockets, with a Keystore of straw: hundreds of callers, and nobody starves."""

from __future__ import annotations

import asyncio
import contextlib
import random
import socket
import sys
from collections.abc import Callable, Coroutine
from typing import Any
from uuid import UUID

import pytest

from springline.actors import reception as module
from springline.actors.messages import Answered, AnswerHandshake, Authenticated, SessionUp
from springline.actors.reception import Reception
from springline.errors import Refused
from springline.transport.address import Address
from springline.transport.handshaking import read_frame, send_frame
from springline.transport.listening import Listener, bound
from springline.transport.noise import FIRST_FRAME, MAC_SIZE, SECOND_FRAME, SessionKeys, confirm, mac1, mac1_key

OWN_KEY = bytes(range(32))
HERE = SessionKeys(b"s" * 32, b"r" * 32, b"n" * 32)
THERE = SessionKeys(HERE.receive, HERE.send, HERE.hash)
ANSWER = b"2" * SECOND_FRAME
CALLERS = 120
PESTS = 80

several_hosts = pytest.mark.skipif(sys.platform != "linux", reason="only Linux has all of 127.0.0.0/8")


class Actor:
    """What a Reception needs of its actor. Its Keystore does one handshake after the other, and counts who waits."""

    def __init__(self) -> None:
        self.loop = asyncio.get_running_loop()
        self.sessions: set[UUID] = set()
        self.asked = self.waiting = self.most_waiting = 0
        self.busy = asyncio.Event()
        self._turn = asyncio.Lock()
        self.tasks: set[asyncio.Task[object]] = set()

    def tell(self, target: str, message: object) -> bool:
        if isinstance(message, SessionUp):
            self.sessions.add(message.session.device)
        return True

    async def ask(self, target: str, body: object, timeout: float = 5.0) -> object:
        assert isinstance(body, AnswerHandshake)
        self.asked += 1
        self.waiting += 1
        self.most_waiting = max(self.most_waiting, self.waiting)
        if self.waiting == module.MOST_GREETINGS:
            self.busy.set()
        try:
            async with self._turn:
                await asyncio.sleep(0.001)
        finally:
            self.waiting -= 1
        device = UUID(bytes=body.frame[MAC_SIZE : MAC_SIZE + 16])
        if device.int == 0:
            raise Refused("the caller is not paired")
        return Answered(ANSWER, Authenticated(device, HERE, 1))

    def spawn(self, work: Coroutine[Any, Any, object]) -> asyncio.Task[object]:
        task = self.loop.create_task(work)
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)
        return task


def first_frame(device: UUID) -> bytes:
    message = device.bytes.ljust(FIRST_FRAME - MAC_SIZE, b"\0")
    return mac1(mac1_key(OWN_KEY), message) + message


async def call(where: Address, device: UUID, host: str, *, confirms: bool = True) -> None:
    """One call from that host, until the other side hangs up or has our confirm."""
    with socket.socket() as sock:
        sock.setblocking(False)
        sock.bind((host, 0))
        loop = asyncio.get_running_loop()
        with contextlib.suppress(OSError):
            await loop.sock_connect(sock, (where.host, where.port))
            await send_frame(sock, first_frame(device))
            await read_frame(sock, SECOND_FRAME)
            if confirms:
                await send_frame(sock, confirm(THERE))
            await loop.sock_recv(sock, 1)


Scene = Callable[[Actor, Address], Coroutine[Any, Any, None]]


def played(scene: Scene) -> None:
    async def play() -> None:
        actor = Actor()
        reception = Reception(actor, OWN_KEY)  # type: ignore[arg-type]
        listener = Listener(bound(Address("127.0.0.1", 0)), Address("127.0.0.1", 0))
        listener.sock.setblocking(False)
        reception.open(listener)
        try:
            await scene(actor, Address(*listener.sock.getsockname()))
        finally:
            reception.shut(listener)
            reception.close()
            for task in list(actor.tasks):
                task.cancel()
            await asyncio.gather(*actor.tasks, return_exceptions=True)
        assert len(reception._strangers) == len(reception._guests) == reception._greetings.taken == 0

    asyncio.run(play())


@pytest.fixture(autouse=True)
def small_rooms(monkeypatch: pytest.MonkeyPatch) -> None:
    """All of it is done in one loop, callers included: what counts is how many there are for the rooms."""
    monkeypatch.setattr(module, "MOST_STRANGERS", 16)
    monkeypatch.setattr(module, "MOST_GUESTS", 32)
    monkeypatch.setattr(module, "MOST_GREETINGS", 4)


async def come_back(actor: Actor, where: Address, device: UUID, host: str) -> None:
    """As a link does: again and again, with full jitter, until it has a session."""
    draw, pause = random.Random(device.int), 0.1
    while device not in actor.sessions:
        await call(where, device, host)
        await asyncio.sleep(pause * draw.random())
        pause = min(2 * pause, 30.0)


def test_many_devices_of_one_network_return_at_once_and_no_handshake_is_for_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Far more than there is room for; whoever was let in is not pushed out by those who come after."""
    for limit in ("DEADLINE", "STRANGERS_TIME", "GUESTS_TIME"):  # a busy machine is not what is tested
        monkeypatch.setattr(module, limit, 3600.0)

    async def scene(actor: Actor, where: Address) -> None:
        devices = [UUID(int=number) for number in range(1, CALLERS + 1)]
        await asyncio.gather(*(come_back(actor, where, device, "127.0.0.1") for device in devices))
        assert actor.asked == CALLERS
        assert actor.most_waiting <= module.MOST_GREETINGS

    played(scene)


@several_hosts
@pytest.mark.parametrize("device", [UUID(int=0), UUID(int=10_000)], ids=["not paired", "never confirms"])
def test_one_network_that_calls_without_end_keeps_nobody_of_the_others_out(device: UUID) -> None:
    """It has the key to the door: each of its calls costs a handshake, and those that are answered stay inside."""

    async def scene(actor: Actor, where: Address) -> None:
        async def pester() -> None:
            while True:
                await call(where, device, "127.0.0.66", confirms=False)

        pests = [asyncio.ensure_future(pester()) for _ in range(PESTS)]
        await actor.busy.wait()
        hosts = {UUID(int=number): f"127.0.1.{number}" for number in range(1, 31)}
        await asyncio.gather(*(come_back(actor, where, device, host) for device, host in hosts.items()))
        for pest in pests:
            pest.cancel()
        await asyncio.gather(*pests, return_exceptions=True)

    played(scene)

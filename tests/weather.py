"""A TCP proxy on loopback that misbehaves on request: slow, lossy, deaf, or cut off.

The rule: it stands where a bad network would stand, between two real nodes, and changes no byte. What a lost packet is
to IP is to TCP a pause, until it has been sent again; so ``loss`` is the chance that a chunk waits ``RESEND`` seconds,
and all behind it. A blackhole takes everything and passes nothing on, the end of a connection included; the sender's
kernel goes on acknowledging, as one in front of a sleeping router does. Chances are drawn from a seed.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import socket
import struct
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from types import TracebackType

CHUNK = 64 << 10
RESEND = 0.2
"""Seconds until TCP sends a lost packet again (the least of Linux's retransmission time-outs)."""


@dataclass
class Weather:
    """What the network is like; may change at any time.

    :param delay: seconds every chunk takes, each way. :param jitter: seconds it may take longer.
    :param rate: bytes a second, each way; 0 for as many as come.
    :param loss: the chance of a chunk to be lost and sent again.
    :param deaf: nothing gets through to the target. :param mute: nothing comes back from it.
    :param closed: whoever calls is cut off. :param span: bytes after which every connection is cut, again and again;
        0 for never.
    """

    delay: float = 0.0
    jitter: float = 0.0
    rate: float = 0.0
    loss: float = 0.0
    deaf: bool = False
    mute: bool = False
    closed: bool = False
    span: int = 0

    def swallows(self, forth: bool) -> bool:
        """Is nothing passed on that way?"""
        return self.deaf if forth else self.mute


@dataclass
class Proxy:
    """Passes on what comes to ``port`` of 127.0.0.1; a context manager.

    :param port: where it listens. :param target: where it passes it on to, on 127.0.0.1.
    """

    port: int
    target: int
    seed: int = 0
    weather: Weather = field(default_factory=Weather)
    passed: int = 0
    """Bytes passed on, both ways."""
    cuts: int = 0
    """How often connections were cut because of ``Weather.span``."""

    def __enter__(self) -> Proxy:
        self._random = random.Random(self.seed)
        self._whole = 0
        self._pairs: set[tuple[socket.socket, socket.socket]] = set()
        self._listener = socket.create_server(("127.0.0.1", self.port))
        self._listener.setblocking(False)
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run, name="proxy")
        self._thread.start()
        return self

    def __exit__(self, _kind: type | None, _error: BaseException | None, _trace: TracebackType | None) -> None:
        self._loop.call_soon_threadsafe(self._main.cancel)
        self._thread.join()

    def cut(self) -> None:
        """Reset every connection there is."""
        self._loop.call_soon_threadsafe(self._cut)

    @contextlib.contextmanager
    def being(self, **weather: float | bool) -> Iterator[None]:
        """Have that weather for a while."""
        before, self.weather = self.weather, Weather(**weather)  # type: ignore[arg-type]
        try:
            yield
        finally:
            self.weather = before

    # -- in its thread -------------------------------------------------------------------------------------------------

    def _run(self) -> None:
        self._main = self._loop.create_task(self._serve())
        with contextlib.suppress(asyncio.CancelledError), self._listener:
            self._loop.run_until_complete(self._main)
        for task in asyncio.all_tasks(self._loop):
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                self._loop.run_until_complete(task)
        self._loop.close()

    async def _serve(self) -> None:
        tasks = set()
        while True:
            caller, _ = await self._loop.sock_accept(self._listener)
            task = self._loop.create_task(self._join(caller))
            tasks.add(task)
            task.add_done_callback(tasks.discard)

    async def _join(self, caller: socket.socket) -> None:
        called = socket.socket()
        called.setblocking(False)
        pair = caller, called
        with caller, called:
            if self.weather.closed:
                return _reset(caller)
            with contextlib.suppress(OSError):
                await self._loop.sock_connect(called, ("127.0.0.1", self.target))
                self._pairs.add(pair)
                both = [
                    asyncio.ensure_future(self._pass(*way)) for way in ((caller, called, True), (called, caller, False))
                ]
                try:
                    await asyncio.wait(both, return_when=asyncio.FIRST_COMPLETED)
                finally:
                    self._pairs.discard(pair)
                    for task in both:
                        task.cancel()
                    await asyncio.gather(*both, return_exceptions=True)

    async def _pass(self, source: socket.socket, sink: socket.socket, forth: bool) -> None:
        """Chunks keep their order and overlap in time, as on a wire."""
        due = 0.0
        wire: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue(16)

        async def arrive() -> None:
            while True:
                at, chunk = await wire.get()
                await asyncio.sleep(at - self._loop.time())
                await self._loop.sock_sendall(sink, chunk)
                self._count(len(chunk))

        arriving = asyncio.ensure_future(arrive())
        try:
            while chunk := await self._receive(source):
                weather = self.weather
                if weather.swallows(forth):
                    continue
                pause = weather.delay + weather.jitter * self._random.random()
                if self._random.random() < weather.loss:
                    pause += RESEND
                sending = len(chunk) / weather.rate if weather.rate else 0.0
                due = max(due + sending, self._loop.time() + pause)
                await wire.put((due, chunk))
            while self.weather.swallows(forth):  # noqa: ASYNC110 - the weather is made in another thread
                await asyncio.sleep(0.02)
            await asyncio.sleep(max(0.0, due - self._loop.time()))
        finally:
            arriving.cancel()
            await asyncio.gather(arriving, return_exceptions=True)

    async def _receive(self, source: socket.socket) -> bytes:
        with contextlib.suppress(ConnectionError):
            return await self._loop.sock_recv(source, CHUNK)
        return b""

    def _count(self, size: int) -> None:
        self.passed += size
        self._whole += size
        if 0 < self.weather.span <= self._whole:
            self.cuts += 1
            self._whole = 0
            self._cut()

    def _cut(self) -> None:
        for pair in self._pairs:
            for sock in pair:
                _reset(sock)


def _reset(sock: socket.socket) -> None:
    """Close as a machine does that knows nothing of the connection."""
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    with contextlib.suppress(OSError):
        sock.shutdown(socket.SHUT_RDWR)

"""An authenticated pairing session on its socket: one message at a time, and one that comes while our user is asked."""

from __future__ import annotations

import asyncio
import contextlib
import socket

from springline.errors import Malformed, SpringlineError
from springline.protocols.pairing.exchange import MOST_MESSAGE
from springline.transport.framing import LENGTH_SIZE
from springline.transport.handshaking import read_exactly
from springline.transport.noise import TAG_SIZE
from springline.transport.session import Session


class Talk:
    """:param sock: connected, non-blocking; the caller's to close. :param session: of the finished handshake."""

    def __init__(self, sock: socket.socket, session: Session) -> None:
        self._sock = sock
        self._session = session
        self._coming: asyncio.Task[bytes] | None = None

    async def say(self, message: bytes) -> None:
        """Send one message."""
        await asyncio.get_running_loop().sock_sendall(self._sock, self._session.seal(message))

    async def hear(self) -> bytes:
        """The other side's next message.

        :raises Malformed: it is too large, or not genuine. :raises ConnectionError: it has hung up.
        """
        coming = self._listen()
        await asyncio.wait((coming,))
        self._coming = None
        return coming.result()

    async def hear_before(self, decision: asyncio.Future[bool]) -> bytes | None:
        """The other side's next message, or None if ``decision`` comes first. Errors as of :meth:`hear`."""
        coming = self._listen()
        await asyncio.wait((coming, decision), return_when=asyncio.FIRST_COMPLETED)
        return None if decision.done() else await self.hear()

    async def end(self, patience: float) -> None:
        """Wait until the other side has hung up. :param patience: seconds; it may never."""
        with contextlib.suppress(OSError, SpringlineError, TimeoutError):
            async with asyncio.timeout(patience):
                await self.hear()

    def close(self) -> None:
        """Hear no more."""
        coming = self._coming
        if coming is not None and not coming.cancel() and not coming.cancelled():
            coming.exception()  # it is of no interest any more

    def _listen(self) -> asyncio.Task[bytes]:
        if self._coming is None:
            self._coming = asyncio.get_running_loop().create_task(self._next())
        return self._coming

    async def _next(self) -> bytes:
        size = int.from_bytes(await read_exactly(self._sock, LENGTH_SIZE), "big")
        if not TAG_SIZE <= size <= MOST_MESSAGE:
            raise Malformed("a pairing message of that size is not due")
        body = bytearray(await read_exactly(self._sock, size))
        return bytes(self._session.open(memoryview(body)))

"""How code that is no actor of the engine talks on the bus: a blocking client, and one for an asyncio loop.

The rule: an endpoint has a mailbox of its own and belongs to one thread, or one loop. Every ask carries an id nobody
else has, so an answer that comes after its time is dropped and never taken for the next one. Whoever waits looks up now
and then: if the process it asked is dead, no answer will come, and it says so long before the timeout.
"""

from __future__ import annotations

import asyncio
import itertools
import os
import select
import time
from collections.abc import Callable
from typing import Any

from springline.actors.datagram import Sent
from springline.actors.lifecycle import Ask, Reply
from springline.actors.names import LOOK, alive, incarnation
from springline.actors.wire import Mailbox
from springline.errors import Lost, NotRunning, SpringlineError, TimedOut

_BATCH = 64

LINGER = 1.0
"""Seconds a client that is closed gives what it has sent to leave its backlogs."""


def _is_engines(message: object) -> bool:
    """Whether the engine says that to an actor, e.g. that a message has made another one raise; an endpoint is none."""
    return type(message).__module__.startswith("thespian.")


def _nobody(target: str) -> NotRunning:
    return NotRunning(f"{os.path.basename(target)} is not running")


def _silence(target: str, timeout: float) -> TimedOut:
    return TimedOut(f"no answer from {os.path.basename(target)} in {timeout:g} s")


def _lost(target: str) -> Lost:
    return Lost(f"{os.path.basename(target)} died before it answered")


def _value(reply: Reply) -> Any:
    if isinstance(reply.value, SpringlineError):
        raise reply.value
    return reply.value


class Client:
    """A blocking endpoint; confined to one thread.

    :param directory: the bus directory.
    """

    def __init__(self, directory: str) -> None:
        self._mailbox = Mailbox(directory)
        self._ids = itertools.count(1)
        self._set_aside: list[tuple[str, object]] = []

    @property
    def path(self) -> str:
        """Where messages to this endpoint go."""
        return self._mailbox.path

    def ask(self, target: str, body: object, timeout: float = 5.0) -> Any:
        """Ask an actor and wait for its answer.

        :param target: a registered name or a bus path.
        :param timeout: seconds.
        :raises NotRunning: nobody is there. :raises Lost: it died. :raises TimedOut: no answer came.
        :raises SpringlineError: that was the answer.
        """
        ask_id = next(self._ids)
        asked = incarnation(self._mailbox.directory, target)
        if not self.tell(target, Ask(ask_id, body)):
            raise _nobody(target)
        end = time.monotonic() + timeout
        dead = False
        while (now := time.monotonic()) < end:
            received = self._receive(now if dead else min(end, now + LOOK))
            if received is None:
                if dead:
                    raise _lost(target)
                dead = not alive(asked)  # its last words may have come just now: look once more
            elif not isinstance(received[1], Reply):
                self._set_aside.append(received)
            elif received[1].id == ask_id:
                return _value(received[1])
        raise _silence(target, timeout)

    def tell(self, target: str, body: object) -> bool:
        """Send without waiting for an answer; False if nobody is there."""
        return self._mailbox.send(target, body) in (Sent.DONE, Sent.QUEUED)

    def listen(self, timeout: float | None) -> tuple[str, object] | None:
        """The next message that is no answer, with its sender's path; None after ``timeout`` seconds."""
        end = None if timeout is None else time.monotonic() + timeout
        if self._set_aside:
            return self._set_aside.pop(0)
        while (received := self._receive(end)) is not None:
            if not isinstance(received[1], Reply):
                return received
        return None

    def _receive(self, end: float | None) -> tuple[str, object] | None:
        while (received := self._mailbox.receive()) is None or _is_engines(received[1]):
            if received is not None:
                continue
            poll = select.poll()
            poll.register(self._mailbox.fileno(), select.POLLIN)
            for fd in self._mailbox.pending():
                poll.register(fd, select.POLLOUT)
            left = None if end is None else end - time.monotonic()
            if left is not None and left <= 0:
                return None
            for fd, _ in poll.poll(None if left is None else left * 1000):
                if fd != self._mailbox.fileno():
                    self._mailbox.flush(fd)
        return received

    def close(self) -> None:
        """Close the mailbox; what waits for a full target has :data:`LINGER` seconds to leave."""
        end = time.monotonic() + LINGER
        while (waiting := self._mailbox.pending()) and (left := end - time.monotonic()) > 0:
            poll = select.poll()
            for fd in waiting:
                poll.register(fd, select.POLLOUT)
            for fd, _ in poll.poll(left * 1000):
                self._mailbox.flush(fd)
        self._mailbox.close()


class AsyncEndpoint:
    """An endpoint in the running asyncio loop.

    :param directory: the bus directory.
    :param on_message: called with the sender's path and each message that is no answer to an ask of this endpoint.
    """

    def __init__(self, directory: str, on_message: Callable[[str, object], None]) -> None:
        self._mailbox = Mailbox(directory)
        self._on_message = on_message
        self._ids = itertools.count(1)
        self._asked: dict[int, asyncio.Future[Reply]] = {}
        self._polled: set[int] = set()
        self._loop = asyncio.get_running_loop()
        self._loop.add_reader(self._mailbox.fileno(), self._readable)

    @property
    def path(self) -> str:
        """Where messages to this endpoint go."""
        return self._mailbox.path

    async def ask(self, target: str, body: object, timeout: float = 5.0) -> Any:
        """Ask an actor and await its answer; arguments and errors as of :meth:`Client.ask`."""
        ask_id = next(self._ids)
        asked = incarnation(self._mailbox.directory, target)
        answer: asyncio.Future[Reply] = self._loop.create_future()
        self._asked[ask_id] = answer
        try:
            if not self.tell(target, Ask(ask_id, body)):
                raise _nobody(target)
            end = self._loop.time() + timeout
            while (now := self._loop.time()) < end:
                await asyncio.wait((answer,), timeout=min(LOOK, end - now))
                if answer.done():
                    return _value(answer.result())
                if not alive(asked):
                    self._readable()  # its last words may have come just now
                    if answer.done():
                        return _value(answer.result())
                    raise _lost(target)
            raise _silence(target, timeout)
        finally:
            del self._asked[ask_id]

    def tell(self, target: str, body: object) -> bool:
        """Send without waiting for an answer; False if nobody is there."""
        sent = self._mailbox.send(target, body)
        if sent is not Sent.DONE:  # a backlog is new, or was given up
            self._poll_backlogs()
        return sent in (Sent.DONE, Sent.QUEUED)

    def _poll_backlogs(self) -> None:
        wanted = set(self._mailbox.pending())
        for fd in self._polled - wanted:
            self._loop.remove_writer(fd)
        for fd in wanted - self._polled:
            self._loop.add_writer(fd, self._writable, fd)
        self._polled = wanted

    def _writable(self, fd: int) -> None:
        self._loop.remove_writer(fd)  # before the flush, which may close it
        self._polled.discard(fd)
        self._mailbox.flush(fd)
        self._poll_backlogs()

    def _readable(self) -> None:
        for _ in range(_BATCH):
            received = self._mailbox.receive()
            if received is None:
                return
            sender, message = received
            if isinstance(message, Reply):
                self._resolve(message)
            elif not _is_engines(message):
                self._on_message(sender, message)

    def _resolve(self, reply: Reply) -> None:
        answer = self._asked.get(reply.id)
        if answer is not None and not answer.done():  # else it is too late
            answer.set_result(reply)

    def close(self) -> None:
        """Close the mailbox."""
        self._loop.remove_reader(self._mailbox.fileno())
        for fd in self._polled:
            self._loop.remove_writer(fd)
        self._mailbox.close()

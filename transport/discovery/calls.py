"""A node of the distributed table: what it asks others, and which answers it takes.

The rule: an answer counts if it carries the number of a call that waits, comes from where the question went, and is of
the kind that was asked for. Everything else is dropped, so nobody can answer for somebody else without seeing the
question. A question is sent twice at most. How many wait for an answer is bounded; more have to wait for their turn.
"""

from __future__ import annotations

import asyncio
import secrets
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from springline.transport.discovery.datagrams import (
    CALL_SIZE,
    NO_TOKEN,
    Again,
    Answer,
    Find,
    Question,
    Store,
    Stored,
    Told,
    pack,
)

At = tuple[str, int]
"""An IP address and a port."""

WAITS = (0.6, 1.4)
"""Seconds to wait for an answer to each sending of a question."""

MOST_WAITING = 64
"""Questions without an answer yet."""

MOST_TOKENS = 1024
"""Nodes whose last token is remembered."""

Wanted = TypeVar("Wanted", Told, Stored)


@dataclass(frozen=True, slots=True)
class _Waiting:
    at: At
    wanted: type[Answer]
    answer: asyncio.Future[Answer]


class Calls:
    """:param own: this node's id. :param send: a datagram to a place. :param guest: can't the node there ask us?"""

    def __init__(self, own: bytes, send: Callable[[bytes, At], None], guest: Callable[[str], bool]) -> None:
        self._own, self._send, self._guest = own, send, guest
        self._loop = asyncio.get_running_loop()
        self._waiting: dict[bytes, _Waiting] = {}
        self._places = asyncio.Semaphore(MOST_WAITING)
        self._tokens: OrderedDict[At, bytes] = OrderedDict()
        self.answered_at: float | None = None

    async def find(self, at: At, place: bytes) -> Told | None:
        """What the node there knows of that place; None if it gives no answer."""
        return await self._ask(at, Told, lambda call, token: Find(call, self._own, self._guest(at[0]), token, place))

    async def store(self, at: At, parcel: bytes) -> bool:
        """Whether the node there keeps that parcel."""
        stored = await self._ask(
            at, Stored, lambda call, token: Store(call, self._own, self._guest(at[0]), token, parcel)
        )
        return stored is not None and stored.kept

    def take(self, answer: Answer, at: At) -> None:
        """An answer has come from there."""
        waiting = self._waiting.get(answer.call)
        if waiting is None or waiting.at != at or waiting.answer.done():
            return
        if isinstance(answer, (Again, waiting.wanted)):
            waiting.answer.set_result(answer)
            self.answered_at = self._loop.time()
            self._tokens.pop(at, None)
            self._tokens[at] = answer.token
            if len(self._tokens) > MOST_TOKENS:
                self._tokens.popitem(last=False)

    async def _ask(self, at: At, wanted: type[Wanted], make: Callable[[bytes, bytes], Question]) -> Wanted | None:
        async with self._places:
            for _ in range(2):  # the second time with the token that the first answer has brought
                question = make(secrets.token_bytes(CALL_SIZE), self._tokens.get(at, NO_TOKEN))
                answer = await self._exchange(question, at, wanted)
                if isinstance(answer, wanted):
                    return answer
                if answer is None:
                    return None
        return None

    async def _exchange(self, question: Question, at: At, wanted: type[Answer]) -> Answer | None:
        answer: asyncio.Future[Answer] = self._loop.create_future()
        self._waiting[question.call] = _Waiting(at, wanted, answer)
        try:
            for seconds in WAITS:
                self._send(pack(question), at)
                done, _ = await asyncio.wait((answer,), timeout=seconds)
                if done:
                    return answer.result()
            return None
        finally:
            del self._waiting[question.call]

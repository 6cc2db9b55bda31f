"""A bounded number of places, fairly given to many owners: attempts to connect, questions to the Keystore.

The rule: whoever has the fewest places gets the next one; among equals, who has waited longest. So one owner that wants
a thousand costs the others one turn. Who holds a place may say that it can give way; once others wait, the oldest such
holder that has had :data:`FAIR_TIME` is asked to. Then a place is never lost for long to what may never come.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter, OrderedDict, deque
from collections.abc import AsyncIterator, Callable, Hashable
from dataclasses import dataclass

FAIR_TIME = 1.0
"""Seconds a place is kept while others wait."""


@dataclass(eq=False, slots=True)
class Place:
    """One that is held. :param give_way: asks the holder to leave; None while it can't."""

    owner: Hashable
    since: float
    give_way: Callable[[], object] | None = None


class Places:
    """:param most: how many there are."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._held: OrderedDict[Place, None] = OrderedDict()
        self._owned: Counter[Hashable] = Counter()
        self._waiting: dict[Hashable, deque[asyncio.Future[Place]]] = {}
        self._timer: asyncio.TimerHandle | None = None

    @property
    def taken(self) -> int:
        """How many are held."""
        return len(self._held)

    @contextlib.asynccontextmanager
    async def take(self, owner: Hashable) -> AsyncIterator[Place]:
        """Hold a place, once it is ``owner``'s turn."""
        place = await self._wait(owner)
        try:
            yield place
        finally:
            self._leave(place)

    async def _wait(self, owner: Hashable) -> Place:
        if len(self._held) < self._most and not self._waiting:
            return self._give(owner)
        turn: asyncio.Future[Place] = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(owner, deque()).append(turn)
        self._press()
        try:
            return await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():  # it was given at the same moment
                self._leave(turn.result())
            else:
                self._forget(owner, turn)
            raise

    def _give(self, owner: Hashable) -> Place:
        place = Place(owner, asyncio.get_running_loop().time())
        self._held[place] = None
        self._owned[owner] += 1
        return place

    def _leave(self, place: Place) -> None:
        del self._held[place]
        self._owned[place.owner] -= 1
        if not self._owned[place.owner]:
            del self._owned[place.owner]
        while self._waiting and len(self._held) < self._most:
            owner = min(self._waiting, key=self._owned.__getitem__)
            turn = self._waiting[owner][0]
            self._forget(owner, turn)
            if not turn.done():
                turn.set_result(self._give(owner))

    def _forget(self, owner: Hashable, turn: asyncio.Future[Place]) -> None:
        """Take it out of the queue; its owner goes to the end of those who are equal."""
        queue = self._waiting.pop(owner, deque())
        with contextlib.suppress(ValueError):  # called off, and passed over already
            queue.remove(turn)
        if queue:
            self._waiting[owner] = queue

    def _press(self) -> None:
        """Have those leave who can and have had their time, one for each who waits."""
        if self._timer is not None or not self._waiting:
            return
        loop = asyncio.get_running_loop()
        wanted = sum(map(len, self._waiting.values()))
        for place in list(self._held):
            if place.give_way is None:
                continue
            if wanted == 0 or place.since + FAIR_TIME > loop.time():
                break
            give_way, place.give_way = place.give_way, None
            give_way()
            wanted -= 1
        self._timer = loop.call_later(FAIR_TIME / 4, self._press_again)

    def _press_again(self) -> None:
        self._timer = None
        self._press()

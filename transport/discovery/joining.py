"""How a node becomes, and stays, part of the distributed table.

The rule: whoever is alone asks those it could begin with, again and again, at growing intervals; whoever has company
asks seldom. Intervals stay short while the table is needed, because nobody tells when the way out works again; and whom
it knew before it moved it asks until somebody answers, however often it moves in the meantime. The nodes that were
configured are greeted each time, so that two halves of a table that were apart grow together again. Names are looked up
anew each time, with a bound on how long and how many.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass

from springline.errors import Unreachable
from springline.transport.address import Address
from springline.transport.discovery.calls import At
from springline.transport.discovery.table import Table
from springline.transport.resolving import Resolver

ALONE = (2.0, 300.0)
"""Seconds between two tries while nobody answers: at first, and for long."""

NEEDED = 15.0
"""The same, for long, while somebody is looked for."""

IN_COMPANY = 3600.0
"""Seconds between two looks at who is there."""

MOST_GREETED = 64
"""Addresses greeted in one try."""


@dataclass(slots=True)
class Company:
    """What a node has of it, and when it looks for some. Pure. :param is_alone: nobody has answered the last time."""

    is_alone: bool = True
    _tries: int = 0

    def hurry(self) -> None:
        """Something has changed: it looks at once, and often at first."""
        self._tries = 0

    def looked(self, answered: bool, needed: bool, random: float) -> float:
        """Seconds until the next look.

        :param answered: whether anybody did. :param needed: is somebody looked for? :param random: from [0, 1).
        """
        self.is_alone = not answered
        self._tries = 0 if answered else self._tries + 1
        longest = NEEDED if needed else ALONE[1]
        pause = IN_COMPANY if answered else min(longest, ALONE[0] * 2.0 ** min(self._tries - 1, 16))
        return pause * (0.75 + random / 2)


class Membership:
    """Keeps one node in the table.

    :param bootstrap: where to begin. :param others: further addresses where there may be a node, asked for while alone.
    :param joined: called when there is somebody, after there was nobody. :param needed: is somebody looked for?
    """

    def __init__(
        self,
        table: Table,
        bootstrap: Sequence[Address],
        others: Callable[[], Awaitable[Iterable[Address]]] | None = None,
        joined: Callable[[], object] = lambda: None,
        needed: Callable[[], bool] = lambda: False,
    ) -> None:
        self._joined, self._needed = joined, needed
        self._table, self._bootstrap, self._others = table, tuple(bootstrap), others
        self._resolver = Resolver()
        self._hurry = asyncio.Event()
        self._former: tuple[At, ...] = ()
        self._company = Company()
        self.greeted = 0

    @property
    def is_alone(self) -> bool:
        """Whether nobody has answered the last time."""
        return self._company.is_alone

    def hurry(self, former: Iterable[At] = ()) -> None:
        """Look at once. :param former: nodes that were known before."""
        self._former = tuple(dict.fromkeys((*former, *self._former)))[:MOST_GREETED]
        self._hurry.set()

    async def keep(self) -> None:
        """Stay in the table, for ever."""
        while True:
            self._hurry.clear()
            answered = await self._look()
            if answered and self.is_alone:
                self._joined()
            draw = random.random()  # noqa: S311 - it spreads, it hides nothing
            pause = self._company.looked(answered, self._needed(), draw)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(pause):
                    await self._hurry.wait()
                self._company.hurry()

    async def _look(self) -> bool:
        """Whether anybody is there."""
        former = self._former
        known = await self._table.refresh() if self._table.neighbours else False
        addresses = list(self._bootstrap)
        if not known and self._others is not None:
            addresses += await self._others()
        found = [*former, *(at for some in await asyncio.gather(*map(self._resolve, addresses)) for at in some)]
        nodes = list(dict.fromkeys(found))[:MOST_GREETED]
        self.greeted = len(nodes)
        answered = await self._table.join(nodes)
        if answered and self._former == former:  # else it has moved again
            self._former = ()
        return answered or known

    async def _resolve(self, address: Address) -> list[At]:
        try:
            targets = await self._resolver.resolve(address, address.host)
        except Unreachable:
            return []
        return [(target.ip, target.address.port) for target in targets if not target.scope]

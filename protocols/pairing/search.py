"""Where the device that gave the words may be, as finders tell it. One for each join that looks for it.

The rule: what is told is tried in the order in which it comes, each address a few times at most, because whoever is
there may have been unreachable for a moment; one where somebody else answers is not tried again. All of it is bounded:
finders tell what others have said.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable

from springline.transport.address import Address

MOST_ADDRESSES = 32
"""Different ones that are tried in one search."""

MOST_TRIES = 3
"""Of one address."""


class Search:
    """What has been told, and how often it was tried."""

    def __init__(self) -> None:
        self._tries: dict[Address, int] = {}
        self._next: dict[Address, None] = {}
        self._news = asyncio.Event()

    def tell(self, addresses: Iterable[Address]) -> None:
        """It may be there."""
        for address in addresses:
            known = address in self._tries
            if self._tries.get(address, 0) < MOST_TRIES and (known or len(self._tries) < MOST_ADDRESSES):
                self._tries.setdefault(address, 0)
                self._next[address] = None
                self._news.set()

    def wrong(self, address: Address) -> None:
        """Somebody else is there."""
        self._tries[address] = MOST_TRIES
        self._next.pop(address, None)

    async def next(self) -> tuple[Address, ...]:
        """What to try now; waits until there is something."""
        while not self._next:
            self._news.clear()
            await self._news.wait()
        taken, self._next = tuple(self._next), {}
        for address in taken:
            self._tries[address] += 1
        return taken

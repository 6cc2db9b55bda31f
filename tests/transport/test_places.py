"""Places given to many owners: never more than there are, to everybody in turn, and none is lost."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from springline.transport import places as module
from springline.transport.places import Places


async def settle() -> None:
    for _ in range(10):
        await asyncio.sleep(0)


class Hall:
    """Owners who take places and keep them until told to go."""

    def __init__(self, most: int) -> None:
        self.places = Places(most)
        self.served: list[str] = []
        self._leaving: list[asyncio.Event] = []
        self.tasks: list[asyncio.Task[None]] = []

    def come(self, owner: str) -> None:
        self.tasks.append(asyncio.ensure_future(self._stay(owner)))

    async def _stay(self, owner: str) -> None:
        leaving = asyncio.Event()
        async with self.places.take(owner):
            self.served.append(owner)
            self._leaving.append(leaving)
            await leaving.wait()

    async def one_goes(self) -> None:
        self._leaving.pop(0).set()
        await settle()

    async def all_go(self) -> None:
        while self._leaving:
            await self.one_goes()
        await asyncio.gather(*self.tasks, return_exceptions=True)


def test_one_who_wants_a_thousand_costs_each_other_one_turn() -> None:
    async def scene() -> None:
        hall = Hall(4)
        for _ in range(1000):
            hall.come("greedy")
        await settle()
        others = [f"device {n}" for n in range(300)]
        for other in others:
            hall.come(other)
        await settle()
        for _ in range(310):
            await hall.one_goes()
        assert set(others) <= set(hall.served)
        assert hall.places.taken == 4
        for task in hall.tasks:
            task.cancel()
        await hall.all_go()
        assert hall.places.taken == 0

    asyncio.run(scene())


@given(st.lists(st.tuples(st.sampled_from(["come", "go", "call off"]), st.integers(0, 30)), max_size=60))
def test_no_place_is_lost_or_given_twice(moves: list[tuple[str, int]]) -> None:
    async def scene() -> None:
        hall = Hall(3)
        for move, number in moves:
            if move == "come":
                hall.come(f"owner {number % 4}")
            elif move == "go" and hall._leaving:
                hall._leaving.pop(number % len(hall._leaving)).set()
            elif move == "call off" and hall.tasks:
                hall.tasks[number % len(hall.tasks)].cancel()
            if number % 3:
                await settle()
            assert hall.places.taken <= 3
        await settle()
        waiting = sum(not task.done() for task in hall.tasks)
        assert hall.places.taken == min(3, waiting)
        await hall.all_go()
        assert hall.places.taken == 0
        assert not hall.places._waiting
        assert not hall.places._owned

    asyncio.run(scene())


def test_who_can_give_way_is_asked_when_others_wait_and_its_time_is_over(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "FAIR_TIME", 0.02)

    async def scene() -> None:
        places = Places(2)

        async def stay(asked: asyncio.Event | None) -> None:
            async with places.take("long") as place:
                place.give_way = None if asked is None else asked.set
                await (asked.wait() if asked else asyncio.Event().wait())

        asked = asyncio.Event()
        stubborn, polite = asyncio.ensure_future(stay(None)), asyncio.ensure_future(stay(asked))
        await asyncio.sleep(0.04)
        assert not asked.is_set()  # nobody waits
        async with places.take("new"):
            assert asked.is_set()
        assert not stubborn.done()
        await polite
        stubborn.cancel()
        await asyncio.gather(stubborn, return_exceptions=True)

    asyncio.run(scene())


def test_the_young_are_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "FAIR_TIME", 1000.0)

    async def scene() -> None:
        places = Places(1)
        asked: list[Callable[[], None]] = []
        async with places.take("one") as place:
            place.give_way = lambda: asked.append(lambda: None)
            waiting = asyncio.ensure_future(places.take("two").__aenter__())
            await settle()
            assert not asked
            waiting.cancel()
            await asyncio.gather(waiting, return_exceptions=True)

    asyncio.run(scene())

"""How a node gets company, and keeps it. On loopback."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable, Iterable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from springline.tests.transport.discovery.test_table import at, node, run
from springline.transport.address import Address
from springline.transport.discovery import calls, joining
from springline.transport.discovery.joining import Company, Membership
from springline.transport.discovery.sockets import bind
from springline.transport.discovery.table import Table
from springline.transport.resolving import Resolver


@pytest.fixture(autouse=True)
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(calls, "WAITS", (0.05, 0.1))
    monkeypatch.setattr(joining, "ALONE", (0.05, 0.1))


@given(st.lists(st.sampled_from(["answer", "silence", "hurry"]), max_size=30), st.booleans(), st.floats(0.0, 0.99))
def test_who_is_alone_looks_more_seldom_each_time_and_who_is_needed_never_seldom(
    happens: list[str], needed: bool, random: float
) -> None:
    company, in_vain, (first, longest) = Company(), 0, joining.ALONE
    longest = joining.NEEDED if needed else longest
    for what in happens:
        if what == "hurry":
            company.hurry()
            in_vain = 0
            continue
        pause = company.looked(what == "answer", needed, random)
        assert company.is_alone is (what == "silence")
        usual = joining.IN_COMPANY if what == "answer" else min(longest, first * 2.0**in_vain)
        assert pause == pytest.approx(usual * (0.75 + random / 2))
        in_vain = 0 if what == "answer" else in_vain + 1


async def until(holds: Callable[[], object]) -> None:
    while not holds():  # noqa: ASYNC110
        await asyncio.sleep(0.01)


def test_who_is_alone_goes_on_asking() -> None:
    async def play() -> None:
        first = node()
        where = first.addresses[0]
        first.close()
        second, joined = node(), asyncio.Event()
        membership = Membership(second, [where], joined=joined.set)
        keeping = asyncio.create_task(membership.keep())
        await until(lambda: membership.greeted)
        assert membership.is_alone
        late = _at(where)
        await joined.wait()
        assert second.neighbours == late.neighbours == 1
        keeping.cancel()
        for table in (second, late):
            table.close()

    run(play())


def _at(where: Address) -> Table:
    return Table(bind([where], exactly=True), lambda: ())


def test_others_are_asked_for_while_it_is_alone() -> None:
    async def play() -> None:
        first, second = node(), node()
        asked = 0

        async def others() -> Iterable[Address]:
            nonlocal asked
            asked += 1
            return [first.addresses[0]]

        joined = asyncio.Event()
        membership = Membership(second, [], others, joined.set)
        keeping = asyncio.create_task(membership.keep())
        await joined.wait()
        await until(lambda: not membership.is_alone)
        assert asked == 1
        membership.hurry()
        await until(lambda: not membership._hurry.is_set())
        assert asked == 1  # it has company
        keeping.cancel()
        first.close()
        second.close()

    run(play())


def test_while_it_is_needed_it_never_waits_for_long(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(joining, "ALONE", (600.0, 600.0))
    monkeypatch.setattr(joining, "NEEDED", 0.05)

    async def play() -> None:
        first = node()
        where = first.addresses[0]
        first.close()
        second, joined, in_vain = node(), asyncio.Event(), asyncio.Event()

        def needed() -> bool:
            in_vain.set()
            return True

        keeping = asyncio.create_task(Membership(second, [where], joined=joined.set, needed=needed).keep())
        await in_vain.wait()
        late = _at(where)
        await joined.wait()
        keeping.cancel()
        second.close()
        late.close()

    run(play())


def test_whom_it_knew_is_asked_until_somebody_answers() -> None:
    """It moves, and moves again, before it can reach anybody; nobody else is there to begin with."""

    async def play() -> None:
        first = node()
        where = first.addresses[0]
        second, joined = node(), asyncio.Event()
        await second.join([at(first)])
        first.close()
        membership = Membership(second, [], joined=joined.set)
        keeping = asyncio.create_task(membership.keep())
        membership.hurry(second.renew())
        await until(lambda: membership.greeted)
        membership.hurry(second.renew())  # it knows nobody any more
        await until(lambda: not membership._hurry.is_set())
        late = _at(where)
        await joined.wait()
        assert second.neighbours == 1
        keeping.cancel()
        second.close()
        late.close()

    run(play())


def test_two_halves_grow_together() -> None:
    """They met somebody each, before the one whom both were told of was there."""

    async def play() -> None:
        gone = node()
        where = gone.addresses[0]
        gone.close()
        tables = [node() for _ in range(4)]
        members = [Membership(table, [where]) for table in tables]
        keeping = [asyncio.create_task(member.keep()) for member in members]
        await tables[0].join([at(tables[1])])
        await tables[2].join([at(tables[3])])
        assert [table.neighbours for table in tables] == [1, 1, 1, 1]
        await until(lambda: not any(member.is_alone for member in members))
        middle = _at(where)
        for member in members:
            member.hurry()
        await until(lambda: middle.neighbours == 4)
        for member in members:
            member.hurry()
        await until(lambda: all(table.neighbours == 4 for table in tables))
        for task in keeping:
            task.cancel()
        for table in (*tables, middle):
            table.close()

    run(play())


def test_names_that_are_none_keep_nobody_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    def lookup(name: str, *_: object, **__: object) -> list[Any]:
        if name == "nobody.example":
            raise socket.gaierror(socket.EAI_NONAME, "not known")
        return [(socket.AF_INET, socket.SOCK_STREAM, 0, "", ("127.0.0.1", 0))]

    monkeypatch.setattr(joining, "Resolver", lambda: Resolver(lookup))

    async def play() -> None:
        first, second, joined = node(), node(), asyncio.Event()
        names = [Address("nobody.example", 7400), Address("somebody.example", first.addresses[0].port)]
        keeping = asyncio.create_task(Membership(second, names, joined=joined.set).keep())
        await joined.wait()
        keeping.cancel()
        first.close()
        second.close()

    run(play())

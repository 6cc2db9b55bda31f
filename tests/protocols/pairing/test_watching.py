"""Followers of a pairing miss nothing, whenever they ask."""

from __future__ import annotations

from datetime import UTC, datetime
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from springline.errors import Misuse, PairingFailed
from springline.events import PairingEnded, PairingStage
from springline.protocols.pairing.exchange import Role
from springline.protocols.pairing.watching import (
    MOST,
    MOST_NEWS,
    NOBODY,
    PairingEvent,
    PairingNews,
    Peer,
    Watched,
    Watching,
)
from springline.store.devices import TrustLevel

EARLY = datetime(2026, 1, 1, tzinfo=UTC)
LATE = datetime(2026, 1, 2, tzinfo=UTC)


class Follower:
    """Asks, and asks again when it is answered."""

    def __init__(self, path: str, watched: Watched) -> None:
        self.path = path
        self.watched = watched
        self.seen: list[PairingEvent] = []
        self.waits = False

    def ask(self) -> None:
        while not self.waits and (news := self.watched.follow(len(self.seen), self)) is not None:
            self.seen += news.events
            if self.watched.ended and news.events:
                return
        self.waits = True

    def reply(self, value: object) -> None:
        assert isinstance(value, PairingNews)
        self.seen += value.events
        self.waits = False


def opened(published: list[PairingEvent] | None = None) -> Watched:
    return Watching((published if published is not None else []).append).open(Role.INVITER, confirm=False)


@given(st.lists(st.sampled_from([0, 1, *PairingStage]), max_size=40))
def test_every_follower_sees_every_event_in_order(steps: list[int | PairingStage]) -> None:
    published: list[PairingEvent] = []
    watched = opened(published)
    followers = [Follower("a", watched), Follower("b", watched)]
    for step in steps:
        if isinstance(step, PairingStage):
            watched.progress(step)
        else:
            followers[step].ask()
    watched.end(error=PairingFailed("over", "a hint"))
    for follower in followers:
        if len(follower.seen) < len(published):
            follower.waits = False
            follower.ask()
        assert follower.seen == published
    ended = published[-1]
    assert isinstance(ended, PairingEnded)
    assert (ended.paired, ended.reason, ended.hint) == (False, "over", "a hint")


def test_the_end_is_told_once_and_with_its_error() -> None:
    published: list[PairingEvent] = []
    watched = opened(published)
    error = PairingFailed("over")
    watched.end(error=error)
    watched.end(error=PairingFailed("again"))
    assert len(published) == 1
    news = watched.follow(0, Follower("a", watched))
    assert news is not None
    assert news.error is error


def test_what_is_known_of_the_other_side_is_in_what_follows() -> None:
    published: list[PairingEvent] = []
    watched = opened(published)
    watched.progress(PairingStage.CALLED)
    assert watched.peer is NOBODY
    watched.peer = Peer(UUID(int=1), "phone", "123 456", TrustLevel.REVOKED)
    watched.progress(PairingStage.MET)
    watched.end()
    assert [(event.name, event.sas, event.known) for event in published] == [
        ("", "", None),
        *[("phone", "123 456", TrustLevel.REVOKED)] * 2,
    ]


async def _asked(watched: Watched) -> None:
    decision = watched.ask(LATE)
    watched.decide(True, EARLY)
    assert await decision
    with pytest.raises(Misuse, match="does not wait"):
        watched.decide(False, EARLY)


def test_our_users_word_is_taken_once() -> None:
    import asyncio

    watched = opened()
    with pytest.raises(Misuse, match="does not wait"):
        watched.decide(True, EARLY)
    asyncio.run(_asked(watched))


async def _asked_in_vain(watched: Watched) -> None:
    decision = watched.ask(LATE)
    with pytest.raises(Misuse, match="does not wait"):  # before the node has noticed that the time is up
        watched.decide(True, LATE)
    watched.decide(False, LATE)
    assert not await decision


def test_a_yes_that_comes_too_late_is_none() -> None:
    import asyncio

    asyncio.run(_asked_in_vain(opened()))


def test_memory_is_bounded() -> None:
    published: list[PairingEvent] = []
    watching = Watching(published.append)
    watched = [watching.open(Role.JOINER, confirm=False) for _ in range(MOST)]
    for one in watched[:5]:
        one.end()
    running = watching.open(Role.JOINER, confirm=False)
    assert watching[running.id] is running
    assert watching[watched[5].id] is watched[5]  # what runs is never forgotten
    with pytest.raises(Misuse, match="no such pairing"):
        watching[watched[0].id]
    for _ in range(10 * MOST_NEWS):
        running.progress(PairingStage.BROKEN_OFF)
    assert len(published) == 5 + MOST_NEWS

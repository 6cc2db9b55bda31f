"""The link machine at work: sessions, timer and dials, without a network."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest

from springline.tests.transport.clockwork import Clockwork
from springline.transport import link
from springline.transport.address import Address
from springline.transport.driver import LINGER, LinkDriver
from springline.transport.link import DIAL_DEADLINE, WATCH, Phase
from springline.transport.story import Entry

HERE = Address("192.0.2.1", 7400)


@dataclass
class Channel:
    """Notes what is done to it."""

    local_host: str = "10.0.0.1"
    done: list[str] = field(default_factory=list)
    owner: Link | None = None
    tag: int = 0

    def begin(self) -> None:
        self.done.append("begin")

    def probe(self) -> None:
        self.done.append("probe")

    def look(self) -> None:
        self.done.append("look")

    def goodbye(self, reason: str) -> None:
        self.done.append(f"goodbye: {reason}")

    def lose(self, reason: str) -> None:
        self.done.append("lose")
        assert self.owner is not None
        self.owner.driver.lost(self.tag, reason)


@dataclass
class Session:
    channel: Channel


class Link:
    """A driver and what it tells."""

    def __init__(self, early: float = 0.0) -> None:
        self.clock = Clockwork(early=early)
        self.dials: list[object] = []
        self.over: list[tuple[int, str]] = []
        self.adopts: list[Session] = []
        self.entries: list[Entry] = []
        self.driver: LinkDriver[Session] = LinkDriver(self, link.Retry(), self.clock, lambda: 0.5, lambda: 1e9)

    def dial(self, attempt: int) -> None:
        self.dials.append(attempt)

    def join_dial(self, attempt: int, addresses: tuple[Address, ...]) -> None:
        self.dials.append((attempt, addresses))

    def stop_dialling(self, attempt: int) -> None:
        self.dials.append(-attempt)

    def adopted(self, session: Session) -> None:
        self.adopts.append(session)

    def dropped(self, tag: int, session: Session, reason: str) -> None:
        self.over.append((tag, reason))

    def changed(self, change: link.Changed) -> None:
        pass

    def reported(self, entry: Entry) -> None:
        self.entries.append(entry)

    @property
    def phase(self) -> Phase:
        return self.driver.state.phase

    def session(self, epoch: int, attempt: int | None = None) -> Channel:
        channel = Channel(owner=self, tag=self.driver.next_tag())
        self.driver.established(channel.tag, Session(channel), epoch, by_lower_id=True, attempt=attempt)
        return channel


def test_it_dials_waits_and_dials_again() -> None:
    one = Link()
    one.driver.step(link.Wanted())
    assert one.dials == [1]
    assert one.driver.awaits(1)
    one.driver.step(link.DialFailed(1, "refused"))
    assert not one.driver.awaits(1)
    one.clock.move(0.05)
    assert one.dials == [1, 2]
    assert [entry.evidence for entry in one.entries] == ["", "refused", ""]


@pytest.mark.parametrize("early", [0.0, 1e-7])
def test_a_dial_without_a_result_is_called_off_in_time(early: float) -> None:
    """A loop may call by its clock's resolution too early: nothing is decided then, and the deadline still stands."""
    one = Link(early)
    one.driver.step(link.Wanted())
    one.clock.move(DIAL_DEADLINE + 0.01)
    assert one.dials[:2] == [1, -1]
    assert one.phase is Phase.RECONNECTING
    assert len(one.clock.armed) == 1


def test_a_dial_that_was_called_off_is_not_awaited() -> None:
    one = Link()
    one.driver.step(link.Wanted())
    one.driver.step(link.Hint("the network changed", afresh=True))
    assert one.dials == [1, -1, 2]
    assert not one.driver.awaits(1)
    assert one.driver.awaits(2)


def test_a_newer_session_takes_over_and_the_older_lingers() -> None:
    one = Link()
    one.driver.step(link.Wanted())
    old, new = one.session(1, attempt=1), one.session(2)
    assert one.driver.current == new.tag
    assert old.done == ["begin", "begin"]
    one.clock.move(LINGER)
    assert old.done[-1] == "goodbye: replaced by a newer session"
    assert one.over == [(old.tag, "replaced by a newer session")]
    assert new.done == ["begin"]


def test_disconnecting_closes_what_lingers_too() -> None:
    one = Link()
    one.driver.step(link.Wanted())
    old, new = one.session(1, attempt=1), one.session(2)
    one.driver.step(link.Unwanted())
    assert old.done[-1] == new.done[-1] == "goodbye: disconnected by the user"
    assert not one.driver.sessions
    one.clock.move(10)
    assert len(one.over) == 2


def test_a_session_over_a_lost_address_is_given_up_and_the_others_are_doubted() -> None:
    one = Link()
    one.driver.step(link.Wanted())
    channel = one.session(1, attempt=1)
    one.driver.network_changed("woke", frozenset())
    assert channel.done == ["begin", "probe"]
    one.driver.network_changed("10.0.0.1 is gone", frozenset({"10.0.0.1"}))
    assert channel.done[-1] == "lose"
    assert one.phase is Phase.CONNECTING
    assert one.dials == [1, 2]


def test_it_sees_that_a_session_is_watched() -> None:
    one = Link()
    one.driver.step(link.Wanted())
    channel = one.session(1, attempt=1)
    one.clock.move(2 * WATCH)
    assert channel.done == ["begin", "look", "look"]


def test_what_is_found_joins_the_dial_or_starts_one() -> None:
    one = Link()
    one.driver.found("mDNS", (HERE,), 1.0)
    one.driver.step(link.Wanted())
    assert one.driver.ways(()) == (HERE,)
    one.driver.found("mDNS", (HERE,), 2.0)
    one.driver.found("mDNS", (HERE,), 2.0)  # no news
    assert one.dials == [1, (1, (HERE,))]
    one.driver.step(link.DialFailed(1, "refused"))
    one.driver.found("DHT", (HERE,), 1.0)
    assert one.dials[-1] == 2


def test_a_record_from_the_future_is_used_and_called_what_it_is() -> None:
    one = Link()
    one.driver.step(link.Wanted())
    one.driver.step(link.DialFailed(1, "refused"))
    one.driver.found("mDNS", (HERE,), 1e9 + 365 * 86400)
    assert one.dials == [1, 2]
    assert "one of the two clocks is wrong" in one.entries[-1].evidence
    one.driver.step(link.DialFailed(2, "refused"))
    one.driver.found("DHT", (HERE,), 1e9 + 60)  # clocks differ a little
    assert "clock" not in one.entries[-1].evidence


def test_what_is_lost_twice_is_lost_once() -> None:
    one = Link()
    one.driver.step(link.Wanted())
    channel = one.session(1, attempt=1)
    one.driver.lost(channel.tag, "reset")
    one.driver.lost(channel.tag, "reset")
    assert one.over == [(channel.tag, "reset")]
    one.driver.close("the node is stopping")
    assert channel.done == ["begin"]

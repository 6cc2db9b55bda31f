"""Whose turn it is, where to look, and what lies in the table."""

from __future__ import annotations

from uuid import UUID

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from springline.transport.address import Address
from springline.transport.discovery import tags
from springline.transport.discovery.seeking import AT_ONCE, INVITED, LOOKS, RENEW, Laying, Seeking, Turn, Who
from springline.transport.discovery.tags import PERIOD, Spot
from springline.transport.discovery.watch import Wanted

A, B = UUID(int=1), UUID(int=2)
HERE = (Address("192.0.2.1", 7400),)
SECRET = b"s" * 32
NOON = 100 * PERIOD + 60.0
"""Wall-clock seconds, a minute after a period has begun."""


def turns(seeking: Seeking, now: float = 0.0, wall: float = NOON) -> list[Turn]:
    """All that there are now."""
    found = []
    while (turn := seeking.next(now, wall)) is not None:
        found.append(turn)
    return found


def wanted(device: UUID, wall: float) -> tuple[Wanted[Who], ...]:
    """What the Keystore would say."""
    return tuple(
        Wanted(device, Spot(period, device.bytes[:-2] + period.to_bytes(2, "big"), b"k" * 32), None)
        for period in tags.around(wall)
    )


def seeking(*devices: UUID) -> Seeking:
    made = Seeking()
    made.seek(frozenset(devices), 0.0)
    return made


def put_down(of: Seeking, now: float = 0.0, own: tuple[Address, ...] = HERE) -> None:
    laying = of.lay(A, own, now)
    assert laying
    of.lies(laying)


def test_who_is_sought_is_told_where_we_are_and_looked_for() -> None:
    one = seeking(A)
    assert turns(one) == [Turn(A, 0, False), Turn(A, 0, True)]
    assert seeking().is_needed() is False


def test_an_open_invitation_is_told_and_an_inviter_looked_for_often() -> None:
    one = Seeking()
    one.meet([b"o" * 32], [SECRET], 0.0)
    assert one.is_needed()
    told, looked = turns(one)
    assert (told.who, told.is_look, looked.who, looked.is_look) == (b"o" * 32, False, SECRET, True)
    assert [spot.spot for spot in one.spots(looked)] == [tags.meeting(SECRET)]
    assert not one.must_ask(SECRET, NOON)
    one.over(told, 0.0, 0.5, RENEW)
    now = 0.0
    for taken in range(6):
        one.over(looked, now, 0.5)
        pause = one.wait(now, NOON)
        assert pause == min(LOOKS[min(taken, 3)], INVITED)
        now += pause
        (looked,) = turns(one, now)
    one.meet([], [], now)
    assert not one.is_needed()
    assert one.watch.tags == ()


def test_a_few_at_a_time_and_those_who_tell_come_first() -> None:
    one = seeking(*(UUID(int=number) for number in range(1, 9)))
    first = turns(one)
    assert [turn.is_look for turn in first] == [False] * AT_ONCE
    assert one.wait(0.0, NOON) == RENEW  # until one is over
    one.over(first[0], 0.0, 0.5)
    assert len(turns(one)) == 1


def test_what_lies_there_is_not_put_down_again_until_something_is_different() -> None:
    one = seeking(A)
    turns(one)
    put_down(one)
    assert one.lay(A, HERE, 1.0) is None
    assert one.lay(A, (Address("192.0.2.2", 7400),), 1.0)
    assert one.lay(B, HERE, 1.0)
    assert one.lay(A, HERE, RENEW / 2 + 1)
    turns(one, 1.0, NOON + PERIOD)
    assert one.lay(A, HERE, 1.0)


def test_what_was_under_way_while_the_network_changed_does_not_lie_there() -> None:
    one = seeking(A)
    turns(one)
    laying = one.lay(A, HERE, 0.0)
    assert laying
    one.moved(frozenset({"192.0.2.1"}), 1.0)
    one.lies(laying)
    assert one.lay(A, HERE, 2.0)


def test_whether_we_are_elsewhere() -> None:
    one = seeking(A)
    here, there = frozenset({"192.0.2.1"}), frozenset({"192.0.2.7"})
    assert [one.moved(where, 0.0) for where in (here, here, there, there)] == [False, False, True, False]


def test_all_have_turns_when_the_network_has_changed_and_those_who_are_told_in_each_period() -> None:
    one = seeking(A)
    for turn in turns(one):
        one.over(turn, 0.0, 0.5, 1000.0)
    assert turns(one, 1.0) == []
    assert [turn.is_look for turn in turns(one, 1.0, NOON + PERIOD)] == [False]
    one.over(Turn(A, 0, False), 1.0, 0.5, 1000.0)
    one.moved(frozenset(), 2.0)
    assert [turn.is_look for turn in turns(one, 2.0, NOON + PERIOD)] == [False, True]


def test_it_is_looked_in_the_present_period_and_by_turns_beside_it() -> None:
    one = seeking(A)
    turns(one)
    assert one.must_ask(A, NOON)
    one.look_out(A, wanted(A, NOON))
    assert not one.must_ask(A, NOON)
    assert one.must_ask(A, NOON + PERIOD)
    assert one.must_ask(A, NOON - PERIOD)  # a clock is set back
    periods = [[spot.spot.period for spot in one.spots(Turn(A, taken, True))] for taken in range(3)]
    assert periods == [[100, 101], [99, 100], [100, 101]]


def test_who_is_not_sought_any_more_is_not_looked_out_for() -> None:
    one = seeking(A, B)
    one.look_out(A, wanted(A, NOON))
    one.seek(frozenset({B}), 0.0)
    one.look_out(A, wanted(A, NOON))  # an answer that comes late
    assert one.watch.tags == ()
    assert one.spots(Turn(A, 0, True)) == []
    one.seek(frozenset({A}), 0.0)
    assert one.must_ask(A, NOON)


def test_what_has_ended_is_forgotten() -> None:
    one = seeking(A)
    put_down(one)
    one.seek(frozenset(), RENEW)
    assert one._laid == {}


def test_the_next_period_is_not_slept_through() -> None:
    one = seeking(A)
    for turn in turns(one):
        one.over(turn, 0.0, 0.5, 10 * PERIOD)
    assert one.wait(0.0, 101 * PERIOD - 5.0) == 5.0
    assert 0.0 < one.wait(0.0, 101 * PERIOD + 1.0) < 1.0


devices = st.frozensets(st.sampled_from([UUID(int=number) for number in range(1, 8)]), max_size=7)


class Finder(RuleBasedStateMachine):
    """Whatever happens when: few turns at a time, and what is said to lie there is of this network and not too old."""

    def __init__(self) -> None:
        super().__init__()
        self.seeking, self.now, self.wall = Seeking(), 0.0, NOON
        self.under_way: list[Turn] = []
        self.layings: list[tuple[Laying, int]] = []
        self.lying: dict[Who, tuple[Laying, int]] = {}
        self.moves = 0

    @rule(whom=devices)
    def seek(self, whom: frozenset[UUID]) -> None:
        self.seeking.seek(whom, self.now)

    @rule(offered=st.booleans(), sought=st.booleans())
    def meet(self, offered: bool, sought: bool) -> None:
        self.seeking.meet([b"o" * 32][: int(offered)], [SECRET][: int(sought)], self.now)

    @rule(seconds=st.floats(0.0, 2 * PERIOD), jump=st.sampled_from([0.0, 0.0, -PERIOD, 3 * PERIOD]))
    def time_passes(self, seconds: float, jump: float) -> None:
        self.now, self.wall = self.now + seconds, self.wall + seconds + jump

    @rule()
    def take(self) -> None:
        turn = self.seeking.next(self.now, self.wall)
        if turn is not None:
            self.under_way.append(turn)

    @precondition(lambda self: self.under_way)
    @rule(which=st.integers(0), random=st.floats(0.0, 1.0, exclude_max=True), pause=st.sampled_from([None, RENEW]))
    def over(self, which: int, random: float, pause: float | None) -> None:
        turn = self.under_way.pop(which % len(self.under_way))
        self.seeking.over(turn, self.now, random, pause)

    @precondition(lambda self: self.under_way)
    @rule(which=st.integers(0))
    def lay(self, which: int) -> None:
        who = self.under_way[which % len(self.under_way)].who
        laying = self.seeking.lay(who, HERE, self.now)
        if laying is None:
            laid, move = self.lying[who]
            assert move == self.moves
            assert laid.until > self.now
        else:
            self.layings.append((laying, self.moves))

    @precondition(lambda self: self.layings)
    @rule(which=st.integers(0))
    def lies(self, which: int) -> None:
        laying, move = self.layings.pop(which % len(self.layings))
        self.seeking.lies(laying)
        if move == self.moves:
            self.lying[laying.who] = laying, move

    @rule(where=st.sampled_from(["192.0.2.1", "192.0.2.2"]))
    def moved(self, where: str) -> None:
        self.seeking.moved(frozenset({where}), self.now)
        self.moves += 1

    @invariant()
    def few_at_a_time(self) -> None:
        assert len(self.under_way) <= AT_ONCE

    @invariant()
    def it_wakes_up(self) -> None:
        assert 0.0 < self.seeking.wait(self.now, self.wall) <= RENEW


TestFinder = Finder.TestCase

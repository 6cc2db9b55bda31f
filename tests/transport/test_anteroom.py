"""Who has to leave when the room is full."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from springline.transport.anteroom import Anteroom, source_of

MOST = 6
FAIR = 1.0


class Caller:
    def __init__(self, source: str) -> None:
        self.source = source


@pytest.mark.parametrize("pause", [0.0, FAIR])
def test_a_flood_pushes_out_nobody_but_itself(pause: float) -> None:
    """At once its newest, who are refused; later its oldest, who had their time."""
    room: Anteroom[Caller] = Anteroom(MOST, FAIR)
    quiet = [Caller("a"), Caller("b")]
    for caller in quiet:
        assert room.enter(caller, caller.source, 0.0) is None
    flood = [Caller("f") for _ in range(1000)]
    out = [left for number, caller in enumerate(flood) if (left := room.enter(caller, "f", number * pause))]
    assert out == (flood[: len(out)] if pause else flood[-len(out) :])
    assert set(quiet) < set(room.inside)
    assert len(room) == MOST
    new = Caller("new")
    assert room.enter(new, "new", 1000 * FAIR) in flood
    assert new in room


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("192.0.2.1", "192.0.2.2", False),
        ("192.0.2.1", "::ffff:192.0.2.1", True),
        ("2001:db8:0:1::1", "2001:db8:0:1:ffff::9", True),
        ("2001:db8:0:1::1", "2001:db8:0:2::1", False),
        ("fe80::1%lo", "fe80::1", True),
    ],
)
def test_what_counts_as_one_source(one: str, other: str, same: bool) -> None:
    assert (source_of(one) == source_of(other)) is same


class Rooms(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.room: Anteroom[Caller] = Anteroom(MOST, FAIR)
        self.inside: list[Caller] = []
        self.since: dict[Caller, float] = {}
        self.now = 0.0

    @rule(source=st.sampled_from("abcd"), pause=st.sampled_from([0.0, FAIR / 3]))
    def enter(self, source: str, pause: float) -> None:
        self.now += pause
        caller = Caller(source)
        counts = Counter(one.source for one in (*self.inside, caller))
        self.since[caller] = self.now
        out = self.room.enter(caller, source, self.now)
        assert (out is not None) == (len(self.inside) == MOST)
        self.inside.append(caller)
        if out is not None:
            assert counts[out.source] == max(counts.values())
            same = [one for one in self.inside if one.source == out.source]
            assert out is (same[0] if self.since[same[0]] + FAIR <= self.now else same[-1])
            self.inside.remove(out)

    @rule(which=st.integers(0, MOST - 1))
    def leave(self, which: int) -> None:
        if which < len(self.inside):
            caller = self.inside.pop(which)
            self.room.leave(caller)
            self.room.leave(caller)

    @invariant()
    def same(self) -> None:
        assert len(self.room) == len(self.inside) <= MOST
        assert set(self.room.inside) == set(self.inside)


TestRooms = Rooms.TestCase

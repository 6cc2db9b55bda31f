"""Who has to leave when the room is full."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from springline.transport.anteroom import Anteroom, source_of

MOST = 6


class Caller:
    def __init__(self, source: str) -> None:
        self.source = source


def test_a_flood_pushes_out_nobody_but_itself() -> None:
    room: Anteroom[Caller] = Anteroom(MOST)
    quiet = [Caller("a"), Caller("b")]
    for caller in quiet:
        assert room.enter(caller, caller.source) is None
    flood = [Caller("f") for _ in range(1000)]
    out = [left for caller in flood if (left := room.enter(caller, "f"))]
    assert out == flood[: len(out)]
    assert set(quiet) < set(room.inside)
    assert len(room) == MOST
    assert room.enter(Caller("new"), "new") in flood


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
        self.room: Anteroom[Caller] = Anteroom(MOST)
        self.inside: list[Caller] = []

    @rule(source=st.sampled_from("abcd"))
    def enter(self, source: str) -> None:
        caller = Caller(source)
        counts = Counter(one.source for one in (*self.inside, caller))
        out = self.room.enter(caller, source)
        assert (out is not None) == (len(self.inside) == MOST)
        self.inside.append(caller)
        if out is not None:
            assert counts[out.source] == max(counts.values())
            assert next(one for one in self.inside if one.source == out.source) is out
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

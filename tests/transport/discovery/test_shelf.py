"""What a node keeps for others, and who pays for it."""

from __future__ import annotations

from collections import Counter

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from springline.transport.discovery.parcels import Parcel
from springline.transport.discovery.shelf import AT_ONE_PLACE, Shelf

MOST, EACH, KEPT = 6, 3, 100.0


def parcel(key: int, number: int, record: bytes = b"") -> Parcel:
    return Parcel(bytes([key]) * 32, number, record, b"")


def test_old_parcels_push_no_new_one_out() -> None:
    shelf = Shelf()
    shelf.put(parcel(1, 100), "owner", 0.0)
    for number in range(50):
        shelf.put(parcel(1, number), "replays", 1.0)
    assert [kept.number for kept in shelf.get(parcel(1, 0).place, 2.0)] == [100, 49]


def test_who_has_set_its_clock_back_is_heard_all_the_same() -> None:
    shelf = Shelf()
    shelf.put(parcel(1, 900), "owner", 0.0)
    shelf.put(parcel(1, 950), "owner", 1.0)
    shelf.put(parcel(1, 10), "owner", 2.0)
    assert [kept.number for kept in shelf.get(parcel(1, 0).place, 2.0)] == [950, 10]


def test_a_newer_one_takes_the_oldest_one_s_place() -> None:
    shelf = Shelf()
    for number in (1, 2, 3):
        shelf.put(parcel(1, number), "owner", float(number))
    assert [kept.number for kept in shelf.get(parcel(1, 0).place, 4.0)] == [3, 2]


def test_it_is_kept_for_a_while_from_when_it_last_came() -> None:
    shelf = Shelf(kept=KEPT)
    shelf.put(parcel(1, 1), "owner", 0.0)
    shelf.put(parcel(1, 1), "owner", 60.0)
    assert len(shelf.get(parcel(1, 0).place, 159.0)) == 1
    assert not shelf.get(parcel(1, 0).place, 160.0)
    assert len(shelf) == 0


def test_a_flood_of_one_host_costs_nobody_else_a_place() -> None:
    shelf = Shelf(MOST, EACH)
    shelf.put(parcel(1, 1), "quiet", 0.0)
    for key in range(2, 200):
        shelf.put(parcel(key, 1), "flood", 1.0)
    assert shelf.get(parcel(1, 0).place, 1.0)
    assert len(shelf) == 1 + EACH


def test_when_all_is_full_the_host_with_most_pays() -> None:
    shelf = Shelf(MOST, MOST)
    shelf.put(parcel(1, 1), "quiet", 0.0)
    for key in range(2, 200):
        shelf.put(parcel(key, 1), "flood", 1.0)
    shelf.put(parcel(201, 1), "new", 2.0)
    assert shelf.get(parcel(1, 0).place, 2.0)
    assert shelf.get(parcel(201, 0).place, 2.0)
    assert len(shelf) == MOST


class Bounds(RuleBasedStateMachine):
    """Whatever comes, in whatever order: bounds hold, and the newest at a place leaves for lack of room only."""

    @initialize()
    def begin(self) -> None:
        self.shelf, self.now = Shelf(MOST, EACH, KEPT), 0.0

    @rule(key=st.integers(1, 5), number=st.integers(0, 5), record=st.binary(max_size=1), source=st.sampled_from("abc"))
    def put(self, key: int, number: int, record: bytes, source: str) -> None:
        brought = parcel(key, number, record)
        self.shelf.put(brought, source, self.now)
        assert brought in self.shelf.get(brought.place, self.now)

    @rule(seconds=st.floats(0, KEPT))
    def wait(self, seconds: float) -> None:
        self.now += seconds

    @invariant()
    def is_bounded_and_consistent(self) -> None:
        kept = list(self.shelf._by_age.values())
        assert len(kept) <= MOST
        assert max(Counter(one.source for one in kept).values(), default=0) <= EACH
        assert max(Counter(one.parcel.place for one in kept).values(), default=0) <= AT_ONE_PLACE
        assert sum(map(len, self.shelf._places.values())) == sum(map(len, self.shelf._sources.values())) == len(kept)
        assert all(self.shelf._places.values())
        assert all(self.shelf._sources.values())


TestBounds = Bounds.TestCase

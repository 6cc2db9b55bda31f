"""In which order a device's addresses are tried."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from springline.transport.address import Address
from springline.transport.ways import MOST, MOST_AHEAD, Ways

A, B, C, D = (Address(f"192.0.2.{last}", 7400) for last in range(1, 5))
NOW = 1e9


def test_last_good_then_news_then_the_rest() -> None:
    ways = Ways().find("DHT", (C,), 1.0, NOW).find("mDNS", (D,), 2.0, NOW)
    assert ways.order((A, B)) == (A, D, C, B)


def test_an_older_record_is_no_news() -> None:
    ways = Ways().find("mDNS", (A,), 2.0, NOW)
    assert ways.find("mDNS", (B,), 2.0, NOW) is ways
    assert ways.find("mDNS", (B,), 1.0, NOW) is ways
    assert ways.find("mDNS", (B,), 3.0, NOW).order(()) == (B,)


def test_a_record_from_the_future_does_not_silence_what_is_said_after_the_clock_was_set_right() -> None:
    ways = Ways().find("DHT", (A,), NOW + 3600, NOW)
    assert ways.order(()) == (A,)
    right = ways.find("DHT", (B,), NOW, NOW + 1)
    assert right.order(()) == (B,)
    assert right.find("DHT", (A,), NOW + 3600, NOW + 2) is right, "replayed"
    assert right.find("DHT", (A,), NOW - 1, NOW + 2) is right


def test_a_clock_that_is_a_little_ahead_is_heard_once() -> None:
    ways = Ways().find("mDNS", (A,), NOW + 2, NOW)
    assert ways.find("mDNS", (A,), NOW + 2, NOW) is ways
    assert ways.find("mDNS", (A,), NOW + 2, NOW + 60) is ways


def test_what_is_remembered_of_the_future_is_bounded() -> None:
    ways = Ways()
    for turn in range(100):
        ways = ways.find("DHT", (A,), NOW + turn + 1, NOW)
    assert len(ways.ahead) == MOST_AHEAD


some = st.lists(st.builds(Address, st.sampled_from(["a.example", "b.example", "::1"]), st.integers(1, 40)), max_size=40)


@given(known=some, found=st.lists(st.tuples(st.sampled_from(["mDNS", "DHT"]), some, st.floats(0, 9)), max_size=5))
def test_each_once_and_bounded(known: list[Address], found: list[tuple[str, list[Address], float]]) -> None:
    ways = Ways()
    for via, addresses, issued_at in found:
        ways = ways.find(via, tuple(addresses), issued_at, 5.0)
    order = ways.order(known)
    assert len(order) == len(set(order)) <= MOST
    assert set(order) <= set(known).union(*(addresses for _, addresses, _ in found))
    assert not known or order[0] == known[0]

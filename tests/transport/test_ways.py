"""In which order a device's addresses are tried."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from springline.transport.address import Address
from springline.transport.ways import MOST, Ways

A, B, C, D = (Address(f"192.0.2.{last}", 7400) for last in range(1, 5))


def test_last_good_then_news_then_the_rest() -> None:
    ways = Ways().find("DHT", (C,), 1.0).find("mDNS", (D,), 2.0)
    assert ways.order((A, B)) == (A, D, C, B)


def test_an_older_record_is_no_news() -> None:
    ways = Ways().find("mDNS", (A,), 2.0)
    assert ways.find("mDNS", (B,), 2.0) is ways
    assert ways.find("mDNS", (B,), 1.0) is ways
    assert ways.find("mDNS", (B,), 3.0).order(()) == (B,)


some = st.lists(st.builds(Address, st.sampled_from(["a.example", "b.example", "::1"]), st.integers(1, 40)), max_size=40)


@given(known=some, found=st.lists(st.tuples(st.sampled_from(["mDNS", "DHT"]), some, st.floats(0, 9)), max_size=5))
def test_each_once_and_bounded(known: list[Address], found: list[tuple[str, list[Address], float]]) -> None:
    ways = Ways()
    for via, addresses, issued_at in found:
        ways = ways.find(via, tuple(addresses), issued_at)
    order = ways.order(known)
    assert len(order) == len(set(order)) <= MOST
    assert set(order) <= set(known).union(*(addresses for _, addresses, _ in found))
    assert not known or order[0] == known[0]

"""The order of a dial's tries, and what is never tried."""

from __future__ import annotations

import socket
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from springline.transport.address import Address
from springline.transport.lineup import MOST, Lineup, Target, objection, plain


def target(ip: str, port: int = 7400) -> Target:
    return Target(Address(ip, port), ip)


def order(lineup: Lineup) -> list[Target]:
    found = []
    while (one := lineup.next()) is not None:
        found.append(one)
    return found


V4, V6 = [target(f"10.0.0.{n}") for n in range(1, 5)], [target(f"2001:db8::{n}") for n in range(1, 5)]


def test_the_best_comes_first_and_then_the_families_take_turns() -> None:
    lineup = Lineup()
    lineup.add((0, 0), [V4[0], V4[1], V4[2], V6[0], V6[1]])
    assert order(lineup) == [V4[0], V6[0], V4[1], V6[1], V4[2]]


def test_what_comes_later_goes_where_its_rank_says() -> None:
    lineup = Lineup()
    lineup.add((0, 1), V4[:2])
    assert lineup.next() == V4[0]
    lineup.add((-1, 0), [V4[2]])
    lineup.add((0, 0), [V4[3]])
    assert order(lineup) == [V4[2], V4[3], V4[1]]


targets = st.builds(target, st.sampled_from(["10.0.0.1", "10.0.0.2", "::1", "fd00::1"]), st.integers(1, 40))
batches = st.lists(st.tuples(st.tuples(st.integers(-3, 0), st.integers(0, 3)), st.lists(targets, max_size=30)))


@given(batches)
def test_nothing_twice_nothing_lost_and_never_more_than_the_most(given_batches: list) -> None:  # type: ignore[type-arg]
    lineup = Lineup()
    named = set()
    for rank, batch in given_batches:
        lineup.add(rank, batch)
        named.update(batch)
    tried = order(lineup)
    assert len(tried) == len(set(tried)) == min(MOST, len(named))
    assert set(tried) <= named
    assert (lineup.left_out == 0) == (len(named) <= MOST)
    assert len(lineup) == 0


@given(st.lists(targets, max_size=20))
def test_in_each_family_the_order_given_is_kept_and_none_waits_for_two_of_the_other(batch: list[Target]) -> None:
    lineup = Lineup()
    lineup.add((0, 0), batch)
    tried = order(lineup)
    for family in (socket.AF_INET, socket.AF_INET6):
        wanted = [one for one in dict.fromkeys(batch) if one.family == family]
        assert [one for one in tried if one.family == family] == wanted
    shorter = min(sum(one.family == f for one in tried) for f in (socket.AF_INET, socket.AF_INET6))
    assert all(a.family != b.family for a, b in pairwise(tried[: 2 * shorter]))


@pytest.mark.parametrize(
    ("ip", "port", "what"),
    [
        ("10.0.0.1", 0, "no port"),
        ("0.0.0.0", 1, "one device"),
        ("::", 1, "one device"),
        ("224.0.0.251", 1, "one device"),
        ("ff02::fb", 1, "one device"),
        ("255.255.255.255", 1, "one device"),
    ],
)
def test_what_can_be_nobodys_address(ip: str, port: int, what: str) -> None:
    assert what in objection(ip, port)


def test_what_may_be_somebodys() -> None:
    assert [objection(ip, 1) for ip in ("127.0.0.1", "::1", "fe80::1", "169.254.1.1", "203.0.113.1")] == [""] * 5


def test_one_form_of_each_address() -> None:
    assert plain("::ffff:192.0.2.1") == "192.0.2.1"
    assert plain("FE80:0::1%eth0") == "fe80::1"
    with pytest.raises(ValueError, match="example"):
        plain("example.org")


def test_what_is_told_of_a_target() -> None:
    assert str(target("10.0.0.1")) == "10.0.0.1:7400"
    assert str(Target(Address("fe80::1%eth0", 1), "fe80::1", 2)) == "[fe80::1%eth0]:1"
    assert str(Target(Address("example.org", 1), "10.0.0.1")) == "example.org:1 (10.0.0.1)"
    assert Target(Address("fe80::1%eth0", 1), "fe80::1", 2).sockaddr == ("fe80::1", 1, 0, 2)

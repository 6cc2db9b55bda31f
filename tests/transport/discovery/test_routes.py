"""Which nodes are known: bounded, exact at the edges, and no host is everybody."""

from __future__ import annotations

import random
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from springline.transport.discovery.datagrams import Contact
from springline.transport.discovery.routes import (
    ANYWHERE,
    HERE,
    MOST,
    MOST_EACH,
    NEARBY,
    NOWHERE,
    Routes,
    is_credible,
    reach,
)

OWN = bytes(20)


def contact(node: int, ip: str = "", port: int = 7400) -> Contact:
    return Contact(node.to_bytes(20, "big"), ip or f"10.{node >> 16 & 255}.{node >> 8 & 255}.{node & 255}", port)


def distance(one: bytes, other: bytes) -> int:
    return int.from_bytes(one, "big") ^ int.from_bytes(other, "big")


@given(st.sets(st.integers(1, 2**160 - 1), max_size=30), st.binary(min_size=20, max_size=20))
def test_the_nearest_are_the_nearest(nodes: set[int], place: bytes) -> None:
    routes = Routes(OWN)
    for node in nodes:
        routes.add(contact(node, f"10.0.{node % 251}.{node % 241}"))
    known = routes.nearest(OWN, 1000)
    assert routes.nearest(place, 5) == tuple(sorted(known, key=lambda one: distance(one.node, place)))[:5]


@given(st.integers(0, 159), st.integers(-1, 1))
def test_who_is_at_the_edge_of_a_bucket_can_be_removed(bit: int, beside: int) -> None:
    routes, edge = Routes(OWN), contact(max(1, 2**bit + beside), "192.0.2.1")
    routes.add(edge)
    for node in range(1, 60):
        routes.add(contact(node << 100))
        routes.add(contact(node << 150))
    if edge in routes.nearest(edge.node, 1):
        routes.remove(edge)
    assert edge not in routes.nearest(OWN, 1000)


def test_a_flood_of_nodes_is_bounded() -> None:
    routes, chance = Routes(OWN), random.Random(1)
    for _ in range(5000):
        near = chance.choice((8, 40, 80, 160))
        routes.add(contact(chance.getrandbits(near) | 1, f"10.{chance.randrange(256)}.{chance.randrange(256)}.1"))
    waiting = sum(len(bucket.replacement_nodes) for bucket in routes._buckets.buckets)
    assert len(routes) + waiting == routes._hosts.total() <= MOST
    assert len(routes._buckets.buckets) <= 161


def test_one_host_has_a_few_places() -> None:
    routes = Routes(OWN)
    for node in range(1, 1000):
        routes.add(contact(node << 140, "203.0.113.9", node))
    assert len(routes) == MOST_EACH
    routes.add(contact(3 << 158, "203.0.113.10"))
    assert len(routes) == MOST_EACH + 1


def test_who_is_known_stays_where_it_is() -> None:
    routes = Routes(OWN)
    routes.add(contact(5, "192.0.2.1"))
    routes.add(contact(5, "192.0.2.66"))
    assert routes.nearest(OWN)[0].ip == "192.0.2.1"
    routes.remove(contact(5, "192.0.2.66"))
    assert len(routes) == 1
    routes.remove(contact(5, "192.0.2.1"))
    assert len(routes) == 0


@given(st.lists(st.tuples(st.booleans(), st.integers(1, 40), st.integers(0, 3)), max_size=200))
def test_what_is_counted_is_what_is_there(steps: list[tuple[bool, int, int]]) -> None:
    routes = Routes(OWN)
    for come, node, host in steps:
        one = contact(node << 154 | 1, f"192.0.2.{host}")
        routes.add(one) if come else routes.remove(one)
        buckets = routes._buckets.buckets
        there = [known.ip for bucket in buckets for known in (*bucket.get_nodes(), *bucket.replacement_nodes.values())]
        assert routes._hosts == Counter(there)


def test_it_does_not_know_itself() -> None:
    routes = Routes(OWN)
    routes.add(Contact(OWN, "192.0.2.1", 7400))
    assert len(routes) == 0


@pytest.mark.parametrize(
    ("ip", "port", "where"),
    [
        ("127.0.0.1", 1, HERE),
        ("::1", 1, HERE),
        ("10.0.0.1", 1, NEARBY),
        ("100.64.0.1", 1, NEARBY),
        ("fd00::1", 1, NEARBY),
        ("9.9.9.9", 1, ANYWHERE),
        ("2620:fe::fe", 1, ANYWHERE),
        ("9.9.9.9", 0, NOWHERE),
        ("0.0.0.0", 1, NOWHERE),
        ("224.0.0.251", 1, NOWHERE),
        ("255.255.255.255", 1, NOWHERE),
        ("fe80::1", 1, NOWHERE),
        ("ff02::fb", 1, NOWHERE),
        ("::ffff:127.0.0.1", 1, NOWHERE),
    ],
)
def test_how_far_an_address_goes(ip: str, port: int, where: int) -> None:
    assert reach(ip, port) == where


def test_nobody_is_sent_further_in_than_who_tells() -> None:
    here, lan, far = contact(1, "127.0.0.1"), contact(2, "10.0.0.1"), contact(3, "9.9.9.9")
    assert [is_credible(one, "9.9.9.10") for one in (here, lan, far)] == [False, False, True]
    assert [is_credible(one, "10.0.0.2") for one in (here, lan, far)] == [False, True, True]
    assert [is_credible(one, "127.0.0.1") for one in (here, lan, far)] == [True, True, True]

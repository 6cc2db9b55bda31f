"""The kernel of this very machine, asked for what it shows to everybody; nothing is changed and nothing is sent."""

from __future__ import annotations

import select
import socket
import sys
from collections.abc import Iterator

import pytest

from springline.tests.transport.test_rtnetlink import NAME, link
from springline.transport.interfaces import here, look_around
from springline.transport.netlink import Bell, is_worth_a_look, look, seen
from springline.transport.network import Place, View
from springline.transport.rtnetlink import Done, Link, Other, Placed, Route

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="netlink is Linux's")


@pytest.fixture
def bell() -> Iterator[Bell]:
    bell = Bell()
    yield bell
    bell.close()


def test_both_ways_of_looking_see_the_same() -> None:
    seen, around = look(), look_around()
    assert seen.places == around.places
    assert {(way.family, way.interface) for way in seen.ways} == {(way.family, way.interface) for way in around.ways}
    assert {"127.0.0.1"} <= here() - seen.addresses


def test_the_bell_hears_the_kernel_only(bell: Bell) -> None:
    port = bell._bell.getsockname()[0]
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, socket.NETLINK_ROUTE) as other:
        try:
            other.sendto(link(0x41, NAME), (port, 0))
        except PermissionError:
            pytest.skip("only root may write to other processes' sockets")
    assert select.select([bell], [], [], 5)[0]
    assert not bell.matters()
    assert not bell.matters()


LINKS = {
    1: Link(1, "lo", running=True, loopback=True),
    2: Link(2, "eth0", running=True),
    3: Link(3, "wlan0", running=False),
    4: Link(4, "veth9", running=True, member=True),
}


def test_what_is_seen_is_what_others_can_use() -> None:
    placed = [
        Placed(1, "127.0.0.1"),
        Placed(1, "::1"),
        Placed(1, "192.0.2.9"),  # the same for all ways in
        Placed(2, "10.0.0.5"),
        Placed(2, "fe80::5", usable=False),
        Placed(3, "10.1.0.5"),
        Placed(4, "fe80::9"),
        Placed(9, "10.9.0.5"),  # its interface is just being taken away
    ]
    places = {Place("lo", "192.0.2.9"), Place("eth0", "10.0.0.5"), Place("wlan0", "10.1.0.5")}
    assert seen(LINKS, placed, []) == View(frozenset(places), frozenset({"lo", "eth0"}))


@pytest.mark.parametrize(
    ("news", "worth"),
    [
        (LINKS[1], False),
        (LINKS[2], True),
        (LINKS[4], False),
        (Placed(1, "127.0.0.2"), False),
        (Placed(2, "fe80::5"), True),
        (Route(2, 0, 2, "10.0.0.1"), True),
        (Route(2, 1, 2, ""), True),
        (Route(2, 24, 2, ""), False),
        (Other(), True),
        (Done(), False),
    ],
)
def test_what_is_worth_a_look(news: Link | Placed | Route | Other | Done, worth: bool) -> None:
    assert is_worth_a_look(news) is worth

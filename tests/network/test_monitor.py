"""What the monitor sees of a host whose cable and addresses change, and what links make of it."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest

from springline.actors.finding import NETWORK, Health, HowItGoes
from springline.actors.network import WayOut
from springline.tests.network.couple import Couple, couple
from springline.tests.network.lab import Lab
from springline.tests.nodes import eventually

PATIENCE = 20.0


class Two:
    """red is watched, blue is whom it is linked with."""

    def __init__(self, network: Lab) -> None:
        self.network = network
        self.red, self.blue = network.host("red", "10.77.0.1"), network.host("blue", "10.77.0.2")
        self.pair: Couple
        self._seen = 0

    def told(self, since: float) -> list[str]:
        """What red's link has gone by."""
        return [entry.evidence for entry in self.red.node.control.why(self.pair.blue_id).entries if entry.at >= since]

    def hears(self, line: str, since: float) -> None:
        eventually(lambda: line in "\n".join(self.told(since)), f"red's link hears: {line}", PATIENCE)

    def health(self) -> Health:
        health: Health = self.red.node.control.ask(NETWORK, HowItGoes())
        return health

    def changes(self) -> list[str]:
        """What the monitor has told, ever."""
        log = (self.red.node.folder / "run" / "bus" / "springline.log").read_text()
        return [line for line in log.splitlines() if " springline.network: " in line]

    def sees(self, text: str) -> None:
        """The monitor tells that, after what it has told when this was called last."""

        def told() -> bool:
            for position, line in enumerate(self.changes()):
                if position >= self._seen and text in line:
                    self._seen = position
                    return True
            return False

        eventually(told, f"the monitor sees: {text} (it has seen {self.changes()[self._seen :]})", PATIENCE)


@pytest.fixture(scope="module")
def started(long_lab: Lab) -> Iterator[Two]:
    two = Two(long_lab)
    with couple(two.red, two.blue) as two.pair:
        yield two


@pytest.fixture
def two(started: Two) -> Iterator[Two]:
    started.pair.talk()
    yield started
    started.pair.talk()


def test_a_cable_is_seen_both_ways_and_what_is_lost_is_dialled_when_it_is_back(two: Two) -> None:
    began = time.time()
    two.red.unplug()
    two.sees("eth0 is not connected any more")
    assert not two.health().works
    two.hears("no sign of life", began)  # it was probed: silence alone means nothing for another half a minute
    two.red.plug()
    two.sees("eth0 is connected again")
    two.hears("eth0 is connected again", began)
    assert two.health().works


def test_a_new_address_ends_sessions_of_the_former_at_once(two: Two) -> None:
    began = time.time()
    two.red.move("10.77.0.8")
    two.hears("this device's address 10.77.0.1 is gone", began)
    two.sees("10.77.0.8 is on eth0 now")


def test_one_address_more_ends_nothing(two: Two) -> None:
    since = two.red.node.control.find(two.pair.blue_id).link.since
    two.red.ip("address", "add", "10.99.0.1/24", "dev", "eth0")
    two.sees("10.99.0.1 is on eth0 now")
    two.red.ip("address", "delete", "10.99.0.1/24", "dev", "eth0")
    two.sees("10.99.0.1 is gone")
    two.pair.talk()
    assert two.red.node.control.find(two.pair.blue_id).link.since == since


def test_the_way_out(two: Two) -> None:
    two.red.ip("route", "add", "default", "via", "10.77.0.99")
    two.sees("the way out (IPv4) is by 10.77.0.99 on eth0")
    way = two.red.node.control.ask(NETWORK, WayOut())
    assert (way.gateway, way.interface) == ("10.77.0.99", "eth0")
    two.red.ip("route", "add", "128.0.0.0/1", "via", "10.77.0.98")  # as tunnels do
    two.sees("the way out (IPv4) is by 10.77.0.98 on eth0")
    two.red.ip("route", "flush", "root", "0.0.0.0/0", "via", "10.77.0.98")
    two.red.ip("route", "delete", "default")
    two.sees("there is no way out (IPv4)")


def test_what_is_nobody_elses_affair_is_not_told(two: Two) -> None:
    """Loopback, containers on a bridge, addresses that are being checked, routes to somewhere, renewed lifetimes."""
    two.red.ip("address", "add", "10.99.0.1/24", "dev", "eth0", "valid_lft", "3600", "preferred_lft", "0")
    two.sees("10.99.0.1 is on eth0 now")
    before = two.changes()
    two.red.ip("address", "add", "127.0.0.9/8", "dev", "lo")
    two.red.ip("address", "change", "10.99.0.1/24", "dev", "eth0", "valid_lft", "1800", "preferred_lft", "0")
    two.red.ip("route", "add", "10.98.0.0/16", "via", "10.77.0.99")
    two.red.ip("link", "add", "br0", "type", "bridge")
    for number in range(5):
        two.red.ip("link", "add", f"veth{number}", "type", "veth", "peer", "name", f"inner{number}")
        two.red.ip("link", "set", f"veth{number}", "master", "br0")
        two.red.ip("link", "set", f"veth{number}", "up")
    for number in range(5):
        two.red.ip("link", "delete", f"veth{number}")
    two.red.ip("link", "delete", "br0")
    two.red.ip("address", "delete", "10.99.0.1/24", "dev", "eth0")
    two.sees("10.99.0.1 is gone")
    assert [line.partition("network: ")[2] for line in two.changes()[len(before) :]] == ["10.99.0.1 is gone"]

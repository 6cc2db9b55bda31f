"""A port on the router: granted, used, renewed and given back; and routers that are silent, lie or forget."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from springline.actors.finding import PORTS, Health, HowItGoes, OwnAddresses, Tried, TryAddress
from springline.actors.messages import KEYSTORE, TRANSPORT, Contact
from springline.tests.network.couple import Couple, couple
from springline.tests.network.lab import Lab
from springline.tests.network.mapping import mapping
from springline.tests.network.router import Router
from springline.tests.nodes import eventually, pid_of
from springline.transport.address import Address

OUTSIDE = "10.77.0.9"
INSIDE = "10.78.0.2"
PATIENCE = 60.0


class Home:
    """red is somewhere, blue behind a router, whose program is another one in each test."""

    def __init__(self, network: Lab) -> None:
        self.router: Router = network.router("gateway", OUTSIDE)
        self.red, self.blue = network.host("red", "10.77.0.1"), network.host_behind(self.router, "blue")
        self.blue.node.options = ("--no-mdns",)
        self.pair: Couple
        self._turns = 0

    @property
    def port(self) -> int:
        return int(self.blue.node.listen.rpartition(":")[2])

    def health(self) -> Health:
        health: Health = self.blue.node.control.ask(PORTS, HowItGoes())
        return health

    def tells(self, text: str) -> Health:
        """The mapper says that of itself."""
        eventually(lambda: text in self.health().seen, f"the mapper tells: {text} ({self.health()})", PATIENCE)
        return self.health()

    def own(self) -> tuple[Address, ...]:
        found: tuple[Address, ...] = self.blue.node.control.ask(TRANSPORT, OwnAddresses())
        return found

    def look_again(self) -> None:
        """Something changes, so the router is looked at."""
        self._turns += 1
        self.blue.ip("address", "add" if self._turns % 2 else "delete", "10.79.0.1/24", "dev", "eth0")

    def begin_anew(self) -> None:
        """The router is lost and found: what it has granted counts no more."""
        self.blue.ip("route", "delete", "default")
        self.tells("no way out")
        self.blue.ip("route", "add", "default", "via", "10.78.0.1")


@pytest.fixture(scope="module")
def started(filtering_lab: Lab) -> Iterator[Home]:
    home = Home(filtering_lab)
    with couple(home.red, home.blue) as home.pair:
        yield home


@pytest.fixture
def home(started: Home) -> Iterator[Home]:
    """The mapper is the same process before and after, whatever the router does."""
    mapper = pid_of(started.blue.node.control, PORTS)
    yield started
    assert pid_of(started.blue.node.control, PORTS) == mapper


def test_by_nat_pmp_and_what_is_granted_is_used_and_believed(home: Home) -> None:
    with mapping(home.router, OUTSIDE, "honest", "no") as program:
        home.begin_anew()
        program.hears("mapped", "tcp", home.port, INSIDE, home.port, 7200)
        program.hears("mapped", "udp", home.port, INSIDE, home.port, 7200)
        where = Address(OUTSIDE, home.port)
        health = home.tells(f"{where} (TCP and UDP) by NAT-PMP")
        assert not health.works  # 10.77.0.9 is no address of the world
        assert "outer router" in health.advice
        eventually(lambda: where in home.own(), "the transport tells it", PATIENCE)
        tried: Tried = home.red.node.control.ask(TRANSPORT, TryAddress(home.pair.blue_id, where))
        assert tried.answers, tried

        def kept() -> bool:
            return where in home.red.node.control.ask(KEYSTORE, Contact(home.pair.blue_id))

        eventually(kept, "red has tried it and keeps it", PATIENCE)


def test_by_upnp_and_another_port_if_others_have_it(home: Home) -> None:
    with mapping(home.router, OUTSIDE, "no", "honest") as program:
        program.say(f"taken {home.port}")
        home.begin_anew()
        port = program.hears("mapped", "tcp")[2]
        assert port != home.port
        home.tells(f"{OUTSIDE}:{port} (TCP and UDP) by UPnP")
        eventually(lambda: Address(OUTSIDE, port) in home.own(), "the transport tells it", PATIENCE)
        program.say("taken")
        program.say("forget")
        home.look_again()
        program.hears("mapped", "tcp", port)


def test_a_router_that_maps_for_ever_or_not_at_all(home: Home) -> None:
    with mapping(home.router, OUTSIDE, "refuses", "for ever") as program:
        home.begin_anew()
        program.hears("mapped", "tcp", home.port, INSIDE, home.port, 0)
        home.tells("by UPnP")


@pytest.mark.parametrize(
    ("natpmp", "upnp", "line"),
    [
        ("no", "no", "NAT-PMP: no answer; UPnP: no answer"),
        ("garbage", "garbage", "NAT-PMP: it answers nonsense; UPnP: it answers nonsense"),
        ("refuses", "endless", "NAT-PMP: it is not allowed there; UPnP: the router's answer is too long"),
        ("lies", "no", "NAT-PMP grants 127.0.0.1"),
        ("refuses", "lies", "UPnP: it says no address"),
        ("refuses", "elsewhere", "UPnP: "),
    ],
)
def test_what_a_bad_router_costs_is_one_line(home: Home, natpmp: str, upnp: str, line: str) -> None:
    with mapping(home.router, OUTSIDE, natpmp, upnp):
        home.begin_anew()
        health = home.tells(line)
        assert health.works is False
        assert "by hand" in health.advice
        assert not any(address.host == OUTSIDE for address in home.own())


def test_an_address_outside_that_changes_and_a_router_that_forgets(home: Home) -> None:
    with mapping(home.router, OUTSIDE, "honest", "no") as program:
        home.begin_anew()
        home.tells(f"{OUTSIDE}:{home.port}")
        program.say("outside 10.77.0.8")
        home.look_again()
        home.tells(f"10.77.0.8:{home.port}")
        eventually(lambda: Address(OUTSIDE, home.port) not in home.own(), "the former one is not told", PATIENCE)
        program.say("forget")
        home.look_again()
        program.hears("mapped", "tcp", home.port)


def test_it_is_given_back_when_the_node_stops_and_asked_for_when_it_starts(started: Home) -> None:
    home = started
    with mapping(home.router, OUTSIDE, "honest", "no") as program:
        home.begin_anew()
        program.hears("mapped", "udp", home.port)
        home.blue.node.down()
        program.hears("unmapped", "tcp", home.port)
        program.hears("unmapped", "udp", home.port)
        home.blue.node.up()
        program.hears("mapped", "tcp", home.port)
        home.tells("by NAT-PMP")

"""Two sites and the internet between them: devices that have both moved find each other in the table alone.

One is behind a router that lets nobody in, so it has to find the other one and to dial out; nobody can ask its part of
the table. The addresses outside are such as are reached from everywhere, because that is what makes it a guest there.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from springline.actors.finding import DHT, Found, Health, HowItGoes, WhatWasFound
from springline.actors.messages import connection_name
from springline.tests.network.couple import PATIENCE, Couple, couple
from springline.tests.network.lab import Lab
from springline.tests.network.router import Router
from springline.tests.nodes import eventually
from springline.tests.tables import table_node
from springline.transport.address import Address

# 192.31.196.0/24 is of a service (AS112, RFC 7535) that no host has for its own; it is reached from everywhere.
RED, BLUE = "192.31.196.1", "192.31.196.9"
TABLE = Address("192.31.196.5", 7400)


class Sites:
    """red has an address of its own; blue is behind a router; the table is kept by a third."""

    def __init__(self, network: Lab) -> None:
        self.router: Router = network.router("gateway", BLUE)
        self.red, self.blue = network.host("red", RED), network.host_behind(self.router, "blue")
        self.keeper = network.host("keeper", TABLE.host)
        for host in (self.red, self.blue):
            host.node.options = ("--no-mdns", "--no-port-mapping", "--bootstrap", str(TABLE))
        self.pair: Couple

    def go_off(self) -> None:
        """Both are switched off."""
        for host in (self.red, self.blue):
            host.node.down()

    def move(self, red: str, blue: str) -> None:
        """Both get other addresses; blue keeps its own, which means nothing outside."""
        self.red.move(red)
        self.router.move(blue)

    def found(self, seeker: str) -> list[str]:
        """Where the table says that the other one is."""
        host, other = {host.name: (host, other) for host, other in self.pair.sides()}[seeker]
        said: tuple[Found, ...] = host.node.control.ask(connection_name(other), WhatWasFound())
        return [address.host for one in said if one.via == "DHT" for address in one.addresses]

    def health(self) -> Health:
        """How blue's part of the table is."""
        answer: Health = self.blue.node.control.ask(DHT, HowItGoes())
        return answer


@pytest.fixture(scope="module")
def sites(filtering_lab: Lab) -> Iterator[Sites]:
    made = Sites(filtering_lab)
    within = ("ip", "netns", "exec", made.keeper.namespace)
    with table_node(listen=TABLE, prefix=within), couple(made.red, made.blue) as made.pair:
        yield made


def test_both_have_moved_while_they_were_apart(sites: Sites) -> None:
    sites.go_off()
    sites.move("192.31.196.21", "192.31.196.29")
    sites.red.node.up()
    sites.blue.node.up()
    sites.pair.talk()
    assert "192.31.196.21" in sites.found("blue")
    called = sites.red.node.control.why(sites.pair.blue_id).entries
    assert any("192.31.196.29" in entry.evidence for entry in called), called


@pytest.mark.slow
def test_the_one_behind_the_router_is_there_first(sites: Sites) -> None:
    """Red can read where blue is, and can't get there; blue goes on looking until red is somewhere."""
    sites.go_off()
    sites.move("192.31.196.22", "192.31.196.28")
    sites.blue.node.up()
    eventually(lambda: sites.health().works, "the table answers blue", PATIENCE)
    sites.red.node.up()
    sites.pair.talk()
    assert "192.31.196.22" in sites.found("blue")

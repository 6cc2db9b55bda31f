"""A node that listens at one address: the address goes and comes back, and so does the interface under it."""

from __future__ import annotations

import pytest

from springline.actors.finding import NETWORK, HowItGoes, Tried, TryAddress
from springline.actors.messages import TRANSPORT
from springline.tests.network.couple import PATIENCE, Couple, couple
from springline.tests.network.lab import Lab
from springline.tests.nodes import eventually, kill_and_await
from springline.transport.address import Address


def answers(pair: Couple, where: Address) -> None:
    """blue reaches red there, with a call of its own."""

    def tried() -> bool:
        result: Tried = pair.blue.node.control.ask(TRANSPORT, TryAddress(pair.red_id, where), timeout=PATIENCE)
        return result.answers

    eventually(tried, f"red answers at {where}", PATIENCE)


def sees(pair: Couple, text: str) -> None:
    """red's monitor has seen that."""
    control = pair.red.node.control
    eventually(lambda: text in control.ask(NETWORK, HowItGoes()).seen, f"red sees: {text}", PATIENCE)


def test_an_address_that_goes_and_comes_back(network: Lab) -> None:
    red, blue = network.host("red", "10.77.0.1", "10.77.0.3"), network.host("blue", "10.77.0.2")
    red.node.where = "10.77.0.3"
    with couple(red, blue) as pair:
        where = Address.parse(red.node.listen)
        red.ip("address", "delete", "10.77.0.3/24", "dev", "eth0")
        sees(pair, "10.77.0.3 is gone")
        red.ip("address", "add", "10.77.0.3/24", "dev", "eth0")
        answers(pair, where)
        pair.talk()


@pytest.mark.timeout(300)
def test_an_interface_that_goes_and_comes_back_as_another(network: Lab) -> None:
    """Also if the transport is killed after that: what the app has handed down is of the former interface."""
    red, blue = network.host("red", "fd77::1"), network.host("blue", "fd77::2")
    red.add("fe80::1")
    red.node.where = "[fe80::1%eth0]"
    with couple(red, blue) as pair:
        where = Address.parse(red.node.listen)
        red.ip("link", "delete", "eth0")
        sees(pair, "is gone")
        network.cable_again(red)
        red.ip("address", "add", "fe80::1/64", "dev", "eth0")
        answers(pair, where)
        kill_and_await(red.node.control, TRANSPORT)
        answers(pair, where)

"""Two nodes on hosts of their own: what they do when cables, addresses and routers misbehave."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from springline.tests.network.lab import Host, Lab, lab
from springline.tests.nodes import echo, eventually

LONG = 60.0


@contextlib.contextmanager
def running(*hosts: Host) -> Iterator[None]:
    with contextlib.ExitStack() as stack:
        for host in hosts:
            stack.enter_context(host.node)
        yield


def pair(inviter: Host, joiner: Host) -> None:
    joiner.node.control.join(inviter.node.control.invite().uri)


def talk(one: Host, other: Host) -> None:
    """Both reach each other."""
    for here, there in ((one, other), (other, one)):
        device = there.node.control.whoami().device_id
        eventually(lambda: echo(here.node.control, device), f"{here.node.name} gets an echo", LONG)  # noqa: B023


def test_a_cable_is_pulled_and_put_back() -> None:
    with lab() as network:
        red, blue = network.host("red", "10.77.0.1"), network.host("blue", "10.77.0.2")
        with running(red, blue):
            pair(red, blue)
            talk(red, blue)
            blue.unplug()
            blue.plug()
            talk(red, blue)


def test_a_device_gets_another_address() -> None:
    with lab() as network:
        red, blue = network.host("red", "10.77.0.1"), network.host("blue", "10.77.0.2")
        with running(red, blue):
            pair(red, blue)
            talk(red, blue)
            blue.move("10.77.0.7")
            talk(red, blue)


def test_one_that_hears_nothing_is_found_dead_and_back() -> None:
    with lab() as network:
        red, blue = network.host("red", "10.77.0.1"), network.host("blue", "10.77.0.2")
        with running(red, blue):
            pair(red, blue)
            talk(red, blue)
            red_id = red.node.control.whoami().device_id
            blue.deafen()
            eventually(
                lambda: blue.node.control.find(red_id).link.state not in ("Connected",), "the deaf side notices", LONG
            )
            blue.hear()
            talk(red, blue)


def test_behind_a_router_that_lets_nothing_in() -> None:
    with lab() as network:
        red, blue = network.host("red", "10.77.0.1"), network.host_behind_nat("blue", "10.77.0.9")
        with running(red, blue):
            pair(red, blue)
            talk(red, blue)


def test_both_are_restarted() -> None:
    with lab() as network:
        red, blue = network.host("red", "10.77.0.1"), network.host("blue", "10.77.0.2")
        with running(red, blue):
            pair(red, blue)
            talk(red, blue)
        with running(blue, red):
            talk(red, blue)


def test_a_lab_leaves_nothing() -> None:
    with lab() as network:
        network.host("red", "10.77.0.1")
        assert isinstance(network, Lab)

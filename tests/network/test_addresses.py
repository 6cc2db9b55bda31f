"""Addresses of every kind: IPv6 alone, one that takes calls and says nothing, names that nobody knows."""

from __future__ import annotations

from springline.tests.network.couple import PATIENCE, couple, paired
from springline.tests.network.lab import Lab, running
from springline.tests.nodes import eventually

DNS = 53


def test_there_is_only_ipv6(network: Lab) -> None:
    red, blue = network.host("red", "fd77::1"), network.host("blue", "fd77::2")
    for host in (red, blue):
        host.node.where = "[::]"
    with couple(red, blue) as pair:
        blue.move("fd77::7")
        pair.talk()


def test_somebody_else_gets_the_address_and_says_nothing(network: Lab) -> None:
    """And the invitation names hosts that no server tells of, before the one that is right."""
    red, blue = network.host("red", "10.77.0.1"), network.host("blue", "10.77.0.2")
    mute = network.host("mute", "10.77.0.3")
    blue.name_server(mute.address)
    with mute.mute(DNS), running(red, blue):
        bad = f"&at=nowhere.invalid:7400&at=nowhere.example:7400&at={mute.address}:{DNS}&at="
        pair = paired(red, blue, lambda uri: uri.replace("&at=", bad, 1))
        red.node.down()
        red.move("10.77.0.8")
        mute.move("10.77.0.1")
        mute.announce()
        with mute.mute(int(red.node.listen.rpartition(":")[2])):
            eventually(
                lambda: any("says nothing" in entry.evidence for entry in blue.node.control.why(pair.red_id).entries),
                "blue tells of the one that is mute",
                PATIENCE,
            )
            red.node.up()
            pair.talk()

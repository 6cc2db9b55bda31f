"""What an idle link costs the network: packets on the cable of a node that runs as users run it, with all defaults."""

from __future__ import annotations

import json
from collections.abc import Iterator

from springline.bench.figures import Figure
from springline.bench.sitting import Sitting
from springline.tests.network.couple import couple
from springline.tests.network.host import Host
from springline.tests.network.lab import lab
from springline.tests.network.tools import run

SETTLE, IDLE = 20.0, 250.0
"""Seconds: until nothing is left to do; and of idleness, two refreshes of the keys included."""


def measure_idle_traffic(sitting: Sitting) -> Iterator[Figure]:
    """Both directions, everything counted: answers, acknowledgements, discovery."""
    with lab() as network:
        red = network.host("red", "10.77.0.1", options=())
        blue = network.host("blue", "10.77.0.2", options=())
        with couple(red, blue):
            sitting.wait(1.0 if sitting.quick else SETTLE, "until all is quiet")
            seconds, before = 2.0 if sitting.quick else IDLE, packets(blue)
            sitting.wait(seconds, "idle")
            minute = (packets(blue) - before) / seconds * 60
    yield Figure("idle_packets", "packets in a minute of an idle link", minute, "", most=10)


def packets(host: Host) -> int:
    """In and out of a host so far."""
    told = json.loads(run("ip", "-netns", host.namespace, "-statistics", "-json", "link", "show", "eth0"))
    counted = told[0]["stats64"]
    return int(counted["rx"]["packets"]) + int(counted["tx"]["packets"])

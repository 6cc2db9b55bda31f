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

SETTLE, IDLE = 20.0, 240.0
"""Seconds: until nothing is left to do; and of idleness, two refreshes of the keys included."""


def measure_idle_traffic(sitting: Sitting) -> Iterator[Figure]:
    """IP packets in both directions: answers, acknowledgements, discovery. How the two hosts find each other's Ethernet
    address is the system's affair, and counted by itself."""
    with lab() as network:
        red = network.host("red", "10.77.0.1", options=())
        blue = network.host("blue", "10.77.0.2", options=())
        with couple(red, blue):
            sitting.wait(1.0 if sitting.quick else SETTLE, "until all is quiet")
            seconds, before = 2.0 if sitting.quick else IDLE, counts(blue)
            sitting.wait(seconds, "idle")
            packets, frames = (
                (after - former) / seconds * 60 for after, former in zip(counts(blue), before, strict=True)
            )
    yield Figure("idle_packets", "IP packets in a minute of an idle link", packets, "", most=10)
    yield Figure("idle_frames", "frames on the cable meanwhile, ARP included", frames, "")


def counts(host: Host) -> tuple[int, int]:
    """IP packets, loopback aside, and Ethernet frames, in and out of a host so far."""
    shown = json.loads(run("ip", "-netns", host.namespace, "-statistics", "-json", "link", "show"))
    moved = {one["ifname"]: one["stats64"]["rx"]["packets"] + one["stats64"]["tx"]["packets"] for one in shown}
    table = run("ip", "netns", "exec", host.namespace, "cat", "/proc/net/snmp", "/proc/net/snmp6").splitlines()
    names, values = (line.split() for line in table if line.startswith("Ip: "))
    packets = sum(int(values[names.index(name)]) for name in ("InReceives", "OutRequests"))
    packets += sum(int(line.split()[1]) for line in table if line.split()[0] in ("Ip6InReceives", "Ip6OutRequests"))
    return packets - moved["lo"], moved["eth0"]

"""How soon two devices find each other on the local network that know no address of each other any more.

Both have got other addresses while they were off, so what they remember leads nowhere. Counted from the moment when the
later one is ready.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

from springline.bench.figures import Figure, median, p95
from springline.bench.sitting import Sitting, seconds_until
from springline.cli.local import LocalNode
from springline.tests.network.couple import couple
from springline.tests.network.lab import lab
from springline.tests.nodes import echo
from springline.tests.seekers import BY_MDNS


def measure_finding(sitting: Sitting) -> Iterator[Figure]:
    """By multicast DNS alone."""
    taken = []
    with lab() as network, ThreadPoolExecutor(2) as pool:
        red, blue = (network.host(name, f"10.77.0.{at}", options=BY_MDNS) for at, name in ((1, "red"), (2, "blue")))
        with couple(red, blue) as pair:
            for number in sitting.times(10, 1, "finding each other"):
                list(pool.map(LocalNode.down, (red.node, blue.node)))
                red.move(f"10.77.0.{10 + 2 * number}")
                blue.move(f"10.77.0.{11 + 2 * number}")
                list(pool.map(LocalNode.up, (red.node, blue.node)))
                ready = time.perf_counter()
                back = seconds_until(lambda: all(echo(host.node.control, other) for host, other in pair.sides()), ready)
                taken.append(back)
    yield median("found", "found by mDNS, after both are ready: to connected", taken, "s")
    yield p95("found_p95", "found by mDNS, after both are ready: to connected", taken, "s", most=3)

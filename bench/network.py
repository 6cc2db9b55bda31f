"""Two nodes in network namespaces of their own: addresses that change, cables, sleep, dead paths.

Both are told apart by what they are asked afterwards: an echo through a handler, each way. What is lost is given up by
both sides before it is put back, so that no session just survives.
"""

from __future__ import annotations

import time
from collections.abc import Iterator

from springline.bench.figures import Figure, median, not_measured, p95
from springline.bench.sitting import Sitting, connected, seconds_until
from springline.tests.network.couple import Couple
from springline.tests.nodes import echo

SETTLED = 4.0


def _back(pair: Couple) -> bool:
    """An echo each way."""
    return all(echo(host.node.control, other) for host, other in pair.sides())


def _lost(pair: Couple) -> bool:
    """Both sides have given it up."""
    return not any(connected(host.node, other) for host, other in pair.sides())


def measure_addresses(sitting: Sitting) -> Iterator[Figure]:
    """A host's address is taken away, and it gets another one."""
    pair, taken = sitting.couple(), []
    for number in sitting.times(20, 2, "addresses"):
        pair.talk()
        time.sleep(SETTLED)
        host = (pair.blue, pair.red)[number % 2]
        host.move(f"10.77.0.{20 + number}")
        taken.append(seconds_until(lambda: _back(pair)))
    yield median("address", "a device gets another address: to connected", taken, "s")
    yield p95("address_p95", "a device gets another address: to connected", taken, "s", most=3)


def measure_cables(sitting: Sitting) -> Iterator[Figure]:
    """A cable is out until both sides have given the link up, then it is put in."""
    pair, taken = sitting.couple(), []
    for number in sitting.times(12, 1, "cables"):
        pair.talk()
        time.sleep(SETTLED)
        host = (pair.blue, pair.red)[number % 2]
        host.unplug()
        pair.say()
        seconds_until(lambda: _lost(pair))
        time.sleep(number % 4)  # longer and longer waits between two attempts
        host.plug()
        taken.append(seconds_until(lambda: _back(pair)))
    yield median("cable", "cable put in again: to connected", taken, "s")
    yield p95("cable_p95", "cable put in again: to connected", taken, "s", most=2)


def measure_sleep(sitting: Sitting) -> Iterator[Figure]:
    """A host sleeps until the other one has given it up, and wakes."""
    pair, taken = sitting.couple(), []
    for _ in sitting.times(5, 1, "sleep"):
        pair.talk()
        time.sleep(SETTLED)
        with pair.blue.asleep():
            pair.say(pair.red)
            seconds_until(lambda: not connected(pair.red.node, pair.blue_id))
            sitting.wait(5.0, "asleep")
        taken.append(seconds_until(lambda: _back(pair)))
    yield p95("wake", "a device wakes: to connected", taken, "s", most=2)


def measure_dead_paths(sitting: Sitting) -> Iterator[Figure]:
    """Nothing comes in any more, at once or while nobody speaks."""
    pair = sitting.couple()
    active = [_noticed(pair, speaking=True) for _ in sitting.times(6, 1, "dead paths")]
    yield p95("dead_active", "dead path noticed while speaking", active, "s", most=10)
    if sitting.quick:
        yield not_measured("dead_idle", "dead path noticed while idle", "s", "takes too long to be quick")
        return
    idle = [_noticed(pair, speaking=False) for _ in sitting.times(3, 0, "dead paths, idle")]
    yield p95("dead_idle", "dead path noticed while idle", idle, "s", most=30)


def _noticed(pair: Couple, *, speaking: bool) -> float:
    """Seconds from the last packet until the one that hears nothing has given the link up."""
    pair.talk()
    time.sleep(SETTLED)
    pair.talk()
    began = time.perf_counter()
    pair.blue.deafen()
    try:
        if speaking:
            pair.say()
        return seconds_until(lambda: not connected(pair.blue.node, pair.red_id), began)
    finally:
        pair.blue.unfilter()

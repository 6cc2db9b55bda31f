"""A node with ten connected devices: what each costs, and what all of them cost while nothing happens."""

from __future__ import annotations

from collections.abc import Iterator

import psutil

from springline.bench.figures import Figure, median
from springline.bench.sitting import Sitting, cpu_seconds, nodes

DEVICES = 10
SETTLE, IDLE = 10.0, 125.0
"""Seconds: until keys are rotated and nothing is left to do; and of idleness, one refresh of the keys included."""


def measure_crowd(sitting: Sitting) -> Iterator[Figure]:
    """Unshared memory, and idle CPU."""
    with nodes(3 if sitting.quick else DEVICES + 1) as made:
        hub = made[0]
        sitting.wait(1.0 if sitting.quick else SETTLE, "until all is quiet")
        links = [process.pid for process in hub.control.processes() if process.device is not None]
        used = [float(psutil.Process(pid).memory_full_info().uss) / 1e6 for pid in links]
        yield median("memory", "unshared memory of a paired device", used, "MB", most=10)
        seconds, before = 2.0 if sitting.quick else IDLE, cpu_seconds(hub)
        sitting.wait(seconds, "idle")
        share = (cpu_seconds(hub) - before) / seconds * 100
        yield Figure("idle_cpu", f"idle CPU with {len(links)} devices", share, "%", most=1)

"""Two nodes on this machine: connecting, talking, files, and coming back."""

from __future__ import annotations

import os
import secrets
import time
from collections.abc import Iterator
from pathlib import Path
from uuid import UUID

from springline.bench.figures import Figure, median, p95
from springline.bench.sitting import SETTLED, Sitting, connected, seconds_until
from springline.cli.demo import connect_time, dial_time, kill_and_wait, round_trip_times
from springline.control import Control
from springline.tests.nodes import echo

SPACING = 0.5
"""Seconds between two kills: faster ones are a crash loop, which the supervisor slows down on purpose."""

FILE_MIB, QUICK_MIB = 512, 8


def measure_connecting(sitting: Sitting) -> Iterator[Figure]:
    """From the word to the session: by the link's own clock, and as whoever has said the word sees it."""
    blue, red = sitting.pair()
    them = red.control.whoami().device_id
    seen, inside = [], []
    for _ in sitting.times(40, 3, "dial and handshake"):
        seen.append(connect_time(blue.control, them))
        inside.append(dial_time(blue.control, them))
    yield median("connect", "dial and handshake", inside, "ms", most=10)
    yield median("connect_seen", "dial and handshake, asked for and told of", seen, "ms")


def measure_talking(sitting: Sitting) -> Iterator[Figure]:
    """64 bytes to a handler's process over there, and the answer."""
    blue, red = sitting.pair()
    them = red.control.whoami().device_id
    taken: list[float] = []
    for _ in sitting.times(10, 1, "round trips"):
        taken += round_trip_times(blue.control, them, 20 if sitting.quick else 200)
    yield median("round_trip", "round trip through a handler", taken, "ms", most=2)
    yield p95("round_trip_p95", "round trip through a handler", taken, "ms")


def measure_files(sitting: Sitting) -> Iterator[Figure]:
    """Disk to disk, verified."""
    blue, red = sitting.pair()
    them, mib = red.control.whoami().device_id, QUICK_MIB if sitting.quick else FILE_MIB
    rates = [file_rate(blue.control, them, blue.folder, mib) for _ in sitting.times(5, 1, f"a file of {mib} MiB")]
    yield median("file", f"file of {mib} MiB, disk to disk, verified", rates, "MB/s", least=200)


def file_rate(node: Control, device: UUID, folder: Path, mib: int) -> float:
    """MB/s of one new file, from handing it over until the receiver has verified it."""
    path = folder / f"{secrets.token_hex(4)}.bin"
    with path.open("wb") as file:
        for _ in range(mib):
            file.write(os.urandom(1 << 20))
    result = node.send_file(device, path).wait()
    path.unlink()
    return result.size / result.seconds / 1e6


def measure_kills(sitting: Sitting) -> Iterator[Figure]:
    """SIGKILL of the process that has the link."""
    blue, red = sitting.pair()
    them = red.control.whoami().device_id
    taken = []
    for _ in sitting.times(60, 2, "kills"):
        time.sleep(SPACING)
        taken.append(kill_and_wait(blue.control, f"connections.{them.hex}", them))
    yield median("killed", "reconnect after SIGKILL of the connection", taken, "ms", most=150)
    yield p95("killed_p95", "reconnect after SIGKILL of the connection", taken, "ms", most=500)


def measure_starts(sitting: Sitting) -> Iterator[Figure]:
    """A node that starts, and a peer that is killed as a whole and started again."""
    blue, red = sitting.pair()
    us, them = blue.control.whoami().device_id, red.control.whoami().device_id
    starts, backs, wholes = [], [], []
    for _ in sitting.times(8, 1, "restarts"):
        seconds_until(lambda: connected(blue, them))
        time.sleep(0.0 if sitting.quick else SETTLED)
        red.kill()
        began = time.perf_counter()
        red.up()
        ready = time.perf_counter()
        starts.append(ready - began)
        backs.append(seconds_until(lambda: echo(red.control, us) and echo(blue.control, them), ready))
        wholes.append(backs[-1] + starts[-1])
    yield median("start", "node start to ready, the whole command", starts, "s", most=1.5)
    yield median("restarted", "peer restarted: from ready to connected", backs, "s", most=1)
    yield median("restarted_whole", "peer killed and started: to connected", wholes, "s")

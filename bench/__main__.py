"""The numbers, measured on two real nodes on this machine and printed beside their goals, as a table and as JSON.

Machines are shared and noisy: medians are quoted, and nothing here fails because it is slow. ``--json`` prints the JSON
alone; ``--file-mib`` and ``--kills`` make it longer or shorter.
"""

from __future__ import annotations

import argparse
import json
import os
import secrets
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from uuid import UUID

import psutil
from rich.console import Console
from rich.table import Table

from springline.bench.store import Row, measure_store
from springline.cli.demo import connect_time, kill_and_wait, round_trip_times
from springline.cli.local import LocalNode, left_over
from springline.control import Control
from springline.store.envelope import Strength

SPACING = 0.5
"""Seconds between two kills: faster ones are a crash loop, which the supervisor slows down on purpose."""


def percentile(values: list[float], share: float) -> float:
    """The value below which that share lies."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * share))]


@contextmanager
def nodes(count: int) -> Iterator[list[LocalNode]]:
    """That many running nodes; the first is paired and connected with every other one."""
    token = secrets.token_hex(8)
    folder = Path(tempfile.mkdtemp(prefix="springline-bench-"))
    made = [LocalNode(folder / f"n{number}", f"n{number}", token, Strength.MINIMAL) for number in range(count)]
    try:
        for node in made:
            node.__enter__()
        hub = made[0].control
        for node in made[1:]:
            node.control.join(hub.invite().uri)
        for node in made[1:]:
            hub.await_state(node.control.whoami().device_id, "Connected", 30.0)
        yield made
    finally:
        for node in made:
            node.down()
        shutil.rmtree(folder, ignore_errors=True)
        rest = left_over(token)
        if rest:
            sys.exit(f"processes left over: {rest}")


def unshared_mb(pid: int) -> float:
    """Unshared memory of one process, in MB."""
    return float(psutil.Process(pid).memory_full_info().uss) / 1e6


def cpu_seconds(node: LocalNode) -> float:
    """CPU time of all processes of a node so far."""
    pids = [node.pid, *(process.pid for process in node.control.processes())]
    times = [psutil.Process(pid).cpu_times() for pid in pids]
    return float(sum(t.user + t.system for t in times))


def measure_pair(file_mib: int, kills: int) -> Iterator[Row]:
    """Everything that takes two nodes."""
    with nodes(2) as (blue, red):
        them = red.control.whoami().device_id
        connects = [connect_time(blue.control, them) for _ in range(20)]
        yield "dial + handshake, p50", statistics.median(connects), "ms", "≤ 10"
        trips = round_trip_times(blue.control, them, 1000)
        yield "round trip through a handler, p50", statistics.median(trips), "ms", "≤ 2"
        yield "round trip through a handler, p99", percentile(trips, 0.99), "ms", ""
        rates = [file_rate(blue.control, them, blue.folder, file_mib) for _ in range(3)]
        yield f"file of {file_mib} MiB, verified", statistics.median(rates), "MB/s", "≥ 200"
        name = f"connections.{them.hex}"
        back = []
        for _ in range(kills):
            time.sleep(SPACING)
            back.append(kill_and_wait(blue.control, name, them))
        yield "reconnect after SIGKILL, p50", statistics.median(back), "ms", "≤ 150"
        yield "reconnect after SIGKILL, p95", percentile(back, 0.95), "ms", "≤ 500"
        starts = []
        for _ in range(3):
            red.down()
            began = time.perf_counter()
            red.up()
            starts.append(time.perf_counter() - began)
        yield "node start to ready (whole command)", statistics.median(starts), "s", "≤ 1.5"


def file_rate(node: Control, device: UUID, folder: Path, mib: int) -> float:
    """MB/s of one new file, from handing it over until the receiver has verified it."""
    path = folder / f"{secrets.token_hex(4)}.bin"
    block = os.urandom(1 << 20)
    with path.open("wb") as file:
        for _ in range(mib):
            file.write(block)
    result = node.send_file(device, path).wait()
    path.unlink()
    return result.size / result.seconds / 1e6


def measure_ten(seconds: float) -> Iterator[Row]:
    """Memory and idle CPU of a node with ten connected devices."""
    with nodes(11) as made:
        hub = made[0]
        links = [process.pid for process in hub.control.processes() if process.device is not None]
        yield "memory per paired device, unshared", statistics.median(map(unshared_mb, links)), "MB", "≤ 10"
        before = cpu_seconds(hub)
        time.sleep(seconds)
        yield "idle CPU with ten devices", (cpu_seconds(hub) - before) / seconds * 100, "%", "≤ 1"


def main() -> None:
    """Measure and print."""
    options = argparse.ArgumentParser(prog="python -m springline.bench", description=__doc__)
    options.add_argument("--json", action="store_true", help="JSON alone")
    options.add_argument("--file-mib", type=int, default=512)
    options.add_argument("--kills", type=int, default=40)
    options.add_argument("--idle-seconds", type=float, default=30.0)
    options.add_argument("--devices", type=int, default=1000, help="in the store that is measured")
    chosen = options.parse_args()
    rows: list[Row] = []
    console = Console(stderr=True)
    with console.status("measuring…"):
        rows += measure_pair(chosen.file_mib, chosen.kills)
        rows += measure_ten(chosen.idle_seconds)
        rows += measure_store(chosen.devices)
    if not chosen.json:
        table = Table("What", "Measured", "", "Goal", box=None, header_style="dim")
        for what, value, unit, goal in rows:
            table.add_row(what, f"{value:.2f}", unit, goal)
        console.print(table)
    print(json.dumps([{"what": w, "value": round(v, 3), "unit": u, "goal": g} for w, v, u, g in rows]))


main()

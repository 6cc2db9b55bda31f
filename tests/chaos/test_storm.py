"""Random SIGKILLs of any process on both sides, by a seed, under load.

``SPRINGLINE_CHAOS_KILLS`` and ``SPRINGLINE_CHAOS_SEED`` choose how many and which; ``make chaos`` takes many.
"""

from __future__ import annotations

import contextlib
import os
import random
import signal
import statistics
import time

from blake3 import blake3

from springline.errors import SpringlineError
from springline.tests.nodes import Pair, eventually

KILLS = int(os.environ.get("SPRINGLINE_CHAOS_KILLS", "15"))
SEED = int(os.environ.get("SPRINGLINE_CHAOS_SEED", "1"))


def test_a_storm_leaves_nothing_broken(pair: Pair) -> None:
    choose = random.Random(SEED)
    source = pair.folder / f"storm-{SEED}.bin"
    source.write_bytes(os.urandom(32 << 20))
    times, victims = [], []
    transfer = pair.blue.control.send_file(pair.red_id, source)
    for _ in range(KILLS):
        node, _ = choose.choice(sorted(pair.sides().items()))[1]
        # whoever was killed last may have taken all the others with it
        victim = choose.choice(eventually(node.processes, "somebody is there"))
        victims.append(victim.actor)
        with contextlib.suppress(ProcessLookupError):
            os.kill(victim.pid, signal.SIGKILL)
        began = time.monotonic()
        pair.await_link()
        times.append(time.monotonic() - began)
        with contextlib.suppress(SpringlineError):
            transfer.progress()
    result = transfer.wait(timeout=120)
    assert result.blake3 == blake3(source.read_bytes()).digest()
    assert (pair.folder / "red" / "incoming" / source.name).read_bytes() == source.read_bytes()
    times.sort()
    print(f"seed {SEED}: {KILLS} kills of {sorted(set(victims))}")
    median, most = statistics.median(times) * 1000, times[int(len(times) * 0.95)] * 1000
    print(f"back after: p50 {median:.0f} ms, p95 {most:.0f} ms")
    source.unlink()

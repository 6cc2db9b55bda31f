"""The store with a thousand paired devices: what a change, an opening and a node's start take.

The devices are made through the vault as a pairing would; the user has disconnected all of them, so that the figure is
that of the store and the tree, not of a thousand dials. Nobody's fsync is measured: that is the disk's.
"""

from __future__ import annotations

import secrets
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path

from springline.cli.local import LocalNode, left_over
from springline.store import atomic, opening
from springline.store.identity import NetworkIdentity
from springline.store.layout import Layout
from springline.store.vault import Vault

TIMES = 15

Row = tuple[str, float, str, str]


def measure_store(devices: int) -> Iterator[Row]:
    """The store by itself, then a node on it."""
    token, folder = secrets.token_hex(8), Path(tempfile.mkdtemp(prefix="springline-bench-"))
    node = LocalNode(folder, "many", token)
    atomic.calls.fsync = lambda _fd: None
    try:
        node.init()
        passphrase = node.passphrase.encode()
        vault = opening.unlock(Layout(folder), passphrase)
        _pair(vault, devices)
        one = vault.devices()[0].info.device_id
        change = _median(lambda: vault.seen(one, _now()))
        yield f"saving a change of one of {devices} devices, without fsync", change * 1000, "ms", "≤ 10"
        opened = _median(lambda: opening.unlock_with(vault.layout, vault.data_key))
        yield f"opening {devices} devices, without Argon2id", opened, "s", "≤ 1.5"
        derived = _median(lambda: vault.lock.derive(passphrase), 3)
        yield "Argon2id at default strength", derived, "s", "0.3 to 1.0"
        began = time.perf_counter()
        node.up()
        yield f"node with {devices} devices, start to ready (whole command)", time.perf_counter() - began, "s", ""
        while sum(process.device is not None for process in node.control.processes()) < devices:
            time.sleep(0.1)
        yield f"until each of {devices} devices has its process", time.perf_counter() - began, "s", ""
    finally:
        atomic.calls = atomic.Calls()
        node.down()
        shutil.rmtree(folder, ignore_errors=True)
        rest = left_over(token)
        if rest:
            sys.exit(f"processes left over: {rest}")


def _pair(vault: Vault, devices: int) -> None:
    """That many devices, none of them wanted."""
    for number in range(devices):
        info = NetworkIdentity.new().info(f"device {number}")
        vault.pair(info, secrets.token_bytes(32), (f"192.0.2.1:{1024 + number}",), _now())
        vault.set_auto_connect(info.device_id, False, _now())


def _median(action: Callable[[], object], times: int = TIMES) -> float:
    """Seconds."""
    taken = []
    for _ in range(times):
        began = time.perf_counter()
        action()
        taken.append(time.perf_counter() - began)
    return statistics.median(taken)


def _now() -> datetime:
    return datetime.now(UTC)

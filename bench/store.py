"""The store with a thousand paired devices: what a change, an opening and a node's start take.

The devices are made through the vault as a pairing would; the user has disconnected all of them, so that the figure is
that of the store and the tree, not of a thousand dials. Nobody's fsync is measured: that is the disk's.
"""

from __future__ import annotations

import contextlib
import secrets
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path

from springline.bench.figures import Figure, median
from springline.bench.sitting import Sitting, seconds_until
from springline.cli.local import LocalNode
from springline.store import atomic, opening
from springline.store.identity import NetworkIdentity
from springline.store.layout import Layout
from springline.store.vault import Vault

DEVICES, QUICK_DEVICES = 1000, 20

STARTING = 300.0
"""Seconds in which a thousand processes have started, ten at a time, on any machine."""


def measure_store(sitting: Sitting) -> Iterator[Figure]:
    """The store by itself, then a node on it."""
    count = QUICK_DEVICES if sitting.quick else DEVICES
    with _unsynced(), _home() as node:
        vault = opening.unlock(Layout(node.folder), node.passphrase.encode())
        _pair(sitting, vault, count)
        yield from _changes(sitting, vault, count)
        yield from _openings(sitting, vault, node.passphrase.encode(), count)
        began = time.perf_counter()
        node.up()
        started = time.perf_counter() - began
        yield Figure("start_many", f"node with {count} devices, start to ready (the whole command)", started, "s")
        running = seconds_until(lambda: _links(node) >= count, began, STARTING)
        yield Figure("links_many", f"until each of {count} devices has its process", running, "s")


def _changes(sitting: Sitting, vault: Vault, count: int) -> Iterator[Figure]:
    one = vault.devices()[0].info.device_id
    taken = [_seconds(lambda: vault.seen(one, _now())) * 1000 for _ in sitting.times(40, 3, "changes")]
    yield median("change", f"saving a change of one of {count} devices, without fsync", taken, "ms", most=10)


def _openings(sitting: Sitting, vault: Vault, passphrase: bytes, count: int) -> Iterator[Figure]:
    layout, key = vault.layout, vault.data_key
    taken = [_seconds(lambda: opening.unlock_with(layout, key)) for _ in sitting.times(15, 2, "openings")]
    yield median("open", f"opening {count} devices, without Argon2id", taken, "s", most=1.5)
    with _opened() as paths:
        opening.unlock_with(layout, key)
    of_devices = sum("/connections/" in path for path in paths)
    yield Figure("open_files", "files of single devices read by that", of_devices, "", most=0)
    derived = [_seconds(lambda: vault.lock.derive(passphrase)) for _ in sitting.times(5, 1, "Argon2id")]
    yield median("unlock", "unlocking at default strength (Argon2id)", derived, "s", least=0.3, most=1)


@contextlib.contextmanager
def _unsynced() -> Iterator[None]:
    atomic.calls.fsync = lambda _fd: None
    try:
        yield
    finally:
        atomic.calls = atomic.Calls()


@contextlib.contextmanager
def _home() -> Iterator[LocalNode]:
    folder = Path(tempfile.mkdtemp(prefix="springline-bench-"))
    node = LocalNode(folder, "many", secrets.token_hex(8))
    try:
        node.init()
        yield node
    finally:
        node.down()
        shutil.rmtree(folder, ignore_errors=True)


_watching: list[list[str]] = []


@contextlib.contextmanager
def _opened() -> Iterator[list[str]]:
    """The paths of the files that are opened meanwhile. An audit hook can't be taken away, so there is one at most."""
    if not _watching:
        sys.addaudithook(_opens)
    _watching.append([])
    yield _watching[-1]
    _watching.append([])


def _opens(event: str, arguments: tuple[object, ...]) -> None:
    if event == "open":
        _watching[-1].append(str(arguments[0]))


def _pair(sitting: Sitting, vault: Vault, devices: int) -> None:
    """That many devices, none of them wanted."""
    for number in sitting.times(devices, devices, f"pairing {devices} devices"):
        info = NetworkIdentity.new().info(f"device {number}")
        vault.pair(info, secrets.token_bytes(32), (f"192.0.2.1:{1024 + number}",), _now())
        vault.set_auto_connect(info.device_id, False, _now())


def _links(node: LocalNode) -> int:
    return sum(process.device is not None for process in node.control.processes())


def _seconds(action: Callable[[], object]) -> float:
    began = time.perf_counter()
    action()
    return time.perf_counter() - began


def _now() -> datetime:
    return datetime.now(UTC)

"""``springline demo``: the main job, end to end, on this machine, in front of your eyes.

Two nodes run as real ``springline up`` processes in temporary directories on 127.0.0.1. They are paired, talk, move a
file, and are then shot at with SIGKILL: the DeviceConnection ten times, then the Keystore, the transport and the
ConnectionManager. What is measured is told as it happens. Nothing is left over: no process, no file.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import signal
import statistics
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import UUID

from blake3 import blake3

from springline.actors.messages import CONNECTIONS, KEYSTORE, TRANSPORT, LinkWanted, connection_name
from springline.cli.console import err, print_json
from springline.cli.local import LocalNode, left_over
from springline.cli.views import transfer_bar
from springline.control import Control
from springline.errors import LocalFault, SpringlineError
from springline.protocols.message import Custom

FILE_SIZE = 256 << 20
KILLS = 10
ROUND_TRIPS = 200
PATIENCE = 20.0

KILLED_ONCE = (KEYSTORE, TRANSPORT, CONNECTIONS)
"""Whom the demo kills beside the DeviceConnection."""


@dataclass(slots=True)
class Seen:
    """What the demo saw; the fields of its JSON."""

    connect_ms: float = 0.0
    round_trip_ms_p50: float = 0.0
    file_mb_per_s: float = 0.0
    reconnect_ms: list[float] = field(default_factory=list)
    reconnect_ms_p50: float = 0.0
    reconnect_ms_after: dict[str, float] = field(default_factory=dict)
    intact: bool = False
    orphans: int = -1

    def all_well(self, kills: int) -> bool:
        """Everything has arrived intact, everything that was killed is back, and nothing is left over."""
        back = len(self.reconnect_ms) == kills and set(self.reconnect_ms_after) == set(KILLED_ONCE)
        return self.intact and back and self.orphans == 0


def run_demo(*, as_json: bool, file_size: int = FILE_SIZE, kills: int = KILLS) -> int:
    """Run it; returns the exit code: 0 only if everything arrived intact and everything reconnected."""
    tell = _teller(as_json)
    seen = Seen()
    token = secrets.token_hex(8)
    with tempfile.TemporaryDirectory(prefix="springline-demo-") as folder:
        try:
            home = Path(folder)
            with LocalNode(home / "blue", "blue", token) as blue, LocalNode(home / "red", "red", token) as red:
                _play(blue.control, red.control, home, seen, tell, file_size, kills)
        except SpringlineError as error:
            tell(f"[red]✗[/] {error}")
        rest = left_over(token)
        seen.orphans = len(rest)
    tell(f"{'[green]✓[/]' if not rest else '[red]✗[/]'} both nodes stopped; {len(rest)} processes left over")
    if as_json:
        print_json({name: getattr(seen, name) for name in Seen.__slots__})
    return 0 if seen.all_well(kills) else 1


def _teller(as_json: bool) -> Callable[[str], None]:
    def tell(line: str) -> None:
        if not as_json:
            err.print(line)

    return tell


def _play(blue: Control, red: Control, folder: Path, seen: Seen, tell: Any, file_size: int, kills: int) -> None:
    them = red.whoami().device_id
    us = blue.whoami().device_id
    invitation = red.invite()
    tell(f"[green]✓[/] two nodes are up. red invites: [cyan]{invitation.words}[/]")
    blue.join(invitation.words, str(red.listening_at()))
    blue.await_state(them, "Connected", PATIENCE)
    red.await_state(us, "Connected", PATIENCE)
    tell("[green]✓[/] blue has joined with the words; both are connected")

    connect_time(blue, them)
    seen.connect_ms = dial_time(blue, them)
    tell(f"[green]✓[/] dial and handshake: {seen.connect_ms:.1f} ms")
    _say(blue, red, us, them)
    tell("[green]✓[/] a message each way has arrived")
    seen.round_trip_ms_p50 = statistics.median(round_trip_times(blue, them, ROUND_TRIPS))
    tell(f"[green]✓[/] round trip through a handler: {seen.round_trip_ms_p50:.2f} ms (median of {ROUND_TRIPS})")
    seen.file_mb_per_s, seen.intact = _move_file(blue, them, folder, file_size)
    tell(f"[green]✓[/] {file_size >> 20} MiB moved and verified: {seen.file_mb_per_s:.0f} MB/s")

    for number in range(kills):
        seen.reconnect_ms.append(kill_and_wait(blue, connection_name(them), them))
        tell(f"[green]✓[/] SIGKILL {number + 1:2} of the DeviceConnection: back in {seen.reconnect_ms[-1]:.0f} ms")
    seen.reconnect_ms_p50 = statistics.median(seen.reconnect_ms) if seen.reconnect_ms else 0.0
    for actor in KILLED_ONCE:
        took = kill_and_wait(blue, actor, them)
        seen.reconnect_ms_after[actor] = took
        tell(f"[green]✓[/] SIGKILL of {actor}: the link answers after {took:.0f} ms")


def connect_time(node: Control, device: UUID) -> float:
    """Milliseconds from asking for the link, which is taken down first, to being told that it is up."""
    connection = connection_name(device)
    node.ask(connection, LinkWanted(wanted=False))
    node.await_state(device, "Disconnected", PATIENCE)
    began = time.perf_counter()
    node.ask(connection, LinkWanted(wanted=True))
    node.await_state(device, "Connected", PATIENCE)
    return (time.perf_counter() - began) * 1000


def dial_time(node: Control, device: UUID) -> float:
    """Milliseconds that the link's own clock has counted from the last dial of it to the session."""
    told = node.why(device).entries
    up = max(number for number, entry in enumerate(told) if entry.after == "Connected" != entry.before)
    began = max(number for number, entry in enumerate(told[:up]) if entry.after == "Connecting")
    return (told[up].at - told[began].at) * 1000


def _say(blue: Control, red: Control, us: UUID, them: UUID) -> None:
    for node, device in ((blue, them), (red, us)):
        node.send(device, Custom("text", 1, b"hello"))


def round_trip_times(node: Control, device: UUID, count: int) -> list[float]:
    """Milliseconds of 64-byte messages to the echo handler and back, one after another."""
    message = Custom("echo", 1, bytes(64))
    times = []
    for _ in range(count):
        began = time.perf_counter()
        if node.send(device, message, protocol="echo") != message:
            raise LocalFault("the echo was not what was sent")
        times.append((time.perf_counter() - began) * 1000)
    return times


def _move_file(node: Control, device: UUID, folder: Path, size: int) -> tuple[float, bool]:
    """MB/s of a file of random bytes, and whether the copy is the same."""
    source = folder / "demo.bin"
    digest = blake3()
    with source.open("wb") as file:
        for _ in range(size >> 20):
            block = os.urandom(1 << 20)
            digest.update(block)
            file.write(block)
    transfer = node.send_file(device, source)
    with transfer_bar(source.name, transfer.size) as watch:
        result = transfer.wait(watch)
    copy = folder / "red" / "incoming" / "demo.bin"
    same = copy.stat().st_size == size and blake3(copy.read_bytes()).digest() == digest.digest() == result.blake3
    return result.size / result.seconds / 1e6, same


def kill_and_wait(node: Control, actor: str, device: UUID) -> float:
    """SIGKILL that actor; milliseconds until it is another process and the link carries a message again."""
    pid = _pid_of(node, actor)
    began = time.perf_counter()
    os.kill(pid, signal.SIGKILL)
    while time.perf_counter() - began < PATIENCE:
        with contextlib.suppress(SpringlineError):
            if _pid_of(node, actor) != pid:
                node.send(device, Custom("echo", 1, b"?"), protocol="echo", timeout=1.0)
                return (time.perf_counter() - began) * 1000
        time.sleep(0.002)
    raise LocalFault(f"{actor} did not come back in {PATIENCE:g} s")


def _pid_of(node: Control, actor: str) -> int:
    pids = [process.pid for process in node.processes() if process.actor == actor]
    if not pids:
        raise LocalFault(f"{actor} is down at the moment")
    return pids[0]

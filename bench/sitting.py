"""One sitting: how much is to be measured, what runs for it, and how far it is.

The rule: nodes are started when the first figure needs them and serve all that follow; whatever happens, nothing is
left when the sitting is over.
"""

from __future__ import annotations

import contextlib
import secrets
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar
from uuid import UUID

import psutil
from rich.progress import Progress

from springline.cli.local import LocalNode, left_over
from springline.errors import LocalFault, SpringlineError
from springline.store.envelope import Strength
from springline.tests.network.couple import Couple, couple
from springline.tests.network.lab import lab

PATIENCE = 60.0
POLL = 0.002

Kept = TypeVar("Kept")

SETTLED = 4.0
"""Seconds that a session lives before it ends on purpose: its keys have been rotated by then."""


class Sitting:
    """:param quick: a few runs of each, to see that it works. :param progress: shows how far it is."""

    def __init__(self, progress: Progress, *, quick: bool = False) -> None:
        self.progress = progress
        self.quick = quick
        self._stack = contextlib.ExitStack()
        self._pair: tuple[LocalNode, LocalNode] | None = None
        self._couple: Couple | None = None

    def __enter__(self) -> Sitting:
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def pair(self) -> tuple[LocalNode, LocalNode]:
        """Two nodes on 127.0.0.1, paired and connected."""
        if self._pair is None:
            blue, red = self._stack.enter_context(nodes(2))
            self._pair = blue, red
        return self._pair

    def couple(self) -> Couple:
        """Two in network namespaces, whose cables can be pulled. :raises NoLab: that can't be here."""
        if self._couple is None:
            network = self._stack.enter_context(lab("nft"))
            red, blue = network.host("red", "10.77.0.1"), network.host("blue", "10.77.0.2")
            self._couple = self._stack.enter_context(couple(red, blue))
        return self._couple

    def times(self, many: int, few: int, what: str) -> Iterator[int]:
        """Count runs, and show it. :param few: if it is to be quick."""
        task = self.progress.add_task(what, total=few if self.quick else many)
        try:
            for number in range(few if self.quick else many):
                yield number
                self.progress.advance(task)
        finally:
            self.progress.remove_task(task)

    def wait(self, seconds: float, what: str) -> None:
        """Let time pass, and show it."""
        task = self.progress.add_task(what, total=seconds)
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0:
            time.sleep(min(left, 0.5))
            self.progress.update(task, completed=seconds - left)
        self.progress.remove_task(task)


@contextlib.contextmanager
def nodes(count: int) -> Iterator[list[LocalNode]]:
    """That many running nodes; the first is paired and connected with every other one."""
    folder = Path(tempfile.mkdtemp(prefix="springline-bench-"))
    made = [
        LocalNode(folder / f"n{number}", f"n{number}", secrets.token_hex(8), Strength.MINIMAL)
        for number in range(count)
    ]
    try:
        with ThreadPoolExecutor(2) as pool:
            list(pool.map(LocalNode.__enter__, made))
        hub = made[0].control
        for node in made[1:]:
            node.control.join(hub.invite().uri)
        for node in made[1:]:
            hub.await_state(node.control.whoami().device_id, "Connected", PATIENCE)
        yield made
    finally:
        for node in made:
            node.down()
        shutil.rmtree(folder, ignore_errors=True)
        rest = [pid for node in made for pid in left_over(node.token)]
        if rest:
            raise LocalFault(f"processes left over: {rest}")


def cpu_seconds(node: LocalNode) -> float:
    """CPU time of all processes of a node so far."""
    spent = 0.0
    for pid in left_over(node.token):
        with contextlib.suppress(psutil.NoSuchProcess):
            times = psutil.Process(pid).cpu_times()
            spent += times.user + times.system
    return spent


def seconds_until(holds: Callable[[], object], since: float | None = None, patience: float = PATIENCE) -> float:
    """How long it takes.

    :param since: of ``time.perf_counter``; by default now. :param patience: seconds.
    :raises LocalFault: it takes longer.
    """
    began = time.perf_counter() if since is None else since
    while time.perf_counter() - began < patience:
        with contextlib.suppress(SpringlineError):
            if holds():
                return time.perf_counter() - began
        time.sleep(POLL)
    raise LocalFault(f"not after {patience:g} s")


def connected(node: LocalNode, device: UUID) -> bool:
    """What the node says of its link."""
    return node.control.find(device).link.state == "Connected"

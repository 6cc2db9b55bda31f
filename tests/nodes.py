"""Two real, paired nodes for the tests: processes of their own, real sockets, on 127.0.0.1."""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TypeVar
from uuid import UUID

from springline.cli.local import LocalNode, left_over
from springline.control import Control
from springline.errors import SpringlineError
from springline.protocols.message import Custom
from springline.store.envelope import Strength
from springline.tests import forked

T = TypeVar("T")

PATIENCE = 60.0
"""Seconds: a machine may be busy. Where all is well it takes none of them."""


def eventually(holds: Callable[[], T | None], what: str, patience: float = PATIENCE) -> T:
    """Wait until ``holds()`` is true, and return it; errors of the node in between are not yet an answer."""
    end = time.monotonic() + patience
    last: object = None
    while time.monotonic() < end:
        try:
            last = said = holds()
            if said:
                return said
        except SpringlineError as error:
            last = error
        time.sleep(0.005)
    raise AssertionError(f"not after {patience:g} s: {what} (last: {last!r})")


class QuickNode(LocalNode):
    """A node whose processes need not import anything, see ``tests/forked.py``."""

    def _start(self, command: Sequence[str]) -> subprocess.Popen[str]:
        return forked.start(command, self.environment)


class Pair:
    """blue and red, paired and connected."""

    def __init__(self, folder: Path, token: str, make: type[LocalNode] = QuickNode) -> None:
        self.folder = folder
        self.blue = make(folder / "blue", "blue", token, Strength.MINIMAL)
        self.red = make(folder / "red", "red", token, Strength.MINIMAL)

    def join(self) -> None:
        invitation = self.red.control.invite()
        self.blue.control.join(invitation.uri)
        self.blue_id = self.blue.control.whoami().device_id
        self.red_id = self.red.control.whoami().device_id
        self.await_link()

    def tell_logs(self) -> None:
        """What the nodes have logged last; pytest shows it beside the failure."""
        for node in (self.blue, self.red):
            log = node.folder / "run" / "bus" / "springline.log"
            print(f"--- {node.name}:", *log.read_text().splitlines()[-60:], sep="\n")

    def sides(self) -> dict[str, tuple[Control, UUID]]:
        """By name: the node, and the other one's id."""
        return {"blue": (self.blue.control, self.red_id), "red": (self.red.control, self.blue_id)}

    def await_link(self, patience: float = PATIENCE) -> None:
        """Both sides answer a message through a handler."""
        for name, (node, other) in self.sides().items():
            eventually(lambda node=node, other=other: echo(node, other), f"{name} gets an echo", patience)  # type: ignore[misc]


def echo(node: Control, device: UUID) -> bool:
    """A message to the other side's handler and back."""
    message = Custom("echo", 1, os.urandom(8))
    return node.send(device, message, protocol="echo", timeout=5.0) == message


def rotated(node: Control, since: int = 0) -> bool:
    """Its audit trail tells of a rotated key. The store itself has one reader, its node.

    :param since: only later entries count.
    """
    return any(entry.kind == "key rotated" and entry.seq > since for entry in node.audit(50))


def pid_of(node: Control, actor: str) -> int | None:
    """The process that has that name now."""
    return next((process.pid for process in node.processes() if process.actor == actor), None)


def process_of(node: Control, actor: str) -> int:
    """The process that has that name, as soon as one has: it may just be coming back."""
    return eventually(lambda: pid_of(node, actor), f"{actor} has a process")


def kill(node: Control, actor: str) -> int:
    """SIGKILL to the process that has that name. :returns: its pid."""
    pid = process_of(node, actor)
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)
    return pid


def kill_and_await(node: Control, actor: str) -> None:
    """SIGKILL to the process that has that name, and wait until another one has it."""
    former = kill(node, actor)
    eventually(lambda: pid_of(node, actor) not in (None, former), f"{actor} is back")


@contextlib.contextmanager
def paired(make: type[LocalNode] = QuickNode) -> Iterator[Pair]:
    """A running pair; afterwards nothing of it is left. :param make: what kind of nodes."""
    token = secrets.token_hex(8)
    folder = Path(tempfile.mkdtemp(prefix="springline-test-"))
    pair = Pair(folder, token, make)
    try:
        with pair.blue, pair.red:
            try:
                pair.join()
                yield pair
            except BaseException:
                pair.tell_logs()
                raise
        rest = left_over(token)
        assert not rest, f"processes left over: {rest}"
        assert not (folder / "blue" / "run" / "bus").is_symlink()
    finally:
        shutil.rmtree(folder, ignore_errors=True)

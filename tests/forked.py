"""Commands of springline in processes that are forked from one which has imported it: see ``tests/nursery.py``.

The rule: what Python reads while it starts would be missed. So where the environment is another one than this process's
in more than our own variables, or the command is no Python, or there is no such thing on this system, the process is
started as any other.
"""

from __future__ import annotations

import contextlib
import functools
import json
import os
import select
import selectors
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from typing import IO

from springline.cli.local import TOKEN
from springline.tests.nursery import ROOM

OURS = ("SPRINGLINE_", "PYTEST_", "SPT_NOENV", "PYTHONUNBUFFERED")
"""How variables begin that may differ: nothing reads them while it is imported."""


def start(command: Sequence[str], environment: Mapping[str, str]) -> subprocess.Popen[str]:
    """Start it, with pipes for its streams."""
    if _may_be_forked(command, environment):
        return Forked(command, environment)
    pipe = subprocess.PIPE
    return subprocess.Popen(command, env=environment, stdin=pipe, stdout=pipe, stderr=pipe, text=True)


def _may_be_forked(command: Sequence[str], environment: Mapping[str, str]) -> bool:
    if sys.platform != "linux" or command[0] != sys.executable or command[1] not in ("-m", "-c"):
        return False
    if not 0 < len(environment.get(TOKEN, "")) <= ROOM:
        return False
    other = set(environment.items()) ^ set(os.environ.items())
    return all(name.startswith(OURS) for name, _ in other)


class Nursery:
    """The process that forks; it ends with this one."""

    def __init__(self) -> None:
        self._socket, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._lock = threading.Lock()
        command = [sys.executable, "-m", "springline.tests.nursery", str(theirs.fileno()), "." * 1024]
        environment = {**os.environ, TOKEN: "-" * ROOM, "SPT_NOENV": "1", "PYTHONUNBUFFERED": "1"}
        self._process = subprocess.Popen(command, env=environment, pass_fds=[theirs.fileno()])
        theirs.close()

    def fork(self, command: Sequence[str], environment: Mapping[str, str], fds: Sequence[int]) -> int:
        """→ the process. :param fds: its three streams, and where to tell its status when it has ended."""
        request = {"command": [*command], "environment": {**environment}, "folder": os.getcwd()}
        with self._lock:
            socket.send_fds(self._socket, [json.dumps(request).encode()], fds)
            return int(self._socket.recv(32))


@functools.cache
def nursery() -> Nursery:
    """The one of this process."""
    return Nursery()


class Forked(subprocess.Popen[str]):
    """As a Popen with three pipes; somebody else is its parent."""

    def __init__(self, command: Sequence[str], environment: Mapping[str, str]) -> None:
        self.args = command
        self.returncode: int | None = None
        ways = [os.pipe() for _ in range(4)]
        theirs = [ways[0][0], ways[1][1], ways[2][1], ways[3][1]]
        ours = [ways[0][1], ways[1][0], ways[2][0], ways[3][0]]
        self.pid = nursery().fork(command[1:], environment, theirs)
        for fd in theirs:
            os.close(fd)
        self.stdin, self.stdout, self.stderr = (
            os.fdopen(fd, mode) for fd, mode in zip(ours, ("w", "r", "r"), strict=False)
        )
        self._status: IO[bytes] = os.fdopen(ours[3], "rb")

    def poll(self) -> int | None:
        """Its exit code, if it has ended."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.wait(0)
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        """Its exit code. :raises TimeoutExpired: it has not ended."""
        if self.returncode is None:
            if not select.select([self._status], [], [], timeout)[0]:
                raise subprocess.TimeoutExpired(self.args, timeout or 0.0)
            with self._status as status:
                self.returncode = int(status.read() or b"-9")
        return self.returncode

    def communicate(self, input: str | None = None, timeout: float | None = None) -> tuple[str, str]:
        """Write, close, read to the end, and wait. :param input: less than a pipe holds."""
        end = None if timeout is None else time.monotonic() + timeout
        if self.stdin is not None:
            for say in (functools.partial(self.stdin.write, input or ""), self.stdin.close):
                with contextlib.suppress(BrokenPipeError):
                    say()
        output, errors = self._read(end)
        self.wait(_left(end))
        return output, errors

    def _read(self, end: float | None) -> list[str]:
        """Both streams to their ends. :param end: monotonic seconds."""
        assert self.stdout is not None
        assert self.stderr is not None
        read: dict[int, bytes] = {self.stdout.fileno(): b"", self.stderr.fileno(): b""}
        with selectors.DefaultSelector() as waiting, self.stdout, self.stderr:
            for fd in read:
                waiting.register(fd, selectors.EVENT_READ)
            while waiting.get_map():
                ready = waiting.select(_left(end))
                if not ready:
                    raise subprocess.TimeoutExpired(self.args, 0.0)
                for key, _ in ready:
                    data = os.read(key.fd, 1 << 16)
                    read[key.fd] += data
                    if not data:
                        waiting.unregister(key.fd)
        return [data.decode() for data in read.values()]


def _left(end: float | None) -> float | None:
    return None if end is None else max(0.0, end - time.monotonic())

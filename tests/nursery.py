"""A process that has imported springline and forks itself for each command that it is asked for.

The rule: what the child does from its first line on is what ``python -m springline …`` does; it has its own arguments,
environment, streams and end. Only the second of CPU in which Python would import the package is spent once, and not for
each of hundreds of commands. Started as ``python -m springline.tests.nursery DESCRIPTOR PADDING``; it ends when the
other side of that socket does. ``tests/forked.py`` is the other side, and says when this will not do.

The padding, and the place for a token in its environment, are room for what its children write there: the title, and
the mark by which they are found. Children end with a status, told on a pipe of their own, as only a parent learns it.
"""

from __future__ import annotations

import ctypes
import gc
import importlib
import json
import os
import pkgutil
import runpy
import selectors
import signal
import socket
import sys
import types
from pathlib import Path
from typing import Any

import springline
from springline.cli.local import TOKEN

LARGEST = 1 << 18
"""Bytes of a request."""

ROOM = 16
"""Characters of a token."""

APART = ("springline.bench", "springline.docs", "springline.examples", "springline.tests", "springline.__main__")


def preload() -> None:
    """Import all that a node or a command may import, also late."""
    for module in pkgutil.walk_packages(springline.__path__, "springline."):
        if not module.name.startswith(APART):
            importlib.import_module(module.name)
    gc.collect()
    gc.freeze()


def serve(requests: socket.socket) -> dict[str, Any] | None:
    """Fork for each request. → the request, in a child; None at the end, in the parent."""
    told: dict[int, tuple[int, int]] = {}  # by the descriptor that shows a child's end: the child, and whom to tell
    waiting = selectors.DefaultSelector()
    waiting.register(requests, selectors.EVENT_READ)
    while True:
        for key, _ in waiting.select():
            if key.fd != requests.fileno():
                waiting.unregister(key.fd)
                _tell(key.fd, *told.pop(key.fd))
                continue
            data, fds, _, _ = socket.recv_fds(requests, LARGEST, 4)
            if not data:
                return None
            *streams, status = fds
            child = os.fork()
            if child == 0:
                waiting.close()
                requests.close()
                for fd in [status, *(fd for pidfd, (_, pipe) in told.items() for fd in (pidfd, pipe))]:
                    os.close(fd)
                return _begin(json.loads(data), streams)
            for fd in streams:
                os.close(fd)
            pidfd = os.pidfd_open(child)
            told[pidfd] = child, status
            waiting.register(pidfd, selectors.EVENT_READ)
            requests.send(str(child).encode())


def _tell(pidfd: int, child: int, status: int) -> None:
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    os.close(pidfd)
    with os.fdopen(status, "wb") as pipe:
        pipe.write(str(code).encode())


def _begin(request: dict[str, Any], streams: list[int]) -> dict[str, Any]:
    """Become what was asked for."""
    for fd, place in zip(streams, (0, 1, 2), strict=True):
        os.dup2(fd, place)
        os.close(fd)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    os.chdir(request["folder"])
    os.environ.clear()
    os.environ.update(request["environment"])
    _mark(request["environment"].get(TOKEN, ""))
    return request


def _mark(token: str) -> None:
    """Write it where other processes read this one's environment: that is as it was when Python was started."""
    begin, end = map(int, Path("/proc/self/stat").read_text().rpartition(")")[2].split()[47:49])
    place = ctypes.string_at(begin, end - begin).index(f"{TOKEN}=".encode()) + len(TOKEN) + 1
    ctypes.memmove(begin + place, token.encode().ljust(ROOM, b"\0"), ROOM)


def run(command: list[str]) -> None:
    """Do as Python does with these arguments. :param command: ``-m MODULE …`` or ``-c CODE …``."""
    how, what, *arguments = command
    sys.argv = [how, *arguments]
    if how == "-m":
        runpy.run_module(what, run_name="__main__", alter_sys=True)
        return
    main = sys.modules["__main__"] = types.ModuleType("__main__")
    exec(compile(what, "<string>", "exec"), main.__dict__)


if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    preload()
    if request := serve(socket.socket(fileno=int(sys.argv[1]))):
        run(request["command"])

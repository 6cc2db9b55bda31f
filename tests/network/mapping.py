"""A router's port-mapping program, run in a router of the lab, and what a test says to it and hears from it."""

from __future__ import annotations

import contextlib
import json
import queue
import subprocess
import sys
import threading
from collections.abc import Iterator
from typing import Any

from springline.tests.network.router import Router

PATIENCE = 30.0


class Program:
    """:param process: runs ``gateway.py``."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process
        self._lines: queue.Queue[list[Any]] = queue.Queue()
        self.heard: list[list[Any]] = []
        threading.Thread(target=self._read, daemon=True).start()
        self.hears("here")

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self._lines.put(json.loads(line))

    def hears(self, *what: Any) -> list[Any]:
        """Wait until it says something that begins so, from now on."""
        while True:
            try:
                line = self._lines.get(timeout=PATIENCE)
            except queue.Empty:
                raise AssertionError(f"never: {what}; but: {self.heard}") from None
            self.heard.append(line)
            if line[: len(what)] == list(what):
                return line

    def say(self, line: str) -> None:
        """See ``gateway.py`` for what it understands; returns when it is so."""
        assert self._process.stdin is not None
        self._process.stdin.write(f"{line}\n")
        self._process.stdin.flush()
        self.hears("done")


@contextlib.contextmanager
def mapping(router: Router, outside: str, natpmp: str, upnp: str) -> Iterator[Program]:
    """It runs in that router. :param outside: the address it tells."""
    words = ("-m", "springline.tests.network.gateway", "10.78.0.1", outside, natpmp, upnp)
    command = ("ip", "netns", "exec", router.namespace, sys.executable, *words)
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        try:
            yield Program(process)
        finally:
            process.kill()

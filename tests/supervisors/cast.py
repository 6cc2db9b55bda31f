"""Actors for the tests of the supervisor: importable, as every actor class must be."""

from __future__ import annotations

import errno
import os
import time
from pathlib import Path
from typing import Any

from springline.actors.shell import Sender, Shell, receives
from springline.supervisors.supervisor import Supervisor
from springline.tests.actors.workers import Do

_FORK = os.fork


def _no_fork() -> int:
    raise BlockingIOError(errno.EAGAIN, "told to have no process left")


class Glass(Supervisor):
    """A supervisor that lets one look inside and get in its way."""

    @receives(Do)
    def do(self, message: Do, sender: Sender) -> Any:
        match message.what:
            case "timers":
                return len(self._myRef.transport._pendingWakeups)
            case "wait":
                self.tell(sender.path, "waiting")
                os.read(message.value.fileno(), 1)
            case "fork":
                os.fork = _FORK if message.value else _no_fork
        return None


class Diary(Shell):
    """Writes into the file at ``args`` when it starts and stops; ``stubborn`` ones do not end when told to."""

    def start(self, args: tuple[str, bool]) -> None:
        self._file, self._stubborn = args
        self._note("starts")

    def stop(self) -> None:
        if self._stubborn:
            time.sleep(60)
        self._note("stops")

    def _note(self, what: str) -> None:
        with Path(self._file).open("a") as file:
            file.write(f"{self.name.rpartition('.')[2]} {what}\n")

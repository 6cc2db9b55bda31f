"""Small supervised actors for the tests: importable, as every actor class must be."""

from __future__ import annotations

import os
import signal
import time
from dataclasses import dataclass
from typing import Any

from springline.actors.shell import IoShell, Sender, Shell, receives
from springline.errors import Misuse


@dataclass(frozen=True)
class Do:
    """What to do, by name."""

    what: str
    value: Any = None


class Worker(Shell):
    """Does what it is asked; its args say how it starts."""

    def start(self, args: Any) -> None:
        self.handled = 0
        if args == "fail":
            raise RuntimeError("told to fail at the start")
        if args == "hang":
            time.sleep(60)

    @receives(Do)
    def do(self, message: Do, sender: Sender) -> Any:
        self.handled += 1
        match message.what:
            case "pid":
                return os.getpid()
            case "name":
                return self.name
            case "handled":
                return self.handled
            case "raise":
                raise RuntimeError("told to raise")
            case "refuse":
                raise Misuse("told to refuse")
            case "stop-self":
                os.kill(os.getpid(), signal.SIGSTOP)
            case "exit":
                self.exit("done", normal=True)
        return message.value


class IoWorker(IoShell):
    """The same in an asyncio loop."""

    async def start(self, args: Any) -> None:
        self.handled = 0

    @receives(Do)
    async def do(self, message: Do, sender: Sender) -> Any:
        self.handled += 1
        match message.what:
            case "pid":
                return os.getpid()
            case "raise":
                raise RuntimeError("told to raise")
            case "refuse":
                raise Misuse("told to refuse")
            case "ask":
                return await self.ask(*message.value)
            case "block":
                time.sleep(message.value)
        return message.value

"""Actors for the tests of the bus and the engine: importable, as every actor class must be."""

from __future__ import annotations

import os
import time
from typing import Any

from thespian.actors import Actor, ActorSystemMessage, ChildActorExited, PoisonMessage

from springline.actors import bus
from springline.actors.lifecycle import Ask, Reply


class Peer(Actor):  # type: ignore[misc]
    """Does what a tuple's first element says."""

    def __init__(self) -> None:
        super().__init__()
        self.children: list[Any] = []
        self.exits = 0
        self.seen: list[Any] = []

    def receiveMessage(self, message: Any, sender: Any) -> None:
        if isinstance(message, ChildActorExited):
            self.exits += 1
        elif isinstance(message, (PoisonMessage, ActorSystemMessage)):
            pass
        elif isinstance(message, Ask):
            value = self.do(*message.body)
            self.send(sender, Reply(message.id, value))
        else:
            self.do(*message)

    def do(self, what: str, *args: Any) -> Any:
        return getattr(self, what)(*args)

    def echo(self, value: Any) -> Any:
        return value

    def pid(self) -> int:
        return os.getpid()

    def spawn(self) -> str:
        child = self.createActor(Peer)
        self.children.append(child)
        return ""

    def child_paths(self) -> list[str]:
        return [bus.path_of(c) for c in self.children]

    def child_pids(self) -> list[int]:
        return [c.childProc.pid for c in self._myRef._child_procs]

    def hang(self, seconds: float) -> None:
        time.sleep(seconds)

    def flood(self, target: str, count: int) -> None:
        to = bus.address(target, "")
        for number in range(count):
            self.send(to, ("note", number))

    def note(self, number: Any) -> None:
        self.seen.append(number)

    def noted(self) -> list[Any]:
        return self.seen

    def exit_count(self) -> int:
        return self.exits

    def open_fds(self) -> int:
        return len(os.listdir("/proc/self/fd"))

    def read(self, fd: Any) -> bytes:
        return os.read(fd.fileno(), 100)

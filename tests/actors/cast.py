"""Actors for the tests of the bus and the engine: importable, as every actor class must be."""

from __future__ import annotations

import logging
import os
import signal
import threading
import time
from typing import Any

import psutil
from thespian.actors import Actor, ActorExitRequest, ActorSystemMessage, ChildActorExited

from springline.actors import forking
from springline.actors.addresses import address_of, path_of
from springline.actors.lifecycle import Ask, Reply


class Peer(Actor):  # type: ignore[misc]
    """Does what a tuple's first element says."""

    def __init__(self) -> None:
        super().__init__()
        self.children: list[Any] = []
        self.exits = 0
        self.runs = 0
        self.seen: list[Any] = []

    def receiveMessage(self, message: Any, sender: Any) -> None:
        if isinstance(message, ChildActorExited):
            self.exits += 1
        elif isinstance(message, ActorSystemMessage):
            pass
        elif isinstance(message, Ask):
            what: Any = message.body
            self.send(sender, Reply(message.id, self.do(*what)))
        else:
            self.do(*message)

    def do(self, what: str, *args: Any) -> Any:
        return getattr(self, what)(*args)

    # -- talk ------------------------------------------------------------------------------------------------------

    def echo(self, value: Any) -> Any:
        return value

    def pid(self) -> int:
        return os.getpid()

    def say(self, target: str, message: Any) -> None:
        self.send(address_of(target, os.path.dirname(path_of(self.myAddress))), message)

    def note(self, number: Any, _ballast: bytes = b"") -> None:
        self.seen.append(number)

    def noted(self) -> list[Any]:
        return self.seen

    def flood(self, target: str, count: int, size: int = 0) -> None:
        for number in range(count):
            self.say(target, ("note", number, *([bytes(size)] if size else [])))

    # -- children --------------------------------------------------------------------------------------------------

    def spawn(self, count: int = 1) -> None:
        for _ in range(count):
            self.children.append(self.createActor(Peer))

    def spawn_stillborn(self) -> None:
        self.children.append(self.createActor(Stillborn))

    def call_children(self, target: str) -> None:
        """Have each child introduce itself to ``target``."""
        for child in self.children:
            self.send(child, ("say", target, "here"))

    def start_child(self) -> int:
        """The process that the bus's own helper names."""
        child, process = forking.start_child(self, Peer)
        self.children.append(child)
        return int(process.pid)

    def start_child_and_stop_it(self) -> int:
        """Before it can say hello."""
        _, process = forking.start_child(self, Peer)
        os.kill(process.pid, signal.SIGSTOP)
        return int(process.pid)

    def lose_one_while_another_is_noted(self) -> None:
        """Kill the first child, and the second while the engine notes the first one's death."""
        first, second = self.child_pids()
        transport = self._myRef.transport

        def lose_second(*_: Any) -> None:
            del transport.deadAddress
            os.kill(second, signal.SIGKILL)
            while psutil.Process(second).status() != psutil.STATUS_ZOMBIE:
                time.sleep(0.001)

        transport.deadAddress = lose_second
        os.kill(first, signal.SIGKILL)

    def child_pids(self) -> list[int]:
        return [child.childProc.pid for child in self._myRef._child_procs]

    def exit_count(self) -> int:
        return self.exits

    # -- trouble ---------------------------------------------------------------------------------------------------

    def hang(self, seconds: float) -> None:
        time.sleep(seconds)

    def wait_for(self, fd: Any) -> None:
        """Hang until something can be read."""
        os.read(fd.fileno(), 1)

    def stumble(self) -> None:
        self.runs += 1
        raise RuntimeError("told to stumble")

    def run_count(self) -> int:
        return self.runs

    def leave(self) -> None:
        self.send(self.myAddress, ActorExitRequest())

    def start_thread(self) -> None:
        threading.Thread(target=time.sleep, args=(3600,)).start()

    def log(self, line: str) -> None:
        logging.getLogger("cast").warning(line)

    # -- descriptors -----------------------------------------------------------------------------------------------

    def open_fds(self) -> int:
        return len(os.listdir("/dev/fd"))

    def read(self, fd: Any) -> bytes:
        return os.read(fd.fileno(), 100)

    def keep(self, fd: Any) -> None:
        self.seen.append(fd)


class Stillborn(Peer):
    """Raises before it lives."""

    def __init__(self) -> None:
        raise RuntimeError("told to fail at birth")

"""What the tests of the bus stand on: a private directory, a running actor system, an app in a process of its own."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import psutil

from springline.actors import bus
from springline.actors.endpoint import Client
from springline.tests.actors.cast import Peer

PATIENCE = 30.0


def until(holds: Callable[[], Any], what: str) -> Any:
    """Look until ``holds()`` is true; its value."""
    end = time.monotonic() + PATIENCE
    while not (value := holds()):
        assert time.monotonic() < end, f"never: {what}"
        time.sleep(0.002)
    return value


def ended(process: psutil.Process) -> bool:
    """Whether it has ended; who should reap it may not have done so yet."""
    try:
        return not process.is_running() or process.status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def all_end(processes: Iterable[psutil.Process]) -> None:
    """Wait until every one has ended; kill what is left, and fail, if one has not."""
    left = list(processes)
    try:
        until(lambda: all(ended(process) for process in left), "all processes ended")
    finally:
        for process in left:
            with contextlib.suppress(psutil.NoSuchProcess):
                if not ended(process):
                    process.kill()


@contextlib.contextmanager
def private_directory() -> Iterator[str]:
    """A bus directory with a path short enough for sockets, gone afterwards."""
    directory = os.path.realpath(tempfile.mkdtemp(prefix="bus-"))
    try:
        yield directory
    finally:
        shutil.rmtree(directory)


class Stage:
    """An actor system started by this very process, and a client of it."""

    def __init__(self, directory: str) -> None:
        self.directory = directory
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # forked processes inherit it: the engine's warnings are not ours
            self.system = bus.start_system(directory)
        self.client = Client(directory)

    def peer(self) -> str:
        """A new actor's path."""
        return bus.path_of(self.system.createActor(Peer))

    def ask(self, actor: str, *what: Any) -> Any:
        """Have it do something, and wait for what comes of it."""
        return self.client.ask(actor, what, PATIENCE)

    def tell(self, actor: str, *what: Any) -> None:
        """Have it do something."""
        assert self.client.tell(actor, what)

    def children(self, actor: str, count: int = 1) -> list[str]:
        """Paths of as many new children of that actor."""
        self.tell(actor, "spawn", count)
        self.tell(actor, "call_children", self.client.path)
        known = [self.client.listen(PATIENCE) for _ in range(count)]
        return [heard[0] for heard in known if heard]

    def process(self, actor: str) -> psutil.Process:
        return psutil.Process(self.ask(actor, "pid"))

    def close(self) -> None:
        self.client.close()
        with contextlib.suppress(AttributeError):  # the test has done it
            self.system.shutdown()


class App:
    """The core app in a process of its own, with an actor system of which this process is a client."""

    def __init__(self, directory: str) -> None:
        command = [sys.executable, "-m", "springline.tests.actors.app", directory]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        top = self.said()
        self.client = Client(directory)
        self.top = Actor(self.client, top)
        self.admin = psutil.Process(self.top.process.ppid())

    def said(self) -> str:
        """Its next line."""
        assert self.process.stdout
        return self.process.stdout.readline().rstrip()

    def tree(self) -> list[psutil.Process]:
        """Every process of the actor system."""
        return [self.admin, *self.admin.children(recursive=True)]

    def close(self) -> None:
        """Kill what is left of the app, and see that its tree goes with it."""
        self.client.close()
        self.process.kill()
        with self.process:
            pass


class Actor:
    """A Peer, to be told what to do."""

    def __init__(self, client: Client, path: str) -> None:
        self.client = client
        self.path = path
        self.process = psutil.Process(self("pid"))

    def __call__(self, *what: Any) -> Any:
        return self.client.ask(self.path, what, PATIENCE)

    def tell(self, *what: Any) -> None:
        assert self.client.tell(self.path, what)

    def child(self) -> Actor:
        """A new child of it; call once."""
        self.tell("spawn")
        self.tell("call_children", self.client.path)
        heard = self.client.listen(PATIENCE)
        assert heard
        return Actor(self.client, heard[0])

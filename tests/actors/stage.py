"""What the tests of the bus stand on: a private directory, a running actor system, an app in a process of its own."""

from __future__ import annotations

import contextlib
import gc
import os
import select
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
from springline.actors.addresses import path_of
from springline.actors.endpoint import Client
from springline.actors.wire import Mailbox
from springline.tests.actors.cast import Peer

PATIENCE = 30.0

NewMailbox = Callable[..., Mailbox]


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


def received(mailbox: Mailbox) -> list[Any]:
    """All that has arrived."""
    messages = []
    while (got := mailbox.receive()) is not None:
        messages.append(got[1])
    return messages


def flush(mailbox: Mailbox) -> int:
    """Send what can be sent now; how many targets can take something."""
    poll = select.poll()
    for fd in mailbox.pending():
        poll.register(fd, select.POLLOUT)
    ready = poll.poll(0)
    for fd, _ in ready:
        mailbox.flush(fd)
    return len(ready)


def open_fds() -> int:
    """How many descriptors this process has."""
    gc.collect()
    return len(os.listdir("/dev/fd"))


class Bomb:
    """Leaves a file behind where it is unpickled."""

    def __init__(self, path: str) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (self.path,)


class Actor:
    """A Peer, and somebody to tell it what to do."""

    def __init__(self, client: Client, path: str) -> None:
        self.client = client
        self.path = path
        self.process = psutil.Process(self("pid"))

    def __call__(self, *what: Any) -> Any:
        """Have it do something, and wait for what comes of it."""
        return self.client.ask(self.path, what, PATIENCE)

    def tell(self, *what: Any) -> None:
        """Have it do something."""
        assert self.client.tell(self.path, what)

    def child(self) -> Actor:
        """A new child of it; call once."""
        return self.brood(1)[0]

    def brood(self, count: int) -> list[Actor]:
        """As many new children; call once."""
        self.tell("spawn", count)
        self.tell("call_children", self.client.path)
        heard = [self.client.listen(PATIENCE) for _ in range(count)]
        return [Actor(self.client, said[0]) for said in heard if said]


class Stage:
    """An actor system started by this very process, and a client of it."""

    def __init__(self, directory: str) -> None:
        self.directory = directory
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # forked processes inherit it: the engine's warnings are not ours
            self.system: Any = bus.start_system(directory)
        self.client = Client(directory)

    def peer(self) -> Actor:
        """A new actor."""
        return Actor(self.client, path_of(self.system.createActor(Peer)))

    def close(self) -> None:
        """Shut down, unless the test has done so."""
        self.client.close()
        if self.system._systemBase is not None:
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

"""Transfer: what an app holds of a file it is sending.

The rule: the app keeps the file open and the transfer's id; the local ``files`` handler does the rest. If that process
is killed, the next question finds nobody who knows the transfer, and it is handed over again under the same id.
"""

from __future__ import annotations

import contextlib
import os
import stat
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Protocol
from uuid import UUID

from springline.actors.datagram import Fd
from springline.actors.messages import handler_name
from springline.errors import LocalFault, Malformed, Misuse, RemoteFault, TimedOut, Unreachable
from springline.protocols.files.asking import Cancel, HowFar, Progress, SendFile
from springline.protocols.files.naming import checked_name
from springline.protocols.files.sending import Phase
from springline.protocols.files.wire import Offer

LOOK = 0.05
"""Seconds between two looks at the progress."""

_FILES = handler_name("files")


class Asker(Protocol):
    """How a transfer asks the node: ``Control.ask``."""

    def __call__(self, target: str, body: object, timeout: float = ...) -> Any:
        """Ask."""


@dataclass(frozen=True, slots=True)
class Result:
    """A file that has arrived.

    :param seconds: from the beginning until the receiver had verified it. :param name: under which it lies there.
    """

    size: int
    seconds: float
    blake3: bytes
    name: str


@dataclass(slots=True)
class Transfer:
    """A file on its way. Wait for it with :meth:`wait`; it goes on whether anybody waits or not."""

    id: UUID
    size: int
    _ask: Asker = field(repr=False)
    _request: SendFile = field(repr=False)
    _began: float = field(repr=False)

    @classmethod
    def begin(cls, ask: Asker, device: UUID, path: str | os.PathLike[str]) -> Transfer:
        """Hand the file over. :raises Misuse: it is no regular file. :raises LocalFault: it can't be read."""
        try:
            name = checked_name(os.path.basename(os.path.abspath(path)))
        except Malformed as error:
            raise Misuse(f"{error.message}: {path}", "give it another name") from None
        fd = _open(path)
        size = os.fstat(fd).st_size
        transfer = uuid.uuid4()
        request = SendFile(device, Offer(transfer, name, size), Fd(fd))
        self = cls(transfer, size, ask, request, time.monotonic())
        self.progress()
        return self

    def progress(self) -> Progress:
        """How far it is; handed over (again) if its handler does not know it."""
        try:
            progress: Progress = self._ask(_FILES, HowFar(self.id))
        except (Misuse, Unreachable):
            progress = self._ask(_FILES, self._request)
        return progress

    def wait(self, watch: Callable[[Progress], None] | None = None, timeout: float | None = None) -> Result:
        """Wait until the receiver has it, whole and verified.

        :param watch: told how far it is, now and then.
        :param timeout: seconds; None: as long as it takes.
        :raises RemoteFault: the receiver does not want it. :raises TimedOut: it goes on, but not in time.
        """
        end = None if timeout is None else time.monotonic() + timeout
        while True:
            progress = self.progress()
            if watch is not None:
                watch(progress)
            if progress.phase == Phase.DONE.value:
                self.close()
                return Result(self.size, time.monotonic() - self._began, progress.blake3, progress.name)
            if progress.phase == Phase.FAILED.value:
                self.close()
                raise RemoteFault(f"the file was not sent: {progress.reason}")
            if end is not None and time.monotonic() >= end:
                raise TimedOut(f"the file has not arrived yet: {progress.reason or progress.phase}")
            time.sleep(LOOK)

    def cancel(self) -> None:
        """Give it up."""
        with contextlib.suppress(Misuse):
            self._ask(_FILES, Cancel(self.id))
        self.close()

    def close(self) -> None:
        """Let go of the file; the transfer goes on, but is not handed over again should its handler die."""
        fd = self._request.file.take()
        if fd >= 0:
            os.close(fd)


def _open(path: str | os.PathLike[str]) -> int:
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except OSError as error:
        raise LocalFault(f"can't read {path}: {(error.strerror or str(error)).lower()}") from None
    if not stat.S_ISREG(os.fstat(fd).st_mode):
        os.close(fd)
        raise Misuse(f"{path} is no regular file", "send an archive of a folder")
    return fd

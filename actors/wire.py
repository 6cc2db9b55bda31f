"""The actor bus at its lowest: mailboxes, which are AF_UNIX datagram sockets in one private directory.

The rule: one mailbox is one socket is one file in a 0700 directory. Nothing listens on a network. The kernel keeps the
order of what one sender sends to one receiver, refuses other users by the directory's mode, stamps each datagram with
the sender's uid where it can (Linux), and answers for the dead: a mailbox whose process has ended refuses at once.

What a datagram holds is said in ``datagram.py``, how actors have names in ``names.py``.

A full receiver (Linux queues ten datagrams) does not block its senders: what it can't take yet waits in the sender's
backlog for that target alone, bounded in number, bytes and time. Nor does it make them deaf: Linux charges a datagram
to the socket that sent it until somebody has read it, so a few hung receivers can fill the mailbox itself; what waits
then leaves by a *courier*, a second socket bound as ``<mailbox>~<number>``, and counts as sent by the mailbox.
"""

from __future__ import annotations

import collections
import contextlib
import logging
import os
import secrets
import socket
import stat
import time
import weakref
from collections.abc import Mapping
from typing import Any

from springline.actors.datagram import Datagram, Sent, decode, encode, receive, transmit
from springline.errors import LocalFault

log = logging.getLogger("springline.bus")

BACKLOG_MESSAGES = 4096
BACKLOG_BYTES = 64 << 20
BACKLOG_PATIENCE = 30.0
"""What waits for one full target: at most so many messages, so many bytes, and so many seconds without progress."""

LONGEST_PATH = 103
"""Bytes of a socket's path that every system takes (``sun_path``: 108 on Linux, 104 on macOS)."""

_BUFFER = 256 << 10
"""Bytes of socket buffer asked for; macOS would take 2 KiB at a time by default."""

_COURIER = "~"
_COURIER_ROOM = 8
"""Bytes a courier's path may be longer than its mailbox's."""

_CREDENTIALS = getattr(socket, "SO_PASSCRED", None)


class _Backlog:
    """What waits for one target, in order, and a socket connected to it whose writability says when to go on."""

    def __init__(self, target: str) -> None:
        self.target = target
        self.courier = ""
        self.refusing = False
        self.waiting: collections.deque[Datagram] = collections.deque()
        self.bytes = 0
        self.moved = time.monotonic()
        self.probe = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.probe.setblocking(False)
        try:
            self.probe.connect(target)
        except OSError:
            self.probe.close()
            raise

    def stuck(self) -> bool:
        return time.monotonic() - self.moved > BACKLOG_PATIENCE

    def carry(self, mailbox: str, datagram: Datagram) -> Sent:
        """Send by the probe, made a courier of the mailbox at that path."""
        try:
            self.probe.connect(self.target)  # a name may lead elsewhere by now
        except OSError:
            datagram.drop()
            return Sent.DEAD
        if not self.courier:
            courier = f"{mailbox}{_COURIER}{self.probe.fileno()}"
            self.probe.bind(courier)
            self.courier = courier
        return transmit(self.probe, datagram, None)

    def drop(self) -> None:
        self.probe.close()
        for datagram in self.waiting:
            datagram.drop()
        self.waiting.clear()


class Mailbox:
    """One bound, non-blocking datagram socket in the bus directory; single-threaded.

    :param directory: absolute path of the bus directory, see :func:`check_directory`.
    :param name: file name of the socket; by default ``<pid>.<random>``.
    :raises LocalFault: the directory is not private, or its path is too long for a socket.
    """

    def __init__(self, directory: str, name: str | None = None) -> None:
        check_directory(directory)
        self.directory = directory = os.path.realpath(directory)  # as receivers see it in the sender's path
        self.path = os.path.join(directory, name or f"{os.getpid()}.{secrets.token_hex(4)}")
        if len(os.fsencode(self.path)) > LONGEST_PATH - _COURIER_ROOM:
            raise LocalFault(f"the path of the bus is too long: {directory}", "use a shorter directory")
        self._pid = os.getpid()
        self._backlogs: dict[str, _Backlog] = {}
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        try:
            self._socket.setblocking(False)
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _BUFFER)
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _BUFFER)
            if _CREDENTIALS is not None:
                self._socket.setsockopt(socket.SOL_SOCKET, _CREDENTIALS, 1)
            self._socket.bind(self.path)
        except BaseException:
            self._socket.close()
            raise
        _open.add(self)

    def fileno(self) -> int:
        """Poll it for readability."""
        return self._socket.fileno()

    def where(self, target: str) -> str:
        """The path a target string stands for."""
        return target if "/" in target else os.path.join(self.directory, target)

    # -- sending ---------------------------------------------------------------------------------------------------

    def send(self, target: str, message: object) -> Sent:
        """Send ``message`` to a registered name or an absolute socket path.

        :raises Exception: the message can't be pickled.
        """
        return self.post(target, encode(message, self.directory))

    def post(self, target: str, datagram: Datagram) -> Sent:
        """Send what :func:`encode` made; takes it over."""
        target = self.where(target)
        backlog = self._backlogs.get(target)
        if backlog is not None:
            return self._enqueue(backlog, datagram)
        sent = transmit(self._socket, datagram, target)
        if sent is not Sent.QUEUED:
            return sent
        try:
            backlog = self._backlogs[target] = _Backlog(target)
        except OSError:
            datagram.drop()
            return Sent.DEAD
        return self._enqueue(backlog, datagram)

    def _enqueue(self, backlog: _Backlog, datagram: Datagram) -> Sent:
        if backlog.stuck():
            self._give_up(backlog)
            datagram.drop()
            return Sent.REFUSED
        if len(backlog.waiting) >= BACKLOG_MESSAGES or backlog.bytes + datagram.size > BACKLOG_BYTES:
            if not backlog.refusing:
                log.warning("%s is too far behind: messages to it are refused", os.path.basename(backlog.target))
            backlog.refusing = True
            datagram.drop()
            return Sent.REFUSED
        backlog.waiting.append(datagram)
        backlog.bytes += datagram.size
        return Sent.QUEUED

    def pending(self) -> Mapping[int, str]:
        """Descriptors to poll for *writability*, each with its target; call :meth:`flush` with the ready ones."""
        for backlog in [backlog for backlog in self._backlogs.values() if backlog.stuck()]:
            self._give_up(backlog)
        return {backlog.probe.fileno(): target for target, backlog in self._backlogs.items()}

    def flush(self, fd: int) -> None:
        """Send what waits for the target behind that descriptor."""
        backlog = next((b for b in self._backlogs.values() if b.probe.fileno() == fd), None)
        if backlog is None:
            return
        while backlog.waiting:
            datagram = backlog.waiting[0]
            sent = transmit(self._socket, datagram, backlog.target)
            if sent is Sent.QUEUED:  # but the target can take it: it is the mailbox that is full
                sent = backlog.carry(self.path, datagram)
            if sent is Sent.QUEUED:
                return
            backlog.waiting.popleft()
            backlog.bytes -= datagram.size
            backlog.moved = time.monotonic()
            if sent is Sent.DEAD:
                break
        self._forget(backlog)

    def _give_up(self, backlog: _Backlog) -> None:
        log.warning("%s has taken nothing for %g s: dropping %d messages",
                    os.path.basename(backlog.target), BACKLOG_PATIENCE, len(backlog.waiting))  # fmt: skip
        self._forget(backlog)

    def _forget(self, backlog: _Backlog) -> None:
        backlog.drop()
        if backlog.courier and os.getpid() == self._pid:
            with contextlib.suppress(OSError):
                os.unlink(backlog.courier)
        self._backlogs.pop(backlog.target, None)

    # -- receiving -------------------------------------------------------------------------------------------------

    def receive(self) -> tuple[str, object] | None:
        """The next message and its sender's path, or None if there is none; strangers and garbage are dropped."""
        while True:
            try:
                data, fds, uid, sender, flags = receive(self._socket)
            except (BlockingIOError, InterruptedError):
                return None
            try:
                self._check(uid, sender, flags)
                return sender.partition(_COURIER)[0], decode(data, fds)
            except Exception as error:  # noqa: BLE001 - whatever unpickling garbage raises, the datagram is refused
                for fd in fds:
                    fd.close()
                log.warning("datagram refused: %s: %s", type(error).__name__, error)

    def _check(self, uid: int | None, sender: Any, flags: int) -> None:
        if uid is not None and uid not in (os.geteuid(), 0):
            raise PermissionError(f"uid {uid} has no business here")
        if not isinstance(sender, str) or os.path.dirname(sender) != self.directory:
            raise PermissionError("the sender has no mailbox here")
        if flags & (socket.MSG_TRUNC | socket.MSG_CTRUNC):
            raise ValueError("too large")

    def abandon(self) -> None:
        """In a forked child: close the copies, leave the parent's file alone."""
        for backlog in list(self._backlogs.values()):
            self._forget(backlog)
        self._socket.close()

    # -- end -------------------------------------------------------------------------------------------------------

    def close(self) -> None:
        """Close the socket and, in the process that made it, remove its file."""
        self.abandon()
        if os.getpid() == self._pid:
            with contextlib.suppress(OSError):
                os.unlink(self.path)


_open: weakref.WeakSet[Mailbox] = weakref.WeakSet()


def _abandon_all() -> None:
    """Close what a fork has copied: a mailbox held open elsewhere would look alive when its owner is dead."""
    for mailbox in list(_open):
        mailbox.abandon()
    _open.clear()


os.register_at_fork(after_in_child=_abandon_all)


def check_directory(directory: str) -> None:
    """:raises LocalFault: the bus directory is not this user's alone."""
    try:
        found = os.stat(directory)
    except OSError as error:
        raise LocalFault(f"no bus directory {directory}: {(error.strerror or '').lower()}") from None
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.geteuid() or found.st_mode & 0o077:
        raise LocalFault(f"the bus directory {directory} is not private", f"chmod 700 {directory}")

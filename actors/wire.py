"""The actor bus at its lowest: typed messages as datagrams between AF_UNIX sockets in one private directory.

The rule: one mailbox is one socket is one file in a 0700 directory. Nothing listens on a network. The kernel keeps the
order of what one sender sends to one receiver, refuses other users by the directory's mode, stamps each datagram with
the sender's uid where it can (Linux), and answers for the dead: a mailbox whose process has ended refuses at once.

What a datagram holds: one byte of kind, then a pickle. Kind ``P``: the pickle itself. Kind ``M``: nothing; the pickle
is in a memory file whose descriptor travels as the last one. Descriptors inside a message are :class:`Fd` objects and
travel by ``SCM_RIGHTS``. Unpickling is safe here and only here: whoever can write into the directory is this user
already.

Names are symbolic links beside the sockets (``keystore → 4711.a1b2c3``), replaced by an atomic rename. The kernel
follows them when a datagram is sent, so a sender needs no registry, and an actor born again under its name is found at
once.

A full receiver (Linux queues ten datagrams) does not block its senders: what it can't take yet waits in the sender's
backlog for that target alone, bounded in number, bytes and time. Nor does it make them deaf: Linux charges a datagram
to the socket that sent it until somebody has read it, so a few hung receivers can fill the mailbox itself; what waits
then leaves by a *courier*, a second socket bound as ``<mailbox>~<number>``, and counts as sent by the mailbox.
"""

from __future__ import annotations

import collections
import contextlib
import errno
import io
import logging
import os
import pickle
import secrets
import socket
import stat
import struct
import tempfile
import time
import weakref
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Any

from springline.errors import InternalFault, LocalFault

log = logging.getLogger("springline.bus")

INLINE = 32 << 10
"""Bytes of pickle a datagram carries itself; more goes through a memory file."""

BACKLOG_MESSAGES = 4096
BACKLOG_BYTES = 64 << 20
BACKLOG_PATIENCE = 30.0
"""What waits for one full target: at most so many messages, so many bytes, and so many seconds without progress."""

LONGEST_PATH = 103
"""Bytes of a socket's path that every system takes (``sun_path``: 108 on Linux, 104 on macOS)."""

LOOK = 0.25
"""Seconds after which whoever waits for an answer looks whether the one asked is still alive."""

_MOST_FDS = 64

_BUFFER = 256 << 10
"""Bytes of socket buffer asked for; macOS would take 2 KiB at a time by default."""

_COURIER = "~"
_COURIER_ROOM = 8
"""Bytes a courier's path may be longer than its mailbox's."""

_UCRED = struct.Struct("3i")
_CREDENTIALS = getattr(socket, "SO_PASSCRED", None)
_CLOSE_ON_EXEC = getattr(socket, "MSG_CMSG_CLOEXEC", 0)
_DEAD = {errno.ECONNREFUSED, errno.ENOENT, errno.ECONNRESET, errno.EPIPE, errno.ENOTCONN, errno.ENOTSOCK, errno.ELOOP}
_FULL = {errno.EAGAIN, errno.EWOULDBLOCK, errno.ENOBUFS}


class Fd:
    """An open descriptor inside a message.

    Sending one lends it: the sender keeps its own. Receiving one gives it: the receiver closes it, takes it out, or
    leaves it to the garbage collector. What was received is not inherited by forked children: who shall have it is
    sent it (a supervisor holds the cell that opens the store; the handlers it forks must not).
    """

    __slots__ = ("__weakref__", "_fd", "_owned")

    def __init__(self, fd: int) -> None:
        self._fd = fd
        self._owned = False

    def __deepcopy__(self, _memo: object) -> Fd:
        return self  # the engine copies messages; the descriptor stays one

    def __reduce__(self) -> str:
        raise TypeError("a descriptor travels in a message on the bus, and can't be copied or pickled otherwise")

    def __repr__(self) -> str:
        return f"Fd({self._fd})"

    def fileno(self) -> int:
        """The descriptor, still this object's."""
        return self._fd

    def take(self) -> int:
        """The descriptor, from now on the caller's to close."""
        self._owned = False
        fd, self._fd = self._fd, -1
        return fd

    def close(self) -> None:
        """Close it, if it is this object's."""
        if self._owned and self._fd >= 0:
            os.close(self.take())

    def __del__(self) -> None:
        with contextlib.suppress(OSError):
            self.close()

    @classmethod
    def _received(cls, fd: int) -> Fd:
        self = cls(fd)
        self._owned = True
        _held.add(self)
        return self


_held: weakref.WeakSet[Fd] = weakref.WeakSet()


def _in_child() -> None:
    for held in list(_held):
        held.close()
    _held.clear()


os.register_at_fork(after_in_child=_in_child)


class Sent(Enum):
    """What became of a message handed to :meth:`Mailbox.send`."""

    DONE = "delivered to the target's queue"
    QUEUED = "waits in the backlog of a full target"
    DEAD = "nobody is there"
    REFUSED = "the target's backlog is full"


class _Pickler(pickle.Pickler):
    def __init__(self, file: io.BytesIO) -> None:
        super().__init__(file, 5)
        self.fds: list[int] = []

    def persistent_id(self, obj: Any) -> int | None:
        if type(obj) is not Fd:
            return None
        if len(self.fds) == _MOST_FDS:
            raise InternalFault(f"a message carries at most {_MOST_FDS} descriptors")
        self.fds.append(os.dup(obj.fileno()))
        return len(self.fds) - 1


class _Unpickler(pickle.Unpickler):
    def __init__(self, data: bytes, fds: list[Fd]) -> None:
        super().__init__(io.BytesIO(data))
        self._fds = fds

    def persistent_load(self, pid: int) -> Fd:
        return self._fds[pid]


@dataclass(slots=True)
class Datagram:
    """A message ready to be sent; owns duplicates of the descriptors in it until it is sent or dropped."""

    data: bytes
    fds: list[int]
    size: int

    def drop(self) -> None:
        """Close the duplicates."""
        for fd in self.fds:
            os.close(fd)
        self.fds = []


def encode(message: object, directory: str) -> Datagram:
    """``message`` as a datagram. :raises Exception: what pickling raises; nothing leaks then."""
    buffer = io.BytesIO()
    pickler = _Pickler(buffer)
    try:
        pickler.dump(message)
        size = buffer.tell()
        if size <= INLINE:
            return Datagram(b"P" + buffer.getvalue(), pickler.fds, size)
        pickler.fds.append(_memory_file(buffer.getbuffer(), directory))
        return Datagram(b"M", pickler.fds, size)
    except BaseException:
        for fd in pickler.fds:
            os.close(fd)
        raise


def _decode(data: bytes, fds: list[Fd]) -> object:
    if data[:1] == b"M":
        with open(fds[-1].fileno(), "rb", closefd=False) as file:
            file.seek(0)
            data = file.read()
        fds.pop().close()
    elif data[:1] == b"P":
        data = data[1:]
    else:
        raise ValueError("unknown kind of datagram")
    return _Unpickler(data, fds).load()


def _memory_file(data: memoryview, directory: str) -> int:
    if hasattr(os, "memfd_create"):
        fd = os.memfd_create("springline-message", os.MFD_CLOEXEC)
    else:
        fd, path = tempfile.mkstemp(dir=directory)
        os.unlink(path)
    try:
        while data:
            data = data[os.write(fd, data) :]
    except BaseException:
        os.close(fd)
        raise
    return fd


def _transmit(sock: socket.socket, datagram: Datagram, target: str | None) -> Sent:
    """Send, to whom ``sock`` is connected if there is no target, and drop the datagram unless it has to wait."""
    rights = []
    if datagram.fds:
        packed = struct.pack(f"{len(datagram.fds)}i", *datagram.fds)
        rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, packed)]
    try:
        sock.sendmsg([datagram.data], rights, 0, target)
    except OSError as error:
        if error.errno in _FULL:
            return Sent.QUEUED
        datagram.drop()
        if error.errno not in _DEAD:
            log.warning("to %s: %s", os.path.basename(target or ""), error)
        return Sent.DEAD
    datagram.drop()
    return Sent.DONE


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
        return _transmit(self.probe, datagram, None)

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
        sent = _transmit(self._socket, datagram, target)
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
            sent = _transmit(self._socket, datagram, backlog.target)
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
                data, ancillary, flags, sender = self._socket.recvmsg(
                    INLINE + 1024, socket.CMSG_SPACE(4 * _MOST_FDS + 4) + socket.CMSG_SPACE(_UCRED.size), _CLOSE_ON_EXEC
                )
            except (BlockingIOError, InterruptedError):
                return None
            fds, uid = _unpack(ancillary)
            try:
                self._check(uid, sender, flags)
                return sender.partition(_COURIER)[0], _decode(data, fds)
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


def _unpack(ancillary: list[tuple[int, int, bytes]]) -> tuple[list[Fd], int | None]:
    fds: list[Fd] = []
    uid = None
    for _level, kind, data in ancillary:
        if kind == socket.SCM_RIGHTS:
            count = len(data) // 4
            fds += map(Fd._received, struct.unpack(f"{count}i", data[: 4 * count]))
        elif kind == getattr(socket, "SCM_CREDENTIALS", None):
            uid = _UCRED.unpack(data[: _UCRED.size])[1]
    return fds, uid


def check_directory(directory: str) -> None:
    """:raises LocalFault: the bus directory is not this user's alone."""
    try:
        found = os.stat(directory)
    except OSError as error:
        raise LocalFault(f"no bus directory {directory}: {(error.strerror or '').lower()}") from None
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.geteuid() or found.st_mode & 0o077:
        raise LocalFault(f"the bus directory {directory} is not private", f"chmod 700 {directory}")


# -- names ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Registered:
    """A name on the bus, and who has it.

    :param pid: of the process that registered, from its socket's file name.
    :param alive: whether its mailbox is open.
    """

    name: str
    path: str
    pid: int
    alive: bool


def register(directory: str, name: str, path: str) -> None:
    """Let ``name`` lead to the mailbox at ``path`` from now on, whoever had it before."""
    temporary = os.path.join(directory, f"{os.path.basename(path)}.new")
    os.symlink(os.path.basename(path), temporary)
    os.replace(temporary, os.path.join(directory, name))


def unregister(directory: str, name: str, path: str | None = None) -> None:
    """Forget ``name``; with ``path``, only if it still leads there."""
    link = os.path.join(directory, name)
    with contextlib.suppress(OSError):
        if path is None or os.readlink(link) == os.path.basename(path):
            os.unlink(link)


def incarnation(directory: str, target: str) -> str:
    """The path of the very socket that a registered name or a path leads to now."""
    path = target if "/" in target else os.path.join(directory, target)
    try:
        return os.path.join(directory, os.readlink(path))
    except OSError:
        return path


def is_registered(directory: str, name: str) -> bool:
    """Whether somebody has taken ``name`` and not given it back; whoever has it may be dead at the moment."""
    return os.path.islink(os.path.join(directory, name))


def registered(directory: str) -> list[Registered]:
    """Every name on the bus, in order; none if there is no such directory."""
    found = []
    with contextlib.suppress(FileNotFoundError):
        for name in sorted(os.listdir(directory)):
            with contextlib.suppress(OSError):
                target = os.readlink(os.path.join(directory, name))
                pid = target.partition(".")[0]
                if pid.isdigit() and not name.endswith(".new"):
                    path = os.path.join(directory, target)
                    found.append(Registered(name, path, int(pid), alive(path)))
    return found


def alive(path: str) -> bool:
    """Whether somebody has the mailbox at ``path`` open."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(path)
        except OSError:
            return False
        return True


def sweep(directory: str, pid: int) -> None:
    """Remove the sockets a dead process has left behind; its names stay until somebody takes them."""
    with contextlib.suppress(FileNotFoundError):
        for name in os.listdir(directory):
            if name.startswith(f"{pid}."):
                with contextlib.suppress(OSError):
                    os.unlink(os.path.join(directory, name))

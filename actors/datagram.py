"""What one datagram of the bus holds, and how it is sent and taken apart: messages, and descriptors inside them.

One byte of kind, then a pickle. Kind ``P``: the pickle itself. Kind ``M``: nothing; the pickle is in a memory file
whose descriptor travels as the last one. Descriptors inside a message are :class:`Fd` objects and travel by
``SCM_RIGHTS``.

The rule: unpickling is safe here and only here, because whoever can write into the bus's directory is this user
already; each datagram is taken apart only after its sender has been looked at (``wire.Mailbox.receive``).
"""

from __future__ import annotations

import contextlib
import errno
import io
import logging
import os
import pickle
import socket
import struct
import tempfile
import weakref
from dataclasses import dataclass
from enum import Enum
from typing import Any

from springline.errors import InternalFault

log = logging.getLogger("springline.bus")

INLINE = 32 << 10
"""Bytes of pickle a datagram carries itself; more goes through a memory file."""

_MOST_FDS = 64
"""Descriptors in one message."""

_UCRED = struct.Struct("3i")
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


def decode(data: bytes, fds: list[Fd]) -> object:
    """The message in a datagram. :raises Exception: whatever unpickling garbage raises."""
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


def transmit(sock: socket.socket, datagram: Datagram, target: str | None) -> Sent:
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


def receive(sock: socket.socket) -> tuple[bytes, list[Fd], int | None, Any, int]:
    """The next datagram, not yet unpickled: data, descriptors, the sender's uid if the kernel told, path, flags.

    :raises BlockingIOError: there is none.
    """
    data, ancillary, flags, sender = sock.recvmsg(
        INLINE + 1024, socket.CMSG_SPACE(4 * _MOST_FDS + 4) + socket.CMSG_SPACE(_UCRED.size), _CLOSE_ON_EXEC
    )
    fds, uid = _unpack(ancillary)
    return data, fds, uid, sender, flags


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

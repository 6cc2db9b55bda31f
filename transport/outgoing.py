"""A TCP connection's outgoing side: how much of it is still on its way, and what the system is to send by itself.

Not every socket is a TCP one in tests, and not every system has each option: where it is refused, nothing is lost but
what it saves.
"""

from __future__ import annotations

import contextlib
import fcntl
import socket
import sys
import termios

SO_NWRITE = 0x1024
"""macOS: bytes in the send buffer (``sys/socket.h``; Python has no name for it)."""

UNSENT = 256 << 10
"""Bytes the kernel may hold unsent (``TCP_NOTSENT_LOWAT``): what is urgent must not queue behind more."""


def hold_little(sock: socket.socket) -> None:
    """Let the kernel take no more than it needs to keep sending."""
    _set(sock, "TCP_NOTSENT_LOWAT", UNSENT)


def acknowledge_along(sock: socket.socket) -> None:
    """Let acknowledgements wait for what we send next, 40 ms at most: so a probe takes three packets and not four.

    Linux sends the first ones after a pause by themselves, and forgets this whenever nothing was sent in those 40 ms
    (``TCP_QUICKACK``, tcp(7)).
    """
    _set(sock, "TCP_QUICKACK", 0)


def _set(sock: socket.socket, option: str, value: int) -> None:
    if hasattr(socket, option):
        with contextlib.suppress(OSError):
            sock.setsockopt(socket.IPPROTO_TCP, getattr(socket, option), value)


def unacknowledged(sock: socket.socket) -> int:
    """Bytes that were sent and that the other side's machine has not acknowledged; 0 where nobody knows.

    Linux counts from the last acknowledged byte (``SIOCOUTQ``, tcp(7)).
    """
    try:
        if sys.platform == "darwin":
            return sock.getsockopt(socket.SOL_SOCKET, SO_NWRITE)
        return int.from_bytes(fcntl.ioctl(sock, termios.TIOCOUTQ, bytes(4)), sys.byteorder)
    except OSError:
        return 0

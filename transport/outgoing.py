"""How much of what was sent is still on its way: what the system knows of a TCP connection's outgoing side."""

from __future__ import annotations

import fcntl
import socket
import sys
import termios

SO_NWRITE = 0x1024
"""macOS: bytes in the send buffer (``sys/socket.h``; Python has no name for it)."""


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

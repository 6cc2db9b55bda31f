"""The handshake's few frames on a socket: exact sizes, a deadline, and not one byte read beyond.

The rule: whatever is read here may come from a stranger, so nothing is read that has not been asked for by size, and
everything must be over within :data:`DEADLINE` seconds. A socket that leaves here has no bytes buffered in Python and
can be handed to another process as a bare descriptor.
"""

from __future__ import annotations

import asyncio
import socket

from springline.errors import Malformed

DEADLINE = 5.0
"""Seconds in which a handshake must be through (a stranger's first frame likewise)."""

LENGTH_SIZE = 2


async def read_exactly(sock: socket.socket, size: int) -> bytes:
    """``size`` bytes. :raises ConnectionError: the other side closed before."""
    loop = asyncio.get_running_loop()
    parts = bytearray()
    while len(parts) < size:
        part = await loop.sock_recv(sock, size - len(parts))
        if not part:
            raise ConnectionResetError("closed during the handshake")
        parts += part
    return bytes(parts)


async def read_frame(sock: socket.socket, size: int) -> bytes:
    """The body of one frame that must have exactly ``size`` bytes.

    :raises Malformed: it announces another size. :raises ConnectionError: it does not arrive whole.
    """
    announced = int.from_bytes(await read_exactly(sock, LENGTH_SIZE), "big")
    if announced != size:
        raise Malformed(f"a frame of {announced} bytes where {size} are due")
    return await read_exactly(sock, size)


async def send_frame(sock: socket.socket, body: bytes) -> None:
    """Send one frame: two bytes of length, then ``body`` (at most 65,535 bytes)."""
    await asyncio.get_running_loop().sock_sendall(sock, len(body).to_bytes(LENGTH_SIZE, "big") + body)

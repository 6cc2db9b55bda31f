"""The handshake's few frames on a socket: exact sizes, a deadline, and not one byte read beyond.

The rule: whatever is read here may come from a stranger, so nothing is read that has not been asked for by size, and
everything must be over within :data:`DEADLINE` seconds. A socket that leaves here has no bytes buffered in Python and
can be handed to another process as a bare descriptor.
"""

from __future__ import annotations

import asyncio
import socket

from springline.errors import Malformed
from springline.transport.trouble import Foreign, HungUp, Mute

DEADLINE = 5.0
"""Seconds in which a handshake must be through (a stranger's first frame likewise)."""

LENGTH_SIZE = 2

HANGS_UP = "it hangs up: it is another device, does not know this one, or is about to stop"
"""What is told of a call that is taken and ended."""


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


async def read_answer(sock: socket.socket, size: int) -> bytes:
    """The body of the frame with which whoever was dialled answers. What goes wrong is told in words for people.

    :raises Foreign: something else answers. :raises HungUp: it does. :raises Mute: it says nothing.
    """
    try:
        async with asyncio.timeout(DEADLINE):
            head = await read_exactly(sock, LENGTH_SIZE)
            if int.from_bytes(head, "big") != size:
                raise Foreign(f"something else answers there{looks_like(head)}")
            return await read_exactly(sock, size)
    except TimeoutError:
        raise Mute("it takes the call and says nothing") from None
    except OSError:
        raise HungUp(HANGS_UP) from None


def looks_like(head: bytes) -> str:
    """What the first two bytes of an answer that is none of ours look like, in brackets; or ``""``."""
    known = {b"HT": "HTTP", b"SS": "SSH", b"\x15\x03": "TLS", b"\x16\x03": "TLS", b"22": "mail or FTP", b"<h": "HTTP"}
    name = known.get(head)
    return f" (it looks like {name})" if name else ""


async def send_frame(sock: socket.socket, body: bytes) -> None:
    """Send one frame: two bytes of length, then ``body`` (at most 65,535 bytes)."""
    await asyncio.get_running_loop().sock_sendall(sock, len(body).to_bytes(LENGTH_SIZE, "big") + body)

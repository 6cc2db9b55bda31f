"""An authenticated session: Noise transport messages in frames, encrypted where they lie.

The rule: message n of a direction is sealed with nonce n, four zero bytes and a little-endian counter (Noise revision
34 §12.1), and nothing else is ever accepted in its place. TCP keeps the order, so no window is needed: a message that
is lost, repeated, swapped or changed does not open, and the session is over.

The keys of the two directions are replaced one by one (``transport/refresh.py``); each new one counts from 0.

Encryption is in place: the plaintext is put at ``frame[LENGTH_SIZE:]``, the ciphertext and the length end up around it.
"""

from __future__ import annotations

import struct

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305

from springline.errors import InternalFault, Malformed, Misuse
from springline.transport.framing import LENGTH_SIZE, MOST_BODY
from springline.transport.noise import TAG_SIZE, SessionKeys

OVERHEAD = LENGTH_SIZE + TAG_SIZE
"""Bytes that a frame has more than its plaintext."""

MOST_PLAINTEXT = MOST_BODY - TAG_SIZE
"""Bytes of plaintext in the largest frame."""

LEAST_BODY = TAG_SIZE
"""Bytes in the smallest body of a session's frame; for ``FrameBuffer(least=…)``."""

MOST_COUNTER = 2**64 - 1
"""The nonce that Noise reserves (revision 34 §5.1): never used for a message."""

ChaCha20Poly1305(bytes(32))
"""The first one makes OpenSSL read its tables, 1.3 MB: done here, before connections are forked, it is shared."""

_nonce = struct.Struct("<4xQ").pack
_put_length = struct.Struct(">H").pack_into


class Session:
    """Seals what we send, opens what we receive.

    :param keys: of the finished handshake.
    :param send_counter: messages already sent with these keys. :param receive_counter: already received.
    """

    __slots__ = ("_decrypt", "_encrypt", "received", "received_bytes", "sent", "sent_bytes")

    sent: int
    """Messages sent under the present key: the counter of the next one."""
    received: int
    """Messages received under the present key: the counter of the next one."""
    sent_bytes: int
    """Bytes of plaintext sealed under the present key."""
    received_bytes: int
    """Bytes of plaintext opened under the present key."""

    def __init__(self, keys: SessionKeys, send_counter: int = 0, receive_counter: int = 0) -> None:
        self.seal_with(keys.send)
        self.open_with(keys.receive)
        self.sent, self.received = send_counter, receive_counter

    @classmethod
    def after_confirm(cls, keys: SessionKeys, initiator: bool) -> Session:
        """The session after Connect, whose initiator has used up its counter 0 for the confirm message."""
        return cls(keys, send_counter=int(initiator), receive_counter=int(not initiator))

    def seal_with(self, key: bytes) -> None:
        """Seal what follows with another key, 32 bytes; nothing refers to the former one any more."""
        self._encrypt = ChaCha20Poly1305(key).encrypt_into
        self.sent = self.sent_bytes = 0

    def open_with(self, key: bytes) -> None:
        """Open what follows with another key, 32 bytes; nothing refers to the former one any more."""
        self._decrypt = ChaCha20Poly1305(key).decrypt_into
        self.received = self.received_bytes = 0

    def seal_in_place(self, frame: memoryview, size: int) -> int:
        """Turn the plaintext at ``frame[LENGTH_SIZE : LENGTH_SIZE + size]`` into a frame at ``frame[0:]``.

        :param frame: writable, at least ``size + OVERHEAD`` bytes. :param size: 0 … :data:`MOST_PLAINTEXT`.
        :returns: bytes of the frame.
        :raises Misuse: the sizes are out of range. :raises InternalFault: the counter is used up.
        """
        end = size + OVERHEAD
        if not 0 <= size <= MOST_PLAINTEXT or len(frame) < end:
            raise Misuse(f"{size} bytes do not fit this frame")
        if self.sent >= MOST_COUNTER:
            raise InternalFault("the session was not refreshed in time: its counter is used up")
        plaintext = frame[LENGTH_SIZE : LENGTH_SIZE + size]
        self._encrypt(_nonce(self.sent), plaintext, None, frame[LENGTH_SIZE:end])
        _put_length(frame, 0, size + TAG_SIZE)
        self.sent += 1
        self.sent_bytes += size
        return end

    def seal(self, plaintext: bytes) -> bytes:
        """The frame, length included, for one plaintext; errors as of :meth:`seal_in_place`."""
        frame = bytearray(len(plaintext) + OVERHEAD)
        frame[LENGTH_SIZE : LENGTH_SIZE + len(plaintext)] = plaintext
        self.seal_in_place(memoryview(frame), len(plaintext))
        return bytes(frame)

    def open(self, body: memoryview) -> memoryview:
        """The plaintext of a frame's body; it lies in ``body`` itself, whose contents are overwritten.

        :param body: writable; without the length.
        :raises Malformed: it is not the next message of this session. The session is over then.
        """
        size = len(body) - TAG_SIZE
        if size < 0 or self.received >= MOST_COUNTER:
            raise Malformed("a frame is too short, or one too many")
        plaintext = body[:size]
        try:
            self._decrypt(_nonce(self.received), body, None, plaintext)
        except InvalidTag:
            raise Malformed("a frame is not genuine") from None
        self.received += 1
        self.received_bytes += size
        return plaintext

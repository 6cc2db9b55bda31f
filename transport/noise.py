"""The two handshakes, Connect and Pair, over ``noiseprotocol``; and the MAC that goes before them.

The rule: whatever bytes come in, only :class:`~springline.errors.Malformed` comes out, and a handshake that has failed
once answers nothing more. What is left of a finished handshake is three values, :class:`SessionKeys`: the session
(``transport/session.py``) does its own encryption and needs neither this module nor the library behind it.

Both handshakes are Noise revision 34 with the prologue :data:`PROLOGUE`:

    =========  ========================================  =============================================
    name       protocol                                  messages
    =========  ========================================  =============================================
    Connect    Noise_IKpsk2_25519_ChaChaPoly_BLAKE2s     ``e es s ss`` · ``e ee se psk``
    Pair       Noise_XXpsk0_25519_ChaChaPoly_BLAKE2s     ``psk e`` · ``e ee s es`` · ``s se``
    =========  ========================================  =============================================

Payloads have fixed sizes, so the first frames of both have the same length and tell an onlooker nothing. In Connect the
responder learns from message 1 who calls, and only then which psk to use: :meth:`Handshake.set_psk`.

Small-order public keys are refused: the X25519 underneath fails on an all-zero output (RFC 7748 §6.1), and here that is
Malformed too.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Callable
from dataclasses import dataclass, field

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305
from noise.connection import Keypair, NoiseConnection
from noise.constants import TOKEN_PSK
from noise.exceptions import NoiseHandshakeError, NoiseValueError

from springline.errors import Malformed, Misuse

CONNECT = b"Noise_IKpsk2_25519_ChaChaPoly_BLAKE2s"
PAIR = b"Noise_XXpsk0_25519_ChaChaPoly_BLAKE2s"
PROLOGUE = b"springline/1"

KEY_SIZE = 32
"""Bytes in a public or private X25519 key, a psk, a session key and the handshake hash."""

TAG_SIZE = 16
"""Bytes that ChaCha20-Poly1305 adds to a plaintext."""

MAC_SIZE = 16
"""Bytes in a mac1."""

MOST_MESSAGE = 65535
"""Bytes in the largest Noise message (revision 34 §3)."""

FIRST_PAYLOAD = 128
"""Bytes in the payload of each message of Connect."""

FIRST_FRAME = MAC_SIZE + 2 * KEY_SIZE + TAG_SIZE + FIRST_PAYLOAD + TAG_SIZE
"""Bytes in the body of the first frame, mac1 and Noise message 1, of either handshake."""

SECOND_FRAME = KEY_SIZE + FIRST_PAYLOAD + TAG_SIZE
"""Bytes in the body of the second frame, Noise message 2, of either handshake; and of Pair's third."""

THIRD_FRAME = SECOND_FRAME
CONFIRM_FRAME = TAG_SIZE
"""Bytes in the body of the frame that ends Connect: an empty transport message."""

PAYLOADS = {
    CONNECT: (FIRST_PAYLOAD, FIRST_PAYLOAD),
    PAIR: (
        FIRST_FRAME - MAC_SIZE - KEY_SIZE - TAG_SIZE,
        SECOND_FRAME - 2 * KEY_SIZE - 2 * TAG_SIZE,
        THIRD_FRAME - KEY_SIZE - 2 * TAG_SIZE,
    ),
}
"""Bytes in the payload of each message, so that the frames have the sizes above."""

_FIRST_NONCE = bytes(12)
_MAC_LABEL = b"mac1----"
_LENGTH_SIZE = 2


@dataclass(frozen=True, slots=True)
class SessionKeys:
    """What a finished handshake leaves: Noise's ``Split()`` and the handshake hash. 32 bytes each.

    :param send: ChaCha20-Poly1305 key of the messages we send. :param receive: of those we receive.
    :param hash: Noise's ``h``, the same on both sides and in no other handshake (revision 34 §11.2).
    """

    send: bytes = field(repr=False)
    receive: bytes = field(repr=False)
    hash: bytes = field(repr=False)

    def __post_init__(self) -> None:
        for value in (self.send, self.receive, self.hash):
            _sized(value, "a session key")


class Handshake:
    """One side of one handshake: :meth:`write` and :meth:`read` in turn until :attr:`finished`.

    :param pattern: :data:`CONNECT` or :data:`PAIR`.
    :param initiator: True on the side that dials.
    :param static_private: own X25519 private key, 32 bytes.
    :param remote_static: the responder's public key, 32 bytes: the initiator of Connect knows it beforehand.
    :param psk: 32 bytes, or None if :meth:`set_psk` follows.
    :param ephemeral: a fixed ephemeral private key. For published test vectors only: twice the same one breaks Noise.
    :raises Misuse: an argument is missing or has the wrong size.
    """

    def __init__(
        self,
        pattern: bytes,
        initiator: bool,
        static_private: bytes,
        remote_static: bytes | None,
        psk: bytes | None,
        *,
        prologue: bytes = PROLOGUE,
        ephemeral: bytes | None = None,
    ) -> None:
        if pattern not in PAYLOADS:
            raise Misuse("the handshake is neither Connect nor Pair")
        if (remote_static is not None) != (pattern == CONNECT and initiator):
            raise Misuse("the other side's static key belongs to the initiator of Connect alone")
        noise = NoiseConnection.from_name(pattern)
        noise.set_prologue(prologue)
        noise.set_psks(psk=bytes(KEY_SIZE))  # the library wants one now; it is taken out again below
        noise.set_keypair_from_private_bytes(Keypair.STATIC, _sized(static_private, "a private key"))
        if remote_static is not None:
            noise.set_keypair_from_public_bytes(Keypair.REMOTE_STATIC, _sized(remote_static, "a public key"))
        if initiator:
            noise.set_as_initiator()
        else:
            noise.set_as_responder()
        noise.start_handshake()
        self._noise = noise
        self._state = noise.noise_protocol.handshake_state
        self._payloads = list(PAYLOADS[pattern])
        self._failed = False
        noise.noise_protocol.psks = []
        if psk is not None:
            self.set_psk(psk)
        if ephemeral is not None:
            self._state.e = noise.noise_protocol.dh_fn.klass.from_private_bytes(_sized(ephemeral, "a private key"))

    @classmethod
    def initiate(
        cls,
        pattern: bytes,
        static_private: bytes,
        remote_static: bytes | None = None,
        psk: bytes | None = None,
        within: bytes = b"",
    ) -> Handshake:
        """The dialling side; :meth:`write` comes first. Arguments and errors as of the class, and of :func:`bound`."""
        return cls(pattern, True, static_private, remote_static, psk, prologue=bound(within))

    @classmethod
    def respond(cls, pattern: bytes, static_private: bytes, psk: bytes | None = None, within: bytes = b"") -> Handshake:
        """The listening side; :meth:`read` comes first. Arguments and errors as of the class, and of :func:`bound`."""
        return cls(pattern, False, static_private, None, psk, prologue=bound(within))

    def __repr__(self) -> str:
        return f"<Handshake {'failed' if self._failed else 'finished' if self.finished else 'under way'}>"

    def set_psk(self, psk: bytes) -> None:
        """Set the pre-shared key (32 bytes): before the message that mixes it in. :raises Misuse: it is too late."""
        if self.finished or not any(TOKEN_PSK in tokens for tokens in self._state.message_patterns):
            raise Misuse("the pre-shared key comes too late")
        self._noise.noise_protocol.psks = [_sized(psk, "a pre-shared key")]

    def write(self, payload: bytes = b"") -> bytes:
        """The next handshake message, which carries ``payload``.

        :raises Misuse: it is not our turn, or the psk is missing.
        :raises Malformed: the key the other side has sent before is of small order.
        """
        self._expect_usable()
        try:
            return self._run(self._noise.write_message, payload)
        except (ValueError, NoiseValueError):
            raise self._fail() from None

    def read(self, message: bytes) -> bytes:
        """The payload of the other side's next message.

        :raises Misuse: it is not their turn, or the psk is missing.
        :raises Malformed: anything is wrong with the message; the handshake is over.
        """
        self._expect_usable()
        if len(message) > MOST_MESSAGE:
            raise self._fail()
        try:
            return self._run(self._noise.read_message, bytes(message))
        except (InvalidTag, ValueError, NoiseValueError):
            raise self._fail() from None

    def padding(self, content: bytes = b"") -> bytes:
        """``content``, padded to the size that the next message's payload has.

        :raises Misuse: there is no next one, or it has no room for that.
        """
        if not self._payloads:
            raise Misuse("the handshake has no further message")
        return pad(content, self._payloads[0])

    @property
    def finished(self) -> bool:
        """True once both sides have sent all their messages."""
        return bool(self._noise.handshake_finished)

    @property
    def remote_static(self) -> bytes:
        """The other side's X25519 public key, 32 bytes. :raises Misuse: it is not known yet."""
        key = getattr(self._state.rs, "public_bytes", None)
        if key is None:
            raise Misuse("the other side has not shown its static key yet")
        return bytes(key)

    @property
    def hash(self) -> bytes:
        """Noise's ``h`` after the last message, 32 bytes. :raises Misuse: the handshake is not finished."""
        self._expect_finished()
        return bytes(self._noise.get_handshake_hash())

    @property
    def secret(self) -> bytes:
        """Noise's final chaining key, 32 bytes: known to both sides alone. :raises Misuse: it is not finished."""
        self._expect_finished()
        return bytes(self._state.symmetric_state.ck)

    def keys(self) -> SessionKeys:
        """The session's keys. :raises Misuse: the handshake is not finished."""
        self._expect_finished()
        protocol = self._noise.noise_protocol
        return SessionKeys(bytes(protocol.cipher_state_encrypt.k), bytes(protocol.cipher_state_decrypt.k), self.hash)

    def _run(self, step: Callable[[bytes], bytearray], argument: bytes) -> bytes:
        try:
            done = bytes(step(argument))
        except NoiseHandshakeError as error:
            raise Misuse(str(error)) from None
        self._payloads.pop(0)
        return done

    def _expect_usable(self) -> None:
        if self._failed:
            raise Misuse("the handshake has failed before")
        if not self.finished and not self._noise.noise_protocol.psks and TOKEN_PSK in self._state.message_patterns[0]:
            raise Misuse("the pre-shared key is missing")

    def _expect_finished(self) -> None:
        if not self.finished:
            raise Misuse("the handshake is not finished")

    def _fail(self) -> Malformed:
        self._failed = True
        return Malformed("the handshake message is not from whom it should be, or damaged")


# -- keys, MACs, padding -------------------------------------------------------------------------------------------


def bound(within: bytes) -> bytes:
    """The prologue of a handshake inside the session whose handshake hash is ``within`` (32 bytes), or of a first one.

    Two sides with different prologues do not understand each other (revision 34 §6), so a handshake that was recorded
    in one session is worth nothing in another one, or outside. :raises Misuse: the hash has another size.
    """
    return PROLOGUE + b" within " + _sized(within, "a session's hash") if within else PROLOGUE


def public_key(private: bytes) -> bytes:
    """The X25519 public key (32 bytes) of a private one (32 bytes); RFC 7748. :raises Misuse: the size is wrong."""
    return X25519PrivateKey.from_private_bytes(_sized(private, "a private key")).public_key().public_bytes_raw()


def mac1_key(responder_static: bytes) -> bytes:
    """The key (32 bytes) of the MAC on first frames to the device with that static public key.

    As WireGuard's mac1 (its paper, §5.4.4): who does not know the responder's public key gets no answer at all.
    """
    return hashlib.blake2s(_MAC_LABEL + responder_static).digest()


def mac1(key: bytes, message: bytes) -> bytes:
    """Keyed BLAKE2s-128 (RFC 7693) over Noise message 1; 16 bytes."""
    return hashlib.blake2s(message, key=key, digest_size=MAC_SIZE).digest()


def check_mac1(key: bytes, message: bytes, tag: bytes) -> bool:
    """True if ``tag`` is the message's mac1; takes the same time wherever they differ."""
    return hmac.compare_digest(mac1(key, message), tag)


def confirm(keys: SessionKeys) -> bytes:
    """The body of the frame with which Connect's initiator ends it: an empty transport message, counter 0.

    Only after it is the session handed over, so a replayed message 1 gets no further than one answer.
    """
    return ChaCha20Poly1305(keys.send).encrypt(_FIRST_NONCE, b"", None)


def open_confirm(keys: SessionKeys, body: bytes) -> None:
    """Check the other side's :func:`confirm`. :raises Malformed: it is not one."""
    try:
        plaintext = ChaCha20Poly1305(keys.receive).decrypt(_FIRST_NONCE, bytes(body), None)
    except InvalidTag:
        raise Malformed("the handshake's confirmation is not genuine") from None
    if plaintext:
        raise Malformed("the handshake's confirmation is not empty")


def pad(payload: bytes, size: int) -> bytes:
    """``size`` bytes: the payload's length in two bytes, big-endian, the payload, zeros. :raises Misuse: no room."""
    if _LENGTH_SIZE + len(payload) > size:
        raise Misuse(f"{len(payload)} bytes do not fit a payload of {size}")
    return (len(payload).to_bytes(_LENGTH_SIZE, "big") + payload).ljust(size, b"\0")


def unpad_untrusted(padded: bytes) -> bytes:
    """The payload inside. :raises Malformed: the length lies or the padding is not zeros."""
    end = _LENGTH_SIZE + int.from_bytes(padded[:_LENGTH_SIZE], "big")
    if not _LENGTH_SIZE <= end <= len(padded) or any(padded[end:]):
        raise Malformed("the padding is not what it should be")
    return bytes(padded[_LENGTH_SIZE:end])


def _sized(value: bytes, what: str) -> bytes:
    if not isinstance(value, bytes) or len(value) != KEY_SIZE:
        raise Misuse(f"{what} has {KEY_SIZE} bytes")
    return value

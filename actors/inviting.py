"""What is said about pairing: between the app, the Pairing actor and the Keystore.

The rule is that of ``actors/messages.py``: frozen, typed, picklable, one thing each.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime

from springline.store.identity import DeviceInfo
from springline.transport.address import Address
from springline.transport.noise import SessionKeys


@dataclass(frozen=True, slots=True)
class Invite:
    """Open an invitation. → ``Invitation``. :param confirm: ask our user once the other side has said who it is."""

    confirm: bool = False


@dataclass(frozen=True, slots=True)
class Invitation:
    """Twelve words, good once, until ``expires_at``. :param pairing: names it in events; tells nothing of the words."""

    words: str = field(repr=False)
    uri: str = field(repr=False)
    expires_at: datetime
    pairing: str = ""


@dataclass(frozen=True, slots=True)
class Join:
    """Pair by an invitation's words. → ``str``, which names the pairing; it has begun.

    :param confirm: ask our user once the other side has said who it is.
    """

    words: str = field(repr=False)
    addresses: tuple[Address, ...]
    confirm: bool = False


@dataclass(frozen=True, slots=True)
class BeginPairing:
    """Pairing to Keystore: open an XXpsk0 handshake. → ``int``, its handle."""

    initiator: bool
    psk: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class PairingStep:
    """Pairing to Keystore: feed the peer's message (None for the first of an initiator). → ``PairingStepped``.

    :param content: what our next message says, at most 78 bytes.
    """

    handle: int
    message: bytes | None
    content: bytes = b""


@dataclass(frozen=True, slots=True)
class PairingStepped:
    """What to send next, if anything; and the session's keys and the peer's static key once finished.

    :param content: what the peer's message said.
    """

    message: bytes | None
    keys: SessionKeys | None = None
    remote_static: bytes | None = None
    content: bytes = b""


@dataclass(frozen=True, slots=True)
class SignPairing:
    """Pairing to Keystore: sign this pairing statement. → 64 bytes."""

    statement: bytes


@dataclass(frozen=True, slots=True)
class CommitPairing:
    """Pairing to Keystore: both sides are verified; derive the relationship key and store. → ``PairedDevice``."""

    handle: int
    info: DeviceInfo
    mine: bytes = field(repr=False)
    theirs: bytes = field(repr=False)

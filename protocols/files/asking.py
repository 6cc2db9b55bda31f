"""What the file handler can be asked by its own node: to send a file, how far that is, to give it up."""

from __future__ import annotations

from dataclasses import dataclass
from uuid import UUID

from springline.actors.datagram import Fd
from springline.protocols.files.wire import Offer


@dataclass(frozen=True, slots=True)
class SendFile:
    """Send this file; the same again, after this handler was restarted, goes on. → ``Progress``."""

    device: UUID
    offer: Offer
    file: Fd


@dataclass(frozen=True, slots=True)
class HowFar:
    """How far is that transfer? → ``Progress``, or ``Misuse`` if it is not known (any more)."""

    transfer: UUID


@dataclass(frozen=True, slots=True)
class Cancel:
    """Give that transfer up."""

    transfer: UUID


@dataclass(frozen=True, slots=True)
class Progress:
    """:param phase: a value of ``sending.Phase``. :param moved: bytes. :param reason: why it waits or has failed."""

    phase: str
    moved: int
    size: int
    reason: str
    blake3: bytes
    name: str

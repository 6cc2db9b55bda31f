"""What is said about messages and streams over a link, between a connection and the protocols' handlers.

The rule is that of ``actors/messages.py``: frozen, typed, picklable, one thing each. A message's bytes are in it; a
stream's are not: its file's descriptor is, and the connection reads or writes the file itself.
"""

from __future__ import annotations

from dataclasses import dataclass
from uuid import UUID

from springline.actors.datagram import Fd
from springline.store.devices import TrustLevel


@dataclass(frozen=True, slots=True)
class SendMessage:
    """Send over the link. → the handler's answer (bytes, or None), once the other side has handled it.

    :param protocol: whose handler there gets it.
    :param payload: an encoded ``DeviceMessage``.
    :param priority: 0 control … 3 bulk.
    """

    protocol: str
    payload: bytes
    priority: int = 1


@dataclass(frozen=True, slots=True)
class DeliverMessage:
    """Connection to handler: a message came. → answer bytes, or None; or ``NeedsApproval``.

    :param trust: how far the device is trusted. :param approved: the user has said yes to this very message.
    """

    device: UUID
    protocol: str
    payload: bytes
    trust: TrustLevel
    approved: bool = False


@dataclass(frozen=True, slots=True)
class OpenStream:
    """Send the contents of ``source`` from ``offset`` to the peer's handler of ``protocol``.

    → told to the sender: ``StreamEnded``. The connection reads the descriptor itself.

    :param token: the asker's name for the stream, comes back in ``StreamEnded``.
    :param header: what the peer's handler needs to know.
    """

    protocol: str
    token: bytes
    header: bytes
    source: Fd
    offset: int
    size: int


@dataclass(frozen=True, slots=True)
class StreamOffered:
    """Connection to handler: the peer opened a stream. → ``Sink``; or ``NeedsApproval``, or an error to refuse it.

    Further parameters as of :class:`DeliverMessage`.
    """

    device: UUID
    protocol: str
    header: bytes
    trust: TrustLevel
    approved: bool = False


@dataclass(frozen=True, slots=True)
class NeedsApproval:
    """Handler to connection: ask the user first, then deliver it again. :param what: what would be done, one line."""

    what: str


@dataclass(frozen=True, slots=True)
class Sink:
    """Write the stream into this file from ``offset``, up to ``limit`` bytes of it; digest what is before it first."""

    file: Fd
    offset: int
    limit: int


@dataclass(frozen=True, slots=True)
class StreamEnded:
    """A stream is over.

    :param incoming: True on the receiving side.
    :param total: bytes in the file, up to the end of what was transferred.
    :param blake3: digest of the whole file, if all of it was transferred; with an error, it is not what was sent.
    :param error: why not, or ``""``.
    """

    device: UUID
    protocol: str
    token: bytes
    header: bytes
    incoming: bool
    total: int
    blake3: bytes
    error: str


@dataclass(frozen=True, slots=True)
class StreamMoved:
    """Progress of a stream this handler opened: ``done`` bytes of the file are on their way."""

    token: bytes
    done: int

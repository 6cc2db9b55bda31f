"""What our actors say to each other: frozen, typed, picklable.

The rule: a message says one thing that is wanted or has happened; it carries values and descriptors, never behaviour.
The bus delivers only messages of this user's own processes (``actors/wire.py``), so they need types, not parsing. What
every actor understands (start, ping, stop) is in ``actors/lifecycle.py``; here is the rest, in the order of a link's
life: keys, transport, connection, pairing, plug-ins, events.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from uuid import UUID

from springline.actors.datagram import Fd
from springline.store.devices import PairedDevice, TrustLevel
from springline.store.identity import DeviceInfo
from springline.store.preferences import Tuning
from springline.store.trust import Policy
from springline.transport.address import Address
from springline.transport.noise import SessionKeys
from springline.transport.story import Entry

# -- names: who is who on the bus ----------------------------------------------------------------------------------

KEYSTORE = "keystore"
EVENTS = "events"
TRANSPORT = "transports.tcp"
PAIRING = "pairing"
PROTOCOLS = "protocols"
CONNECTIONS = "connections"


def connection_name(device: UUID) -> str:
    """The bus name of the DeviceConnection of ``device``."""
    return f"{CONNECTIONS}.{device.hex}"


def handler_name(protocol: str) -> str:
    """The bus name of the handler of ``protocol``."""
    return f"{PROTOCOLS}.{protocol}"


# -- Keystore ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class WhoAmI:
    """→ ``DeviceInfo`` of this device, public parts only."""


@dataclass(frozen=True, slots=True)
class ListDevices:
    """→ ``tuple[PairedDevice, ...]``."""


@dataclass(frozen=True, slots=True)
class Contact:
    """Where was this device last seen? → ``tuple[Address, ...]``, last good first."""

    device: UUID


@dataclass(frozen=True, slots=True)
class SawAt:
    """This device answered at that address; keep it as last good. Told, not asked."""

    device: UUID
    address: Address | None


@dataclass(frozen=True, slots=True)
class SetAutoConnect:
    """Shall the link to this device be kept up? → None."""

    device: UUID
    wanted: bool


@dataclass(frozen=True, slots=True)
class SetTrust:
    """→ the changed ``PairedDevice``. ``REVOKED`` also wipes the keys.

    :param policy: when it is to end by itself; None leaves that as it is.
    """

    device: UUID
    trust: TrustLevel
    policy: Policy | None = None


@dataclass(frozen=True, slots=True)
class BeginHandshake:
    """Dial: → ``Begun``, whose frame opens a Connect handshake with this device.

    :param within: hash of the session it is to refresh, or ``b""`` for a new one.
    """

    device: UUID
    within: bytes = field(default=b"", repr=False)


@dataclass(frozen=True, slots=True)
class Begun:
    """A handshake the Keystore has begun.

    :param handle: names it in :class:`FinishHandshake`.
    :param frame: body of the first frame: mac1 and Noise message 1.
    """

    handle: int
    frame: bytes


@dataclass(frozen=True, slots=True)
class FinishHandshake:
    """Dial: the peer answered. → ``Authenticated``; the handle is used up whatever comes of it."""

    handle: int
    frame: bytes


@dataclass(frozen=True, slots=True)
class AnswerHandshake:
    """Listen: a first frame with a valid mac1 came in. → ``Answered``, or ``Refused`` for whoever is not welcome.

    :param within: hash of the session it came in, or ``b""``.
    """

    frame: bytes
    within: bytes = field(default=b"", repr=False)


@dataclass(frozen=True, slots=True)
class Authenticated:
    """The peer has proved who it is.

    :param keys: of this session alone; not long-term.
    :param epoch: Lamport epoch of the session, assigned by the responder.
    """

    device: UUID
    keys: SessionKeys
    epoch: int


@dataclass(frozen=True, slots=True)
class Answered:
    """Answer with ``frame``; the peer is ``session.device`` once its confirm message opens."""

    frame: bytes
    session: Authenticated


@dataclass(frozen=True, slots=True)
class RotateKeys:
    """What is there to say about rotating the keys shared with this device? → ``bytes``, or None: nothing (more).

    :param session: hash of the handshake whose session it is about.
    :param message: what the device's Keystore has said; None to begin.
    """

    device: UUID
    session: bytes = field(repr=False)
    message: bytes | None = None


# -- transport -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class DialDevice:
    """Find a way to this device and authenticate. → told: ``SocketIsUp``, then ``SessionUp`` or ``DialEnded``."""

    device: UUID
    attempt: int
    addresses: tuple[Address, ...]


@dataclass(frozen=True, slots=True)
class StopDialling:
    """The dial of that attempt is not wanted any more."""

    device: UUID
    attempt: int


@dataclass(frozen=True, slots=True)
class SocketIsUp:
    """The dial has a socket to that address; the handshake runs."""

    attempt: int
    remote: Address


@dataclass(frozen=True, slots=True)
class DialEnded:
    """The dial failed; ``reason`` tells why for each address."""

    attempt: int
    reason: str


@dataclass(frozen=True, slots=True)
class SessionUp:
    """An authenticated session, handed over: from here the transport is out of the path.

    :param socket: connected TCP socket, non-blocking; the receiver's to close.
    :param attempt: number of our dial, or None if the peer dialled.
    :param remote: where the peer's end of the socket is.
    """

    socket: Fd
    session: Authenticated
    attempt: int | None
    remote: Address


@dataclass(frozen=True, slots=True)
class ListeningAt:
    """Where does the transport listen? → ``Address``."""


@dataclass(frozen=True, slots=True)
class Doorbells:
    """The mac1 keys of the open invitations: first frames made with them go to Pairing. Replaces the former set."""

    keys: tuple[bytes, ...] = field(repr=False)


@dataclass(frozen=True, slots=True)
class WhichDoorbells:
    """Transport to Pairing: I have just started, tell me the open invitations' mac1 keys."""


@dataclass(frozen=True, slots=True)
class PairingKnock:
    """A first frame made with the mac1 key of an open invitation came in on this socket."""

    socket: Fd
    doorbell: bytes = field(repr=False)
    frame: bytes
    remote: Address


# -- connections ---------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class LinkStatus:
    """What is known about the link to one device.

    :param state: a public state, e.g. ``Connected``.
    :param since: when it was entered.
    :param reason: why, one line.
    :param next_attempt: when the next dial is due, or None.
    :param entry: the transition that led here, if one did.
    """

    device: UUID
    state: str
    since: datetime
    reason: str
    next_attempt: datetime | None = None
    entry: Entry | None = None


@dataclass(frozen=True, slots=True)
class DeviceStatus:
    """A paired device and its link, as ``springline devices`` shows them."""

    device: PairedDevice
    link: LinkStatus


@dataclass(frozen=True, slots=True)
class ListLinks:
    """→ ``tuple[DeviceStatus, ...]``, by name."""


@dataclass(frozen=True, slots=True)
class WhyLink:
    """Why is the link to this device as it is? → ``Story``."""

    device: UUID


@dataclass(frozen=True, slots=True)
class DevicesChanged:
    """The Keystore's devices have changed: start and stop connections accordingly. → None."""


@dataclass(frozen=True, slots=True)
class ConnectDevice:
    """Keep the link to this device up from now on. → ``LinkStatus``."""

    device: UUID


@dataclass(frozen=True, slots=True)
class DisconnectDevice:
    """Close the link and keep it down until asked again. → ``LinkStatus``."""

    device: UUID


@dataclass(frozen=True, slots=True)
class RevokeDevice:
    """Never again: close at once, wipe the keys. → ``PairedDevice``."""

    device: UUID


@dataclass(frozen=True, slots=True)
class LinkWanted:
    """To connection: shall the link be up? :param trust: how far the device is trusted; None leaves that as it is."""

    wanted: bool
    trust: TrustLevel | None = None


@dataclass(frozen=True, slots=True)
class RevokedNow:
    """To connection: this device is revoked, or its trust has expired; say so and close."""

    reason: str = "revoked"


@dataclass(frozen=True, slots=True)
class HowTuned:
    """To the Keystore: how eagerly is the link to this device kept up? → ``Tuning``."""

    device: UUID


@dataclass(frozen=True, slots=True)
class TuneLink:
    """To the Keystore: keep the link to this device up like that. → ``Tuning``, as it is now.

    :param keepalive, retry_first, retry_cap: as of ``Tuning``; None leaves it as it is.
    """

    device: UUID
    keepalive: float | None = None
    retry_first: float | None = None
    retry_cap: float | None = None


@dataclass(frozen=True, slots=True)
class Tuned:
    """To connection: that is how eagerly the link is kept up, from now on."""

    tuning: Tuning


# -- messages and streams over a link ------------------------------------------------------------------------------


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


# -- pairing -------------------------------------------------------------------------------------------------------


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


# -- events --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Subscribe:
    """Send me events from now on, for ``lease`` seconds; repeat to stay. → None."""

    lease: float = 30.0


@dataclass(frozen=True, slots=True)
class Unsubscribe:
    """No more events, please."""


@dataclass(frozen=True, slots=True)
class Publish:
    """Tell every subscriber."""

    event: object

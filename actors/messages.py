"""What our actors say to each other: frozen, typed, picklable.

The rule: a message says one thing that is wanted or has happened; it carries values and descriptors, never behaviour.
The bus delivers only messages of this user's own processes (``actors/wire.py``), so they need types, not parsing. What
every actor understands (start, ping, stop) is in ``actors/lifecycle.py``; what is carried over a link, in
``carrying.py``; pairing, in ``inviting.py``; trust and records, in ``keeping.py``. Here is the life of a link: keys,
transport, connection, events.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from uuid import UUID

from springline.actors.datagram import Fd
from springline.store.devices import PairedDevice, TrustLevel
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
    :param turn: the number of the dial it is for, or None for none. Where several keys may be the one that the device
        has, dials take turns with them: all addresses of one dial try the same.
    """

    device: UUID
    within: bytes = field(default=b"", repr=False)
    turn: int | None = None


@dataclass(frozen=True, slots=True)
class RecoverHandshake:
    """Dial: the device has hung up on dial number ``turn``. → ``Begun`` with the recovery key, or None: not yet."""

    device: UUID
    turn: int


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
class Confirmed:
    """Transport to Keystore, told: the confirm message of a handshake it has answered has opened.

    :param session: the handshake's hash.
    """

    session: bytes = field(repr=False)


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

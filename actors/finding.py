"""What is said about finding devices: between discovery, the network monitor, the transport and the connections.

The rule is that of ``actors/messages.py``: frozen, typed, picklable, one thing each. Whoever finds tells; whoever keeps
a link decides. Keys that leave the Keystore here are those of one period (``transport/discovery/tags.py``).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from uuid import UUID

from springline.transport.address import Address
from springline.transport.trouble import Trouble

NETWORK = "discovery.network"
MDNS = "discovery.mdns"
DHT = "discovery.dht"
PORTS = "discovery.ports"


@dataclass(frozen=True, slots=True)
class Discovery:
    """Which ways of finding devices a node takes.

    :param mdns: on the local network. :param dht: over the internet, by a distributed table of sealed records.
    :param bootstrap: ``host:port`` of nodes of that table to begin with, beside the paired devices.
    :param port_mapping: ask the router for a port (UPnP needs the extra ``nat``).
    :raises Misuse: what is to be begun with is no address.
    """

    mdns: bool = True
    dht: bool = True
    bootstrap: tuple[str, ...] = ()
    port_mapping: bool = True

    def __post_init__(self) -> None:
        for address in self.bootstrap:
            Address.parse(address)


NOWHERE = Discovery(mdns=False, dht=False, port_mapping=False)
"""Only addresses that are known."""

# -- who is sought, who is found -----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class WhomToSeek:
    """A finder to the ConnectionManager: I have just started. → told ``Seek``."""


@dataclass(frozen=True, slots=True)
class Seek:
    """To the finders: these devices shall be connected and are not. Replaces the former set."""

    devices: frozenset[UUID]


@dataclass(frozen=True, slots=True)
class Found:
    """To a DeviceConnection: its device says, in a record that it has signed, that it is at these addresses.

    :param via: where the record was, for people: ``mDNS``, ``DHT``. :param issued_at: wall-clock seconds, the record's.
    """

    device: UUID
    addresses: tuple[Address, ...]
    via: str
    issued_at: float


@dataclass(frozen=True, slots=True)
class Rendezvous:
    """Pairing to the finders: the open invitations. Replaces the former set.

    :param offered: secrets (32 bytes, ``InvitationKeys.tag``) under which this device is to be found.
    :param sought: those under which another device is looked for.
    """

    offered: tuple[bytes, ...] = field(default=(), repr=False)
    sought: tuple[bytes, ...] = field(default=(), repr=False)


@dataclass(frozen=True, slots=True)
class WhichRendezvous:
    """A finder to Pairing: I have just started. → told ``Rendezvous``."""


@dataclass(frozen=True, slots=True)
class FoundInviter:
    """To Pairing: whoever offers the invitation with that secret is at these addresses."""

    secret: bytes = field(repr=False)
    addresses: tuple[Address, ...]
    via: str


# -- the Keystore's part -------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class FindingKeys:
    """→ ``tuple[Lookout, ...]``: what to look out for in these periods; devices that are not linked are left out.

    :param periods: a few near the present one (``tags.around``).
    """

    devices: tuple[UUID, ...]
    periods: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Lookout:
    """How a device's record of one period is recognised, opened and believed.

    :param tag: its name (16 bytes). :param key: opens it (32 bytes), of this period only. :param signer: Ed25519 public
        key of the device that signs it.
    """

    device: UUID
    period: int
    tag: bytes
    key: bytes = field(repr=False)
    signer: bytes


@dataclass(frozen=True, slots=True)
class SealRecords:
    """→ ``tuple[Announcement, ...]``: this device's addresses, signed, sealed for each of these devices, for now.

    Devices that are not linked are left out.

    :param lifetime: seconds the records are good for, at most ``records.MOST_LIFETIME``.
    """

    devices: tuple[UUID, ...]
    addresses: tuple[Address, ...]
    lifetime: float


@dataclass(frozen=True, slots=True)
class Announcement:
    """:param tag: the record's name (16 bytes). :param record: of a constant size.

    :param key: what has sealed it (32 bytes), of this period only; its place in the distributed table comes of it.
    """

    device: UUID
    tag: bytes
    record: bytes
    key: bytes = field(repr=False)


# -- the network ---------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class NetworkChanged:
    """From the NetworkMonitor to whoever depends on the network.

    :param what: one line for people, e.g. ``woke after 8 min of sleep``, ``10.0.0.5 is gone``.
    :param addresses: this machine's addresses now (IPv4, and IPv6 without scope). :param gone: those it had before.
    """

    what: str
    addresses: frozenset[str]
    gone: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class OwnAddresses:
    """To the transport: where can others reach this device? → ``tuple[Address, ...]``, the mapped ones included."""


@dataclass(frozen=True, slots=True)
class WhereBound:
    """To the transport: where are its sockets bound? → ``tuple[Address, ...]``."""


@dataclass(frozen=True, slots=True)
class MappedAt:
    """PortMapper to the transport: a router passes on what comes to this address; None: none does (any more)."""

    address: Address | None


@dataclass(frozen=True, slots=True)
class AddressesChanged:
    """The transport to the finders: ask for ``OwnAddresses`` again."""


# -- how it goes ---------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class HowItGoes:
    """From whoever examines the node to a finder, the monitor or the port mapper: does it work? → ``Health``."""


@dataclass(frozen=True, slots=True)
class Health:
    """How one of them is, for people.

    :param works: None if nothing can be said yet. :param seen: what was seen, one line. :param advice: what would help,
        or ``""``.
    """

    works: bool | None
    seen: str
    advice: str = ""


@dataclass(frozen=True, slots=True)
class KnockAtHome:
    """To the transport: call yourself where you listen. → ``tuple[Tried, ...]``, steps ``connect`` and ``accept``."""


@dataclass(frozen=True, slots=True)
class WhatWasFound:
    """To a DeviceConnection: where has the device said that it is? → ``tuple[Found, ...]``, the latest of each way."""


# -- dialling ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class AlsoTry:
    """To the transport: further addresses for the dial that is in flight."""

    device: UUID
    attempt: int
    addresses: tuple[Address, ...]


@dataclass(frozen=True, slots=True)
class TryAddress:
    """To the transport: does this device answer there? → ``Tried``. No session comes of it."""

    device: UUID
    address: Address


@dataclass(frozen=True, slots=True)
class CalledFrom:
    """To the transport: from which host has this device called last? → ``str``, ``""`` if it has not."""

    device: UUID


@dataclass(frozen=True, slots=True)
class AnswersAt:
    """To the Keystore: this device answers at that address too, or the user says so. Told, not asked.

    It is kept after those that are known.
    """

    device: UUID
    address: Address


@dataclass(frozen=True, slots=True)
class Tried:
    """How far it went.

    :param steps: ``(step, seconds, error)``: ``resolve``, ``connect``, ``handshake``; the first with an error is the
        last one. An empty error is none.
    :param trouble: what kind of error the last one is, if it is one. :param hint: what it says would help, or ``""``.
    """

    address: Address
    steps: tuple[tuple[str, float, str], ...]
    trouble: Trouble | None = None
    hint: str = ""

    @property
    def answers(self) -> bool:
        """True if the device itself answered."""
        return bool(self.steps) and self.steps[-1][0] == "handshake" and not self.steps[-1][2]

"""What a node tells whoever listens: the network events, and what each looks like in JSON.

The rule: an event says what has happened, once, with everything needed to act on it. They are frozen and ordered as the
node saw them; a subscriber that is not there when one happens does not get it later (``springline status`` tells how
things are now).
"""

from __future__ import annotations

import base64
import dataclasses
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import Enum
from typing import Any
from uuid import UUID

from springline.protocols.codec import decode_untrusted
from springline.protocols.message import DeviceMessage
from springline.protocols.pairing.exchange import Role
from springline.store.devices import TrustLevel
from springline.store.identity import DeviceInfo


def _now() -> datetime:
    return datetime.now(UTC)


@dataclass(frozen=True, slots=True)
class DeviceConnected:
    """The device is connected and ready for communication."""

    device_id: UUID
    at: datetime = field(default_factory=_now)


@dataclass(frozen=True, slots=True)
class DeviceDisconnected:
    """The link to the device is down: network trouble, shutdown, or on request."""

    device_id: UUID
    reason: str
    at: datetime = field(default_factory=_now)


@dataclass(frozen=True, slots=True)
class DeviceRevoked:
    """The device is not trusted any more; its link is closed and its keys are wiped.

    :param reason: who said so.
    """

    device_id: UUID
    reason: str = ""
    at: datetime = field(default_factory=_now)


@dataclass(frozen=True, slots=True)
class TrustChanged:
    """How far the device is trusted has changed, by the user's word or by itself; revoking it has an event of its own.

    :param reason: why, one line.
    """

    device_id: UUID
    trust: TrustLevel
    reason: str
    at: datetime = field(default_factory=_now)


@dataclass(frozen=True, slots=True)
class TrustExpiring:
    """Trust in the device will end by itself. :param expires_at: when, as things stand."""

    device_id: UUID
    expires_at: datetime
    at: datetime = field(default_factory=_now)


@dataclass(frozen=True, slots=True)
class ApprovalWanted:
    """A device that is only verified wants something sensitive: say yes or no before ``expires_at``.

    :param approval: what to call it in the answer. :param what: what its protocol would do.
    """

    device_id: UUID
    approval: str
    protocol: str
    what: str
    expires_at: datetime
    at: datetime = field(default_factory=_now)


@dataclass(frozen=True, slots=True)
class ApprovalSettled:
    """It does not wait any more. :param reason: approved, denied, or nobody answered in time."""

    device_id: UUID
    approval: str
    approved: bool
    reason: str
    at: datetime = field(default_factory=_now)


@dataclass(frozen=True, slots=True)
class DevicePaired:
    """A pairing has been completed, or renewed."""

    device_id: UUID
    device_info: DeviceInfo
    at: datetime = field(default_factory=_now)


class PairingStage(Enum):
    """How far a pairing is."""

    SEARCHING = "searching"
    """The device that gave the words is looked for."""

    CALLED = "called"
    """The two sides talk; both know the words."""

    MET = "met"
    """The other side has proved who it is: its name and the digits to compare are known."""

    ASKING = "asking"
    """Our user's word is waited for."""

    AGREED = "agreed"
    """From our side nothing is in the way; the other side's word is waited for."""

    BROKEN_OFF = "broken off"
    """A caller did not come through; the invitation is still good."""


@dataclass(frozen=True, slots=True)
class PairingProgress:
    """A pairing is under way.

    :param pairing: names it, as ``Invitation.pairing`` does.
    :param device_id: of the other side, once it is known; so are ``name`` and ``sas``, six digits that both sides show.
    :param known: how far that device is trusted so far, if it has been paired before: the pairing renews it.
    :param reason: why it was broken off. :param until: when it is too late to answer, while our user is asked.
    """

    pairing: str
    role: Role
    stage: PairingStage
    device_id: UUID | None = None
    name: str = ""
    sas: str = ""
    known: TrustLevel | None = None
    reason: str = ""
    until: datetime | None = None
    at: datetime = field(default_factory=_now)


@dataclass(frozen=True, slots=True)
class PairingEnded:
    """A pairing is over: the two are paired, or nothing came of it. Parameters as of :class:`PairingProgress`.

    :param reason: why nothing came of it. :param hint: what to do about it, or ``""``.
    """

    pairing: str
    role: Role
    paired: bool
    device_id: UUID | None = None
    name: str = ""
    sas: str = ""
    known: TrustLevel | None = None
    reason: str = ""
    hint: str = ""
    at: datetime = field(default_factory=_now)


@dataclass(frozen=True, slots=True)
class MessageReceived:
    """A message for the app itself came in (a protocol's messages go to its handler instead).

    :param payload: as it came; parsed only where somebody reads :attr:`message`.
    """

    device_id: UUID
    payload: bytes = field(repr=False)
    at: datetime = field(default_factory=_now)

    @property
    def message(self) -> DeviceMessage:
        """The message itself. :raises Malformed: the other device sent none."""
        return decode_untrusted(self.payload)


@dataclass(frozen=True, slots=True)
class ConnectionError:
    """Something went wrong that the user may want to know; the node goes on by itself.

    :param device_id: whose link, or None if it concerns the node.
    """

    device_id: UUID | None
    error: str
    at: datetime = field(default_factory=_now)


@dataclass(frozen=True, slots=True)
class StoreRepaired:
    """A file of the store was damaged and its previous version counts: the last change to it is lost.

    :param device_id: whom it is about, or None if it is this device's own. :param detail: which file, in words.
    """

    device_id: UUID | None
    detail: str
    at: datetime = field(default_factory=_now)


NetworkEvent = (
    DeviceConnected
    | DeviceDisconnected
    | DeviceRevoked
    | TrustChanged
    | TrustExpiring
    | ApprovalWanted
    | ApprovalSettled
    | DevicePaired
    | PairingProgress
    | PairingEnded
    | MessageReceived
    | StoreRepaired
    | ConnectionError
)


def as_json(value: Any) -> Any:
    """``value`` made of what ``json.dumps`` takes: dataclasses become objects, bytes text if they are, else base64."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        fields = {f.name: as_json(getattr(value, f.name)) for f in dataclasses.fields(value) if f.repr}
        return {"kind": type(value).__name__, **fields}
    if isinstance(value, bytes):
        try:
            return value.decode()
        except UnicodeDecodeError:
            return base64.b64encode(value).decode()
    if isinstance(value, (list, tuple)):
        return [as_json(item) for item in value]
    if isinstance(value, dict):
        return {str(key): as_json(item) for key, item in value.items()}
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, (UUID, datetime)):
        return str(value) if isinstance(value, UUID) else value.isoformat()
    return value

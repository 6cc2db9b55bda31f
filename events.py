"""What a node tells whoever listens: the six network events, and what each looks like in JSON.

The rule: an event says what has happened, once, with everything needed to act on it. They are frozen and ordered as the
node saw them; a subscriber that is not there when one happens does not get it later (``springline status`` tells how
things are now).
"""

from __future__ import annotations

import base64
import dataclasses
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from springline.protocols.codec import decode_untrusted
from springline.protocols.message import DeviceMessage
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
    """The device is not trusted any more; its link is closed and its keys are wiped."""

    device_id: UUID
    at: datetime = field(default_factory=_now)


@dataclass(frozen=True, slots=True)
class DevicePaired:
    """A pairing has been completed, or renewed."""

    device_id: UUID
    device_info: DeviceInfo
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


NetworkEvent = (
    DeviceConnected | DeviceDisconnected | DeviceRevoked | DevicePaired | MessageReceived | ConnectionError
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
    if isinstance(value, (UUID, datetime)):
        return str(value) if isinstance(value, UUID) else value.isoformat()
    return value

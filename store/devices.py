"""The devices this one is paired with, and the sealed file that holds them: ``PersistentNetworkIdentity``.

What is inside the seal is JSON: this device's keys, a record per paired device, when it was written. Unknown fields are
a newer version's and refused with the version, never dropped.
"""

from __future__ import annotations

import base64
import json
from dataclasses import dataclass, field
from datetime import datetime
from enum import Enum
from typing import Any
from uuid import UUID

from springline.errors import Damaged, Newer
from springline.store.identity import DeviceInfo, NetworkIdentity

VERSION = 1


class TrustLevel(Enum):
    """What a paired device may do."""

    TRUSTED = "trusted"
    VERIFIED = "verified"
    EXPIRED = "expired"
    REVOKED = "revoked"


@dataclass(frozen=True, slots=True)
class PairedDevice:
    """One paired device.

    :param last_connected: when a session with it was last up, or None.
    :param auto_connect: whether the user wants the link kept up.
    """

    info: DeviceInfo
    paired_at: datetime
    last_connected: datetime | None = None
    trust: TrustLevel = TrustLevel.TRUSTED
    auto_connect: bool = True


@dataclass(frozen=True, slots=True)
class PersistentNetworkIdentity:
    """Everything in ``network/<device-uuid>.json``."""

    identity: NetworkIdentity
    updated_at: datetime
    paired_devices: dict[UUID, PairedDevice] = field(default_factory=dict)

    def encode(self) -> bytes:
        """JSON, to be sealed."""
        fields = {
            "version": VERSION,
            "identity": {"seed": _text(self.identity.seed), "static": _text(self.identity.static_private)},
            "paired_devices": [_device_fields(device) for device in self.paired_devices.values()],
            "updated_at": self.updated_at.isoformat(),
        }
        return json.dumps(fields).encode()


def decode(data: bytes) -> PersistentNetworkIdentity:
    """The identity in an opened seal. :raises Damaged: it is none, or of a newer version."""
    try:
        fields = json.loads(data)
        if fields["version"] > VERSION:
            raise Newer("the identity was written by a newer version")
        keys = fields["identity"]
        identity = NetworkIdentity(_bytes(keys["seed"]), _bytes(keys["static"]))
        devices = [_device(entry) for entry in fields["paired_devices"]]
        updated_at = datetime.fromisoformat(fields["updated_at"])
    except (ValueError, KeyError, TypeError, AttributeError):
        raise Damaged("the identity is not what was written") from None
    return PersistentNetworkIdentity(identity, updated_at, {device.info.device_id: device for device in devices})


def _device_fields(device: PairedDevice) -> dict[str, Any]:
    info = device.info
    return {
        "id": str(info.device_id),
        "name": info.name,
        "sign": _text(info.signing_key),
        "static": _text(info.static_key),
        "cert": _text(info.certificate),
        "paired_at": device.paired_at.isoformat(),
        "last_connected": device.last_connected.isoformat() if device.last_connected else None,
        "trust": device.trust.value,
        "auto_connect": device.auto_connect,
    }


def _device(entry: dict[str, Any]) -> PairedDevice:
    info = DeviceInfo(
        UUID(entry["id"]), entry["name"], _bytes(entry["sign"]), _bytes(entry["static"]), _bytes(entry["cert"])
    )
    last = entry["last_connected"]
    return PairedDevice(
        info,
        datetime.fromisoformat(entry["paired_at"]),
        datetime.fromisoformat(last) if last else None,
        TrustLevel(entry["trust"]),
        bool(entry["auto_connect"]),
    )


def _text(data: bytes) -> str:
    return base64.b64encode(data).decode()


def _bytes(text: str) -> bytes:
    return base64.b64decode(text, validate=True)

"""The devices this one is paired with, and the sealed file that holds them: ``PersistentNetworkIdentity``.

What is inside the seal is JSON: this device's keys, a record per paired device, what is known of revocations
(``store/revocation.py``), when it was written. Unknown fields are a newer version's and refused with the version, never
dropped.
"""

from __future__ import annotations

import base64
import functools
import json
from dataclasses import dataclass, field
from datetime import datetime
from enum import Enum
from typing import Any
from uuid import UUID

from springline.errors import Damaged, Malformed
from springline.store import migrate, revocation
from springline.store.identity import DeviceInfo, NetworkIdentity
from springline.store.revocation import Revocations

ROLE = "identity"


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
    :param expires_at: when trust in it ends, or None. :param unseen_limit: seconds without a session until it does, or
        None. See ``store/trust.py``.
    """

    info: DeviceInfo
    paired_at: datetime
    last_connected: datetime | None = None
    trust: TrustLevel = TrustLevel.TRUSTED
    auto_connect: bool = True
    expires_at: datetime | None = None
    unseen_limit: int | None = None


@dataclass(frozen=True, slots=True)
class PersistentNetworkIdentity:
    """Everything in ``network/<device-uuid>.json``."""

    identity: NetworkIdentity
    updated_at: datetime
    paired_devices: dict[UUID, PairedDevice] = field(default_factory=dict)
    revocations: Revocations = field(default_factory=Revocations)

    def encode(self) -> bytes:
        """JSON, to be sealed."""
        fields = {
            "version": migrate.newest(ROLE),
            "identity": {"seed": _text(self.identity.seed), "static": _text(self.identity.static_private)},
            "revocations": _revocations_fields(self.revocations),
            "updated_at": self.updated_at.isoformat(),
        }
        records = ", ".join(map(_encoded, self.paired_devices.values()))
        return f'{json.dumps(fields)[:-1]}, "paired_devices": [{records}]}}'.encode()


def decode(data: bytes) -> PersistentNetworkIdentity:
    """The identity in an opened seal. :raises Damaged: it is none, or of a newer version."""
    fields = migrate.parse(ROLE, data)
    try:
        keys = fields["identity"]
        identity = NetworkIdentity(_bytes(keys["seed"]), _bytes(keys["static"]))
        devices = [_device(entry) for entry in fields["paired_devices"]]
        updated_at = datetime.fromisoformat(fields["updated_at"])
        revocations = _revocations(fields["revocations"])
    except (ValueError, KeyError, TypeError, AttributeError, Malformed):
        raise Damaged("the identity is not what was written") from None
    paired = {device.info.device_id: device for device in devices}
    return PersistentNetworkIdentity(identity, updated_at, paired, revocations)


@functools.lru_cache(maxsize=4096)
def _encoded(device: PairedDevice) -> str:
    """One record as JSON; kept, because a change concerns one of a thousand. It holds no secret."""
    return json.dumps(_device_fields(device))


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
        "expires_at": device.expires_at.isoformat() if device.expires_at else None,
        "unseen_limit": device.unseen_limit,
    }


def _device(entry: dict[str, Any]) -> PairedDevice:
    info = DeviceInfo(
        UUID(entry["id"]), entry["name"], _bytes(entry["sign"]), _bytes(entry["static"]), _bytes(entry["cert"])
    )
    limit = entry["unseen_limit"]
    return PairedDevice(
        info,
        datetime.fromisoformat(entry["paired_at"]),
        _moment(entry["last_connected"]),
        TrustLevel(entry["trust"]),
        bool(entry["auto_connect"]),
        _moment(entry["expires_at"]),
        None if limit is None else int(limit),
    )


def _moment(text: str | None) -> datetime | None:
    return datetime.fromisoformat(text) if text else None


def _revocations_fields(known: Revocations) -> dict[str, Any]:
    return {
        "facts": [_text(fact.encode()) for fact in known.facts.values()],
        "superseded": [_text(fact) for fact in known.superseded],
        "acks": {str(peer): sorted(map(_text, acked)) for peer, acked in known.acks.items()},
    }


def _revocations(fields: dict[str, Any]) -> Revocations:
    facts = [revocation.parse(_bytes(fact)) for fact in fields["facts"]]
    acks = {UUID(peer): frozenset(map(_bytes, acked)) for peer, acked in fields["acks"].items()}
    return Revocations({fact.id: fact for fact in facts}, tuple(map(_bytes, fields["superseded"])), acks)


def _text(data: bytes) -> str:
    return base64.b64encode(data).decode()


def _bytes(text: str) -> bytes:
    return base64.b64decode(text, validate=True)

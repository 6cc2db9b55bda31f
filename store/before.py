"""``network/known_before.sealed``: devices that this one was paired with under another program's identity.

The rule: nothing of theirs opens a connection here, so they are no paired devices, only a reminder of whom to pair with
again. When a device of the same name is paired, what was known of how to reach it is taken over. The file is written
once, by an import; an entry counts for as long as no paired device has its name.
"""

from __future__ import annotations

import json
import logging
from dataclasses import asdict, dataclass, field
from datetime import datetime
from uuid import UUID

from springline.errors import Damaged, LocalFault
from springline.store import atomic, migrate
from springline.store.devices import TrustLevel
from springline.store.envelope import seal, subkey, unseal
from springline.store.layout import Layout
from springline.store.preferences import ConnectionConfig

log = logging.getLogger("springline.store")

ROLE = "known_before"


@dataclass(frozen=True, slots=True)
class KnownBefore:
    """One of them.

    :param device_id: as it was there; here the device has another.
    """

    device_id: UUID
    name: str
    paired_at: datetime
    last_connected: datetime | None
    trust: TrustLevel
    auto_connect: bool
    preferences: ConnectionConfig = field(default_factory=ConnectionConfig)


def save(layout: Layout, data_key: bytes, devices: tuple[KnownBefore, ...]) -> None:
    """Write them durably. :raises LocalFault: the system refused."""
    atomic.write(layout.known_before, seal(subkey(data_key, ROLE), encode(devices), ROLE))


def load(layout: Layout, data_key: bytes) -> tuple[KnownBefore, ...]:
    """All of them; none if there is no such file, or if it does not open: it is a reminder, and no more."""
    try:
        blob = atomic.read(layout.known_before)
        return () if blob is None else decode(unseal(subkey(data_key, ROLE), blob, ROLE))
    except LocalFault as error:
        log.warning("who was known before is not known any more: %s", error)
        return ()


def encode(devices: tuple[KnownBefore, ...]) -> bytes:
    """JSON, to be sealed."""
    records = [
        {
            "id": str(device.device_id),
            "name": device.name,
            "paired_at": device.paired_at.isoformat(),
            "last_connected": device.last_connected.isoformat() if device.last_connected else None,
            "trust": device.trust.value,
            "auto_connect": device.auto_connect,
            "preferences": asdict(device.preferences),
        }
        for device in devices
    ]
    return json.dumps({"version": migrate.newest(ROLE), "devices": records}).encode()


def decode(data: bytes) -> tuple[KnownBefore, ...]:
    """The devices in an opened seal. :raises Damaged: there are none."""
    fields = migrate.parse(ROLE, data)
    try:
        return tuple(
            KnownBefore(
                UUID(entry["id"]),
                str(entry["name"]),
                datetime.fromisoformat(entry["paired_at"]),
                datetime.fromisoformat(entry["last_connected"]) if entry["last_connected"] else None,
                TrustLevel(entry["trust"]),
                bool(entry["auto_connect"]),
                _preferences(entry["preferences"]),
            )
            for entry in fields["devices"]
        )
    except (ValueError, KeyError, TypeError, AttributeError):
        raise Damaged(f"the file '{ROLE}' is not what was written") from None


def _preferences(fields: dict[str, object]) -> ConnectionConfig:
    known: dict[str, object] = {
        name: tuple(value) if isinstance(value, list) else value for name, value in fields.items()
    }
    return ConnectionConfig(**known)  # type: ignore[arg-type]

"""``device.json``: what may be known about this device without a passphrase — its id, its name, its port.

The app's process writes it, seldom, and twice: so its previous version says the same, and stands in for one that a disk
or a person has damaged.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime
from uuid import UUID

from springline.errors import Damaged, Misuse
from springline.store import atomic, migrate
from springline.store.device_files import or_previous
from springline.store.identity import clean_name
from springline.store.layout import Layout

ROLE = "device.json"


@dataclass(frozen=True, slots=True)
class DeviceConfig:
    """:param port: TCP port chosen at the first start and kept, or None."""

    device_id: UUID
    name: str
    created_at: datetime
    port: int | None = None

    def save(self, layout: Layout) -> None:
        """Write it durably, and once more as its own previous version."""
        fields = {
            "version": migrate.newest(ROLE),
            "id": str(self.device_id),
            "name": self.name,
            "created_at": self.created_at.isoformat(),
            "port": self.port,
        }
        data = json.dumps(fields, indent=2).encode() + b"\n"
        atomic.write(layout.device, data)
        atomic.write(layout.device, data)


def load(layout: Layout, repaired: Callable[[], None] | None = None) -> DeviceConfig:
    """Read it.

    :param repaired: called when it was damaged and its previous version was put back; without it, that one is read
        only. :raises Misuse: there is none. :raises Damaged: neither version makes sense.
    """
    data = atomic.read(layout.device)
    if data is None:
        raise Misuse(f"no identity in {layout.root}", "make one with 'springline init'")
    return or_previous(layout.device, data, _parse, repaired)


def _parse(data: bytes) -> DeviceConfig:
    fields = migrate.parse(ROLE, data)
    try:
        port = fields["port"]
        if port is not None and not (type(port) is int and 0 < port < 65536):
            raise ValueError(port)
        name = clean_name(fields["name"])  # a person may have edited it, and peers refuse a name that is not clean
        return DeviceConfig(UUID(fields["id"]), name, datetime.fromisoformat(fields["created_at"]), port)
    except (Misuse, ValueError, KeyError, TypeError, AttributeError):
        raise Damaged("device.json makes no sense", "see what is in it") from None


def keep_port(layout: Layout, port: int) -> None:
    """Remember the port that was chosen."""
    config = load(layout)
    if config.port != port:
        atomic.tidy(layout.root)
        replace(config, port=port).save(layout)

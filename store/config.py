"""``device.json``: what may be known about this device without a passphrase — its id, its name, its port."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from datetime import datetime
from uuid import UUID

from springline.errors import Damaged, Misuse, Newer
from springline.store import atomic
from springline.store.identity import clean_name
from springline.store.layout import Layout

VERSION = 1


@dataclass(frozen=True, slots=True)
class DeviceConfig:
    """:param port: TCP port chosen at the first start and kept, or None."""

    device_id: UUID
    name: str
    created_at: datetime
    port: int | None = None

    def save(self, layout: Layout) -> None:
        """Write it durably."""
        fields = {
            "version": VERSION,
            "id": str(self.device_id),
            "name": self.name,
            "created_at": self.created_at.isoformat(),
            "port": self.port,
        }
        atomic.write(layout.device, json.dumps(fields, indent=2).encode() + b"\n")


def load(layout: Layout) -> DeviceConfig:
    """Read it. :raises Misuse: there is none. :raises Damaged: it makes no sense."""
    data = atomic.read(layout.device)
    if data is None:
        raise Misuse(f"no identity in {layout.root}", "make one with 'springline init'")
    try:
        fields = json.loads(data)
        if fields["version"] > VERSION:
            raise Newer("device.json was written by a newer version")
        port = fields["port"]
        if port is not None and not (type(port) is int and 0 < port < 65536):
            raise ValueError(port)
        name = clean_name(fields["name"])  # a person may have edited it, and peers refuse a name that is not clean
        return DeviceConfig(UUID(fields["id"]), name, datetime.fromisoformat(fields["created_at"]), port)
    except (Misuse, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        raise Damaged("device.json is damaged", f"compare it with device.json{atomic.PREVIOUS} beside it") from None


def keep_port(layout: Layout, port: int) -> None:
    """Remember the port that was chosen."""
    config = load(layout)
    if config.port != port:
        replace(config, port=port).save(layout)

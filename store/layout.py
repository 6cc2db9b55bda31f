"""Where everything of a device is kept::

    device.json                                       DeviceConfig, readable
    network/<device-uuid>.json                        PersistentNetworkIdentity, sealed
    network/known_before.sealed                       who was known under a former program's identity, sealed
    network/connections/<opaque>/session_keys.json    the relationship key, sealed
    network/connections/<opaque>/preferences.json     ConnectionConfig, sealed
    network/connections/<opaque>/history.json         ended sessions, sealed
    network/audit.log, audit.log.<n>, audit.head      what has happened, sealed line by line
    run/                                              lock, and a link to the bus of the running node
    incoming/                                         received files, unless another folder is chosen

``<opaque>`` is a keyed hash of the peer's id: who can list the folder learns how many devices are paired, not which.
All folders are their owner's alone.
"""

from __future__ import annotations

import os
from pathlib import Path
from uuid import UUID

from springline.errors import LocalFault, Misuse
from springline.store import atomic
from springline.store.envelope import subkey


class Layout:
    """The paths of one data directory.

    :param data_dir: need not exist yet. :raises Misuse: it begins with ``~`` and that home is unknown.
    """

    def __init__(self, data_dir: str | os.PathLike[str]) -> None:
        try:
            self.root = Path(data_dir).expanduser().absolute()
        except RuntimeError:
            raise Misuse(f"there is no home directory for {data_dir}", "choose another --data-dir") from None
        self.device = self.root / "device.json"
        self.network = self.root / "network"
        self.audit = self.network / "audit.log"
        self.known_before = self.network / "known_before.sealed"
        self.connections = self.network / "connections"
        self.run = self.root / "run"
        self.bus = self.run / "bus"

    def prepare(self) -> None:
        """Make the folders. :raises LocalFault: the system refuses, or the place is somebody else's."""
        try:
            for folder in (self.root, self.network, self.connections, self.run):
                atomic.make_folder(folder)
                folder.chmod(0o700)
        except OSError as error:
            why = (error.strerror or str(error)).lower()
            mend = "check who owns it, and whether its disk may be written"
            hint = mend if self._is_used() else "choose another --data-dir"
            raise LocalFault(f"can't use {self.root} as data directory: {why}", hint) from None

    def _is_used(self) -> bool:
        """Whether there is an identity, as far as can be seen."""
        try:
            return self.device.exists()
        except OSError:
            return False

    def identity(self, device: UUID) -> Path:
        """The sealed identity of this device."""
        return self.network / f"{device}.json"

    def connection(self, data_key: bytes, peer: UUID) -> Path:
        """The folder of one peer."""
        return self.connections / subkey(data_key, "folder", peer.bytes)[:16].hex()

"""An identity on its way to another disk: one sealed file with a passphrase of its own.

The rule: the file holds what a reinstalled device needs so that nobody has to pair again — this device's keys, the
records of the others, what is known of revocations, and each relationship's key and preferences — and nothing else. It
is locked like the store, in a format of its own (``store/envelope.py``); inside is JSON, of the version
``store/migrate.py`` says. The store made from it has a new data key.

Relationship keys go on changing where they came from, so those in the file grow old: an import marks them as
stale, and the next handshake with each device uses the key derived for this case alone (``store/sessions.py``).

One identity in two places is not supported: the two would take each other's links.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any
from uuid import UUID

import nacl.utils

from springline.errors import Damaged, LocalFault, Misuse, Newer, WrongPassphrase
from springline.store import atomic, devices, migrate, opening, preferences, sessions
from springline.store.config import DeviceConfig
from springline.store.devices import PersistentNetworkIdentity, TrustLevel
from springline.store.envelope import EXPORT, KEY_SIZE, Strength, lock_of, new_lock, seal, subkey, unseal
from springline.store.identity import clean_name
from springline.store.layout import Layout
from springline.store.preferences import ConnectionConfig
from springline.store.sessions import EncryptedSessionKeys
from springline.store.vault import KEYS, PREFERENCES, Vault

MOST_BYTES = 64 << 20
"""Bytes of an exported file; a thousand devices take about one MiB."""


@dataclass(frozen=True, slots=True)
class Exported:
    """An identity, sealed.

    :param devices: how many can be reached with it without pairing again.
    :param incomplete: the paired devices of which a file is damaged, so that they can't.
    """

    sealed: bytes
    devices: int
    incomplete: tuple[UUID, ...]


def export(vault: Vault, passphrase: bytes, now: datetime) -> Exported:
    """Seal what a move takes along.

    :param passphrase: opens the file; locked as strongly as the store, moderately if that has no passphrase.
    :raises Misuse: the passphrase is empty. :raises Newer: a file is of a newer version.
    """
    if not passphrase:
        raise Misuse("an exported identity needs a passphrase")
    paired = [device.info.device_id for device in vault.devices() if device.trust is not TrustLevel.REVOKED]
    kept = {peer: found for peer in paired if (found := _kept(vault, peer)) is not None}
    content = {
        "version": migrate.newest(EXPORT),
        "exported_at": now.isoformat(),
        "name": vault.config.name,
        "created_at": vault.config.created_at.isoformat(),
        "port": vault.config.port,
        "identity": base64.b64encode(vault.state.encode()).decode(),
        "devices": {str(peer): files for peer, files in kept.items()},
    }
    key = nacl.utils.random(KEY_SIZE)
    lock, _ = new_lock(passphrase, key, opening.guarded(vault.lock))
    sealed = seal(subkey(key, EXPORT), json.dumps(content).encode(), EXPORT, lock)
    return Exported(sealed, len(kept), tuple(peer for peer in paired if peer not in kept))


def _kept(vault: Vault, peer: UUID) -> dict[str, Any] | None:
    try:
        keys = vault.files.read(peer, KEYS, sessions.decode)
        wanted = vault.files.read(peer, PREFERENCES, preferences.decode)
    except Newer:
        raise
    except Damaged:
        return None
    if keys is None:
        return None
    return {KEYS: json.loads(keys.encode())} | ({PREFERENCES: json.loads(wanted.encode())} if wanted else {})


@dataclass(frozen=True, slots=True)
class Moved:
    """What an exported file says, opened."""

    made: DeviceConfig
    state: PersistentNetworkIdentity
    devices: Mapping[UUID, tuple[EncryptedSessionKeys, ConnectionConfig | None]] = field(repr=False)

    def fill(self, vault: Vault) -> None:
        """Put the devices' files into a store."""
        for peer, (keys, wanted) in self.devices.items():
            vault.files.write(peer, KEYS, replace(keys, stale=True), EncryptedSessionKeys.encode)
            if wanted is not None:
                vault.files.write(peer, PREFERENCES, wanted, ConnectionConfig.encode)


def opened(sealed: bytes, passphrase: bytes) -> Moved:
    """What is in an exported file.

    :raises WrongPassphrase: it is not the one. :raises Damaged: the file is, or it is another program's. :raises Newer:
        it is of a newer version.
    """
    lock = lock_of(sealed, EXPORT)
    if lock.is_open:
        raise Damaged("the exported identity has no passphrase: it is not what was written")
    try:
        key = lock.open(lock.derive(passphrase))
    except WrongPassphrase:
        raise WrongPassphrase("this is not the passphrase the identity was exported with") from None
    fields = migrate.parse(EXPORT, unseal(subkey(key, EXPORT), sealed, EXPORT))
    try:
        state = devices.decode(base64.b64decode(fields["identity"], validate=True))
        created_at, port = datetime.fromisoformat(fields["created_at"]), fields["port"]
        made = DeviceConfig(state.identity.device_id, clean_name(fields["name"]), created_at, port)
        return Moved(made, state, {UUID(peer): _device(files) for peer, files in fields["devices"].items()})
    except (Misuse, ValueError, KeyError, TypeError, AttributeError):
        raise Damaged("the exported identity is not what was written") from None


def _device(files: dict[str, Any]) -> tuple[EncryptedSessionKeys, ConnectionConfig | None]:
    keys = sessions.decode(json.dumps(files[KEYS]).encode())
    wanted = files.get(PREFERENCES)
    return keys, None if wanted is None else preferences.decode(json.dumps(wanted).encode())


def settle(layout: Layout, moved: Moved, passphrase: bytes, strength: Strength, name: str = "") -> Vault:
    """Make a store of an exported identity, where there is none.

    :param passphrase: the new store's; arguments as of ``opening.create``. :param name: by default the one it had.
    :raises Misuse: there is an identity already.
    """
    _clear(layout, moved.made.device_id)
    made = replace(moved.made, name=clean_name(name or moved.made.name))
    return opening.establish(layout, made, moved.state, passphrase, strength, moved.fill)


def _clear(layout: Layout, device: UUID) -> None:
    """Remove what an import that was cut short has left: without its identity nobody can open it."""
    own = layout.identity(device)
    others = [path for path in layout.network.glob("*.json") if path != own]
    if atomic.read(layout.device) is not None or others:
        raise Misuse(f"there is an identity in {layout.root} already", "choose another --data-dir")
    for folder in layout.connections.glob("*") if layout.connections.is_dir() else ():
        atomic.erase(folder)
    for path in (own, atomic.previous(own)):
        try:
            path.unlink(missing_ok=True)
        except OSError as error:
            raise LocalFault(f"can't remove {path.name}: {(error.strerror or str(error)).lower()}") from None

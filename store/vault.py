"""Vault: the one door to everything sealed at rest. Only the Keystore's process opens it.

The rule: one owner, whole files, written before they count. Keys go to disk before the record that needs them and are
erased after the record that revokes them, so a crash at any moment leaves a state that makes sense. A file that does
not open falls back to its previous version, which then counts again.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime
from typing import TypeVar
from uuid import UUID

import nacl.utils

from springline.errors import Damaged, LocalFault, Misuse, Newer, UnknownDevice
from springline.store import atomic, config, devices, preferences, sessions
from springline.store.config import DeviceConfig
from springline.store.device_files import DeviceFiles, Report, or_previous
from springline.store.devices import PairedDevice, PersistentNetworkIdentity, TrustLevel
from springline.store.envelope import KEY_SIZE, Lock, Strength, lock_of, new_lock, seal, subkey, unseal
from springline.store.identity import DeviceInfo, NetworkIdentity, clean_name
from springline.store.layout import Layout
from springline.store.preferences import ConnectionConfig
from springline.store.sessions import EncryptedSessionKeys

KEYS = "session_keys"
PREFERENCES = "preferences"
IDENTITY = "identity"

Parsed = TypeVar("Parsed")


class Vault:
    """An open store. Make one with :meth:`create`, :meth:`unlock` or :meth:`unlock_with`."""

    def __init__(self, layout: Layout, found: DeviceConfig, lock: Lock, unlock_key: bytes, data_key: bytes) -> None:
        self.layout = layout
        self.config = found
        self.unlock_key = unlock_key
        self._lock = lock
        self._data_key = data_key
        self._state: PersistentNetworkIdentity
        self._by_static: dict[bytes, UUID] = {}
        self._unreported: list[tuple[str, UUID | None, str]] = []
        self._listener: Report | None = None
        self._files = DeviceFiles(layout, data_key, self._report)

    # -- opening ---------------------------------------------------------------------------------------------------

    @classmethod
    def create(cls, layout: Layout, passphrase: bytes, name: str, strength: Strength, now: datetime) -> Vault:
        """Make a new identity. :raises Misuse: there is one already."""
        if atomic.read(layout.device) is not None:
            raise Misuse(f"there is an identity in {layout.root} already", "choose another --data-dir")
        layout.prepare()
        identity = NetworkIdentity.new()
        data_key = nacl.utils.random(KEY_SIZE)
        lock, unlock_key = new_lock(passphrase, data_key, strength)
        made = DeviceConfig(identity.device_id, clean_name(name), now)
        vault = cls(layout, made, lock, unlock_key, data_key)
        vault._put(PersistentNetworkIdentity(identity, now))
        made.save(layout)  # last: it is what says that there is an identity
        return vault

    @classmethod
    def unlock(cls, layout: Layout, passphrase: bytes) -> Vault:
        """Open with the passphrase; takes Argon2id's time.

        :raises WrongPassphrase: it is not the one. :raises Damaged: a file is. :raises Misuse: there is no identity.
        """
        return cls._unlock(layout, lambda lock: lock.derive(passphrase))

    @classmethod
    def unlock_with(cls, layout: Layout, unlock_key: bytes) -> Vault:
        """Open with the key an earlier unlocking has left; errors as of :meth:`unlock`."""
        return cls._unlock(layout, lambda _lock: unlock_key)

    @classmethod
    def _unlock(cls, layout: Layout, key_for: Callable[[Lock], bytes]) -> Vault:
        found = config.load(layout)
        path = layout.identity(found.device_id)
        blob = atomic.read(path)
        if blob is None:
            raise Damaged(f"the identity {path.name} is missing", "restore it from a backup")

        def opened(blob: bytes) -> Vault:
            lock = lock_of(blob, IDENTITY)
            unlock_key = key_for(lock)
            data_key = lock.open(unlock_key)
            vault = cls(layout, found, lock, unlock_key, data_key)
            vault._adopt(devices.decode(unseal(subkey(data_key, IDENTITY), blob, IDENTITY)))
            return vault

        repaired: list[str] = []
        vault = or_previous(path, blob, opened, lambda: repaired.append("the identity was damaged"))
        for what in repaired:
            vault._report("store repaired", None, f"{what}: its previous version counts")
        if vault.identity.device_id != found.device_id:
            raise Damaged("device.json and the identity belong to different devices")
        for folder in (layout.root, layout.network):
            atomic.tidy(folder)
        vault._finish_revoking()
        return vault

    def report_to(self, report: Report) -> None:
        """Have somebody hear what the user should know of the store, from its opening on."""
        self._listener = report
        for news in self._unreported:
            report(*news)
        self._unreported.clear()

    def _report(self, kind: str, device: UUID | None, detail: str) -> None:
        if self._listener is None:
            self._unreported.append((kind, device, detail))
        else:
            self._listener(kind, device, detail)

    def _adopt(self, state: PersistentNetworkIdentity) -> None:
        self._state = state
        self._by_static = {device.info.static_key: peer for peer, device in state.paired_devices.items()}

    def _put(self, state: PersistentNetworkIdentity) -> None:
        """Write, then believe."""
        blob = seal(subkey(self._data_key, IDENTITY), state.encode(), IDENTITY, self._lock)
        atomic.write(self.layout.identity(state.identity.device_id), blob)
        self._adopt(state)

    # -- this device -----------------------------------------------------------------------------------------------

    @property
    def identity(self) -> NetworkIdentity:
        """This device's private side."""
        return self._state.identity

    # -- paired devices --------------------------------------------------------------------------------------------

    def devices(self) -> list[PairedDevice]:
        """All of them, revoked ones included, by name."""
        return sorted(self._state.paired_devices.values(), key=lambda device: (device.info.name, device.info.device_id))

    def device(self, peer: UUID) -> PairedDevice | None:
        """The one with that id."""
        return self._state.paired_devices.get(peer)

    def by_static_key(self, static_key: bytes) -> PairedDevice | None:
        """The one with that X25519 public key."""
        peer = self._by_static.get(static_key)
        return None if peer is None else self.device(peer)

    def pair(self, info: DeviceInfo, key: bytes, addresses: tuple[str, ...], now: datetime) -> PairedDevice:
        """Remember a device the user has just paired, or renew it: how much it is trusted then stays.

        One that has expired or was revoked is trusted again, because pairing is the user's explicit word. The record is
        written last; if that fails, the former key counts as before. What is damaged of it is replaced.

        :param key: the relationship key, 32 bytes. :param addresses: best first.
        :raises Misuse: it is this device. :raises Malformed: ``info`` does not hold. :raises Newer: a file of it is of
            a newer version.
        """
        info.verify()
        peer = info.device_id
        if peer == self.identity.device_id:
            raise Misuse("a device can't be paired with itself")
        known = self.device(peer)
        _unless_damaged(lambda: self._files.read(peer, KEYS, sessions.decode))  # a newer version's is not written over
        kept = _unless_damaged(lambda: self.preferences(peer)) or ConnectionConfig()
        for address in reversed(addresses):
            kept = kept.with_good_address(address)
        self._put_preferences(peer, kept)
        self._files.write(peer, KEYS, EncryptedSessionKeys(key, now), EncryptedSessionKeys.encode)
        try:
            record = _renewed(known, replace(info, addresses=()), now)
            self._replace(record, now)
        except LocalFault:
            self._files.undo(peer, KEYS)
            raise
        return record

    def set_trust(self, peer: UUID, trust: TrustLevel, now: datetime) -> None:
        """Change the trust in a device.

        :raises UnknownDevice: it is not paired. :raises Misuse: it is revoked, which only pairing again undoes.
        """
        device = self._known(peer)
        if trust is TrustLevel.REVOKED:
            self.revoke(peer, now)
        elif device.trust is TrustLevel.REVOKED:
            raise Misuse(f"{device.info.name} is revoked", "pair it again")
        else:
            self._replace(replace(device, trust=trust), now)

    def set_auto_connect(self, peer: UUID, wanted: bool, now: datetime) -> None:
        """Keep whether the user wants the link. :raises UnknownDevice: it is not paired."""
        device = self._known(peer)
        if device.auto_connect != wanted:
            self._replace(replace(device, auto_connect=wanted), now)

    def revoke(self, peer: UUID, now: datetime) -> None:
        """Never again: the record says so first, then the keys are wiped. :raises UnknownDevice: it is not paired."""
        self._replace(replace(self._known(peer), trust=TrustLevel.REVOKED, auto_connect=False), now)
        self._wipe(peer)

    def _wipe(self, peer: UUID) -> None:
        self._files.erase(peer)

    def _finish_revoking(self) -> None:
        """Wipe what a crash between a revocation's record and its wiping has left; what can't be now, next time."""
        for peer, device in self._state.paired_devices.items():
            if device.trust is TrustLevel.REVOKED:
                with contextlib.suppress(LocalFault):
                    self._wipe(peer)

    def seen(self, peer: UUID, now: datetime) -> None:
        """A session with it is up; ignored if it is not (or no longer) paired."""
        if self._is_paired(peer):
            self._replace(replace(self._known(peer), last_connected=now), now)

    def _is_paired(self, peer: UUID) -> bool:
        device = self.device(peer)
        return device is not None and device.trust is not TrustLevel.REVOKED

    def _known(self, peer: UUID) -> PairedDevice:
        device = self.device(peer)
        if device is None:
            raise UnknownDevice(f"no device {peer} is paired")
        return device

    def _replace(self, device: PairedDevice, now: datetime) -> None:
        paired = {**self._state.paired_devices, device.info.device_id: device}
        self._put(replace(self._state, paired_devices=paired, updated_at=now))

    # -- one device's files: read when needed ----------------------------------------------------------------------

    def relationship_key(self, peer: UUID) -> bytes:
        """The psk (32 bytes) shared with it. :raises Damaged: its file is missing or does not open."""
        found = self._files.read(peer, KEYS, sessions.decode)
        if found is None:
            raise Damaged("the keys of a paired device are missing", "pair it again")
        return found.relationship_key

    def preferences(self, peer: UUID) -> ConnectionConfig:
        """How to reach it; the defaults if nothing was saved."""
        return self._files.read(peer, PREFERENCES, preferences.decode) or ConnectionConfig()

    def save_preferences(self, peer: UUID, wanted: ConnectionConfig) -> None:
        """Keep how to reach it. :raises UnknownDevice: it is not paired, or revoked."""
        if not self._is_paired(peer):
            raise UnknownDevice(f"no device {peer} is paired")
        self._put_preferences(peer, wanted)

    def _put_preferences(self, peer: UUID, wanted: ConnectionConfig) -> None:
        self._files.write(peer, PREFERENCES, wanted, ConnectionConfig.encode)

    def remember_address(self, peer: UUID, address: str) -> None:
        """It answered there: try that first the next time. Ignored if it is not (or no longer) paired."""
        if not self._is_paired(peer):
            return
        present = self.preferences(peer)
        changed = present.with_good_address(address)
        if changed != present:
            self.save_preferences(peer, changed)


def _renewed(known: PairedDevice | None, info: DeviceInfo, now: datetime) -> PairedDevice:
    """The record of a device that has just been paired."""
    if known is None:
        return PairedDevice(info, now)
    barred = known.trust in (TrustLevel.EXPIRED, TrustLevel.REVOKED)
    return replace(known, info=info, trust=TrustLevel.TRUSTED if barred else known.trust, auto_connect=True)


def _unless_damaged(read: Callable[[], Parsed]) -> Parsed | None:
    """What is read, or None if it is damaged. :raises Newer: it is not damaged but of a newer version."""
    try:
        return read()
    except Newer:
        raise
    except Damaged:
        return None

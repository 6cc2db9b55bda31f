"""Vault: the one door to everything sealed at rest. Only the Keystore's process opens it.

The rule: one owner, whole files, written before they count. Keys go to disk before the record that needs them and are
erased after the record that revokes them, so a crash at any moment leaves a state that makes sense. A file that does
not open falls back to its previous version, which then counts again.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import TypeVar
from uuid import UUID

from springline.errors import Damaged, LocalFault, Misuse, Newer, Refused, UnknownDevice
from springline.store import atomic, before, preferences, revocation, sessions, trust
from springline.store.before import KnownBefore
from springline.store.config import DeviceConfig
from springline.store.device_files import DeviceFiles, Report
from springline.store.devices import PairedDevice, PersistentNetworkIdentity, TrustLevel
from springline.store.envelope import Lock, seal, subkey
from springline.store.identity import DeviceInfo, NetworkIdentity
from springline.store.layout import Layout
from springline.store.preferences import ConnectionConfig
from springline.store.revocation import Revocations
from springline.store.sessions import EncryptedSessionKeys
from springline.store.trust import BARRED, Policy, Review, effective

KEYS = "session_keys"
PREFERENCES = "preferences"
IDENTITY = "identity"

ROOM_FOR_ONE = 32 << 10
"""Bytes that one more device takes beside the identity's file: its folder, its files, each a block or two."""

Parsed = TypeVar("Parsed")


class Vault:
    """An open store; ``store/opening.py`` makes one.

    :param lock: what the passphrase opens. :param data_key: what it leads to, 32 bytes. :param state: the identity.
    """

    def __init__(
        self, layout: Layout, found: DeviceConfig, lock: Lock, data_key: bytes, state: PersistentNetworkIdentity
    ) -> None:
        self.layout = layout
        self.config = found
        self.lock = lock
        self._data_key = data_key
        self._unreported: list[tuple[str, UUID | None, str]] = []
        self._listener: Report | None = None
        self._files = DeviceFiles(layout, data_key, self.note)
        self._adopt(state)

    # -- as a whole ------------------------------------------------------------------------------------------------

    @property
    def data_key(self) -> bytes:
        """What opens the store without a passphrase, 32 bytes."""
        return self._data_key

    @property
    def state(self) -> PersistentNetworkIdentity:
        """Everything in the identity's file."""
        return self._state

    @property
    def files(self) -> DeviceFiles:
        """The files of each device."""
        return self._files

    def save(self) -> None:
        """Write the identity as it is."""
        self._put(self._state)

    def relock(self, lock: Lock) -> None:
        """Put the data key behind another lock; no version of the file keeps the former one.

        :raises LocalFault: it could not be written; the former lock counts.
        """
        atomic.write_both(self._path, self._sealed(self._state, lock))
        self.lock = lock

    def report_to(self, report: Report) -> None:
        """Have somebody hear what the user should know of the store, from its opening on."""
        self._listener = report
        for news in self._unreported:
            report(*news)
        self._unreported.clear()

    def note(self, kind: str, device: UUID | None, detail: str) -> None:
        """Tell the listener, now or as soon as there is one."""
        if self._listener is None:
            self._unreported.append((kind, device, detail))
        else:
            self._listener(kind, device, detail)

    def _adopt(self, state: PersistentNetworkIdentity) -> None:
        self._state = state
        self._by_static = {device.info.static_key: peer for peer, device in state.paired_devices.items()}

    def _put(self, state: PersistentNetworkIdentity) -> None:
        """Write, then believe."""
        atomic.write(self._path, self._sealed(state, self.lock))
        self._adopt(state)

    def _sealed(self, state: PersistentNetworkIdentity, lock: Lock) -> bytes:
        return seal(subkey(self._data_key, IDENTITY), state.encode(), IDENTITY, lock)

    @property
    def _path(self) -> Path:
        return self.layout.identity(self.config.device_id)

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
        former = _unless_damaged(lambda: self._files.read(peer, KEYS, sessions.decode))  # a newer one's is left alone
        kept = self._preferences_to_begin_with(info)
        for address in reversed(addresses):
            kept = kept.with_good_address(address)
        self._put_preferences(peer, kept)
        keys = EncryptedSessionKeys(key, now) if former is None else former.renew(key, now)
        self._files.write(peer, KEYS, keys, EncryptedSessionKeys.encode)
        try:
            record = _renewed(known, replace(info, addresses=()), now)
            self._replace(record, now, self._state.revocations.supersede(info))
        except LocalFault:
            self._files.undo(peer, KEYS)
            raise
        return record

    def rehearse_pairing(self) -> None:
        """See whether :meth:`pair` would find room. :raises LocalFault: it would not."""
        atomic.rehearse(self.layout.network, len(self._sealed(self._state, self.lock)) + ROOM_FOR_ONE)

    def _preferences_to_begin_with(self, info: DeviceInfo) -> ConnectionConfig:
        kept = _unless_damaged(lambda: self._files.read(info.device_id, PREFERENCES, preferences.decode))
        named = (one.preferences for one in self.known_before() if one.name == info.name)
        return kept or next(named, ConnectionConfig())

    def known_before(self) -> tuple[KnownBefore, ...]:
        """Whom a former program's identity was paired with, and this one is not yet."""
        names = {device.info.name for device in self._state.paired_devices.values()}
        return tuple(one for one in before.load(self.layout, self._data_key) if one.name not in names)

    def set_trust(self, peer: UUID, trust: TrustLevel, now: datetime, policy: Policy | None = None) -> None:
        """Change the trust in a device.

        :param policy: when it is to end by itself; None leaves that as it is.
        :raises UnknownDevice: it is not paired. :raises Misuse: it has expired or is revoked, which only pairing again
            undoes; or trust would have ended before now.
        """
        device = self._known(peer)
        present = effective(device, now)
        if trust is TrustLevel.REVOKED:
            self.revoke(peer, now)
            return
        if present in BARRED and trust is not present:
            raise Misuse(f"{device.info.name} {_barred(present)}", "pair it again")
        changed = replace(device, trust=trust) if policy is None else policy.on(replace(device, trust=trust))
        if effective(changed, now) is not trust:
            raise Misuse("trust would have ended before now", "give a later date or a longer time")
        self._replace(changed, now)

    def set_auto_connect(self, peer: UUID, wanted: bool, now: datetime) -> None:
        """Keep whether the user wants the link. :raises UnknownDevice: it is not paired."""
        device = self._known(peer)
        if device.auto_connect != wanted:
            self._replace(replace(device, auto_connect=wanted), now)

    def revoke(self, peer: UUID, now: datetime) -> None:
        """Never again: the record says so first, with a fact for the other devices, then the keys are wiped.

        :raises UnknownDevice: it is not paired.
        """
        device = self._known(peer)
        own, known = self.identity, self._state.revocations
        if not known.about(device.info):
            fact = known.new(device.info, own.signing_key, int(now.timestamp()), own.sign)
            known = known.add(fact, self._state.paired_devices.keys())
        self._replace(_revoked(device), now, known.forget((peer,)))
        self._wipe(peer)

    def review(self, now: datetime, warned: Mapping[UUID, datetime]) -> Review:
        """Write down whose trust has ended by itself; what is due, as of ``trust.review``."""
        found = trust.review(self._state.paired_devices.values(), now, warned)
        ended = [replace(self._known(end.device), trust=TrustLevel.EXPIRED) for end in found.expired]
        if ended:
            self._replace_all(ended, now)
        return found

    def welcome(self, peer: UUID, now: datetime) -> PairedDevice:
        """The device, if it may have a session now. :raises UnknownDevice: it is not paired. :raises Refused: no."""
        device = self._known(peer)
        present = effective(device, now)
        if present in BARRED:
            raise Refused(f"{device.info.name} {_barred(present)}", "pair it again")
        return device

    def _wipe(self, peer: UUID) -> None:
        self._files.erase(peer)

    def sweep(self) -> None:
        """Wipe what a crash has left of a revocation, or of a pairing that no record tells of."""
        self._files.erase_others(filter(self._is_paired, self._state.paired_devices))

    def seen(self, peer: UUID, now: datetime) -> None:
        """A session with it is up; ignored if it is not (or no longer) paired."""
        self.all_seen({peer: now}, now)

    def all_seen(self, moments: Mapping[UUID, datetime], now: datetime) -> None:
        """When sessions with devices were up, as of :meth:`seen`; one write for all of them."""
        known = [(self._known(peer), moment) for peer, moment in moments.items() if self._is_paired(peer)]
        if known:
            self._replace_all((replace(device, last_connected=moment) for device, moment in known), now)

    def _is_paired(self, peer: UUID) -> bool:
        device = self.device(peer)
        return device is not None and device.trust is not TrustLevel.REVOKED

    def _known(self, peer: UUID) -> PairedDevice:
        device = self.device(peer)
        if device is None:
            raise UnknownDevice(f"no device {peer} is paired")
        return device

    def _replace(self, device: PairedDevice, now: datetime, revocations: Revocations | None = None) -> None:
        self._replace_all((device,), now, revocations)

    def _replace_all(
        self, changed: Iterable[PairedDevice], now: datetime, revocations: Revocations | None = None
    ) -> None:
        paired = {**self._state.paired_devices, **{device.info.device_id: device for device in changed}}
        known = self._state.revocations if revocations is None else revocations
        self._put(replace(self._state, paired_devices=paired, revocations=known, updated_at=now))

    # -- revocations: what this device says, what it hears, who knows it ---------------------------------------------

    def known_facts(self) -> tuple[bytes, ...]:
        """The ids of all facts that need not be told to this device any more."""
        return self._state.revocations.ids()

    def untold(self) -> tuple[UUID, ...]:
        """The trusted devices that have not acknowledged all facts."""
        return tuple(peer for peer in self._all_trusted() if self._state.revocations.missing(peer, 1))

    def facts_for(self, peer: UUID, most: int, now: datetime) -> tuple[bytes, ...]:
        """At most so many facts that device has not acknowledged. :raises Refused: it is not trusted."""
        self._trusted(peer, now)
        return tuple(fact.encode() for fact in self._state.revocations.missing(peer, most))

    def take_facts(self, peer: UUID, facts: Iterable[bytes], now: datetime) -> tuple[UUID, ...]:
        """Believe what that device tells of others; who is revoked by it.

        :raises Malformed: one of them is no fact. :raises Refused: the device is not trusted.
        """
        told = [revocation.verify_untrusted(fact) for fact in facts]
        self._trusted(peer, now)
        paired, before = self._state.paired_devices, self._state.revocations
        barred = {device.info.signing_key for device in paired.values() if device.trust is TrustLevel.REVOKED}
        known = before.take(told, self.identity.signing_key, barred, paired.keys())
        if known is before:
            return ()
        meant = {fact.subject for fact in told} & paired.keys()
        hit = [device for device in map(paired.__getitem__, meant) if known.about(device.info)]
        revoked = [_revoked(device) for device in hit if device.trust is not TrustLevel.REVOKED]
        ids = tuple(device.info.device_id for device in revoked)
        self._replace_all(revoked, now, known.forget(ids))
        for each in ids:
            with contextlib.suppress(LocalFault):  # then the next opening does
                self._wipe(each)
        return ids

    def acked(self, peer: UUID, ids: Iterable[bytes], now: datetime, *, all_of_them: bool) -> None:
        """That device has these facts, besides those it was known to have or instead of them.

        :raises Refused: it is not trusted.
        """
        self._trusted(peer, now)
        before = self._state.revocations
        known = before.has(peer, ids) if all_of_them else before.acked(peer, ids)
        if known.acks.get(peer) != before.acks.get(peer, frozenset()):
            self._replace_all((), now, known)

    def spread(self) -> dict[UUID, tuple[int, int]]:
        """For each revoked device: how many of our trusted devices know, and how many there are."""
        trusted, known = self._all_trusted(), self._state.revocations
        return {
            peer: (known.known_by(device.info, trusted), len(trusted))
            for peer, device in self._state.paired_devices.items()
            if device.trust is TrustLevel.REVOKED
        }

    def _all_trusted(self) -> set[UUID]:
        devices = self._state.paired_devices
        return {peer for peer, device in devices.items() if device.trust is TrustLevel.TRUSTED}

    def _trusted(self, peer: UUID, now: datetime) -> None:
        if effective(self._known(peer), now) is not TrustLevel.TRUSTED:
            raise Refused("only trusted devices tell and are told who is revoked")

    # -- one device's files: read when needed ----------------------------------------------------------------------

    def relationship_key(self, peer: UUID) -> bytes:
        """The psk (32 bytes) shared with it. :raises Damaged: its file is missing or does not open."""
        return self.keys(peer).relationship_key

    def keys(self, peer: UUID) -> EncryptedSessionKeys:
        """All keys shared with it. :raises Damaged: their file is missing or does not open."""
        found = self._files.read(peer, KEYS, sessions.decode)
        if found is None:
            raise Damaged("the keys of a paired device are missing", "pair it again")
        return found

    def change_keys(self, peer: UUID, keys: EncryptedSessionKeys) -> None:
        """Keep other keys for it. Those that are not among them any more are wiped, in each version of the file.

        :raises LocalFault: it could not be written; the former ones count.
        """
        if self._is_paired(peer):
            self._files.write_both(peer, KEYS, keys, EncryptedSessionKeys.encode)

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
        self._change_addresses(peer, lambda present: present.with_good_address(address))

    def add_address(self, peer: UUID, address: str) -> None:
        """It answers there too: try that after the others. Ignored if it is not (or no longer) paired."""
        self._change_addresses(peer, lambda present: present.with_further_address(address))

    def _change_addresses(self, peer: UUID, change: Callable[[ConnectionConfig], ConnectionConfig]) -> None:
        if not self._is_paired(peer):
            return
        present = self.preferences(peer)
        changed = change(present)
        if changed != present:
            self.save_preferences(peer, changed)


def _renewed(known: PairedDevice | None, info: DeviceInfo, now: datetime) -> PairedDevice:
    """The record of a device that has just been paired.

    One that was barred is trusted again, and has been seen: what ended its trust must not end it again at once.
    """
    if known is None:
        return PairedDevice(info, now)
    renewed = replace(known, info=info, auto_connect=True)
    if effective(known, now) not in BARRED:
        return renewed
    passed = known.expires_at is not None and known.expires_at <= now
    ends = None if passed else known.expires_at
    return replace(renewed, trust=TrustLevel.TRUSTED, last_connected=now, expires_at=ends)


def _revoked(device: PairedDevice) -> PairedDevice:
    return replace(device, trust=TrustLevel.REVOKED, auto_connect=False)


def _barred(level: TrustLevel) -> str:
    return "is revoked" if level is TrustLevel.REVOKED else "is not trusted any more: its trust has expired"


def _unless_damaged(read: Callable[[], Parsed]) -> Parsed | None:
    """What is read, or None if it is damaged. :raises Newer: it is not damaged but of a newer version."""
    try:
        return read()
    except Newer:
        raise
    except Damaged:
        return None

"""What a simulated node keeps on its disk: whom it is paired with, how far it trusts them, where they were.

The rule: every decision is the store's — ``store/trust.py``, ``store/revocation.py``, ``store/preferences.py``,
``store/sessions.py`` — with real keys and signatures; only the files are left out, so what :class:`Book` does with them
is ``store/vault.py`` in memory.
"""

from __future__ import annotations

import functools
from collections import deque
from collections.abc import Iterable
from dataclasses import replace
from datetime import UTC, datetime
from uuid import UUID

from springline.errors import Damaged, Malformed, Refused
from springline.store import revocation
from springline.store.devices import PairedDevice, TrustLevel
from springline.store.identity import DeviceInfo, NetworkIdentity
from springline.store.preferences import ConnectionConfig
from springline.store.revocation import Revocations
from springline.store.sessions import EncryptedSessionKeys
from springline.store.trust import BARRED, effective, review
from springline.tests.simulation.network import address_of
from springline.transport.address import Address

BATCH = 64
"""Facts told at a time."""

MOST_FORMER = 8
"""Former keys of a device that a backup may bring back."""


class Identity(NetworkIdentity):
    """Works out what follows from its keys once: it is asked very often."""

    @functools.cached_property
    def signing_key(self) -> bytes:
        """As ever."""
        return super().signing_key

    @functools.cached_property
    def device_id(self) -> UUID:
        """As ever."""
        return super().device_id


@functools.cache
def identity(number: int) -> NetworkIdentity:
    """The private side of the device with that number."""
    return Identity(number.to_bytes(32, "big"), (number + 1000).to_bytes(32, "big"))


@functools.cache
def info(number: int) -> DeviceInfo:
    """The public side of it."""
    return identity(number).info(f"device {number}")


@functools.lru_cache(1024)
def parsed(text: str) -> Address:
    """An address, as it was written down."""
    host, _, port = text.rpartition(":")
    return address_of(host, int(port))


def moment(wall: float) -> datetime:
    """Wall-clock seconds as a date."""
    return datetime.fromtimestamp(wall, UTC)


class Book:
    """One node's. :param number: of the device it belongs to."""

    def __init__(self, number: int) -> None:
        self.identity = identity(number)
        self.id = self.identity.device_id
        self.devices: dict[UUID, PairedDevice] = {}
        self.revocations = Revocations()
        self._preferences: dict[UUID, ConnectionConfig] = {}
        self._keys: dict[UUID, EncryptedSessionKeys] = {}
        self._former_keys: dict[UUID, deque[EncryptedSessionKeys]] = {}
        self.set_back_of: set[UUID] = set()  # whose keys came from a backup, and have not rotated since

    def pair(self, number: int, addresses: Iterable[Address], key: bytes, wall: float) -> None:
        """Both users have said yes to each other. :param key: the relationship key both sides have derived."""
        other = info(number)
        former = self._keys.get(other.device_id)
        now = moment(wall)
        self._keys[other.device_id] = EncryptedSessionKeys(key, now) if former is None else former.renew(key, now)
        preferences = self._preferences.get(other.device_id, ConnectionConfig())
        for address in reversed(tuple(addresses)):
            preferences = preferences.with_good_address(str(address))
        self._preferences[other.device_id] = preferences
        known = self.devices.get(other.device_id)
        fresh = PairedDevice(other, moment(wall))
        self.devices[other.device_id] = fresh if known is None or known.trust in BARRED else replace(known)
        self.revocations = self.revocations.supersede(other)

    def trust(self, peer: UUID, wall: float) -> TrustLevel:
        """How far it is trusted now."""
        return effective(self.devices[peer], moment(wall))

    def welcome(self, peer: UUID, now: datetime) -> PairedDevice:
        """It, if it may have a session now. :raises Refused: it may not."""
        known = self.devices.get(peer)
        if known is None or effective(known, now) in BARRED:
            raise Refused(f"{peer} is not welcome", "pair it again")
        return known

    def want(self, peer: UUID, wanted: bool) -> None:
        """Whether the user wants the link."""
        self.devices[peer] = replace(self.devices[peer], auto_connect=wanted)

    def expire(self, wall: float) -> tuple[UUID, ...]:
        """Write down whose trust has ended by itself."""
        ended = tuple(end.device for end in review(self.devices.values(), moment(wall)).expired)
        for peer in ended:
            self.devices[peer] = replace(self.devices[peer], trust=TrustLevel.EXPIRED)
        return ended

    # -- the keys shared with it ---------------------------------------------------------------------------------------

    def keys(self, peer: UUID) -> EncryptedSessionKeys:
        """All of them. :raises Damaged: there are none."""
        if peer not in self._keys:
            raise Damaged("the keys of a paired device are missing", "pair it again")
        return self._keys[peer]

    def change_keys(self, peer: UUID, keys: EncryptedSessionKeys) -> None:
        """Keep others."""
        if self.devices[peer].trust is not TrustLevel.REVOKED:
            self._former_keys.setdefault(peer, deque(maxlen=MOST_FORMER)).append(self._keys[peer])
            if keys.current != self._keys[peer].current:
                self.set_back_of.discard(peer)
            self._keys[peer] = keys

    def set_back(self, peer: UUID, steps: int) -> bool:
        """Its keys are what they were so many changes ago, as on a disk that was restored; whether there are such."""
        former = self._former_keys.get(peer, ())
        if len(former) < steps:
            return False
        self._keys[peer] = former[-steps]
        self.set_back_of.add(peer)
        return True

    def recovery_of(self, peer: UUID) -> bytes:
        """The recovery key shared with it, or ``b""``."""
        known = self._keys.get(peer)
        return b"" if known is None else known.recovery

    def _wipe(self, peer: UUID) -> None:
        self._keys.pop(peer, None)
        self._former_keys.pop(peer, None)

    # -- where it is -------------------------------------------------------------------------------------------------

    def contact(self, peer: UUID) -> tuple[Address, ...]:
        """Its known addresses, last good first."""
        known = self._preferences.get(peer)
        return () if known is None else tuple(map(parsed, known.known_addresses))

    def saw_at(self, peer: UUID, address: Address) -> None:
        """It answered there."""
        known = self._preferences[peer]
        if known.known_addresses[:1] != (str(address),):
            self._preferences[peer] = known.with_good_address(str(address))

    # -- revocations -------------------------------------------------------------------------------------------------

    def revoke(self, peer: UUID, wall: float) -> None:
        """The user's word."""
        device, known = self.devices[peer], self.revocations
        if not known.about(device.info):
            fact = known.new(device.info, self.identity.signing_key, int(wall), self.identity.sign)
            known = known.add(fact, self.devices.keys())
        self.devices[peer] = replace(device, trust=TrustLevel.REVOKED)
        self.revocations = known.forget((peer,))
        self._wipe(peer)

    def facts_for(self, peer: UUID, wall: float) -> tuple[bytes, ...]:
        """What it does not know. :raises Refused: it is not trusted."""
        self._trusted(peer, wall)
        return tuple(fact.encode() for fact in self.revocations.missing(peer, BATCH))

    def take(self, peer: UUID, facts: Iterable[bytes], wall: float) -> tuple[UUID, ...]:
        """Believe what it tells; who is revoked by that. :raises Refused: it is not trusted."""
        told = []
        for fact in facts:
            try:
                told.append(revocation.verify_untrusted(fact))
            except Malformed:  # pragma: no cover - nobody forges here
                return ()
        self._trusted(peer, wall)
        barred = {device.info.signing_key for device in self.devices.values() if device.trust is TrustLevel.REVOKED}
        known = self.revocations.take(told, self.identity.signing_key, barred, self.devices.keys())
        hit = [self.devices[subject] for subject in {fact.subject for fact in told} & self.devices.keys()]
        gone = [one for one in hit if known.about(one.info) and one.trust is not TrustLevel.REVOKED]
        ids = tuple(one.info.device_id for one in gone)
        self.devices.update((one.info.device_id, replace(one, trust=TrustLevel.REVOKED)) for one in gone)
        self.revocations = known.forget(ids)
        for peer in ids:
            self._wipe(peer)
        return ids

    def acked(self, peer: UUID, ids: Iterable[bytes], wall: float, *, all_of_them: bool) -> None:
        """It has these facts. :raises Refused: it is not trusted."""
        self._trusted(peer, wall)
        known = self.revocations
        self.revocations = known.has(peer, ids) if all_of_them else known.acked(peer, ids)

    def untold(self) -> tuple[UUID, ...]:
        """The trusted devices that lack a fact."""
        trusted = (peer for peer, device in self.devices.items() if device.trust is TrustLevel.TRUSTED)
        return tuple(peer for peer in trusted if self.revocations.missing(peer, 1))

    def _trusted(self, peer: UUID, wall: float) -> None:
        if peer not in self.devices or self.trust(peer, wall) is not TrustLevel.TRUSTED:
            raise Refused("only trusted devices tell and are told who is revoked")

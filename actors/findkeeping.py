"""The Keystore's part in finding devices: it derives where they find each other, and signs. No actor of its own.

The rule: what leaves are tags and keys of single periods, near the present one, and sealed records; the secret they
come from stays. Only devices that are trusted now are looked for or told anything: whoever is revoked learns nothing
of where we are from the next record on.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import datetime
from uuid import UUID

from nacl.bindings import crypto_scalarmult

from springline.actors.finding import Announcement, FindingKeys, Lookout, SealRecords
from springline.errors import Misuse, Refused, UnknownDevice
from springline.store.devices import PairedDevice
from springline.store.identity import RECORD_CONTEXT, verify_signature
from springline.store.vault import Vault
from springline.transport.discovery import records, tags
from springline.transport.discovery.records import AddressRecord
from springline.transport.discovery.tags import Spot
from springline.transport.discovery.watch import Wanted

MOST_PERIODS = 4
"""Periods of one question, and how far from the present one they may be: keys of single periods are all that leaves."""


class Findkeeper:
    """What the Keystore does about finding devices."""

    def __init__(self, vault: Vault) -> None:
        self._vault = vault
        self._secrets: dict[bytes, bytes] = {}  # by static key; each takes a Diffie-Hellman

    def lookouts(self, message: FindingKeys, now: datetime) -> tuple[Lookout, ...]:
        """What to look out for. :raises Misuse: too many periods, or far ones."""
        present = tags.period_at(now.timestamp())
        if len(message.periods) > MOST_PERIODS or any(abs(one - present) > MOST_PERIODS for one in message.periods):
            raise Misuse("keys are given out for a few periods near the present one only")
        return tuple(
            Lookout(device.info.device_id, one, there.tag, there.key, device.info.signing_key)
            for device in self._linked(message.devices, now)
            for one in message.periods
            for there in (tags.spot(self._secret(device), device.info.device_id, one),)
        )

    def announcements(self, message: SealRecords, now: datetime) -> tuple[Announcement, ...]:
        """This device's records for these others."""
        own, seconds = self._vault.identity, now.timestamp()
        made = []
        for device in self._linked(message.devices, now):
            here = tags.spot(self._secret(device), own.device_id, tags.period_at(seconds))
            record = records.seal(message.addresses, here, self._sign, seconds, message.lifetime)
            made.append(Announcement(device.info.device_id, here.tag, record, here.key))
        return tuple(made)

    def _sign(self, statement: bytes) -> bytes:
        return self._vault.identity.sign(statement, RECORD_CONTEXT)

    def _linked(self, devices: Iterable[UUID], now: datetime) -> Iterator[PairedDevice]:
        for device in devices:
            try:
                yield self._vault.welcome(device, now)
            except (Refused, UnknownDevice):
                continue

    def _secret(self, device: PairedDevice) -> bytes:
        theirs = device.info.static_key
        if theirs not in self._secrets:
            shared = crypto_scalarmult(self._vault.identity.static_private, theirs)
            self._secrets[theirs] = tags.finding_secret(shared)
        return self._secrets[theirs]


def wanted_of(lookout: Lookout) -> Wanted[UUID | bytes]:
    """What a look-out means to ``transport/discovery/watch.py``."""

    def verify(signature: bytes, statement: bytes) -> None:
        verify_signature(lookout.signer, signature, statement, RECORD_CONTEXT)

    return Wanted(lookout.device, Spot(lookout.period, lookout.tag, lookout.key), verify)


def open_untrusted(lookout: Lookout, record: bytes, now: float, newest: float = -1.0) -> AddressRecord:
    """What a record says that was found under a look-out's tag.

    :param now: wall-clock seconds. :param newest: when the newest one that is known was made.
    :raises Malformed: see ``transport/discovery/records.py``.
    """
    wanted = wanted_of(lookout)
    return records.open_untrusted(record, wanted.spot, wanted.verify, now, newest)

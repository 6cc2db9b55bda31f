"""The Keystore's part in trust: it changes what is kept and tells everybody whom that concerns. No actor of its own.

The rule: first it is written, then it acts: the link closes at once, the manager of connections looks again, the
handler of ``trust`` passes it on, the user hears of it. What ends by itself is found by one timer, which also looks
every quarter of an hour, because a sleeping machine's timers sleep, too; a handshake asks the calendar in any case.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Protocol
from uuid import UUID

from springline.actors.keeping import FactsAcked, FactsChanged, FactsFor, TakeFacts
from springline.actors.messages import (
    CONNECTIONS,
    EVENTS,
    DevicesChanged,
    Publish,
    RevokedNow,
    SetTrust,
    connection_name,
    handler_name,
)
from springline.errors import LocalFault
from springline.events import DeviceRevoked, TrustChanged, TrustExpiring
from springline.store import revocation
from springline.store.devices import PairedDevice, TrustLevel
from springline.store.trust import BARRED, Review
from springline.store.vault import Vault

log = logging.getLogger("springline.trust")

LOOK = 900.0
"""Seconds after which the calendar is looked at, should nothing be due before."""

HERE = "by the user of this device"


@dataclass(frozen=True, slots=True)
class TrustDue:
    """Time to look whose trust ends; only the latest one set counts."""

    number: int


class Teller(Protocol):
    """How an actor tells another: ``Shell.tell``."""

    def __call__(self, target: str, message: object) -> object:
        """Tell."""


class Trustkeeper:
    """What the Keystore does about trust.

    :param audit: hears kind, device and detail of what is to be kept for ever.
    :param wake: has a message handled after so many seconds.
    """

    def __init__(
        self,
        vault: Vault,
        tell: Teller,
        wake: Callable[[float, object], None],
        audit: Callable[[str, UUID | None, str], object],
    ) -> None:
        self._vault = vault
        self._tell = tell
        self._wake = wake
        self._audit = audit
        self._warned: dict[UUID, datetime] = {}
        self._timer = 0

    def set_trust(self, message: SetTrust, now: datetime) -> PairedDevice:
        """The user's word. :raises UnknownDevice: it is not paired. :raises Misuse: see ``Vault.set_trust``."""
        self._vault.set_trust(message.device, message.trust, now, message.policy)
        self._announce(message.device, message.trust, HERE)
        if message.trust is TrustLevel.REVOKED:
            self._tell(handler_name("trust"), FactsChanged())
        self.look(now)
        found = self._vault.device(message.device)
        assert found is not None  # noqa: S101 - set_trust has found it
        return found

    def paired(self, device: UUID, now: datetime) -> None:
        """That device has been paired (again): its trust may end by itself, as before."""
        self._warned.pop(device, None)
        self.look(now)

    def look(self, now: datetime) -> None:
        """See to what is due, and set the timer for what is next."""
        try:
            found = self._vault.review(now, self._warned)
        except LocalFault as error:  # who may come in is asked of the calendar in any case
            log.warning("whose trust has ended is not written down yet: %s", error)
            found = Review((), (), now + timedelta(seconds=LOOK))
        for end in found.expired:
            self._announce(end.device, TrustLevel.EXPIRED, end.why)
        for end in found.expiring:
            self._warned[end.device] = end.at
            self._tell(EVENTS, Publish(TrustExpiring(end.device, end.at)))
        if found.next is not None:
            self._timer += 1
            self._wake(min(LOOK, (found.next - now).total_seconds()), TrustDue(self._timer))

    def due(self, message: TrustDue, now: datetime) -> None:
        """The timer has run out."""
        if message.number == self._timer:
            self.look(now)

    # -- revocations ---------------------------------------------------------------------------------------------------

    def facts_for(self, message: FactsFor, now: datetime) -> tuple[bytes, ...]:
        """What that device does not know."""
        return self._vault.facts_for(message.device, message.most, now)

    def take(self, message: TakeFacts, now: datetime) -> tuple[bytes, ...]:
        """What that device tells; the ids of what is known now."""
        before = self._vault.known_facts()
        teller = self._vault.welcome(message.device, now).info.name
        for device in self._vault.take_facts(message.device, message.facts, now):
            self._announce(device, TrustLevel.REVOKED, f"by another device, as {teller} tells")
        known = self._vault.known_facts()
        if known != before:
            self._tell(handler_name("trust"), FactsChanged())
        told = {revocation.parse(fact).id for fact in message.facts}
        return tuple(told.intersection(known))

    def acked(self, message: FactsAcked, now: datetime) -> None:
        """What that device knows."""
        self._vault.acked(message.device, message.ids, now, all_of_them=message.all_of_them)

    # -- telling -------------------------------------------------------------------------------------------------------

    def _announce(self, device: UUID, level: TrustLevel, why: str) -> None:
        log.info("%s is %s: %s", device, level.value, why)
        if level in BARRED:
            reason = "revoked" if level is TrustLevel.REVOKED else f"trust has expired: {why}"
            self._tell(connection_name(device), RevokedNow(reason))
        self._tell(CONNECTIONS, DevicesChanged())
        self._audit("trust", device, f"{level.value} {why}")
        news = DeviceRevoked(device, why) if level is TrustLevel.REVOKED else TrustChanged(device, level, why)
        self._tell(EVENTS, Publish(news))

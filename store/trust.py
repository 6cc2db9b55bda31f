"""How far a paired device is trusted at a moment, and when that changes by itself.

The rule: the record says what the user has decided; the calendar only ever takes away. A device's trust ends on the
date the user has set, or when it has not been seen for as long as the user allows, whichever comes first; it is warned
of ahead by seven days or a tenth of the span, whichever is less. Nothing here reads a clock: :func:`review` says what
is due by now and when to look again, so its caller needs one timer.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from uuid import UUID

from springline.errors import Misuse
from springline.store.devices import PairedDevice, TrustLevel

BARRED = (TrustLevel.EXPIRED, TrustLevel.REVOKED)
"""Whoever is trusted like this has no link, until it is paired again."""

WARN_AHEAD = timedelta(days=7)
WARN_PART = 0.1
MOST_UNSEEN = 100 * 366 * 86400
"""Seconds; more is taken for a mistake."""

_UNSEEN: Mapping[UUID, datetime] = {}


@dataclass(frozen=True, slots=True)
class Policy:
    """When trust ends by itself.

    :param expires_at: on that date, or None. Aware of its time zone.
    :param unseen_limit: after so many seconds without a session, or None. One that lasts is noted once an hour.
    :raises Misuse: a value makes no sense.
    """

    expires_at: datetime | None = None
    unseen_limit: int | None = None

    def __post_init__(self) -> None:
        if self.expires_at is not None and self.expires_at.tzinfo is None:
            raise Misuse("the date at which trust ends has no time zone")
        if self.unseen_limit is not None and not 0 < self.unseen_limit <= MOST_UNSEEN:
            raise Misuse("the time a device may stay away makes no sense", "more than nothing, at most 100 years")

    def on(self, device: PairedDevice) -> PairedDevice:
        """The device's record with this policy."""
        return replace(device, expires_at=self.expires_at, unseen_limit=self.unseen_limit)


@dataclass(frozen=True, slots=True)
class End:
    """When a device's trust will end by itself. :param warn: when the user is to hear of it. :param why: one line."""

    device: UUID
    at: datetime
    warn: datetime
    why: str


@dataclass(frozen=True, slots=True)
class Review:
    """What is due. :param next: when to look again, or None if nothing ends by itself."""

    expired: tuple[End, ...]
    expiring: tuple[End, ...]
    next: datetime | None


def end_of(device: PairedDevice, seen: datetime | None = None) -> End | None:
    """When its trust ends by itself, or None.

    :param seen: when it was seen last, if that is later than its record says.
    """
    if device.trust in BARRED:
        return None
    ends = []
    peer = device.info.device_id
    if device.expires_at is not None:
        ends.append(_end(peer, device.paired_at, device.expires_at, "its date has passed"))
    if device.unseen_limit is not None:
        last = max(moment for moment in (device.last_connected, device.paired_at, seen) if moment is not None)
        at = _later(last, timedelta(seconds=device.unseen_limit))
        ends.append(_end(peer, last, at, f"not seen for {span(device.unseen_limit)}"))
    return min(ends, key=lambda end: end.at, default=None)


def barred_because(device: PairedDevice, now: datetime) -> str:
    """Why a device that is barred is, one line. It names the clock that has decided, because clocks are wrong at times.

    :param now: by this device's clock.
    """
    if device.trust is TrustLevel.REVOKED:
        return "revoked"
    end = end_of(replace(device, trust=TrustLevel.TRUSTED))
    if end is None:
        return "trust was ended by the user"
    if end.at <= now:
        return f"trust has ended on {end.at:%Y-%m-%d}: {end.why}, by this device's clock ({now:%Y-%m-%d})"
    ahead = f"by this device's clock ({now:%Y-%m-%d}) it would end on {end.at:%Y-%m-%d}"
    return f"trust was ended by the user, or by a clock that was ahead: {ahead}"


def effective(device: PairedDevice, now: datetime, seen: datetime | None = None) -> TrustLevel:
    """How far it is trusted now; ``seen`` as of :func:`end_of`."""
    end = end_of(device, seen)
    return TrustLevel.EXPIRED if end is not None and end.at <= now else device.trust


def review(
    devices: Iterable[PairedDevice],
    now: datetime,
    warned: Mapping[UUID, datetime] = _UNSEEN,
    seen: Mapping[UUID, datetime] = _UNSEEN,
) -> Review:
    """What has become due, and when the next is.

    :param warned: of which end each device's user has heard already.
    :param seen: when devices were seen last, where that is later than their records say.
    """
    expired, expiring, later = [], [], []
    for device in devices:
        end = end_of(device, seen.get(device.info.device_id))
        if end is None:
            continue
        if end.at <= now:
            expired.append(end)
            continue
        later.append(end.at)
        if warned.get(end.device) == end.at:
            continue
        if end.warn <= now:
            expiring.append(end)
        else:
            later.append(end.warn)
    return Review(tuple(expired), tuple(expiring), min(later, default=None))


def _end(peer: UUID, since: datetime, at: datetime, why: str) -> End:
    ahead = max(timedelta(0), min(WARN_AHEAD, (at - since) * WARN_PART))
    return End(peer, at, at - ahead, why)


def _later(moment: datetime, by: timedelta) -> datetime:
    try:
        return moment + by
    except OverflowError:  # beyond the calendar is never
        return datetime.max.replace(tzinfo=UTC)


def span(seconds: int) -> str:
    """So many seconds, in the largest unit that fits: ``30 days``."""
    for size, name in ((86400, "day"), (3600, "hour"), (60, "minute"), (1, "second")):
        if seconds >= size and seconds % size == 0:
            count = seconds // size
            return f"{count:,} {name}{'' if count == 1 else 's'}"
    return f"{seconds} seconds"

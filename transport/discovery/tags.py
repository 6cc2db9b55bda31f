"""Under which names two devices find each other: names that change with the time and mean nothing to others.

The rule: a name (*tag*), and the key to what lies under it, is of one relationship, one direction and one period. Each
is derived by keyed BLAKE2b (RFC 7693), so tags of two periods have nothing in common that anybody without the secret
could see: who notes all of them does not know who meets whom, nor whether it is the same two as before.

The secret is derived from the Diffie-Hellman of the two static keys. Both sides have that as long as both are who they
are: unlike the keys of a relationship it does not rotate, so it can't get out of step while the two do not meet, which
is when it is needed. It opens nothing but where a device is.

Periods are of the wall clock. A device is looked for in the previous, the present and the next one, so two clocks may
differ by a whole period; more than that, and the two find each other by addresses that are known only.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass, field
from uuid import UUID

PERIOD = 7200.0
"""Seconds that a tag is good for. Shorter tells strangers less; it is also how much two clocks may differ."""

TAG_SIZE = 16
KEY_SIZE = 32
_MOST_PERIOD = 2**63


@dataclass(frozen=True, slots=True)
class Spot:
    """Where the records of one device for another one lie in one period.

    :param tag: their name, 16 bytes. :param key: seals and opens them, 32 bytes.
    """

    period: int
    tag: bytes
    key: bytes = field(repr=False)


def period_at(now: float) -> int:
    """The period of that moment. :param now: wall-clock seconds; whatever a clock may say."""
    return min(max(0, int(now // PERIOD)), _MOST_PERIOD)


def begins(period: int) -> float:
    """When it begins, wall-clock seconds."""
    return period * PERIOD


def around(now: float) -> tuple[int, ...]:
    """The periods in which to look: of clocks that are behind ours, like it, and ahead."""
    present = period_at(now)
    return tuple(range(max(0, present - 1), present + 2))


def are_due(periods: Iterable[int], now: float) -> bool:
    """Whether those are the ones in which to look: not only time passes, clocks are also set back."""
    return set(periods) == set(around(now))


def finding_secret(shared: bytes) -> bytes:
    """The secret (32 bytes) from which two devices derive their spots. :param shared: X25519 of their static keys."""
    return _derive(shared, b"springline find", KEY_SIZE)


def spot(secret: bytes, announcer: UUID, period: int) -> Spot:
    """Where ``announcer`` puts its records for the other device, and the other one looks.

    :param secret: of the two, see :func:`finding_secret`.
    """
    where = announcer.bytes + period.to_bytes(8, "big")
    return Spot(
        period,
        _derive(secret, b"springline tag", TAG_SIZE, where),
        _derive(secret, b"springline open", KEY_SIZE, where),
    )


def meeting(secret: bytes) -> Spot:
    """Where an inviter puts its records. An invitation is good once and for minutes: its tag need not rotate.

    :param secret: what both sides have derived from the words for this, 32 bytes.
    """
    return Spot(0, _derive(secret, b"springline meet", TAG_SIZE), _derive(secret, b"springline open", KEY_SIZE))


def _derive(key: bytes, purpose: bytes, size: int, message: bytes = b"") -> bytes:
    return hashlib.blake2b(message, digest_size=size, key=key, person=purpose).digest()

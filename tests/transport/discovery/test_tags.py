"""Names that change with the time, and mean something to two only."""

from __future__ import annotations

from itertools import combinations
from uuid import UUID

from hypothesis import given
from hypothesis import strategies as st

from springline.transport.discovery.tags import (
    KEY_SIZE,
    PERIOD,
    TAG_SIZE,
    are_due,
    around,
    begins,
    finding_secret,
    meeting,
    period_at,
    spot,
)

RED, BLUE = UUID(int=1), UUID(int=2)
SECRET = finding_secret(b"s" * 32)


def bits_in_common(one: bytes, other: bytes) -> int:
    return 8 * len(one) - sum(bin(a ^ b).count("1") for a, b in zip(one, other, strict=True))


def test_the_bytes_are_those_of_the_protocol() -> None:
    there = spot(finding_secret(bytes(range(32))), UUID(bytes=b"announcer's id.."), 3)
    assert there.tag.hex() == "62ce410217e86d6ac37798e2dc7ad4b3"
    assert there.key.hex() == "b6deec0135a7197a7257cc5eb6fdfd00467a10cb8dd0b237f1c1e0944338fb27"
    assert meeting(bytes(range(32))).tag.hex() == "0eeda1e6eb032234d59294157e0a8d21"


def test_every_relationship_direction_and_period_has_a_spot_of_its_own() -> None:
    secrets = [finding_secret(bytes([number]) * 32) for number in range(3)]
    spots = [spot(secret, who, period) for secret in secrets for who in (RED, BLUE) for period in range(50)]
    spots += [meeting(secret) for secret in secrets]
    assert len({there.tag for there in spots}) == len({there.key for there in spots}) == len(spots)
    assert all(len(there.tag) == TAG_SIZE and len(there.key) == KEY_SIZE for there in spots)
    assert not any(there.tag in there.key for there in spots)


def test_two_days_of_a_device_can_not_be_linked_by_what_is_seen_of_it() -> None:
    tags = [spot(SECRET, RED, period).tag for period in range(200)]
    alike = [bits_in_common(one, other) for one, other in combinations(tags, 2)]
    assert 32 < min(alike) < max(alike) < 96, "as of bytes drawn at random"
    assert abs(sum(alike) / len(alike) - 64) < 0.5


def test_a_spot_does_not_show_its_key() -> None:
    there = spot(SECRET, RED, 1)
    assert repr(there.key) not in repr(there)


@given(st.floats(0, 2e10), st.floats(-PERIOD, PERIOD))
def test_who_differs_by_less_than_a_period_is_found(now: float, off: float) -> None:
    assert period_at(max(0.0, now + off)) in around(now)
    assert begins(period_at(now)) <= now < begins(period_at(now) + 1)


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_whatever_a_clock_says_there_is_a_period(now: float) -> None:
    assert all(spot(SECRET, RED, period).tag for period in around(now))


@given(st.floats(0, 1e10), st.integers(-4, 4))
def test_where_to_look_is_asked_anew_whichever_way_the_clock_went(now: float, periods: int) -> None:
    then = max(0.0, now + periods * PERIOD)
    assert are_due(around(then), now) == (period_at(then) == period_at(now))
    assert not are_due((), now)

"""When trust ends by itself: by date, by not being seen; warned of ahead; and what only pairing brings back."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from springline.errors import Misuse, Refused, UnknownDevice
from springline.store.devices import PairedDevice, TrustLevel
from springline.store.trust import MOST_UNSEEN, Policy, barred_because, effective, end_of, review
from springline.store.vault import Vault
from springline.tests.store.cast import NOW, ONE, TWO, folder_of, info, key, pair, reopened

DAY = 86400
SECOND = timedelta(seconds=1)


def days(count: float) -> timedelta:
    return timedelta(days=count)


def device(level: TrustLevel = TrustLevel.TRUSTED, until: float | None = None, unseen: float | None = None,
           seen: float | None = None) -> PairedDevice:  # fmt: skip
    """A device paired at ``NOW``; its trust ends so many days later, or after so many days without a session."""
    return PairedDevice(
        info(1),
        NOW,
        None if seen is None else NOW + days(seen),
        level,
        expires_at=None if until is None else NOW + days(until),
        unseen_limit=None if unseen is None else int(unseen * DAY),
    )


@pytest.mark.parametrize(
    ("record", "ends", "warned", "why"),
    [
        (device(until=100), 100, 93, "its date has passed"),
        (device(until=10), 10, 9, "its date has passed"),
        (device(until=70), 70, 63, "its date has passed"),
        (device(unseen=30), 30, 27, "not seen for 30 days"),
        (device(unseen=1, seen=5), 6, 5.9, "not seen for 1 day"),
        (device(unseen=365, seen=5), 370, 363, "not seen for 365 days"),
        (device(until=100, unseen=30), 30, 27, "not seen for 30 days"),
        (device(until=20, unseen=30), 20, 18, "its date has passed"),
        (device(TrustLevel.VERIFIED, until=10), 10, 9, "its date has passed"),
    ],
)
def test_when_it_ends_and_when_that_is_told(record: PairedDevice, ends: float, warned: float, why: str) -> None:
    end = end_of(record)
    assert end is not None
    assert (end.at, end.warn, end.why) == (NOW + days(ends), NOW + days(warned), why)
    assert effective(record, end.at - SECOND) is record.trust
    assert effective(record, end.at) is TrustLevel.EXPIRED


def test_a_later_sighting_than_the_record_knows_counts() -> None:
    record = device(unseen=1)
    assert effective(record, NOW + days(1)) is TrustLevel.EXPIRED
    assert effective(record, NOW + days(1), NOW + days(0.5)) is TrustLevel.TRUSTED


@pytest.mark.parametrize("record", [device(), device(TrustLevel.EXPIRED, 1, 1), device(TrustLevel.REVOKED, 1, 1)])
def test_what_does_not_end_by_itself(record: PairedDevice) -> None:
    assert end_of(record) is None
    assert effective(record, NOW + days(9999)) is record.trust
    assert review([record], NOW + days(9999)).next is None


@pytest.mark.parametrize(
    ("policy", "why"),
    [
        ({"expires_at": datetime(2030, 1, 1)}, "time zone"),
        ({"unseen_limit": 0}, "makes no sense"),
        ({"unseen_limit": -5}, "makes no sense"),
        ({"unseen_limit": MOST_UNSEEN + 1}, "makes no sense"),
    ],
)
def test_policies_that_make_no_sense(policy: dict[str, object], why: str) -> None:
    with pytest.raises(Misuse, match=why):
        Policy(**policy)  # type: ignore[arg-type]


def test_the_calendar_has_an_end() -> None:
    record = replace(device(), last_connected=datetime(9999, 1, 1, tzinfo=UTC), unseen_limit=MOST_UNSEEN)
    assert effective(record, datetime(9999, 12, 31, tzinfo=UTC)) is TrustLevel.TRUSTED


def test_the_user_hears_once_of_each_end() -> None:
    record = device(until=10)
    now = NOW + days(9.5)
    (end,) = review([record], now).expiring
    again = review([record], now, {ONE: end.at})
    assert (again.expiring, again.next) == ((), end.at)
    assert review([record], now, {ONE: end.at - days(1)}).expiring == (end,)


moments = st.integers(0, 4000).map(lambda tenths: tenths / 10)
records = st.lists(
    st.tuples(st.sampled_from(TrustLevel), st.none() | moments, st.none() | st.integers(1, 400), st.none() | moments),
    max_size=5,
)


@given(records, moments, st.integers(0, 3))
def test_one_timer_is_enough(drawn: list[tuple[TrustLevel, float | None, int | None, float | None]], at: float,
                             heard: int) -> None:  # fmt: skip
    """Whatever becomes due is due at a moment that was named before, and nothing becomes due in between."""
    devices = [replace(device(*each), info=info(number)) for number, each in enumerate(drawn, 1)]
    ends = [end for end in map(end_of, devices) if end is not None]
    warned = {end.device: end.at for end in ends[:heard]}
    now = NOW + days(at)
    found = review(devices, now, warned)
    assert set(found.expired) == {end for end in ends if end.at <= now}
    assert set(found.expiring) == {end for end in ends if end.warn <= now < end.at and warned.get(end.device) != end.at}
    told = {**warned, **{end.device: end.at for end in found.expiring}}
    left = [each for each in devices if effective(each, now) is each.trust]
    if found.next is None:
        assert not any(end.at > now for end in ends)
        return
    assert found.next > now
    before = review(left, found.next - timedelta(microseconds=1), told)
    assert (before.expired, before.expiring) == ((), ())
    there = review(left, found.next, told)
    assert there.expired or there.expiring


# -- the vault ---------------------------------------------------------------------------------------------------------


def test_a_policy_is_kept_until_another_is_given(vault: Vault) -> None:
    pair(vault, 1)
    policy = Policy(NOW + days(10), 5 * DAY)
    vault.set_trust(ONE, TrustLevel.VERIFIED, NOW, policy)
    vault.set_trust(ONE, TrustLevel.TRUSTED, NOW)
    for found in (vault, reopened(vault)):
        record = found.device(ONE)
        assert record is not None
        assert (record.trust, record.expires_at, record.unseen_limit) == (TrustLevel.TRUSTED, NOW + days(10), 5 * DAY)
    vault.set_trust(ONE, TrustLevel.TRUSTED, NOW, Policy())
    assert vault.device(ONE) == PairedDevice(info(1), NOW)


def test_trust_can_not_end_before_now(vault: Vault) -> None:
    pair(vault, 1)
    for policy in (Policy(NOW), Policy(None, DAY)):
        with pytest.raises(Misuse, match="before now"):
            vault.set_trust(ONE, TrustLevel.TRUSTED, NOW + days(2), policy)
    assert vault.device(ONE) == PairedDevice(info(1), NOW)


def test_whose_trust_has_ended_is_not_welcome_and_soon_written_down(vault: Vault) -> None:
    pair(vault, 1)
    pair(vault, 2)
    vault.set_trust(ONE, TrustLevel.TRUSTED, NOW, Policy(NOW + days(10)))
    assert vault.welcome(ONE, NOW).info == info(1)
    assert vault.review(NOW + days(9), {}).expiring
    with pytest.raises(Refused, match="expired"):
        vault.welcome(ONE, NOW + days(10))
    (end,) = vault.review(NOW + days(10), {}).expired
    assert end.device == ONE
    assert vault.review(NOW + days(10), {}).expired == ()
    for found in (vault, reopened(vault)):
        assert [each.trust for each in found.devices()] == [TrustLevel.EXPIRED, TrustLevel.TRUSTED]
        with pytest.raises(Refused, match="expired"):
            found.welcome(ONE, NOW)
        assert found.welcome(TWO, NOW)
    with pytest.raises(UnknownDevice):
        vault.welcome(info(3).device_id, NOW)


@pytest.mark.parametrize("written_down", [True, False])
def test_only_pairing_brings_trust_back_that_has_expired(vault: Vault, written_down: bool) -> None:
    pair(vault, 1)
    vault.set_trust(ONE, TrustLevel.TRUSTED, NOW, Policy(NOW + days(10), 5 * DAY))
    later = NOW + days(20)
    if written_down:
        vault.review(later, {})
    for level in (TrustLevel.TRUSTED, TrustLevel.VERIFIED):
        with pytest.raises(Misuse, match="expired"):
            vault.set_trust(ONE, level, later, Policy())
    record = vault.pair(info(1), key(2), (), later)
    assert record == PairedDevice(info(1), NOW, later, TrustLevel.TRUSTED, auto_connect=True, unseen_limit=5 * DAY)
    assert vault.welcome(ONE, later) == record


@pytest.mark.parametrize("level", [TrustLevel.EXPIRED, TrustLevel.REVOKED])
def test_pairing_again_keeps_the_record(vault: Vault, level: TrustLevel) -> None:
    pair(vault, 1)
    vault.seen(ONE, NOW + days(1))
    vault.set_trust(ONE, level, NOW + days(2))
    record = vault.pair(info(1, "new name"), key(2), (), NOW + days(3))
    assert (record.paired_at, record.last_connected, record.info.name) == (NOW, NOW + days(3), "new name")
    assert (record.trust, record.auto_connect) == (TrustLevel.TRUSTED, True)
    assert folder_of(vault, ONE).exists()


def test_why_a_device_is_barred_names_the_clock_that_has_decided() -> None:
    expired = replace(device(), trust=TrustLevel.EXPIRED)
    year = timedelta(days=365)
    assert barred_because(replace(device(), trust=TrustLevel.REVOKED), NOW) == "revoked"
    assert barred_because(expired, NOW) == "trust was ended by the user"
    dated = replace(expired, expires_at=NOW - timedelta(days=1))
    assert f"its date has passed, by this device's clock ({NOW:%Y-%m-%d})" in barred_because(dated, NOW)
    away = replace(expired, paired_at=NOW - year, unseen_limit=30 * 86400)
    assert "not seen for 30 days" in barred_because(away, NOW)
    set_right = replace(expired, last_connected=NOW, unseen_limit=30 * 86400)  # it was a year ahead
    assert "a clock that was ahead" in barred_because(set_right, NOW)

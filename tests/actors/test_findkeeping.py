"""What the Keystore gives out for finding devices: two real stores understand each other, nobody else does."""

from __future__ import annotations

from datetime import datetime, timedelta
from pathlib import Path
from typing import NamedTuple
from uuid import UUID, uuid4

import pytest

from springline.actors.finding import Announcement, FindingKeys, Lookout, SealRecords
from springline.actors.findkeeping import Findkeeper, open_untrusted
from springline.errors import Malformed, Misuse
from springline.store.devices import TrustLevel
from springline.store.vault import Vault
from springline.tests.store.cast import NOW, key, new_vault
from springline.transport.address import Address
from springline.transport.discovery import records
from springline.transport.discovery.tags import PERIOD, Spot, around

HOME = (Address("192.168.1.7", 7400),)
SECONDS = NOW.timestamp()


class Two(NamedTuple):
    red: Vault
    blue: Vault

    def announced(self, now: datetime = NOW, devices: tuple[UUID, ...] = ()) -> tuple[Announcement, ...]:
        """What red says for blue."""
        wanted = devices or (self.blue.identity.device_id,)
        return Findkeeper(self.red).announcements(SealRecords(wanted, HOME, 600.0), now)

    def awaited(self, now: datetime = NOW, devices: tuple[UUID, ...] = ()) -> tuple[Lookout, ...]:
        """What blue looks out for from red."""
        wanted = devices or (self.red.identity.device_id,)
        return Findkeeper(self.blue).lookouts(FindingKeys(wanted, around(now.timestamp())), now)


@pytest.fixture
def two(tmp_path: Path) -> Two:
    red, blue = new_vault(tmp_path / "red"), new_vault(tmp_path / "blue")
    for one, other in ((red, blue), (blue, red)):
        one.pair(other.identity.info("other"), key(1), (), NOW)
    return Two(red, blue)


def by_tag(lookouts: tuple[Lookout, ...]) -> dict[bytes, Lookout]:
    return {lookout.tag: lookout for lookout in lookouts}


@pytest.mark.parametrize("off", [-PERIOD, -1.0, 0.0, 1.0, PERIOD])
def test_one_finds_what_the_other_announces_though_their_clocks_differ(two: Two, off: float) -> None:
    (said,) = two.announced(NOW + timedelta(seconds=off))
    lookout = by_tag(two.awaited())[said.tag]
    assert lookout.device == two.red.identity.device_id
    assert open_untrusted(lookout, said.record, SECONDS).addresses == HOME


def test_the_secret_does_not_depend_on_what_rotates_or_is_renewed(two: Two) -> None:
    two.red.pair(two.blue.identity.info("other"), key(7), (), NOW)
    (said,) = two.announced()
    assert said.tag in by_tag(two.awaited())


def test_what_one_says_is_not_what_it_listens_to(two: Two) -> None:
    (said,) = two.announced()
    own = Findkeeper(two.red).lookouts(FindingKeys((two.blue.identity.device_id,), around(SECONDS)), NOW)
    assert said.tag not in by_tag(own)
    assert len(by_tag(own + two.awaited())) == 6


def test_a_device_can_not_speak_for_another(two: Two) -> None:
    """blue has all that opens red's records to it, and can't make one."""
    lookout = two.awaited()[1]
    own = Findkeeper(two.blue)
    there = Spot(lookout.period, lookout.tag, lookout.key)
    forged = records.seal(HOME, there, own._sign, SECONDS, 600.0)
    with pytest.raises(Malformed, match="signature"):
        open_untrusted(lookout, forged, SECONDS)


@pytest.mark.parametrize("level", [TrustLevel.REVOKED, TrustLevel.EXPIRED])
def test_who_is_not_trusted_is_neither_told_nor_sought(two: Two, level: TrustLevel) -> None:
    for one, other in ((two.red, two.blue), (two.blue, two.red)):
        one.set_trust(other.identity.device_id, level, NOW)
    assert two.announced() == ()
    assert two.awaited() == ()


def test_a_verified_device_is_found_and_a_stranger_is_left_out(two: Two) -> None:
    blue = two.blue.identity.device_id
    two.red.set_trust(blue, TrustLevel.VERIFIED, NOW)
    (said,) = two.announced(devices=(uuid4(), blue))
    assert said.device == blue
    assert two.awaited(devices=(uuid4(),)) == ()


def test_keys_of_all_times_are_not_given_out(two: Two) -> None:
    keeper, red = Findkeeper(two.blue), two.red.identity.device_id
    present = around(SECONDS)[1]
    for periods in (tuple(range(present - 5, present)), (present + 5,), (present - 5,), (-1,), (2**70,)):
        with pytest.raises(Misuse):
            keeper.lookouts(FindingKeys((red,), periods), NOW)


def test_no_repr_shows_a_key(two: Two) -> None:
    (_, lookout, _) = two.awaited()
    assert repr(lookout.key) not in repr(lookout)

"""Trust that ends while nodes run: the link closes by itself, the user hears of it, and pairing again mends it."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta

import pytest

from springline.actors.messages import EVENTS, Publish
from springline.errors import Misuse, Refused
from springline.events import DeviceRevoked, NetworkEvent, TrustChanged, TrustExpiring
from springline.store.devices import PairedDevice, TrustLevel
from springline.store.trust import Policy
from springline.tests.nodes import Pair, eventually, paired, pid_of


@pytest.fixture(scope="module")
def pair() -> Iterator[Pair]:
    with paired() as running:
        yield running


@contextmanager
def hearing(pair: Pair, last: Callable[[NetworkEvent], bool]) -> Iterator[list[NetworkEvent]]:
    """What red's subscribers hear, until ``last``."""
    heard: list[NetworkEvent] = []
    listening = threading.Event()

    def listen() -> None:
        for event in pair.red.control.events(30.0):
            listening.set()
            heard.append(event)
            if last(event):
                return

    thread = threading.Thread(target=listen)
    thread.start()
    while not listening.is_set():  # until it is subscribed
        pair.red.control._client().tell(EVENTS, Publish(TrustChanged(pair.blue_id, TrustLevel.TRUSTED, "anybody?")))
        listening.wait(0.02)
    yield heard
    thread.join()


def blue(pair: Pair) -> PairedDevice:
    return pair.red.control.find(pair.blue_id).device


def has_expired(event: NetworkEvent) -> bool:
    return isinstance(event, TrustChanged) and event.trust is TrustLevel.EXPIRED


def closed(pair: Pair) -> bool:
    """red has no link to blue, and no process for one."""
    failed = pair.red.control.find(pair.blue_id).link.state == "Failed(expired)"
    return failed and pid_of(pair.red.control, f"connections.{pair.blue_id.hex}") is None


def test_trust_ends_on_its_date_and_pairing_again_keeps_the_record(pair: Pair) -> None:
    pair.await_link()
    before = blue(pair)
    end = datetime.now(UTC) + timedelta(seconds=1.0)
    with hearing(pair, has_expired) as heard:
        pair.red.control.set_trust(pair.blue_id, TrustLevel.TRUSTED, Policy(end))
        assert blue(pair).trust is TrustLevel.TRUSTED
    assert [(e.device_id, e.expires_at) for e in heard if isinstance(e, TrustExpiring)] == [(pair.blue_id, end)]
    assert heard[-1].reason == "its date has passed"  # type: ignore[union-attr]
    eventually(lambda: closed(pair), "the link is closed")
    assert blue(pair).trust is TrustLevel.EXPIRED
    assert "by this device's clock" in pair.red.control.find(pair.blue_id).link.reason
    eventually(lambda: pair.blue.control.find(pair.red_id).link.state != "Connected", "blue has noticed")
    for level in (TrustLevel.TRUSTED, TrustLevel.VERIFIED):
        with pytest.raises(Misuse, match="expired"):
            pair.red.control.set_trust(pair.blue_id, level, Policy())
    with pytest.raises(Refused, match="expired"):
        pair.red.control.connect(pair.blue_id)

    pair.join()
    after = blue(pair)
    assert (after.trust, after.paired_at, after.expires_at) == (TrustLevel.TRUSTED, before.paired_at, None)


def test_trust_in_who_stays_away_ends(pair: Pair) -> None:
    pair.await_link()
    pair.blue.control.disconnect(pair.red_id)
    eventually(lambda: pair.red.control.find(pair.blue_id).link.state != "Connected", "blue is away")
    with hearing(pair, has_expired) as heard:
        pair.red.control.set_trust(pair.blue_id, TrustLevel.VERIFIED, Policy(unseen_limit=2))
        assert blue(pair).trust is TrustLevel.VERIFIED
    assert heard[-1].reason == "not seen for 2 seconds"  # type: ignore[union-attr]
    eventually(lambda: closed(pair), "there is nothing left of the link")

    pair.join()  # which counts as having been seen
    pair.red.control.set_trust(pair.blue_id, TrustLevel.TRUSTED, Policy())
    pair.await_link()


def test_an_expired_device_is_told_why(pair: Pair) -> None:
    pair.await_link()
    pair.red.control.set_trust(pair.blue_id, TrustLevel.EXPIRED)
    eventually(lambda: closed(pair), "the link is closed")

    def story() -> bool:
        entries = pair.blue.control.why(pair.red_id).entries
        return any("trust has expired" in entry.evidence for entry in entries)

    eventually(story, "blue knows why")
    pair.join()


def test_revoked_by_either_way_the_event_says_by_whom(pair: Pair) -> None:
    pair.await_link()
    with hearing(pair, lambda event: isinstance(event, DeviceRevoked)) as heard:
        pair.red.control.set_trust(pair.blue_id, TrustLevel.REVOKED)
    assert heard[-1].reason == "by the user of this device"  # type: ignore[union-attr]
    assert pair.red.control.revocations() == {pair.blue_id: (0, 0)}
    with pytest.raises(Refused, match="revoked"):
        pair.red.control.connect(pair.blue_id)
    pair.join()
    assert pair.red.control.revocations() == {}
    assert blue(pair).trust is TrustLevel.TRUSTED

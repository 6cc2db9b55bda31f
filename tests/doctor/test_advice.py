"""What would help, by cases."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest

from springline.actors.finding import Found, Tried
from springline.actors.messages import DeviceStatus, LinkStatus
from springline.doctor.advice import about_address, about_clock, about_link, about_own_addresses, about_their_clock
from springline.store.devices import PairedDevice, TrustLevel
from springline.store.identity import DeviceInfo
from springline.transport.address import Address
from springline.transport.trouble import Trouble

NOW = datetime(2026, 6, 1, 12, 0, tzinfo=UTC)
PEER = UUID(int=7)
THERE = Address("192.0.2.7", 7400)


def tried(trouble: Trouble | None, hint: str = "") -> Tried:
    return Tried(THERE, (("handshake", 0.01, "" if trouble is None else "no"),), trouble, hint)


def status(state: str, *, trust: TrustLevel = TrustLevel.TRUSTED, wanted: bool = True) -> DeviceStatus:
    info = DeviceInfo(PEER, "my phone", bytes(32), bytes(32), b"")
    device = PairedDevice(info, NOW, trust=trust, auto_connect=wanted)
    return DeviceStatus(device, LinkStatus(PEER, state, NOW, "whatever"))


@pytest.mark.parametrize("trouble", Trouble)
def test_for_every_kind_of_trouble_there_is_something_to_do_or_not_to_mind(trouble: Trouble) -> None:
    said = about_address(tried(trouble), "phone")
    assert said
    assert len(said) < 120
    assert "\n" not in said


def test_what_answers_needs_no_advice() -> None:
    assert about_address(tried(None), "phone") == ""


@pytest.mark.parametrize(
    ("trouble", "words"),
    [
        (Trouble.REFUSED, ["7400", "start springline on phone", "'status'"]),
        (Trouble.SILENT, ["firewall", "TCP port 7400"]),
        (Trouble.NO_ROUTE, ["network", "VPN"]),
        (Trouble.NAME, ["springline connect phone --address"]),
        (Trouble.FOREIGN, ["another program", "7400"]),
        (Trouble.HANGS_UP, ["revoked", "pair again"]),
        (Trouble.IMPOSTOR, ["another device", "pair again"]),
        (Trouble.ITSELF, ["no harm"]),
    ],
)
def test_it_names_what_to_do_and_where(trouble: Trouble, words: list[str]) -> None:
    said = about_address(tried(trouble), "phone")
    assert [word for word in words if word not in said] == []


def test_what_the_error_itself_advises_is_passed_on() -> None:
    assert about_address(tried(Trouble.HERE, "update the older of the two"), "phone") == "update the older of the two"


def test_a_link_that_is_as_it_should_be_needs_no_advice() -> None:
    assert about_link(status("Connected"), [tried(Trouble.SILENT)]) == ""


@pytest.mark.parametrize(
    ("link", "addresses", "said"),
    [
        (status("Failed(revoked)", trust=TrustLevel.REVOKED), None, "pair it again"),
        (status("Failed(expired)", trust=TrustLevel.EXPIRED), None, "clock"),
        (status("Disconnected", wanted=False), [], "springline connect 'my phone'"),
        (status("Reconnecting"), None, "springline doctor 'my phone'"),
        (status("Reconnecting"), [], "springline connect 'my phone' --address HOST:PORT"),
        (status("Reconnecting"), [tried(Trouble.SILENT), tried(None)], "answers at 192.0.2.7:7400"),
        (status("Reconnecting"), [tried(Trouble.SILENT)], "said with each"),
        (status("Reconnecting"), [tried(Trouble.HERE, "restart")], "restart"),
    ],
)
def test_a_link_that_is_not(link: DeviceStatus, addresses: list[Tried] | None, said: str) -> None:
    assert said in about_link(link, addresses)


@pytest.mark.parametrize(
    ("hosts", "said"),
    [
        ([], "network up"),
        (["127.0.0.1", "::1"], "--listen"),
        (["192.168.1.5", "fe80::1", "127.0.0.1"], "outside the local network"),
        (["192.168.1.5", "8.8.8.8"], ""),
    ],
)
def test_where_this_device_can_be_called(hosts: list[str], said: str) -> None:
    found = about_own_addresses([Address(host, 1) for host in hosts])
    assert said in found
    assert bool(said) == bool(found)


def test_a_clock_that_has_been_later_is_not_believed() -> None:
    year = timedelta(days=365)
    assert about_clock(NOW, []) == about_clock(NOW, [NOW - year, NOW + timedelta(minutes=1)]) == ""
    assert "2027-06-01" in about_clock(NOW, [NOW, NOW + year])


def test_a_device_that_speaks_from_the_future() -> None:
    def said(ahead: float) -> str:
        return about_their_clock(Found(PEER, (THERE,), "mDNS", NOW.timestamp() + ahead), NOW.timestamp(), "phone")

    assert said(-1e9) == said(60.0) == ""
    assert "phone says what it says 365 days from now" in said(365 * 86400.0)
    assert "2.0 hours" in said(7200.0)

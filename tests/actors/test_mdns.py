"""Two real nodes on 127.0.0.1 that know no address of each other; and what strangers can do about it."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from uuid import UUID

import psutil
import pytest
from zeroconf import DNSOutgoing, DNSText

from springline.actors.finding import MDNS, Announcement, SealRecords
from springline.actors.findkeeping import Findkeeper
from springline.cli.local import LocalNode
from springline.tests.nodes import Pair, echo, eventually, kill, kill_and_await, paired, pid_of
from springline.tests.seekers import MdnsNode, forget, health, vault_of
from springline.transport.address import Address
from springline.transport.discovery.multicast import name_of
from springline.transport.discovery.records import RECORD_SIZE
from springline.transport.discovery.tags import PERIOD

NOWHERE = (Address("127.0.0.1", 9),)


@pytest.fixture(scope="module")
def pair() -> Iterator[Pair]:
    with paired(MdnsNode) as running:
        yield running


def both_forget(pair: Pair) -> None:
    """Both are down, and will not know where to dial."""
    pair.blue.down()
    pair.red.down()
    forget(pair.blue, pair.red_id)
    forget(pair.red, pair.blue_id)


def say(tag: bytes, text: bytes) -> bool:
    """As anybody on this machine may. False, for ``eventually``."""
    out = DNSOutgoing(0x8400)
    out.add_answer_at_time(DNSText(name_of(tag), 16, 1, 120, text), 0)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, socket.inet_aton("127.0.0.1"))
        for packet in out.packets():
            sock.sendto(packet, ("224.0.0.251", 5353))
    return False


def sockets_of(pair: Pair) -> list[int]:
    """The ports of red's finder."""
    pid = pid_of(pair.red.control, MDNS)
    assert pid is not None
    return [one.laddr.port for one in psutil.Process(pid).net_connections("udp")]


def test_two_that_know_no_address_find_each_other(pair: Pair) -> None:
    both_forget(pair)
    pair.blue.up()
    pair.red.up()
    pair.await_link()


def test_a_killed_finder_finds_on(pair: Pair) -> None:
    both_forget(pair)
    pair.red.up()
    eventually(lambda: health(pair.red.control).seen == "1 looked for, 0 heard", "red seeks")
    kill_and_await(pair.red.control, MDNS)
    pair.blue.up()
    pair.await_link()


def test_who_is_connected_to_all_is_not_found_and_hears_nobody(pair: Pair) -> None:
    pair.await_link()
    eventually(lambda: health(pair.red.control).works is None, "red seeks nobody")
    assert health(pair.red.control).seen == "nobody is to be found"
    eventually(lambda: 5353 not in sockets_of(pair), "red has let go of its sockets", 90.0)
    kill(pair.red.control, f"connections.{pair.blue_id.hex}")
    pair.await_link()


@dataclass
class Stranger:
    """Who has all that can be had without being blue."""

    pair: Pair
    true: Announcement
    expired: Announcement
    early: Announcement
    others: Announcement

    @property
    def refused(self) -> int:
        """How many records red has not believed."""
        seen = health(self.pair.red.control).seen
        return int(seen.rpartition("; ")[2].split()[0]) if "not believed" in seen else 0


@pytest.fixture
def stranger(pair: Pair) -> Iterator[Stranger]:
    """Red runs and seeks blue, which does not run."""
    both_forget(pair)
    yield Stranger(
        pair,
        sealed(pair, timedelta()),
        sealed(pair, timedelta(seconds=-PERIOD), lifetime=1.0),
        sealed(pair, timedelta(seconds=PERIOD)),
        sealed(pair, timedelta(), of_red=True),
    )
    if not pair.blue.pid:
        pair.blue.up()
    pair.await_link()


def sealed(pair: Pair, off: timedelta, lifetime: float = 600.0, of_red: bool = False) -> Announcement:
    """What blue says to red by a clock that is off, or red to blue."""
    node, other = (pair.red, pair.blue_id) if of_red else (pair.blue, pair.red_id)
    said = Findkeeper(vault_of(node)).announcements(SealRecords((other,), NOWHERE, lifetime), datetime.now(UTC) + off)
    return said[0]


def test_records_that_are_foreign_forged_oversized_or_expired_are_refused(stranger: Stranger) -> None:
    red = stranger.pair.red
    red.up()
    eventually(lambda: health(red.control).seen.startswith("1 looked for"), "red seeks")
    for text in (
        b"\xff" + os.urandom(RECORD_SIZE),
        b"\xff" + stranger.others.record,
        b"\xff" + stranger.true.record[:-1] + bytes([stranger.true.record[-1] ^ 1]),
        b"\xff" + stranger.expired.record,
    ):
        before = stranger.refused
        eventually(lambda: say(stranger.true.tag, text) or stranger.refused > before, "it is refused")  # noqa: B023
    for _ in range(20):
        say(os.urandom(16), b"\xff" + stranger.true.record)
        say(stranger.true.tag, b"\xff" + stranger.true.record + b"\xff" + bytes(RECORD_SIZE))
        say(stranger.true.tag, b"")
    assert "0 heard" in health(red.control).seen
    story = red.control.why(stranger.pair.blue_id).entries
    assert not any("found by" in entry.evidence for entry in story)


def test_a_replayed_record_costs_one_dial_and_the_true_one_counts(stranger: Stranger) -> None:
    """Somebody has recorded where blue was, and says it for ever."""
    red, blue_id = stranger.pair.red, stranger.pair.blue_id
    red.up()
    eventually(
        lambda: say(stranger.true.tag, b"\xff" + stranger.true.record) or "1 heard" in health(red.control).seen,
        "red has heard it",
    )
    eventually(lambda: "found by mDNS at 127.0.0.1:9" in story(red, blue_id), "red has tried it")
    stranger.pair.blue.up()
    stranger.pair.await_link()
    say(stranger.true.tag, b"\xff" + stranger.true.record)
    assert echo(red.control, blue_id)


def story(node: LocalNode, device: UUID) -> str:
    return "\n".join(entry.evidence for entry in node.control.why(device).entries)

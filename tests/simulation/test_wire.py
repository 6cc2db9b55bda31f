"""Simulated connections keep what TCP promises, whatever happens to the network; and break as TCP does."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest
from hypothesis import given
from hypothesis import strategies as st

from springline.tests.simulation.clock import Clock, Loop, Queue
from springline.tests.simulation.network import Host, Network, Quality
from springline.tests.simulation.wire import FIN, RESET, Connect, End, connected
from springline.transport.address import Address
from springline.transport.dialing import CONNECT_TIMEOUT


@dataclass
class Reader:
    """What comes out of an end."""

    end: End
    items: list[object] = field(default_factory=list)
    ended: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.end.attach(self.items.append, self.ended.append)


class Lab:
    """Two hosts at two sites, the first behind a NAT."""

    def __init__(self) -> None:
        self.queue = Queue(1)
        self.net = Network(self.queue)
        self.home, self.away = self.net.add_site(nat=True), self.net.add_site(nat=False)
        self.hosts = [Host(number, Clock(self.queue)) for number in (1, 2)]
        for host, site in zip(self.hosts, (self.home, self.away), strict=True):
            self.net.join(host, site)
        self.callers: list[End] = []
        self.hosts[1].accept = lambda end, _remote: self.callers.append(end)

    def connection(self) -> tuple[Reader, Reader]:
        one, other = connected(self.net, *self.hosts)
        return Reader(one), Reader(other)

    def connect(self, address: Address) -> list[tuple[End | None, str]]:
        results: list[tuple[End | None, str]] = []
        loop = Loop(self.hosts[0].clock)
        Connect(self.net, self.hosts[0], loop, address, lambda end, why: results.append((end, why)))
        return results

    def wait(self, seconds: float) -> None:
        self.queue.run(self.queue.now + seconds)


turns = st.lists(
    st.tuples(
        st.sampled_from(["send", "cut", "mend", "sleep", "wake", "hole", "close hole", "lose", "clear"]),
        st.floats(0.0, 3.0),
    ),
    max_size=40,
)


@given(turns)
def test_in_order_once_and_in_the_end_all_of_it(what: list[tuple[str, float]]) -> None:
    lab = Lab()
    one, other = lab.connection()
    sent = 0
    for turn, pause in what:
        match turn:
            case "send":
                one.end.send(sent)
                sent += 1
            case "cut" | "mend":
                lab.home.up = turn == "mend"
            case "sleep" if not lab.hosts[1].clock.asleep:
                lab.hosts[1].clock.sleep()
            case "wake" if lab.hosts[1].clock.asleep:
                lab.hosts[1].clock.wake()
            case "hole":
                lab.net.holes.add((1, 2))
            case "close hole":
                lab.net.holes.clear()
            case "lose" | "clear":
                lab.home.weather = [Quality(0.4)] if turn == "lose" else []
        lab.wait(pause)
        assert other.items == list(range(len(other.items)))
    lab.home.up = True
    lab.home.weather.clear()
    lab.net.holes.clear()
    if lab.hosts[1].clock.asleep:
        lab.hosts[1].clock.wake()
    lab.wait(300.0)
    assert other.items == list(range(sent))
    assert not one.ended
    assert not other.ended


def test_a_close_comes_after_what_was_sent() -> None:
    lab = Lab()
    one, other = lab.connection()
    one.end.send("last")
    one.end.close()
    lab.wait(1.0)
    assert (other.items, other.ended) == (["last"], [FIN])


def test_what_comes_before_somebody_reads_waits() -> None:
    lab = Lab()
    one, theirs = connected(lab.net, *lab.hosts)
    one.send("early")
    lab.wait(1.0)
    assert Reader(theirs).items == ["early"]


def test_a_forgotten_connection_is_silent_or_reset_as_the_router_is() -> None:
    for rejects, reasons in ((False, []), (True, [RESET])):
        lab = Lab()
        lab.home.rejects = rejects
        one, other = lab.connection()
        lab.net.rebind(lab.home)
        one.end.send("x")
        lab.wait(30.0)
        assert other.items == []
        assert one.ended == reasons
        assert not one.end.alive


def test_a_machine_that_was_started_anew_resets() -> None:
    lab = Lab()
    one, _ = lab.connection()
    lab.hosts[1].boot += 1
    one.end.send("x")
    lab.wait(1.0)
    assert one.ended == [RESET]


@pytest.mark.parametrize("gone", ["off", "asleep", "away", "elsewhere"])
def test_a_machine_that_is_not_there_says_nothing(gone: str) -> None:
    lab = Lab()
    one, other = lab.connection()
    match gone:
        case "off":
            lab.hosts[1].on = False
        case "asleep":
            lab.hosts[1].clock.sleep()
        case "away":
            lab.net.leave(lab.hosts[1])
        case "elsewhere":
            lab.net.join(lab.hosts[1], lab.away)
    one.end.send("x")
    lab.wait(60.0)
    assert (one.ended, other.items) == ([], [])


def test_connecting() -> None:
    lab = Lab()
    there = lab.hosts[1].addresses[0]
    done = lab.connect(there)
    lab.wait(1.0)
    (end, reason), (caller,) = done[0], lab.callers
    assert (reason, end) == ("", caller.other)
    lab.hosts[1].accept = None
    done = lab.connect(there)
    lab.wait(1.0)
    assert done == [(None, "connection refused")]


def test_nobody_there_takes_as_long_as_a_connect_may() -> None:
    lab = Lab()
    done = lab.connect(Address("203.0.9.9", 7400))
    lab.wait(CONNECT_TIMEOUT - 0.1)
    assert not done
    lab.wait(0.2)
    assert done == [(None, "no answer in time")]


def test_a_knock_is_repeated() -> None:
    lab = Lab()
    lab.away.up = False
    done = lab.connect(lab.hosts[1].addresses[0])
    lab.wait(0.5)
    lab.away.up = True
    lab.net.changed()
    lab.wait(0.4)
    assert not done, "the second knock comes after a second"
    lab.wait(0.3)
    assert done[0][0] is not None

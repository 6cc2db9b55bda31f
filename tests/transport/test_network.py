"""What is news of the network and of the clocks, and how often is looked: on clocks that the tests move."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from springline.transport.network import (
    CALM,
    JUMPED,
    LEAST_GAP,
    MOST_GAP,
    MOST_TOLD,
    POLL,
    RETRY,
    SLEPT,
    SOON,
    STOOD_STILL,
    TICK,
    Blind,
    Change,
    Kind,
    Place,
    Rang,
    Seen,
    Ticked,
    View,
    Watch,
    Way,
    describe,
    duration,
    step,
)

HOME = View(frozenset({Place("eth0", "10.0.0.5")}), frozenset({"eth0"}), frozenset({Way(4, "eth0", "10.0.0.1")}))
NOWHERE = View()


def on(*ips: str, interface: str = "eth0", running: bool = True) -> View:
    places = frozenset(Place(interface, ip) for ip in ips)
    return View(places, frozenset({interface}) if running and ips else frozenset())


class Machine:
    """A machine with a watch on it; the shell around it, without a system."""

    def __init__(self, view: View = HOME, *, polls: bool = False, counts: bool = True) -> None:
        self.now, self.wall, self.counts = 1000.0, 1.7e9, counts
        self.boot = 5000.0
        self.view = view
        self.blind = False
        self.told: list[Change] = []
        self.looks = 0
        self.watch = Watch(polls=polls)
        self.move(0.0)
        self.first = self.told.pop()

    def feed(self, observation: Rang | Seen | Blind | Ticked) -> None:
        self.watch, changes = step(self.watch, observation, self.now, self.wall)
        self.told += changes

    def move(self, seconds: float) -> None:
        """Time passes for all clocks, and what is due is done."""
        end = self.now + seconds
        while self.watch.due_at <= end:
            self._pass(max(0.0, self.watch.due_at - self.now))
            self._due()
        self._pass(end - self.now)

    def _pass(self, seconds: float) -> None:
        self.now += seconds
        self.boot += seconds
        self.wall += seconds

    def _due(self) -> None:
        if self.watch.tick_at <= self.now:
            self.feed(Ticked(self.boot if self.counts else None))
        if self.watch.look_at is not None and self.watch.look_at <= self.now:
            self.looks += 1
            self.feed(Blind() if self.blind else Seen(self.view))

    def sleep(self, seconds: float) -> None:
        self.boot += seconds
        self.wall += seconds

    def stop(self, seconds: float) -> None:
        """The process is stopped, the clocks are not."""
        self._pass(seconds)

    def set_clock(self, seconds: float) -> None:
        self.wall += seconds

    def ring(self, view: View) -> None:
        self.view = view
        self.feed(Rang())

    @property
    def lines(self) -> list[str]:
        return [change.what for change in self.told]


# -- the network ---------------------------------------------------------------------------------------------------


def test_the_first_look_is_told_and_a_quiet_system_is_not_looked_at_again() -> None:
    machine = Machine()
    assert machine.first == Change(Kind.NETWORK, "nobody watched the network until now", HOME.addresses)
    machine.move(3600)
    assert (machine.looks, machine.told) == (1, [])


def test_a_ring_is_looked_into_at_once_and_told() -> None:
    machine = Machine()
    machine.move(10)
    machine.ring(on("10.0.0.7"))
    machine.move(SOON)
    (change,) = machine.told
    assert change.kind is Kind.NETWORK
    assert change.addresses == {"10.0.0.7"}
    assert change.gone == {"10.0.0.5"}
    assert change.what == "10.0.0.5 is gone; 10.0.0.7 is on eth0 now; there is no way out (IPv4)"


def test_a_burst_is_one_change() -> None:
    machine = Machine()
    machine.move(10)
    for view in (NOWHERE, on("10.0.0.7"), on("10.0.0.7", "fe80::7")):
        machine.ring(view)
        machine.move(SOON / 10)
    machine.move(10)
    assert [change.addresses for change in machine.told] == [{"10.0.0.7", "fe80::7"}]
    assert machine.looks == 2


def test_what_comes_back_within_a_burst_is_no_change() -> None:
    machine = Machine()
    machine.move(10)
    machine.ring(NOWHERE)
    machine.ring(HOME)
    machine.move(10)
    assert machine.told == []


def test_a_loose_contact_is_told_once_a_second_and_forgiven_when_it_is_quiet() -> None:
    machine = Machine()
    machine.move(10)
    for _ in range(600):  # a minute
        machine.ring(NOWHERE if machine.view == HOME else HOME)
        machine.move(0.1)
    assert len(machine.told) <= 60 / MOST_GAP + 3
    machine.move(CALM)
    machine.ring(on("10.0.0.9"))
    machine.move(SOON)
    assert machine.told[-1].addresses == {"10.0.0.9"}
    machine.ring(HOME)
    machine.move(LEAST_GAP)
    assert machine.told[-1].addresses == {"10.0.0.5"}


def test_rings_that_mean_nothing_cost_looks_and_tell_nothing() -> None:
    machine = Machine()
    for _ in range(1000):
        machine.ring(HOME)
        machine.move(0.01)
    assert machine.told == []
    assert machine.looks <= 10 / LEAST_GAP + 2


def test_a_cable_that_is_pulled_takes_no_address() -> None:
    machine = Machine(on("10.0.0.5"))
    machine.move(10)
    machine.ring(on("10.0.0.5", running=False))
    machine.move(1)
    machine.ring(on("10.0.0.5"))
    machine.move(1)
    assert machine.lines == ["eth0 is not connected any more", "eth0 is connected again"]
    assert not any(change.gone for change in machine.told)


def test_an_address_that_moves_to_another_interface_is_told_and_not_gone() -> None:
    machine = Machine(on("10.0.0.5"))
    machine.move(10)
    machine.ring(on("10.0.0.5", interface="wlan0"))
    machine.move(1)
    assert machine.lines == ["10.0.0.5 is on wlan0 now"]
    assert machine.told[0].gone == set()


def test_of_two_interfaces_with_the_same_address_one_goes() -> None:
    both = View(frozenset({Place("eth0", "10.0.0.5"), Place("wlan0", "10.0.0.5")}), frozenset({"eth0", "wlan0"}))
    assert describe(both, on("10.0.0.5")) == "an address is not where it was"


def test_many_differences_make_one_short_line() -> None:
    line = describe(on(*(f"10.0.0.{n}" for n in range(50))), NOWHERE)
    assert line.count(";") == MOST_TOLD
    assert line.endswith("46 more changes")


def test_the_way_out_is_told() -> None:
    machine = Machine()
    machine.move(10)
    machine.ring(View(HOME.places, HOME.carrying, frozenset({Way(4, "tun0")})))
    machine.move(1)
    assert machine.lines == ["the way out (IPv4) is by tun0"]


def test_where_the_system_does_not_ring_it_is_looked_at() -> None:
    machine = Machine(polls=True)
    machine.move(10)
    machine.view = NOWHERE
    machine.move(POLL)
    assert len(machine.told) == 1
    assert machine.looks == pytest.approx(12 / POLL, abs=2)


def test_a_look_that_fails_is_repeated() -> None:
    machine = Machine()
    machine.move(10)
    machine.blind = True
    machine.ring(NOWHERE)
    machine.move(1)
    machine.blind = False
    assert machine.told == []
    machine.move(RETRY)
    assert len(machine.told) == 1


IPS = st.sampled_from(["10.0.0.1", "10.0.0.2", "fe80::1", "2001:db8::1"])
VIEWS = st.builds(
    lambda places, carrying, ways: View(places, carrying & {place.interface for place in places}, ways),
    st.frozensets(st.builds(Place, st.sampled_from(["eth0", "wlan0"]), IPS), max_size=4),
    st.frozensets(st.sampled_from(["eth0", "wlan0"])),
    st.frozensets(st.builds(Way, st.sampled_from([4, 6]), st.just("eth0"), IPS), max_size=1),
)


@given(st.booleans(), st.lists(st.tuples(VIEWS, st.floats(0, 3)), max_size=40))
def test_whoever_adds_up_what_is_told_knows_how_it_is(polls: bool, life: list[tuple[View, float]]) -> None:
    machine = Machine(polls=polls)
    for view, pause in life:
        machine.ring(view)
        machine.move(pause)
    machine.move(POLL + MOST_GAP)
    addresses = HOME.addresses
    for change in machine.told:
        assert change.gone <= addresses
        assert change.gone.isdisjoint(change.addresses)
        assert change.what
        addresses = change.addresses
    assert machine.watch.view == machine.view
    assert addresses == machine.view.addresses
    spent = machine.now - 1000.0
    assert machine.looks <= spent / LEAST_GAP + 2
    assert len(machine.told) <= machine.looks


# -- the clocks ----------------------------------------------------------------------------------------------------

DAY = 86400.0


@given(st.floats(SLEPT + 0.01, 400 * DAY), st.floats(-DAY, DAY))
def test_sleep_of_any_length_is_told_as_such_whatever_the_wall_clock_says(slept: float, set_by: float) -> None:
    machine = Machine()
    machine.move(10)
    looks = machine.looks
    machine.sleep(slept)
    machine.set_clock(set_by)
    machine.move(TICK)
    (change,) = machine.told
    assert change.kind is Kind.WOKE
    assert change.what == f"woke after {duration(slept)} of sleep"
    assert change.addresses == HOME.addresses
    assert machine.looks == looks + 1  # nobody has rung for what has changed meanwhile
    machine.move(60)
    assert len(machine.told) == 1


@given(st.floats(JUMPED + 0.01, 400 * DAY))
def test_a_clock_that_is_set_ahead_is_not_sleep_but_may_be_a_standstill(set_by: float) -> None:
    machine = Machine()
    machine.move(10)
    machine.set_clock(set_by)
    machine.move(TICK)
    (change,) = machine.told
    assert change.kind is Kind.WOKE
    assert change.what.startswith(f"the clock was set {duration(set_by)} ahead")


@given(st.floats(JUMPED + 0.01, 400 * DAY))
def test_a_clock_that_is_set_back_concerns_only_who_writes_dates(set_by: float) -> None:
    machine = Machine()
    machine.move(10)
    machine.set_clock(-set_by)
    machine.move(TICK)
    (change,) = machine.told
    assert change.kind is Kind.CLOCK
    assert change.what == f"the clock was set back by {duration(set_by)}"


@given(st.floats(JUMPED + 0.01, 400 * DAY))
def test_without_a_clock_that_counts_sleep_it_is_said_that_it_may_be_either(slept: float) -> None:
    machine = Machine(counts=False)
    machine.move(10)
    machine.sleep(slept)
    machine.move(TICK)
    assert machine.lines == [f"woke after {duration(slept)} of sleep, or the clock was set ahead"]


def test_a_process_that_was_stopped_notices() -> None:
    machine = Machine()
    machine.move(10)
    machine.stop(STOOD_STILL + TICK)
    machine.move(TICK)
    assert machine.told[0].kind is Kind.WOKE
    assert machine.lines[0].startswith("this process stood still for")


@given(st.lists(st.tuples(st.floats(0, STOOD_STILL - 1), st.floats(-JUMPED / 20, JUMPED / 20)), max_size=200))
def test_a_busy_machine_with_a_clock_that_is_nudged_tells_nothing(life: list[tuple[float, float]]) -> None:
    """As time services do it: a little at a time."""
    machine = Machine()
    for late, nudge in life:
        machine.stop(late)
        machine.set_clock(nudge)
        machine.move(TICK)
    assert machine.told == []


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.6, "1 s"), (90, "90 s"), (480, "8 min"), (10800, "3 h"), (14 * DAY, "14 days"), (400 * DAY, "400 days")],
)
def test_durations(seconds: float, text: str) -> None:
    assert duration(seconds) == text

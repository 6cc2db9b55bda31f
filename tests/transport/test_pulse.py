"""The watch over a session, with its timer."""

from __future__ import annotations

from springline.tests.transport.clockwork import Clockwork
from springline.transport.liveness import LEAST, PATIENCE, SUSPICION
from springline.transport.pulse import EARLY, Pulse

KEEPALIVE = 25.0


class Session:
    """A pulse and what it has done."""

    def __init__(self, early: float = 0.0) -> None:
        self.clock = Clockwork(early=early)
        self.pings: list[int] = []
        self.lost: list[str] = []
        self.pulse = Pulse(KEEPALIVE, self.clock, self.pings.append, self.lose)
        self.pulse.begin()

    def lose(self, reason: str) -> None:
        self.pulse.stop()
        self.lost.append(reason)

    def hear(self) -> None:
        self.pulse.heard()
        self.pulse.pong(self.pings[-1])


def test_it_pings_at_once_and_whenever_it_was_quiet_for_long() -> None:
    session = Session()
    assert session.pings == [1]
    for turn in range(2, 5):
        session.hear()
        session.clock.move(KEEPALIVE)
        assert session.pings[-1] == turn
        assert len(session.clock.armed) == 1


def test_of_two_sides_the_one_that_dialled_probes_first_and_both_in_time() -> None:
    clock = Clockwork()
    probes: list[str] = []

    def side(name: str, dialled: bool) -> Pulse:
        return Pulse(KEEPALIVE, clock, lambda _token: probes.append(name), probes.append, early=EARLY[dialled])

    sides = {"listener": side("listener", False), "dialler": side("dialler", True)}
    for one in sides.values():
        one.begin()
        one.heard()
    probes.clear()
    clock.move(KEEPALIVE * EARLY[True])
    assert probes == ["dialler"]
    for one in sides.values():
        one.heard()
    clock.move(KEEPALIVE + PATIENCE - 0.2)
    assert probes == ["dialler", "dialler", "listener", "no sign of life for 29 s", "no sign of life for 30 s"]


def test_silence_ends_it_once() -> None:
    session = Session()
    session.clock.move(KEEPALIVE + PATIENCE - 0.1)
    assert not session.lost
    session.clock.move(1000)
    assert session.lost == ["no sign of life for 30 s"]
    assert not session.clock.armed


def test_who_has_spoken_looks_sooner() -> None:
    session = Session()
    session.clock.move(1)
    session.pulse.spoke()
    session.clock.move(SUSPICION + PATIENCE)
    assert session.lost


def test_a_probe_goes_out_now_and_has_little_time() -> None:
    session = Session()
    session.clock.move(0.01)
    session.hear()
    session.clock.move(5)
    session.pulse.probe()
    assert session.pings == [1, 2]
    session.clock.move(LEAST)
    assert session.lost


class SlowLine(Session):
    """A session whose pings wait behind data."""

    def __init__(self) -> None:
        super().__init__()
        self.hear()
        self.queued, self.acknowledged = 1000, 0
        self.pulse._progress = lambda: (self.queued, self.acknowledged)
        self.pulse.spoke()
        self.clock.move(LEAST)  # a ping has gone out, and stands behind 1000 bytes
        assert len(self.pings) == 2


def test_a_ping_that_waits_behind_data_that_moves_is_waited_for() -> None:
    line = SlowLine()
    for _ in range(8):
        line.acknowledged += 100
        line.clock.move(PATIENCE)
        assert not line.lost
    line.hear()
    line.clock.move(KEEPALIVE - 0.1)
    assert not line.lost


def test_when_data_stops_moving_the_session_is_dead() -> None:
    line = SlowLine()
    line.acknowledged = 100
    line.clock.move(PATIENCE)
    assert not line.lost
    line.clock.move(PATIENCE)
    assert line.lost


def test_once_the_ping_has_got_through_there_is_a_moment_for_its_answer_and_no_more() -> None:
    line = SlowLine()
    line.acknowledged = 2000  # a router in between may go on taking data for ever
    line.clock.move(PATIENCE)
    assert not line.lost
    line.acknowledged = 3000
    line.clock.move(LEAST)
    assert line.lost
    assert SUSPICION + PATIENCE + LEAST <= 10


def test_an_answer_to_an_older_ping_is_not_the_round_trip_of_the_latest() -> None:
    session = Session()
    session.clock.move(KEEPALIVE + 4)
    session.pulse.heard()
    session.pulse.pong(1)
    session.pulse.probe()
    session.clock.move(LEAST + 0.1)
    assert not session.lost, "nothing was measured, so a doubted session has all of the patience"


def test_another_keepalive_counts_at_once_and_wakes_a_stopped_pulse_for_nothing() -> None:
    session = Session()
    session.hear()
    session.pulse.keep_alive(5.0)
    assert session.clock.armed == [5.0]
    session.clock.move(5.0)
    session.hear()
    session.pulse.keep_alive(60.0)
    session.clock.move(59.0)
    assert len(session.pings) == 2
    session.pulse.stop()
    session.pulse.keep_alive(5.0)
    assert not session.clock.armed


def test_a_loop_that_calls_too_early_does_not_end_the_watch() -> None:
    session = Session(early=1e-7)
    session.clock.move(1000)
    assert session.lost


def test_after_its_end_nothing_happens() -> None:
    session = Session()
    session.pulse.stop()
    session.pulse.look()
    session.clock.move(1000)
    assert session.pings == [1]
    assert not session.lost

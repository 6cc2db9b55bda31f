"""Virtual time: order, sleep, and what dies with a process."""

from __future__ import annotations

import pytest

from springline.errors import InternalFault
from springline.tests.simulation.clock import BEGINNING, RESOLUTION, Clock, Loop, Queue


def test_things_happen_in_order_and_at_their_time() -> None:
    queue, seen = Queue(1), []
    for when in (3.0, 1.0, 2.0, 1.0):
        queue.at(when, lambda when=when: seen.append((when, queue.now)))
    queue.run(2.5)
    assert seen == [(1.0, 1.0), (1.0, 1.0), (2.0, 2.0)]
    assert queue.now == 2.5


def test_a_sleeping_machine_s_timers_sleep_too() -> None:
    queue = Queue(1)
    clock = Clock(queue)
    loop = Loop(clock)
    seen: list[float] = []
    loop.call_later(10.0, lambda: seen.extend((queue.now, loop.time())))
    queue.at(4.0, clock.sleep)
    queue.at(1000.0, clock.wake)
    queue.run(1005.0)
    assert seen == []
    queue.run(1010.0)
    assert seen == pytest.approx([1006.0, 10.0], abs=1e-5)
    assert clock.wall == BEGINNING + 1010.0


def test_nothing_of_a_dead_process_happens() -> None:
    queue = Queue(1)
    seen: list[str] = []
    loop = Loop(Clock(queue))
    loop.call_later(1.0, seen.append, "x")
    loop.close()
    queue.run(10.0)
    assert seen == []


def test_a_cancelled_timer_does_not_come_up() -> None:
    queue = Queue(1)
    seen: list[str] = []
    timer = Loop(Clock(queue)).call_later(1.0, seen.append, "x")
    timer.cancel()
    queue.run(10.0)
    assert seen == []


def test_a_timer_may_come_a_little_too_early_and_never_more() -> None:
    queue, errors = Queue(1), []
    loop = Loop(Clock(queue))

    def due(when: float) -> None:
        errors.append(loop.time() - when)
        if len(errors) < 200:
            loop.call_at(loop.time() + 0.5, due, loop.time() + 0.5)

    loop.call_at(0.5, due, 0.5)
    queue.run(1000.0)
    assert -RESOLUTION < min(errors) < 0
    assert max(errors) < RESOLUTION


def test_what_goes_round_in_circles_ends() -> None:
    queue = Queue(1, most=1000)
    loop = Loop(Clock(queue))

    def again() -> None:
        loop.call_later(0.0, again)

    again()
    with pytest.raises(InternalFault, match="no end"):
        queue.run(1.0)


def test_who_asks_for_now_gets_it_later() -> None:
    """Or a loop that is asked again and again would stop time."""
    queue, times = Queue(1), []
    loop = Loop(Clock(queue))

    def again() -> None:
        times.append(queue.now)
        if len(times) < 50:
            loop.call_later(0.0, again)

    again()
    queue.run(1.0)
    assert times == sorted(set(times))

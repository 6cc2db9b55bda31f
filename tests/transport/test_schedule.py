"""Tests of ``springline.transport.schedule``."""

from __future__ import annotations

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from springline.transport.records import Priority
from springline.transport.schedule import WEIGHTS, Scheduler


def run(scheduler: Scheduler[str], turns: int, size: int = 1000) -> list[str]:
    """Who is served if everybody always has more to send."""
    served = []
    for _ in range(turns):
        turn = scheduler.take()
        assert turn is not None
        priority, flow = turn
        served.append(flow)
        scheduler.charge(priority, size)
        scheduler.add(priority, flow)
    return served


def test_control_comes_first_always() -> None:
    scheduler: Scheduler[str] = Scheduler()
    for priority in reversed(Priority):
        scheduler.add(priority, priority.name)
    assert set(run(scheduler, 50)) == {"CONTROL"}


def test_the_others_share_by_weight() -> None:
    scheduler: Scheduler[str] = Scheduler()
    for priority in WEIGHTS:
        scheduler.add(priority, priority.name)
    served = Counter(run(scheduler, 10 * sum(WEIGHTS.values())))
    for priority, weight in WEIGHTS.items():
        assert abs(served[priority.name] - 10 * weight) <= 1


def test_within_a_class_everybody_has_a_turn() -> None:
    scheduler: Scheduler[str] = Scheduler()
    for flow in "abc":
        scheduler.add(Priority.BULK, flow)
    assert run(scheduler, 6) == list("abcabc")


def test_a_class_that_was_idle_saves_up_nothing() -> None:
    scheduler: Scheduler[str] = Scheduler()
    scheduler.add(Priority.SYNC, "sync")
    run(scheduler, 1000)
    scheduler.add(Priority.BULK, "bulk")
    served = Counter(run(scheduler, 50))
    assert served["bulk"] <= 50 * WEIGHTS[Priority.BULK] // WEIGHTS[Priority.SYNC] + 1


@given(st.lists(st.tuples(st.sampled_from(list(WEIGHTS)), st.integers(1, 65536)), min_size=1, max_size=8))
def test_nobody_starves(flows: list[tuple[Priority, int]]) -> None:
    scheduler: Scheduler[int] = Scheduler()
    for number, (priority, _) in enumerate(flows):
        scheduler.add(priority, number)
    served: Counter[int] = Counter()
    sent = 0
    while len(served) < len(flows):
        turn = scheduler.take()
        assert turn is not None
        priority, number = turn
        size = flows[number][1]
        served[number] += 1
        sent += size
        scheduler.charge(priority, size)
        scheduler.add(priority, number)
        assert sent <= 65536 * 16 * 2 * (len(flows) + 1), "somebody waits for ever"


def test_it_knows_whether_anybody_waits() -> None:
    scheduler: Scheduler[str] = Scheduler()
    assert not scheduler
    assert scheduler.take() is None
    scheduler.add(Priority.CONTROL, "x")
    assert scheduler
    assert scheduler.take() == (Priority.CONTROL, "x")
    assert not scheduler

"""How much one host, and all together, may ask for."""

from __future__ import annotations

from springline.transport.discovery.pace import Pace


def test_a_host_gets_its_burst_and_then_its_rate() -> None:
    pace = Pace((10.0, 20.0), (1000.0, 1000.0))
    assert sum(pace.take("a", 1.0, 0.0) for _ in range(100)) == 20
    assert sum(pace.take("a", 1.0, 1.0) for _ in range(100)) == 10
    assert sum(pace.take("b", 1.0, 1.0) for _ in range(100)) == 20


def test_all_together_are_bounded() -> None:
    pace = Pace((10.0, 20.0), (100.0, 50.0))
    assert sum(pace.take(str(number), 1.0, 0.0) for number in range(500)) == 50
    assert sum(pace.take(str(number), 1.0, 0.2) for number in range(500)) == 20


def test_what_is_dear_costs_more() -> None:
    pace = Pace((1.0, 9.0), (100.0, 100.0))
    assert sum(pace.take("a", 3.0, 0.0) for _ in range(9)) == 3


def test_who_is_remembered_is_bounded() -> None:
    pace = Pace((10.0, 20.0), (1e6, 1e6), most=10)
    for number in range(10_000):
        pace.take(str(number), 1.0, 0.0)
    assert len(pace) == 10

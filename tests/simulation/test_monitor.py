"""The simulated monitor: ticks that are left out are not missed, and what happens to the machine is told."""

from __future__ import annotations

import pytest

from springline.tests.simulation.world import Scenario, World

NEWS = ("sleep", "clock was set")


def told(seed: int, *, rest: bool) -> list[tuple[float, str, str]]:
    """When, to whom and what of clocks is told in a day of sleep and wrong clocks."""
    lines: list[str] = []
    World(Scenario(seed, 2, 0.5, 30.0, rest=rest, only=("sleep", "wall clock")), lines.append).run()
    found = [line.split(maxsplit=4) for line in lines if "network: " in line]
    return [
        (float(seconds[:-1]), node, next(news for news in NEWS if news in text))
        for _day, seconds, node, _network, text in found
        if any(news in text for news in NEWS)
    ]


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_with_ticks_left_out_the_same_is_told_as_without(seed: int) -> None:
    resting, restless = told(seed, rest=True), told(seed, rest=False)
    assert len(resting) > 5
    assert [one[1:] for one in resting] == [one[1:] for one in restless]
    assert all(abs(one[0] - other[0]) < 1.1 for one, other in zip(resting, restless, strict=True))


def test_an_address_that_changes_is_told_as_soon_as_the_kernel_rings() -> None:
    lines: list[str] = []
    World(Scenario(5, 2, 0.2, 30.0, only=("new address",)), lines.append).run()
    changes = [float(line.split()[1][:-1]) for line in lines if "*** address changed" in line]
    seen = [float(line.split()[1][:-1]) for line in lines if "is on eth0 now" in line]
    assert len(seen) > 3
    assert all(any(0.0 <= at - change < 1.5 for change in changes) for at in seen)

"""Many seeds, in as many processes as there are cores, and how long reconnecting took in all of them.

The rule: a seed is run in a process of its own kind only for speed; each is a function of its number, so what fails
here fails alone, too.
"""

from __future__ import annotations

import gc
import math
import multiprocessing
import os
import time
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass, field

from springline.tests.simulation.plan import DAY
from springline.tests.simulation.watch import Violation
from springline.tests.simulation.world import Scenario, World

ALL = "all"

Times = dict[tuple[int, str], list[float]]


@dataclass(slots=True)
class Result:
    """Of one seed. :param seconds: that a core took for it. :param broken: what did not hold, or ``""``."""

    scenario: Scenario
    days: float
    seconds: float
    events: int
    steps: int
    broken: str
    times: Times


@dataclass(frozen=True, slots=True)
class Line:
    """How long it took to be connected again, of one cause. Seconds.

    :param ways: how many of the two knew an address that led to the other one; if none, one had to be found.
    """

    cause: str
    ways: int
    count: int
    p50: float
    p95: float
    max: float


@dataclass(slots=True)
class Total:
    """Of all seeds. :param seconds: that a core took. :param slowest: those of the slowest seed, and which it is."""

    seeds: int = 0
    nodes: int = 0
    node_days: float = 0.0
    events: int = 0
    steps: int = 0
    seconds: float = 0.0
    slowest: tuple[float, int] = (0.0, 0)
    violations: dict[int, str] = field(default_factory=dict)
    times: Times = field(default_factory=dict)

    def add(self, result: Result) -> None:
        """One more."""
        nodes = result.scenario.nodes
        self.seeds += 1
        self.nodes += nodes
        self.node_days += nodes * result.days
        self.events += result.events
        self.steps += result.steps
        self.seconds += result.seconds
        self.slowest = max(self.slowest, (result.seconds, result.scenario.seed))
        if result.broken:
            self.violations[result.scenario.seed] = result.broken
        for key, seconds in result.times.items():
            self.times.setdefault(key, []).extend(seconds)

    def lines(self) -> list[Line]:
        """By cause; those with most ways first."""
        keys = sorted(self.times, key=lambda key: (-key[0], key[1]))
        return [_line(ways, cause, sorted(self.times[ways, cause])) for ways, cause in keys]

    def all_in_all(self) -> list[Line]:
        """Whatever the cause."""
        merged: dict[int, list[float]] = {}
        for (ways, _), seconds in self.times.items():
            merged.setdefault(ways, []).extend(seconds)
        return [_line(ways, ALL, sorted(merged[ways])) for ways in sorted(merged, reverse=True)]

    def fields(self) -> dict[str, object]:
        """For JSON."""
        rules = Counter(broken.partition(":")[0] for broken in self.violations.values())
        return {
            "seeds": self.seeds,
            "nodes": self.nodes,
            "node_days": round(self.node_days, 1),
            "events": self.events,
            "link_steps": self.steps,
            "core_seconds": round(self.seconds, 1),
            "slowest": {"seed": self.slowest[1], "core_seconds": round(self.slowest[0], 1)},
            "violations": {str(seed): broken for seed, broken in sorted(self.violations.items())},
            "rules_broken": dict(rules),
            "reconnects": [asdict(line) for line in (*self.lines(), *self.all_in_all())],
        }


def _line(ways: int, cause: str, seconds: list[float]) -> Line:
    def part(share: float) -> float:
        return round(seconds[max(0, math.ceil(share * len(seconds)) - 1)], 3)

    return Line(cause, ways, len(seconds), part(0.5), part(0.95), round(seconds[-1], 3))


def run_one(scenario: Scenario) -> Result:
    """One seed, and what came of it."""
    began = time.process_time()
    gc.disable()  # a world is thrown away as a whole
    world = World(scenario)
    try:
        world.run()
        broken = ""
    except Violation as violation:
        broken = str(violation)
    finally:
        gc.enable()
    result = Result(
        scenario,
        world.queue.now / DAY,
        time.process_time() - began,
        world.queue.events,
        world.watch.steps,
        broken,
        world.watch.reconnects,
    )
    del world
    gc.collect()
    return result


def run_many(scenarios: Iterable[Scenario], jobs: int | None = None, done: Callable[[Result], object] = id) -> Total:
    """All of them; ``done`` hears of each."""
    total = Total()
    with multiprocessing.get_context("fork").Pool(jobs or os.cpu_count() or 1, maxtasksperchild=50) as pool:
        for result in pool.imap_unordered(run_one, scenarios):
            total.add(result)
            done(result)
    return total

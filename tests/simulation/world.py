"""One simulated world: its nodes, its network, what happens in it, and whether all of it is as promised.

The rule: everything is drawn from the seed: how many sites and nodes there are, who is paired with whom, how stormy it
is, and for how long. In the end the storm abates: everything is mended and switched on, and after ``CALM`` seconds all
who can reach each other must be connected, and agree.
"""

from __future__ import annotations

import itertools
import random
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from uuid import UUID

from springline.tests.simulation import plan
from springline.tests.simulation.clock import Queue
from springline.tests.simulation.finding import Table
from springline.tests.simulation.network import Network, Site
from springline.tests.simulation.node import Node
from springline.tests.simulation.plan import DAY, Plan
from springline.tests.simulation.resting import Rest
from springline.tests.simulation.watch import Pair, Violation, Watch

CALM = 300.0
WARM_UP = 60.0
MOST_PEERS = 3

MOST_EVENTS = 200_000.0
"""In a day of a node in ordinary times: many times what there are. More is something that goes round in circles."""

LENGTH = 26.0
"""Days a single device would live in ordinary times; with more devices, and in storms, more happens in a day."""


_SIZES = (2, 2, 2, 2, 2, 2, 3, 3, 4, 5, 8, 12, 20, 50)
_STORMS = (0.3, 1.0, 1.0, 3.0, 10.0)


@dataclass(frozen=True, slots=True)
class Scenario:
    """What a seed stands for.

    :param storm: how much more often something happens than usual. :param only: the troubles there are; empty: all.
    :param rest: see ``resting.py``.
    """

    seed: int
    nodes: int
    days: float
    storm: float
    rest: bool = True
    only: tuple[str, ...] = ()

    @classmethod
    def of(
        cls,
        seed: int,
        nodes: int | None = None,
        days: float | None = None,
        storm: float | None = None,
        *,
        rest: bool = True,
        only: tuple[str, ...] = (),
    ) -> Scenario:
        """Drawn from the seed, unless given. Many nodes live for hours, few for months.

        Two seeds in five have only some of the troubles: what one of them does is then not always undone by another.
        """
        draw = Queue(f"scenario {seed}").random
        size, wind, longer = draw.choice(_SIZES), draw.choice(_STORMS), draw.choice((0.5, 1.0, 1.0, 2.0))
        if seed % 25 == 0:
            size = 50
        some = tuple(trouble.name for trouble in plan.TROUBLES if draw.random() < 0.4) if draw.random() < 0.4 else ()
        size, wind = nodes or size, storm or wind
        return cls(seed, size, longer * LENGTH / wind / size**1.5 if days is None else days, wind, rest, only or some)


class World:
    """One run of a scenario. :param trace: is given a line for whatever happens."""

    def __init__(self, scenario: Scenario, trace: Callable[[str], object] | None = None) -> None:
        self.scenario = scenario
        self._trace = trace
        self.traces = trace is not None
        node_days = scenario.nodes * (1.0 + scenario.days)
        self.queue = Queue(scenario.seed, MOST_EVENTS * node_days * max(1.0, scenario.storm))
        self.fate = random.Random(f"fate {scenario.seed}")  # of its own, so that what happens is the same without rest
        self.begins, self.ends = WARM_UP, scenario.days * DAY
        self.network = Network(self.queue)
        self.table = Table(self.queue.random, lambda: self.queue.now)
        self.watch = Watch(self)
        self.plan = Plan(self)
        self.rest = Rest(self, allowed=scenario.rest)
        self.hashes = itertools.count(1)
        self.nodes = [Node(self, number) for number in range(1, scenario.nodes + 1)]
        self.by_id: dict[UUID, Node] = {node.book.id: node for node in self.nodes}
        self.pairs: dict[frozenset[UUID], Pair] = {}
        self._of: dict[Node, list[Pair]] = {node: [] for node in self.nodes}
        self._settle_down()
        self._pair_up()

    # -- making it ---------------------------------------------------------------------------------------------------

    def _settle_down(self) -> None:
        draw = self.queue.random
        for number in range(max(2, len(self.nodes) // 2 + 1)):
            kinds = {"maps": 0.5, "hairpin": 0.5, "rejects": 0.3, "multicast": 0.85}
            nat = number > 0 and draw.random() < 0.8
            self.network.add_site(nat=nat, **{kind: draw.random() < chance for kind, chance in kinds.items()})
        for node in self.nodes:
            self.network.hosts.append(node.host)
            self.network.join(node.host, draw.choice(self.network.sites))

    def _pair_up(self) -> None:
        draw, nodes = self.queue.random, self.nodes
        couples = {frozenset((node, nodes[index - 1])) for index, node in enumerate(nodes)}
        while len(couples) < min(len(nodes) * MOST_PEERS // 2, len(nodes) * (len(nodes) - 1) // 2):
            couples.add(frozenset(draw.sample(nodes, 2)))
        for one, other in sorted(sorted(node.number for node in couple) for couple in couples):
            pair = Pair(nodes[one - 1], nodes[other - 1])
            self.pairs[frozenset((pair.one.book.id, pair.other.book.id))] = pair
            self.pair(pair.one, pair.other)
            for node in (pair.one, pair.other):
                self._of[node].append(pair)

    # -- running it --------------------------------------------------------------------------------------------------

    def run(self) -> Watch:
        """From beginning to end. :raises Violation: something that must hold does not."""
        try:
            return self._run()
        except Violation:
            raise
        except Exception as error:
            raise Violation("nothing is raised", f"{type(error).__name__}: {error}") from error

    def _run(self) -> Watch:
        for node in self.nodes:
            self.queue.at(self.queue.random.uniform(0.0, WARM_UP / 2), self._start, node)
        plan.schedule(self, self.scenario.storm, self.scenario.only)
        self.queue.run(self.ends)
        self._abate()
        self.queue.run(self.ends + CALM)
        self.watch.settle(self.pairs.values())
        return self.watch

    def _start(self, node: Node) -> None:
        node.start()
        self.disturbed("first start", node)

    def _abate(self) -> None:
        self.rest.rouse_all()
        self.network.holes.clear()
        for site in self.network.sites:
            site.up, site.deaf, site.mute = True, False, False
            site.weather.clear()
        for node in self.nodes:
            node.set_clock(0.0)
            if node.clock.asleep:
                node.clock.wake()
            if node.host.site is None:
                node.move(self.queue.random.choice(self.network.sites))
            if not node.host.on:
                node.power_on()
            elif not node.running:
                node.start()
        self.disturbed_everywhere("the storm is over")

    def pair(self, one: Node, other: Node, *, lost: bool = False) -> None:
        """Two devices are paired, or paired again. :param lost: the other one does not hear the last word of it."""
        key = next(self.hashes).to_bytes(32, "big")
        one.pair(other, key)
        if not lost:
            other.pair(one, key)

    # -- what happens ------------------------------------------------------------------------------------------------

    def disturbed(self, cause: str, node: Node, other: Node | None = None) -> None:
        """Something has happened to a node, or between two."""
        self._something(cause, self._of[node] if other is None else [self.pair_of(node, other.book.id)], node)

    def disturbed_at(self, cause: str, site: Site | None) -> None:
        """Something has happened to a site."""
        nodes = [node for node in self.nodes if node.host.site is site]
        self._something(cause, [pair for node in nodes for pair in self._of[node]], None)

    def disturbed_everywhere(self, cause: str) -> None:
        """Something has happened that may concern everybody."""
        self._something(cause, list(self.pairs.values()), None)

    def _something(self, cause: str, pairs: list[Pair], node: Node | None) -> None:
        if self.traces:
            self.note(node, f"*** {cause}: {', '.join(map(str, pairs))}")
        self.network.changed()
        for each in self.nodes:
            each.look_soon()
        self.watch.disturbed(cause, pairs)

    def pair_of(self, node: Node, peer: UUID) -> Pair:
        """The two."""
        return self.pairs[frozenset((node.book.id, peer))]

    def pairs_of(self, node: Node) -> list[Pair]:
        """All of one node."""
        return self._of[node]

    def note(self, node: Node | None, text: str) -> None:
        """A line for who reads the trace."""
        if self._trace is not None:
            days, seconds = divmod(self.queue.now, DAY)
            self._trace(f"{int(days):4}d {seconds:12.3f}s {node.name if node else '':>4} {text}")


def replay(scenario: Scenario, lines: int = 60) -> tuple[Violation | None, list[str]]:
    """Run it, and keep the latest lines of its trace."""
    kept: deque[str] = deque(maxlen=lines)
    try:
        World(scenario, kept.append).run()
    except Violation as violation:
        return violation, list(kept)
    return None, list(kept)

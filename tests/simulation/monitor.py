"""The simulated NetworkMonitor: the real core on a simulated interface and clocks. After ``actors/network.py``.

The rule: the kernel rings whenever this machine's own addresses change, and for nothing that happens behind its router;
what is news, when to look, and what slept or jumped, is decided by ``transport/network.py``, and whom it concerns is
the actor's own table. Only ticks of the clock that would show nothing are left out: before a clock does anything
:meth:`Monitor.attend` brings the watch to where its latest tick would have left it, and the next one comes as ever.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from springline.actors.network import CONCERNED
from springline.tests.simulation.clock import Timer
from springline.tests.simulation.network import Host
from springline.tests.simulation.process import Process
from springline.transport import network
from springline.transport.network import TICK, Change, Clocks, Place, View, Watch, Way

if TYPE_CHECKING:
    from springline.tests.simulation.node import Node

INTERFACE = "eth0"


def view_of(host: Host) -> View:
    """What a look shows: one interface, its address, and the way out."""
    if host.site is None:
        return View()
    gateway = "192.168.1.1" if host.site.nat else "203.0.0.254"
    return View(frozenset({Place(INTERFACE, host.ip)}), frozenset({INTERFACE}), frozenset({Way(4, INTERFACE, gateway)}))


class Monitor(Process):
    """One node's."""

    def __init__(self, node: Node) -> None:
        super().__init__(node)
        self._watch = Watch()
        self._timer: Timer | None = None
        self._attends = not node.world.rest.allowed
        self._look_after_all()
        self.attend()

    def ring(self) -> None:
        """The kernel says that an address has come or gone."""
        self.loop.call_later(0.0, self._feed_and_arm, network.Rang())

    def attend(self) -> None:
        """Something is about to happen to the clocks."""
        watch, now = self._watch, self.loop.time()
        missed = (now - watch.tick_at) // TICK
        if not self._attends and missed >= 0:
            at = watch.tick_at + missed * TICK
            self._watch = replace(watch, clocks=self._clocks(now - at), tick_at=at + TICK)
        self._attends = True
        self._arm()

    def _clocks(self, ago: float = 0.0) -> Clocks:
        clock = self.node.clock
        return Clocks(clock.monotonic - ago, clock.queue.now - ago, clock.wall - ago)

    def _arm(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        look_at, tick_at = self._watch.look_at, self._watch.tick_at
        due = tick_at if look_at is None or (self._attends and tick_at < look_at) else look_at
        if self._attends or look_at is not None:
            self._timer = self.loop.call_at(due, self._look_after_all)

    def _look_after_all(self) -> None:
        self._timer = None
        clocks = self._clocks()
        if self._attends and self._watch.tick_at <= clocks.now:
            self._attends = not self.node.world.rest.allowed
            self._feed(network.Ticked(clocks.boot), clocks)
        if self._watch.look_at is not None and self._watch.look_at <= clocks.now:
            self._feed(network.Seen(view_of(self.node.host)), clocks)
        self._arm()

    def _feed_and_arm(self, observation: network.Observation) -> None:
        self._feed(observation, self._clocks())
        self._arm()

    def _feed(self, observation: network.Observation, clocks: Clocks) -> None:
        self._watch, changes = network.step(self._watch, observation, clocks.now, clocks.wall)
        for change in changes:
            self._tell(change)

    def _tell(self, change: Change) -> None:
        node = self.node
        if node.world.traces:
            node.note(f"network: {change.what}")
        for concerned in CONCERNED[change.kind]:
            name = node.NAMES[concerned]
            node.tell(
                ("network", name),
                lambda name=name: getattr(node, name),  # type: ignore[misc]
                lambda process: process.network_changed(change),
            )

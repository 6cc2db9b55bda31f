"""Leaves out of a simulation what is known to repeat itself: quiet sessions, and dials that lead nowhere.

The rule: a link rests only while nothing is going to happen to either of its machines, or to any site, and is as if it
had not rested afterwards. A session both sides of which are content goes on as it does: probe, answer, refresh. So its
timers are taken away, and put back moved on by whole rounds. A link that has waited longest between its dials, where no
address leads to the other machine, goes on failing: its next dial fails when the rest is over. Whatever reaches a link
that rests rouses it first. Who watches a clock, a router or a table rests by the same rule, in its own file
(``monitor.py``, ``ports.py``, ``mdns.py``, ``dht.py``). ``--restless`` goes without, and tests compare.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from springline.transport import link
from springline.transport.link import WATCH, Phase
from springline.transport.refresh import Phase as Refresh

if TYPE_CHECKING:
    from springline.tests.simulation.connection import Connection
    from springline.tests.simulation.node import Node
    from springline.tests.simulation.watch import Pair
    from springline.tests.simulation.world import World

WORTH_IT = 60.0
"""Seconds that a rest has at least."""

UP_BEFORE = 10.0, 45.0
"""Seconds before something happens at which a link is up again, at least and at most."""

TIRED = 12
"""Failures after which the pause between dials does not grow any more."""

MOST_LOST = 0.01
"""A way that loses more packets may end a session by itself."""


class Rest:
    """Who rests in one world."""

    def __init__(self, world: World, *, allowed: bool) -> None:
        self._world = world
        self.allowed = allowed
        self._quiet: dict[Connection, Pair] = {}
        self._futile: dict[Connection, int] = {}

    def _until(self, pair: Pair) -> float | None:
        """How long a link may rest from now, or None: it is not worth it."""
        if not self.allowed:
            return None
        early = self._world.queue.random.uniform(*UP_BEFORE)
        until = self._world.plan.next_for(pair) - early
        return until if until - self._world.queue.now > WORTH_IT else None

    def rouse(self, connection: Connection) -> None:
        """Something reaches that link."""
        if connection in self._quiet:
            self._go_on(self._quiet[connection])
        if connection in self._futile:
            self._fail(connection, self._futile[connection])

    def rouse_node(self, node: Node) -> None:
        """Something happens to it that was not planned: nobody who talks to it rests any more."""
        for pair in self._world.pairs_of(node):
            for one, other in ((pair.one, pair.other), (pair.other, pair.one)):
                connection = one.connections.get(other.book.id)
                if connection is not None:
                    self.rouse(connection)

    def rouse_all(self) -> None:
        """Nobody rests any more."""
        for connection in [*self._quiet, *self._futile]:
            self.rouse(connection)

    # -- sessions ----------------------------------------------------------------------------------------------------

    def session(self, connection: Connection) -> None:
        """The link has just been looked at, and is connected: may both sides rest?"""
        if not self.allowed or connection in self._quiet:
            return
        pair = self._world.pair_of(connection.node, connection.device)
        both = self._both(pair)
        if both is None or not all(map(self._is_content, both)) or not self._world.watch.connected(pair):
            return
        if self._world.network.loss(pair.one.host, pair.other.host) > MOST_LOST:
            return
        until = self._until(pair)
        if until is None:
            return
        for one in both:
            self._quiet[one] = pair
            self._stop(one)
        self._world.queue.at(until, self._go_on, pair)

    def _both(self, pair: Pair) -> tuple[Connection, Connection] | None:
        one = pair.one.connections.get(pair.other.book.id)
        other = pair.other.connections.get(pair.one.book.id)
        return None if one is None or other is None else (one, other)

    def _is_content(self, one: Connection) -> bool:
        channel = one.channel
        if channel is None or len(one.driver.sessions) != 1 or one.driver.state.dialling:
            return False
        alive, keys = channel.pulse._liveness, channel.refresher._state
        quiet = alive.ends_at is None and not alive.doubted and alive.spoke_at is None and alive.round_trip is not None
        return quiet and keys.phase in (Refresh.FRESH, Refresh.READY) and not keys.trouble

    def _stop(self, one: Connection) -> None:
        channel = one.channel
        assert channel is not None
        one.driver.disarm()
        channel.refresher.close()
        timer = channel.pulse._timer
        assert timer is not None
        timer.cancel()

    def _go_on(self, pair: Pair) -> None:
        for one in self._both(pair) or ():
            if self._quiet.pop(one, None) is not None and not one.loop.closed:
                self._move_on(one, one.loop.time())

    def _move_on(self, one: Connection, now: float) -> None:
        """As if all that had happened in the meantime had happened."""
        channel = one.channel
        assert channel is not None
        pulse, refresher, driver = channel.pulse, channel.refresher, one.driver
        alive, keys = pulse._liveness, refresher._state
        pulse._liveness = replace(alive, heard_at=alive.heard_at + _rounds(now - alive.heard_at, alive.keepalive))
        moved = _rounds(now - keys.since, keys.limits.age)
        refresher._state = replace(keys, since=keys.since + moved, due=keys.due + moved)
        watched = driver.state.deadline or now
        driver.state = replace(driver.state, deadline=watched + _rounds(now + WATCH - watched, WATCH))
        pulse._watch()
        refresher._arm()
        driver.arm()

    # -- dials -------------------------------------------------------------------------------------------------------

    def instead_of_dialling(self, connection: Connection, attempt: int) -> bool:
        """True if this dial need not be tried, because none of its kind will succeed for long."""
        state = connection.driver.state
        if not self.allowed or state.failures < TIRED or connection.driver.sessions:
            return False
        pair = self._world.pair_of(connection.node, connection.device)
        if self._world.watch.could_meet(pair):
            return False
        until = self._until(pair)
        if until is None:
            return False
        self._futile[connection] = attempt
        self._world.queue.at(until, self._fail, connection, attempt)
        self._world.queue.after(0.0, self._lie_down, connection, attempt)
        return True

    def _lie_down(self, connection: Connection, attempt: int) -> None:
        if self._futile.get(connection) == attempt:
            connection.driver.disarm()

    def _fail(self, connection: Connection, attempt: int) -> None:
        if self._futile.get(connection) != attempt:
            return
        del self._futile[connection]
        if not connection.loop.closed and connection.driver.state.phase in (Phase.CONNECTING, Phase.AUTHENTICATING):
            connection.driver.arm()
            connection.driver.step(link.DialFailed(attempt, "no answer in time"))


def _rounds(seconds: float, period: float) -> float:
    """So many seconds, in whole rounds."""
    return seconds // period * period

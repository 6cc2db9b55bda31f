"""The watch over a simulation: what must hold at every step, and how long it takes to be connected again.

The rule: what is promised is written here and nowhere else. A *step* is looked at as it happens:

* every phase that is not at rest has its deadline armed, and no further away than the phase allows;
* a dial begins only when no other of that device is in flight;
* a newer authenticated session replaces the older one, and an older one never a newer;
* a link that has failed stays so, and holds no session;
* a hint is acted upon at once; a session that was settled is dialled again at once; dials are paced;
* the story of a link is bounded.

In the end all is tidy: no session is left that is not in use, facts have got around, and whoever trusts each other
shares a relationship key.

A *pair* is looked at whenever something happens to it. Two devices can reach each other if both run, trust and want
each other, packets get through both ways well enough, and one of them knows, or can find, an address that leads to the
other. Then they are connected within ``PROMISE`` seconds of the latest thing that happened to them. Connected is what
is true, not what they think: both sides use the two ends of one connection, and packets go both ways on it. So a path
that has died is not connected any more before anybody has noticed.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING
from uuid import UUID

from springline.store.revocation import Revocation
from springline.store.sessions import key_id
from springline.store.trust import BARRED
from springline.transport import link, story
from springline.transport.link import DIAL_DEADLINE, SETTLED, WATCH, LinkState, Phase
from springline.transport.story import Story

if TYPE_CHECKING:
    from springline.tests.simulation.connection import Connection
    from springline.tests.simulation.node import Node
    from springline.tests.simulation.world import World

PROMISE = 60.0
"""Seconds within which two devices that can reach each other are connected."""

SKEW = 10.0
"""Seconds by which a clock may be wrong while it is promised that its device is found."""

RECENT = 120.0
"""Seconds for which what has happened counts as the cause of a loss."""

MOST_DIALS = 1500
"""Dials of one link in an hour: at most one every few seconds, however often something changes."""

_SLACK = 1e-3


class Violation(AssertionError):
    """Something that must hold does not. :param rule: which."""

    def __init__(self, rule: str, text: str) -> None:
        super().__init__(f"{rule}: {text}")
        self.rule = rule


@dataclass(eq=False, slots=True)
class Pair:
    """Two nodes whose devices are paired.

    :param since: when they could have been connected, or None: they are, or can't.
    :param ways: how many of the two knew an address then that led to the other; if none, one had to be found.
    """

    one: Node
    other: Node
    since: float | None = None
    ways: int = 0
    cause: str = "started"
    disturbed_at: float = 0.0
    checks: itertools.count[int] = field(default_factory=lambda: itertools.count(1))
    check: int = 0

    def __str__(self) -> str:
        return f"{self.one.name}–{self.other.name}"


class Watch:
    """Of one world."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.reconnects: dict[tuple[int, str], list[float]] = {}  # seconds, by ways and cause
        self.steps = 0

    # -- each step of a link -----------------------------------------------------------------------------------------

    def stepped(self, connection: Connection, event: link.Event, before: LinkState) -> None:
        """One has been made."""
        self.steps += 1
        after = connection.driver.state
        if before.phase is Phase.FAILED and after.phase is not Phase.FAILED:
            raise self._broken("revoked is never left", connection, f"{event} leads to {after.phase.value}")
        if isinstance(event, link.Established):
            self._check_newest(connection, event, before, after)
        elif isinstance(event, link.Hint) and after.phase is Phase.RECONNECTING:
            raise self._broken("a hint is acted upon", connection, event.reason)
        elif isinstance(event, link.SessionLost) and after.phase is Phase.RECONNECTING and before.session is not None:
            self._check_first_retry(connection, before, after)

    def _check_newest(self, one: Connection, event: link.Established, before: LinkState, after: LinkState) -> None:
        if before.phase in (Phase.FAILED, Phase.DISCONNECTED):
            if after.session is not None or one.driver.sessions:
                raise self._broken("no session that is not wanted", one, f"{event.session} is kept")
            return
        known = before.session
        newer = known is None or _rank(event.session) > _rank(known)
        if after.session != (event.session if newer else known):
            raise self._broken("the newer session is kept", one, f"{known} and {event.session}: kept {after.session}")

    def _check_first_retry(self, one: Connection, before: LinkState, after: LinkState) -> None:
        now = one.loop.time()
        settled = now - before.since >= SETTLED
        wait = (after.deadline or 0.0) - now
        if settled and wait > after.retry.first + _SLACK:
            raise self._broken("a settled session is dialled again at once", one, f"in {wait:.1f} s")

    def at_rest(self, connection: Connection) -> None:
        """It has done all there was to do for now."""
        state, now = connection.driver.state, connection.loop.time()
        if state.phase in (Phase.DISCONNECTED, Phase.FAILED):
            if state.deadline is not None:
                raise self._broken("rest has no deadline", connection, str(state))
            if connection.driver.sessions or state.session is not None:
                raise self._broken("no session that is not wanted", connection, f"{state.phase.value} with a session")
            return
        most = {Phase.CONNECTED: WATCH, Phase.RECONNECTING: state.retry.cap}.get(state.phase, DIAL_DEADLINE)
        armed = connection.driver.armed_for
        if state.deadline is None or armed is None or armed > state.deadline or state.deadline > now + most + _SLACK:
            raise self._broken("every state has a deadline", connection, f"{state}, armed for {armed}, now {now}")
        if (state.phase is Phase.CONNECTED) != (connection.channel is not None):
            raise self._broken("connected means a session", connection, str(state))

    def dials(self, connection: Connection, attempt: int) -> None:
        """It is about to have its device dialled."""
        state = connection.driver.state
        if not state.dialling or state.attempt != attempt:
            raise self._broken("one dial in flight", connection, f"{attempt} was called off, {state.attempt} is wanted")
        hour = int(self.world.queue.now // 3600)
        connection.dials = (hour, connection.dials[1] + 1 if connection.dials[0] == hour else 1)
        if connection.dials[1] > MOST_DIALS:
            raise self._broken("dials are paced", connection, f"{connection.dials[1]} within an hour")

    def in_flight(self, node: Node, device: UUID, attempts: Iterable[int]) -> None:
        """A transport has begun to dial; these are in flight."""
        if len(list(attempts)) != 1:
            raise Violation("one dial in flight", f"{node.name} → {node.name_of(device)}: {attempts}")

    def told(self, node: Node, device: UUID, told: Story) -> None:
        """A link's story goes on."""
        if len(told.entries) > 64 or story.MOST_ENTRIES > 64:
            raise Violation("the story is bounded", f"{node.name} has {len(told.entries)} of {node.name_of(device)}")

    def _broken(self, rule: str, connection: Connection, text: str) -> Violation:
        return Violation(rule, f"{connection.node.name} → {connection.node.name_of(connection.device)}: {text}")

    # -- pairs -------------------------------------------------------------------------------------------------------

    def disturbed(self, cause: str, pairs: Iterable[Pair]) -> None:
        """Something has happened to them."""
        for pair in pairs:
            pair.cause, pair.disturbed_at, pair.since = cause, self.world.queue.now, None
            self._look(pair)

    def changed(self, connection: Connection, change: link.Changed) -> None:
        """A link is another than before."""
        if Phase.CONNECTED in (change.before, change.after):
            pair = self.world.pair_of(connection.node, connection.device)
            if change.before is Phase.CONNECTED and self.world.queue.now - pair.disturbed_at > RECENT:
                pair.cause = "nothing that happened"
            self.world.queue.after(0.0, self._look, pair)  # when all of the step is done

    def look_at_all(self, node: Node) -> None:
        """There may be another way to that node."""
        for pair in self.world.pairs_of(node):
            self.world.queue.after(0.0, self._look, pair)

    def _look(self, pair: Pair) -> None:
        now = self.world.queue.now
        if self.connected(pair):
            if pair.since is not None:
                self.reconnects.setdefault((pair.ways, pair.cause), []).append(now - pair.since)
                pair.since = None
        elif pair.since is None and self.reachable(pair):
            pair.since, pair.check = now, next(pair.checks)
            pair.ways = self._knows(pair.one, pair.other) + self._knows(pair.other, pair.one)
            self.world.queue.after(PROMISE, self._check, pair, pair.check)

    def _check(self, pair: Pair, check: int) -> None:
        if pair.since is None or pair.check != check:
            return
        if not self.reachable(pair):
            pair.since = None
            return
        phases = [self._phase(one, other) for one, other in ((pair.one, pair.other), (pair.other, pair.one))]
        text = f"{pair}, {' and '.join(phases)}, {PROMISE:g} s after: {pair.cause}"
        raise Violation("who can reach each other is connected", text)

    def _phase(self, one: Node, other: Node) -> str:
        connection = one.connections.get(other.book.id)
        if connection is None:
            return "no process"
        state = connection.driver.state
        return f"{state.phase.value} ({state.reason})"

    def connected(self, pair: Pair) -> bool:
        """True if both sides use one connection, and packets go both ways on it."""
        one = pair.one.connections.get(pair.other.book.id)
        other = pair.other.connections.get(pair.one.book.id)
        if one is None or other is None or one.channel is None or other.channel is None:
            return False
        here, there = one.channel.end, other.channel.end
        return here.other is there and here.alive

    def linked(self, pair: Pair) -> bool:
        """True if both run, trust each other, and want the link."""
        return self._wants(pair.one, pair.other) and self._wants(pair.other, pair.one)

    def _wants(self, one: Node, other: Node) -> bool:
        device = one.book.devices.get(other.book.id)
        if not one.running or not one.host.awake or device is None or not device.auto_connect:
            return False
        return self.trusted(one, other)

    def trusted(self, one: Node, other: Node) -> bool:
        """True if the one lets the other in."""
        return one.book.trust(other.book.id, one.clock.wall).value in ("trusted", "verified")

    def reachable(self, pair: Pair) -> bool:
        """True if it is promised that they are connected soon."""
        if not self.linked(pair) or not self.world.network.is_good(pair.one.host, pair.other.host):
            return False
        return self._can_dial(pair.one, pair.other) or self._can_dial(pair.other, pair.one)

    def _knows(self, one: Node, other: Node) -> bool:
        known = one.book.contact(other.book.id)
        return any(self.world.network.leads(one.host, address, other.host) for address in known)

    def _can_dial(self, one: Node, other: Node) -> bool:
        return self._knows(one, other) or (self._can_find(one, other) and self._is_there(one, other))

    def could_meet(self, pair: Pair) -> bool:
        """False if no dial of either side can bring a session, promised or not."""
        here, there, network = pair.one.host, pair.other.host, self.world.network
        if not (self.linked(pair) and network.passes(here, there) and network.passes(there, here)):
            return False
        both = ((pair.one, pair.other), (pair.other, pair.one))
        return any(self._knows(one, other) or self._may_be_there(one, other) for one, other in both)

    def _is_there(self, one: Node, other: Node) -> bool:
        return any(self.world.network.leads(one.host, address, other.host) for address in other.addresses)

    def _may_be_there(self, one: Node, other: Node) -> bool:
        """True also if a port is about to be mapped."""
        site = other.host.site
        return (site is not None and site.nat and site.maps) or self._is_there(one, other)

    def _can_find(self, one: Node, other: Node) -> bool:
        here, there = one.host.site, other.host.site
        if here is None or there is None or max(abs(one.clock.wrong), abs(other.clock.wrong)) > SKEW:
            return False
        online = all(site.up and not site.mute and not site.deaf for site in (here, there))
        return online or (here is there and here.multicast)

    # -- the end -----------------------------------------------------------------------------------------------------

    def settle(self, pairs: Iterable[Pair]) -> None:
        """Nothing has happened for long: everybody agrees."""
        for pair in pairs:
            if self.reachable(pair) and not self.connected(pair):
                raise Violation("both sides agree in the end", f"{pair} are not connected")
            if not self.linked(pair) and self.connected(pair):
                raise Violation("no session that is not wanted", f"{pair} are connected")
            if self.linked(pair):
                self._check_keys(pair)
            if self.connected(pair):
                self._check_facts(pair)
        for node in self.world.nodes:
            for connection in node.connections.values():
                self._check_tidy(connection)

    def _check_facts(self, pair: Pair) -> None:
        for one, other in ((pair.one, pair.other), (pair.other, pair.one)):
            lacks = [fact for fact in one.book.revocations.missing(other.book.id, 64) if not _is_refused(other, fact)]
            if lacks and other.book.id in one.book.untold():
                raise Violation("revocations get around", f"{other.name} lacks what {one.name} knows")

    def _check_keys(self, pair: Pair) -> None:
        if pair.other.book.id in pair.one.book.set_back_of or pair.one.book.id in pair.other.book.set_back_of:
            return  # until the next session's rotation it is the recovery key that they share
        for one, other in ((pair.one, pair.other), (pair.other, pair.one)):
            here, there = one.book.keys(other.book.id), other.book.keys(one.book.id)
            if not any(there.accepted(key_id(here.to_dial(turn))) for turn in (0, 1)):
                raise Violation("who trusts each other shares a key", f"{one.name} has none that {other.name} accepts")

    def _check_tidy(self, connection: Connection) -> None:
        kept = {connection.driver.current} - {None}
        if set(connection.driver.sessions) != kept:
            raise self._broken("no session leaks", connection, f"{list(connection.driver.sessions)}")


def _is_refused(node: Node, fact: Revocation) -> bool:
    """True if it does not believe that author, who is revoked there."""
    barred = {device.info.signing_key for device in node.book.devices.values() if device.trust in BARRED}
    return fact.by in barred or node.book.revocations._is_revoked(fact.by)


def _rank(session: link.SessionRef) -> tuple[int, bool]:
    """Said anew, not asked of ``newer_than``: what holds must not follow from what is tested."""
    return session.epoch, session.by_lower_id

"""The simulated DeviceConnection: the real link driver, tied to a simulated node. After ``actors/connection.py``.

The rule: method by method what the actor does, as far as it matters for the link; so also the questions to the Keystore
take time, during which everything else may happen. Besides, it tells ``watch.py``, which holds the invariants.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from uuid import UUID

from springline.actors.rotating import MOST_STEPS, SETTLED
from springline.errors import Malformed, Misuse, RemoteFault, SpringlineError
from springline.tests.simulation.channel import Channel
from springline.tests.simulation.process import Process
from springline.tests.simulation.transport import Up
from springline.transport import link
from springline.transport.address import Address
from springline.transport.driver import LinkDriver
from springline.transport.link import Phase
from springline.transport.refresh import Answer, Ask, AskFinish, Denied, Failed, RefreshLimits
from springline.transport.story import Entry

if TYPE_CHECKING:
    from springline.tests.simulation.node import Node

KEEPALIVE = 25.0
REFRESH = RefreshLimits()
RETRY = link.Retry()


@dataclass(eq=False, slots=True)
class Held:
    """A session handed over."""

    channel: Channel
    up: Up


class WatchedDriver(LinkDriver[Held]):
    """The real driver; each of its steps is looked at."""

    def __init__(self, connection: Connection) -> None:
        node = connection.node
        draw = node.world.queue.random.random
        super().__init__(connection, RETRY, connection.loop, draw, lambda: node.clock.wall)
        self._connection = connection
        self._depth = 0

    def step(self, event: link.Event) -> None:
        """As ever; one step may cause another before it is through."""
        before = self.state
        self._depth += 1
        super().step(event)
        self._depth -= 1
        self._connection.watch.stepped(self._connection, event, before)
        if self._depth == 0:
            self._connection.watch.at_rest(self._connection)
        if isinstance(event, link.DeadlineDue) and self.state.phase is Phase.CONNECTED:
            world = self._connection.node.world
            world.queue.after(0.0, world.rest.session, self._connection)

    def _due(self) -> None:
        self._depth += 1
        super()._due()
        self._depth -= 1
        self._connection.watch.at_rest(self._connection)

    @property
    def armed_for(self) -> float | None:
        """When the deadline will be delivered, or None: never."""
        timer = self._timer
        return None if timer is None or timer.callback is None else timer.when()  # type: ignore[attr-defined]

    def disarm(self) -> None:
        """See resting.py."""
        if self._timer is not None:
            self._timer.cancel()

    def arm(self) -> None:
        """See resting.py."""
        self._arm()


class Connection(Process):
    """The link to one device. :param device: the peer."""

    def __init__(self, node: Node, device: UUID) -> None:
        super().__init__(node)
        self.device = device
        self.watch = node.world.watch
        self.driver = WatchedDriver(self)
        self.dials = (0, 0)  # the hour, and how many in it
        self.heard: set[tuple[str, float]] = set()  # records it was told of

    def killed(self) -> None:
        """The kernel closes its sockets."""
        for session in self.driver.sessions.values():
            session.channel.end.close()

    def stop(self) -> None:
        """An orderly end."""
        self.driver.close("the node is stopping")
        self.loop.close()

    # -- what the driver does ----------------------------------------------------------------------------------------

    def dial(self, attempt: int) -> None:
        """Dial the device."""
        if self.node.world.rest.instead_of_dialling(self, attempt):
            return

        def knows(addresses: tuple[Address, ...] | SpringlineError) -> None:
            if isinstance(addresses, SpringlineError):
                self.driver.step(link.DialFailed(attempt, str(addresses)))
                return
            if not self.driver.awaits(attempt):
                return
            self.watch.dials(self, attempt)
            ways = self.driver.ways(addresses)
            told = self._tell_transport(lambda transport: transport.dial(self.device, attempt, ways))
            if not told:
                self.driver.step(link.DialFailed(attempt, "the transport is being restarted"))

        self.ask(lambda keystore: keystore.contact(self.device), knows)

    def join_dial(self, attempt: int, addresses: tuple[Address, ...]) -> None:
        """Further addresses."""
        self._tell_transport(lambda transport: transport.also_try(self.device, attempt, addresses))

    def stop_dialling(self, attempt: int) -> None:
        """Not wanted any more."""
        self._tell_transport(lambda transport: transport.stop_dialling(self.device, attempt))

    def _tell_transport(self, message: Any) -> bool:
        return self.node.tell((self, "transport"), lambda: self.node.transport, message)

    def adopted(self, session: Held) -> None:
        """From now on that session carries the link."""
        if session.up.attempt is not None:
            self.node.book.saw_at(self.device, session.up.remote)
        self._introduce(session.channel, None)
        self.loop.call_later(SETTLED, self._rotate, session, None, MOST_STEPS)

    def dropped(self, tag: int, session: Held, reason: str) -> None:
        """It is over."""
        if self.node.world.traces:
            self.node.note(f"session {session.up.epoch} with {self.node.name_of(self.device)} is over: {reason}")

    def changed(self, change: link.Changed) -> None:
        """For observers."""
        if self.node.world.traces:
            after, reason = change.after.value, change.reason
            self.node.note(f"{self.node.name_of(self.device)}: {change.before.value} → {after}: {reason}")
        self.watch.changed(self, change)

    def reported(self, entry: Entry) -> None:
        """Tell the manager."""
        state, device = self.driver.state.phase.value, self.device
        self.node.tell((self, "manager"), lambda: self.node.manager, lambda one: one.status(device, state, entry))

    # -- what it is told ---------------------------------------------------------------------------------------------

    def wanted(self, wanted: bool) -> None:
        """Shall the link be up?"""
        self.node.world.rest.rouse(self)
        self.driver.step(link.Wanted() if wanted else link.Unwanted())

    def revoked(self, reason: str) -> None:
        """Close for good."""
        self.node.world.rest.rouse(self)
        self.driver.step(link.Revoked(reason))

    def found(self, via: str, addresses: tuple[Address, ...], issued_at: float) -> None:
        """The device says where it is."""
        self.node.world.rest.rouse(self)
        self.heard.add((via, issued_at))
        self.driver.found(via, addresses, issued_at)

    def network_changed(self, what: str, gone: frozenset[str]) -> None:
        """This machine's network is not what it was."""
        self.node.world.rest.rouse(self)
        self.driver.network_changed(what, gone)

    def socket_is_up(self, attempt: int) -> None:
        """The dial has a socket."""
        self.driver.step(link.SocketUp(attempt))

    def dial_ended(self, attempt: int, reason: str) -> None:
        """The dial has failed."""
        self.driver.step(link.DialFailed(attempt, reason))

    def session_up(self, up: Up) -> None:
        """The transport hands over a session."""
        self.node.world.rest.rouse(self)
        dialled, tag = up.attempt is not None, self.driver.next_tag()
        channel = Channel(
            up.end, self.loop, up.hash, dialled=dialled, keepalive=KEEPALIVE, user=self, tag=tag, refresh=REFRESH
        )
        by_lower_id = (self.node.book.id < self.device) == dialled
        self.driver.established(tag, Held(channel, up), up.epoch, by_lower_id=by_lower_id, attempt=up.attempt)

    # -- what channels tell ------------------------------------------------------------------------------------------

    def channel_lost(self, tag: int, reason: str) -> None:
        """Its connection closed, broke, or is silent."""
        self.driver.lost(tag, reason)

    def refresh_asks(self, tag: int, question: Ask) -> None:
        """As ``actors/refreshing.consult``."""

        def answered(answer: Answer | SpringlineError) -> None:
            if isinstance(answer, SpringlineError):
                denied = isinstance(answer, (Malformed, RemoteFault, Misuse)) and not isinstance(question, AskFinish)
                answer = Denied(str(answer)) if denied else Failed(str(answer))
            if tag in self.driver.sessions:
                self.driver.sessions[tag].channel.refresh_told(answer)

        self.ask(lambda keystore: keystore.refresh(self.device, question), answered)

    @property
    def channel(self) -> Channel | None:
        """What carries the link now."""
        tag = self.driver.current
        return None if tag is None else self.driver.sessions[tag].channel

    def say(self, body: object, then: Any) -> None:
        """Send a message, if the link is up."""
        channel = self.channel
        if channel is not None:
            self.node.world.rest.rouse(self)
            channel.request(body, then)

    # -- the trust protocol, after protocols/trust/handler.py ----------------------------------------------------------

    def _introduce(self, channel: Channel, before: frozenset[bytes] | None) -> None:
        def knows(ids: Any) -> None:
            if isinstance(ids, tuple) and frozenset(ids) != before and not channel.closed:
                channel.request(("have", ids), lambda facts: told(facts, frozenset(ids)))

        def told(facts: Any, known: frozenset[bytes]) -> None:
            if isinstance(facts, tuple) and facts:
                self.ask(lambda keystore: keystore.take(self.device, facts), lambda _: self._introduce(channel, known))

        self.ask(lambda keystore: keystore.known_facts(), knows)

    def push(self) -> None:
        """Tell the device what it lacks."""

        def found(facts: Any) -> None:
            if isinstance(facts, tuple) and facts:
                self.say(("facts", facts), acknowledged)

        def acknowledged(ids: Any) -> None:
            if isinstance(ids, tuple) and ids:
                self.ask(lambda keystore: keystore.acked(self.device, ids, all_of_them=False), lambda _: self.push())

        self.ask(lambda keystore: keystore.facts_for(self.device), found)

    # -- keys, after actors/rotating.py --------------------------------------------------------------------------------

    def _rotate(self, session: Held, heard: bytes | None, left: int) -> None:
        def said(message: bytes | SpringlineError | None) -> None:
            if isinstance(message, bytes) and left and not session.channel.closed:
                session.channel.request(("keys", message), answered)

        def answered(answer: bytes | None) -> None:
            if answer is not None:
                self._rotate(session, answer, left - 1)

        if not session.channel.closed:
            self.ask(lambda keystore: keystore.rotate(self.device, session.up.hash, heard), said)

    def requested(self, tag: int, request: int, body: Any) -> None:
        """A message came in."""

        def answer(found: Any) -> None:
            if tag in self.driver.sessions:
                self.driver.sessions[tag].channel.answer(request, None if isinstance(found, SpringlineError) else found)

        match body:
            case ("have", ids):
                self.ask(lambda keystore: keystore.acked(self.device, ids, all_of_them=True), lambda _: None)
                self.ask(lambda keystore: keystore.facts_for(self.device), answer)
            case ("facts", facts):
                self.ask(lambda keystore: keystore.take(self.device, facts), answer)
            case ("keys", message) if tag in self.driver.sessions:
                hashed = self.driver.sessions[tag].up.hash
                self.ask(lambda keystore: keystore.rotate(self.device, hashed, message), answer)
            case _:
                answer(body)

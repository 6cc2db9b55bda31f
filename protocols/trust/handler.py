"""The handler of ``trust``: passes revocations on, over every link to a trusted device.

The rule: it knows nothing itself. The Keystore says what there is, who lacks it, and what to believe; here it is put
on its way, and what comes back is reported. When a link comes up, both sides say what they know, so that a device that
was set back to an earlier state is told again. What is new is told to everybody connected at once; whatever got lost
on the way is found by looking, once a minute, who still lacks something.

A device that does not trust us refuses; it is asked again a minute later, in case that changes.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable
from typing import Any
from uuid import UUID

from springline.actors.carrying import DeliverMessage
from springline.actors.keeping import FactsAcked, FactsChanged, FactsFor, KnownFacts, TakeFacts, Untold
from springline.actors.messages import CONNECTIONS, KEYSTORE, ListLinks
from springline.actors.shell import LATER, Sender, receives
from springline.errors import Malformed, Refused, SpringlineError
from springline.protocols.codec import decode_untrusted, encode
from springline.protocols.handler import ProtocolHandler
from springline.protocols.message import Custom
from springline.protocols.trust.wire import BATCH, VERSION, Facts, Have, from_untrusted
from springline.store.devices import TrustLevel
from springline.transport.link import Phase

log = logging.getLogger("springline.trust")

LOOK = 60.0
"""Seconds between two looks at who lacks something."""


MOST_AT_ONCE = 4
"""Things one device may have said to which the Keystore has no answer yet; honest ones have two. Each may be dozens of
signatures to check, and in the meantime the Keystore opens no links."""


class _Look:
    """Time to look."""


class Trust(ProtocolHandler):
    """Tells and takes facts; nobody here asks it anything but ``FactsChanged``."""

    protocol = "trust"

    def begin(self, args: Any) -> None:
        """Begin to look; at once, because a former life may have been ended in the middle."""
        self._unanswered: Counter[UUID] = Counter()
        self._look_around(None, None)

    # -- telling -------------------------------------------------------------------------------------------------------

    def connected(self, device: UUID) -> None:
        """Say what is known here; the answer is what is not."""
        self.ask(KEYSTORE, KnownFacts(), lambda ids: self._introduce(device, ids))

    def _introduce(self, device: UUID, ids: Any, before: frozenset[bytes] | None = None) -> None:
        """Say so again as long as that brings more: each answer is a batch."""
        if isinstance(ids, tuple) and frozenset(ids) != before:
            self._say(device, Have(ids), lambda said: self._told(device, said, frozenset(ids)))

    def _told(self, device: UUID, said: Any, before: frozenset[bytes]) -> None:
        if not isinstance(said, Facts) or not said.facts:
            return

        def taken(_known: Any) -> None:
            self.ask(KEYSTORE, KnownFacts(), lambda ids: self._introduce(device, ids, before))

        self.ask(KEYSTORE, TakeFacts(device, said.facts), taken)

    @receives(_Look)
    def _look_around(self, _message: object, _sender: object) -> None:
        self._spread(None, None)
        self.wake(LOOK, _Look())

    @receives(FactsChanged)
    def _spread(self, _message: object, _sender: object) -> None:
        """Tell everybody who lacks something and is connected."""

        def told(untold: Any) -> None:
            if isinstance(untold, tuple) and untold:
                self.ask(CONNECTIONS, ListLinks(), lambda links: self._push_to(untold, links))

        self.ask(KEYSTORE, Untold(), told)

    def _push_to(self, untold: tuple[UUID, ...], links: Any) -> None:
        if isinstance(links, tuple):
            connected = {link.link.device for link in links if link.link.state == Phase.CONNECTED.value}
            for device in connected.intersection(untold):
                self._push(device)

    def _push(self, device: UUID) -> None:
        def found(facts: Any) -> None:
            if isinstance(facts, tuple) and facts:
                self._say(device, Facts(facts), acknowledged)

        def acknowledged(said: Any) -> None:
            if isinstance(said, Have) and said.ids:
                self.ask(KEYSTORE, FactsAcked(device, said.ids), lambda _done: self._push(device))

        self.ask(KEYSTORE, FactsFor(device, BATCH), found)

    def _say(self, device: UUID, what: Have | Facts, then: Callable[[Any], None]) -> None:
        def answered(answer: Any) -> None:
            if not isinstance(answer, Custom):
                log.info("%s was told who is revoked, and says: %s", device, answer)
                return
            try:
                then(from_untrusted(answer.payload))
            except Malformed as error:
                log.warning("%s answers what makes no sense: %s", device, error)

        self.send_to(device, Custom(self.protocol, VERSION, what.encode()), answered)

    # -- being told ----------------------------------------------------------------------------------------------------

    @receives(DeliverMessage)
    def _deliver(self, message: DeliverMessage, sender: Sender) -> object:
        """The answer takes a question to the Keystore; of a device that is not trusted not even that."""
        if message.trust is not TrustLevel.TRUSTED:
            raise Refused("only trusted devices tell and are told who is revoked")
        said = decode_untrusted(message.payload)
        if not isinstance(said, Custom) or said.version != VERSION:
            raise Malformed("nothing that is said about trust")
        device, heard = message.device, from_untrusted(said.payload)
        if self._unanswered[device] >= MOST_AT_ONCE:
            raise Refused("one thing after the other")
        match heard:
            case Have(ids=ids):
                self.ask(KEYSTORE, FactsAcked(device, ids, all_of_them=True), lambda _done: None)
                self._put(device, FactsFor(device, BATCH), lambda facts: _answer(sender, facts, Facts))
            case Facts(facts=facts):
                self._put(device, TakeFacts(device, facts), lambda ids: _answer(sender, ids, Have))
        return LATER

    def _put(self, device: UUID, question: object, then: Callable[[Any], None]) -> None:
        def answered(answer: Any) -> None:
            self._unanswered[device] -= 1
            then(answer)

        self._unanswered[device] += 1
        self.ask(KEYSTORE, question, answered)


def _answer(sender: Sender, found: Any, form: Callable[[tuple[bytes, ...]], Have | Facts]) -> None:
    if isinstance(found, SpringlineError):
        sender.reply(found)
    else:
        sender.reply(encode(Custom(Trust.protocol, VERSION, form(found).encode())))

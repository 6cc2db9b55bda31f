"""The simulated Keystore: who may have a session, of which epoch; who is trusted. After ``actors/doorkeeper.py``."""

from __future__ import annotations

import itertools
from collections.abc import Iterable
from typing import TYPE_CHECKING
from uuid import UUID

from springline.errors import Refused
from springline.store import revocation
from springline.tests.simulation.process import Process
from springline.tests.simulation.transport import Second
from springline.transport.address import Address
from springline.transport.epochs import Epochs
from springline.transport.noise import FIRST_FRAME, KEY_SIZE, SECOND_FRAME, SessionKeys
from springline.transport.refresh import Answer, Answered, Ask, AskAnswer, AskBegin, AskFinish, Begun, Failed, Finished

if TYPE_CHECKING:
    from springline.tests.simulation.node import Node

REVIEW = 900.0
"""Seconds after which the calendar is looked at (``actors/trustkeeping.py``)."""

_KEYS = bytes(KEY_SIZE)


class Keystore(Process):
    """One node's; what it keeps is in the node's book."""

    def __init__(self, node: Node) -> None:
        super().__init__(node)
        self._book = node.book
        self._epochs = Epochs(node.clock.wall)
        self._handles = itertools.count(1)
        self._open: set[int] = set()
        if any(device.expires_at or device.unseen_limit for device in self._book.devices.values()):
            self._review()

    def _review(self) -> None:
        for peer in self._book.expire(self.node.clock.wall):
            self.node.barred(peer, "trust has expired")
        self.loop.call_later(REVIEW, self._review)

    def _hash(self) -> bytes:
        return next(self.node.world.hashes).to_bytes(32, "big")

    # -- handshakes --------------------------------------------------------------------------------------------------

    def begin(self, device: UUID) -> int:
        """The epoch to say in a first frame. :raises Refused: it is not trusted."""
        self._book.welcome(device, self.node.clock.wall)
        return self._epochs.known(device)

    def finish(self, device: UUID, epoch: int) -> None:
        """The device has answered."""
        self._epochs.assigned(device, epoch)

    def answer(self, device: UUID, epoch: int) -> Second:
        """A device calls. :raises Refused: it may not come in."""
        self._book.welcome(device, self.node.clock.wall)
        return Second(self._epochs.assign(device, epoch), self._hash())

    def refresh(self, device: UUID, question: Ask) -> Answer:
        """What a session's refresh asks. :raises Refused: the device is not trusted."""
        match question:
            case AskBegin():
                epoch, handle = self.begin(device), next(self._handles)
                self._open.add(handle)
                return Begun(handle, epoch.to_bytes(8, "big").ljust(FIRST_FRAME, b"\0"))
            case AskAnswer(frame=frame):
                second = self.answer(device, int.from_bytes(frame[:8], "big"))
                said = second.hash + second.epoch.to_bytes(8, "big")
                return Answered(said.ljust(SECOND_FRAME, b"\0"), SessionKeys(_KEYS, _KEYS, second.hash))
            case AskFinish(handle=handle, frame=frame):
                if handle not in self._open:
                    return Failed("the handshake was forgotten")
                self._open.discard(handle)
                self.finish(device, int.from_bytes(frame[32:40], "big"))
                return Finished(SessionKeys(_KEYS, _KEYS, frame[:32]))

    # -- what is kept ------------------------------------------------------------------------------------------------

    def contact(self, device: UUID) -> tuple[Address, ...]:
        """Its known addresses, last good first. :raises Refused: there is no such device."""
        if device not in self._book.devices:
            raise Refused("there is no such device")
        return self._book.contact(device)

    def known_facts(self) -> tuple[bytes, ...]:
        """Ids."""
        return self._book.revocations.ids()

    def facts_for(self, device: UUID) -> tuple[bytes, ...]:
        """What it does not know."""
        return self._book.facts_for(device, self.node.clock.wall)

    def take(self, device: UUID, facts: tuple[bytes, ...]) -> tuple[bytes, ...]:
        """What it tells; the ids of what of that is known now."""
        before = self._book.revocations.ids()
        for peer in self._book.take(device, facts, self.node.clock.wall):
            self.node.barred(peer, "revoked")
        known = self._book.revocations.ids()
        if known != before:
            self.node.spread()
        told = {revocation.parse(fact).id for fact in facts}
        return tuple(sorted(told.intersection(known)))

    def acked(self, device: UUID, ids: Iterable[bytes], *, all_of_them: bool) -> None:
        """What it knows."""
        self._book.acked(device, ids, self.node.clock.wall, all_of_them=all_of_them)

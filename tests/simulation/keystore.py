"""The simulated Keystore: who may have a session, of which epoch, by which key; who is trusted.

The rule: after ``actors/doorkeeper.py``, with the real rotation of the relationship keys, and the real part in finding
devices; only the Noise handshake is left out, and what both sides would derive from it is a number that both are given.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable
from contextlib import suppress
from typing import TYPE_CHECKING, cast
from uuid import UUID

from springline.actors.doorkeeper import MOST_UNCONFIRMED
from springline.actors.finding import Announcement, FindingKeys, Lookout, SealRecords
from springline.actors.findkeeping import Findkeeper
from springline.actors.rotation import Rotation
from springline.errors import LocalFault, Refused
from springline.store import revocation
from springline.store.sessions import ID_SIZE, key_id
from springline.store.vault import Vault
from springline.tests.simulation.book import moment
from springline.tests.simulation.process import Process
from springline.tests.simulation.transport import First, Second
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
        self._rotation = Rotation(cast(Vault, node.book), lambda _kind, _device, _detail: None)
        self._finding = Findkeeper(cast(Vault, node.book))
        self._handles = itertools.count(1)
        self._open: set[int] = set()
        self._unconfirmed: dict[bytes, First] = {}
        if any(device.expires_at or device.unseen_limit for device in self._book.devices.values()):
            self._review()

    def _review(self) -> None:
        for peer in self._book.expire(self.node.clock.wall):
            self.node.barred(peer, "trust has expired")
        self.loop.call_later(REVIEW, self._review)

    def _hash(self) -> bytes:
        return next(self.node.world.hashes).to_bytes(32, "big")

    # -- handshakes --------------------------------------------------------------------------------------------------

    def begin(self, device: UUID, turn: int | None = None, *, within: bool = False) -> First:
        """A first frame, as ``BeginHandshake``. :raises Refused: it is not trusted."""
        now = moment(self.node.clock.wall)
        self._book.welcome(device, now)
        return self._first(device, self._rotation.to_dial(device, now, turn, within=within))

    def recover(self, device: UUID, turn: int) -> First | None:
        """As ``RecoverHandshake``: None if it is not time for that. :raises Refused: it is not trusted."""
        self._book.welcome(device, moment(self.node.clock.wall))
        psk = self._rotation.recover(device, turn)
        return None if psk is None else self._first(device, psk)

    def _first(self, device: UUID, psk: bytes) -> First:
        return First(self._book.id, device, self._epochs.known(device), key_id(psk), self._rotation.current(device))

    def finish(self, device: UUID, theirs: Second, *, within: bool = False) -> None:
        """The device has answered. :param within: a session; it is a refresh."""
        self._epochs.assigned(device, theirs.epoch)
        self._rotation.proved(device, theirs.current, moment(self.node.clock.wall))
        if not within:
            self._rotation.finished(device, theirs.hash, theirs.hash)

    def answer(self, theirs: First, *, within: bool = False) -> Second:
        """A device calls. :raises Refused: it may not come in, or uses a key that is not shared with it."""
        now, device = moment(self.node.clock.wall), theirs.dialler
        self._book.welcome(device, now)
        self._rotation.accepted(device, theirs.used, now, within=within)
        epoch = self._epochs.assign(device, theirs.epoch)
        second = Second(epoch, self._hash(), self._rotation.current(device))
        if within:
            self._rotation.proved(device, theirs.current, now)
        else:
            self._unconfirmed[second.hash] = theirs
            if len(self._unconfirmed) > MOST_UNCONFIRMED:
                del self._unconfirmed[next(iter(self._unconfirmed))]
        return second

    def confirmed(self, session: bytes) -> None:
        """The caller has that session, so what it said counts."""
        said = self._unconfirmed.pop(session, None)
        if said is not None and said.dialler in self._book.devices:
            with suppress(LocalFault):  # it is not paired any more
                self._rotation.came_by(said.dialler, said.used)
                self._rotation.proved(said.dialler, said.current, moment(self.node.clock.wall))
                self._rotation.finished(said.dialler, session, session)

    def refresh(self, device: UUID, question: Ask) -> Answer:
        """What a session's refresh asks. :raises Refused: the device is not trusted."""
        match question:
            case AskBegin():
                first, handle = self.begin(device, within=True), next(self._handles)
                self._open.add(handle)
                said = first.epoch.to_bytes(8, "big") + first.used + first.current
                return Begun(handle, said.ljust(FIRST_FRAME, b"\0"))
            case AskAnswer(frame=frame):
                epoch, used, current = _unpacked(frame)
                second = self.answer(First(device, self._book.id, epoch, used, current), within=True)
                said = second.epoch.to_bytes(8, "big") + second.current + second.hash
                return Answered(said.ljust(SECOND_FRAME, b"\0"), SessionKeys(_KEYS, _KEYS, second.hash))
            case AskFinish(handle=handle, frame=frame):
                if handle not in self._open:
                    return Failed("the handshake was forgotten")
                self._open.discard(handle)
                epoch, current, _ = _unpacked(frame)
                seen = frame[8 + ID_SIZE : 40 + ID_SIZE]
                self.finish(device, Second(epoch, seen, current), within=True)
                return Finished(SessionKeys(_KEYS, _KEYS, seen))

    def rotate(self, device: UUID, session: bytes, message: bytes | None) -> bytes | None:
        """A step of rotating the key shared with it; None begins. :raises Refused: it is not trusted."""
        now = moment(self.node.clock.wall)
        self._book.welcome(device, now)
        if message is None:
            return self._rotation.begin(device, session)
        answer = self._rotation.step(device, session, message, now)
        self.node.rotates()
        return answer

    def paired(self, device: UUID) -> None:
        """It was paired (again)."""
        self._rotation.forget(device)
        for session in [session for session, said in self._unconfirmed.items() if said.dialler == device]:
            del self._unconfirmed[session]

    # -- finding -----------------------------------------------------------------------------------------------------

    def lookouts(self, asked: FindingKeys) -> tuple[Lookout, ...]:
        """What to look out for."""
        return self._finding.lookouts(asked, moment(self.node.clock.wall))

    def announcements(self, asked: SealRecords) -> tuple[Announcement, ...]:
        """This device's records."""
        return self._finding.announcements(asked, moment(self.node.clock.wall))

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


def _unpacked(frame: bytes) -> tuple[int, bytes, bytes]:
    return int.from_bytes(frame[:8], "big"), frame[8 : 8 + ID_SIZE], frame[8 + ID_SIZE : 8 + 2 * ID_SIZE]

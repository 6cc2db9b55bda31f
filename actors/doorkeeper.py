"""The Keystore's doorkeeper: the static-key part of every handshake, with paired devices and with who has the words.

The rule: who is not paired, or not trusted now, gets nothing; what leaves are the keys of one session. Handshakes under
way are bounded in number, the oldest is forgotten.

Why a replayed first message gets no answer twice: the tags of recent ones are remembered. One older than that gets an
answer but no session, because the transport waits for a message that only the true initiator can make.
"""

from __future__ import annotations

import itertools
from collections import OrderedDict
from dataclasses import dataclass, field
from datetime import datetime
from uuid import UUID

from springline.actors.inviting import BeginPairing, PairingStep, PairingStepped
from springline.actors.messages import Answered, AnswerHandshake, Authenticated, BeginHandshake, Begun, FinishHandshake
from springline.actors.rotation import Rotation
from springline.errors import InternalFault, Malformed, Refused
from springline.store.sessions import key_id
from springline.store.vault import Vault
from springline.transport import hello
from springline.transport.epochs import Epochs
from springline.transport.hello import Hello
from springline.transport.noise import CONNECT, MAC_SIZE, PAIR, Handshake, mac1, mac1_key, unpad_untrusted

MOST_HANDSHAKES = 512
"""Handshakes begun and not finished; beyond that the oldest is forgotten."""

MOST_SEEN = 4096
"""First messages remembered against replay."""


@dataclass(slots=True)
class _Open:
    """A handshake under way: with a device we dial, or (device None) with whoever knows the words."""

    handshake: Handshake = field(repr=False)
    device: UUID | None
    within: bytes = b""


class Doorkeeper:
    """The handshakes of one store.

    :param rotation: knows the relationship keys. :param began_at: wall-clock seconds at which this life began.
    """

    def __init__(self, vault: Vault, rotation: Rotation, began_at: float) -> None:
        self._vault = vault
        self._rotation = rotation
        self._handles = itertools.count(1)
        self._open: OrderedDict[int, _Open] = OrderedDict()
        self._seen: OrderedDict[bytes, None] = OrderedDict()
        self._epochs = Epochs(began_at)

    # -- with a paired device ----------------------------------------------------------------------------------------

    def begin(self, message: BeginHandshake, now: datetime) -> Begun:
        """Noise message 1 to a device we dial. :raises Refused: it is not trusted."""
        device = self._vault.welcome(message.device, now)
        psk = self._rotation.to_dial(message.device, now)
        static = self._vault.identity.static_private
        handshake = Handshake.initiate(CONNECT, static, device.info.static_key, psk, within=message.within)
        current, epoch = self._rotation.current(message.device), self._epochs.known(message.device)
        first = handshake.write(Hello(epoch=epoch, used=key_id(psk), current=current).encode())
        frame = mac1(mac1_key(device.info.static_key), first) + first
        return Begun(self._keep(_Open(handshake, message.device, message.within)), frame)

    def finish(self, message: FinishHandshake, now: datetime) -> Authenticated:
        """Noise message 2 from the device we dialled. :raises Malformed: it is none. :raises Refused: too old."""
        under_way = self.take(message.handle)
        device = under_way.device
        if device is None:
            raise InternalFault("a pairing handshake cannot end as a connection")
        theirs = hello.decode_untrusted(under_way.handshake.read(message.frame))
        if Hello().agree(theirs) is None:
            raise Refused(f"the device speaks version {theirs.lowest} only", "update the older of the two")
        self._epochs.assigned(device, theirs.epoch)
        self._rotation.proved(device, theirs.current, now=now)
        return self._authenticated(device, under_way, theirs.epoch)

    def answer(self, message: AnswerHandshake, now: datetime) -> Answered:
        """Noise message 1 from a device that dials us: who is it, and what do we answer?

        :raises Malformed: it is none. :raises Refused: it is seen again, or of nobody who may come in.
        """
        first = self._new(message.frame)
        handshake = Handshake.respond(CONNECT, self._vault.identity.static_private, within=message.within)
        theirs = hello.decode_untrusted(handshake.read(first))
        found = self._vault.by_static_key(handshake.remote_static)
        if found is None:
            raise Refused("the caller is not paired")
        device = self._vault.welcome(found.info.device_id, now).info.device_id
        version = Hello().agree(theirs)
        if version is None:
            raise Refused(f"the caller speaks versions {theirs.lowest} to {theirs.highest} only")
        epoch = self._epochs.assign(device, theirs.epoch)
        handshake.set_psk(self._rotation.accept(device, theirs.used, now))
        self._rotation.proved(device, theirs.used, theirs.current, now=now)
        frame = handshake.write(Hello(version, version, epoch, current=self._rotation.current(device)).encode())
        return Answered(frame, self._authenticated(device, _Open(handshake, device, message.within), epoch))

    def _new(self, frame: bytes) -> bytes:
        tag, first = frame[:MAC_SIZE], frame[MAC_SIZE:]
        if tag in self._seen:
            raise Refused("this first message has been seen before")
        self._seen[tag] = None
        if len(self._seen) > MOST_SEEN:
            self._seen.popitem(last=False)
        return first

    def _authenticated(self, device: UUID, done: _Open, epoch: int) -> Authenticated:
        keys = done.handshake.keys()
        if not done.within:
            self._rotation.finished(device, keys.hash, done.handshake.secret)
        return Authenticated(device, keys, epoch)

    # -- with whoever has the words ----------------------------------------------------------------------------------

    def begin_pairing(self, message: BeginPairing) -> int:
        """A handshake for the Pairing actor; its handle."""
        make = Handshake.initiate if message.initiator else Handshake.respond
        return self._keep(_Open(make(PAIR, self._vault.identity.static_private, psk=message.psk), None))

    def pairing_step(self, message: PairingStep) -> PairingStepped:
        """One message in, one message out, until both are through. :raises Malformed: it is over."""
        under_way = self._open.get(message.handle)
        if under_way is None or under_way.device is not None:
            raise Refused("the pairing was forgotten", "start it again with new words")
        handshake = under_way.handshake
        said = b""
        try:
            if message.message is not None:
                said = unpad_untrusted(handshake.read(message.message))
            reply = None if handshake.finished else handshake.write(handshake.padding(message.content))
        except Malformed:
            del self._open[message.handle]
            raise
        if not handshake.finished:
            return PairingStepped(reply, content=said)
        return PairingStepped(reply, handshake.keys(), handshake.remote_static, said)

    # -- both --------------------------------------------------------------------------------------------------------

    def _keep(self, under_way: _Open) -> int:
        handle = next(self._handles)
        self._open[handle] = under_way
        if len(self._open) > MOST_HANDSHAKES:
            self._open.popitem(last=False)
        return handle

    def take(self, handle: int) -> _Open:
        """A handshake, which is used up by this. :raises Refused: it was forgotten."""
        under_way = self._open.pop(handle, None)
        if under_way is None:
            raise Refused("the handshake was forgotten", "try again")
        return under_way

"""The Keystore's doorkeeper: the static-key part of every handshake, with paired devices and with who has the words.

The rule: who is not paired, or not trusted now, gets nothing; what leaves are the keys of one session. Handshakes under
way are bounded in number, the oldest is forgotten.

Why a replayed first message gets no answer twice: the tags of recent ones are remembered; only of those that a paired
device has made, so that nobody else can crowd them out. One older than that gets an answer but no session, because the
transport waits for a message that only the true initiator can make.

For the same reason nothing a first message says is kept before that message has come: whoever has this device's static
key could make one in any other's name (Noise revision 34 §7.7, "key-compromise impersonation").
"""

from __future__ import annotations

import itertools
import logging
from collections import OrderedDict
from dataclasses import dataclass, field
from datetime import datetime
from typing import TypeVar
from uuid import UUID

from springline.actors.inviting import BeginPairing, PairingStep, PairingStepped
from springline.actors.messages import (
    Answered,
    AnswerHandshake,
    Authenticated,
    BeginHandshake,
    Begun,
    FinishHandshake,
    RecoverHandshake,
)
from springline.actors.rotation import Rotation
from springline.errors import InternalFault, LocalFault, Malformed, Refused
from springline.store.identity import DeviceInfo
from springline.store.sessions import key_id
from springline.store.vault import Vault
from springline.transport import hello
from springline.transport.epochs import Epochs
from springline.transport.hello import Hello
from springline.transport.noise import CONNECT, MAC_SIZE, PAIR, Handshake, mac1, mac1_key, unpad_untrusted

log = logging.getLogger("springline.keystore")

Key = TypeVar("Key")
Value = TypeVar("Value")

MOST_HANDSHAKES = 512
"""Handshakes begun and not finished; beyond that the oldest is forgotten."""

MOST_SEEN = 4096
"""First messages remembered against replay."""

MOST_UNCONFIRMED = 512
"""Handshakes answered and not confirmed; beyond that what the oldest said is forgotten, and learned the next time."""


@dataclass(slots=True)
class _Open:
    """A handshake under way: with a device we dial, or (device None) with whoever knows the words."""

    handshake: Handshake = field(repr=False)
    device: UUID | None
    within: bytes = b""
    used: bytes = b""


@dataclass(frozen=True, slots=True)
class _Said:
    """What a caller has said in its first message, and what a new relationship key would come from."""

    device: UUID
    used: bytes
    current: bytes
    secret: bytes = field(repr=False)


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
        self._unconfirmed: OrderedDict[bytes, _Said] = OrderedDict()
        self._epochs = Epochs(began_at)

    # -- with a paired device ----------------------------------------------------------------------------------------

    def begin(self, message: BeginHandshake, now: datetime) -> Begun:
        """Noise message 1 to a device we dial. :raises Refused: it is not trusted."""
        device = self._vault.welcome(message.device, now)
        psk = self._rotation.to_dial(message.device, now, message.turn, within=bool(message.within))
        return self._begin(device.info, psk, message.within)

    def recover(self, message: RecoverHandshake, now: datetime) -> Begun | None:
        """The same with the recovery key; None if it is not time for that. :raises Refused: it is not trusted."""
        device = self._vault.welcome(message.device, now)
        psk = self._rotation.recover(message.device, message.turn)
        return None if psk is None else self._begin(device.info, psk)

    def _begin(self, peer: DeviceInfo, psk: bytes, within: bytes = b"") -> Begun:
        device, static = peer.device_id, self._vault.identity.static_private
        handshake = Handshake.initiate(CONNECT, static, peer.static_key, psk, within=within)
        current, epoch = self._rotation.current(device), self._epochs.known(device)
        first = handshake.write(Hello(epoch=epoch, used=key_id(psk), current=current).encode())
        frame = mac1(mac1_key(peer.static_key), first) + first
        return Begun(self._keep(_Open(handshake, device, within, key_id(psk))), frame)

    def finish(self, message: FinishHandshake, now: datetime) -> Authenticated:
        """Noise message 2 from the device we dialled. :raises Malformed: it is none. :raises Refused: too old."""
        under_way = self.take(message.handle)
        device = under_way.device
        if device is None:
            raise InternalFault("a pairing handshake cannot end as a connection")
        self._vault.welcome(device, now)  # which it may not be any more
        theirs = hello.decode_untrusted(under_way.handshake.read(message.frame))
        if Hello().agree(theirs) is None:
            raise Refused(f"the device speaks version {theirs.lowest} only", "update the older of the two")
        self._epochs.assigned(device, theirs.epoch)
        self._rotation.proved(device, theirs.current, now)
        self._rotation.came_by(device, under_way.used)
        keys = under_way.handshake.keys()
        if not under_way.within:
            self._rotation.finished(device, keys.hash, under_way.handshake.secret)
        return Authenticated(device, keys, theirs.epoch)

    def answer(self, message: AnswerHandshake, now: datetime) -> Answered:
        """Noise message 1 from a device that dials us: who is it, and what do we answer?

        :raises Malformed: it is none. :raises Refused: it is seen again, or of nobody who may come in.
        """
        tag, first = message.frame[:MAC_SIZE], message.frame[MAC_SIZE:]
        if tag in self._seen:
            raise Refused("this first message has been seen before")
        handshake = Handshake.respond(CONNECT, self._vault.identity.static_private, within=message.within)
        theirs = hello.decode_untrusted(handshake.read(first))
        found = self._vault.by_static_key(handshake.remote_static)
        if found is None:
            raise Refused("the caller is not paired")
        _put(self._seen, tag, None, MOST_SEEN)
        device = self._vault.welcome(found.info.device_id, now).info.device_id
        version = Hello().agree(theirs)
        if version is None:
            raise Refused(f"the caller speaks versions {theirs.lowest} to {theirs.highest} only")
        handshake.set_psk(self._rotation.accepted(device, theirs.used, now, within=bool(message.within)))
        epoch = self._epochs.assign(device, theirs.epoch)
        frame = handshake.write(Hello(version, version, epoch, current=self._rotation.current(device)).encode())
        keys = handshake.keys()
        said = _Said(device, theirs.used, theirs.current, handshake.secret)
        if message.within:  # it came in a session with that device
            self._rotation.proved(device, said.current, now)
        else:
            _put(self._unconfirmed, keys.hash, said, MOST_UNCONFIRMED)
        return Answered(frame, Authenticated(device, keys, epoch))

    def confirmed(self, session: bytes, now: datetime) -> None:
        """The caller has shown that it has the keys of that session, so what it said counts."""
        said = self._unconfirmed.pop(session, None)
        if said is None:
            return
        try:
            self._rotation.came_by(said.device, said.used)
            self._rotation.proved(said.device, said.current, now)
        except LocalFault as error:  # it is not paired any more
            log.info("what a caller has said of its keys is not kept: %s", error)
            return
        self._rotation.finished(said.device, session, said.secret)

    def forget(self, device: UUID) -> None:
        """It was paired anew: nothing of a handshake of before may count any more."""
        self._rotation.forget(device)
        for handle in [handle for handle, one in self._open.items() if one.device == device]:
            del self._open[handle]
        for session in [session for session, said in self._unconfirmed.items() if said.device == device]:
            del self._unconfirmed[session]

    # -- with whoever has the words ----------------------------------------------------------------------------------

    def begin_pairing(self, message: BeginPairing) -> int:
        """A handshake for the Pairing actor; its handle. :raises LocalFault: what comes of it could not be stored.

        The inviter stores first, and a joiner that then can't would be taken for paired. So it is seen before anything
        is said, and the words stay good.
        """
        self._vault.rehearse_pairing()
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
        _put(self._open, handle, under_way, MOST_HANDSHAKES)
        return handle

    def take(self, handle: int) -> _Open:
        """A handshake, which is used up by this. :raises Refused: it was forgotten."""
        under_way = self._open.pop(handle, None)
        if under_way is None:
            raise Refused("the handshake was forgotten", "try again")
        return under_way


def _put(known: OrderedDict[Key, Value], key: Key, value: Value, most: int) -> None:
    """Add one; beyond ``most`` the oldest goes."""
    known[key] = value
    if len(known) > most:
        known.popitem(last=False)

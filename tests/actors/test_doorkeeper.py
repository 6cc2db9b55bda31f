"""The doorkeeper between two real stores: what a caller says counts once it has shown that it has the keys."""

from __future__ import annotations

import errno
import os
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from uuid import UUID

import pytest
from nacl.bindings import crypto_scalarmult

from springline.actors.doorkeeper import MOST_SEEN, Doorkeeper
from springline.actors.messages import (
    AnswerHandshake,
    Authenticated,
    BeginHandshake,
    Begun,
    FinishHandshake,
    RecoverHandshake,
)
from springline.actors.rotation import REFUSALS, Rotation
from springline.errors import KeyUnknown, Malformed, Refused
from springline.store import atomic, opening
from springline.store.devices import TrustLevel
from springline.store.envelope import Strength
from springline.store.identity import DeviceInfo
from springline.store.layout import Layout
from springline.store.sessions import EncryptedSessionKeys, key_id
from springline.store.vault import Vault
from springline.tests.store.cast import NOW, key
from springline.transport.hello import Hello
from springline.transport.noise import CONNECT, FIRST_FRAME, MAC_SIZE, Handshake, mac1, mac1_key


class Side:
    """A store and its doorkeeper."""

    def __init__(self, folder: Path, name: str) -> None:
        self.vault: Vault = opening.create(Layout(folder / name), b"", name, Strength.NONE, NOW)
        self.notes: list[str] = []
        self.begin_again()

    def begin_again(self) -> None:
        """Another life of the Keystore."""
        self.rotation = Rotation(self.vault, lambda kind, *_: self.notes.append(kind))
        self.door = Doorkeeper(self.vault, self.rotation, 0.0)

    @property
    def id(self) -> UUID:
        return self.vault.identity.device_id

    @property
    def info(self) -> DeviceInfo:
        return self.vault.identity.info(self.vault.config.name)

    def change(self, peer: UUID, **what: object) -> None:
        """Other keys than those of the pairing."""
        keys = replace(self.vault.keys(peer), **what)  # type: ignore[arg-type]
        self.vault.change_keys(peer, keys)


@pytest.fixture
def sides(tmp_path: Path) -> tuple[Side, Side]:
    """The follower, and the leader, paired."""
    follower, leader = sorted((Side(tmp_path, "one"), Side(tmp_path, "two")), key=lambda side: side.id, reverse=True)
    for side, other in ((follower, leader), (leader, follower)):
        side.vault.pair(other.info, key(1), (), NOW)
    return follower, leader


def first(dialler: Side, other: Side) -> Begun:
    return dialler.door.begin(BeginHandshake(other.id), NOW)


def test_what_a_first_message_says_counts_once_it_is_confirmed(sides: tuple[Side, Side]) -> None:
    follower, leader = sides
    follower.change(leader.id, pending=(key(2),))
    leader.change(follower.id, relationship_key=key(2), previous=key(1))
    before = follower.vault.keys(leader.id)
    begun = first(leader, follower)
    answered = follower.door.answer(AnswerHandshake(begun.frame), NOW)
    assert follower.vault.keys(leader.id) == before
    assert not follower.rotation._candidates
    session = leader.door.finish(FinishHandshake(begun.handle, answered.frame), NOW)
    follower.door.confirmed(session.keys.hash, NOW)
    assert follower.vault.keys(leader.id) == EncryptedSessionKeys(key(2), NOW, recovery=before.recovery)
    assert follower.rotation._candidates[leader.id] == leader.rotation._candidates[follower.id]
    follower.door.confirmed(session.keys.hash, NOW)
    follower.door.confirmed(bytes(32), NOW)


def test_who_has_stolen_a_devices_static_key_teaches_it_nothing_in_anothers_name(sides: tuple[Side, Side]) -> None:
    """Its static key is all it takes to make a first message to it from whomever it is paired with."""
    follower, leader = sides
    follower.change(leader.id, pending=(key(2),))
    before, stolen = follower.vault.keys(leader.id), follower.vault.identity.static_private
    forged = _forged(stolen, leader.info, follower.info, Hello(used=key_id(key(1)), current=key_id(key(2))))
    follower.door.answer(AnswerHandshake(forged), NOW)
    assert follower.vault.keys(leader.id) == before
    recovery = _forged(stolen, leader.info, follower.info, Hello(used=key_id(before.recovery)))
    follower.door.answer(AnswerHandshake(recovery), NOW)
    assert follower.notes == []


def _forged(stolen: bytes, caller: DeviceInfo, callee: DeviceInfo, said: Hello) -> bytes:
    """A first message of the caller's, made without its private key: the callee's gives the same Diffie-Hellman."""
    handshake = Handshake.initiate(CONNECT, stolen, callee.static_key, bytes(32))
    own = handshake._state.s
    own.public_bytes = caller.static_key
    plain = handshake._noise.noise_protocol.dh_fn.dh

    def dh(private: object, public: object) -> bytes:
        shared = crypto_scalarmult(stolen, caller.static_key) if private is own.private else plain(private, public)
        return bytes(shared)

    handshake._noise.noise_protocol.dh_fn.dh = dh
    return _with_mac(callee, handshake.write(said.encode()))


def _with_mac(callee: DeviceInfo, message: bytes) -> bytes:
    return mac1(mac1_key(callee.static_key), message) + message


def test_strangers_do_not_crowd_out_what_is_remembered_against_replay(sides: tuple[Side, Side]) -> None:
    """Whoever knows this device's public key can make first frames with a mac that fits."""
    follower, leader = sides
    begun = first(leader, follower)
    follower.door.answer(AnswerHandshake(begun.frame), NOW)
    for _ in range(MOST_SEEN + 1):
        noise = os.urandom(FIRST_FRAME - MAC_SIZE)
        with pytest.raises(Malformed):
            follower.door.answer(AnswerHandshake(_with_mac(follower.info, noise)), NOW)
    with pytest.raises(Refused, match="seen before"):
        follower.door.answer(AnswerHandshake(begun.frame), NOW)


def test_a_caller_without_a_key_moves_no_epoch(sides: tuple[Side, Side]) -> None:
    follower, leader = sides
    static = leader.vault.identity.static_private
    handshake = Handshake.initiate(CONNECT, static, follower.info.static_key, bytes(32))
    said = Hello(epoch=2**62, used=key_id(key(7)))
    with pytest.raises(KeyUnknown):
        follower.door.answer(AnswerHandshake(_with_mac(follower.info, handshake.write(said.encode()))), NOW)
    assert shaken(leader, follower).epoch == 1


def shaken(dialler: Side, other: Side) -> Authenticated:
    """A handshake in which all goes well."""
    begun = first(dialler, other)
    answered = other.door.answer(AnswerHandshake(begun.frame), NOW)
    session = dialler.door.finish(FinishHandshake(begun.handle, answered.frame), NOW)
    other.door.confirmed(session.keys.hash, NOW)
    return session


def test_nothing_of_a_handshake_counts_that_began_before_a_renewed_pairing(sides: tuple[Side, Side]) -> None:
    follower, leader = sides
    answered = follower.door.answer(AnswerHandshake(first(leader, follower).frame), NOW)
    begun = first(follower, leader)
    follower.door.forget(leader.id)
    follower.door.confirmed(answered.session.keys.hash, NOW)
    assert not follower.rotation._candidates
    reply = leader.door.answer(AnswerHandshake(begun.frame), NOW)
    with pytest.raises(Refused, match="forgotten"):
        follower.door.finish(FinishHandshake(begun.handle, reply.frame), NOW)


def test_whose_trust_ends_between_the_messages_gets_no_session(sides: tuple[Side, Side]) -> None:
    follower, leader = sides
    begun = first(leader, follower)
    answered = follower.door.answer(AnswerHandshake(begun.frame), NOW)
    leader.vault.set_trust(follower.id, TrustLevel.EXPIRED, NOW + timedelta(seconds=1))
    with pytest.raises(Refused, match="expired"):
        leader.door.finish(FinishHandshake(begun.handle, answered.frame), NOW + timedelta(seconds=1))


def test_who_was_set_back_and_can_not_dial_is_reached_by_the_recovery_key(sides: tuple[Side, Side]) -> None:
    """An import on a device that others dial: what they have is newer than anything it knows."""
    for restored, other in (sides, sides[::-1]):
        restored.change(other.id, stale=True)
        other.change(restored.id, relationship_key=key(9))
        for dial in range(1, REFUSALS):
            with pytest.raises(KeyUnknown):
                restored.door.answer(AnswerHandshake(first(other, restored).frame), NOW)
            assert other.door.recover(RecoverHandshake(restored.id, dial), NOW) is None
        begun = other.door.recover(RecoverHandshake(restored.id, REFUSALS), NOW)
        assert begun is not None
        answered = restored.door.answer(AnswerHandshake(begun.frame), NOW)
        other.door.finish(FinishHandshake(begun.handle, answered.frame), NOW)
        restored.door.confirmed(answered.session.keys.hash, NOW)
        assert restored.notes.pop() == other.notes.pop() == "recovery key used"
        assert key_id(key(9)) == key_id(other.rotation.to_dial(restored.id, NOW))  # it was enough
        for side in sides:
            side.begin_again()
            side.change((other if side is restored else restored).id, relationship_key=key(1), stale=False)


def test_what_a_disk_refuses_to_keep_costs_no_session(
    sides: tuple[Side, Side], monkeypatch: pytest.MonkeyPatch
) -> None:
    follower, leader = sides
    follower.change(leader.id, pending=(key(2),))
    leader.change(follower.id, relationship_key=key(2), previous=key(1))

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr(atomic, "calls", atomic.Calls(write=full))
        shaken(leader, follower)
    assert follower.vault.keys(leader.id).relationship_key == key(1)
    shaken(leader, follower)
    assert follower.vault.keys(leader.id).relationship_key == key(2)

"""Rotating relationship keys: whatever is lost, late or killed, each side can dial the other, and they settle.

The explorer walks through every interleaving of a bounded world: two Keystores, handshakes begun by either side and cut
short anywhere, messages that are delivered, lost, or come late from a session that has ended, restarts of a Keystore,
and a renewed pairing of which only half got through.
"""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import timedelta
from types import SimpleNamespace
from typing import Any
from uuid import UUID

import pytest

from springline.actors import rotation as rotation_module
from springline.actors.rotation import Rotation, Step
from springline.errors import Malformed, Refused
from springline.store.sessions import EncryptedSessionKeys, key_id
from springline.tests.store.cast import NOW, key

LEADER, FOLLOWER = UUID(int=1), UUID(int=2)
SIDES = (LEADER, FOLLOWER)


def other(side: UUID) -> UUID:
    return FOLLOWER if side == LEADER else LEADER


@dataclass(frozen=True)
class World:
    """Everything that matters: what is stored, what is in memory, what is under way."""

    stored: tuple[EncryptedSessionKeys, EncryptedSessionKeys]
    candidates: tuple[tuple[tuple[bytes, bytes], ...], ...] = ((), ())
    flying: tuple[tuple[bytes, UUID, bytes], ...] = ()  # session, to whom, message
    handshakes: int = 0
    restarts: int = 0
    renewals: int = 0

    def keystore(self, side: UUID) -> tuple[Rotation, SimpleNamespace]:
        """The real thing, over a store in memory."""
        index = SIDES.index(side)
        vault: Any = SimpleNamespace(identity=SimpleNamespace(device_id=side), content=self.stored[index])
        vault.keys = lambda _peer: vault.content
        vault.change_keys = lambda _peer, keys: setattr(vault, "content", keys)
        made = Rotation(vault, lambda *_: None)
        for session, candidate in self.candidates[index]:
            made._candidates.setdefault(other(side), OrderedDict())[session] = candidate
        return made, vault

    def after(self, side: UUID, made: Rotation, vault: SimpleNamespace) -> World:
        index = SIDES.index(side)
        stored, known = list(self.stored), list(self.candidates)
        stored[index] = vault.content
        known[index] = tuple(made._candidates.get(other(side), {}).items())
        return replace(self, stored=(stored[0], stored[1]), candidates=tuple(known))

    def can_dial(self, side: UUID, turns: tuple[int, ...] = (0, 1)) -> bool:
        mine, theirs = self.stored[SIDES.index(side)], self.stored[SIDES.index(other(side))]
        return any(theirs.accepted(key_id(mine.to_dial(turn))) for turn in turns)


def handshake(world: World, dialler: UUID, turn: int, through: bool) -> World | None:
    """The dialler's key is accepted, or there is no session; ``through``: the answer reaches the dialler."""
    answerer = other(dialler)
    mine, mine_vault = world.keystore(dialler)
    theirs, their_vault = world.keystore(answerer)
    psk = mine_vault.content.to_dial(turn)
    said = mine_vault.content.current
    try:
        theirs.accept(dialler, key_id(psk), NOW)
    except Refused:
        return None
    secret = hashlib.blake2b(b"%d" % world.handshakes, key=psk, digest_size=32).digest()
    session = b"session %d" % world.handshakes
    theirs.proved(dialler, key_id(psk), said, now=NOW)
    answer = their_vault.content.current
    theirs.finished(dialler, session, secret)
    world = replace(world.after(answerer, theirs, their_vault), handshakes=world.handshakes + 1)
    if not through:
        return world
    mine, mine_vault = world.keystore(dialler)
    mine.proved(answerer, answer, now=NOW)
    mine.finished(answerer, session, secret)
    world = world.after(dialler, mine, mine_vault)
    first = world.keystore(LEADER)[0].begin(FOLLOWER, session)
    return world if first is None else replace(world, flying=(*world.flying, (session, FOLLOWER, first)))


def deliver(world: World, index: int) -> World:
    """That message arrives; its answer sets out."""
    session, to, message = world.flying[index]
    rest = world.flying[:index] + world.flying[index + 1 :]
    made, vault = world.keystore(to)
    answer = made.step(other(to), session, message, NOW)
    world = replace(world.after(to, made, vault), flying=rest)
    return world if answer is None else replace(world, flying=(*world.flying, (session, other(to), answer)))


def renew(world: World, who: tuple[UUID, ...]) -> World:
    """Paired anew; only ``who`` has stored it."""
    stored = tuple(
        keys.renew(key(200 + world.renewals), NOW) if side in who else keys
        for side, keys in zip(SIDES, world.stored, strict=True)
    )
    known = tuple(() if side in who else kept for side, kept in zip(SIDES, world.candidates, strict=True))
    return replace(world, stored=(stored[0], stored[1]), candidates=known, renewals=world.renewals + 1)


def restart(world: World, side: UUID) -> World:
    known = list(world.candidates)
    known[SIDES.index(side)] = ()
    return replace(world, candidates=tuple(known), restarts=world.restarts + 1)


def neighbours(world: World, handshakes: int, renewals: int) -> Iterator[World]:
    if world.handshakes < handshakes:
        for dialler in SIDES:
            for turn in (0, 1) if world.stored[SIDES.index(dialler)].previous else (0,):
                for through in (True, False):
                    found = handshake(world, dialler, turn, through)
                    if found is not None:
                        yield found
    for index in range(len(world.flying)):
        yield deliver(world, index)
        yield replace(world, flying=world.flying[:index] + world.flying[index + 1 :])
    if world.restarts < 1:
        yield from (restart(world, side) for side in SIDES)
    if world.renewals < renewals:
        yield from (renew(world, who) for who in ((LEADER,), (FOLLOWER,), SIDES))


def settled(world: World) -> World:
    """Two sessions in which all goes well."""
    for _ in range(2):
        tried = [handshake(world, dialler, turn, True) for dialler in SIDES for turn in (0, 1)]
        world = next(found for found in tried if found is not None)
        while world.flying:
            world = deliver(world, 0)
    return world


def explore(handshakes: int, renewals: int = 0) -> int:
    """Visit every state; how many there are. Raises AssertionError for one that is wrong."""
    first = EncryptedSessionKeys(key(1), NOW)
    start = World((first, first))
    seen, todo = {start}, [start]
    while todo:
        world = todo.pop()
        for side in SIDES:
            assert world.can_dial(side, (0,) if not renewals else (0, 1)), f"locked out: {world}"
        if not world.flying:  # with messages under way: the state in which they got lost is visited too
            end = settled(world)
            assert end.stored[0].relationship_key == end.stored[1].relationship_key, f"not settled: {end}"
            for keys in end.stored:
                assert (keys.previous, keys.pending) == (b"", ()), f"old keys are left: {end}"
        for found in neighbours(world, handshakes, renewals):
            if found not in seen:
                seen.add(found)
                todo.append(found)
    return len(seen)


def test_no_interleaving_locks_anybody_out() -> None:
    assert explore(handshakes=3) > 1000


def test_nor_does_a_pairing_that_is_renewed_by_half() -> None:
    assert explore(handshakes=2, renewals=1) > 1000


def _forgets_the_previous(keys: EncryptedSessionKeys, new: bytes, now: Any) -> EncryptedSessionKeys:
    return replace(keys, relationship_key=new, previous=b"", created_at=now)


def _takes_up_at_once(keys: EncryptedSessionKeys, new: bytes) -> EncryptedSessionKeys:
    return replace(keys, relationship_key=new)


@pytest.mark.parametrize(("what", "broken"), [("adopt", _forgets_the_previous), ("prepare", _takes_up_at_once)])
def test_the_explorer_finds_what_is_broken(
    what: str, broken: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(EncryptedSessionKeys, what, broken)
    with pytest.raises(AssertionError, match=r"locked out|not settled"):
        explore(handshakes=3)


def test_a_copy_of_an_earlier_time_comes_back_by_its_recovery_key() -> None:
    world = World((EncryptedSessionKeys(key(1), NOW), EncryptedSessionKeys(key(1), NOW)))
    for side in SIDES:
        rotated = settled(settled(world))
        stored = list(rotated.stored)
        stored[SIDES.index(side)] = replace(world.stored[0], stale=True)
        copied = replace(rotated, stored=(stored[0], stored[1]), candidates=((), ()))
        assert copied.can_dial(side)
        found = handshake(copied, side, 0, True)
        assert found is not None
        while found.flying:
            found = deliver(found, 0)
        one, two = found.stored
        assert one.relationship_key == two.relationship_key
        assert not one.stale
        assert not two.stale


def test_what_is_not_due_is_malformed() -> None:
    first = EncryptedSessionKeys(key(1), NOW)
    world = handshake(World((first, first)), LEADER, 0, True)
    assert world is not None
    prepare = world.flying[0][2]
    leader, _ = world.keystore(LEADER)
    follower, _ = world.keystore(FOLLOWER)
    for keystore, peer, message in (
        (leader, FOLLOWER, prepare),
        (follower, LEADER, bytes([Step.PREPARED]) + prepare[1:]),
        (follower, LEADER, b""),
        (follower, LEADER, b"\x09" + prepare[1:]),
        (follower, LEADER, prepare + b"x"),
    ):
        with pytest.raises(Malformed):
            keystore.step(peer, b"session 0", message, NOW)


def test_keys_whose_time_is_over_open_nothing() -> None:
    over = EncryptedSessionKeys(key(1), NOW, expires_at=NOW)
    made, _ = World((over, over)).keystore(LEADER)
    with pytest.raises(Refused, match="expired"):
        made.to_dial(FOLLOWER, NOW)
    with pytest.raises(Refused, match="expired"):
        made.accept(FOLLOWER, over.current, NOW)
    assert made.to_dial(FOLLOWER, NOW - timedelta(seconds=1)) == key(1)


def test_candidates_are_bounded() -> None:
    made, _ = World((EncryptedSessionKeys(key(1), NOW), EncryptedSessionKeys(key(1), NOW))).keystore(LEADER)
    for number in range(20):
        made.finished(FOLLOWER, b"%d" % number, key(number))
    assert len(made._candidates[FOLLOWER]) == rotation_module.MOST_CANDIDATES

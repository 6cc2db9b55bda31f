"""Rotating relationship keys: whatever is lost, late or killed, each side can dial the other, and they settle.

The explorer walks through every interleaving of a bounded world: two Keystores, handshakes begun by either side, whose
messages arrive one by one or get lost, sessions that last or do not, messages that are delivered, lost, doubled, or
come late from a session that has ended, restarts of a Keystore, renewed pairings of which only half got through, a side
that is set back by an import of what it has exported at any time before. Larger bounds than those here have been walked
through, too: three handshakes have some 350,000 states.
"""

from __future__ import annotations

import contextlib
import hashlib
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from enum import IntEnum
from types import SimpleNamespace
from typing import Any
from uuid import UUID

import pytest

from springline.actors import rotation as rotation_module
from springline.actors.rotation import REFUSALS, Rotation, Step
from springline.errors import KeyUnknown, Malformed, Refused
from springline.store.sessions import EncryptedSessionKeys, key_id
from springline.tests.store.cast import NOW, key

LEADER, FOLLOWER = UUID(int=1), UUID(int=2)
SIDES = (LEADER, FOLLOWER)
LIFETIME: float | None = None
"""Of relationship keys; seconds."""


def other(side: UUID) -> UUID:
    return FOLLOWER if side == LEADER else LEADER


@dataclass(frozen=True)
class World:
    """Everything that matters: what is stored, what is in memory, what is under way."""

    stored: tuple[EncryptedSessionKeys, EncryptedSessionKeys]
    candidates: tuple[tuple[tuple[bytes, bytes], ...], ...] = ((), ())
    calls: tuple[Call, ...] = ()
    settling: tuple[bytes, ...] = ()  # sessions that have not lasted for long enough
    flying: tuple[tuple[bytes, UUID, bytes], ...] = ()  # session, to whom, message
    handshakes: int = 0
    restarts: int = 0
    renewals: int = 0
    again: int = 0
    exported: tuple[tuple[UUID, EncryptedSessionKeys], ...] = ()
    imported: int = 0

    def keystore(self, side: UUID) -> tuple[Rotation, SimpleNamespace]:
        """The real thing, over a store in memory."""
        index = SIDES.index(side)
        vault: Any = SimpleNamespace(identity=SimpleNamespace(device_id=side), content=self.stored[index])
        vault.keys = lambda _peer: vault.content
        vault.change_keys = lambda _peer, keys: setattr(vault, "content", keys)
        made = Rotation(vault, lambda *_: None, LIFETIME)
        for session, candidate in self.candidates[index]:
            made._candidates.setdefault(other(side), OrderedDict())[session] = candidate
        return made, vault

    def after(self, side: UUID, made: Rotation, vault: SimpleNamespace) -> World:
        index = SIDES.index(side)
        stored, known = list(self.stored), list(self.candidates)
        stored[index] = vault.content
        known[index] = tuple(made._candidates.get(other(side), {}).items())
        return replace(self, stored=(stored[0], stored[1]), candidates=tuple(known))

    def is_by_recovery(self) -> bool:
        """One side was set back, and both have the key for that; the other one tries it, too, when it is refused."""
        return self.imported > 0 and len({keys.recovery for keys in self.stored}) == 1

    def can_dial(self, side: UUID, turns: Sequence[int] = (0, 1)) -> bool:
        mine, theirs = self.stored[SIDES.index(side)], self.stored[SIDES.index(other(side))]
        return any(theirs.accepted(key_id(mine.to_dial(turn))) for turn in turns)


class Stage(IntEnum):
    """What a handshake waits for."""

    FIRST = 0
    SECOND = 1
    CONFIRM = 2


@dataclass(frozen=True)
class Call:
    """A handshake under way: what the dialler has said in it, and then the answerer."""

    session: bytes
    dialler: UUID
    psk: bytes
    said: bytes
    stage: Stage = Stage.FIRST
    answer: bytes = b""

    @property
    def kept_by(self) -> UUID:
        """Whose Keystore has it in memory."""
        return other(self.dialler) if self.stage is Stage.CONFIRM else self.dialler

    def secret(self) -> bytes:
        return hashlib.blake2b(self.session, key=self.psk, digest_size=32).digest()


RECOVERY = -1
"""The turn of a dial after the other side has hung up several times."""


def dial(world: World, dialler: UUID, turn: int) -> World:
    """A handshake begins."""
    keys = world.stored[SIDES.index(dialler)]
    psk = keys.recovery if turn == RECOVERY else keys.to_dial(turn)
    call = Call(b"session %d" % world.handshakes, dialler, psk, keys.current)
    return replace(world, calls=(*world.calls, call), handshakes=world.handshakes + 1)


def hang_up(world: World, call: Call) -> World:
    """Something of it was lost."""
    return replace(world, calls=tuple(other for other in world.calls if other != call))


def go_on(world: World, call: Call) -> World:
    """The next message of that handshake arrives."""
    answerer = other(call.dialler)
    rest = hang_up(world, call)
    side = call.dialler if call.stage is Stage.SECOND else answerer
    made, vault = world.keystore(side)
    if call.stage is Stage.FIRST:
        try:
            made.accepted(call.dialler, key_id(call.psk), NOW)
        except Refused:
            return rest
        said = replace(call, stage=Stage.SECOND, answer=vault.content.current)
        return replace(rest, calls=(*rest.calls, said))
    if call.stage is Stage.SECOND:
        made.proved(answerer, call.answer, NOW)
        made.finished(answerer, call.session, call.secret())
        rest = rest.after(side, made, vault)
        return replace(rest, calls=(*rest.calls, replace(call, stage=Stage.CONFIRM)))
    made.came_by(call.dialler, key_id(call.psk))
    made.proved(call.dialler, call.said, NOW)
    made.finished(call.dialler, call.session, call.secret())
    return replace(rest.after(side, made, vault), settling=(*rest.settling, call.session))


def begin(world: World, session: bytes) -> World:
    """That session has lasted for long enough."""
    made, _ = world.keystore(LEADER)
    said = made.begin(FOLLOWER, session)
    rest = replace(world, settling=tuple(each for each in world.settling if each != session))
    return rest if said is None else replace(rest, flying=(*rest.flying, (session, FOLLOWER, said)))


def handshake(world: World, dialler: UUID, turn: int) -> World | None:
    """One in which all goes well; None if the dialler's key is not accepted."""
    world = dial(world, dialler, turn)
    session = world.calls[-1].session
    for _ in Stage:
        call = next((call for call in world.calls if call.session == session), None)
        if call is None:
            return None
        world = go_on(world, call)
    return begin(world, session)


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
    world = forget(world, who)
    return replace(world, stored=(stored[0], stored[1]), renewals=world.renewals + 1)


def forget(world: World, who: tuple[UUID, ...]) -> World:
    """What those Keystores have in memory is gone: candidates, and their part in handshakes."""
    known = tuple(() if side in who else kept for side, kept in zip(SIDES, world.candidates, strict=True))
    calls = tuple(
        call
        for call in world.calls
        if (other(call.dialler) if call.stage is Stage.CONFIRM else call.dialler) not in who
    )
    return replace(world, candidates=known, calls=calls)


@dataclass(frozen=True)
class Bounds:
    """How much may happen. :param again: messages that arrive twice. :param copies: exports, and imports of them."""

    handshakes: int
    renewals: int = 0
    restarts: int = 1
    again: int = 0
    copies: int = 0


def neighbours(world: World, most: Bounds) -> Iterator[World]:
    if world.handshakes < most.handshakes:
        for dialler in SIDES:
            for turn in range(4) if world.stored[SIDES.index(dialler)].previous else (0,):
                yield dial(world, dialler, turn)
            if world.imported:
                yield dial(world, dialler, RECOVERY)
    for call in world.calls:
        yield go_on(world, call)
        yield hang_up(world, call)
    for session in world.settling:
        yield begin(world, session)
        yield replace(world, settling=tuple(each for each in world.settling if each != session))
    for index, message in enumerate(world.flying):
        arrived = deliver(world, index)
        yield arrived
        yield replace(world, flying=world.flying[:index] + world.flying[index + 1 :])
        if world.again < most.again:
            yield replace(arrived, flying=(*arrived.flying, message), again=world.again + 1)
    if world.restarts < most.restarts:
        yield from (replace(forget(world, (side,)), restarts=world.restarts + 1) for side in SIDES)
    if world.renewals < most.renewals:
        yield from (renew(world, who) for who in ((LEADER,), (FOLLOWER,), SIDES))
    if len(world.exported) < most.copies:
        for side, keys in zip(SIDES, world.stored, strict=True):
            yield replace(world, exported=(*world.exported, (side, keys)))
    if world.imported < most.copies:
        yield from (set_back(world, *copy) for copy in world.exported)


def set_back(world: World, side: UUID, keys: EncryptedSessionKeys) -> World:
    """That side is reinstalled from what was exported."""
    stored = list(world.stored)
    stored[SIDES.index(side)] = replace(keys, stale=True)
    return replace(forget(world, (side,)), stored=(stored[0], stored[1]), imported=world.imported + 1)


def settled(world: World) -> World:
    """Two sessions in which all goes well."""
    for _ in range(2):
        tried = [handshake(world, dialler, turn) for turn in (0, 1, 2, 3, RECOVERY) for dialler in SIDES]
        world = next(found for found in tried if found is not None)
        while world.flying:
            world = deliver(world, 0)
    return world


def explore(most: Bounds) -> int:
    """Visit every state; how many there are. Raises AssertionError for one that is wrong."""
    first = EncryptedSessionKeys(key(1), NOW)
    start = World((first, first))
    seen, todo = {start}, [start]
    quiet = set()  # what a handshake sees of the worlds that have settled
    while todo:
        world = todo.pop()
        for side in SIDES:
            turns = range(4) if most.renewals else (0,)
            assert world.can_dial(side, turns) or world.is_by_recovery(), f"locked out: {world}"
        now = world.stored, world.candidates, world.handshakes, world.imported
        # Else the state in which they got lost is visited too.
        if now not in quiet and not (world.flying or world.calls or world.settling):
            quiet.add(now)
            end = settled(world)
            assert end.stored[0].relationship_key == end.stored[1].relationship_key, f"not settled: {end}"
            for keys in end.stored:
                assert (keys.previous, keys.pending) == (b"", ()), f"old keys are left: {end}"
        for found in neighbours(world, most):
            if found not in seen:
                seen.add(found)
                todo.append(found)
    return len(seen)


@pytest.mark.parametrize(
    "most",
    [
        Bounds(handshakes=2),
        Bounds(handshakes=2, restarts=0, again=1),
        Bounds(handshakes=2, restarts=0, renewals=1),
        Bounds(handshakes=1, restarts=0, renewals=2),
        Bounds(handshakes=2, restarts=0, copies=1),
    ],
    ids=["restarts", "doubled messages", "a pairing renewed by half", "and again", "set back by an import"],
)
def test_no_interleaving_locks_anybody_out(most: Bounds) -> None:
    assert explore(most) > 500


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
        explore(Bounds(handshakes=2))


def test_a_copy_of_an_earlier_time_comes_back_by_its_recovery_key() -> None:
    world = World((EncryptedSessionKeys(key(1), NOW), EncryptedSessionKeys(key(1), NOW)))
    for side in SIDES:
        rotated = settled(settled(world))
        stored = list(rotated.stored)
        stored[SIDES.index(side)] = replace(world.stored[0], stale=True)
        copied = replace(rotated, stored=(stored[0], stored[1]), candidates=((), ()))
        assert copied.can_dial(side)
        found = handshake(copied, side, 0)
        assert found is not None
        while found.flying:
            found = deliver(found, 0)
        one, two = found.stored
        assert one.relationship_key == two.relationship_key
        assert not one.stale
        assert not two.stale


def test_what_is_not_due_is_malformed() -> None:
    first = EncryptedSessionKeys(key(1), NOW)
    world = handshake(World((first, first)), LEADER, 0)
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


def over(world: World, *sides: UUID) -> World:
    """The keys of these have not been renewed in time."""
    stored = tuple(
        replace(keys, expires_at=NOW) if side in sides else keys for side, keys in zip(SIDES, world.stored, strict=True)
    )
    return replace(world, stored=(stored[0], stored[1]))


def test_of_keys_whose_time_is_over_only_the_recovery_key_opens() -> None:
    first = EncryptedSessionKeys(key(1), NOW, NOW)
    made, _ = World((first, first)).keystore(LEADER)
    assert made.to_dial(FOLLOWER, NOW) == first.recovery
    assert made.accepted(FOLLOWER, key_id(first.recovery), NOW) == first.recovery
    with pytest.raises(KeyUnknown, match="not renewed"):
        made.accepted(FOLLOWER, first.current, NOW)
    before = NOW - timedelta(seconds=1)
    assert made.to_dial(FOLLOWER, before) == made.accepted(FOLLOWER, first.current, before) == key(1)


def test_a_session_that_is_open_outlives_them() -> None:
    first = EncryptedSessionKeys(key(1), NOW, NOW)
    made, _ = World((first, first)).keystore(LEADER)
    assert made.to_dial(FOLLOWER, NOW, within=True) == key(1)
    assert made.accepted(FOLLOWER, first.current, NOW, within=True) == key(1)


@pytest.mark.parametrize("sides", [(LEADER,), (FOLLOWER,), SIDES])
@pytest.mark.parametrize("dialler", SIDES)
def test_nobody_is_locked_out_by_them_whoever_dials(sides: tuple[UUID, ...], dialler: UUID) -> None:
    """Also if the other side knows of no lifetime: who is hung up on comes by the recovery key on the next dial."""
    first = EncryptedSessionKeys(key(1), NOW)
    world = over(World((first, first)), *sides)
    here, _ = world.keystore(dialler)
    there, _ = world.keystore(other(dialler))
    for turn in range(1, 1 + REFUSALS):
        psk = here.to_dial(other(dialler), NOW, turn)
        with contextlib.suppress(KeyUnknown):
            assert there.accepted(dialler, key_id(psk), NOW) == psk
            return
        found = here.recover(other(dialler), turn)
        if found is not None:
            assert there.accepted(dialler, key_id(found), NOW) == found
            return
    pytest.fail("locked out")


@pytest.mark.parametrize("sides", [(), SIDES])
def test_a_rotation_gives_them_their_time_anew(sides: tuple[UUID, ...], monkeypatch: pytest.MonkeyPatch) -> None:
    lifetime = timedelta(days=30)
    monkeypatch.setitem(globals(), "LIFETIME", lifetime.total_seconds())
    first = EncryptedSessionKeys(key(1), NOW)
    world = handshake(over(World((first, first)), *sides), LEADER, RECOVERY)
    assert world is not None
    while world.flying:
        world = deliver(world, 0)
    for keys in world.stored:
        assert keys.relationship_key != key(1)
        assert keys.expires_at == NOW + lifetime
    monkeypatch.undo()
    world = settled(world)  # without a lifetime the next key has none
    assert {keys.expires_at for keys in world.stored} == {None}


def test_dials_take_turns_with_the_keys_and_addresses_do_not() -> None:
    """Or the right one of two addresses, say, would be tried with every second key only."""
    kept = replace(EncryptedSessionKeys(key(1), NOW), previous=key(2))
    made, _ = World((kept, kept)).keystore(LEADER)
    assert [made.to_dial(FOLLOWER, NOW, turn) for turn in (0, 0, 1, 1, 2)] == [key(1), key(1), key(2), key(2), key(1)]


def test_who_hangs_up_again_and_again_is_tried_with_the_recovery_key() -> None:
    kept = EncryptedSessionKeys(key(1), NOW)
    made, _ = World((kept, kept)).keystore(LEADER)
    for _life in range(2):
        for dial in range(1, REFUSALS):
            for _address in range(REFUSALS):
                assert made.recover(FOLLOWER, dial) is None
        assert made.recover(FOLLOWER, REFUSALS) == kept.recovery
        made.finished(FOLLOWER, b"session", b"secret")


def test_what_a_device_refused_before_it_was_paired_anew_does_not_count() -> None:
    kept = EncryptedSessionKeys(key(1), NOW)
    made, _ = World((kept, kept)).keystore(LEADER)
    assert made.recover(FOLLOWER, 1) is None
    made.forget(FOLLOWER)
    assert made.recover(FOLLOWER, 2) is None
    assert made.recover(FOLLOWER, 3) == kept.recovery


def test_candidates_are_bounded() -> None:
    made, _ = World((EncryptedSessionKeys(key(1), NOW), EncryptedSessionKeys(key(1), NOW))).keystore(LEADER)
    for number in range(20):
        made.finished(FOLLOWER, b"%d" % number, key(number))
    assert len(made._candidates[FOLLOWER]) == rotation_module.MOST_CANDIDATES

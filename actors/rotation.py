"""The Keystore's part in rotating relationship keys: which key opens a handshake, and the conversation about a new one.

The rule: a new key is derived in both Keystores from a handshake that both have finished, and never sent; what is said
about it are ids. When each side stores and wipes what is decided by ``EncryptedSessionKeys`` (``store/sessions.py``);
here its steps are written down before the answer leaves. Messages have 17 bytes: a step, the id of the new key (in
STATUS of the previous one), the id of the speaker's present key. They travel over the link as the reserved protocol
``keys``::

    leader                                   follower
    STATUS or PREPARE new ────────────────▶  stores new, if it may
                            ◀──────────────  PREPARED new, or PRESENT
    takes new up; COMMIT new ─────────────▶  takes new up, wipes the others
    wipes the previous one  ◀──────────────  PRESENT

A candidate lives in memory: a Keystore that was killed has none, and the rotation is left to a later session.
"""

from __future__ import annotations

import itertools
import logging
import struct
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta
from enum import IntEnum
from uuid import UUID

from springline.errors import KeyUnknown, LocalFault, Malformed
from springline.store.sessions import EncryptedSessionKeys, key_id, rotated_key
from springline.store.vault import Vault

log = logging.getLogger("springline.rotation")

Note = Callable[[str, UUID | None, str], None]

MOST_CANDIDATES = 8
"""Handshakes of a device whose new key may still be taken up: a race of several addresses makes several. Fewer than a
follower keeps pending, so that no key is taken up that it has let go."""

REFUSALS = 2
"""Dials in a row on which the device hangs up, until the recovery key is tried: one may have met it while it starts."""

_LAYOUT = struct.Struct(">B8s8s")
_NONE = bytes(8)


class Step(IntEnum):
    """What a message says."""

    STATUS = 1
    PREPARE = 2
    PREPARED = 3
    COMMIT = 4
    PRESENT = 5


class Rotation:
    """The relationship keys of one store, as handshakes and links use them.

    :param note: writes to the audit trail. :param lifetime: seconds for which a key is used that does not rotate, or
        None: for as long as it takes.
    """

    def __init__(self, vault: Vault, note: Note, lifetime: float | None = None) -> None:
        self._vault = vault
        self._note = note
        self._lifetime = lifetime
        self._candidates: dict[UUID, OrderedDict[bytes, bytes]] = {}
        self._turns: dict[UUID, int] = {}
        self._refusals: dict[UUID, tuple[int, int]] = {}

    # -- handshakes ------------------------------------------------------------------------------------------------

    def to_dial(self, device: UUID, now: datetime, turn: int | None = None, *, within: bool = False) -> bytes:
        """The key (32 bytes) for a handshake that we begin. :raises Damaged: there is none.

        :param turn: of the dial it is for. It is not counted here: if the addresses of a dial took turns with the keys,
            one of two addresses, and be it the right one, would get every second key only.
        :param within: in a session with the device, where nobody can be locked out and nothing is over.
        """
        keys = self._vault.keys(device)
        if keys.are_over(now) and not within:
            return keys.recovery
        if turn is None:
            turn = self._turns[device] = self._turns.get(device, -1) + 1
        return keys.to_dial(turn)

    def recover(self, device: UUID, turn: int) -> bytes | None:
        """The recovery key (32 bytes), for a device that has hung up on that dial; None if it has not often enough.

        It may have been set back to a time when it had none of our keys, and we can't tell that from other reasons.
        """
        last, count = self._refusals.get(device, (None, 0))
        count += last != turn  # several addresses are one dial
        self._refusals[device] = turn, count
        return self._vault.keys(device).recovery if count >= REFUSALS else None

    def accepted(self, device: UUID, used: bytes, now: datetime, *, within: bool = False) -> bytes:
        """The key of a handshake that the device begins. :raises KeyUnknown: it is none of ours, or its time is over.

        :param within: as of :meth:`to_dial`.
        """
        keys = self._vault.keys(device)
        found = keys.accepted(used)
        if found is None:
            raise KeyUnknown("the caller uses a key that is not (or no longer) shared with it", "pair it again")
        if keys.are_over(now) and not within and found != keys.recovery:
            raise KeyUnknown("the key that the caller uses was not renewed in time", "it comes by its recovery key")
        return found

    def came_by(self, device: UUID, used: bytes) -> None:
        """The device has a session by that key: if it is the one for emergencies, that is written down."""
        if used == key_id(self._vault.keys(device).recovery):
            why = "one side was reinstalled from an exported identity, or copied; or their key was not renewed in time"
            self._note("recovery key used", device, why)

    def current(self, device: UUID) -> bytes:
        """The id of our present key."""
        return self._vault.keys(device).current

    def proved(self, device: UUID, ident: bytes, now: datetime) -> None:
        """In a handshake that is through, the device has named that key as its present one.

        Which key it has used says nothing more: that may be its previous one, while it does not know what we have. What
        a disk refuses is not learned, which does no harm: the next handshake says it again.
        """
        try:
            self._keep(device, self._vault.keys(device).learn(ident, now, leads=self._leads(device)), now)
        except LocalFault as error:
            log.warning("what is new of a relationship key is not kept yet: %s", error)

    def finished(self, device: UUID, session: bytes, secret: bytes) -> None:
        """A handshake is through: remember what a new key would be.

        :param session: its hash. :param secret: its final chaining key, 32 bytes.
        """
        self._refusals.pop(device, None)
        candidates = self._candidates.setdefault(device, OrderedDict())
        candidates[session] = rotated_key(secret)
        while len(candidates) > MOST_CANDIDATES:
            candidates.popitem(last=False)

    def forget(self, device: UUID) -> None:
        """It was paired anew: nothing of before may be taken up any more, or counts."""
        self._candidates.pop(device, None)
        self._refusals.pop(device, None)

    # -- the conversation ------------------------------------------------------------------------------------------

    def begin(self, device: UUID, session: bytes) -> bytes | None:
        """The leader's first message in that session, or None if there is nothing to say."""
        if not self._leads(device):
            return None
        keys, candidate = self._vault.keys(device), self._candidate(device, session)
        if keys.previous and not keys.stale:
            return _message(Step.STATUS, key_id(keys.previous), keys)
        return None if candidate is None else _message(Step.PREPARE, key_id(candidate), keys)

    def step(self, device: UUID, session: bytes, message: bytes, now: datetime) -> bytes | None:
        """What to answer to, or to say after, a message of the device's.

        :raises Malformed: it is none, or not due.
        """
        said, ident, theirs = _parsed_untrusted(message)
        leads = self._leads(device)
        if leads != (said in (Step.PREPARED, Step.PRESENT)):
            raise Malformed("a step of a key rotation that is not due")
        keys, candidate = self._vault.keys(device), self._candidate(device, session)
        if candidate is not None:  # what is said late, in a former session, changes nothing
            keys = keys.learn(theirs, now, leads=leads)
            keys = keys.learn(ident, now, leads=leads).revert(ident) if said is Step.STATUS else keys
            keys = keys.revert(theirs)
            if said is Step.PRESENT and ident == keys.current:
                keys = keys.give_up(theirs)
        fits = candidate is not None and key_id(candidate) == ident
        if not leads:
            heard = _NONE if candidate is None else theirs
            return self._follow(device, said, candidate if fits else None, keys, heard, now)
        if said is Step.PREPARED:
            if candidate is None or not fits or (keys.previous and not keys.stale):
                return None
            keys = keys.adopt(candidate, now)
            self._candidates[device] = OrderedDict({session: candidate})  # no other one may be taken up any more
            self._keep(device, keys, now)
            self._note("key rotated", device, "both sides have the new key")
            return _message(Step.COMMIT, ident, keys)
        self._keep(device, keys, now)
        return None

    def _follow(
        self,
        device: UUID,
        said: Step,
        candidate: bytes | None,
        keys: EncryptedSessionKeys,
        heard: bytes,
        now: datetime,
    ) -> bytes:
        prepares = said is Step.PREPARE and candidate is not None
        if prepares and candidate is not None:
            keys = keys.prepare(candidate)
        self._keep(device, keys, now)
        if said is Step.COMMIT:
            self._note("key rotated", device, "both sides have the new key")
        if prepares and candidate is not None:
            return _message(Step.PREPARED, key_id(candidate), keys)
        return _message(Step.PRESENT, heard, keys)

    def _candidate(self, device: UUID, session: bytes) -> bytes | None:
        known = self._candidates.get(device)
        return None if known is None else known.get(session)

    def _leads(self, device: UUID) -> bool:
        return self._vault.identity.device_id < device

    def _keep(self, device: UUID, keys: EncryptedSessionKeys, now: datetime) -> None:
        former = self._vault.keys(device)
        if keys.relationship_key != former.relationship_key:
            until = None if self._lifetime is None else now + timedelta(seconds=self._lifetime)
            keys = replace(keys, expires_at=until)
        if keys != former:
            self._vault.change_keys(device, keys)
            self._let_go(device, keys.relationship_key)

    def _let_go(self, device: UUID, present: bytes) -> None:
        """No candidate may be taken up any more that is older than the present key."""
        known = self._candidates.get(device, OrderedDict())
        if present in known.values():
            for session in list(itertools.takewhile(lambda session: known[session] != present, known)):
                del known[session]


def _message(step: Step, ident: bytes, keys: EncryptedSessionKeys) -> bytes:
    return _LAYOUT.pack(step, ident, keys.current)


def _parsed_untrusted(message: bytes) -> tuple[Step, bytes, bytes]:
    try:
        step, ident, theirs = _LAYOUT.unpack(message)
        return Step(step), ident, theirs
    except (struct.error, ValueError):
        raise Malformed("a message about keys is none") from None

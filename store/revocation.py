"""Revocation: "this device is not to be trusted any more", as a signed fact that spreads from device to device.

The rule: a fact says who, by whom and when, signed by whoever said so, so it can pass through any hands. Only trusted
devices are listened to, and what one passes on counts as if it had said so itself, unless its author is revoked here:
then it is refused, or a stolen device could revoke its owner's. A fact unknown so far always wins over a pairing.
Pairing again makes the facts known until then void on this device, for ever, because that is the user's later word;
they are passed on all the same, so that what a device hears does not depend on the way. So gossip can take trust away
and never give it back, in whatever order, however often, and after whatever loss it arrives.

What two devices revoke of each other depends on who is heard first: no clock can be trusted to decide that. And a
stolen device can do harm until the first fact about it arrives, which is why facts are sent at once.

A fact is 161 bytes: version, subject's id (16), BLAKE2b-256 of its signing key (32), revoker's signing key (32), time
(8, seconds since 1970), serial (8), Ed25519 signature (64); big-endian. Its id is the BLAKE2b-128 of all but the
signature. There is one encoding of each, so the id names what was said, not how.
"""

from __future__ import annotations

import hashlib
import itertools
import struct
from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import dataclass, field, replace
from uuid import UUID

from springline.errors import Malformed
from springline.store.identity import SIGNATURE_SIZE, DeviceInfo, device_id_of, verify_signature

CONTEXT = "revocation"
ID_SIZE = 16

MOST_FACTS = 1024
"""Facts kept and passed on; beyond that those about devices paired here take the place of others."""

MOST_SUPERSEDED = 4096
"""Void facts remembered by id; beyond that the oldest is forgotten."""

_VERSION = 1
_LATEST = 253402300799  # the end of the year 9999
_STATEMENT = struct.Struct(">B16s32s32sQQ")
SIZE = _STATEMENT.size + SIGNATURE_SIZE
"""Bytes of an encoded fact."""

Sign = Callable[[bytes, str], bytes]
"""Signs a message for a purpose, as ``NetworkIdentity.sign`` does."""


@dataclass(frozen=True, slots=True)
class Revocation:
    """One fact.

    :param subject: who is not to be trusted. :param subject_key: BLAKE2b-256 of its signing key.
    :param by: Ed25519 public key of who says so. :param at: seconds since 1970, by the clock there.
    :param serial: tells two facts of one second apart.
    """

    subject: UUID
    subject_key: bytes
    by: bytes
    at: int
    serial: int
    signature: bytes = field(repr=False)

    @property
    def statement(self) -> bytes:
        """What is signed."""
        return _STATEMENT.pack(_VERSION, self.subject.bytes, self.subject_key, self.by, self.at, self.serial)

    @property
    def id(self) -> bytes:
        """What the fact is called, 16 bytes."""
        return hashlib.blake2b(self.statement, digest_size=ID_SIZE, person=b"springline fact").digest()

    def encode(self) -> bytes:
        """The fact as bytes; :func:`verify_untrusted` reads them."""
        return self.statement + self.signature

    def concerns(self, info: DeviceInfo) -> bool:
        """Whether that device is the subject."""
        return self.subject == info.device_id and self.subject_key == key_hash(info.signing_key)


def key_hash(signing_key: bytes) -> bytes:
    """How a fact names its subject's key: BLAKE2b-256."""
    return hashlib.blake2b(signing_key, digest_size=32, person=b"springline key").digest()


def revoke(subject: DeviceInfo, by: bytes, at: int, serial: int, sign: Sign) -> Revocation:
    """A signed fact.

    :param by: the signer's public key. :param at: seconds since 1970.
    :param sign: signs for ``by``.
    """
    unsigned = Revocation(subject.device_id, key_hash(subject.signing_key), by, at, serial, b"")
    return replace(unsigned, signature=sign(unsigned.statement, CONTEXT))


def verify_untrusted(data: bytes) -> Revocation:
    """A fact whose signature holds. :raises Malformed: it is none."""
    fact = parse(data)
    verify_signature(fact.by, fact.signature, fact.statement, CONTEXT)
    return fact


def parse(data: bytes) -> Revocation:
    """A fact we have verified before: its signature is not looked at. :raises Malformed: it is none."""
    if len(data) != SIZE:
        raise Malformed("a revocation has another size")
    version, subject, subject_key, by, at, serial = _STATEMENT.unpack_from(data)
    if version != _VERSION:
        raise Malformed("a revocation is of an unknown version")
    if at > _LATEST:
        raise Malformed("a revocation is of a time that never comes")
    return Revocation(UUID(bytes=subject), subject_key, by, at, serial, data[_STATEMENT.size :])


@dataclass(frozen=True, slots=True)
class Revocations:
    """What this device knows of revocations, and who else knows it.

    :param facts: by id, in the order they were learned.
    :param superseded: ids of facts that are void here, or about this device; oldest first.
    :param acks: for each trusted device, the ids of the facts it has.
    """

    facts: dict[bytes, Revocation] = field(default_factory=dict)
    superseded: tuple[bytes, ...] = ()
    acks: dict[UUID, frozenset[bytes]] = field(default_factory=dict)

    # -- what is known ---------------------------------------------------------------------------------------------

    def ids(self) -> tuple[bytes, ...]:
        """Everything that need not be told to this device any more."""
        return tuple(dict.fromkeys((*self.facts, *self.superseded)))

    def about(self, info: DeviceInfo) -> tuple[Revocation, ...]:
        """The facts in force about that device."""
        return tuple(fact for known, fact in self.facts.items() if fact.concerns(info) and known not in self.superseded)

    def new(self, subject: DeviceInfo, by: bytes, at: int, sign: Sign) -> Revocation:
        """A fact that is not known yet; arguments as of :func:`revoke`."""
        serials = itertools.count(1)
        fact = revoke(subject, by, at, next(serials), sign)
        while fact.id in self.facts or fact.id in self.superseded:
            fact = revoke(subject, by, at, next(serials), sign)
        return fact

    # -- what is learned -------------------------------------------------------------------------------------------

    def take(
        self, facts: Iterable[Revocation], own: bytes, revoked: Collection[bytes], paired: Collection[UUID]
    ) -> Revocations:
        """With what a trusted device has told; in the order it learned it, which no author's revocation precedes.

        A fact about ourselves is noted and goes no further: it is not for us to act on.

        :param own: our signing key. :param revoked: signing keys of devices revoked here.
        :param paired: ids of the devices paired here.
        """
        known = self
        for fact in facts:
            if fact.id in known.facts or fact.id in known.superseded:
                continue
            if fact.by in revoked or known._is_revoked(fact.by):
                continue
            if fact.subject == device_id_of(own):
                known = known._void(fact.id)
            else:
                known = known.add(fact, paired)
        return known

    def _is_revoked(self, key: bytes) -> bool:
        hashed = key_hash(key)
        about = (known for known, fact in self.facts.items() if fact.subject_key == hashed)
        return any(known not in self.superseded for known in about)

    def add(self, fact: Revocation, paired: Collection[UUID]) -> Revocations:
        """With one more, or as before if there is no room for one about a stranger."""
        if len(self.facts) < MOST_FACTS:
            return replace(self, facts={**self.facts, fact.id: fact})
        if fact.subject not in paired:
            return self
        dispensable = (known for known, one in self.facts.items() if one.subject not in paired)
        gone = next(dispensable, next(iter(self.facts)))
        kept = {known: one for known, one in self.facts.items() if known != gone}
        return replace(self, facts={**kept, fact.id: fact})

    def supersede(self, info: DeviceInfo) -> Revocations:
        """The user has paired that device (again): what is known against it until now is void."""
        return self._void(*(fact.id for fact in self.about(info)))

    def _void(self, *ids: bytes) -> Revocations:
        return replace(self, superseded=(*self.superseded, *ids)[-MOST_SUPERSEDED:]) if ids else self

    # -- who else knows --------------------------------------------------------------------------------------------

    def missing(self, peer: UUID, most: int) -> tuple[Revocation, ...]:
        """At most so many facts that device has not acknowledged, first learned first; none about itself."""
        return tuple(fact for fact, _ in zip(self._missing(peer), range(most), strict=False))

    def _missing(self, peer: UUID) -> Iterator[Revocation]:
        has = self.acks.get(peer, frozenset())
        return (fact for known, fact in self.facts.items() if known not in has and fact.subject != peer)

    def has(self, peer: UUID, ids: Iterable[bytes]) -> Revocations:
        """That device has these, and no others: it may have been set back to an earlier state."""
        return replace(self, acks={**self.acks, peer: frozenset(self.facts.keys() & set(ids))})

    def acked(self, peer: UUID, ids: Iterable[bytes]) -> Revocations:
        """That device has these, too."""
        return self.has(peer, self.acks.get(peer, frozenset()).union(ids))

    def forget(self, peers: Collection[UUID]) -> Revocations:
        """What those devices know does not matter any more."""
        if not self.acks.keys() & set(peers):
            return self
        return replace(self, acks={peer: ids for peer, ids in self.acks.items() if peer not in peers})

    def known_by(self, info: DeviceInfo, peers: Collection[UUID]) -> int:
        """How many of ``peers`` know that this device is revoked."""
        ids = {fact.id for fact in self.about(info)}
        return sum(bool(ids & self.acks.get(peer, frozenset())) for peer in peers)

"""The pairing conversation inside the ``XXpsk0`` session, as a pure machine.

Both sides have proved that they know the words; now each says who it is, and then its user may be asked. CBOR arrays::

    ["who", info, contribution, signature]     the joiner, then the inviter
    ["agreed"]                                 the joiner, unless its user says no
    ["stored"]                                 the inviter, unless its user says no, once it has stored the joiner
    ["done"]                                   the joiner, once it has stored the inviter
    ["refused"]                                either, instead of "agreed" or "stored": its user has said no

The rule: an identity is believed only if its signature covers *this* handshake's hash, the role of the speaker, its
info and its contribution, and only if the static key in the info is the one the handshake has authenticated. So nothing
can be swapped between messages (CVE-2025-66270), reflected or replayed. The inviter speaks second because it shows what
it has committed to before (``sas.py``). Whatever comes in and is not due ends the pairing.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import Enum
from typing import Any

import cbor2

from springline.errors import Malformed
from springline.protocols.codec import load_untrusted
from springline.protocols.pairing.sas import commitment_to
from springline.store.identity import PAIRING_CONTEXT, SIGNATURE_SIZE, DeviceInfo, info_from_untrusted
from springline.transport.address import Address

MOST_MESSAGE = 8192
CONTRIBUTION_SIZE = 32


class Role(Enum):
    """Who has invited whom."""

    INVITER = "inviter"
    JOINER = "joiner"

    @property
    def other(self) -> Role:
        """The other side's."""
        return Role.JOINER if self is Role.INVITER else Role.INVITER


class Stage(Enum):
    """What is awaited next."""

    WHO = "who the other side is"
    AGREED = "that the joiner agrees"
    STORED = "that the other side has stored us"
    DONE = "nothing more"


@dataclass(frozen=True, slots=True)
class Exchange:
    """One side's view.

    :param handshake_hash: 32 bytes. :param remote_static: the key the handshake has authenticated, 32 bytes.
    :param committed: what the inviter has committed to in the handshake, 32 bytes; known to the joiner.
    :param theirs: the other side's contribution, once known.
    """

    role: Role
    own: DeviceInfo
    handshake_hash: bytes
    remote_static: bytes
    committed: bytes = b""
    stage: Stage = Stage.WHO
    peer: DeviceInfo | None = None
    theirs: bytes = field(default=b"", repr=False)


@dataclass(frozen=True, slots=True)
class Met:
    """The other side is who it says; ours may be asked whether that is meant."""

    info: DeviceInfo


@dataclass(frozen=True, slots=True)
class Store:
    """Both sides agree. Commit the other side's identity; then say :func:`stored`."""

    info: DeviceInfo
    theirs: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class Finished:
    """Both sides have stored each other."""


@dataclass(frozen=True, slots=True)
class Declined:
    """The other side's user has said no: nobody stores anything."""


AGREED = cbor2.dumps(["agreed"])
"""The joiner's message that it may be stored."""

REFUSED = cbor2.dumps(["refused"])
"""Either side's message that its user has said no."""


def statement(role: Role, handshake_hash: bytes, info: DeviceInfo, contribution: bytes) -> bytes:
    """What the speaker signs, in the context ``PAIRING_CONTEXT``."""
    return _statement(role, handshake_hash, info.to_dict(), contribution)


def _statement(role: Role, handshake_hash: bytes, fields: Mapping[str, Any], contribution: bytes) -> bytes:
    return cbor2.dumps([role.value, handshake_hash, fields, contribution], canonical=True)


def who(info: DeviceInfo, contribution: bytes, signature: bytes) -> bytes:
    """The message that says who we are."""
    return cbor2.dumps(["who", info.to_dict(), contribution, signature])


def stored(role: Role) -> bytes:
    """The message that says that we have stored the other side."""
    return cbor2.dumps(["stored" if role is Role.INVITER else "done"])


def receive(exchange: Exchange, data: bytes) -> tuple[Exchange, Met | Store | Finished | Declined]:
    """What the other side's message means.

    The inviter stores first; the joiner stores when it hears so. Who has stored says :func:`stored` next.

    :raises Malformed: it is not what is due, or not true; the pairing is over.
    """
    message = load_untrusted(data, MOST_MESSAGE)
    if not isinstance(message, list) or not message:
        raise Malformed("a pairing message is not an array")
    inviter = exchange.role is Role.INVITER
    match exchange.stage, message:
        case Stage.WHO, ["who", fields, contribution, signature]:
            peer, theirs = _hear(exchange, fields, contribution, signature)
            stage = Stage.AGREED if inviter else Stage.STORED
            return replace(exchange, stage=stage, peer=peer, theirs=theirs), Met(peer)
        case Stage.AGREED, ["agreed"]:
            return replace(exchange, stage=Stage.STORED), _store(exchange)
        case Stage.STORED, ["stored"] if not inviter:
            return replace(exchange, stage=Stage.DONE), _store(exchange)
        case Stage.STORED, ["done"] if inviter:
            return replace(exchange, stage=Stage.DONE), Finished()
        case Stage.AGREED, ["refused"]:
            return replace(exchange, stage=Stage.DONE), Declined()
        case Stage.STORED, ["refused"] if not inviter:
            return replace(exchange, stage=Stage.DONE), Declined()
    raise Malformed("a pairing message that is not due")


def peer_of(exchange: Exchange) -> DeviceInfo:
    """Who the other side is. :raises Malformed: it has not said so."""
    if exchange.peer is None:
        raise Malformed("nobody has said who they are")
    return exchange.peer


def _store(exchange: Exchange) -> Store:
    return Store(peer_of(exchange), exchange.theirs)


def _hear(exchange: Exchange, fields: Any, contribution: Any, signature: Any) -> tuple[DeviceInfo, bytes]:
    info = info_from_untrusted(fields)
    if not isinstance(contribution, bytes) or len(contribution) != CONTRIBUTION_SIZE:
        raise Malformed("a contribution of the wrong size")
    if not isinstance(signature, bytes) or len(signature) != SIGNATURE_SIZE:
        raise Malformed("a signature of the wrong size")
    if info.static_key != exchange.remote_static:
        raise Malformed("the other side claims a key it has not shown")
    if info.device_id == exchange.own.device_id:
        raise Malformed("a device can't be paired with itself")
    # What was said is checked, not what we make of it: a newer peer may say more, or know more characters in a name.
    said = _statement(exchange.role.other, exchange.handshake_hash, fields, contribution)
    info.verify_signature(signature, said, PAIRING_CONTEXT)
    if exchange.role is Role.JOINER and commitment_to(contribution) != exchange.committed:
        raise Malformed("the other side's contribution is not the one it has committed to")
    return info.with_addresses(tuple(filter(_is_address, info.addresses))), contribution


def _is_address(text: str) -> bool:
    """One we can dial; other kinds may come."""
    try:
        return Address.parse_untrusted(text).port > 0
    except Malformed:
        return False

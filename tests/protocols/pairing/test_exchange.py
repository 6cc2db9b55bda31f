"""Two machines in one room: what an honest pair comes to, and what a dishonest partner can't."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import cbor2
import pytest
from hypothesis import given
from hypothesis import strategies as st

from springline.errors import Malformed
from springline.protocols.pairing.exchange import (
    AGREED,
    MOST_MESSAGE,
    REFUSED,
    Declined,
    Exchange,
    Finished,
    Met,
    Role,
    Stage,
    Store,
    receive,
    statement,
    stored,
    who,
)
from springline.protocols.pairing.sas import commitment_to
from springline.store.identity import PAIRING_CONTEXT, DeviceInfo, NetworkIdentity

HASH, OTHER_HASH = b"h" * 32, b"o" * 32


@dataclass(frozen=True)
class Side:
    """A device in a pairing."""

    role: Role
    identity: NetworkIdentity
    info: DeviceInfo
    contribution: bytes

    def says(self, handshake_hash: bytes = HASH, **claims: Any) -> bytes:
        """Its "who", signed by itself; ``claims`` are what it says instead of the truth."""
        role, info = claims.get("role", self.role), claims.get("info", self.info)
        contribution = claims.get("contribution", self.contribution)
        said = statement(role, handshake_hash, info, contribution)
        return who(info, contribution, self.identity.sign(said, claims.get("context", PAIRING_CONTEXT)))

    def meets(self, other: Side) -> Exchange:
        """The state in which the handshake with ``other`` leaves it."""
        committed = commitment_to(other.contribution) if self.role is Role.JOINER else b""
        return Exchange(self.role, self.info, HASH, other.info.static_key, committed)


def side(role: Role, name: str, number: int, *addresses: str) -> Side:
    identity = NetworkIdentity(bytes([number]) * 32, bytes([number + 1]) * 32)
    return Side(role, identity, identity.info(name, addresses), bytes([number]) * 32)


INVITER = side(Role.INVITER, "Inviter", 10, "192.168.1.5:7400")
JOINER = side(Role.JOINER, "Joiner", 20, "192.168.1.6:7400", "[fe80::1%eth0]:7400")
MALLORY = side(Role.JOINER, "Mallory", 30)


def test_an_honest_pair() -> None:
    inviter, joiner = INVITER.meets(JOINER), JOINER.meets(INVITER)
    inviter, met = receive(inviter, JOINER.says())
    assert met == Met(JOINER.info)
    joiner, met = receive(joiner, INVITER.says())
    assert met == Met(INVITER.info)
    inviter, effect = receive(inviter, AGREED)
    assert effect == Store(JOINER.info, JOINER.contribution)
    joiner, effect = receive(joiner, stored(Role.INVITER))
    assert effect == Store(INVITER.info, INVITER.contribution)
    inviter, effect = receive(inviter, stored(Role.JOINER))
    assert effect == Finished()
    assert inviter.stage is joiner.stage is Stage.DONE


@pytest.mark.parametrize("role", Role)
def test_either_user_may_say_no(role: Role) -> None:
    state, effect = receive(at(Stage.AGREED if role is Role.INVITER else Stage.STORED, role), REFUSED)
    assert effect == Declined()
    assert state.stage is Stage.DONE


def test_a_contribution_other_than_the_one_committed_to_is_refused() -> None:
    refused(JOINER.meets(INVITER), INVITER.says(contribution=bytes(32)), "not the one it has committed to")
    uncommitted = Exchange(Role.JOINER, JOINER.info, HASH, INVITER.info.static_key)
    refused(uncommitted, INVITER.says(), "not the one it has committed to")


def refused(state: Exchange, data: bytes, why: str | None = None) -> None:
    with pytest.raises(Malformed, match=why):
        receive(state, data)


def test_a_message_for_another_handshake_is_refused() -> None:
    refused(INVITER.meets(JOINER), JOINER.says(OTHER_HASH), "a signature does not hold")


def test_a_reflected_message_is_refused() -> None:
    """Our own words back: the key is ours, not the one the handshake has shown; and if it were, the role is wrong."""
    refused(INVITER.meets(JOINER), INVITER.says(), "a key it has not shown")
    refused(JOINER.meets(INVITER), JOINER.says(), "a key it has not shown")
    twin = Side(Role.INVITER, JOINER.identity, JOINER.info, bytes(32))
    refused(INVITER.meets(JOINER), twin.says(), "a signature does not hold")


def test_a_device_is_not_paired_with_itself() -> None:
    twin = Side(Role.JOINER, INVITER.identity, INVITER.info, bytes(32))
    refused(INVITER.meets(twin), twin.says(), "paired with itself")


def test_an_identity_that_the_handshake_has_not_shown_is_refused() -> None:
    """Mallory, who knows the words, passes on what the joiner has said to it."""
    refused(INVITER.meets(MALLORY), JOINER.says(), "a key it has not shown")


def test_what_was_signed_can_not_be_swapped() -> None:
    """CVE-2025-66270: each part of a message stands or falls with the others."""
    _, fields, contribution, signature = cbor2.loads(JOINER.says())
    _, others_fields, _, others_signature = cbor2.loads(MALLORY.says())
    state = INVITER.meets(JOINER)
    refused(state, cbor2.dumps(["who", fields, bytes(32), signature]), "a signature does not hold")
    refused(state, cbor2.dumps(["who", fields, contribution, others_signature]), "a signature does not hold")
    refused(state, cbor2.dumps(["who", {**fields, "name": "Inviter"}, contribution, signature]), "a signature does not")
    refused(state, cbor2.dumps(["who", {**fields, "addresses": []}, contribution, signature]), "a signature does not")
    stolen = {**others_fields, "static": fields["static"]}
    refused(state, cbor2.dumps(["who", stolen, contribution, signature]), "a signature does not hold")
    refused(state, cbor2.dumps(["who", {**fields, "id": bytes(16)}, contribution, signature]), "not its key's")


def test_a_signature_for_another_purpose_is_none() -> None:
    refused(INVITER.meets(JOINER), JOINER.says(context="static key"), "a signature does not hold")


def test_a_stolen_static_key_needs_a_certificate() -> None:
    stolen = DeviceInfo(
        MALLORY.info.device_id, "Mallory", MALLORY.info.signing_key, JOINER.info.static_key, MALLORY.info.certificate
    )
    refused(INVITER.meets(JOINER), MALLORY.says(info=stolen), "a signature does not hold")


def says_more(**more: Any) -> bytes:
    """The joiner's "who" with these fields added, signed as it should be."""
    fields = {**JOINER.info.to_dict(), **more}
    said = cbor2.dumps([Role.JOINER.value, HASH, fields, JOINER.contribution], canonical=True)
    return cbor2.dumps(["who", fields, JOINER.contribution, JOINER.identity.sign(said, PAIRING_CONTEXT)])


def test_a_newer_peer_may_say_more() -> None:
    data = says_more(colour="blue", addresses=["quic://[::1]:1", "192.168.1.6:7400", "box:0"])
    _, effect = receive(INVITER.meets(JOINER), data)
    assert effect == Met(JOINER.info.with_addresses(("192.168.1.6:7400",)))


def test_what_the_statement_covers_is_the_documented_thing() -> None:
    expected = cbor2.dumps(["joiner", HASH, JOINER.info.to_dict(), JOINER.contribution], canonical=True)
    assert statement(Role.JOINER, HASH, JOINER.info, JOINER.contribution) == expected


def at(stage: Stage, role: Role) -> Exchange:
    """A side's state at that stage."""
    own, other = (INVITER, JOINER) if role is Role.INVITER else (JOINER, INVITER)
    state = own.meets(other)
    says = {Stage.WHO: other.says(), Stage.AGREED: AGREED, Stage.STORED: stored(role.other)}
    while state.stage is not stage:
        state, _ = receive(state, says[state.stage])
    return state


STAGES = [(role, stage) for role in Role for stage in Stage if (role, stage) != (Role.JOINER, Stage.AGREED)]


@pytest.mark.parametrize(("role", "stage"), STAGES)
def test_only_what_is_due_is_taken(role: Role, stage: Stage) -> None:
    other = JOINER if role is Role.INVITER else INVITER
    said = {"who": other.says(), "agreed": AGREED, "no": REFUSED, "theirs": stored(role.other), "ours": stored(role)}
    due = {Stage.WHO: {"who"}, Stage.AGREED: {"agreed", "no"}, Stage.STORED: {"theirs"}, Stage.DONE: set[str]()}[stage]
    if (role, stage) == (Role.JOINER, Stage.STORED):
        due = {"theirs", "no"}
    for name, data in said.items():
        if name in due:
            receive(at(stage, role), data)
        else:
            refused(at(stage, role), data, "not due")


GOOD = cbor2.loads(JOINER.says())
WRONG: dict[str, Callable[[], bytes]] = {
    "nothing": lambda: b"",
    "no array": lambda: cbor2.dumps("who"),
    "an empty array": lambda: cbor2.dumps([]),
    "three parts": lambda: cbor2.dumps(GOOD[:3]),
    "five parts": lambda: cbor2.dumps([*GOOD, 1]),
    "no info": lambda: cbor2.dumps(["who", None, *GOOD[2:]]),
    "a short contribution": lambda: JOINER.says(contribution=bytes(31)),
    "a contribution of text": lambda: cbor2.dumps(["who", GOOD[1], "c" * 32, GOOD[3]]),
    "a short signature": lambda: cbor2.dumps([*GOOD[:3], bytes(63)]),
    "no signature": lambda: cbor2.dumps([*GOOD[:3], None]),
    "an empty signature": lambda: cbor2.dumps([*GOOD[:3], bytes(64)]),
    "more than fits": lambda: says_more(x=bytes(MOST_MESSAGE)),
    "something after it": lambda: JOINER.says() + b"\x00",
}


@pytest.mark.parametrize("make", WRONG.values(), ids=WRONG.keys())
def test_what_is_no_message_is_malformed(make: Callable[[], bytes]) -> None:
    refused(INVITER.meets(JOINER), make())


plain = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**64), 2**64 - 1) | st.floats() | st.text(max_size=9) | st.binary(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4),
    max_leaves=9,
)


@given(st.dictionaries(st.sampled_from([*GOOD[1], "new"]), plain), st.sampled_from(STAGES))
def test_nonsense_is_malformed_at_every_stage(changes: dict[str, Any], where: tuple[Role, Stage]) -> None:
    state = at(where[1], where[0])
    if changes:
        refused(state, cbor2.dumps(["who", {**GOOD[1], **changes}, *GOOD[2:]]))
    refused(state, cbor2.dumps(changes))


@given(st.binary(max_size=300))
def test_arbitrary_bytes_are_malformed(data: bytes) -> None:
    refused(INVITER.meets(JOINER), data)


@given(st.integers(0, len(JOINER.says()) - 1), st.integers(1, 255))
def test_no_bit_can_be_flipped(place: int, mask: int) -> None:
    data = bytearray(JOINER.says())
    data[place] ^= mask
    refused(INVITER.meets(JOINER), bytes(data))


def test_contributions_do_not_show() -> None:
    state = at(Stage.DONE, Role.INVITER)
    assert repr(JOINER.contribution) not in repr(state)
    assert repr(JOINER.contribution) not in repr(Store(JOINER.info, JOINER.contribution))

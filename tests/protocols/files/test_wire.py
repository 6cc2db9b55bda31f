"""Tests of ``springline.protocols.files.wire``."""

from __future__ import annotations

from typing import Any
from uuid import UUID

import cbor2
import pytest
from hypothesis import given
from hypothesis import strategies as st

from springline.errors import Malformed
from springline.protocols.files.naming import MOST_BYTES, numbered
from springline.protocols.files.wire import AllThere, Have, Offer, offer_from_untrusted, reply_from_untrusted

ID = UUID(int=7)
sizes = st.integers(0, 2**63 - 1)
names = st.from_regex(r"[a-zA-Z0-9äöü]{1,30}(\.[a-z]{1,5})?", fullmatch=True).filter(lambda n: n.lower()[:3] not in
    ("con", "prn", "aux", "nul", "com", "lpt"))  # fmt: skip


@given(st.uuids(), names, sizes, sizes)
def test_an_offer_arrives(transfer: UUID, name: str, one: int, other: int) -> None:
    offer = Offer(transfer, name, max(one, other), min(one, other))
    assert offer_from_untrusted(offer.encode()) == offer


@given(sizes, st.binary(min_size=32, max_size=32), names)
def test_a_reply_arrives(offset: int, digest: bytes, name: str) -> None:
    assert reply_from_untrusted(Have(offset).encode()) == Have(offset)
    assert reply_from_untrusted(AllThere(digest, name).encode()) == AllThere(digest, name)


def test_a_receiver_may_have_numbered_the_longest_name() -> None:
    reply = AllThere(bytes(32), numbered("x" * MOST_BYTES, 999))
    assert reply_from_untrusted(reply.encode()) == reply


def test_the_layout() -> None:
    """As ``docs/protocol.rst`` tells it."""
    fields = {"transfer": ID.bytes, "name": "a", "size": 5, "offset": 2}
    assert cbor2.loads(Offer(ID, "a", 5, 2).encode()) == fields
    assert cbor2.loads(Have(2).encode()) == {"offset": 2}
    assert cbor2.loads(AllThere(bytes(32), "a").encode()) == {"done": bytes(32), "name": "a"}


OFFER = {"transfer": ID.bytes, "name": "a", "size": 5, "offset": 0}
WRONG_OFFERS: dict[str, Any] = {
    "a list": [],
    "no transfer": {**OFFER, "transfer": None},
    "a short transfer": {**OFFER, "transfer": bytes(15)},
    "a path": {**OFFER, "name": "../a"},
    "no name": {"transfer": ID.bytes, "size": 5, "offset": 0},
    "a negative size": {**OFFER, "size": -1},
    "a size beyond any disk": {**OFFER, "size": 2**63},
    "a size that is a truth value": {**OFFER, "size": True},
    "a size with a fraction": {**OFFER, "size": 1.5},
    "an offset behind the end": {**OFFER, "offset": 6},
    "a negative offset": {**OFFER, "offset": -1},
    "more than fits": {**OFFER, "x": bytes(4096)},
}


@pytest.mark.parametrize("fields", WRONG_OFFERS.values(), ids=WRONG_OFFERS.keys())
def test_what_is_no_offer_is_malformed(fields: Any) -> None:
    with pytest.raises(Malformed):
        offer_from_untrusted(cbor2.dumps(fields))


@pytest.mark.parametrize(
    "fields",
    [[], {}, {"offset": -1}, {"offset": None}, {"done": bytes(31), "name": "a"}, {"done": bytes(32), "name": "a/b"}],
)
def test_what_is_no_reply_is_malformed(fields: Any) -> None:
    with pytest.raises(Malformed):
        reply_from_untrusted(cbor2.dumps(fields))


def test_what_a_later_version_adds_is_ignored() -> None:
    assert offer_from_untrusted(cbor2.dumps({**OFFER, "mode": 0o644})) == Offer(ID, "a", 5)
    assert reply_from_untrusted(cbor2.dumps({"offset": 1, "speed": 5})) == Have(1)


plain = st.none() | st.booleans() | st.integers(-(2**64), 2**64 - 1) | st.floats() | st.text() | st.binary(max_size=20)


@given(st.dictionaries(st.sampled_from([*OFFER, "done"]), plain).map(cbor2.dumps) | st.binary(max_size=80))
def test_arbitrary_bytes_are_malformed_at_worst(data: bytes) -> None:
    for parse in (offer_from_untrusted, reply_from_untrusted):
        try:
            assert parse(data) == parse(parse(data).encode())
        except Malformed:
            pass

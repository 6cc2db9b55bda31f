"""Who a device is, and what is believed of it."""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

import cbor2
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from springline.errors import Malformed, Misuse
from springline.store.identity import (
    MOST_ADDRESS,
    MOST_ADDRESSES,
    MOST_NAME,
    DeviceInfo,
    NetworkIdentity,
    clean_name,
    device_id_of,
    info_from_untrusted,
)
from springline.tests.store.cast import identity, info

names = st.text(min_size=1, max_size=MOST_NAME).filter(lambda name: any(c.isalnum() for c in name)).map(clean_name)
addresses = st.lists(st.text("abc.:[]0123456789", max_size=MOST_ADDRESS), max_size=MOST_ADDRESSES).map(tuple)
cbor_only: list[Any] = [
    *(cbor2.undefined, cbor2.CBORSimpleValue(99), cbor2.CBORTag(4711, b"")),
    *(Decimal("NaN"), datetime.fromtimestamp(0, UTC), frozenset((1, 2)), UUID(int=0)),
]
values: st.SearchStrategy[Any] = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=70)
    | st.binary(max_size=70)
    | st.sampled_from(cbor_only),
    lambda inner: st.lists(inner, max_size=20) | st.dictionaries(st.text(max_size=9), inner, max_size=3),
    max_leaves=25,
)


@given(st.binary(min_size=32, max_size=32), st.binary(min_size=32, max_size=32), names, addresses)
def test_an_info_comes_back_and_holds(seed: bytes, static: bytes, name: str, where: tuple[str, ...]) -> None:
    sent = NetworkIdentity(seed, static).info(name, where)
    assert info_from_untrusted(cbor2.loads(cbor2.dumps(sent.to_dict()))) == sent


@given(st.dictionaries(st.sampled_from(["id", "name", "sign", "static", "cert", "addresses"]), values) | values)
@example({"name": "x", "addresses": []})
def test_anything_else_is_malformed_and_nothing_else(fields: object) -> None:
    with pytest.raises(Malformed):
        info_from_untrusted(fields)


@given(st.sampled_from(["id", "sign", "static", "cert"]), st.integers(0, 511))
def test_no_bit_of_an_identity_can_be_changed(field: str, at: int) -> None:
    fields = info(1).to_dict()
    value = bytearray(fields[field])
    value[at // 8 % len(value)] ^= 1 << at % 8
    with pytest.raises(Malformed):
        info_from_untrusted({**fields, field: bytes(value)})


@given(st.sampled_from(["id", "name", "sign", "static", "cert", "addresses"]), values)
def test_any_other_value_is_malformed_or_holds(field: str, value: object) -> None:
    try:
        found = info_from_untrusted({**info(1).to_dict(), field: value})
    except Malformed:
        return
    assert field in ("name", "addresses")
    found.verify()


def test_nobody_can_claim_anothers_id_or_static_key() -> None:
    mine, theirs = info(1).to_dict(), info(2).to_dict()
    for stolen in (["id"], ["static"], ["static", "cert"], ["sign"], ["id", "sign"], ["id", "sign", "cert"]):
        with pytest.raises(Malformed):
            info_from_untrusted({**mine, **{field: theirs[field] for field in stolen}})


@pytest.mark.parametrize(
    "where",
    ["10.0.0.1:1", ["x" * (MOST_ADDRESS + 1)], ["a"] * (MOST_ADDRESSES + 1), [1], [b"a:1"], ["a\x1b[2J:1"], ["a\n:1"]],
)
def test_addresses_are_few_short_and_plain(where: object) -> None:
    with pytest.raises(Malformed, match="address"):
        info_from_untrusted({**info(1).to_dict(), "addresses": where})


def test_an_id_is_a_version_8_uuid_of_the_key() -> None:
    key = identity(1).signing_key
    made = device_id_of(key)
    digest = hashlib.blake2b(key, digest_size=16, person=b"springline id").hexdigest()
    assert (made.version, made.variant) == (8, "specified in RFC 4122")
    assert made.hex[:12] == digest[:12]
    assert made == UUID("bbc08ea9-5305-847a-b4a9-f06c1b980600"), (
        "ids may never change: other devices know this one by it"
    )


@given(st.text(max_size=100))
@example("e\u200d\u0301")  # composes only once the joiner is gone
@example("x" * 63 + " y")
@example("a\u2028b\ud800\x00\u202e")
def test_a_clean_name_stays_as_it_is(name: str) -> None:
    try:
        cleaned = clean_name(name)
    except Misuse:
        return
    assert clean_name(cleaned) == cleaned
    assert 0 < len(cleaned) <= MOST_NAME
    assert not set(cleaned) & {"\x00", "\n", "\x1b", "\u202e", "\u2028"}
    cleaned.encode()


@pytest.mark.parametrize("name", ["", " ", "\x00\x1f", "\u200b\u202e"])
def test_a_name_of_nothing_is_none(name: str) -> None:
    with pytest.raises(Misuse):
        clean_name(name)
    with pytest.raises(Malformed):
        info_from_untrusted({**info(1).to_dict(), "name": name})


def test_a_signature_means_one_thing_only() -> None:
    signature = identity(1).sign(b"statement", "pairing")
    info(1).verify_signature(signature, b"statement", "pairing")
    for who, message, context in (
        (info(2), b"statement", "pairing"),
        (info(1), b"another", "pairing"),
        (info(1), b"statement", "static key"),
        (info(1), b"gstatement", "pairin"),
    ):
        with pytest.raises(Malformed):
            who.verify_signature(signature, message, context)


def test_private_keys_do_not_show() -> None:
    secret = NetworkIdentity(b"S" * 32, b"T" * 32)
    assert "SSS" not in repr(secret) + str(secret)
    assert "TTT" not in repr(secret) + str(secret)


def test_new_identities_differ_and_take_their_randomness_from_outside() -> None:
    assert NetworkIdentity.new() != NetworkIdentity.new()
    assert NetworkIdentity.new(bytes) == NetworkIdentity(bytes(32), bytes(32))


def test_an_info_can_be_found_elsewhere() -> None:
    moved: DeviceInfo = info(1).with_addresses(("10.0.0.1:2",))
    moved.verify()
    assert moved.with_addresses(()) == info(1)

"""Address records: one size, believed from one device only, and bytes from outside raise one error."""

from __future__ import annotations

import os
from dataclasses import replace
from ipaddress import ip_address
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st
from nacl.bindings import crypto_aead_xchacha20poly1305_ietf_encrypt
from nacl.exceptions import BadSignatureError
from nacl.signing import SigningKey

from springline.errors import Malformed, Misuse
from springline.transport.address import Address
from springline.transport.discovery.records import (
    MOST_LIFETIME,
    RECORD_SIZE,
    TOLERANCE,
    AddressRecord,
    open_untrusted,
    seal,
)
from springline.transport.discovery.tags import PERIOD, Spot, finding_secret, meeting, period_at, spot

NOW = 1_800_000_000.25
SIGNER, STRANGER = SigningKey(b"1" * 32), SigningKey(b"2" * 32)
SECRET = finding_secret(b"s" * 32)
HERE = spot(SECRET, UUID(int=1), period_at(NOW))
HOME = (Address("192.168.1.7", 7400), Address("2001:db8::7", 7400), Address("fe80::7", 7400))

packed = st.binary(min_size=4, max_size=4) | st.binary(min_size=16, max_size=16)
ips = packed.map(ip_address).filter(lambda ip: not (ip.is_multicast or ip.is_unspecified))
addresses = st.builds(Address, ips.map(str), st.integers(1, 65535))


def sign(statement: bytes) -> bytes:
    return SIGNER.sign(statement).signature


def verify(signature: bytes, statement: bytes) -> None:
    try:
        SIGNER.verify_key.verify(statement, signature)
    except BadSignatureError:
        raise Malformed("not theirs") from None


def sealed(where: tuple[Address, ...] = HOME, at: Spot = HERE, now: float = NOW, lifetime: float = 600.0) -> bytes:
    return seal(where, at, sign, now, lifetime)


def opened(record: bytes, at: Spot = HERE, now: float = NOW, newest: float = -1.0) -> AddressRecord:
    return open_untrusted(record, at, verify, now, newest)


@given(st.lists(addresses, max_size=7))
def test_what_is_sealed_is_read_and_has_one_size(where: list[Address]) -> None:
    record = sealed(tuple(where))
    assert len(record) == RECORD_SIZE
    assert opened(record) == AddressRecord(tuple(where), NOW, NOW + 600.0)


@given(st.lists(addresses, min_size=8, max_size=24))
def test_what_has_no_room_is_left_out_from_the_end(where: list[Address]) -> None:
    record = sealed(tuple(where))
    assert len(record) == RECORD_SIZE
    assert opened(record).addresses[:7] == tuple(where[:7])
    assert len(opened(record).addresses) <= len(where)


def test_what_means_nothing_elsewhere_is_left_out() -> None:
    where = (Address("host.example", 1), Address("10.0.0.1", 0), Address("fe80::1%eth0", 5), Address("10.0.0.1", 6))
    assert opened(sealed(where)).addresses == (Address("fe80::1", 5), Address("10.0.0.1", 6))


def test_no_two_records_are_alike_and_none_shows_what_it_says() -> None:
    one, other = sealed(), sealed()
    assert one != other
    assert all(part not in one for part in (HERE.tag, bytes([192, 168, 1, 7]), bytes(SIGNER.verify_key)))
    assert sum(a == b for a, b in zip(one, other, strict=True)) < 12, "as of bytes drawn at random"


@given(st.binary(max_size=2 * RECORD_SIZE) | st.binary(min_size=RECORD_SIZE, max_size=RECORD_SIZE))
def test_bytes_from_outside_raise_one_error(data: bytes) -> None:
    with pytest.raises(Malformed):
        opened(data)
    with pytest.raises(Malformed):
        open_untrusted(data, HERE, None, NOW)


@given(st.binary(min_size=151, max_size=151), st.booleans())
def test_whatever_a_device_that_may_seal_says_raises_one_error_or_is_dialled(content: bytes, right: bool) -> None:
    content = bytes([1]) + content[1:] if right else content
    record = whatever(content)
    try:
        said = open_untrusted(record, HERE, None, NOW)
    except Malformed:
        return
    assert all(address.port > 0 for address in said.addresses)


def whatever(content: bytes) -> bytes:
    """A record that is sealed and signed as it should be, whatever it says."""
    bound = HERE.tag + HERE.period.to_bytes(8, "big")
    nonce = os.urandom(24)
    signed = content + sign(bound + content)
    return nonce + crypto_aead_xchacha20poly1305_ietf_encrypt(signed, bound, nonce, HERE.key)


def head(issued_ms: int = int(NOW * 1000), lifetime: int = 600, count: int = 0, version: int = 1) -> bytes:
    return bytes([version]) + issued_ms.to_bytes(8, "big") + lifetime.to_bytes(4, "big") + bytes([count])


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (head(version=2), "version"),
        (head(lifetime=int(MOST_LIFETIME) + 1), "never ends"),
        (head(count=1), "addresses"),
        (head(count=255) + bytes([4, 1, 2, 3, 4, 0, 1]) * 19, "addresses"),
        (head(count=1) + bytes([5]) * 30, "addresses"),
        (head(issued_ms=2**64 - 1), "period"),
        (head(issued_ms=0), "period"),
    ],
)
def test_nonsense_that_is_signed_is_refused(content: bytes, why: str) -> None:
    with pytest.raises(Malformed, match=why):
        opened(whatever(content.ljust(151, b"\0")))


def test_addresses_of_nobody_are_not_dialled() -> None:
    hosts = (224, 0, 0, 251), (0, 0, 0, 0), (10, 0, 0, 1)
    where = bytes([4, 10, 0, 0, 2, 0, 0]) + b"".join(bytes([4, *host]) + b"\0\1" for host in hosts)
    assert opened(whatever((head(count=4) + where).ljust(151, b"\0"))).addresses == (Address("10.0.0.1", 1),)


@given(st.integers(0, 8 * RECORD_SIZE - 1))
def test_no_bit_can_be_changed(bit: int) -> None:
    record = bytearray(sealed())
    record[bit // 8] ^= 1 << bit % 8
    with pytest.raises(Malformed, match="not sealed for us"):
        opened(bytes(record))


def test_it_is_good_in_one_place_only() -> None:
    others = [
        spot(SECRET, UUID(int=2), HERE.period),
        spot(SECRET, UUID(int=1), HERE.period + 1),
        spot(finding_secret(b"t" * 32), UUID(int=1), HERE.period),
        replace(HERE, tag=bytes(16)),
        replace(HERE, period=HERE.period + 1),
    ]
    for other in others:
        with pytest.raises(Malformed, match="not sealed for us"):
            opened(sealed(), other)


def test_somebody_elses_signature_is_refused() -> None:
    forged = seal(HOME, HERE, lambda statement: STRANGER.sign(statement).signature, NOW, 600.0)
    with pytest.raises(Malformed, match="not theirs"):
        opened(forged)


def test_a_signature_can_not_be_moved_to_another_spot() -> None:
    """Who reads a record in one relationship can't have it believed in another."""
    elsewhere = spot(finding_secret(b"t" * 32), UUID(int=1), HERE.period)
    signatures: list[bytes] = []
    seal(HOME, HERE, lambda statement: signatures.append(sign(statement)) or signatures[0], NOW, 600.0)  # type: ignore[func-returns-value]
    moved = seal(HOME, elsewhere, lambda _: signatures[0], NOW, 600.0)
    with pytest.raises(Malformed, match="not theirs"):
        opened(moved, elsewhere)


def test_what_is_known_is_not_asked_for_its_signature() -> None:
    asked: list[bytes] = []
    record = sealed()
    with pytest.raises(Malformed, match="no news"):
        open_untrusted(record, HERE, lambda signature, _: asked.append(signature), NOW, newest=NOW)
    assert not asked
    open_untrusted(record, HERE, lambda signature, _: asked.append(signature), NOW, newest=NOW - 0.001)
    assert asked


def test_its_time_is_asked_for() -> None:
    record = sealed()
    opened(record, now=NOW - TOLERANCE)
    opened(record, now=NOW + 600.0 + TOLERANCE)
    with pytest.raises(Malformed, match="future"):
        opened(record, now=NOW - TOLERANCE - 1)
    with pytest.raises(Malformed, match="expired"):
        opened(record, now=NOW + 600.0 + TOLERANCE + 1)
    with pytest.raises(Malformed, match="another period"):
        opened(sealed(now=NOW + 2 * PERIOD), now=NOW + 2 * PERIOD)


def test_a_lifetime_or_a_clock_that_can_not_be_is_a_misuse() -> None:
    for lifetime in (0.0, -1.0, MOST_LIFETIME + 1):
        with pytest.raises(Misuse):
            sealed(lifetime=lifetime)
    for clock in (-1.0, 1e13):
        with pytest.raises(Misuse, match="clock"):
            sealed(now=clock)


def test_an_invitations_record_needs_the_words_and_no_clock() -> None:
    there = meeting(b"w" * 32)
    record = seal(HOME, there, None, NOW, 300.0)
    assert len(record) == RECORD_SIZE
    for now in (0.0, NOW, NOW + 1e9):
        assert open_untrusted(record, there, None, now).addresses == HOME
    with pytest.raises(Malformed):
        open_untrusted(record, meeting(b"v" * 32), None, NOW)
    with pytest.raises(Malformed):
        opened(record, there)

"""What a device tells of itself where others can read it: its addresses, for the eyes of one other device.

The rule: a record is believed only if it is sealed for this spot, signed by the device that is looked for, made for
this spot's period, of its time and newer than the one that is known. All of them have one size, so a stranger sees that
there is a record, and nothing of what it says. The cheap questions come first: a stranger's bytes cost one attempt to
open a seal; what has been heard before costs no signature.

A record (numbers are big-endian)::

    nonce 24 · XChaCha20-Poly1305( content 151 · signature 64 )           255 bytes: one string of a TXT record
    content   version u8 · issued at u64 (ms since 1970) · lifetime u32 (s) · count u8 · addresses · zeros
    address   4 · IPv4 4 · port u16    or    6 · IPv6 16 · port u16

The tag and the period (u64) are the seal's associated data, and stand before the content in what is signed. Who signs,
and how, is the caller's: this module knows neither keys nor purposes.

The records of an invitation lie at :func:`~springline.transport.discovery.tags.meeting`. Whoever has the words may seal
them and nobody knows whose signature to ask for, so there is none (zeros); nor is their time asked for, because the
spot is used once, and two strangers' clocks may differ by anything.
"""

from __future__ import annotations

import ipaddress
import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import nacl.utils
from nacl.bindings import crypto_aead_xchacha20poly1305_ietf_decrypt, crypto_aead_xchacha20poly1305_ietf_encrypt
from nacl.exceptions import CryptoError

from springline.errors import Malformed, Misuse
from springline.transport.address import Address
from springline.transport.discovery.tags import PERIOD, Spot, period_at

RECORD_SIZE = 255
"""Bytes in every record."""

MOST_LIFETIME = 2 * PERIOD
"""Seconds that a record may be good for: later than that nobody looks under its tag."""

TOLERANCE = PERIOD
"""Seconds by which two clocks may differ: so much is allowed to a record that has ended, or begins later."""

SIGNATURE_SIZE = 64
_NONCE_SIZE = 24
_OVERHEAD = 16
_CONTENT_SIZE = RECORD_SIZE - _NONCE_SIZE - _OVERHEAD - SIGNATURE_SIZE
_HEAD_SIZE = 1 + 8 + 4 + 1
_VERSION = 1
_SIZES = {4: 4, 6: 16}
_MOST_SECONDS = 2.0**40

Sign = Callable[[bytes], bytes]
"""Makes a signature (64 bytes)."""

Verify = Callable[[bytes, bytes], object]
"""Takes a signature and a message. Raises ``Malformed`` if the one is not that device's over the other."""


@dataclass(frozen=True, slots=True)
class AddressRecord:
    """What a record says.

    :param issued_at: when it was made. :param expires_at: when it ends. Both by its device's clock, wall-clock seconds.
    """

    addresses: tuple[Address, ...]
    issued_at: float
    expires_at: float


def seal(
    addresses: Iterable[Address],
    spot: Spot,
    sign: Sign | None,
    issued_at: float,
    lifetime: float,
    random: Callable[[int], bytes] = nacl.utils.random,
) -> bytes:
    """A record for that spot.

    :param addresses: best first; those that are no IP addresses are left out, and so are the last ones if there is no
        room. :param sign: None for an invitation's.
    :param issued_at: wall-clock seconds. :param lifetime: seconds.
    :raises Misuse: the lifetime, or the time, is none.
    """
    if not 0 < lifetime <= MOST_LIFETIME:
        raise Misuse(f"a record can't be good for {lifetime:g} s", f"at most {MOST_LIFETIME:g} s")
    if not 0 <= issued_at < _MOST_SECONDS:
        raise Misuse("this device's clock is wrong", "set it")
    room, packed = _CONTENT_SIZE - _HEAD_SIZE, []
    for address in addresses:
        one = _pack(address)
        if one and len(one) <= room:
            packed.append(one)
            room -= len(one)
    head = bytes([_VERSION]) + int(issued_at * 1000).to_bytes(8, "big") + math.ceil(lifetime).to_bytes(4, "big")
    content = (head + bytes([len(packed)]) + b"".join(packed)).ljust(_CONTENT_SIZE, b"\0")
    signature = bytes(SIGNATURE_SIZE) if sign is None else sign(_bound(spot) + content)
    nonce = random(_NONCE_SIZE)
    return nonce + crypto_aead_xchacha20poly1305_ietf_encrypt(content + signature, _bound(spot), nonce, spot.key)


def open_untrusted(record: bytes, spot: Spot, verify: Verify | None, now: float, newest: float = -1.0) -> AddressRecord:
    """What a record from outside says.

    :param verify: whether the device that is looked for has signed it; None for an invitation's.
    :param now: wall-clock seconds. :param newest: when the newest one that is known was made.
    :raises Malformed: it is none, not for this spot, not that device's, not of this time, or no news.
    """
    if len(record) != RECORD_SIZE:
        raise Malformed("a record of the wrong size")
    nonce, sealed = record[:_NONCE_SIZE], record[_NONCE_SIZE:]
    try:
        opened = crypto_aead_xchacha20poly1305_ietf_decrypt(sealed, _bound(spot), nonce, spot.key)
    except CryptoError:
        raise Malformed("a record that is not sealed for us") from None
    content, signature = opened[:_CONTENT_SIZE], opened[_CONTENT_SIZE:]
    said = _parse(content)
    if verify is not None:
        _expect_timely(said, spot, now, newest)
        verify(signature, _bound(spot) + content)
    return said


def _bound(spot: Spot) -> bytes:
    """What a record is for."""
    return spot.tag + spot.period.to_bytes(8, "big")


def _expect_timely(said: AddressRecord, spot: Spot, now: float, newest: float) -> None:
    if said.issued_at <= newest:
        raise Malformed("a record that is no news")
    if abs(period_at(said.issued_at) - spot.period) > 1:
        raise Malformed("a record of another period")
    if said.issued_at > now + TOLERANCE:
        raise Malformed("a record from the future")
    if said.expires_at + TOLERANCE < now:
        raise Malformed("a record that has expired")


def _pack(address: Address) -> bytes:
    """``b""`` for one that means nothing elsewhere."""
    try:
        ip = ipaddress.ip_address(address.host.partition("%")[0])
    except ValueError:
        return b""
    return bytes([ip.version]) + ip.packed + address.port.to_bytes(2, "big") if address.port else b""


def _parse(content: bytes) -> AddressRecord:
    if content[0] != _VERSION:
        raise Malformed("a record of a version that is not known")
    issued, lifetime = int.from_bytes(content[1:9], "big") / 1000, int.from_bytes(content[9:13], "big")
    if lifetime > MOST_LIFETIME:
        raise Malformed("a record that never ends")
    addresses, rest = [], content[_HEAD_SIZE:]
    for _ in range(content[13]):
        size = _SIZES.get(rest[0], 0) if rest else 0
        if not size or len(rest) < 1 + size + 2:
            raise Malformed("a record whose addresses are none")
        ip, port = ipaddress.ip_address(rest[1 : 1 + size]), int.from_bytes(rest[1 + size : 3 + size], "big")
        rest = rest[3 + size :]
        if port and not (ip.is_multicast or ip.is_unspecified):
            addresses.append(Address(str(ip), port))
    return AddressRecord(tuple(addresses), issued, issued + lifetime)

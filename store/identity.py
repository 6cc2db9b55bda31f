"""Who a device is: an Ed25519 key that signs, and a separate X25519 key that shakes hands, certified by the first.

The rule: a device's id is a hash of its signing key, so nobody can claim another's id; its static key is believed only
with a certificate. Private keys never show in a repr. Signatures carry a context, so that one made for one purpose
means nothing for another.

An id is a UUID of version 8 (RFC 9562 §5.8): BLAKE2b-128 of the signing key with version and variant bits put in.
"""

from __future__ import annotations

import hashlib
import unicodedata
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any
from uuid import UUID

import nacl.utils
from nacl.bindings import crypto_scalarmult_base
from nacl.exceptions import BadSignatureError
from nacl.signing import SigningKey, VerifyKey

from springline.errors import Malformed, Misuse

PAIRING_CONTEXT = "pairing"
RECORD_CONTEXT = "address record"
_CERTIFICATE_CONTEXT = "static key"

KEY_SIZE = 32
SIGNATURE_SIZE = 64
MOST_NAME = 64
MOST_ADDRESSES = 16
MOST_ADDRESS = 128
_UNPRINTABLE = {"Cc", "Cf", "Cs", "Co", "Zl", "Zp"}


def device_id_of(signing_key: bytes) -> UUID:
    """The id of the device with that Ed25519 public key (32 bytes)."""
    digest = bytearray(hashlib.blake2b(signing_key, digest_size=16, person=b"springline id").digest())
    digest[6] = digest[6] & 0x0F | 0x80
    digest[8] = digest[8] & 0x3F | 0x80
    return UUID(bytes=bytes(digest))


def clean_name(name: str) -> str:
    """``name`` without control and format characters, at most 64 characters. :raises Misuse: nothing is left.

    A clean name stays as it is: what a device signs of itself must be what others read. So characters are dropped
    before they are composed, and those that this Python's Unicode does not know are left to one that does.
    """
    printing = "".join(c for c in name if unicodedata.category(c) not in _UNPRINTABLE)
    kept = unicodedata.normalize("NFC", printing).strip()
    if not kept:
        raise Misuse("a device needs a name", f"1 to {MOST_NAME} characters")
    return kept[:MOST_NAME].strip()


def _statement(context: str, message: bytes) -> bytes:
    label = f"springline/1 {context}".encode()
    return len(label).to_bytes(2, "big") + label + message


def verify_signature(signing_key: bytes, signature: bytes, message: bytes, context: str) -> None:
    """:raises Malformed: that key has not signed ``message`` for that purpose."""
    try:
        VerifyKey(signing_key).verify(_statement(context, message), signature)
    except (BadSignatureError, ValueError, TypeError):
        raise Malformed("a signature does not hold") from None


@dataclass(frozen=True, slots=True)
class DeviceInfo:
    """The public side of a device.

    :param signing_key: Ed25519 public key, 32 bytes. :param static_key: X25519 public key, 32 bytes.
    :param certificate: the signing key's signature over the static key, 64 bytes.
    :param addresses: where it says it can be dialled.
    """

    device_id: UUID
    name: str
    signing_key: bytes
    static_key: bytes
    certificate: bytes
    addresses: tuple[str, ...] = ()

    def verify(self) -> None:
        """:raises Malformed: the id is not the key's, or the certificate does not hold."""
        if self.device_id != device_id_of(self.signing_key):
            raise Malformed("the device's id is not its key's")
        self.verify_signature(self.certificate, self.static_key, _CERTIFICATE_CONTEXT)

    def verify_signature(self, signature: bytes, message: bytes, context: str) -> None:
        """:raises Malformed: this device has not signed ``message`` for that purpose."""
        verify_signature(self.signing_key, signature, message, context)

    def with_addresses(self, addresses: tuple[str, ...]) -> DeviceInfo:
        """The same, to be found elsewhere."""
        return replace(self, addresses=addresses)

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for CBOR; :func:`info_from_untrusted` reads them."""
        return {
            "id": self.device_id.bytes,
            "name": self.name,
            "sign": self.signing_key,
            "static": self.static_key,
            "cert": self.certificate,
            "addresses": list(self.addresses),
        }


def info_from_untrusted(fields: object) -> DeviceInfo:
    """A peer's info, parsed and verified. :raises Malformed: it is not one."""
    if not isinstance(fields, Mapping):
        raise Malformed("a device's info is not a map")
    name, addresses = fields.get("name"), fields.get("addresses", [])
    if not isinstance(name, str) or len(name) > 4 * MOST_NAME:
        raise Malformed("a device's name is not a short text")
    if not isinstance(addresses, list) or len(addresses) > MOST_ADDRESSES:
        raise Malformed("a device's addresses are not a short list")
    if not all(isinstance(address, str) and _is_short(address) for address in addresses):
        raise Malformed("a device's address is not a short text")
    try:
        shown = clean_name(name)
    except Misuse as error:
        raise Malformed(error.message) from None
    info = DeviceInfo(
        UUID(bytes=_sized(fields, "id", 16)),
        shown,
        _sized(fields, "sign", KEY_SIZE),
        _sized(fields, "static", KEY_SIZE),
        _sized(fields, "cert", SIGNATURE_SIZE),
        tuple(addresses),
    )
    info.verify()
    return info


def _is_short(address: str) -> bool:
    return len(address) <= MOST_ADDRESS and address.isprintable()


def _sized(fields: Mapping[Any, Any], name: str, size: int) -> bytes:
    value = fields.get(name)
    if not isinstance(value, bytes) or len(value) != size:
        raise Malformed(f"a device's info has no '{name}' of {size} bytes")
    return value


@dataclass(frozen=True, slots=True)
class NetworkIdentity:
    """The private side of this device.

    :param seed: Ed25519 seed, 32 bytes. :param static_private: X25519 private key, 32 bytes.
    """

    seed: bytes = field(repr=False)
    static_private: bytes = field(repr=False)

    @classmethod
    def new(cls, random: Callable[[int], bytes] = nacl.utils.random) -> NetworkIdentity:
        """A new one."""
        return cls(random(KEY_SIZE), random(KEY_SIZE))

    @property
    def signing_key(self) -> bytes:
        """Ed25519 public key."""
        return bytes(SigningKey(self.seed).verify_key)

    @property
    def device_id(self) -> UUID:
        """This device's id."""
        return device_id_of(self.signing_key)

    def sign(self, message: bytes, context: str) -> bytes:
        """A signature (64 bytes) over ``message`` that is good for one purpose only."""
        return SigningKey(self.seed).sign(_statement(context, message)).signature

    def info(self, name: str, addresses: tuple[str, ...] = ()) -> DeviceInfo:
        """The public side."""
        static = crypto_scalarmult_base(self.static_private)
        certificate = self.sign(static, _CERTIFICATE_CONTEXT)
        return DeviceInfo(self.device_id, name, self.signing_key, static, certificate, addresses)

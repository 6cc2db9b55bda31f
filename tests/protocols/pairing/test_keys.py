"""Tests of ``springline.protocols.pairing.keys``."""

from __future__ import annotations

import hashlib

from springline.protocols.pairing.keys import KEY_SIZE, keys_of

SECRET = bytes(range(16))


def test_each_key_is_for_one_purpose() -> None:
    keys, other = keys_of(SECRET), keys_of(bytes(16))
    made = [keys.psk, keys.doorbell, keys.tag, other.psk, other.doorbell, other.tag]
    assert all(len(key) == KEY_SIZE for key in made)
    assert len(set(made)) == len(made)
    assert keys_of(SECRET) == keys


def test_the_derivation_is_the_documented_one() -> None:
    """Both sides must agree for ever: BLAKE2b-256, keyed with the secret, personalised by the purpose."""
    keys = keys_of(SECRET)
    for key, purpose in ((keys.psk, b"pair psk"), (keys.doorbell, b"pair doorbell"), (keys.tag, b"pair tag")):
        assert key == hashlib.blake2b(key=SECRET, digest_size=32, person=purpose.ljust(16, b"\0")).digest()


def test_keys_do_not_show() -> None:
    keys = keys_of(SECRET)
    assert repr(keys) == "InvitationKeys()"

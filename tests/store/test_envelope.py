"""Sealed files: what opens them, what is refused, and as what."""

from __future__ import annotations

import base64
import hashlib
import json
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

from springline.errors import Damaged, LocalFault, Newer, WrongPassphrase
from springline.store.envelope import (
    EXPORT,
    KEY_SIZE,
    Lock,
    Strength,
    lock_of,
    new_lock,
    seal,
    subkey,
    unseal,
)

KEY = bytes(range(32))
PASSPHRASE = b"open sesame"
CONTEXT = "session_keys/somebody"

# Made once with libsodium and hashlib alone, from the description in the module.
UNLOCK_KEY = "bcf5875f49d4fedd661782dcdee466baff50e06a8e41356feb712f18b9ceeb76"
BLOB = "7a8ecca7649fe8635c144b93e49c7b0c"


def counting(size: int) -> bytes:
    """No randomness: the file format itself is under test."""
    return bytes(range(size))


def sealed_identity(plaintext: bytes = b"secret") -> bytes:
    lock, _ = new_lock(PASSPHRASE, KEY, Strength.MINIMAL)
    return seal(subkey(KEY, "identity"), plaintext, "identity", lock)


def opened_identity(blob: bytes, passphrase: bytes = PASSPHRASE) -> bytes:
    lock = lock_of(blob, "identity")
    data_key = lock.open(lock.derive(passphrase))
    return unseal(subkey(data_key, "identity"), blob, "identity")


def with_header(blob: bytes, **changed: Any) -> bytes:
    line, _, rest = blob.partition(b"\n")
    return json.dumps({**json.loads(line), **changed}).encode() + b"\n" + rest


@given(st.binary(max_size=3000), st.text(st.characters(codec="utf-8"), max_size=40))
def test_what_is_sealed_comes_back_with_its_key_and_context_only(plaintext: bytes, context: str) -> None:
    blob = seal(KEY, plaintext, context)
    assert unseal(KEY, blob, context) == plaintext
    for key, other in ((KEY[::-1], context), (KEY, context + "x")):
        with pytest.raises(Damaged):
            unseal(key, blob, other)


@given(st.binary(max_size=200), st.binary(max_size=100))
def test_a_passphrase_opens_its_data_key_and_no_other_does(passphrase: bytes, wrong: bytes) -> None:
    lock, unlock_key = new_lock(passphrase, KEY, Strength.MINIMAL)
    assert lock.derive(passphrase) == unlock_key
    assert lock.open(unlock_key) == KEY
    if wrong != passphrase:
        with pytest.raises(WrongPassphrase):
            lock.open(lock.derive(wrong))


def test_two_seals_of_the_same_share_nothing() -> None:
    first, second = (seal(KEY, b"same", CONTEXT).partition(b"\n")[2] for _ in range(2))
    assert first != second


def test_the_format_byte_by_byte() -> None:
    lock, unlock_key = new_lock(PASSPHRASE, KEY, Strength.MINIMAL, counting)
    blob = seal(KEY, b"secret", "identity", lock, counting)
    line, _, ciphertext = blob.partition(b"\n")
    salt, nonce = base64.b64encode(counting(16)).decode(), base64.b64encode(counting(24)).decode()
    assert json.loads(line) == {
        "format": "springline-sealed",
        "version": 1,
        "kdf": {"name": "argon2id", "level": "minimal", "ops": 1, "mem": 8192, "salt": salt},
        "wrap": {"nonce": nonce, "key": base64.b64encode(lock.wrapped).decode()},
        "check": base64.b64encode(lock.check).decode(),
        "nonce": nonce,
    }
    assert len(ciphertext) == len(b"secret") + 16
    # What a file of version 1 holds may not change: other devices' disks are full of them.
    assert unlock_key.hex() == UNLOCK_KEY
    assert hashlib.blake2b(blob, digest_size=16).hexdigest() == BLOB


def test_every_flipped_bit_is_found_and_never_blamed_on_the_passphrase() -> None:
    blob = sealed_identity()
    assert opened_identity(blob) == b"secret"
    for at in range(len(blob)):
        for bit in range(8):
            bad = bytearray(blob)
            bad[at] ^= 1 << bit
            with pytest.raises(Damaged):
                opened_identity(bytes(bad))


def test_every_truncation_and_extension_is_found() -> None:
    blob = sealed_identity()
    for size in range(len(blob)):
        with pytest.raises(Damaged):
            opened_identity(blob[:size])
    with pytest.raises(Damaged):
        opened_identity(blob + b"\0")


def test_a_wrong_passphrase_is_called_so() -> None:
    with pytest.raises(WrongPassphrase) as caught:
        opened_identity(sealed_identity(), b"guess")
    assert "guess" not in str(caught.value)


@given(st.binary(max_size=300))
@example(b"")
@example(b"\n")
@example(b"\xff\xfe{}\n")
@example(b"null\n")
@example(b"[" * 4000 + b"\n")
@example(b'{"a":' * 800 + b"\n")
@example(b" " * 5000 + b"{}\n")
@example(b'{"format": "springline-sealed", "version": ' + b"9" * 4000 + b"}\n")
@example(b'{"format": "springline-sealed", "version": 1e999}\n')
@example(b'{"format": "springline-sealed", "version": true}\n')
@example(b'{"format": "springline-sealed", "version": 1, "nonce": "\\ud800"}\n')
def test_foreign_bytes_are_damaged_and_nothing_else(data: bytes) -> None:
    for parse in (lambda: lock_of(data, "identity"), lambda: unseal(KEY, data, "identity")):
        with pytest.raises(Damaged, match="identity"):
            parse()


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=30),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)


@given(st.sampled_from(["format", "version", "nonce", "kdf", "wrap", "check"]), json_values)
def test_a_header_with_any_other_value_is_damaged_and_nothing_else(field: str, value: object) -> None:
    blob = sealed_identity()
    bad = with_header(blob, **{field: value})
    assume(bad != blob)
    with pytest.raises(Damaged):
        opened_identity(bad)


@given(st.sampled_from(["ops", "mem", "salt", "name"]), json_values)
@example("ops", True)
@example("ops", 1.0)
def test_a_header_with_another_derivation_is_damaged_and_nothing_else(field: str, value: object) -> None:
    blob = sealed_identity()
    kdf = {**json.loads(blob.partition(b"\n")[0])["kdf"], field: value}
    bad = with_header(blob, kdf=kdf)
    assume(bad != blob)
    with pytest.raises(Damaged):
        opened_identity(bad)


@pytest.mark.parametrize(
    ("passes", "memory"), [(1, 1 << 40), (1 << 40, 8192), (0, 8192), (-1, 8192), (1, 0), (1, -1), (17, 8192)]
)
def test_a_hostile_header_is_refused_before_any_work(passes: int, memory: int) -> None:
    lock, _ = new_lock(PASSPHRASE, KEY, Strength.MINIMAL)
    blob = seal(KEY, b"", "identity", lock)
    kdf = {**json.loads(blob.partition(b"\n")[0])["kdf"], "ops": passes, "mem": memory}
    with pytest.raises(Damaged, match="unreasonable"):
        lock_of(with_header(blob, kdf=kdf), "identity")


def test_a_header_without_a_level_opens_and_is_never_outdated() -> None:
    lock, _ = new_lock(PASSPHRASE, KEY, Strength.MINIMAL)
    for level in ("", "of a later version", "none", 3, None):
        blob = seal(subkey(KEY, "identity"), b"secret", "identity", replace(lock, level=""))
        kdf = {**json.loads(blob.partition(b"\n")[0])["kdf"], "level": level}
        found = lock_of(with_header(blob, kdf=kdf), "identity")
        assert found.level == ""
        assert not found.is_outdated
        assert found.open(found.derive(PASSPHRASE)) == KEY


@pytest.mark.parametrize("strength", [level for level in Strength if level is not Strength.NONE])
def test_a_lock_is_outdated_when_its_level_asks_for_more_now(strength: Strength) -> None:
    lock = Lock(strength.passes, strength.memory, bytes(16), bytes(24), bytes(48), strength.level)
    assert not lock.is_outdated
    assert not replace(lock, passes=lock.passes + 1, memory=lock.memory + 1).is_outdated
    assert replace(lock, passes=lock.passes - 1).is_outdated
    assert replace(lock, memory=lock.memory - 1).is_outdated


def test_without_a_passphrase_the_file_alone_opens_and_a_passphrase_is_refused() -> None:
    lock, _ = new_lock(b"", KEY, Strength.NONE)
    blob = seal(subkey(KEY, "identity"), b"secret", "identity", lock)
    assert json.loads(blob.partition(b"\n")[0])["kdf"].keys() == {"name", "salt"}
    assert lock_of(blob, "identity").is_open
    assert opened_identity(blob, b"") == b"secret"
    with pytest.raises(WrongPassphrase, match="no passphrase"):
        opened_identity(blob, PASSPHRASE)
    with pytest.raises(WrongPassphrase, match="no passphrase"):
        new_lock(PASSPHRASE, KEY, Strength.NONE)


def test_an_export_and_a_stores_file_are_never_taken_for_each_other() -> None:
    lock, _ = new_lock(PASSPHRASE, KEY, Strength.MINIMAL)
    for one, other in ((EXPORT, "identity"), ("identity", EXPORT)):
        with pytest.raises(Damaged, match="another program's"):
            lock_of(seal(KEY, b"", one, lock), other)


def test_no_memory_for_the_derivation_is_said_plainly() -> None:
    with pytest.raises(LocalFault, match=r"memory.*MiB"):
        Lock(1, 1 << 41, bytes(16), bytes(24), bytes(48)).derive(PASSPHRASE)


@pytest.mark.parametrize("strength", Strength)
def test_every_strength_is_within_the_bounds_of_reading(strength: Strength) -> None:
    lock = Lock(strength.passes, strength.memory, bytes(16), bytes(24), bytes(48), strength.level)
    assert lock_of(seal(KEY, b"", "identity", lock), "identity") == lock


def test_a_newer_version_is_told_apart_from_damage() -> None:
    with pytest.raises(Newer, match="untouched"):
        opened_identity(with_header(sealed_identity(), version=2))


def test_errors_tell_the_role_of_a_file_but_not_whose_it_is() -> None:
    with pytest.raises(Damaged) as caught:
        unseal(KEY, b"junk", CONTEXT)
    assert "session_keys" in caught.value.message
    assert "somebody" not in caught.value.message


def test_subkeys_differ_by_key_purpose_and_device() -> None:
    made = {subkey(k, p, w) for k in (KEY, KEY[::-1]) for p in ("device", "folder") for w in (b"", b"a", b"b")}
    assert len(made) == 12
    assert {len(key) for key in made} == {KEY_SIZE}

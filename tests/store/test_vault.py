"""The vault: devices that are paired, renewed, revoked; files that are damaged, swapped, half written."""

from __future__ import annotations

import base64
import errno
import os
import shutil
import stat
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from springline.errors import Damaged, LocalFault, Malformed, Misuse, Newer, UnknownDevice, WrongPassphrase
from springline.store import atomic, opening
from springline.store.devices import PairedDevice, TrustLevel
from springline.store.envelope import Strength
from springline.store.layout import Layout
from springline.store.preferences import ConnectionConfig
from springline.store.vault import Vault
from springline.tests.store.cast import (
    HERE,
    LATER,
    NOW,
    ONE,
    PASSPHRASE,
    THERE,
    TWO,
    damage,
    files,
    folder_of,
    info,
    interrupted,
    key,
    new_vault,
    pair,
    reopened,
)

MOST_CALLS = 60


# -- opening -----------------------------------------------------------------------------------------------------------


def test_a_new_store_opens_with_its_passphrase_and_with_its_data_key(vault: Vault) -> None:
    by_passphrase = opening.unlock(vault.layout, PASSPHRASE)
    assert by_passphrase.data_key == vault.data_key
    for found in (by_passphrase, reopened(vault)):
        assert found.identity == vault.identity
        assert found.config == vault.config
        assert found.devices() == []


def test_a_wrong_passphrase_or_key_is_called_so_and_changes_nothing(vault: Vault) -> None:
    before = files(vault.layout.root)
    with pytest.raises(WrongPassphrase):
        opening.unlock(vault.layout, b"guess")
    with pytest.raises(Damaged):
        opening.unlock_with(vault.layout, bytes(32))
    assert files(vault.layout.root) == before


def test_an_identity_is_made_once(vault: Vault) -> None:
    before = files(vault.layout.root)
    with pytest.raises(Misuse, match="already"):
        opening.create(vault.layout, b"other", "other", Strength.MINIMAL, NOW)
    assert files(vault.layout.root) == before


def test_without_an_identity_there_is_nothing_to_open(tmp_path: Path) -> None:
    with pytest.raises(Misuse, match="no identity"):
        opening.unlock(Layout(tmp_path), PASSPHRASE)


def test_a_lost_identity_is_named(vault: Vault) -> None:
    vault.layout.identity(vault.identity.device_id).unlink()
    with pytest.raises(Damaged, match="missing"):
        reopened(vault)


def test_the_identity_of_another_store_is_refused(vault: Vault, tmp_path: Path) -> None:
    other = new_vault(tmp_path / "other")
    shutil.copy(other.layout.identity(other.identity.device_id), vault.layout.identity(vault.identity.device_id))
    with pytest.raises(Damaged, match="different devices"):
        opening.unlock(vault.layout, PASSPHRASE)


@pytest.mark.parametrize("part", ["header", "ciphertext"])
def test_a_damaged_identity_falls_back_to_its_former_version(vault: Vault, part: str) -> None:
    pair(vault, 1)
    pair(vault, 2)
    path = vault.layout.identity(vault.identity.device_id)
    data = path.read_bytes()
    path.write_bytes(data.replace(b'"salt": "', b'"salt": "A', 1) if part == "header" else data[:-20])
    assert [device.info.device_id for device in opening.unlock(vault.layout, PASSPHRASE).devices()] == [ONE]
    for version in (path, atomic.previous(path)):
        version.write_bytes(b"junk")
    with pytest.raises(Damaged):
        opening.unlock(vault.layout, PASSPHRASE)


def test_a_file_of_a_newer_version_is_left_alone_though_a_former_one_would_open(vault: Vault) -> None:
    pair(vault, 1)
    path = vault.layout.identity(vault.identity.device_id)
    path.write_bytes(path.read_bytes().replace(b'"version": 1', b'"version": 2', 1))
    before = files(vault.layout.root)
    with pytest.raises(Newer):
        reopened(vault)
    assert files(vault.layout.root) == before


# -- pairing -----------------------------------------------------------------------------------------------------------


def test_a_paired_device_is_there_afterwards(vault: Vault) -> None:
    made = vault.pair(info(1, "friend").with_addresses((THERE,)), key(1), (HERE, THERE), NOW)
    assert made == PairedDevice(info(1, "friend"), NOW, None, TrustLevel.TRUSTED, auto_connect=True)
    for found in (vault, reopened(vault)):
        assert found.devices() == [made]
        assert found.device(ONE) == made
        assert found.by_static_key(info(1).static_key) == made
        assert found.relationship_key(ONE) == key(1)
        assert found.preferences(ONE).known_addresses == (HERE, THERE)


def test_devices_are_told_apart_and_unknown_ones_are_unknown(vault: Vault) -> None:
    vault.pair(info(1, "zoe"), key(1), (), NOW)
    vault.pair(info(2, "abe"), key(2), (), NOW)
    assert [device.info.name for device in vault.devices()] == ["abe", "zoe"]
    assert vault.relationship_key(ONE) != vault.relationship_key(TWO)
    stranger = info(3)
    assert vault.device(stranger.device_id) is None
    assert vault.by_static_key(stranger.static_key) is None
    with pytest.raises(Damaged):
        vault.relationship_key(stranger.device_id)
    changes: list[Callable[[], object]] = [
        lambda: vault.set_trust(stranger.device_id, TrustLevel.VERIFIED, NOW),
        lambda: vault.set_auto_connect(stranger.device_id, False, NOW),
        lambda: vault.revoke(stranger.device_id, NOW),
        lambda: vault.save_preferences(stranger.device_id, ConnectionConfig()),
    ]
    for change in changes:
        with pytest.raises(UnknownDevice):
            change()


def test_an_existing_pairing_is_renewed_not_doubled(vault: Vault) -> None:
    pair(vault, 1, 1, HERE)
    vault.set_trust(ONE, TrustLevel.VERIFIED, NOW)
    vault.set_auto_connect(ONE, False, NOW)
    vault.seen(ONE, NOW)
    vault.save_preferences(ONE, replace(vault.preferences(ONE), keepalive_interval=7.0))
    vault.pair(info(1, "new name"), key(9), (THERE,), LATER)
    for found in (vault, reopened(vault)):
        assert found.devices() == [PairedDevice(info(1, "new name"), NOW, NOW, TrustLevel.VERIFIED, auto_connect=True)]
        assert found.relationship_key(ONE) == key(9)
        assert found.preferences(ONE) == ConnectionConfig((THERE, HERE), keepalive_interval=7.0)


@pytest.mark.parametrize("level", [TrustLevel.EXPIRED, TrustLevel.REVOKED])
def test_pairing_again_is_the_users_word_that_brings_trust_back(vault: Vault, level: TrustLevel) -> None:
    pair(vault, 1)
    vault.set_trust(ONE, level, NOW)
    pair(vault, 1, 9)
    for found in (vault, reopened(vault)):
        assert [device.trust for device in found.devices()] == [TrustLevel.TRUSTED]
        assert found.relationship_key(ONE) == key(9)


def test_neither_itself_nor_an_identity_that_does_not_hold_is_paired(vault: Vault) -> None:
    before = files(vault.layout.root)
    with pytest.raises(Misuse, match="itself"):
        vault.pair(vault.identity.info("me"), key(1), (), NOW)
    with pytest.raises(Malformed):
        vault.pair(replace(info(1), device_id=TWO), key(1), (), NOW)
    assert files(vault.layout.root) == before


# -- what is wanted of a device, and what is known of it ---------------------------------------------------------------


def test_trust_and_wishes_are_kept(vault: Vault) -> None:
    pair(vault, 1)
    vault.set_trust(ONE, TrustLevel.VERIFIED, LATER)
    vault.set_auto_connect(ONE, False, LATER)
    vault.seen(ONE, LATER)
    assert reopened(vault).device(ONE) == PairedDevice(info(1), NOW, LATER, TrustLevel.VERIFIED, auto_connect=False)


def test_a_wish_that_is_kept_already_writes_nothing(vault: Vault) -> None:
    pair(vault, 1, 1, HERE)
    before = files(vault.layout.root)
    vault.set_auto_connect(ONE, True, LATER)
    vault.remember_address(ONE, HERE)
    assert files(vault.layout.root) == before


def test_the_address_that_answered_is_tried_first(vault: Vault) -> None:
    pair(vault, 1, 1, HERE, THERE)
    vault.remember_address(ONE, THERE)
    assert reopened(vault).preferences(ONE).known_addresses == (THERE, HERE)


# -- revoking ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("how", ["revoke", "set_trust"])
def test_a_revoked_device_stays_so_and_its_keys_are_gone(vault: Vault, how: str) -> None:
    pair(vault, 1, 1, HERE)
    pair(vault, 1, 9, THERE)  # so that there are previous versions
    pair(vault, 2)
    if how == "revoke":
        vault.revoke(ONE, LATER)
    else:
        vault.set_trust(ONE, TrustLevel.REVOKED, LATER)
    assert not folder_of(vault, ONE).exists()
    for found in (vault, reopened(vault)):
        device = found.device(ONE)
        assert device is not None
        assert (device.trust, device.auto_connect) == (TrustLevel.REVOKED, False)
        assert found.preferences(ONE) == ConnectionConfig()
        with pytest.raises(Damaged):
            found.relationship_key(ONE)
        assert found.relationship_key(TWO) == key(2)


def test_nothing_but_pairing_undoes_a_revocation(vault: Vault) -> None:
    pair(vault, 1, 1, HERE)
    vault.revoke(ONE, LATER)
    before = files(vault.layout.root)
    for level in (TrustLevel.TRUSTED, TrustLevel.VERIFIED, TrustLevel.EXPIRED):
        with pytest.raises(Misuse, match="revoked"):
            vault.set_trust(ONE, level, LATER)
    with pytest.raises(UnknownDevice):
        vault.save_preferences(ONE, ConnectionConfig())
    vault.seen(ONE, LATER)  # a link that was coming up when it was revoked
    vault.remember_address(ONE, HERE)
    assert files(vault.layout.root) == before


# -- damage ------------------------------------------------------------------------------------------------------------


def test_the_files_of_two_devices_cannot_be_swapped(vault: Vault) -> None:
    pair(vault, 1, 1, HERE)
    pair(vault, 2, 2, THERE)
    one, two = folder_of(vault, ONE), folder_of(vault, TWO)
    one.rename(one.with_name("x"))
    two.rename(one)
    one.with_name("x").rename(two)
    found = reopened(vault)
    for peer in (ONE, TWO):
        with pytest.raises(Damaged, match="session_keys"):
            found.relationship_key(peer)
        with pytest.raises(Damaged, match="preferences"):
            found.preferences(peer)


def test_two_files_of_one_device_cannot_be_swapped(vault: Vault) -> None:
    pair(vault, 1)
    folder = folder_of(vault, ONE)
    shutil.copy(folder / "preferences.json", folder / "session_keys.json")
    with pytest.raises(Damaged, match="session_keys"):
        reopened(vault).relationship_key(ONE)


def test_a_damaged_key_falls_back_to_its_former_version_or_is_named(vault: Vault) -> None:
    pair(vault, 1)
    path = folder_of(vault, ONE) / "session_keys.json"
    damage(path)
    with pytest.raises(Damaged, match="session_keys"):
        reopened(vault).relationship_key(ONE)
    pair(vault, 1, 5)
    pair(vault, 1, 6)
    damage(path)
    assert reopened(vault).relationship_key(ONE) == key(5)


def test_one_damaged_device_is_no_harm_to_the_others(vault: Vault) -> None:
    pair(vault, 1)
    pair(vault, 2)
    (folder_of(vault, ONE) / "session_keys.json").write_bytes(b"")
    assert reopened(vault).relationship_key(TWO) == key(2)


def test_a_file_that_cannot_be_read_is_said_plainly(vault: Vault) -> None:
    path = vault.layout.identity(vault.identity.device_id)
    path.unlink()
    path.mkdir()
    with pytest.raises(LocalFault, match="can't read"):
        reopened(vault)


# -- secrecy -----------------------------------------------------------------------------------------------------------


def test_nothing_that_tells_of_a_peer_or_opens_anything_is_on_the_disk(vault: Vault) -> None:
    friend = info(1, "Marker of a friend's name")
    for secret in (77, 78):
        vault.pair(friend.with_addresses((HERE,)), key(secret), (HERE, THERE), NOW)
    pair(vault, 2)
    vault.revoke(TWO, LATER)
    own = vault.identity
    told = [friend.name, HERE, THERE, HERE.partition(":")[0], THERE.partition(":")[0], str(ONE), str(TWO)]
    raw = [ONE.bytes, friend.signing_key, friend.static_key, friend.certificate, key(77), key(78), own.seed]
    raw += [own.static_private, vault.data_key, vault._data_key, PASSPHRASE]
    markers = [text.encode() for text in told] + raw
    markers += [form(value) for value in raw for form in (base64.b64encode, lambda value: value.hex().encode())]
    found = files(vault.layout.root)
    assert len(found) == 8  # device.json, identity, keys and preferences, each with its previous version
    for name, data in found.items():
        for marker in markers:
            assert marker not in data, name
            assert marker not in name.encode()
        assert name.startswith("device.json") or vault.config.name.encode() not in data


def test_everything_is_its_owners_alone(vault: Vault) -> None:
    pair(vault, 1)
    pair(vault, 1)
    for path in (vault.layout.root, *vault.layout.root.rglob("*")):
        assert stat.S_IMODE(path.stat().st_mode) == (0o700 if path.is_dir() else 0o600), path


def test_secrets_do_not_show(vault: Vault) -> None:
    shown = repr(vault) + str(vars(vault)["_state"])
    for secret in (vault.data_key, vault._data_key, vault.identity.seed):
        assert repr(secret)[2:-1] not in shown


# -- crashes and full disks: every change, cut short at every system call ----------------------------------------------


def nothing(vault: Vault) -> None:
    pass


def paired_and_revoked(vault: Vault) -> None:
    pair(vault, 1)
    vault.revoke(ONE, NOW)


CHANGES: dict[str, tuple[Callable[[Vault], object], Callable[[Vault], object]]] = {
    "pair": (nothing, lambda vault: pair(vault, 1, 1, HERE)),
    "renew": (lambda vault: pair(vault, 1, 1, HERE), lambda vault: pair(vault, 1, 9, THERE)),
    "revoke": (lambda vault: pair(vault, 1, 1, HERE), lambda vault: vault.revoke(ONE, LATER)),
    "pair again": (
        paired_and_revoked,
        lambda vault: pair(vault, 1, 9, THERE),
    ),
    "trust": (lambda vault: pair(vault, 1), lambda vault: vault.set_trust(ONE, TrustLevel.EXPIRED, LATER)),
    "address": (lambda vault: pair(vault, 1, 1, HERE), lambda vault: vault.remember_address(ONE, THERE)),
}


def prepared(folder: Path, before: Callable[[Vault], object]) -> Vault:
    shutil.rmtree(folder, ignore_errors=True)
    vault = new_vault(folder)
    pair(vault, 2)
    before(vault)
    return vault


def sound(vault: Vault) -> PairedDevice | None:
    """What the store says of device 1, after checking that it hangs together."""
    assert vault.relationship_key(TWO) == key(2)
    device = vault.device(ONE)
    if device is not None and device.trust is TrustLevel.REVOKED:
        assert not folder_of(vault, ONE).exists(), "a revoked device's keys are still on the disk"
    elif device is not None:
        assert vault.relationship_key(ONE) in (key(1), key(9))
        assert set(vault.preferences(ONE).known_addresses) <= {HERE, THERE}
    return device


@pytest.mark.parametrize("change", CHANGES)
def test_a_crash_anywhere_in_a_change_leaves_the_old_or_the_new_state(tmp_path: Path, change: str) -> None:
    before, act = CHANGES[change]
    old = prepared(tmp_path / "data", before).device(ONE)
    vault = prepared(tmp_path / "data", before)
    act(vault)
    new = vault.device(ONE)
    seen = []
    for count in range(MOST_CALLS):
        vault = prepared(tmp_path / "data", before)
        if not interrupted(lambda vault=vault: act(vault), count):  # type: ignore[misc]
            break
        found = reopened(vault)
        seen.append(sound(found))
        assert seen[-1] in (old, new)
        act(found)  # what was cut short can be done again
        assert reopened(found).device(ONE) == new
    else:
        raise AssertionError("more system calls than that?")
    assert len(seen) >= 6
    assert seen[0] == old
    assert seen[-1] == new


@pytest.mark.parametrize("change", [name for name in CHANGES if name != "revoke"])
def test_a_full_disk_anywhere_in_a_change_loses_nothing(tmp_path: Path, change: str) -> None:
    def full() -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    before, act = CHANGES[change]
    failed = 0
    for count in range(MOST_CALLS):
        vault = prepared(tmp_path / "data", before)
        old, had = vault.device(ONE), before is not nothing and key(1)
        barred = old is not None and old.trust is TrustLevel.REVOKED
        try:
            happened = interrupted(lambda vault=vault: act(vault), count, full)  # type: ignore[misc]
        except LocalFault:
            failed += 1
            for found in (vault, reopened(vault)):
                assert found.device(ONE) == old
                if had and not barred:
                    assert found.relationship_key(ONE) == had
                else:
                    with pytest.raises(Damaged):
                        found.relationship_key(ONE)
        else:
            if not happened:
                break
    assert failed >= 6


def test_a_crash_while_an_identity_is_made_leaves_none_or_one(tmp_path: Path) -> None:
    folder = tmp_path / "data"
    seen = set()
    for count in range(MOST_CALLS):
        shutil.rmtree(folder, ignore_errors=True)
        if not interrupted(lambda: new_vault(folder), count):
            break
        try:
            opening.unlock(Layout(folder), PASSPHRASE)
            seen.add("one")
        except Misuse:
            seen.add("none")
            new_vault(folder)
            opening.unlock(Layout(folder), PASSPHRASE)
    assert seen == {"none", "one"}

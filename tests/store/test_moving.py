"""An identity that moves: what the file holds, who can open it, and what an import leaves when it is interrupted."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from springline.errors import Damaged, Misuse, Newer, WrongPassphrase
from springline.store import config, migrate, moving, opening
from springline.store.devices import TrustLevel
from springline.store.envelope import EXPORT, Strength, lock_of, new_lock, seal, subkey, unseal
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
)

SEALED_WITH = b"for the way"
NEW = b"at the new place"
MOST_CALLS = 200


@pytest.fixture
def old(tmp_path: Path) -> Vault:
    """A store with something of everything."""
    vault = new_vault(tmp_path / "old")
    pair(vault, 1, 1, HERE)
    pair(vault, 2, 2, THERE)
    pair(vault, 3)
    vault.set_trust(TWO, TrustLevel.VERIFIED, LATER)
    vault.revoke(info(3).device_id, LATER)
    config.keep_port(vault.layout, 4711)
    return opening.unlock(vault.layout, PASSPHRASE)


def settled(sealed: bytes, folder: Path, name: str = "") -> Vault:
    moved = moving.opened(sealed, SEALED_WITH)
    moving.settle(Layout(folder), moved, NEW, Strength.MINIMAL, name)
    return opening.unlock(Layout(folder), NEW)


def written(content: Any, context: str = EXPORT) -> bytes:
    """An export with other content than ours."""
    lock, _ = new_lock(SEALED_WITH, bytes(32), Strength.MINIMAL)
    return seal(subkey(bytes(32), EXPORT), json.dumps(content).encode(), context, lock)


def test_the_new_place_has_all_that_the_old_one_had_and_nothing_in_clear(old: Vault, tmp_path: Path) -> None:
    made = moving.export(old, SEALED_WITH, LATER)
    assert (made.devices, made.incomplete) == (2, ())
    new = settled(made.sealed, tmp_path / "new")
    assert new.state == old.state
    assert new.config == old.config
    assert new.data_key != old.data_key
    for peer in (ONE, TWO):
        assert new.keys(peer) == replace(old.keys(peer), stale=True)
        assert new.preferences(peer) == old.preferences(peer)
    assert new.spread() == old.spread()
    own = old.identity
    secrets = (own.seed, own.static_private, key(1), old.data_key, SEALED_WITH, PASSPHRASE, b"device 1", HERE.encode())
    for secret in secrets:
        for blob in (made.sealed, *files(tmp_path / "new").values()):
            assert secret not in blob
    assert "seed" not in repr(moving.opened(made.sealed, SEALED_WITH))


def test_a_new_name(old: Vault, tmp_path: Path) -> None:
    assert settled(moving.export(old, SEALED_WITH, LATER).sealed, tmp_path / "new", "other").config.name == "other"


def test_it_is_sealed_as_strongly_as_the_store_was_and_never_openly(old: Vault) -> None:
    assert lock_of(moving.export(old, SEALED_WITH, LATER).sealed, EXPORT).level == "minimal"
    opening.change(old, b"", Strength.NONE)
    assert lock_of(moving.export(old, SEALED_WITH, LATER).sealed, EXPORT).level == "moderate"
    with pytest.raises(Misuse, match="passphrase"):
        moving.export(old, b"", LATER)
    lock, _ = new_lock(b"", bytes(32), Strength.NONE)
    with pytest.raises(Damaged):
        moving.opened(seal(subkey(bytes(32), EXPORT), b"{}", EXPORT, lock), b"")


def test_a_device_whose_keys_are_damaged_is_named_and_the_others_are_taken_along(old: Vault, tmp_path: Path) -> None:
    damage(folder_of(old, ONE) / "session_keys.json")
    made = moving.export(opening.unlock(old.layout, PASSPHRASE), SEALED_WITH, LATER)
    assert (made.devices, made.incomplete) == (1, (ONE,))
    new = settled(made.sealed, tmp_path / "new")
    assert new.relationship_key(TWO) == key(2)
    assert new.device(ONE) is not None
    with pytest.raises(Damaged, match="missing"):
        new.relationship_key(ONE)


def test_files_of_a_newer_version_are_not_left_behind_in_silence(old: Vault) -> None:
    path = folder_of(old, ONE) / "preferences.json"
    path.write_bytes(path.read_bytes().replace(b'"version": 1', b'"version": 2', 1))
    with pytest.raises(Newer):
        moving.export(opening.unlock(old.layout, PASSPHRASE), SEALED_WITH, LATER)


def test_a_wrong_passphrase_is_called_so(old: Vault) -> None:
    with pytest.raises(WrongPassphrase, match="exported with"):
        moving.opened(moving.export(old, SEALED_WITH, LATER).sealed, PASSPHRASE)


def test_every_kind_of_damage_is_called_so(old: Vault) -> None:
    sealed = moving.export(old, SEALED_WITH, LATER).sealed
    some = [*range(0, len(sealed), 7), len(sealed) - 1]
    bad = [sealed[:size] for size in some]
    bad += [sealed[:at] + bytes([sealed[at] ^ 1]) + sealed[at + 1 :] for at in some]
    identity = old.layout.identity(old.config.device_id).read_bytes()
    for data in (*bad, sealed + b"\0", b"", b"PK\3\4 something else\n", identity):
        with pytest.raises(Damaged) as caught:
            moving.opened(data, SEALED_WITH)
        assert not isinstance(caught.value, Newer)


@pytest.mark.parametrize(
    "content",
    [
        {},
        {"version": 1},
        [],
        {"version": 1, "identity": "", "created_at": "", "port": None, "name": "x", "devices": {}},
    ],
)
def test_an_export_of_another_content_is_damaged(content: Any) -> None:
    with pytest.raises(Damaged):
        moving.opened(written(content), SEALED_WITH)


def edited(old: Vault, edit: Callable[[dict[str, Any]], object]) -> bytes:
    sealed = moving.export(old, SEALED_WITH, LATER).sealed
    lock = lock_of(sealed, EXPORT)
    content = json.loads(unseal(subkey(lock.open(lock.derive(SEALED_WITH)), EXPORT), sealed, EXPORT))
    edit(content)
    return written(content)


@pytest.mark.parametrize(
    "edit",
    [
        lambda content: content["devices"][str(ONE)].pop("session_keys"),
        lambda content: content["devices"].update({"nobody": {}}),
        lambda content: content.update(devices=[]),
        lambda content: content.update(name="\n"),
        lambda content: content.update(created_at=3),
        lambda content: content.pop("port"),
    ],
)
def test_an_export_that_lacks_something_is_damaged(old: Vault, edit: Callable[[dict[str, Any]], object]) -> None:
    with pytest.raises(Damaged):
        moving.opened(edited(old, edit), SEALED_WITH)


def test_a_newer_export_is_told_apart(old: Vault) -> None:
    sealed = moving.export(old, SEALED_WITH, LATER).sealed
    inside = edited(old, lambda content: content.update(version=migrate.newest(EXPORT) + 1))
    for data in (sealed.replace(b'"version": 1', b'"version": 2', 1), inside):
        with pytest.raises(Newer):
            moving.opened(data, SEALED_WITH)


def test_it_settles_only_where_there_is_no_identity(old: Vault, tmp_path: Path) -> None:
    moved = moving.opened(moving.export(old, SEALED_WITH, LATER).sealed, SEALED_WITH)
    for folder in (old.layout.root, new_vault(tmp_path / "other").layout.root):
        before = files(folder)
        with pytest.raises(Misuse, match="already"):
            moving.settle(Layout(folder), moved, NEW, Strength.MINIMAL)
        assert files(folder) == before
    (tmp_path / "other" / "device.json").unlink()  # lost, but the rest is somebody's
    with pytest.raises(Misuse, match="already"):
        moving.settle(Layout(tmp_path / "other"), moved, NEW, Strength.MINIMAL)


def test_an_import_that_is_cut_short_anywhere_is_done_again(old: Vault, tmp_path: Path) -> None:
    sealed = moving.export(old, SEALED_WITH, LATER).sealed
    for count in range(MOST_CALLS):
        folder = tmp_path / f"new {count}"
        happened = interrupted(lambda folder=folder: settled(sealed, folder), count)  # type: ignore[misc]
        done = (folder / "device.json").exists()
        new = opening.unlock(Layout(folder), NEW) if done else settled(sealed, folder)
        assert new.state == old.state
        assert new.relationship_key(TWO) == key(2)
        assert new.preferences(ONE) == ConnectionConfig((HERE,))
        assert len(list((folder / "network" / "connections").iterdir())) == 2
        if not happened:
            return
    raise AssertionError("more calls than were tried")


def test_when_it_was_made_is_kept(old: Vault, tmp_path: Path) -> None:
    assert settled(moving.export(old, SEALED_WITH, LATER).sealed, tmp_path / "new").config.created_at == NOW

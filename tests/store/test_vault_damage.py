"""The vault on a bad disk and with hostile files: one error, nothing overwritten, nothing lost that was there."""

from __future__ import annotations

import errno
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from springline.errors import Damaged, LocalFault, Newer, WrongPassphrase
from springline.store import atomic, opening
from springline.store.envelope import Lock, Strength, lock_of, seal, subkey
from springline.store.preferences import ConnectionConfig
from springline.store.vault import Vault
from springline.tests.store.cast import (
    HERE,
    LATER,
    ONE,
    PASSPHRASE,
    THERE,
    TWO,
    damage,
    files,
    folder_of,
    interrupted,
    key,
    new_vault,
    pair,
    reopened,
)

MOST_CALLS = 60
FILES = ["identity", "session_keys", "preferences"]


def path_of(vault: Vault, role: str) -> Path:
    """The sealed file of this device, or of device 1."""
    if role == "identity":
        return vault.layout.identity(vault.identity.device_id)
    return folder_of(vault, ONE) / f"{role}.json"


def opened(vault: Vault, role: str) -> object:
    """What a new process finds in that file."""
    found = reopened(vault)
    if role == "identity":
        return found.devices()
    return found.relationship_key(ONE) if role == "session_keys" else found.preferences(ONE)


def eio() -> None:
    raise OSError(errno.EIO, os.strerror(errno.EIO))


# -- files that are not what was written -------------------------------------------------------------------------------


@pytest.mark.parametrize("role", FILES)
def test_any_damage_to_any_file_is_one_error_and_the_file_stays_as_it_is(vault: Vault, role: str) -> None:
    pair(vault, 1, 1, HERE)
    path = path_of(vault, role)
    atomic.previous(path).unlink(missing_ok=True)
    good = path.read_bytes()
    bad = [good[:size] for size in range(len(good))]
    bad += [good[:at] + bytes([good[at] ^ 1 << at % 8]) + good[at + 1 :] for at in range(len(good))]
    for data in (*bad, good + b"\0"):
        path.write_bytes(data)
        with pytest.raises((Damaged, WrongPassphrase)):
            opened(vault, role)
        assert path.read_bytes() == data
    path.write_bytes(good)
    opened(vault, role)


@pytest.mark.parametrize("role", FILES)
def test_a_newer_version_of_any_file_is_left_alone_by_reading_and_by_pairing(vault: Vault, role: str) -> None:
    pair(vault, 1, 1, HERE)
    pair(vault, 1, 9, THERE)  # so that there are former versions, which would open
    path = path_of(vault, role)
    path.write_bytes(path.read_bytes().replace(b'"version": 1', b'"version": 2', 1))
    before = files(vault.layout.root)
    with pytest.raises(Newer, match="untouched"):
        opened(vault, role)
    with pytest.raises(Newer, match="untouched"):
        pair(reopened(vault), 1, 5, HERE)
    assert files(vault.layout.root) == before


def test_a_newer_version_inside_the_seal_is_left_alone_too(vault: Vault) -> None:
    pair(vault, 1)
    secret = subkey(vault._data_key, "device", ONE.bytes)
    for role in ("session_keys", "preferences"):
        path_of(vault, role).write_bytes(seal(secret, b'{"version": 99}', f"{role}/{ONE}"))
    before = files(vault.layout.root)
    for role in ("session_keys", "preferences"):
        with pytest.raises(Newer):
            opened(vault, role)
    assert files(vault.layout.root) == before


def test_a_former_version_cannot_be_another_devices(vault: Vault) -> None:
    for number in (1, 1, 2, 2):
        pair(vault, number)
    path = path_of(vault, "session_keys")
    shutil.copy(atomic.previous(folder_of(vault, TWO) / path.name), atomic.previous(path))
    damage(path)
    with pytest.raises(Damaged, match="session_keys"):
        opened(vault, "session_keys")


@pytest.mark.parametrize(
    "header",
    [
        {"kdf": {"name": "argon2id", "ops": 1, "mem": 1 << 40, "salt": "AAAAAAAAAAAAAAAAAAAAAA=="}},
        {"kdf": {"name": "argon2id", "ops": 1 << 31, "mem": 8192, "salt": "AAAAAAAAAAAAAAAAAAAAAA=="}},
        {"pad": "x" * 4096},
        b'{"a":' * 700,
        b"[" * 4000,
        b'{"format": "\xff\xfe"}',
    ],
    ids=["memory", "passes", "long", "deep map", "deep list", "not text"],
)
def test_a_hostile_header_is_refused_before_the_passphrase_is_worked_on(
    vault: Vault, header: dict[str, Any] | bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = path_of(vault, "identity")
    line, _, rest = path.read_bytes().partition(b"\n")
    if isinstance(header, dict):
        header = json.dumps({**json.loads(line), **header}).encode()
    path.write_bytes(header + b"\n" + rest)
    before = files(vault.layout.root)
    derived: list[Lock] = []
    monkeypatch.setattr(Lock, "derive", lambda lock, passphrase: derived.append(lock))
    with pytest.raises(Damaged):
        opening.unlock(vault.layout, PASSPHRASE)
    assert derived == []
    assert files(vault.layout.root) == before


def test_work_that_a_header_may_ask_for_is_at_most_twice_the_hardest_ever_written(vault: Vault) -> None:
    blob = path_of(vault, "identity").read_bytes()
    lock = lock_of(blob, "identity")
    most = 2 * Strength.SENSITIVE.memory
    assert lock_of(seal(bytes(32), b"", "identity", replace(lock, memory=most)), "identity").memory == most
    with pytest.raises(Damaged, match="unreasonable"):
        lock_of(seal(bytes(32), b"", "identity", replace(lock, memory=most + 1)), "identity")


def test_a_wrong_passphrase_does_no_harm_to_a_damaged_identity(vault: Vault) -> None:
    pair(vault, 1)
    damage(path_of(vault, "identity"), 150)  # the header
    before = files(vault.layout.root)
    with pytest.raises((Damaged, WrongPassphrase)):
        opening.unlock(vault.layout, b"guess")
    assert files(vault.layout.root) == before
    opening.unlock(vault.layout, PASSPHRASE)


# -- after falling back: the good version is the only one -------------------------------------------------------------


@pytest.mark.parametrize("then", ["crash", "failure"])
@pytest.mark.parametrize("role", FILES)
def test_no_trouble_in_the_next_write_loses_what_a_fall_back_has_saved(tmp_path: Path, role: str, then: str) -> None:
    def fell_back() -> Vault:
        shutil.rmtree(tmp_path / "data", ignore_errors=True)
        vault = new_vault(tmp_path / "data")
        for secret in (1, 2, 3):
            pair(vault, 1, secret, HERE)
        damage(path_of(vault, role))
        found = reopened(vault)
        found.relationship_key(ONE)
        found.preferences(ONE)
        return found

    changes: dict[str, Callable[[Vault], object]] = {
        "identity": lambda vault: vault.set_auto_connect(ONE, False, LATER),
        "session_keys": lambda vault: pair(vault, 1, 4),
        "preferences": lambda vault: vault.save_preferences(ONE, ConnectionConfig((THERE,))),
    }
    saved_or_new: dict[str, list[object]] = {
        "identity": [
            [replace(first, auto_connect=wanted)] for first in fell_back().devices() for wanted in (True, False)
        ],
        "session_keys": [key(2), key(4)],
        "preferences": [ConnectionConfig((HERE,)), ConnectionConfig((THERE,))],
    }
    for count in range(MOST_CALLS):
        vault = fell_back()
        try:
            happened = interrupted(lambda vault=vault: changes[role](vault), count, *[eio] * (then == "failure"))  # type: ignore[misc]
        except LocalFault:
            happened = True
        assert opened(vault, role) in saved_or_new[role], count
        if not happened:
            return
    raise AssertionError(f"more than {MOST_CALLS} system calls")


def test_a_disk_that_refuses_to_restore_the_former_version_still_lets_it_be_read(
    vault: Vault, monkeypatch: pytest.MonkeyPatch
) -> None:
    pair(vault, 1, 1)
    pair(vault, 1, 2)
    damage(path_of(vault, "session_keys"))

    def refused(*args: object) -> None:
        eio()

    monkeypatch.setattr(atomic, "calls", atomic.Calls(rename=refused))
    assert reopened(vault).relationship_key(ONE) == key(1)


@pytest.mark.parametrize("role", ["session_keys", "preferences"])
def test_pairing_again_mends_a_device_whose_files_are_damaged(vault: Vault, role: str) -> None:
    pair(vault, 1, 1, HERE)
    path_of(vault, role).write_bytes(b"junk")
    found = reopened(vault)
    pair(found, 1, 9, THERE)
    for again in (found, reopened(vault)):
        assert again.relationship_key(ONE) == key(9)
        kept = (THERE, HERE) if role == "session_keys" else (THERE,)
        assert again.preferences(ONE) == ConnectionConfig(kept)


# -- trouble while revoking --------------------------------------------------------------------------------------------


def test_a_failure_anywhere_in_revoking_leaves_it_undone_or_barred_and_can_be_repeated(tmp_path: Path) -> None:
    failed = 0
    for count in range(MOST_CALLS):
        shutil.rmtree(tmp_path / "data", ignore_errors=True)
        vault = new_vault(tmp_path / "data")
        old = pair(vault, 1, 1, HERE)
        try:
            happened = interrupted(lambda vault=vault: vault.revoke(ONE, LATER), count, eio)  # type: ignore[misc]
        except LocalFault:
            failed += 1
            if vault.device(ONE) == old:
                assert reopened(vault).relationship_key(ONE) == key(1)
            vault.revoke(ONE, LATER)
        else:
            if not happened:
                break
        assert not folder_of(vault, ONE).exists()
        assert reopened(vault).device(ONE) == vault.device(ONE) != old
    assert failed >= 5


# -- a disk that is really full ----------------------------------------------------------------------------------------

FILL = """
import resource, signal, sys
from pathlib import Path
from springline.errors import StorageFull
from springline.store.vault import Vault
from springline.tests.store.cast import HERE, LATER, ONE, THERE, TWO, files, key, new_vault, pair, reopened

vault = new_vault(Path(sys.argv[1]))
pair(vault, 1, 1, HERE)
old = vault.devices(), files(vault.layout.root)
size = vault.layout.identity(vault.identity.device_id).stat().st_size
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))  # there is room for keys, not for a longer identity
for change in (lambda: pair(vault, 2, 2, THERE), lambda: vault.seen(ONE, LATER)):
    try:
        change()
    except StorageFull as error:
        print(error)
    for found in (vault, reopened(vault)):
        assert found.devices() == old[0]
        assert found.relationship_key(ONE) == key(1)
        assert found.device(TWO) is None
now = files(vault.layout.root)
assert {name: now[name] for name in old[1]} == old[1], "an old file has changed"
assert not [name for name in now if ".new-" in name or "session_keys" in name and name not in old[1]], list(now)
"""


def test_a_disk_that_is_really_full_loses_nothing_and_says_so(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", FILL, str(tmp_path / "data")], capture_output=True, text=True, timeout=60
    )
    assert done.stderr == ""
    lines = done.stdout.splitlines()
    assert len(lines) == 2
    assert all(line.startswith("no room to write") and "nothing was lost" in line for line in lines)


def test_a_place_that_cannot_be_is_said_plainly(tmp_path: Path) -> None:
    with pytest.raises(LocalFault, match="name too long"):
        new_vault(tmp_path / ("x" * 300))

"""Opening a store: with which passphrase, at what strength, and what a change of it leaves when it is interrupted."""

from __future__ import annotations

import errno
import os
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from springline.errors import Damaged, LocalFault, Misuse, WrongPassphrase
from springline.store import atomic, opening
from springline.store.envelope import Lock, Strength, lock_of, new_lock
from springline.store.layout import Layout
from springline.store.vault import IDENTITY, Vault
from springline.tests.store.cast import (
    NOW,
    ONE,
    PASSPHRASE,
    damage,
    files,
    interrupted,
    key,
    new_vault,
    pair,
    reopened,
)

NEW = b"a new one"
MOST_CALLS = 60


def path_of(vault: Vault) -> Path:
    return vault.layout.identity(vault.config.device_id)


def lock_in(path: Path) -> Lock:
    return lock_of(path.read_bytes(), IDENTITY)


def opens(layout: Layout, passphrase: bytes) -> bool:
    try:
        opening.unlock(layout, passphrase)
    except WrongPassphrase:
        return False
    return True


# -- changing ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("before", [PASSPHRASE, b""])
@pytest.mark.parametrize("after", [NEW, PASSPHRASE, b""])
def test_another_passphrase_opens_the_same_store_and_the_former_none_of_its_files(
    tmp_path: Path, before: bytes, after: bytes
) -> None:
    strengths = [Strength.MINIMAL if passphrase else Strength.NONE for passphrase in (before, after)]
    vault = opening.create(Layout(tmp_path / "data"), before, "anchor", strengths[0], NOW)
    pair(vault, 1)
    former = lock_in(path_of(vault))
    opening.change(vault, after, strengths[1])
    assert opens(vault.layout, after)
    assert opens(vault.layout, before) == (before == after)
    assert opening.unlock(vault.layout, after).relationship_key(ONE) == key(1)
    for version in (path_of(vault), atomic.previous(path_of(vault))):
        assert lock_in(version) == vault.lock != former
    damage(path_of(vault))
    assert opens(vault.layout, after)  # by the previous version
    vault.seen(ONE, NOW)
    assert opens(vault.layout, after)


def test_the_data_key_stays_so_who_has_it_is_not_disturbed(vault: Vault) -> None:
    pair(vault, 1)
    opening.change(vault, NEW)
    assert reopened(vault).relationship_key(ONE) == key(1)


def test_what_the_former_lock_was_in_is_overwritten(vault: Vault) -> None:
    pair(vault, 1)
    path = path_of(vault)
    former = [os.open(version, os.O_RDONLY) for version in (path, atomic.previous(path))]
    opening.change(vault, NEW)
    for fd in former:
        assert not os.pread(fd, 1 << 20, 0).strip(b"\0")
        os.close(fd)


def test_a_change_that_is_cut_short_anywhere_leaves_the_old_or_the_new_passphrase(tmp_path: Path) -> None:
    for count in range(MOST_CALLS):
        shutil.rmtree(tmp_path / "data", ignore_errors=True)
        vault = new_vault(tmp_path / "data")
        pair(vault, 1)
        vault.seen(ONE, NOW)
        happened = interrupted(lambda vault=vault: opening.change(vault, NEW), count)  # type: ignore[misc]
        valid = [passphrase for passphrase in (PASSPHRASE, NEW) if opens(vault.layout, passphrase)]
        assert len(valid) == 1
        assert reopened(vault).relationship_key(ONE) == key(1)
        found = opening.unlock(vault.layout, valid[0])
        path = path_of(vault)
        assert lock_in(path) == lock_in(atomic.previous(path)) == found.lock  # the opening has finished it
        if not path.samefile(atomic.previous(path)):  # which the next write puts right
            damage(path)
            assert [word for word in (PASSPHRASE, NEW) if opens(vault.layout, word)] == valid
        if not happened:
            assert valid == [NEW]
            return
    raise AssertionError("more calls than were tried")


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EIO])
def test_a_change_that_fails_anywhere_is_told_or_done(tmp_path: Path, code: int) -> None:
    def fail() -> None:
        raise OSError(code, os.strerror(code))

    for count in range(MOST_CALLS):
        shutil.rmtree(tmp_path / "data", ignore_errors=True)
        vault = new_vault(tmp_path / "data")
        pair(vault, 1)
        told: list[LocalFault] = []

        def change(vault: Vault = vault, told: list[LocalFault] = told) -> None:
            try:
                opening.change(vault, NEW)
            except LocalFault as error:
                told.append(error)

        happened = interrupted(change, count, fail)
        assert opens(vault.layout, PASSPHRASE if told else NEW)
        vault.seen(ONE, NOW)  # the open store goes on with the passphrase that counts
        assert opens(vault.layout, PASSPHRASE if told else NEW)
        assert not opens(vault.layout, NEW if told else PASSPHRASE)
        if not happened:
            return
    raise AssertionError("more calls than were tried")


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 40)), max_size=6))
@settings(max_examples=40)
def test_after_any_row_of_changes_and_crashes_one_passphrase_opens(
    tmp_path_factory: pytest.TempPathFactory, changes: list[tuple[int, int]]
) -> None:
    words = [b"", b"one", b"two", b"three"]
    vault = opening.create(Layout(tmp_path_factory.mktemp("data")), words[0], "anchor", Strength.NONE, NOW)
    possible = {words[0]}
    for number, count in changes:
        strength = Strength.MINIMAL if number else Strength.NONE
        happened = interrupted(lambda: opening.change(vault, words[number], strength), count)  # noqa: B023
        possible = possible | {words[number]} if happened else {words[number]}
        valid = {word for word in words if opens(vault.layout, word)}
        assert len(valid) == 1
        assert valid <= possible
        possible = valid
        vault = opening.unlock(vault.layout, *valid)


def test_an_empty_passphrase_is_not_taken_for_none(vault: Vault, tmp_path: Path) -> None:
    with pytest.raises(Misuse, match="protects nothing"):
        opening.change(vault, b"")
    with pytest.raises(Misuse, match="protects nothing"):
        opening.create(Layout(tmp_path / "other"), b"", "other", Strength.MINIMAL, NOW)
    assert not (tmp_path / "other" / "device.json").exists()
    assert opens(vault.layout, PASSPHRASE)


def test_checking_a_passphrase(vault: Vault) -> None:
    opening.check(vault, PASSPHRASE)
    opening.change(vault, NEW)
    opening.check(vault, NEW)
    with pytest.raises(WrongPassphrase):
        opening.check(vault, PASSPHRASE)


def test_what_a_rehearsal_before_a_power_cut_has_left_is_gone_at_the_next_opening(vault: Vault) -> None:
    before, left = files(vault.layout.root), 0
    for count in range(MOST_CALLS):
        if not interrupted(vault.rehearse_pairing, count):
            break
        left += files(vault.layout.root) != before
        opening.unlock_with(vault.layout, vault.data_key)
        assert files(vault.layout.root) == before
    assert left, "none of the cuts has left a file"


# -- strength ----------------------------------------------------------------------------------------------------------


def weak(vault: Vault, level: str) -> None:
    """Lock the store as a version would have done for which the level meant less."""
    lock = Lock(1, 8192, bytes(16), bytes(24), b"", level)
    _, unlock_key = new_lock(PASSPHRASE, vault.data_key, Strength.MINIMAL, bytes)
    made, again = new_lock(PASSPHRASE, vault.data_key, Strength.MINIMAL, bytes)
    assert unlock_key == again
    vault.relock(replace(lock, wrapped=made.wrapped))


def test_the_next_unlocking_raises_the_protection_to_what_its_level_means_now(vault: Vault) -> None:
    weak(vault, "interactive")
    reopened(vault)
    assert lock_in(path_of(vault)).memory == 8192  # without the passphrase nothing can be done
    with pytest.raises(WrongPassphrase):
        opening.unlock(vault.layout, b"guess")
    assert lock_in(path_of(vault)).memory == 8192
    found = opening.unlock(vault.layout, PASSPHRASE)
    for version in (path_of(vault), atomic.previous(path_of(vault))):
        raised = lock_in(version)
        assert (raised.passes, raised.memory, raised.level) == (*Strength.INTERACTIVE.value, "interactive")
    assert found.lock == lock_in(path_of(vault))
    before = files(vault.layout.root)
    opening.unlock(vault.layout, PASSPHRASE)
    assert files(vault.layout.root) == before  # once


def test_protection_that_cannot_be_raised_opens_all_the_same(vault: Vault) -> None:
    weak(vault, "interactive")

    def full() -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    found: list[Vault] = []
    assert interrupted(lambda: found.append(opening.unlock(vault.layout, PASSPHRASE)), 0, full)
    assert found[0].lock.memory == 8192
    assert opens(vault.layout, PASSPHRASE)


@pytest.mark.parametrize("level", ["", "minimal"])
def test_protection_that_is_as_it_was_asked_for_stays(vault: Vault, level: str) -> None:
    weak(vault, level)
    before = files(vault.layout.root)
    opening.unlock(vault.layout, PASSPHRASE)
    assert files(vault.layout.root) == before


def test_what_protects_a_store_is_seen_without_a_passphrase(vault: Vault, tmp_path: Path) -> None:
    assert opening.protection(vault.layout) is Strength.MINIMAL
    opening.change(vault, b"", Strength.NONE)
    assert opening.protection(vault.layout) is Strength.NONE
    opening.change(vault, NEW, Strength.INTERACTIVE)
    assert opening.protection(vault.layout) is Strength.INTERACTIVE
    weak(vault, "")
    assert opening.protection(vault.layout) is None
    with pytest.raises(Misuse, match="no identity"):
        opening.protection(Layout(tmp_path))


def test_a_new_passphrase_is_as_strong_as_the_one_before(vault: Vault) -> None:
    opening.change(vault, NEW)
    assert vault.lock.level == "minimal"
    opening.change(vault, b"", Strength.NONE)
    opening.change(vault, PASSPHRASE)
    assert vault.lock.level == "moderate"


# -- what is wrong -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("passphrase", [PASSPHRASE, b"guess", b""])
def test_right_or_wrong_a_passphrase_takes_the_same_work_once(
    vault: Vault, passphrase: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    pair(vault, 1)
    worked: list[tuple[int, int]] = []
    derive = Lock.derive

    def counted(lock: Lock, given: bytes) -> bytes:
        worked.append((lock.passes, lock.memory))
        return derive(lock, given)

    monkeypatch.setattr(Lock, "derive", counted)
    opens(vault.layout, passphrase)
    assert worked == [Strength.MINIMAL.value]


def test_a_passphrase_for_a_store_without_one_is_refused(tmp_path: Path) -> None:
    layout = Layout(tmp_path / "data")
    opening.create(layout, b"", "anchor", Strength.NONE, NOW)
    before = files(layout.root)
    with pytest.raises(WrongPassphrase, match="no passphrase"):
        opening.unlock(layout, PASSPHRASE)
    assert files(layout.root) == before


def test_a_wrong_data_key_opens_nothing_and_changes_nothing(vault: Vault) -> None:
    pair(vault, 1)
    before = files(vault.layout.root)
    with pytest.raises(Damaged):
        opening.unlock_with(vault.layout, bytes(32))
    assert files(vault.layout.root) == before

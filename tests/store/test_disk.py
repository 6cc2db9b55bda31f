"""The forgetful disk forgets what it may, and nothing else."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from springline.store import atomic
from springline.tests.store.cast import files
from springline.tests.store.disk import Disk, Folder, Outcome, leave


@pytest.fixture
def place(tmp_path: Path) -> Path:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "old").write_bytes(b"old")
    return tmp_path / "data"


def contents(outcome: Outcome) -> dict[str, bytes]:
    """The files in it."""
    found = {path: outcome[what] if isinstance(what, str) else what for path, what in outcome.items()}
    return {path: what for path, what in found.items() if isinstance(what, bytes)}


def all_contents(disk: Disk) -> list[dict[str, bytes]]:
    """Of each outcome, in some order."""
    return sorted(map(contents, disk.outcomes()), key=str)


def create(path: Path) -> int:
    """An empty file."""
    fd: int = atomic.calls.create(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600)
    return fd


def test_what_is_not_synced_may_be_there_or_not_or_in_part(place: Path) -> None:
    with Disk(place) as disk:
        fd = create(place / "new")
        atomic.calls.write(fd, b"1234")
        data = [{}, {"new": b""}, {"new": b"12"}, {"new": b"123"}, {"new": b"1234"}]
        assert all_contents(disk) == sorted(({"old": b"old", **each} for each in data), key=str)
        atomic.calls.fsync(fd)
        assert all_contents(disk) == sorted(({"old": b"old", **each} for each in ({}, data[-1])), key=str)
        os.close(fd)
        atomic.sync_folder(place)
        assert all_contents(disk) == [{"old": b"old", "new": b"1234"}]


def test_a_later_change_may_be_kept_without_an_earlier_one(place: Path) -> None:
    with Disk(place) as disk:
        atomic.calls.rename(place / "old", place / "renamed")
        os.close(create(place / "new"))
    found = all_contents(disk)
    assert {"old": b"old", "new": b""} in found
    assert {"renamed": b"old"} in found
    assert len(found) == 4
    assert not any("old" in each and "renamed" in each for each in found), "a rename is one change"


def test_a_folder_that_is_lost_takes_what_is_in_it_with_it(place: Path) -> None:
    with Disk(place) as disk:
        atomic.calls.mkdir(place / "folder", 0o700)
        fd = create(place / "folder" / "file")
        atomic.calls.fsync(fd)
        os.close(fd)
        atomic.sync_folder(place / "folder")
    assert all_contents(disk) == [{"old": b"old", "folder/file": b""}, {"old": b"old"}]


def test_two_names_of_one_file_stay_that(place: Path, tmp_path: Path) -> None:
    with Disk(place) as disk:
        atomic.calls.link(place / "old", place / "other")
        atomic.calls.rename(place / "old", place / "other")  # POSIX does nothing
        atomic.sync_folder(place)
        fd = os.open(place / "old", os.O_WRONLY)
        atomic.calls.write(fd, b"n")
        atomic.calls.fsync(fd)
        os.close(fd)
    (found,) = disk.outcomes()
    leave(found, tmp_path / "after")
    assert files(tmp_path / "after") == files(place) == {"old": b"nld", "other": b"nld"}
    assert (tmp_path / "after" / "old").samefile(tmp_path / "after" / "other")


def test_what_a_running_system_sees_is_one_of_the_outcomes(place: Path) -> None:
    with Disk(place) as disk:
        for data in (b"one", b"two"):
            atomic.write(place / "a" / "file", data)
        atomic.write(place / "old", b"new")
        atomic.calls.unlink(place / "a" / "file.previous")
        assert files(place) in all_contents(disk)
        atomic.erase(place / "a")
        assert all_contents(disk) == [files(place)]
    top = disk.outcome(())
    assert set(top) == {"", "old", "old.previous"}
    assert isinstance(disk._top, Folder)


def test_a_write_without_an_fsync_is_found_out(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with Disk(place) as disk:
        atomic.calls.fsync = lambda _fd: None
        atomic.write(place / "old", b"new")
    assert {"old": b"", "old.previous": b"old"} in all_contents(disk)

"""Files that survive crashes, full disks and each other."""

from __future__ import annotations

import errno
import os
import shutil
import stat
import subprocess
import sys
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from springline.errors import LocalFault, Misuse, StorageFull
from springline.store import atomic
from springline.tests.store.cast import files, interrupted

MOST_CALLS = 30
"""More system calls than one write makes."""


def crashes(action: Callable[[], object], reset: Callable[[], object]) -> Iterator[int]:
    """Every way for ``action`` to be cut short: after 0 system calls, after 1, …"""
    for count in range(MOST_CALLS):
        reset()
        if not interrupted(action, count):
            return
        yield count
    raise AssertionError(f"more than {MOST_CALLS} system calls")


def fails(number: int) -> Callable[[], None]:
    """The system says no."""

    def fail() -> None:
        raise OSError(number, os.strerror(number))

    return fail


def test_a_file_is_its_owners_alone_and_keeps_its_former_version(tmp_path: Path) -> None:
    path = tmp_path / "a" / "b" / "file"
    atomic.write(path, b"one")
    assert files(tmp_path) == {"a/b/file": b"one"}
    atomic.write(path, b"two")
    atomic.write(path, b"three")
    assert files(tmp_path) == {"a/b/file": b"three", "a/b/file.previous": b"two"}
    for made, mode in ((path, 0o600), (atomic.previous(path), 0o600), (tmp_path / "a", 0o700), (path.parent, 0o700)):
        assert stat.S_IMODE(made.stat().st_mode) == mode


def test_it_is_written_and_synced_before_it_is_renamed_and_the_folder_after(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[str] = []
    plain = atomic.Calls()

    def noted(name: str) -> Callable[..., object]:
        def call(*args: object) -> object:
            on = args[0]
            what = "folder" if isinstance(on, int) and stat.S_ISDIR(os.fstat(on).st_mode) else "file"
            made.append(f"{name} {what}")
            return getattr(plain, name)(*args)

        return call

    monkeypatch.setattr(atomic, "calls", atomic.Calls(**{name: noted(name) for name in vars(plain)}))
    atomic.write(tmp_path / "new" / "file", b"data")
    assert [call for call in made if "unlink" not in call and "link" not in call] == [
        "mkdir file",
        "fsync folder",
        "create file",
        "write file",
        "fsync file",
        "rename file",
        "fsync folder",
    ]


def test_a_crash_anywhere_leaves_the_old_or_the_new_state(tmp_path: Path) -> None:
    path = tmp_path / "data" / "file"

    def reset() -> None:
        shutil.rmtree(path.parent, ignore_errors=True)
        atomic.write(path, b"older")
        atomic.write(path, b"old version")

    seen = set()
    for count in crashes(lambda: atomic.write(path, b"the new version"), reset):
        found = atomic.read(path)
        seen.add(found)
        assert found in (b"old version", b"the new version"), count
        assert atomic.read(atomic.previous(path)) in (b"older", b"old version"), count
        atomic.write(path, b"after")  # a crash is in nobody's way
        assert not path.with_name("file.new-link").exists(), count
        atomic.write(path, b"after that")
        atomic.tidy(path.parent)
        assert files(path.parent) == {"file": b"after that", "file.previous": b"after"}, count
    assert seen == {b"old version", b"the new version"}


def test_a_crash_in_the_first_write_leaves_nothing_or_the_file(tmp_path: Path) -> None:
    path = tmp_path / "data" / "file"
    seen = set()
    for _ in crashes(lambda: atomic.write(path, b"first"), lambda: shutil.rmtree(path.parent, ignore_errors=True)):
        seen.add(atomic.read(path))
    assert seen == {None, b"first"}


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EROFS])
def test_a_failure_anywhere_is_one_clear_error_and_leaves_the_old_state(tmp_path: Path, number: int) -> None:
    path = tmp_path / "file"
    expected = StorageFull if number in (errno.ENOSPC, errno.EDQUOT) else LocalFault
    failed = 0
    for count in range(MOST_CALLS):
        atomic.write(path, b"old")
        try:
            interrupted(lambda: atomic.write(path, b"new"), count, fails(number))
        except expected:
            failed += 1
            assert atomic.read(path) == b"old"
            assert not list(tmp_path.glob("*.new-????????")), "a half-written file is left"
    assert failed >= 5  # write, fsync, link, rename, rename, fsync of the folder


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EROFS])
def test_a_rehearsal_tells_what_a_write_would_and_leaves_nothing(tmp_path: Path, number: int) -> None:
    expected = StorageFull if number in (errno.ENOSPC, errno.EDQUOT) else LocalFault
    atomic.rehearse(tmp_path, 10_000)
    for count in range(3):  # create, write, fsync
        with pytest.raises(expected):
            interrupted(lambda: atomic.rehearse(tmp_path, 10_000), count, fails(number))
    assert files(tmp_path) == {}


def test_a_rehearsal_takes_as_much_room_as_what_is_sealed_even_where_files_are_compressed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    written: list[bytes] = []

    def write(fd: int, data: bytes) -> int:
        written.append(bytes(data))
        return os.write(fd, data)

    monkeypatch.setattr(atomic, "calls", atomic.Calls(write=write))
    atomic.rehearse(tmp_path, 10_000)
    assert len(zlib.compress(b"".join(written))) >= 10_000


def test_undo_brings_the_former_version_back(tmp_path: Path) -> None:
    path = tmp_path / "file"
    atomic.write(path, b"one")
    atomic.write(path, b"two")
    atomic.undo(path)
    assert files(tmp_path) == {"file": b"one"}
    atomic.undo(path)
    assert files(tmp_path) == {}


def test_reading_what_is_not_there_and_what_is_no_file(tmp_path: Path) -> None:
    assert atomic.read(tmp_path / "nothing") is None
    with pytest.raises(LocalFault, match=tmp_path.name):
        atomic.read(tmp_path)


def test_erase_overwrites_and_removes_everything_in_a_folder(tmp_path: Path) -> None:
    folder = tmp_path / "peer"
    path = folder / "keys"
    atomic.write(path, b"S" * 100_000)
    atomic.write(path, b"T" * 50)
    (folder / "keys.new-0123abcd").write_bytes(b"U" * 10)
    copies = tmp_path / "copies"  # other names of the same blocks: what is left on the disk
    copies.mkdir()
    for kept in folder.iterdir():
        os.link(kept, copies / kept.name)
    atomic.erase(folder)
    assert not folder.exists()
    assert [set(data) for data in files(copies).values()] == [{0}, {0}, {0}]
    atomic.erase(folder)  # nothing to do


def test_what_cannot_be_overwritten_is_removed_all_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    atomic.write(tmp_path / "peer" / "keys", b"secret")
    atomic.write(tmp_path / "peer" / "keys", b"secret too")

    def full(*args: object) -> int:  # a copying file system without room refuses to write over, but not to remove
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(atomic, "calls", atomic.Calls(write=full))
    atomic.erase(tmp_path / "peer")
    assert files(tmp_path) == {}
    assert not (tmp_path / "peer").exists()


def test_tidy_removes_what_a_crash_has_left_and_nothing_else(tmp_path: Path) -> None:
    for _ in crashes(lambda: atomic.write(tmp_path / "file", b"data"), lambda: None):
        pass
    atomic.write(tmp_path / "file", b"data")
    assert len(files(tmp_path)) > 2
    atomic.tidy(tmp_path)
    assert sorted(files(tmp_path)) == ["file", "file.previous"]


FILL = """
import resource, sys
from pathlib import Path
from springline.errors import StorageFull
from springline.store import atomic
path = Path(sys.argv[1], "file")
if sys.argv[2] == "limit":
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))
atomic.write(path, b"old")
try:
    atomic.write(path, bytes(1 << 20))
except StorageFull as error:
    print(sorted(p.name for p in path.parent.iterdir()), path.read_bytes(), error.message)
"""


@pytest.mark.parametrize("how", ["limit", "tmpfs"])
def test_a_disk_that_is_really_full(tmp_path: Path, how: str) -> None:
    command = [sys.executable, "-c", FILL, str(tmp_path), how]
    if how == "tmpfs":  # in a mount namespace of its own, which goes with the process
        mount = 'mount -t tmpfs -o size=256k none "$1" || exit 77; shift; exec "$@"'
        command = ["unshare", "--mount", "--map-root-user", "sh", "-c", mount, "sh", str(tmp_path), *command]
        if shutil.which("unshare") is None:
            pytest.skip("no unshare here")
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    if how == "tmpfs" and (done.returncode == 77 or "unshare" in done.stderr):
        pytest.skip("not allowed to mount here")
    assert done.stderr == ""
    assert done.stdout == "['file'] b'old' no room to write file\n"


# -- a file for the user ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("there", [False, True])
def test_a_published_file_is_whole_or_as_before_whatever_happens(tmp_path: Path, there: bool) -> None:
    path = tmp_path / "file"

    def reset() -> None:
        path.unlink(missing_ok=True)
        if there:
            path.write_bytes(b"former")

    def publish() -> None:
        atomic.publish(path, b"new", replace=there)

    for _ in crashes(publish, reset):
        assert (path.read_bytes() if path.exists() else None) in (b"new", b"former" if there else None)
        atomic.tidy(tmp_path)
    assert files(tmp_path) == {"file": b"new"}
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EIO])
def test_a_file_that_cannot_be_published_leaves_nothing_behind(tmp_path: Path, code: int) -> None:
    for count in range(3):  # the write, its fsync, the link
        with pytest.raises(LocalFault) as caught:
            interrupted(lambda: atomic.publish(tmp_path / "file", b"new", replace=False), count, fails(code))
        assert type(caught.value) is (StorageFull if code == errno.ENOSPC else LocalFault)
        assert files(tmp_path) == {}


def test_a_published_file_replaces_another_only_if_it_is_told_to(tmp_path: Path) -> None:
    path = tmp_path / "file"
    atomic.publish(path, b"one", replace=False)
    with pytest.raises(Misuse, match="exists"):
        atomic.publish(path, b"two", replace=False)
    assert files(tmp_path) == {"file": b"one"}
    atomic.publish(path, b"two", replace=True)
    assert files(tmp_path) == {"file": b"two"}
    with pytest.raises(LocalFault, match="no such file"):
        atomic.publish(tmp_path / "nowhere" / "file", b"", replace=False)


def test_without_a_former_version_a_write_is_old_or_new_and_leaves_none(tmp_path: Path) -> None:
    path = tmp_path / "data" / "file"

    def reset() -> None:
        shutil.rmtree(path.parent, ignore_errors=True)
        atomic.write(path, b"old", keep=False)

    for _ in crashes(lambda: atomic.write(path, b"new", keep=False), reset):
        assert atomic.read(path) in (b"old", b"new")
    atomic.tidy(path.parent)
    assert files(path.parent) == {"file": b"new"}


def test_remove_overwrites_and_removes_all_versions_of_one_file(tmp_path: Path) -> None:
    path = tmp_path / "keys"
    atomic.write(path, b"S" * 100)
    atomic.write(path, b"T" * 100)
    atomic.write(tmp_path / "other", b"other")
    copies = tmp_path / "copies"
    copies.mkdir()
    for kept in (path, atomic.previous(path)):
        os.link(kept, copies / kept.name)
    for _ in crashes(lambda: atomic.remove(path), lambda: None):
        pass
    atomic.remove(path)
    assert files(tmp_path) == {"other": b"other", "copies/keys": bytes(100), "copies/keys.previous": bytes(100)}
    with pytest.raises(LocalFault, match="copies"):
        atomic.remove(copies)


def test_tidy_leaves_young_files_alone_if_others_may_be_writing(tmp_path: Path) -> None:
    for name, age in (("a.new-1", 100), ("b.new-2", 300), ("c", 300)):
        (tmp_path / name).write_bytes(b"")
        os.utime(tmp_path / name, (1000 - age, 1000 - age))
    atomic.tidy(tmp_path, before=800)
    assert sorted(files(tmp_path)) == ["a.new-1", "c"]

"""On real files in a real folder; a fresh Inbox is a restarted handler."""

from __future__ import annotations

import fcntl
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from uuid import UUID, uuid4

import pytest
from blake3 import blake3
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from springline.errors import Busy, LocalFault, Misuse
from springline.protocols.files import inbox as module
from springline.protocols.files.inbox import Done, Inbox, usable
from springline.tests.memory import in_memory

__all__ = ["in_memory"]

ID, OTHER = UUID(int=7), UUID(int=8)
DATA = b"what is in the file"
DIGEST = blake3(DATA).digest()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "in" / "coming"


@pytest.fixture
def inbox(folder: Path) -> Iterator[Inbox]:
    opened = Inbox(folder)
    yield opened
    opened.close()


def test_a_folder_that_was_chosen_is_made_or_refused(folder: Path) -> None:
    assert usable(folder) == str(folder)
    assert folder.stat().st_mode & 0o777 == 0o700
    assert usable(folder) == str(folder)
    (folder / "file").touch()
    for none in (folder / "file", folder / "file" / "below"):
        with pytest.raises(Misuse, match="not a directory"):
            usable(none)
    if os.geteuid() != 0:  # root may write everywhere
        folder.chmod(0o500)
        with pytest.raises(Misuse, match="permission denied"):
            usable(folder)


def write(inbox: Inbox, data: bytes, offset: int = 0, transfer: UUID = ID) -> None:
    fd = inbox.open_part(transfer, offset)
    os.pwrite(fd, data, offset)
    os.close(fd)


def receive(inbox: Inbox, name: str, data: bytes = DATA, transfer: UUID = ID) -> Done:
    write(inbox, data, transfer=transfer)
    return inbox.finish(transfer, name, len(data), blake3(data).digest())


def visible(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir() if not path.name.startswith(".")}


def parts(folder: Path) -> list[str]:
    return [path.name for path in folder.iterdir() if path.name.endswith(".part")]


def test_a_file_arrives(inbox: Inbox, folder: Path) -> None:
    assert inbox.received(ID, len(DATA)) == 0
    assert inbox.done(ID) is None
    write(inbox, DATA)
    assert inbox.received(ID, len(DATA)) == len(DATA)
    assert visible(folder) == {}
    done = inbox.finish(ID, "a.txt", len(DATA), DIGEST)
    assert done == inbox.done(ID) == Done("a.txt", len(DATA), DIGEST)
    assert visible(folder) == {"a.txt": DATA}
    assert parts(folder) == []
    assert (folder / "a.txt").stat().st_mode & 0o777 == 0o600
    assert (folder / "a.txt").stat().st_nlink == 1


def test_an_empty_file_arrives(inbox: Inbox, folder: Path) -> None:
    receive(inbox, "empty", b"")
    assert visible(folder) == {"empty": b""}


def test_all_that_is_needed_is_on_disk(inbox: Inbox, folder: Path) -> None:
    write(inbox, DATA[:5])
    restarted = Inbox(folder)
    assert restarted.received(ID, len(DATA)) == 5
    write(restarted, DATA[5:], 5)
    restarted.finish(ID, "a.txt", len(DATA), DIGEST)
    restarted.close()
    assert inbox.done(ID) == Done("a.txt", len(DATA), DIGEST)
    assert visible(folder) == {"a.txt": DATA}


def test_what_was_written_behind_the_offset_is_cut_off(inbox: Inbox) -> None:
    write(inbox, b"a wrong beginning and more than there should be")
    write(inbox, b"", 3)
    assert inbox.received(ID, len(DATA)) == 3


def test_a_part_longer_than_the_whole_is_thrown_away(inbox: Inbox, folder: Path) -> None:
    write(inbox, DATA)
    assert inbox.received(ID, len(DATA) - 1) == 0
    assert parts(folder) == []


def test_nothing_is_overwritten(inbox: Inbox, folder: Path) -> None:
    (folder / "a.txt").write_bytes(b"mine")
    (folder / "a (1).txt").mkdir()
    assert receive(inbox, "a.txt").name == "a (2).txt"
    (folder / "a (1).txt").rmdir()
    assert visible(folder) == {"a.txt": b"mine", "a (2).txt": DATA}


def test_a_link_is_neither_followed_nor_replaced(inbox: Inbox, folder: Path, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    (folder / "a.txt").symlink_to(outside)
    (folder / "b.txt").symlink_to(tmp_path / "dangling")
    assert receive(inbox, "a.txt").name == "a (1).txt"
    assert receive(inbox, "b.txt", transfer=OTHER).name == "b (1).txt"
    assert not outside.exists()


def test_a_link_in_place_of_the_part_is_refused(inbox: Inbox, folder: Path, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.write_bytes(b"mine")
    (folder / f".{ID.hex}.part").symlink_to(outside)
    with pytest.raises(LocalFault):
        inbox.open_part(ID, 0)
    with pytest.raises(LocalFault):
        inbox.finish(ID, "a.txt", len(DATA), DIGEST)
    assert inbox.received(ID, 100) == 0
    assert outside.read_bytes() == b"mine"
    assert visible(folder) == {}


def test_the_folder_may_be_moved_while_it_is_used(inbox: Inbox, folder: Path, tmp_path: Path) -> None:
    write(inbox, DATA)
    folder.rename(tmp_path / "moved")
    inbox.finish(ID, "a.txt", len(DATA), DIGEST)
    assert visible(tmp_path / "moved") == {"a.txt": DATA}


def test_finishing_twice_makes_no_second_copy(inbox: Inbox, folder: Path) -> None:
    first = receive(inbox, "a.txt")
    assert inbox.finish(ID, "a.txt", len(DATA), DIGEST) == first
    assert receive(inbox, "another.txt") == first
    assert visible(folder) == {"a.txt": DATA}
    assert parts(folder) == []


def test_killed_between_the_name_and_the_record(inbox: Inbox, folder: Path) -> None:
    write(inbox, DATA)
    os.link(folder / f".{ID.hex}.part", folder / "a.txt")
    assert inbox.finish(ID, "a.txt", len(DATA), DIGEST).name == "a.txt"
    assert visible(folder) == {"a.txt": DATA}
    assert parts(folder) == []


def test_killed_between_the_record_and_the_part(inbox: Inbox, folder: Path) -> None:
    """The part is then the finished file by another name: it must not be written again."""
    done = receive(inbox, "a.txt")
    os.link(folder / "a.txt", folder / f".{ID.hex}.part")
    assert inbox.finish(ID, "a.txt", len(DATA), DIGEST) == done
    assert parts(folder) == []
    assert visible(folder) == {"a.txt": DATA}


def test_without_a_part_there_is_nothing_to_finish(inbox: Inbox, folder: Path) -> None:
    with pytest.raises(LocalFault):
        inbox.finish(ID, "a.txt", len(DATA), DIGEST)
    assert visible(folder) == {}
    assert inbox.done(ID) is None


def test_where_files_cannot_be_linked_a_name_is_claimed_first(inbox: Inbox, folder: Path) -> None:
    write(inbox, DATA)
    (folder / "a.txt").write_bytes(b"mine")
    assert not inbox._claim(f".{ID.hex}.part", "a.txt")
    assert inbox._claim(f".{ID.hex}.part", "a (1).txt")
    assert visible(folder) == {"a.txt": b"mine", "a (1).txt": DATA}


def test_one_stream_writes_at_a_time(inbox: Inbox, folder: Path) -> None:
    fd = inbox.open_part(ID, 0)
    os.write(fd, DATA)
    copy = os.dup(fd)
    os.close(fd)
    restarted = Inbox(folder)
    with pytest.raises(Busy):
        restarted.open_part(ID, 0)
    assert restarted.received(ID, len(DATA)) == len(DATA)
    os.close(copy)
    os.close(restarted.open_part(ID, 5))
    assert restarted.received(ID, len(DATA)) == 5
    restarted.close()


def test_descriptors_are_not_leaked(inbox: Inbox, folder: Path) -> None:
    before = len(os.listdir("/dev/fd"))
    receive(inbox, "a.txt")
    fd = inbox.open_part(OTHER, 0)
    with pytest.raises(Busy):
        inbox.open_part(OTHER, 0)
    os.close(fd)
    with pytest.raises(LocalFault):
        inbox.open_part(OTHER, -1)
    inbox.done(ID)
    assert len(os.listdir("/dev/fd")) == before


def test_the_descriptor_is_for_no_child(inbox: Inbox) -> None:
    fd = inbox.open_part(ID, 0)
    assert fcntl.fcntl(fd, fcntl.F_GETFD) & fcntl.FD_CLOEXEC
    os.close(fd)


def test_discard(inbox: Inbox, folder: Path) -> None:
    inbox.discard(ID)
    write(inbox, DATA)
    inbox.discard(ID)
    assert list(folder.iterdir()) == []


@pytest.mark.parametrize("record", [b"", b"{", b"[]", b"{}", b'{"name": "a", "size": 1, "blake3": "x"}', b"\xff"])
def test_a_damaged_record_is_no_record(inbox: Inbox, folder: Path, record: bytes) -> None:
    receive(inbox, "a.txt")
    (folder / f".{ID.hex}.done").write_bytes(record)
    assert inbox.done(ID) is None


def test_the_oldest_records_are_forgotten(inbox: Inbox, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MOST_DONE", 3)
    made = [uuid4() for _ in range(5)]
    for age, transfer in enumerate(made):
        receive(inbox, "a.txt", transfer=transfer)
        os.utime(folder / f".{transfer.hex}.done", (age, age))
    assert [inbox.done(transfer) is not None for transfer in made] == [False, False, True, True, True]
    assert len(visible(folder)) == 5


def test_too_many_namesakes_are_a_clear_fault(inbox: Inbox, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_MOST_NAMESAKES", 2)
    for name in ("a.txt", "a (1).txt"):
        (folder / name).write_bytes(b"mine")
    with pytest.raises(LocalFault, match="too many files"):
        receive(inbox, "a.txt")
    assert parts(folder) == [f".{ID.hex}.part"]


def test_a_folder_that_is_none_is_a_clear_fault(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(LocalFault, match="received files"):
        Inbox(tmp_path / "file")
    with pytest.raises(LocalFault, match="received files"):
        Inbox(tmp_path / "file" / "below")


def test_a_name_the_file_system_refuses_is_a_clear_fault(inbox: Inbox) -> None:
    with pytest.raises(LocalFault, match="received files"):
        receive(inbox, "x" * 300)


def test_partial_files_nobody_goes_on_with_are_given_up(inbox: Inbox, folder: Path) -> None:
    young, old, open_still = UUID(int=1), UUID(int=2), UUID(int=3)
    for transfer in (young, old, open_still):
        write(inbox, DATA, transfer=transfer)
    receive(inbox, "whole.txt", transfer=OTHER)
    (folder / ".notes.part").mkdir()
    (folder / ".link.part").symlink_to(folder / "whole.txt")
    os.mkfifo(folder / ".fifo.part")
    (folder / "my.part").write_bytes(b"the user's own")
    now = os.stat(folder / f".{young.hex}.part").st_mtime + 60
    for path in folder.iterdir():
        if young.hex not in path.name:
            long_ago = now - module.ABANDONED - 1
            os.utime(path, (long_ago, long_ago), follow_symlinks=False)
    fd = inbox.open_part(open_still, 4)
    os.utime(fd, (1, 1))
    before = set(os.listdir(folder))
    assert inbox.forget_abandoned(now) == 1
    assert before - set(os.listdir(folder)) == {f".{old.hex}.part"}
    os.close(fd)
    assert inbox.forget_abandoned(now) == 1
    assert inbox.forget_abandoned(now) == 0
    assert inbox.received(young, len(DATA)) == len(DATA)


class Receiving(RuleBasedStateMachine):
    """Two transfers of one name, pieces and restarts in any order, against what should be there."""

    def __init__(self) -> None:
        super().__init__()
        self.home = tempfile.TemporaryDirectory()
        self.folder = Path(self.home.name)
        self.inbox = Inbox(self.folder)
        self.have = {ID: 0, OTHER: 0}
        self.finished: dict[UUID, Done] = {}

    def teardown(self) -> None:
        self.inbox.close()
        self.home.cleanup()

    @rule()
    def restart(self) -> None:
        self.inbox.close()
        self.inbox = Inbox(self.folder)

    @rule(transfer=st.sampled_from([ID, OTHER]), back=st.integers(0, 4), more=st.integers(0, 12))
    def stream(self, transfer: UUID, back: int, more: int) -> None:
        """From a bit before what is there (an older answer) on."""
        if transfer in self.finished:
            return
        offset = max(0, self.have[transfer] - back)
        write(self.inbox, DATA[offset : offset + more], offset, transfer)
        self.have[transfer] = min(offset + more, len(DATA))

    @precondition(lambda self: len(DATA) in self.have.values())
    @rule()
    def finish(self) -> None:
        for transfer, have in self.have.items():
            if have == len(DATA):
                done = self.inbox.finish(transfer, "a.txt", len(DATA), DIGEST)
                assert self.finished.setdefault(transfer, done) == done

    @invariant()
    def what_is_there_is_what_should_be(self) -> None:
        assert visible(self.folder) == {done.name: DATA for done in self.finished.values()}
        for transfer, have in self.have.items():
            assert self.inbox.done(transfer) == self.finished.get(transfer)
            assert self.inbox.received(transfer, len(DATA)) == (0 if transfer in self.finished else have)


TestReceiving = Receiving.TestCase

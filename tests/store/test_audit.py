"""The audit trail on a disk: through crashes, full disks, rotation, and people who edit it."""

from __future__ import annotations

import base64
import contextlib
import errno
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from springline.errors import LocalFault, Newer, StorageFull
from springline.store import atomic, audit, chain
from springline.store.audit import BEGUN, DROPPED, TORN, AuditLog
from springline.store.chain import DAMAGED, Verdict
from springline.store.envelope import seal, subkey
from springline.tests.store.cast import NOW, ONE, TWO, files, interrupted

KEY = bytes(range(32))
SMALL = {"most_bytes": 1500, "most_parts": 2}
MOST_CALLS = 80


@contextmanager
def opened(folder: Path, **limits: int) -> Iterator[AuditLog]:
    trail = AuditLog(folder / "audit.log", KEY, NOW, **limits)
    try:
        yield trail
    finally:
        trail.close()


def fill(folder: Path, count: int, **limits: int) -> None:
    with opened(folder, **limits) as trail:
        for number in range(count):
            trail.append("connected", ONE, f"number {number}", NOW)
        trail.sync()


def log_of(folder: Path) -> Path:
    return folder / "audit.log"


def verdict(folder: Path, **limits: int) -> Verdict:
    with opened(folder, **limits) as trail:
        return trail.verify()


def said(folder: Path, **limits: int) -> list[str]:
    """Kinds and details, oldest first."""
    with opened(folder, **limits) as trail:
        return [f"{entry.kind}: {entry.detail}" for entry in reversed(trail.entries(10_000))]


# -- what is written is found ------------------------------------------------------------------------------------------


def test_what_is_appended_is_read_newest_first_now_and_later(tmp_path: Path) -> None:
    with opened(tmp_path) as trail:
        trail.append("connected", ONE, "at host:1", NOW)
        trail.append("caller refused", None, "unknown", NOW + timedelta(hours=1))
        trail.append("connected", TWO, "at host:2", NOW + timedelta(hours=2))
        for _ in range(2):
            found = trail.entries(10)
            assert [(e.seq, e.kind, e.device) for e in found] == [
                (4, "connected", TWO),
                (3, "caller refused", None),
                (2, "connected", ONE),
                (1, BEGUN, None),
            ]
            trail.sync()
        assert [e.seq for e in trail.entries(2)] == [4, 3]
        assert [e.seq for e in trail.entries(9, device=ONE)] == [2]
        assert [e.seq for e in trail.entries(9, since=NOW + timedelta(hours=1))] == [4, 3]
        assert trail.entries(0) == []
    with opened(tmp_path) as trail:
        assert trail.entries(10) == found
        trail.append("disconnected", TWO, "goodbye", NOW)
        assert [e.seq for e in trail.entries(2)] == [5, 4]
        assert trail.verify() == Verdict(5)


def test_the_files_are_their_owners_alone_and_show_nothing(tmp_path: Path) -> None:
    fill(tmp_path, 3)
    for path in tmp_path.iterdir():
        assert path.stat().st_mode & 0o777 == 0o600
        data = path.read_bytes()
        lines = data.splitlines() if path == log_of(tmp_path) else []
        for line in (data, *map(base64.b64decode, lines)):
            for secret in (b"connected", b"number", ONE.bytes, ONE.hex.encode(), str(ONE).encode(), b"detail", KEY):
                assert secret not in line


def test_appending_is_one_write_and_waits_for_no_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[str] = []

    def noted(name: str) -> Callable[..., object]:
        def call(*args: object) -> object:
            made.append(name)
            return getattr(atomic.Calls(), name)(*args)

        return call

    with opened(tmp_path) as trail:
        trail.sync()
        monkeypatch.setattr(atomic, "calls", atomic.Calls(**{name: noted(name) for name in vars(atomic.Calls())}))
        trail.append("connected", ONE, "", NOW)
        trail.append("connected", ONE, "", NOW)
        assert made == ["write", "write"]
        made.clear()
        trail.sync()
        assert made[0] == "fsync"  # the lines first, then the head
        assert made.count("rename") == 1
        made.clear()
        trail.sync()
        assert made == []


def test_it_is_read_backwards_in_blocks(tmp_path: Path) -> None:
    with opened(tmp_path) as trail:
        for number in range(600):
            trail.append("connected", ONE, "x" * (number * 7 % 900), NOW)
        assert [e.seq for e in trail.entries(10_000)] == list(range(601, 0, -1))
        assert [e.detail for e in trail.entries(600)] == ["x" * (n * 7 % 900) for n in reversed(range(600))]


def test_reading_and_verifying_pause_and_appending_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(audit, "TURN", 2)
    with opened(tmp_path, most_bytes=1500) as trail:
        for _ in range(20):
            trail.append("connected", ONE, "", NOW)
        checking, looking = trail.checking(), trail.looking(100)
        done: dict[Any, Any] = {}
        while len(done) < 2:
            for work in (checking, looking):
                trail.append("connected", ONE, "", NOW)
                try:
                    next(work)
                except StopIteration as end:
                    done.setdefault(work, end.value)
        assert done[checking].sound
        assert done[checking].entries >= 21
        seqs = [entry.seq for entry in done[looking]]
        assert seqs == list(range(seqs[0], 0, -1))
        assert trail.verify().sound


# -- people who edit it ------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def whole() -> Iterator[dict[str, bytes]]:
    """A trail in several parts, as files."""
    with TemporaryDirectory() as folder:
        fill(Path(folder), 12, most_bytes=1200, most_parts=9)
        found = files(Path(folder))
        assert len([name for name in found if "log" in name]) >= 3
        yield found


def tampered(made: dict[str, bytes]) -> Verdict:
    """What a running node says of files that somebody has changed meanwhile."""
    with TemporaryDirectory() as where:
        folder = Path(where)
        for name, data in made.items():
            (folder / name).write_bytes(data)
        return verdict(folder, most_bytes=1200, most_parts=9)


@settings(max_examples=150, deadline=None)
@given(data=st.data())
def test_any_flipped_byte_is_found(whole: dict[str, bytes], data: st.DataObject) -> None:
    name = data.draw(st.sampled_from(sorted(whole)))
    blob = bytearray(whole[name])
    blob[data.draw(st.integers(0, len(blob) - 1))] ^= data.draw(st.integers(1, 255))
    assert tampered(whole).sound
    assert not tampered({**whole, name: bytes(blob)}).sound


@settings(max_examples=150, deadline=None)
@given(data=st.data())
def test_any_cut_removal_swap_and_double_is_found(whole: dict[str, bytes], data: st.DataObject) -> None:
    name = data.draw(st.sampled_from(sorted(name for name in whole if "log" in name)))
    lines = whole[name].splitlines(keepends=True)
    one, other = (data.draw(st.integers(0, len(lines) - 1)) for _ in range(2))
    match data.draw(st.sampled_from(["cut", "remove", "swap", "double", "insert", "delete part", "foreign"])):
        case "cut":
            changed = whole[name][: data.draw(st.integers(0, len(whole[name]) - 1))]
        case "remove":
            changed = b"".join(lines[:one] + lines[one + 1 :])
        case "swap" if one != other:
            lines[one], lines[other] = lines[other], lines[one]
            changed = b"".join(lines)
        case "double":
            changed = b"".join([*lines[: one + 1], lines[one], *lines[one + 1 :]])
        case "insert":
            changed = b"".join([*lines[:one], data.draw(st.binary()) + b"\n", *lines[one:]])
        case "delete part":
            assert not tampered({other: blob for other, blob in whole.items() if other != name}).sound
            return
        case _:
            made = chain.Lines(bytes(32)).seal(chain.Entry(one, NOW, "connected", ONE, ""), bytes(32))
            changed = b"".join([*lines[:one], made + b"\n", *lines[one:]])
    assert not tampered({**whole, name: changed}).sound


def test_a_missing_head_is_found_and_stays_told(tmp_path: Path) -> None:
    fill(tmp_path, 3)
    (tmp_path / "audit.head").unlink()
    for _ in range(2):  # the first opening makes a new one
        found = verdict(tmp_path)
        assert found.entries == 5
        assert "the head was missing" in found.broken
        assert found.broken.startswith("entry 5 says")


def test_a_cut_at_the_end_is_told_for_ever_and_the_chain_goes_on(tmp_path: Path) -> None:
    fill(tmp_path, 5)
    lines = log_of(tmp_path).read_bytes().splitlines(keepends=True)
    log_of(tmp_path).write_bytes(b"".join(lines[:3]))
    fill(tmp_path, 2)
    found = verdict(tmp_path)
    assert found.broken == "entries 4 to 6 are missing"
    assert [kind for kind in said(tmp_path) if "missing" in kind] == [
        f"{DAMAGED}: entries 4 to 6 are missing at the end, found when the trail was opened"
    ]
    with opened(tmp_path) as trail:
        assert [entry.seq for entry in trail.entries(10)] == [9, 8, 7, 3, 2, 1]


def test_all_lines_removed_and_junk_at_the_end_are_told(tmp_path: Path) -> None:
    fill(tmp_path, 5)
    log_of(tmp_path).unlink()
    assert verdict(tmp_path).broken == "entries 1 to 6 are missing at the beginning"
    with log_of(tmp_path).open("ab") as file:
        file.write(b"junk\n\n" + b"J" * 100_000 + b"\njunk\n")
    fill(tmp_path, 1)
    assert any("after entry 7 is none of this trail's" in line for line in said(tmp_path))
    log_of(tmp_path).write_bytes(b"junk\n")
    fill(tmp_path, 1)
    assert any("no line at the end" in line for line in said(tmp_path))
    assert not verdict(tmp_path).sound


def test_edits_while_it_is_open_are_found(tmp_path: Path) -> None:
    with opened(tmp_path) as trail:
        for number in range(5):
            trail.append("connected", ONE, str(number), NOW)
        assert trail.verify().sound
        good = log_of(tmp_path).read_bytes()
        lines = good.splitlines(keepends=True)
        for bad, told in (
            (b"".join(lines[:-1]), "missing at the end"),
            (good + b"more", "was cut"),
            (good + b"more\n", "was cut"),
            (b"", "missing at the end"),
        ):
            log_of(tmp_path).write_bytes(bad)
            assert told in trail.verify().broken
            log_of(tmp_path).write_bytes(good)
        log_of(tmp_path).write_bytes(b"".join(lines[:-1]))
        trail.append("connected", ONE, "after the cut", NOW)
        assert not trail.verify().sound


def test_a_newer_versions_trail_is_left_alone(tmp_path: Path) -> None:
    fill(tmp_path, 2)
    head = tmp_path / "audit.head"
    head.write_bytes(seal(subkey(KEY, "audit_head"), b'{"version": 2}', "audit_head"))
    before = files(tmp_path)
    with pytest.raises(Newer, match="untouched"):
        AuditLog(log_of(tmp_path), KEY, NOW)
    assert files(tmp_path) == before


def test_nobody_without_the_key_can_keep_it_from_being_written(tmp_path: Path) -> None:
    fill(tmp_path, 2)
    head = tmp_path / "audit.head"
    head.write_bytes(head.read_bytes().replace(b'"version": 1', b'"version": 2'))
    with log_of(tmp_path).open("ab") as file:
        file.write(base64.b64encode(b"\x02" + bytes(90)) + b"\n")
    fill(tmp_path, 1)
    assert not verdict(tmp_path).sound
    assert said(tmp_path)[-1] == "connected: number 0"


# -- rotation ----------------------------------------------------------------------------------------------------------


def test_it_rotates_stays_bounded_and_stays_sound(tmp_path: Path) -> None:
    with opened(tmp_path, **SMALL) as trail:
        for number in range(60):
            trail.append("connected", ONE, f"number {number}", NOW)
            assert trail.verify().sound
            found = files(tmp_path)
            assert len(found) <= 4
            assert sum(map(len, found.values())) < 3 * (1500 + 1000) + 500
        seqs = [entry.seq for entry in trail.entries(1000)]
        assert seqs == list(range(seqs[0], seqs[-1] - 1, -1))
        assert seqs[0] > 61
        assert trail.verify() == Verdict(len(seqs))
        told = next(entry for entry in trail.entries(1000) if entry.kind == DROPPED)
        assert told.detail.endswith("only the latest are kept")
    assert [name for name in sorted(found) if "log." in name] == sorted(
        (name for name in found if "log." in name), key=lambda name: int(name.rpartition(".")[2])
    )
    oldest = min(found.keys() - {"audit.head", "audit.log"})
    assert not tampered_in(tmp_path, (tmp_path / oldest).unlink)


def tampered_in(folder: Path, change: Callable[[], object]) -> bool:
    """Whether the trail is sound after the change."""
    change()
    return verdict(folder, **SMALL).sound


def test_parts_are_in_order_of_their_numbers(tmp_path: Path) -> None:
    with opened(tmp_path, most_bytes=300, most_parts=99) as trail:
        for _ in range(30):
            trail.append("connected", ONE, "", NOW)
        assert (tmp_path / "audit.log.11").exists()
        (tmp_path / "audit.log.bak").write_bytes(b"somebody's copy")
        assert trail.verify().sound
        assert [entry.seq for entry in trail.entries(99)] == list(range(31, 0, -1))


# -- crashes -----------------------------------------------------------------------------------------------------------


def test_a_crash_at_any_call_leaves_a_trail_that_opens_and_is_sound(tmp_path: Path) -> None:
    """Through opening, appending, rotation and dropping; the last write before it is torn."""
    folder = tmp_path / "trail"
    folder.mkdir()
    with opened(folder, **SMALL) as trail:
        for number in range(9):
            trail.append("connected", ONE, f"former number {number}", NOW)
        trail.sync()
    before = files(folder)
    known = [line for line in said(folder, **SMALL) if "number" in line]
    written = [*known, *(f"connected: number {number}" for number in range(12))]
    torn = happened = 0
    for count in range(MOST_CALLS):
        shutil.rmtree(folder)
        folder.mkdir()
        for name, data in before.items():
            (folder / name).write_bytes(data)
        if not interrupted(lambda: fill(folder, 12, **SMALL), count):
            break
        happened += 1
        atomic.tidy(folder)  # as the store's opening does
        found = verdict(folder, **SMALL)
        assert found.sound, (count, found)
        lines = said(folder, **SMALL)
        torn += any(line.startswith(TORN) for line in lines)
        numbers = [line for line in lines if "number" in line]
        begin = written.index(numbers[0])
        end = begin + len(numbers)
        assert numbers == written[begin:end]
        assert end >= len(known)  # what was synced is there
        fill(folder, 1, **SMALL)
        assert verdict(folder, **SMALL).sound
    else:
        raise AssertionError(f"more than {MOST_CALLS} system calls")
    assert happened > 30
    assert torn > 10


def test_a_crash_in_the_first_opening(tmp_path: Path) -> None:
    for count in range(MOST_CALLS):
        shutil.rmtree(tmp_path / "trail", ignore_errors=True)
        (tmp_path / "trail").mkdir()
        if not interrupted(lambda: fill(tmp_path / "trail", 1), count):
            assert count > 5
            return
        assert verdict(tmp_path / "trail").sound, count
    raise AssertionError("more system calls than that")


@given(size=st.integers(0, 400))
@settings(max_examples=40, deadline=None)
def test_a_line_torn_anywhere_is_set_aside_and_said(size: int) -> None:
    with TemporaryDirectory() as where:
        folder = Path(where)
        fill(folder, 2)
        with opened(folder) as trail:
            trail.append("connected", ONE, "not known to be on the disk", NOW)
        good = log_of(folder).read_bytes()
        start = good.rstrip(b"\n").rfind(b"\n") + 1
        cut = min(start + size, len(good) - 1)
        log_of(folder).write_bytes(good[:cut])
        found = verdict(folder)
        assert found.sound
        lines = said(folder)
        assert lines[3:] == ([f"{TORN}: {cut - start} bytes of an entry that a crash cut short"] if cut > start else [])
        assert log_of(folder).read_bytes().startswith(good[:start])
        assert log_of(folder).read_bytes().endswith(b"\n")


def test_a_torn_end_that_is_longer_than_its_entry_is_removed_wholly(tmp_path: Path) -> None:
    fill(tmp_path, 1)
    with log_of(tmp_path).open("ab") as file:
        file.write(bytes(5000))  # as some file systems leave it after a power cut
    assert verdict(tmp_path) == Verdict(3)
    assert b"\0" not in log_of(tmp_path).read_bytes()


def test_a_torn_line_at_the_border_of_a_part_stays_out_of_it(tmp_path: Path) -> None:
    fill(tmp_path, 7)
    limit = {"most_bytes": log_of(tmp_path).stat().st_size}
    with log_of(tmp_path).open("ab") as file:
        file.write(b"torn")
    fill(tmp_path, 3, **limit)
    assert verdict(tmp_path, **limit).sound
    assert (tmp_path / "audit.log.1").exists()


# -- a disk that says no -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EIO])
def test_a_refusal_at_any_call_is_one_error_and_costs_that_entry_at_most(tmp_path: Path, number: int) -> None:
    folder = tmp_path / "trail"
    folder.mkdir()
    fill(folder, 4, **SMALL)
    before = files(folder)
    errors: list[LocalFault] = []

    def refuse() -> None:
        raise OSError(number, os.strerror(number))

    def work(trail: AuditLog) -> None:
        for step in range(14):
            try:
                trail.append("connected", ONE, f"step {step}", NOW) if step % 5 else trail.sync()
            except LocalFault as error:
                errors.append(error)

    for count in range(MOST_CALLS):
        shutil.rmtree(folder)
        folder.mkdir()
        for name, data in before.items():
            (folder / name).write_bytes(data)
        with opened(folder, **SMALL) as trail:
            happened = interrupted(lambda t=trail: work(t), count, refuse)  # type: ignore[misc]
            assert trail.verify().sound, count
            trail.append("connected", ONE, "and on", NOW)
            assert trail.verify().sound, count
        atomic.tidy(folder)
        assert verdict(folder, **SMALL).sound, count
        if not happened:
            break
    assert len(errors) > 5
    assert {isinstance(error, StorageFull) for error in errors} == {number == errno.ENOSPC}


def test_what_the_system_refuses_is_a_clear_error(tmp_path: Path) -> None:
    with pytest.raises(LocalFault, match="audit trail"):
        AuditLog(tmp_path / "nowhere" / "audit.log", KEY, NOW)
    (tmp_path / "audit.log").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(LocalFault, match="audit trail"):
        AuditLog(tmp_path / "audit.log", KEY, NOW)
    assert not (tmp_path / "elsewhere").exists()


def test_nothing_stays_open(tmp_path: Path) -> None:
    before = len(os.listdir("/dev/fd"))
    fill(tmp_path, 40, **SMALL)
    with opened(tmp_path, **SMALL) as trail:
        trail.verify()
        trail.entries(3)
    with contextlib.suppress(StopIteration):
        next(trail.looking(1, device=UUID(int=0)))
    assert len(os.listdir("/dev/fd")) == before

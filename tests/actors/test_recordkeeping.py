"""The Keystore's records, on a real store, with a hand on its timers."""

from __future__ import annotations

import errno
import os
import time
from datetime import datetime, timedelta
from pathlib import Path
from uuid import UUID

import pytest

from springline.actors import recordkeeping
from springline.actors.keeping import ReadAudit, SessionNoted, VerifyAudit
from springline.actors.lifecycle import Reply
from springline.actors.messages import EVENTS, Publish
from springline.actors.quota import FREE
from springline.actors.recordkeeping import CLEANUP, FIRST_CLEANUP, SAVE_AFTER, SYNC_AFTER, Due, Recordkeeper, Turn
from springline.actors.shell import Sender
from springline.errors import LocalFault, Misuse, UnknownDevice
from springline.events import StoreRepaired
from springline.store import atomic, audit, history
from springline.store.chain import Verdict
from springline.store.devices import TrustLevel
from springline.store.history import LONGEST, MOST_SESSIONS, History, Session
from springline.store.vault import Vault
from springline.tests.store.cast import HERE, NOW, ONE, TWO, damage, files, interrupted, new_vault, pair, reopened


class Life:
    """One life of a Keystore: its records, what they have told, and when they want to be woken."""

    def __init__(self, vault: Vault) -> None:
        self.vault = vault
        self.now = NOW
        self.told: list[tuple[str, object]] = []
        self.wakes: list[tuple[float, object]] = []
        self.answers: list[object] = []
        self.records = Recordkeeper(vault, self._tell, self._wake, self._clock)

    def _clock(self) -> datetime:
        return self.now

    def _answer(self, _target: str, reply: object) -> None:
        assert isinstance(reply, Reply)
        self.answers.append(reply.value)

    def _wake(self, after: float, message: object) -> None:
        self.wakes.append((after, message))

    def _tell(self, target: str, message: object) -> None:
        self.told.append((target, message))

    def due(self, what: str, after: float) -> None:
        """That timer runs out, and what it begins is finished."""
        self.wakes.remove((after, Due(what)))
        self.records.due(Due(what))
        self.turns()

    def turns(self) -> int:
        """Go on until there is nothing left to go on with; how often it had to be asked."""
        count = 0
        while turns := [wake for wake in self.wakes if isinstance(wake[1], Turn)]:
            for wake in turns:
                self.wakes.remove(wake)
                assert wake[0] == 0
                self.records.turn(wake[1])  # type: ignore[arg-type]
                count += 1
        return count

    def ask(self, question: ReadAudit | VerifyAudit) -> object:
        self.records.answer(question, Sender("", 1, self._answer))
        self.turns()
        return self.answers.pop()

    def said(self) -> list[str]:
        """Kinds and details, oldest first."""
        found = self.ask(ReadAudit(1000))
        assert isinstance(found, list)
        return [f"{entry.kind}: {entry.detail}" for entry in reversed(found)]

    def session(self, device: UUID, process: str = "a", *, minutes: float = 1, **more: object) -> None:
        """A session, from its beginning to its end."""
        noted = SessionNoted(device, self.now, True, HERE)
        self.records.session(noted, process)
        self.now += timedelta(minutes=minutes)
        ended = SessionNoted(device, noted.began, True, HERE, self.now, "closed by the other side", 10, 20)
        self.records.session(ended, process)


@pytest.fixture
def life(tmp_path: Path) -> Life:
    vault = new_vault(tmp_path / "data")
    pair(vault, 1)
    pair(vault, 2)
    return Life(vault)


def history_file(life: Life, device: UUID = ONE) -> Path:
    return life.vault.files.path(device, history.ROLE)


def refuse(*_: object) -> None:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


# -- the audit trail ---------------------------------------------------------------------------------------------------


def test_what_is_noted_is_synced_within_a_second_and_read_by_the_next_life(life: Life) -> None:
    head = life.vault.layout.network / "audit.head"
    before = head.read_bytes()
    life.records.note("paired", ONE, "device 1")
    life.records.note("paired", TWO, "device 2")
    assert [wake for wake in life.wakes if wake[1] == Due("sync")] == [(SYNC_AFTER, Due("sync"))]
    assert head.read_bytes() == before
    life.due("sync", SYNC_AFTER)
    assert head.read_bytes() != before
    life.records.note("caller refused", None, "why")
    assert (SYNC_AFTER, Due("sync")) in life.wakes
    again = Life(reopened(life.vault))  # killed: nothing was closed
    assert again.said()[1:] == ["paired: device 1", "paired: device 2", "caller refused: why"]
    assert again.ask(VerifyAudit()) == Verdict(4)
    found = again.ask(ReadAudit(1, TWO))
    assert [entry.detail for entry in found] == ["device 2"]  # type: ignore[attr-defined]


@pytest.mark.parametrize("limit", [0, -1, 10_001])
def test_limits_that_make_no_sense(life: Life, limit: int) -> None:
    with pytest.raises(Misuse, match="10000"):
        life.ask(ReadAudit(limit))


def test_what_takes_long_is_done_in_turns_in_which_others_work(life: Life, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(audit, "TURN", 3)
    for number in range(20):
        life.records.note("connected", ONE, str(number))
    life.records.answer(VerifyAudit(), Sender("", 1, life._answer))
    life.records.note("connected", ONE, "meanwhile")
    assert life.answers == []
    assert life.turns() >= 6
    assert life.answers.pop() == Verdict(21)
    assert life.ask(VerifyAudit()) == Verdict(22)


def test_an_entry_that_could_not_be_written_is_counted_and_told(life: Life, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as full:
        full.setattr(atomic, "calls", atomic.Calls(write=refuse))
        for _ in range(3):
            life.records.note("caller refused", None, "lost")
        life.due("sync", SYNC_AFTER)
    life.records.note("caller refused", None, "kept")
    assert life.said()[1:] == ["entries missed: 3 could not be written", "caller refused: kept"]
    assert life.ask(VerifyAudit()) == Verdict(3)


def test_a_trail_that_does_not_open_stops_nobody_and_is_tried_again(life: Life) -> None:
    path = life.vault.layout.audit
    path.unlink()
    path.mkdir()
    again = Life(reopened(life.vault))
    again.records.note("connected", ONE, "unheard of")
    for question in (ReadAudit(5), VerifyAudit()):
        with pytest.raises(LocalFault, match="could not be opened"):
            again.ask(question)
    path.rmdir()
    clean(again)
    again.records.note("connected", ONE, "heard of")
    assert again.said()[-2:] == ["entries missed: 1 could not be written", "connected: heard of"]
    path.unlink()
    path.mkdir()
    Life(reopened(life.vault)).records.stop()


def test_a_trail_that_can_not_be_read_is_an_answer(life: Life) -> None:
    life.vault.layout.audit.unlink()
    for question in (ReadAudit(5), VerifyAudit()):
        assert isinstance(life.ask(question), LocalFault)


def test_a_repaired_file_is_an_entry_and_an_event(life: Life) -> None:
    for _ in range(2):
        life.vault.remember_address(ONE, HERE)
        life.vault.remember_address(ONE, "10.0.0.9:9")
    damage(life.vault.files.path(ONE, "preferences"))
    again = Life(reopened(life.vault))
    assert again.told == []
    again.vault.preferences(ONE)
    ((target, message),) = again.told
    assert target == EVENTS
    assert isinstance(message, Publish)
    assert isinstance(message.event, StoreRepaired)
    assert message.event.device_id == ONE
    assert "preferences" in message.event.detail
    assert again.said()[-1].startswith("store repaired: preferences was damaged")


def test_what_the_opening_has_repaired_is_told_by_the_keystore_or_by_the_unlocker_before_it(life: Life) -> None:
    path = life.vault.layout.identity(life.vault.identity.device_id)
    damage(path)
    vault = reopened(life.vault)
    recordkeeping.write_down(vault, NOW, "passphrase changed", "while no node ran")
    assert Life(reopened(vault)).said()[-2:] == [
        "store repaired: the identity was damaged: its previous version counts",
        "passphrase changed: while no node ran",
    ]
    pair(vault, 3)
    damage(path)
    again = Life(reopened(vault))
    assert again.said()[-1].startswith("store repaired: the identity")
    assert [type(message.event) for _, message in again.told] == [StoreRepaired]  # type: ignore[attr-defined]


@pytest.mark.parametrize(("call", "there"), [("write", False), ("fsync", True), ("rename", True)])
def test_what_is_said_of_a_trail_that_can_not_be_written_is_true(
    life: Life, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, call: str, there: bool
) -> None:
    vault = reopened(life.vault)
    with monkeypatch.context() as patched:
        patched.setattr(atomic, "calls", atomic.Calls(**{call: refuse}))
        recordkeeping.write_down(vault, NOW, "identity exported")
    (said,) = (record.getMessage() for record in caplog.records)
    assert said.startswith("in the audit trail, and not sure" if there else "not in the audit trail: identity exported")
    assert any("identity exported" in entry for entry in Life(reopened(vault)).said()) is there


def test_writing_down_nothing_makes_no_trail(tmp_path: Path) -> None:
    vault = new_vault(tmp_path / "data")
    recordkeeping.write_down(vault, NOW)
    assert not vault.layout.audit.exists()
    vault.layout.audit.mkdir()
    recordkeeping.write_down(vault, NOW, "identity made")  # and what can't be written stops nobody


def test_one_device_can_not_fill_the_trail(life: Life) -> None:
    for _ in range(FREE + 40):
        life.session(ONE)
    life.records.note("file received", ONE, "a.txt")
    life.session(TWO)
    said = life.said()
    assert len(said) == 1 + 2 * FREE + 1 + 2
    life.records.stop()
    again = Life(reopened(life.vault))
    assert again.said()[len(said) :] == [
        f"session began: 40 more times within an hour; the last: to {HERE}",
        "session ended: 40 more times within an hour; the last: closed by the other side",
    ]
    assert len(again.records.history(ONE)) == FREE + 40


# -- sessions ----------------------------------------------------------------------------------------------------------


def test_a_session_is_in_the_trail_at_once_and_in_the_history_soon(life: Life) -> None:
    life.session(ONE)
    life.session(ONE, minutes=2)
    assert life.said()[1:3] == [f"session began: to {HERE}", "session ended: closed by the other side"]
    assert not history_file(life).exists()
    expected = [
        Session(NOW + timedelta(minutes=1), NOW + timedelta(minutes=3), "closed by the other side", True, HERE, 10, 20),
        Session(NOW, NOW + timedelta(minutes=1), "closed by the other side", True, HERE, 10, 20),
    ]
    assert life.records.history(ONE) == expected
    life.due("save", SAVE_AFTER)
    assert life.records.history(ONE) == expected
    assert life.records.history(TWO) == []
    again = Life(reopened(life.vault))
    assert again.records.history(ONE) == expected
    with pytest.raises(UnknownDevice):
        again.records.history(UUID(int=7))


def test_what_has_not_been_written_is_written_at_the_stop(life: Life) -> None:
    life.session(ONE)
    life.records.session(SessionNoted(TWO, life.now, False, HERE), "b")
    life.records.stop()
    again = Life(reopened(life.vault))
    assert len(again.records.history(ONE)) == 1
    assert [session.reason for session in again.records.history(TWO)] == ["the node has stopped"]
    assert again.ask(VerifyAudit()) == Verdict(5)


def test_the_stop_does_not_take_for_ever(life: Life, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recordkeeping, "STOP_BUDGET", -1.0)
    life.session(ONE)
    life.session(TWO)
    life.records.stop()
    assert len([path for path in (history_file(life, ONE), history_file(life, TWO)) if path.exists()]) == 1


def test_a_killed_process_ends_its_session_when_the_next_one_begins_another(life: Life) -> None:
    life.records.session(SessionNoted(ONE, NOW, True, HERE), "first process")
    life.now += timedelta(minutes=5)
    life.records.session(SessionNoted(ONE, life.now, False, HERE), "second process")
    (killed,) = life.records.history(ONE)
    assert (killed.began, killed.ended, killed.reason) == (NOW, life.now, "its process was killed")


def test_a_session_that_is_replaced_by_a_newer_one_of_its_process_goes_on_until_it_ends(life: Life) -> None:
    first = SessionNoted(ONE, NOW, True, HERE)
    life.records.session(first, "process")
    life.records.session(SessionNoted(ONE, NOW + timedelta(seconds=1), False, HERE), "process")
    assert life.records.history(ONE) == []


def test_an_end_without_a_beginning_is_noted_too(life: Life) -> None:
    """The Keystore was killed in between."""
    life.records.session(SessionNoted(ONE, NOW, True, HERE, NOW, "goodbye"), "process")
    assert len(life.records.history(ONE)) == 1


def test_nothing_is_written_of_whom_there_is_no_record(life: Life) -> None:
    life.session(ONE)
    life.session(UUID(int=7))
    life.vault.set_trust(ONE, TrustLevel.REVOKED, NOW)
    life.due("save", SAVE_AFTER)
    assert not history_file(life).parent.exists()
    assert len(list(life.vault.layout.connections.iterdir())) == 1


def test_many_sessions_stay_bounded(life: Life) -> None:
    for _ in range(MOST_SESSIONS + 10):
        life.session(ONE)
    life.due("save", SAVE_AFTER)
    assert len(life.records.history(ONE)) == MOST_SESSIONS


def test_a_damaged_history_begins_anew_and_a_newer_one_is_left_alone(life: Life) -> None:
    life.session(ONE)
    life.due("save", SAVE_AFTER)
    damage(history_file(life))
    life.session(ONE)
    life.due("save", SAVE_AFTER)
    assert len(life.records.history(ONE)) == 1
    assert any(line.startswith("store damaged: ") for line in life.said())
    newer = history_file(life).read_bytes().replace(b'"version": 1', b'"version": 2', 1)
    history_file(life).write_bytes(newer)
    life.session(ONE)
    life.due("save", SAVE_AFTER)
    assert history_file(life).read_bytes() == newer


def test_a_crash_while_a_history_is_saved_leaves_the_old_or_the_new_one(life: Life) -> None:
    life.session(ONE)
    life.due("save", SAVE_AFTER)
    for count in range(40):
        life.session(ONE)
        before = len(Life(reopened(life.vault)).records.history(ONE))
        happened = interrupted(lambda: life.due("save", SAVE_AFTER), count)
        assert len(Life(reopened(life.vault)).records.history(ONE)) in (before, before + 1)
        life.wakes = [wake for wake in life.wakes if wake[1] != Due("save")]
        life.records._waking.discard("save")
        if not happened:
            return
    raise AssertionError("more system calls than that")


# -- tidying up --------------------------------------------------------------------------------------------------------


def clean(life: Life) -> None:
    life.due("clean", FIRST_CLEANUP)
    life.wakes.remove((CLEANUP, Due("clean")))
    life.wakes.append((FIRST_CLEANUP, Due("clean")))


def with_sessions(life: Life, *ages: float) -> None:
    """A history of sessions that ended so many days ago."""
    ends = [life.now - timedelta(days=age) for age in ages]
    made = History(tuple(Session(end, end, "", True, HERE) for end in ends))
    life.vault.files.write(ONE, history.ROLE, made, History.encode)
    life.vault.files.forget(ONE, history.ROLE)


def days_left(life: Life) -> list[int]:
    return [(life.now - session.ended).days for session in life.records.history(ONE)]


def test_old_sessions_are_forgotten_and_a_young_history_is_left_alone(life: Life) -> None:
    with_sessions(life, 100, 91, 89, 1)
    clean(life)
    assert days_left(life) == [1, 89]
    before = history_file(life).stat()
    clean(life)
    assert history_file(life).stat() == before


def test_a_history_that_is_old_altogether_goes_unread(life: Life) -> None:
    with_sessions(life, 100, 99)
    with_sessions(life, 100, 99)
    damage(history_file(life))
    long_ago = time.time() - LONGEST.total_seconds() - 1
    os.utime(history_file(life), (long_ago, long_ago))
    clean(life)
    assert not list(history_file(life).parent.glob("history*"))
    assert life.told == []


def test_temporary_files_go_and_so_do_folders_of_nobody(life: Life) -> None:
    layout = life.vault.layout
    before = files(layout.root).keys()
    stale = [layout.network / "x.json.new-0123abcd", history_file(life).with_name("history.json.new-link")]
    others = [layout.root / "device.json.new-0123abcd", layout.root / "device.json.new-4567abcd"]
    for path in (*stale, *others):
        path.write_bytes(b"half")
    os.utime(others[0], (1, 1))
    nobodys = layout.connections / ("0" * 32)
    nobodys.mkdir()
    (nobodys / "session_keys.json").write_bytes(b"keys")
    clean(life)
    assert files(layout.root).keys() == before | {"device.json.new-4567abcd"}  # which the app may be writing just now
    assert not nobodys.exists()
    life.vault.relationship_key(ONE)


def test_keys_of_whose_trust_has_expired_are_wiped_and_pairing_again_mends_it(life: Life) -> None:
    pair(life.vault, 1, 5)  # so that there is a previous version
    life.vault.set_trust(ONE, TrustLevel.EXPIRED, NOW)
    life.vault.relationship_key(ONE)
    clean(life)
    assert not [name for name in files(life.vault.files.folder(ONE)) if "keys" in name]
    with pytest.raises(LocalFault):
        life.vault.relationship_key(ONE)
    assert life.vault.relationship_key(TWO)
    pair(life.vault, 1)
    clean(life)
    assert life.vault.relationship_key(ONE)
    assert reopened(life.vault).relationship_key(ONE)


def test_it_goes_on_past_what_the_system_refuses(life: Life, monkeypatch: pytest.MonkeyPatch) -> None:
    with_sessions(life, 100, 1)
    with monkeypatch.context() as full:
        full.setattr(atomic, "calls", atomic.Calls(create=refuse, unlink=refuse))
        clean(life)
    assert len(history.decode(life.vault.files.read(ONE, history.ROLE, history.checked) or b"").sessions) == 2
    life.vault.files.forget(ONE, history.ROLE)
    clean(life)
    assert days_left(life) == [1]


def test_a_thousand_devices_are_tidied_in_turns(life: Life) -> None:
    life.wakes.remove((FIRST_CLEANUP, Due("clean")))
    life.records.due(Due("clean"))
    assert life.turns() == len(life.vault.devices())

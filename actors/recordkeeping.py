"""The Keystore's part in records: the audit trail, each device's history, and the tidying-up. No actor of its own.

The rule: records are kept beside the work, never in its way. A disk that refuses costs entries, which is said in the
trail as soon as it takes them again; it stops nobody from connecting. What takes long (reading, verifying, writing many
histories, tidying) is done in turns, between which handshakes are answered.

Sessions are noted when they begin and when they end. One whose process is killed ends when the next process begins
one, or when the node stops.
"""

from __future__ import annotations

import contextlib
import logging
import math
import time
from collections import deque
from collections.abc import Callable, Generator
from dataclasses import dataclass, replace
from datetime import datetime
from uuid import UUID

from springline.actors.keeping import ReadAudit, SessionNoted, VerifyAudit
from springline.actors.messages import EVENTS, Publish
from springline.actors.quota import Quota
from springline.actors.shell import Sender
from springline.errors import Damaged, LocalFault, Misuse, Newer, SpringlineError, UnknownDevice
from springline.events import StoreRepaired
from springline.store import atomic, history
from springline.store.audit import AuditLog
from springline.store.chain import Entry, Verdict
from springline.store.device_files import REPAIRED
from springline.store.devices import TrustLevel
from springline.store.history import History, Session
from springline.store.vault import KEYS, Vault

log = logging.getLogger("springline.records")

SYNC_AFTER = 1.0
"""Seconds until an entry is sure to be on the disk."""

SAVE_AFTER = 30.0
"""Seconds that an ended session may be unwritten."""

FIRST_CLEANUP, CLEANUP = 60.0, 3600.0
"""Seconds after the start, and between two."""

STOP_BUDGET = 2.0
"""Seconds for writing histories when the node stops."""

MOST_READ = 10_000
"""Entries that can be asked for at a time."""

_STALE = 3600.0
_KILLED = "its process was killed"

Work = Generator[None, None, object]


@dataclass(frozen=True, slots=True)
class Due:
    """Time for something: ``sync``, ``save`` or ``clean``."""

    what: str


@dataclass(frozen=True, slots=True)
class Turn:
    """Time to go on with something that takes long. :param asker: gets its result, if somebody has asked."""

    work: Work
    asker: Sender | None


class Recordkeeper:
    """What the Keystore does about records.

    :param tell: how the Keystore tells another. :param wake: has a message handled after so many seconds.
    :param clock: what time it is, in UTC.
    """

    def __init__(
        self,
        vault: Vault,
        tell: Callable[[str, object], object],
        wake: Callable[[float, object], None],
        clock: Callable[[], datetime],
    ) -> None:
        self._vault = vault
        self._tell = tell
        self._wake = wake
        self._clock = clock
        self._waking: set[str] = set()
        self._missed = 0
        self._quota = Quota()
        self._up: dict[UUID, dict[tuple[str, datetime], SessionNoted]] = {}
        self._ended: deque[tuple[UUID, list[Session]]] = deque()
        self._trail: AuditLog | None = None
        self._open()
        vault.report_to(self.report)
        self._due("clean", FIRST_CLEANUP)

    def stop(self) -> None:
        """Write what is not written yet, as far as the time allows."""
        for device in list(self._up):
            self._end_all(device, "", "the node has stopped")
        end = time.monotonic() + STOP_BUDGET
        for _ in self._saving():
            if time.monotonic() > end:
                log.warning("the latest sessions of %d devices are not in their histories", len(self._ended))
                break
        self._sum_up(math.inf)
        self._sync()
        if self._trail is not None:
            self._trail.close()

    # -- the audit trail -----------------------------------------------------------------------------------------------

    def note(self, kind: str, device: UUID | None, detail: str) -> None:
        """Put it into the trail, or count it if there is too much of it; never fails."""
        self._sum_up(time.monotonic())
        if self._quota.take(kind, device, detail, time.monotonic()):
            self._append(kind, device, detail)

    def _sum_up(self, now: float) -> None:
        for one in self._quota.due(now):
            self._append(one.kind, one.device, f"{one.more} more times within an hour; the last: {one.last}")

    def _append(self, kind: str, device: UUID | None, detail: str) -> None:
        try:
            trail = self._opened()
            if self._missed:
                trail.append("entries missed", None, f"{self._missed} could not be written", self._clock())
                self._missed = 0
            trail.append(kind, device, detail, self._clock())
        except LocalFault as error:
            self._missed += 1
            log.warning("not in the audit trail: %s: %s", kind, error)
        self._due("sync", SYNC_AFTER)

    def report(self, kind: str, device: UUID | None, detail: str) -> None:
        """What the store itself has to tell."""
        self.note(kind, device, detail)
        if kind == REPAIRED:
            self._tell(EVENTS, Publish(StoreRepaired(device, detail)))

    def answer(self, question: ReadAudit | VerifyAudit, asker: Sender) -> None:
        """Begin to find out; the answer follows."""
        trail = self._opened()
        if isinstance(question, VerifyAudit):
            self._begin(trail.checking(), asker)
        elif not 0 < question.limit <= MOST_READ:
            raise Misuse(f"from 1 to {MOST_READ} entries can be read at a time")
        else:
            self._begin(trail.looking(question.limit, device=question.device), asker)

    def _opened(self) -> AuditLog:
        """:raises LocalFault: it can't be."""
        if self._trail is None:
            raise LocalFault("the audit trail could not be opened", "see the node's log")
        return self._trail

    def _open(self) -> None:
        try:
            self._trail = AuditLog(self._vault.layout.audit, self._vault.data_key, self._clock())
        except LocalFault as error:  # tried again when it is time to clean up
            log.error("nothing is written to the audit trail: %s", error)

    def _sync(self) -> None:
        with contextlib.suppress(LocalFault):  # the next entry tries again
            if self._trail is not None:
                self._trail.sync()

    # -- sessions ------------------------------------------------------------------------------------------------------

    def session(self, noted: SessionNoted, process: str) -> None:
        """A session is up, or has ended. :param process: whose it is: one address for as long as it lives."""
        key = process, noted.began
        if noted.ended is None:
            self._end_all(noted.device, process, _KILLED)
            self._up.setdefault(noted.device, {})[key] = noted
            self.note("session began", noted.device, f"{'to' if noted.dialled else 'by'} {noted.remote}")
            return
        self._up.get(noted.device, {}).pop(key, None)
        self._note_end(noted)

    def _end_all(self, device: UUID, process: str, reason: str) -> None:
        """Whatever is up and not that process's has ended, and nobody has told."""
        up = self._up.get(device, {})
        for key in [key for key in up if key[0] != process]:
            self._note_end(replace(up.pop(key), ended=self._clock(), reason=reason))

    def _note_end(self, noted: SessionNoted) -> None:
        ended = noted.ended or self._clock()
        session = Session(noted.began, ended, noted.reason, noted.dialled, noted.remote, noted.received, noted.sent)
        self.note("session ended", noted.device, noted.reason)
        known = next((sessions for device, sessions in self._ended if device == noted.device), None)
        if known is None:
            self._ended.append((noted.device, [session]))
        else:
            known.append(session)
        self._due("save", SAVE_AFTER)

    def history(self, device: UUID) -> list[Session]:
        """Its ended sessions, newest first. :raises UnknownDevice: it is not paired. :raises Damaged: its file is."""
        if self._vault.device(device) is None:
            raise UnknownDevice(f"no device {device} is paired")
        unwritten = [session for peer, sessions in self._ended if peer == device for session in sessions]
        found = self._read(device).add(*unwritten).pruned(self._clock())
        return list(reversed(found.sessions))

    def _read(self, device: UUID) -> History:
        packed = self._vault.files.read(device, history.ROLE, history.checked)
        self._vault.files.forget(device, history.ROLE)  # nobody asks often, and a thousand of them are large
        return History() if packed is None else history.decode(packed)

    def _write(self, device: UUID, content: History) -> None:
        self._vault.files.write(device, history.ROLE, content, History.encode)
        self._vault.files.forget(device, history.ROLE)

    def _saving(self) -> Work:
        """Write what has ended, device by device."""
        while self._ended:
            device, sessions = self._ended.popleft()
            record = self._vault.device(device)
            if record is not None and record.trust is not TrustLevel.REVOKED:  # there is nowhere to write it else
                self._save(device, sessions)
            yield
        return None

    def _save(self, device: UUID, sessions: list[Session]) -> None:
        try:
            try:
                known = self._read(device)
            except Newer:
                raise
            except Damaged as error:
                self.report("store damaged", device, f"{error.message}: its history begins anew")
                known = History()
            self._write(device, known.add(*sessions).pruned(self._clock()))
        except LocalFault as error:
            log.warning("a history was not written: %s", error)

    # -- tidying up ----------------------------------------------------------------------------------------------------

    def _cleaning(self) -> Work:
        """Remove what is not needed any more, device by device."""
        if self._trail is None:
            self._open()
        self._sum_up(time.monotonic())
        layout, files = self._vault.layout, self._vault.files
        atomic.tidy(layout.root, time.time() - _STALE)  # the app writes there, too
        atomic.tidy(layout.network)
        self._vault.sweep()
        for record in self._vault.devices():
            yield
            device = record.info.device_id
            with contextlib.suppress(LocalFault):  # next time
                present = self._vault.device(device)
                if present is not None and present.trust is TrustLevel.EXPIRED:
                    files.remove(device, KEYS)  # only pairing again helps, and that makes new ones
                atomic.tidy(files.folder(device))
                self._prune(device)
        return None

    def _prune(self, device: UUID) -> None:
        path = self._vault.files.path(device, history.ROLE)
        try:
            written = path.stat().st_mtime
        except OSError:
            return
        if time.time() - written > history.LONGEST.total_seconds():
            self._vault.files.remove(device, history.ROLE)
            return
        found = self._read(device)
        kept = found.pruned(self._clock())
        if kept is not found:
            self._write(device, kept)

    # -- time ----------------------------------------------------------------------------------------------------------

    def _due(self, what: str, after: float) -> None:
        if what not in self._waking:
            self._waking.add(what)
            self._wake(after, Due(what))

    def due(self, message: Due) -> None:
        """A timer has run out."""
        self._waking.discard(message.what)
        if message.what == "sync":
            self._sync()
        elif message.what == "save":
            self._begin(self._saving())
        else:
            self._begin(self._cleaning())
            self._due("clean", CLEANUP)

    def _begin(self, work: Work, asker: Sender | None = None) -> None:
        self.turn(Turn(work, asker))

    def turn(self, message: Turn) -> None:
        """Do a part of it, then let others do theirs."""
        answer: Answer
        try:
            next(message.work)
        except StopIteration as done:
            answer = done.value
        except SpringlineError as error:
            answer = error
        except OSError as error:
            answer = LocalFault(f"the store can't be read: {(error.strerror or str(error)).lower()}")
        else:
            self._wake(0, message)
            return
        if message.asker is not None:
            message.asker.reply(answer)
        elif isinstance(answer, SpringlineError):
            log.warning("left undone for now: %s", answer)


def write_down(vault: Vault, now: datetime, kind: str = "", detail: str = "") -> None:
    """While no Keystore runs: put into the trail what has been done, and what the store has to tell; never fails."""
    notes: list[tuple[str, UUID | None, str]] = []
    vault.report_to(lambda *news: notes.append(news))
    if kind:
        notes.append((kind, None, detail))
    if not notes:
        return
    kinds = ", ".join(news[0] for news in notes)
    try:
        with contextlib.closing(AuditLog(vault.layout.audit, vault.data_key, now)) as trail:
            for news in notes:
                trail.append(*news, now)
            try:
                trail.sync()
            except LocalFault as error:
                log.warning("in the audit trail, and not sure to outlast a power cut: %s: %s", kinds, error)
    except LocalFault as error:
        log.error("not in the audit trail: %s: %s", kinds, error)


Answer = list[Entry] | Verdict | SpringlineError | None

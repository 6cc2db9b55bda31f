"""Approvals: what devices that are only verified want to do, until the user says yes or no.

The rule: one question to the user per request, however often it is asked; silence is a no when its time is up; and one
device can't bury the user, or another device's request, in questions. What is asked is shown without characters that
could hide something. A yes whose asker is gone is kept for one who asks the same again, until the time is up: the
device may just be reconnecting.

Nothing is stored: if this process dies, those who wait are told so and ask again.
"""

from __future__ import annotations

import asyncio
import secrets
import unicodedata
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from uuid import UUID

from springline.actors.keeping import Audit, Decide, ListApprovals, PendingApproval, UnusedApproval, WantApproval
from springline.actors.messages import EVENTS, KEYSTORE, Publish
from springline.actors.names import alive
from springline.actors.shell import LATER, IoShell, Sender, receives
from springline.errors import Misuse, Refused
from springline.events import ApprovalSettled, ApprovalWanted

DEADLINE = 120.0
"""Seconds the user has."""

MOST_PER_DEVICE = 8
"""Requests of one device that may wait at a time."""

MOST_WHAT = 200
"""Characters shown of what is wanted."""

_Key = tuple[UUID, str, bytes]


@dataclass(frozen=True, slots=True)
class ApprovalsArgs:
    """:param deadline: seconds the user has."""

    deadline: float = DEADLINE


@dataclass(slots=True)
class _Request:
    """One question. :param answer: None while the user has not spoken."""

    shown: PendingApproval
    timer: asyncio.TimerHandle
    waiting: list[Sender] = field(default_factory=list)
    granted: bool = False


class Approvals(IoShell):
    """Answers ``WantApproval`` when the user has spoken; ``ListApprovals`` and ``Decide`` at once."""

    async def start(self, args: ApprovalsArgs) -> None:
        """Begin without requests."""
        self._deadline = args.deadline
        self._requests: dict[_Key, _Request] = {}

    @receives(WantApproval)
    def want(self, message: WantApproval, sender: Sender) -> object:
        """Ask the user, unless that has been asked; wait."""
        key = _key(message)
        request = self._requests.get(key)
        if request is None:
            request = self._requests[key] = self._open(key, message)
        elif request.granted:
            self._close(key)
            return None
        request.waiting.append(sender)
        return LATER

    def _open(self, key: _Key, message: WantApproval) -> _Request:
        if sum(device == message.device for device, _, _ in self._requests) >= MOST_PER_DEVICE:
            raise Refused("too much of this device waits for approval already")
        shown = self._shown(secrets.token_hex(4), message)
        wanted = ApprovalWanted(shown.device, shown.id, shown.protocol, shown.what, shown.expires_at)
        self.tell(EVENTS, Publish(wanted))
        return _Request(shown, self.loop.call_later(self._deadline, self._overdue, key))

    def _shown(self, name: str, message: WantApproval) -> PendingApproval:
        until = datetime.now(UTC) + timedelta(seconds=self._deadline)
        return PendingApproval(name, message.device, message.protocol, _clean(message.what), until)

    def _overdue(self, key: _Key) -> None:
        request = self._close(key)
        if not request.granted:
            refused = Refused(f"nobody there approved it within {self._deadline:g} s")
            self._settle(request, refused, "nobody answered in time")

    @receives(Decide)
    def decide(self, message: Decide, sender: Sender) -> PendingApproval:
        """The user has spoken."""
        found = [key for key, request in self._requests.items() if request.shown.id == message.id]
        if not found or self._requests[found[0]].granted:
            raise Misuse(f"nothing with the id {message.id} waits for approval", "see 'springline approve'")
        request = self._requests[found[0]]
        if message.yes:
            request.granted = not any(alive(waiting.path) for waiting in request.waiting)
            self._settle(request, None, "approved")
        else:
            self._settle(request, Refused("the user there has denied it"), "denied")
        if not request.granted:
            self._close(found[0])
        return request.shown

    @receives(UnusedApproval)
    def unused(self, message: UnusedApproval, sender: Sender) -> None:
        """The link was lost meanwhile: the yes counts for the same request, should it come again in time."""
        key = _key(message.request)
        if key not in self._requests:
            timer = self.loop.call_later(self._deadline, self._overdue, key)
            self._requests[key] = _Request(self._shown("", message.request), timer, granted=True)

    @receives(ListApprovals)
    def pending(self, message: ListApprovals, sender: Sender) -> tuple[PendingApproval, ...]:
        """What waits."""
        return tuple(request.shown for request in self._requests.values() if not request.granted)

    def _settle(self, request: _Request, answer: object, reason: str) -> None:
        waiting, request.waiting = request.waiting, []
        for sender in waiting:
            sender.reply(answer)
        shown = request.shown
        self.tell(EVENTS, Publish(ApprovalSettled(shown.device, shown.id, answer is None, reason)))
        self.tell(KEYSTORE, Audit("approval", shown.device, f"{shown.protocol}: {shown.what}: {reason}"))

    def _close(self, key: _Key) -> _Request:
        request = self._requests.pop(key)
        request.timer.cancel()
        return request


def _key(message: WantApproval) -> _Key:
    return message.device, message.protocol, message.token


def _clean(what: str) -> str:
    """One line without characters that hide or turn around others."""
    shown = "".join(c if unicodedata.category(c)[0] not in "CZ" or c == " " else " " for c in what)
    return " ".join(shown.split())[:MOST_WHAT]

"""What becomes of each invitation and each joining, told to whoever follows it; and our user's word, if it is wanted.

The rule: everything that happens to a pairing is an event in a list, which is published and kept. A follower asks for
what comes after those it has seen and is answered when there is something. So nothing is missed between two questions,
and whoever follows a pairing whose process is killed hears so at once, as of every question on the bus.
"""

from __future__ import annotations

import asyncio
import secrets
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Protocol
from uuid import UUID

from springline.errors import Misuse, SpringlineError
from springline.events import PairingEnded, PairingProgress, PairingStage
from springline.protocols.pairing.exchange import Role
from springline.store.devices import PairedDevice, TrustLevel

MOST = 64
"""Pairings remembered; the oldest that have ended go first."""

MOST_NEWS = 64
"""Events of one pairing; it has a handful of attempts with a handful of events each."""

PairingEvent = PairingProgress | PairingEnded


@dataclass(frozen=True, slots=True)
class FollowPairing:
    """What has become of a pairing? → ``PairingNews``, as soon as there is more than ``seen`` events."""

    pairing: str
    seen: int = 0


@dataclass(frozen=True, slots=True)
class PairingNews:
    """The events after those seen.

    :param device: as it was stored, once the two are paired. :param error: why nothing came of it, once nothing did.
    """

    events: tuple[PairingEvent, ...]
    device: PairedDevice | None = None
    error: SpringlineError | None = None


@dataclass(frozen=True, slots=True)
class ConfirmPairing:
    """Our user's word on a pairing that waits for it. → None; ``Misuse`` if none waits (any more)."""

    pairing: str
    yes: bool


class Asker(Protocol):
    """Who has asked, and can be answered later: ``actors.shell.Sender``."""

    path: str

    def reply(self, value: object) -> None:
        """Answer."""


@dataclass(frozen=True, slots=True)
class Peer:
    """The other side. :param known: how far it is trusted, if it has been paired before."""

    device_id: UUID | None = None
    name: str = ""
    sas: str = ""
    known: TrustLevel | None = None


NOBODY = Peer()
"""The other side before it has said who it is."""


class Watched:
    """One invitation, or one joining.

    :param confirm: whether our user is to be asked. :param publish: called with each event.
    """

    def __init__(self, role: Role, confirm: bool, publish: Callable[[PairingEvent], None]) -> None:
        self.id = secrets.token_hex(8)
        self.role = role
        self.confirm = confirm
        self.callers = 0
        self.peer = NOBODY
        self.ended = False
        self.stage: PairingStage | None = None
        self._publish = publish
        self._news: list[PairingEvent] = []
        self._device: PairedDevice | None = None
        self._error: SpringlineError | None = None
        self._followers: dict[str, tuple[int, Asker]] = {}
        self._decision: asyncio.Future[bool] | None = None
        self._until: datetime | None = None

    def progress(self, stage: PairingStage, reason: str = "", until: datetime | None = None) -> None:
        """Tell how far it is. :param until: when it is too late to answer, if our user is asked."""
        self.stage = stage
        if len(self._news) < MOST_NEWS:
            it = self.peer
            told = PairingProgress(self.id, self.role, stage, it.device_id, it.name, it.sas, it.known)
            self._tell(replace(told, reason=reason, until=until))

    def end(self, device: PairedDevice | None = None, error: SpringlineError | None = None) -> None:
        """It is over: they are paired, or it has failed."""
        if self.ended:
            return
        self.ended = True
        self._device, self._error = device, error
        it, done = self.peer, device is not None
        why, hint = (error.message, error.hint) if error else ("", "")
        self._tell(PairingEnded(self.id, self.role, done, it.device_id, it.name, it.sas, it.known, why, hint))

    def ask(self, until: datetime) -> asyncio.Future[bool]:
        """Ask our user; the future is answered by :meth:`decide`. :param until: from then on it is too late."""
        self._decision, self._until = asyncio.get_running_loop().create_future(), until
        self.progress(PairingStage.ASKING, until=until)
        return self._decision

    def decide(self, yes: bool, now: datetime) -> None:
        """Our user's word. :raises Misuse: nobody waits for it, or it is a yes that comes too late."""
        late = yes and self._until is not None and now >= self._until
        if late or self.ended or self._decision is None or self._decision.done():
            raise Misuse("that pairing does not wait for an answer (any more)")
        self._decision.set_result(yes)

    def follow(self, seen: int, asker: Asker) -> PairingNews | None:
        """What is new; None if ``asker`` will be told later."""
        if seen < len(self._news):
            return self._since(seen)
        self._followers[asker.path] = (seen, asker)
        return None

    def _tell(self, event: PairingEvent) -> None:
        self._news.append(event)
        followers, self._followers = self._followers, {}
        for seen, asker in followers.values():
            asker.reply(self._since(seen))
        self._publish(event)

    def _since(self, seen: int) -> PairingNews:
        return PairingNews(tuple(self._news[max(0, seen) :]), self._device, self._error)


class Watching:
    """Those that are under way, and the latest that have ended."""

    def __init__(self, publish: Callable[[PairingEvent], None]) -> None:
        self._publish = publish
        self._watched: OrderedDict[str, Watched] = OrderedDict()

    def open(self, role: Role, *, confirm: bool) -> Watched:
        """A new one."""
        watched = Watched(role, confirm, self._publish)
        self._watched[watched.id] = watched
        over = [key for key, one in self._watched.items() if one.ended]
        for key in over[: max(0, len(self._watched) - MOST)]:
            del self._watched[key]
        return watched

    def __getitem__(self, pairing: str) -> Watched:
        """:raises Misuse: none has that id: this process is younger, or it was long ago."""
        found = self._watched.get(pairing)
        if found is None:
            raise Misuse("no such pairing is known", "its words are void if the node was restarted since")
        return found

"""What an app shows while two devices pair, and what drives it.

The rule: an app implements :class:`PairingUI`; each method is called in the thread that pairs, in the order things
happen. ``Control.invite_with`` and ``Control.join_with`` call them and return when the pairing is over, with the device
or with an error. ``cli/pairing.py`` is one implementation, ``examples/pairing_ui.py`` another.
"""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from typing import Any, Protocol

from springline.actors.inviting import Invitation
from springline.actors.messages import PAIRING
from springline.errors import Lost, Misuse, NotRunning, PairingFailed, SpringlineError, TimedOut
from springline.events import PairingEnded, PairingProgress, PairingStage
from springline.protocols.pairing.watching import ConfirmPairing, FollowPairing, PairingNews
from springline.store.devices import PairedDevice

LOOK = 5.0
"""Seconds one question for news waits; then it is put again."""


class PairingUI(ABC):
    """The user's side of a pairing. Only :meth:`progress` and :meth:`paired` must be written."""

    def invited(self, invitation: Invitation) -> None:
        """Show the words, or the URI as a QR code. Called once, on the inviting side."""

    @abstractmethod
    def progress(self, progress: PairingProgress) -> None:
        """Show how far it is.

        From ``PairingStage.MET`` on, ``name`` and ``sas`` are known: show them. The digits must be the same on both
        devices; if they are not, somebody sits in between.
        """

    def confirm(self, progress: PairingProgress) -> bool:
        """Ask whether this is the right device; only if the pairing was begun with ``confirm``.

        Nothing is stored on either side before the answer. After ``progress.until`` it counts as no.
        """
        return False

    @abstractmethod
    def paired(self, device: PairedDevice, ended: PairingEnded) -> None:
        """Show that it is done. ``ended.known`` is not None if an existing pairing was renewed."""

    def failed(self, error: SpringlineError) -> None:
        """Show why nothing came of it; ``error`` is then raised."""


class SilentUI(PairingUI):
    """Shows nothing."""

    def progress(self, progress: PairingProgress) -> None:
        """Nothing to show."""

    def paired(self, device: PairedDevice, ended: PairingEnded) -> None:
        """Nothing to show."""


class Ask(Protocol):
    """How the node is asked: ``Control.ask``."""

    def __call__(self, target: str, body: object, timeout: float = ...) -> Any:
        """Ask."""


def follow(ask: Ask, pairing: str, ui: PairingUI, timeout: float | None = None) -> PairedDevice:
    """Drive ``ui`` until that pairing is over.

    :param timeout: seconds to follow it at most; None: it has deadlines of its own.
    :raises PairingFailed: nothing came of it; the message tells why. :raises Unreachable: the other side did not
        answer, or not in time. :raises LocalFault: it could not be stored.
    """
    end = None if timeout is None else time.monotonic() + timeout
    try:
        return _follow(ask, pairing, ui, end)
    except SpringlineError as error:
        ui.failed(error)
        raise


def _follow(ask: Ask, pairing: str, ui: PairingUI, end: float | None) -> PairedDevice:
    seen = 0
    while end is None or time.monotonic() < end:
        news = _news(ask, FollowPairing(pairing, seen), LOOK if end is None else min(LOOK, end - time.monotonic()))
        seen += len(news.events)
        for event in news.events:
            if isinstance(event, PairingProgress):
                ui.progress(event)
                if event.stage is PairingStage.ASKING:
                    _confirm(ask, pairing, ui, event)
            elif news.device is not None:
                ui.paired(news.device, event)
                return news.device
            else:
                raise news.error or PairingFailed(event.reason, event.hint)
    raise TimedOut("the pairing is not through yet; it may still be")


def _news(ask: Ask, question: FollowPairing, patience: float) -> PairingNews:
    try:
        news: PairingNews = ask(PAIRING, question, max(0.05, patience))
    except TimedOut:
        return PairingNews(())
    except (Lost, NotRunning, Misuse):
        raise PairingFailed("the pairing process was restarted", "the words are void; ask for new ones") from None
    return news


def _confirm(ask: Ask, pairing: str, ui: PairingUI, event: PairingProgress) -> None:
    yes = ui.confirm(event)
    try:
        ask(PAIRING, ConfirmPairing(pairing, yes))
    except (Lost, NotRunning, Misuse):
        return  # it is over already; the next news tell why

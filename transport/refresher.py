"""The refresh at work: one timer, the session's ciphers, and the records that go out between everybody else's.

The rule: ``transport/refresh.py`` decides; here its effects are carried out. Each record of a refresh has a frame of
its own, so "from the next frame on" is all there is to say about a switch. The Keystore is the user's to ask: whatever
it takes to answer, the session goes on.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable

from springline.errors import Malformed
from springline.transport import refresh
from springline.transport.framing import LENGTH_SIZE
from springline.transport.records import Refresh
from springline.transport.refresh import Ask, Phase, RefreshLimits, RefreshState
from springline.transport.session import Session
from springline.transport.timers import Timer, Timers

log = logging.getLogger("springline.refresh")


class Refresher:
    """Keeps one session's keys young.

    :param session: whose keys it changes. :param session_hash: of the handshake they are from, 32 bytes.
    :param dialled: whether this side dialled.
    :param ask: has the Keystore asked; :meth:`told` its answer. :param wake: called when there is something to send.
    :param end: called with the reason when the session is over. :param timers: the loop all of it runs in.
    """

    def __init__(
        self,
        session: Session,
        session_hash: bytes,
        limits: RefreshLimits,
        *,
        dialled: bool,
        ask: Callable[[Ask], None],
        wake: Callable[[], None],
        end: Callable[[str], None],
        timers: Timers,
    ) -> None:
        self._timers = timers
        self._session = session
        self._state = RefreshState.begin(limits, session_hash, dialled=dialled, now=timers.time())
        self._ask, self._wake, self._end = ask, wake, end
        self._outgoing: deque[refresh.Send] = deque()
        self._timer: Timer | None = None
        self.count = 0  # refreshes that are complete

    def begin(self) -> None:
        """The session is in use: look at the clock."""
        self._arm()

    def close(self) -> None:
        """The session is over: nothing more is to happen."""
        if self._timer is not None:
            self._timer.cancel()
        self._outgoing.clear()

    # -- what happens ----------------------------------------------------------------------------------------------

    def came(self, record: Refresh, *, alone: bool) -> None:
        """A record of the peer's; ``alone`` in its frame. :raises Malformed: it may not come like this, or now."""
        if not alone:
            raise Malformed("a step of a refresh shares its frame")
        self._step(refresh.Came(record))

    def told(self, answer: refresh.Answer) -> None:
        """The Keystore's answer to what was asked last."""
        self._step(answer)

    def moved(self) -> None:
        """Bytes were sent or received."""
        session, state = self._session, self._state
        if state.phase is Phase.FRESH and session.sent_bytes + session.received_bytes >= state.limits.size:
            self._step(refresh.Moved(session.sent_bytes + session.received_bytes))

    def _due(self) -> None:
        self._step(refresh.Due())
        self._arm()

    # -- what is done about it -------------------------------------------------------------------------------------

    def _step(self, event: refresh.Event) -> None:
        before = self._state
        self._state, effects = refresh.step(before, event, self._timers.time())
        if self._state.deadline != before.deadline:
            self._arm()
        if self._state.trouble != before.trouble and self._state.trouble:
            log.info("the keys are not refreshed yet: %s", self._state.trouble)
        for effect in effects:
            self._perform(effect)

    def _arm(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        deadline = self._state.deadline
        self._timer = None if deadline is None else self._timers.call_at(deadline, self._due)

    def _perform(self, effect: refresh.Effect) -> None:
        match effect:
            case refresh.Send():
                self._outgoing.append(effect)
                self._wake()
            case refresh.OpenWith(key=key):
                self._session.open_with(key)
            case refresh.Refreshed():
                self.count += 1
                log.debug("keys refreshed")
            case refresh.End(reason=reason):
                self._end(reason)
            case refresh.AskBegin() | refresh.AskAnswer() | refresh.AskFinish():
                self._ask(effect)

    def next_record(self) -> refresh.Send | None:
        """What goes out next, alone in its frame; the key it may bring counts from the frame after it."""
        return self._outgoing.popleft() if self._outgoing else None

    def put_frame(self, frame: memoryview) -> int:
        """Seal the next record of a refresh in a frame of its own; the frame's size, or 0 if there is none."""
        send = self.next_record()
        if send is None:
            return 0
        record = send.record.encode()
        frame[LENGTH_SIZE : LENGTH_SIZE + len(record)] = record
        size = self._session.seal_in_place(frame, len(record))
        if send.then_seal_with is not None:
            self._session.seal_with(send.then_seal_with)
        return size

"""Liveness at work: one timer, and the pings that go out.

The rule: ``transport/liveness.py`` decides; here its verdicts are carried out. As long as a pulse beats, a timer is
armed that looks at the session next, so nothing but :meth:`Pulse.stop` ends the watch.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from springline.transport.liveness import Liveness, Verdict
from springline.transport.timers import Timer, Timers

EARLY = {True: 0.97, False: 0.985}
"""After which share of the keep-alive a side probes, by whether it has dialled. Both hear the other one last at about
the same time: so one of them is always first, and a quiet link carries one probe instead of two."""


class Pulse:
    """The watch over one session.

    :param keepalive: seconds of silence, at most, before a probe. :param timers: the loop all of it runs in.
    :param ping: sends a ping with that token. :param lose: called with the reason when the session is dead.
    :param progress: bytes given to be sent so far, and how many of them the other side's machine has acknowledged.
    :param early: the share of ``keepalive`` that is waited.
    """

    def __init__(
        self,
        keepalive: float,
        timers: Timers,
        ping: Callable[[int], object],
        lose: Callable[[str], object],
        progress: Callable[[], tuple[int, int]] = lambda: (0, 0),
        early: float = 1.0,
    ) -> None:
        self._timers, self._send, self._lose, self._progress = timers, ping, lose, progress
        self._early = early
        self._liveness = Liveness(keepalive * early, timers.time())
        self._pings = 0
        self._pinged_at: float | None = None  # the latest ping that is not answered yet
        self._before, self._acknowledged = 0, 0  # what was to be sent before it; how much of that has got through
        self._delivered = True
        self._timer: Timer | None = None
        self._stopped = False

    def begin(self) -> None:
        """Watch; the first ping measures the round trip."""
        self._watch()
        self._ping()

    def stop(self) -> None:
        """The session is over."""
        self._stopped = True
        if self._timer is not None:
            self._timer.cancel()

    def keep_alive(self, seconds: float) -> None:
        """From now on probe after so many seconds of silence, at most."""
        self._liveness = replace(self._liveness, keepalive=seconds * self._early)
        if self._timer is not None and not self._stopped:
            self._watch()

    @property
    def silence(self) -> float:
        """Seconds since the last bytes came in."""
        return self._timers.time() - self._liveness.heard_at

    def heard(self) -> None:
        """Bytes came in."""
        self._liveness = self._liveness.heard(self._timers.time())

    def spoke(self) -> None:
        """Something was sent that wants an answer: silence is suspicious from now on."""
        self._liveness = self._liveness.spoke(self._timers.time())
        if self._timer is not None and self._liveness.deadline < self._timer.when():
            self._watch()

    def pong(self, token: int) -> None:
        """A ping was answered."""
        if token == self._pings and self._pinged_at is not None:
            self._liveness = self._liveness.measured(self._timers.time() - self._pinged_at)
            self._pinged_at = None

    def probe(self) -> None:
        """Something casts doubt on the session: find out at once."""
        self._liveness = self._liveness.suspect(self._timers.time())
        self.look()

    def look(self) -> None:
        """Do what is due, and make sure that something wakes this pulse next time."""
        if self._stopped:
            return
        self._liveness, verdict = self._liveness.check(self._timers.time())
        if verdict is Verdict.DEAD and not self._still_moves():
            self._lose(f"no sign of life for {self.silence:.0f} s")
            return
        if verdict is Verdict.PROBE:
            self._ping()
        self._watch()

    def _still_moves(self) -> bool:
        """Does the ping only wait for its turn? Once it has got through, there is a moment for its answer."""
        if self._delivered:
            return False
        _, acknowledged = self._progress()
        if acknowledged <= self._acknowledged:
            return False
        self._acknowledged = acknowledged
        self._delivered = acknowledged > self._before
        self._liveness = self._liveness.stuck(self._timers.time(), delivered=self._delivered)
        return True

    def _ping(self) -> None:
        self._pings += 1
        self._pinged_at = self._timers.time()
        self._before, self._acknowledged = self._progress()
        self._delivered = self._before == self._acknowledged
        self._send(self._pings)

    def _watch(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = self._timers.call_at(self._liveness.deadline, self.look)

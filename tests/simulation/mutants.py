"""Known bugs, planted in the cores one at a time: does the simulation see them?

The rule: each is a mistake that somebody could make, several of them were made, here or in the projects of
``docs/staying-connected.rst``; each is planted where it would be made, for as long as the context lasts, and comes with
the rule of ``watch.py`` that must be found broken, and with the seeds and the size of world to look in.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from typing import Any

from springline.actors import rotation
from springline.store.revocation import Revocations
from springline.store.sessions import EncryptedSessionKeys, key_id
from springline.tests.simulation import dht
from springline.tests.simulation.batch import run_one
from springline.tests.simulation.world import Scenario
from springline.transport import link, network, story
from springline.transport.discovery import joining, tags
from springline.transport.discovery.shelf import Shelf
from springline.transport.discovery.watch import Watch
from springline.transport.driver import LinkDriver
from springline.transport.link import Hint, Phase, Retry, SessionRef
from springline.transport.liveness import Liveness, Verdict
from springline.transport.pulse import Pulse
from springline.transport.story import Entry
from springline.transport.ways import Finding, Ways

EVERY = "every state has a deadline"
NEWER = "the newer session is kept"
UNWANTED = "no session that is not wanted"
AROUND = "revocations get around"
PROMISED = "who can reach each other is connected"
SHARED = "who trusts each other shares a key"


@dataclass(frozen=True, slots=True)
class Mutant:
    """One bug. :param plant: puts it in, given how to set an attribute for the time being.

    :param breaks: the rules of which one must be seen broken. :param seeds: where to look, the rest as of ``Scenario``.
    """

    name: str
    plant: Callable[[Callable[[Any, str, Any], None]], None]
    breaks: tuple[str, ...]
    nodes: int = 2
    days: float = 0.1
    storm: float = 10.0
    only: tuple[str, ...] = ()
    seeds: tuple[int, ...] = (1, 2, 3, 4, 5, 6)

    def scenario(self, seed: int) -> Scenario:
        """Where that seed leads."""
        return Scenario(seed, self.nodes, self.days, self.storm, only=self.only)


@contextmanager
def planted(mutant: Mutant) -> Iterator[None]:
    """The cores with that bug."""
    with ExitStack() as undo:

        def put(where: Any, name: str, value: Any) -> None:
            if isinstance(where, dict):
                undo.callback(where.__setitem__, name, where[name])
                where[name] = value
            else:
                undo.callback(setattr, where, name, getattr(where, name))
                setattr(where, name, value)

        mutant.plant(put)
        yield


Put = Callable[[Any, Any, Any], None]


def _deadline_not_armed(put: Put) -> None:
    def back_off(turn: Any, reason: str) -> None:
        turn.state = replace(turn.state, failures=turn.state.failures + 1, dialling=False)
        turn.enter(Phase.RECONNECTING, reason, None)

    put(link._Turn, "back_off", back_off)


def _early_timer_parks(put: Put) -> None:
    put(LinkDriver, "_due", lambda driver: driver.step(link.DeadlineDue()))


def _older_epoch_wins(put: Put) -> None:
    put(SessionRef, "newer_than", lambda one, other: one.epoch < other.epoch)


def _already_connected(put: Put) -> None:
    put(SessionRef, "newer_than", lambda one, other: False)


def _glare_is_nobodys(put: Put) -> None:
    put(SessionRef, "newer_than", lambda one, other: one.epoch >= other.epoch)


def _hint_ignored(put: Put) -> None:
    put(link.TABLE, (Phase.RECONNECTING, Hint), link._ignore)


def _backoff_not_reset(put: Put) -> None:
    def lost(turn: Any, event: link.SessionLost) -> None:
        turn.state = replace(turn.state, session=None)
        turn.back_off(event.reason)

    put(link.TABLE, (Phase.CONNECTED, link.SessionLost), lost)


def _no_pause(put: Put) -> None:
    put(Retry, "delay", lambda retry, failures, random: 0.0)


def _no_cap(put: Put) -> None:
    put(Retry, "delay", lambda retry, failures, random: retry.first * retry.factor ** (failures - 1) * random)


def _dial_goes_on(put: Put) -> None:
    put(LinkDriver, "awaits", lambda driver, attempt: True)


def _dead_is_fine(put: Put) -> None:
    check = Liveness.check

    def never(self: Liveness, now: float) -> tuple[Liveness, Verdict]:
        state, verdict = check(self, now)
        if verdict is Verdict.DEAD:
            return replace(state, ends_at=None, heard_at=now), Verdict.FINE
        return state, verdict

    put(Liveness, "check", never)


def _pulse_stops_after_a_probe(put: Put) -> None:
    def look(self: Any) -> None:
        self._liveness, verdict = self._liveness.check(self._timers.time())
        if verdict is Verdict.PROBE:
            self._ping()

    put(Pulse, "look", look)


def _revoked_stays(put: Put) -> None:
    def revoke(turn: Any, event: link.Revoked) -> None:
        turn.drop_dial()
        turn.enter(Phase.FAILED, event.reason, None)

    put(link.TABLE, (Phase.CONNECTED, link.Revoked), revoke)


def _revoked_is_let_in(put: Put) -> None:
    put(link.TABLE, (Phase.FAILED, link.Established), link._established)
    put(link.TABLE, (Phase.DISCONNECTED, link.Established), link._established)


def _future_silences(put: Put) -> None:
    def find(self: Ways, via: str, addresses: Any, issued_at: float, now: float) -> Ways:
        known = self.found.get(via)
        if known is not None and issued_at <= known.issued_at:
            return self
        return replace(self, found={**self.found, via: Finding(addresses, issued_at)})

    put(Ways, "find", find)


def _former_periods_will_do(put: Put) -> None:
    put(tags, "are_due", lambda periods, now: tags.period_at(now) + 1 in periods)


def _story_grows(put: Put) -> None:
    put(story, "MOST_ENTRIES", 1 << 30)
    put(Entry, "repeats", lambda one, other: False)


def _facts_are_dropped(put: Put) -> None:
    put(Revocations, "take", lambda known, facts, own, revoked, paired: known)


def _key_taken_up(put: Put) -> None:
    put(EncryptedSessionKeys, "prepare", lambda keys, key: replace(keys, relationship_key=key, pending=()))


def _renewed(put: Put) -> None:
    put(EncryptedSessionKeys, "renew", lambda keys, key, now: EncryptedSessionKeys(key, now))


def _lost_attempt_blocks(put: Put) -> None:
    def dial_failed(turn: Any, event: link.DialFailed) -> None:
        turn.state = replace(turn.state, failures=turn.state.failures + 1)
        turn.enter(Phase.RECONNECTING, event.reason, turn.now + turn.state.retry.cap)

    def try_again(turn: Any, event: link.DeadlineDue) -> None:
        if not turn.state.dialling:
            turn.dial("again")
        else:
            turn.enter(Phase.RECONNECTING, "a dial is in flight already", turn.now + turn.state.retry.cap)

    for phase in (Phase.CONNECTING, Phase.AUTHENTICATING):
        put(link.TABLE, (phase, link.DialFailed), dial_failed)
    put(link.TABLE, (Phase.RECONNECTING, link.DeadlineDue), try_again)


def _no_news(put: Put) -> None:
    hear = Watch.hear

    def first(self: Watch[Any], tag: bytes, record: bytes, now: float, wall: float) -> Any:
        wanted = self._by_tag.get(tag)
        known = None if wanted is None else self._heard[wanted.who]
        is_news = known is not None and known.sighting is not None and record != known.record
        return None if is_news else hear(self, tag, record, now, wall)

    put(Watch, "hear", first)


def _first_come(put: Put) -> None:
    keep = Shelf.put

    def first(self: Shelf, parcel: Any, source: str, now: float) -> None:
        if not self.get(parcel.place, now):
            keep(self, parcel, source, now)

    put(Shelf, "put", first)


def _looks_stop(put: Put) -> None:
    put(dht, "LOOKS", (2.0, 4.0, 8.0, 600.0))


def _addresses_change_silently(put: Put) -> None:
    def seen(watch: network.Watch, view: network.View, now: float) -> tuple[network.Watch, tuple[network.Change, ...]]:
        return replace(watch, view=view, looked_at=now, look_at=None), ()

    put(network, "_seen", seen)


def _alone_for_long(put: Put) -> None:
    put(joining, "NEEDED", joining.ALONE[1])


def _recovery_is_refused(put: Put) -> None:
    def accepted(keys: EncryptedSessionKeys, ident: bytes) -> bytes | None:
        known = (keys.relationship_key, keys.previous, *keys.pending)
        return next((key for key in known if key and key_id(key) == ident), None)

    put(EncryptedSessionKeys, "accepted", accepted)


def _recovery_is_not_tried(put: Put) -> None:
    put(rotation, "REFUSALS", 1 << 30)


_CLOCKS = ("wall clock", "new address", "move")

_MOVES = ("move", "new address", "sleep", "crash")
_OUTAGES = ("move", "new address", "cut")
_BACKUPS = ("set back", "restart node", "new address")

MUTANTS = (
    Mutant("the deadline of a retry is not armed", _deadline_not_armed, (EVERY,)),
    Mutant("a timer that comes too early parks the link", _early_timer_parks, (EVERY,)),
    Mutant("the older epoch wins", _older_epoch_wins, (NEWER,)),
    Mutant("who is connected already refuses", _already_connected, (NEWER,)),
    Mutant("of two that cross the later one wins", _glare_is_nobodys, (NEWER,), days=0.3, seeds=(2, 4)),
    Mutant("a hint is ignored", _hint_ignored, ("a hint is acted upon",)),
    Mutant("the backoff is not reset", _backoff_not_reset, ("a settled session is dialled again at once",)),
    Mutant("dials follow each other without a pause", _no_pause, ("dials are paced",), seeds=(4, 2, 3)),
    Mutant("the backoff has no cap", _no_cap, (EVERY, PROMISED)),
    Mutant("a dial that was called off goes on", _dial_goes_on, ("one dial in flight",), 2, 0.1, 100.0, seeds=(11, 12)),
    Mutant("a dead session is never given up", _dead_is_fine, (PROMISED,), seeds=(6, 5, 1)),
    Mutant("a probe is the last thing a session does", _pulse_stops_after_a_probe, (PROMISED,), seeds=(6, 5, 1)),
    Mutant("who is revoked keeps the session", _revoked_stays, (UNWANTED,), 3, 0.1, 300.0, ("revoke",)),
    Mutant("who is not wanted is let in", _revoked_is_let_in, (UNWANTED,), seeds=(7, 1)),
    Mutant("a record from the future lasts", _future_silences, (PROMISED,), 2, 4.0, 20.0, _CLOCKS, (26, 15, 6)),
    Mutant("looks go to former periods", _former_periods_will_do, (PROMISED,), 2, 4.0, 20.0, _CLOCKS, (26, 15, 6)),
    Mutant("a story grows for ever", _story_grows, ("the story is bounded",)),
    Mutant("revocations are dropped on the way", _facts_are_dropped, (AROUND,), 4, 0.1, 300.0, ("revoke",)),
    Mutant("a new key is taken up by one side alone", _key_taken_up, (PROMISED, SHARED), days=0.3, seeds=(19, 11)),
    Mutant("a renewed pairing wipes the former key", _renewed, (PROMISED, SHARED), 2, 0.1, 100.0, ("renew",)),
    Mutant("who has been heard is not heard again", _no_news, (PROMISED,), 2, 0.5, 30.0, _MOVES, (2, 3)),
    Mutant("the first parcel keeps its place", _first_come, (PROMISED,), 2, 0.5, 30.0, _MOVES, (2, 3)),
    Mutant("looks for who is long away get rare", _looks_stop, (PROMISED,), 2, 0.5, 30.0, _MOVES, (5, 6)),
    Mutant("who is alone asks rarely", _alone_for_long, (PROMISED,), 2, 1.0, 30.0, _OUTAGES, (2, 3)),
    Mutant("an address changes silently", _addresses_change_silently, (PROMISED,), 2, 0.5, 30.0, _MOVES, (6, 5)),
    Mutant("the recovery key is refused", _recovery_is_refused, (PROMISED, SHARED), 2, 0.5, 100.0, _BACKUPS),
    Mutant("the recovery key is not tried", _recovery_is_not_tried, (PROMISED,), 2, 0.5, 100.0, _BACKUPS),
    Mutant("a dial that failed counts as in flight", _lost_attempt_blocks, (PROMISED,), seeds=(19, 7, 1)),
)


def caught(mutant: Mutant) -> tuple[int, str] | None:
    """The first seed in which it is seen as it is to be, and what was seen. The likeliest come first."""
    with planted(mutant):
        for seed in dict.fromkeys((*mutant.seeds, *range(1, 31))):
            broken = run_one(mutant.scenario(seed)).broken
            if broken.partition(":")[0] in mutant.breaks:
                return seed, broken
    return None

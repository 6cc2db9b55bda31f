"""What a supervisor does about its children: a pure function (state, event, now, random) → (state, actions).

The rule: every decision is made here and nothing is done here. The actor around it (``supervisor.py``) turns messages
and the ends of processes into events, and actions into forks, messages and signals.

The meaning is OTP's. Children start in order, each when the one before is ready; stop in reverse order, each with a
deadline and then SIGKILL. The end of a child restarts it, those after it, or all, by strategy; whoever must go first is
stopped, last started first. Restarts are counted in a window; too many escalate, or quarantine the child. Not as in
OTP, a child that somebody outside has killed is restarted at the backoff's pace, but not counted: that it is killed
says nothing about it, and giving it up would help whoever kills.

A process has a generation; whatever is told of an older one is late and ignored, for the engine may tell a child's end
twice.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace

from springline.errors import Misuse
from springline.supervisors.signals import (
    Action,
    AddChild,
    AllReady,
    Announce,
    ArmTimer,
    Begin,
    ChildExited,
    ChildReady,
    Event,
    Finished,
    KillChild,
    PingChild,
    Ponged,
    RemoveChild,
    StartChild,
    StopAll,
    StopChild,
    TimerDue,
    What,
)
from springline.supervisors.spec import ChildSpec, Excess, Restart, Strategy, SupervisorSpec
from springline.supervisors.state import Child, Phase, State

EARLY = 0.25
"""Share of its pause by which a child is pinged early, along with one that is due. Those that started one after the
other are pinged together from then on, and wake this process once instead of each for itself."""


def initial(spec: SupervisorSpec) -> State:
    """The state before :class:`Begin`."""
    return State(spec, tuple(Child(child) for child in spec.children))


def step(state: State, event: Event, now: float, random: float = 0.0) -> tuple[State, tuple[Action, ...]]:
    """What to do about ``event``.

    :param now: monotonic seconds. :param random: a uniform draw from [0, 1), for the backoff's jitter.
    :raises Misuse: a child is added under a name that is taken, or one is removed that is not there.
    """
    turn = _Turn(state, now, random)
    match event:
        case ChildReady():
            turn.on_ready(event)
        case ChildExited():
            turn.on_exit(event)
        case Ponged():
            turn.on_pong(event)
        case TimerDue():
            turn.on_timer()
        case AddChild(spec=spec):
            turn.on_add(spec)
        case RemoveChild(name=name):
            turn.on_remove(name)
        case StopAll(reason=reason):
            turn.end(reason, escalating=False)
        case Begin():
            pass
    turn.advance()
    return turn.state, tuple(turn.actions)


@dataclass(slots=True)
class _Turn:
    """One call of :func:`step`: the state being built, and the actions."""

    state: State
    now: float
    random: float
    actions: list[Action] = field(default_factory=list)

    # -- small tools -----------------------------------------------------------------------------------------------

    def put(self, child: Child) -> None:
        name = child.spec.name
        children = tuple(child if other.spec.name == name else other for other in self.state.children)
        self.state = replace(self.state, children=children)

    def current(self, name: str, generation: int) -> Child | None:
        """The child, if that generation is the one that runs."""
        child = self.state.child(name)
        return child if child is not None and child.running and child.generation == generation else None

    def announce(self, what: What, child: Child, detail: str = "") -> None:
        self.actions.append(Announce(what, child.spec.name, detail))

    # -- events ----------------------------------------------------------------------------------------------------

    def on_ready(self, event: ChildReady) -> None:
        child = self.current(event.name, event.generation)
        if child is None or child.phase is not Phase.STARTING:
            return
        every = child.spec.ping_every
        ping_at = None if every is None else self.now + every
        self.put(replace(child, phase=Phase.UP, pid=event.pid, deadline=None, ping_at=ping_at, unanswered=0))
        self.announce(What.READY, child, f"pid {event.pid}")

    def on_pong(self, event: Ponged) -> None:
        child = self.current(event.name, event.generation)
        if child is not None:
            self.put(replace(child, unanswered=0))

    def on_exit(self, event: ChildExited) -> None:
        child = self.current(event.name, event.generation)
        if child is None:
            return
        told, reason = child.told or child.due, child.killed or event.reason
        self.announce(What.EXITED, child, reason)
        child = replace(child, phase=Phase.DOWN, pid=0, deadline=None, ping_at=None, killed="", due=False, told=False)
        child = replace(child, reason=reason)
        self.put(child)
        if child.removed or child.spec.restart is Restart.TEMPORARY:
            self.forget(child)
        elif child.wanted and not told and not self.state.stopping:
            ours = reason != event.reason  # we killed it, and had a reason
            self.restart(child, event.normal and not ours, event.outside and not ours, reason)

    def restart(self, child: Child, normal: bool, outside: bool, reason: str) -> None:
        """A child ended that nobody had told to: does it come back, and with whom?"""
        if child.spec.restart is Restart.TRANSIENT and normal:
            self.put(replace(child, wanted=False))
            return
        horizon = self.now - self.state.spec.period
        failures = (*(moment for moment in child.failures if moment > horizon), self.now)
        faults = tuple(moment for moment in child.faults if moment > horizon)
        restarts = tuple(moment for moment in self.state.restarts if moment > horizon)
        if not outside:
            faults, restarts = (*faults, self.now), (*restarts, self.now)
        child = replace(child, failures=failures, faults=faults)
        self.state = replace(self.state, restarts=restarts)
        if not outside and self.excessive(child):
            self.exceed(child, reason)
            return
        pause = self.state.spec.backoff.delay(len(failures), self.random)
        self.put(replace(child, phase=Phase.PAUSED, deadline=self.now + pause))
        self.announce(What.RESTARTING, child, f"in {pause:.2f} s: {reason}")
        for other in self.affected(child):
            self.involve(other)

    def excessive(self, child: Child) -> bool:
        """Whether restarts exceed the intensity; a quarantine counts each child for itself."""
        intensity = self.state.spec.intensity
        if intensity is None:
            return False
        counted = child.faults if self.state.spec.excess is Excess.QUARANTINE else self.state.restarts
        return len(counted) > intensity

    def exceed(self, child: Child, reason: str) -> None:
        if self.state.spec.excess is Excess.QUARANTINE:
            self.put(replace(child, wanted=False, quarantined=True))
            self.announce(What.QUARANTINED, child, reason)
            return
        self.put(child)
        self.announce(What.ESCALATING, child, reason)
        self.end(f"{child.spec.name} keeps failing: {reason}", escalating=True)

    def affected(self, child: Child) -> Iterable[Child]:
        """The siblings that go with it."""
        names = [other.spec.name for other in self.state.children]
        match self.state.spec.strategy:
            case Strategy.ONE_FOR_ONE:
                return ()
            case Strategy.REST_FOR_ONE:
                return self.state.children[names.index(child.spec.name) + 1 :]
            case Strategy.ONE_FOR_ALL:
                return tuple(other for other in self.state.children if other.spec.name != child.spec.name)

    def involve(self, child: Child) -> None:
        """It goes with its group: what runs must stop first; what waits or has finished starts with the others."""
        if child.quarantined or child.removed:
            return
        if child.running:
            self.put(replace(child, due=True))
        else:
            self.put(replace(child, phase=Phase.DOWN, deadline=None, wanted=True))

    def on_add(self, spec: ChildSpec) -> None:
        known = self.state.child(spec.name)
        if known is not None and not (known.quarantined or not (known.wanted or known.running)):
            raise Misuse(f"there is a child named {spec.name} already", "choose another name, or remove it first")
        if known is not None:  # one that stays down is given another chance, with the new spec
            self.put(Child(spec, generation=known.generation, starts=known.starts))
        else:
            child = Child(spec, generation=self.state.forgotten)
            self.state = replace(self.state, children=(*self.state.children, child))

    def on_remove(self, name: str) -> None:
        child = self.state.child(name)
        if child is None or child.removed:
            raise Misuse(f"there is no child named {name}")
        self.put(replace(child, removed=True, wanted=False))
        if child.running:
            self.stop(self.state.child(name) or child)
        else:
            self.forget(child)

    def forget(self, child: Child) -> None:
        children = tuple(other for other in self.state.children if other.spec.name != child.spec.name)
        forgotten = max(self.state.forgotten, child.generation)
        self.state = replace(self.state, children=children, forgotten=forgotten)
        self.announce(What.REMOVED, child)

    def end(self, reason: str, *, escalating: bool) -> None:
        if not self.state.stopping:
            self.state = replace(self.state, stopping=reason, escalating=escalating)

    # -- time ------------------------------------------------------------------------------------------------------

    def on_timer(self) -> None:
        pinging = any(child.pinged_by(self.now) for child in self.state.children)
        for child in self.state.children:
            if child.deadline is not None and child.deadline <= self.now:
                self.overdue(child)
            elif pinging and child.pinged_by(self.now + EARLY * (child.spec.ping_every or 0.0)):
                self.ping(child)

    def overdue(self, child: Child) -> None:
        match child.phase:
            case Phase.PAUSED:
                self.put(replace(child, phase=Phase.DOWN, deadline=None))
            case Phase.STARTING:
                self.announce(What.LATE, child)
                self.kill(child, f"not ready in {child.spec.start_patience:g} s")
            case Phase.STOPPING:
                self.kill(child, child.killed or f"did not stop in {child.spec.stop_patience:g} s")

    def ping(self, child: Child) -> None:
        if child.unanswered >= child.spec.ping_misses:
            self.announce(What.HUNG, child)
            self.kill(child, "hung")
            return
        every = child.spec.ping_every or 0.0
        self.put(replace(child, ping_at=self.now + every, unanswered=child.unanswered + 1))
        self.actions.append(PingChild(child.spec.name))

    def kill(self, child: Child, why: str) -> None:
        """SIGKILL; should even that go unnoticed, it is repeated."""
        again = self.now + child.spec.stop_deadline
        self.put(replace(child, phase=Phase.STOPPING, deadline=again, ping_at=None, killed=why))
        self.actions.append(KillChild(child.spec.name))

    # -- moving on -------------------------------------------------------------------------------------------------

    def stop(self, child: Child) -> None:
        """Ask a child that runs to end."""
        if child.phase is not Phase.STOPPING:
            until = self.now + child.spec.stop_patience
            self.put(replace(child, phase=Phase.STOPPING, deadline=until, ping_at=None, told=True))
            self.actions.append(StopChild(child.spec.name))

    def advance(self) -> None:
        """Whatever can be started or stopped now, is; then the timer is armed."""
        if self.state.stopping:
            self.advance_stop()
        else:
            self.advance_start()
        moments = [child.deadline for child in self.state.children if child.deadline is not None]
        moments += [child.ping_at for child in self.state.children if child.ping_at is not None]
        if moments:
            self.actions.append(ArmTimer(min(moments)))

    def advance_start(self) -> None:
        grouped = self.state.spec.strategy is not Strategy.ONE_FOR_ONE
        if grouped and self.stop_last(child for child in self.state.children if child.due or child.told):
            return  # a group restarts when all of it has stopped
        one_at_a_time = grouped or (self.state.spec.in_order and not self.state.ready)
        for child in self.state.children:
            if child.wanted and child.phase is Phase.DOWN and not child.quarantined:
                child = self.start(child)
            if one_at_a_time and child.wanted and child.phase is not Phase.UP:
                return
        if not self.state.ready and all(c.phase is Phase.UP or not c.wanted for c in self.state.children):
            self.state = replace(self.state, ready=True)
            self.actions.append(AllReady())

    def start(self, child: Child) -> Child:
        generation = child.generation + 1
        until = self.now + child.spec.start_patience
        starting = replace(child, phase=Phase.STARTING, generation=generation, starts=child.starts + 1, deadline=until)
        self.put(starting)
        self.actions.append(StartChild(child.spec, generation))
        return starting

    def stop_last(self, children: Iterable[Child]) -> bool:
        """Stop the last started of those that run, or all of them if order does not matter; whether any runs."""
        running = [child for child in children if child.running]
        for child in running[-1:] if self.state.spec.in_order else running[::-1]:
            self.stop(child)
        return bool(running)

    def advance_stop(self) -> None:
        for child in self.state.children:
            if child.phase is Phase.PAUSED:
                self.put(replace(child, phase=Phase.DOWN, deadline=None))
        if self.stop_last(self.state.children) or self.state.finished:
            return
        self.state = replace(self.state, finished=True)
        self.actions.append(Finished(self.state.stopping, not self.state.escalating))

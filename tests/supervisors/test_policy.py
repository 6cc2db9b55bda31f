"""The policy: exit kind × restart type × strategy × intensity, order, deadlines; and its invariants under any storm."""

from __future__ import annotations

import contextlib
from collections.abc import Callable

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from springline.errors import Misuse
from springline.supervisors import policy, signals
from springline.supervisors.backoff import Backoff
from springline.supervisors.signals import (
    AddChild,
    AllReady,
    Announce,
    ArmTimer,
    Begin,
    ChildExited,
    ChildReady,
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
from springline.supervisors.state import Phase

AT_ONCE = Backoff(free=1000)


class Actor:
    """Stands for an actor class; the policy never starts it."""


def spec(name: str, restart: Restart = Restart.PERMANENT, **more: float) -> ChildSpec:
    return ChildSpec(name, Actor, restart=restart, **more)  # type: ignore[arg-type]


class World:
    """A policy and the processes it believes in, driven by hand."""

    def __init__(self, tree: SupervisorSpec) -> None:
        self.state = policy.initial(tree)
        self.now = 0.0
        self.live: dict[str, int] = {}
        self.log: list[str] = []
        self.armed: float | None = None
        self.finished: list[Finished] = []
        self.all_ready = 0

    def feed(self, event: signals.Event) -> None:
        self.state, actions = policy.step(self.state, event, self.now)
        for action in actions:
            match action:
                case StartChild(spec=child, generation=generation):
                    assert child.name not in self.live, f"two live generations of {child.name}"
                    self.live[child.name] = generation
                    self.log.append(f"start {child.name}")
                case StopChild(name=name):
                    assert name in self.live
                    self.log.append(f"stop {name}")
                case KillChild(name=name):
                    assert name in self.live
                    self.log.append(f"kill {name}")
                case PingChild(name=name):
                    self.log.append(f"ping {name}")
                case ArmTimer(at=at):
                    self.armed = at
                case Announce(what=What.QUARANTINED, name=name):
                    self.log.append(f"quarantine {name}")
                case AllReady():
                    self.all_ready += 1
                case Finished():
                    assert not self.live, "finished while something runs"
                    self.finished.append(action)

    def begin(self) -> World:
        self.feed(Begin())
        self.settle()
        return self

    def ready(self, name: str) -> None:
        self.feed(ChildReady(name, self.live[name], 1000))

    def settle(self) -> None:
        """Let everything that starts become ready, and every pause end."""
        for _ in range(100):
            starting = [name for name in self.live if self.phase(name) is Phase.STARTING]
            paused = [c for c in self.state.children if c.phase is Phase.PAUSED]
            if starting:
                self.ready(starting[0])
            elif paused:
                self.now = max(self.now, *(c.deadline or 0.0 for c in paused))
                self.feed(TimerDue())
            else:
                return

    def exit(self, name: str, reason: str = "crashed", *, normal: bool = False) -> None:
        self.feed(ChildExited(name, self.live.pop(name), reason, normal))

    def obey(self) -> None:
        """Whatever was told to stop, or killed, ends."""
        while stopping := [n for n in self.live if self.phase(n) is Phase.STOPPING]:
            self.exit(stopping[0], "told to stop", normal=True)

    def phase(self, name: str) -> Phase:
        child = self.state.child(name)
        assert child is not None
        return child.phase

    def wait(self, seconds: float) -> None:
        self.now += seconds
        self.feed(TimerDue())

    def take_log(self) -> list[str]:
        log, self.log = self.log, []
        return log


def tree(
    strategy: Strategy = Strategy.ONE_FOR_ONE, restart: Restart = Restart.PERMANENT, **more: object
) -> SupervisorSpec:
    children = tuple(spec(name, restart) for name in "abc")
    return SupervisorSpec(children, strategy, backoff=AT_ONCE, **more)  # type: ignore[arg-type]


def test_children_start_in_order_each_when_the_one_before_is_ready() -> None:
    world = World(tree())
    world.feed(Begin())
    assert world.take_log() == ["start a"]
    world.ready("a")
    assert world.take_log() == ["start b"]
    world.ready("b")
    world.ready("c")
    assert world.all_ready == 1


def test_out_of_order_they_start_together() -> None:
    world = World(tree(in_order=False))
    world.feed(Begin())
    assert world.take_log() == ["start a", "start b", "start c"]


def test_children_stop_in_reverse_and_the_stubborn_are_killed() -> None:
    world = World(tree()).begin()
    world.take_log()
    world.feed(StopAll("enough"))
    assert world.take_log() == ["stop c"]
    world.exit("c", normal=True)
    assert world.take_log() == ["stop b"]
    world.wait(5.0)
    assert "kill b" in world.take_log()
    world.exit("b")
    world.exit("a", normal=True)
    assert world.finished == [Finished("enough", True)]


def test_those_who_start_one_after_the_other_are_pinged_together() -> None:
    world = World(tree())
    world.feed(Begin())
    for name in "abc":
        world.ready(name)
        world.now += 0.5
    world.take_log()
    assert world.armed is not None
    world.wait(world.armed - world.now)
    assert world.take_log() == ["ping a", "ping b", "ping c"]
    assert {child.ping_at for child in world.state.children} == {world.armed}


def test_who_is_due_much_later_is_not_pinged_along() -> None:
    world = World(tree())
    world.feed(Begin())
    world.ready("a")
    world.now += 3.0
    world.ready("b")
    world.take_log()
    world.wait(2.0)
    assert world.take_log() == ["ping a"]


# -- the matrix ----------------------------------------------------------------------------------------------------


def _crash(world: World) -> None:
    world.exit("b", "crashed")


def _kill(world: World) -> None:
    world.exit("b", "killed by SIGKILL")


def _normal(world: World) -> None:
    world.exit("b", "done", normal=True)


def _hang(world: World) -> None:
    for _ in range(3):
        world.wait(5.0)
        for name in ("a", "c"):
            if name in world.live:
                world.feed(Ponged(name, world.live[name]))
    assert "kill b" in world.take_log()
    world.exit("b", "killed by SIGKILL")


EXITS: dict[str, Callable[[World], None]] = {"crash": _crash, "kill": _kill, "normal": _normal, "hang": _hang}


@pytest.mark.parametrize("intensity", [0, 1, None])
@pytest.mark.parametrize("strategy", Strategy)
@pytest.mark.parametrize("restart", Restart)
@pytest.mark.parametrize("kind", EXITS)
def test_matrix(kind: str, restart: Restart, strategy: Strategy, intensity: int | None) -> None:
    world = World(tree(strategy, restart, intensity=intensity, period=1000.0)).begin()
    world.take_log()
    EXITS[kind](world)
    comes_back = restart is Restart.PERMANENT or (restart is Restart.TRANSIENT and kind != "normal")
    if comes_back and intensity == 0:
        world.obey()
        assert [(f.normal, "b keeps failing" in f.reason) for f in world.finished] == [(False, True)]
        return
    world.obey()
    world.settle()
    log = world.take_log()
    stopped = [line for line in log if line.startswith("stop")]
    started = [line for line in log if line.startswith("start")]
    assert log == stopped + started, "all have stopped before anybody starts"
    if not comes_back:
        assert (stopped, started) == ([], [])
        assert set(world.live) == {"a", "c"}
        return
    others = {
        Strategy.ONE_FOR_ONE: [],
        Strategy.REST_FOR_ONE: ["c"],
        Strategy.ONE_FOR_ALL: ["c", "a"],
    }[strategy]
    if restart is Restart.TEMPORARY:
        others = []
    assert stopped == [f"stop {name}" for name in others]
    assert started == [f"start {name}" for name in sorted(["b", *others])]
    assert set(world.live) == {"a", "b", "c"}
    assert len(world.state.restarts) == 1, "a sibling that was told to stop is no failure"


def test_too_many_restarts_escalate_and_old_ones_do_not_count() -> None:
    world = World(tree(intensity=2, period=10.0)).begin()
    for _ in range(2):
        world.exit("b")
        world.settle()
    world.wait(11.0)
    for _ in range(2):
        world.exit("b")
        world.settle()
    assert not world.finished
    world.exit("b")
    world.obey()
    assert world.finished[0].normal is False


def test_quarantine_leaves_the_siblings_alone_and_can_be_lifted() -> None:
    world = World(tree(intensity=1, excess=Excess.QUARANTINE)).begin()
    for _ in range(2):
        world.exit("b")
        world.settle()
    assert "quarantine b" in world.take_log()
    assert set(world.live) == {"a", "c"}
    world.exit("a")
    world.settle()
    assert set(world.live) == {"a", "c"}, "each child is counted for itself"
    world.feed(AddChild(spec("b")))
    world.settle()
    assert set(world.live) == {"a", "b", "c"}


@pytest.mark.parametrize("excess", Excess)
def test_a_child_killed_from_outside_is_paced_but_never_given_up(excess: Excess) -> None:
    pacing = Backoff(free=2, base=1.0, factor=2.0, cap=4.0, jitter=0.0)
    world = World(SupervisorSpec((spec("a"),), intensity=1, period=1000.0, backoff=pacing, excess=excess)).begin()
    for _ in range(20):
        world.feed(ChildExited("a", world.live.pop("a"), "killed by SIGKILL", False, outside=True))
        child = world.state.child("a")
        assert child is not None
        assert child.phase is Phase.PAUSED
        world.settle()
    for _ in range(2):  # but its own faults still count
        world.exit("a")
        world.settle()
    assert "a" not in world.live


def test_one_we_killed_for_hanging_is_at_fault() -> None:
    world = World(SupervisorSpec((spec("a"),), intensity=0)).begin()
    for _ in range(3):
        world.wait(5.0)
    assert "kill a" in world.take_log()
    world.feed(ChildExited("a", world.live.pop("a"), "killed by SIGKILL", False, outside=True))
    assert world.finished


def test_backoff_paces_restarts_and_never_gives_up() -> None:
    pacing = Backoff(free=2, base=1.0, factor=2.0, cap=4.0, jitter=0.0)
    world = World(SupervisorSpec((spec("a"),), intensity=None, period=1000.0, backoff=pacing)).begin()
    pauses = []
    for _ in range(7):
        world.exit("a")
        child = world.state.child("a")
        assert child is not None
        assert child.deadline is not None
        pauses.append(child.deadline - world.now)
        world.settle()
    assert pauses == [0.0, 0.0, 1.0, 2.0, 4.0, 4.0, 4.0]


def test_a_child_that_is_not_ready_in_time_is_killed_and_tried_again() -> None:
    world = World(SupervisorSpec((spec("a", start_deadline=3.0),), backoff=AT_ONCE))
    world.feed(Begin())
    world.wait(3.0)
    assert world.take_log() == ["start a", "kill a"]
    world.exit("a")
    assert world.phase("a") is Phase.PAUSED
    world.settle()
    assert world.phase("a") is Phase.UP


def test_pongs_keep_a_child_alive() -> None:
    world = World(SupervisorSpec((spec("a"),))).begin()
    for _ in range(20):
        world.wait(5.0)
        world.feed(Ponged("a", world.live["a"]))
    assert "kill a" not in world.take_log()


def test_late_and_doubled_news_of_older_generations_change_nothing() -> None:
    world = World(tree()).begin()
    old = world.live["b"]
    world.exit("b")
    world.settle()
    before = world.state
    for event in (ChildExited("b", old, "late", False), ChildReady("b", old, 1), Ponged("b", old)):
        world.feed(event)
    assert world.state == before


def test_children_come_and_go_at_run_time() -> None:
    world = World(SupervisorSpec()).begin()
    assert world.all_ready == 1
    world.feed(AddChild(spec("late")))
    world.settle()
    with pytest.raises(Misuse, match="late"):
        world.feed(AddChild(spec("late")))
    world.feed(RemoveChild("late"))
    world.obey()
    assert world.state.children == ()
    with pytest.raises(Misuse):
        world.feed(RemoveChild("late"))


# -- any storm -----------------------------------------------------------------------------------------------------


class Storm(RuleBasedStateMachine):
    """Processes do anything at any time; the supervisor keeps its promises."""

    def __init__(self) -> None:
        super().__init__()
        self.world: World | None = None

    @precondition(lambda self: self.world is None)
    @rule(
        strategy=st.sampled_from(Strategy),
        restart=st.sampled_from(Restart),
        excess=st.sampled_from(Excess),
        intensity=st.sampled_from([None, 1, 3]),
        in_order=st.booleans(),
    )
    def start(
        self, strategy: Strategy, restart: Restart, excess: Excess, intensity: int | None, in_order: bool
    ) -> None:
        children = tuple(spec(name, restart) for name in "abc")
        in_order = in_order or strategy is not Strategy.ONE_FOR_ONE
        self.world = World(SupervisorSpec(children, strategy, intensity, 20.0, excess=excess, in_order=in_order))
        self.world.feed(Begin())

    @precondition(lambda self: self.world)
    @rule(name=st.sampled_from("bcd"), restart=st.sampled_from(Restart))
    def comes(self, name: str, restart: Restart) -> None:
        assert self.world is not None
        with contextlib.suppress(Misuse):
            self.world.feed(AddChild(spec(name, restart)))

    @precondition(lambda self: self.world)
    @rule(name=st.sampled_from("bcd"))
    def goes(self, name: str) -> None:
        assert self.world is not None
        with contextlib.suppress(Misuse):
            self.world.feed(RemoveChild(name))

    @precondition(lambda self: self.world)
    @rule()
    def calm(self) -> None:
        """After any storm, all that shall run, run."""
        assert self.world is not None
        for _ in range(20):
            for name, generation in self.world.live.items():
                self.world.feed(Ponged(name, generation))
            self.world.obey()
            self.world.settle()
        if not self.world.state.stopping:
            for child in self.world.state.children:
                assert child.phase is (Phase.UP if child.wanted else Phase.DOWN)
                assert child.wanted or child.quarantined or child.spec.restart is Restart.TRANSIENT

    @precondition(lambda self: self.world and self.world.live)
    @rule(data=st.data(), normal=st.booleans())
    def dies(self, data: st.DataObject, normal: bool) -> None:
        assert self.world is not None
        self.world.exit(data.draw(st.sampled_from(sorted(self.world.live))), normal=normal)

    @precondition(lambda self: self.world and self.world.live)
    @rule(data=st.data())
    def gets_ready(self, data: st.DataObject) -> None:
        assert self.world is not None
        self.world.ready(data.draw(st.sampled_from(sorted(self.world.live))))

    @precondition(lambda self: self.world)
    @rule(seconds=st.floats(0, 12))
    def time_passes(self, seconds: float) -> None:
        assert self.world is not None
        self.world.wait(seconds)

    @precondition(lambda self: self.world)
    @rule(data=st.data())
    def answers(self, data: st.DataObject) -> None:
        assert self.world is not None
        for name, generation in self.world.live.items():
            if data.draw(st.booleans()):
                self.world.feed(Ponged(name, generation))

    @precondition(lambda self: self.world)
    @rule(rarely=st.integers(0, 20))
    def stop(self, rarely: int) -> None:
        assert self.world is not None
        if rarely == 0:
            self.world.feed(StopAll("enough"))

    @invariant()
    def live_processes_are_known(self) -> None:
        if self.world is not None:
            running = {child.spec.name: child.generation for child in self.world.state.children if child.running}
            assert running == self.world.live

    @invariant()
    def waiting_has_a_deadline_and_a_timer(self) -> None:
        if self.world is None:
            return
        for child in self.world.state.children:
            if child.phase in (Phase.STARTING, Phase.STOPPING, Phase.PAUSED):
                assert child.deadline is not None
            if child.phase is Phase.UP:
                assert child.ping_at is not None
            for moment in (child.deadline, child.ping_at):
                assert moment is None or (self.world.armed is not None and self.world.armed <= moment)

    def teardown(self) -> None:
        """However it went: told to stop, it ends, exactly once, with nothing running."""
        if self.world is None:
            return
        self.world.feed(StopAll("the end"))
        for _ in range(50):
            self.world.obey()
            self.world.wait(1.0)
        assert not self.world.live
        assert len(self.world.finished) == 1


TestStorm = Storm.TestCase

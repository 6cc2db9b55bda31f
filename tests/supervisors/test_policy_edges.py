"""The policy where children overlap: groups that stop, children that come and go, ends that cross."""

from __future__ import annotations

from dataclasses import replace

import pytest

from springline.supervisors.backoff import Backoff
from springline.supervisors.signals import AddChild, Begin, ChildExited, ChildReady, Ponged, RemoveChild, StopAll
from springline.supervisors.spec import Excess, Restart, Strategy, SupervisorSpec
from springline.supervisors.state import Phase
from springline.tests.supervisors.test_policy import AT_ONCE, World, spec, tree

# -- order ---------------------------------------------------------------------------------------------------------


def test_the_next_does_not_start_while_the_late_one_before_it_is_being_killed() -> None:
    world = World(SupervisorSpec((spec("a", start_deadline=3.0), spec("b")), backoff=AT_ONCE))
    world.feed(Begin())
    world.wait(3.0)
    assert world.take_log() == ["start a", "kill a"]
    world.exit("a")
    world.settle()
    assert world.take_log() == ["start a", "start b"]


def test_a_subtree_is_not_killed_while_its_children_may_still_become_ready() -> None:
    below = SupervisorSpec((spec("x", start_deadline=3.0), spec("y", start_deadline=3.0)))
    world = World(SupervisorSpec((replace(spec("a", start_deadline=3.0), args=below),), backoff=AT_ONCE))
    world.feed(Begin())
    world.wait(6.5)
    assert world.take_log() == ["start a"]
    world.wait(0.5)
    assert world.take_log() == ["kill a"]


@pytest.mark.parametrize("strategy", [Strategy.ONE_FOR_ALL, Strategy.REST_FOR_ONE])
def test_a_group_stops_one_by_one_in_reverse(strategy: Strategy) -> None:
    world = World(tree(strategy)).begin()
    world.take_log()
    world.exit("a")
    assert world.take_log() == ["stop c"]
    world.exit("c", normal=True)
    assert world.take_log() == ["stop b"]
    world.wait(5.0)
    assert world.take_log() == ["kill b"]
    world.exit("b")
    world.settle()
    assert world.take_log() == ["start a", "start b", "start c"]
    assert len(world.state.restarts) == 1


def test_one_that_dies_before_its_turn_to_stop_is_no_second_failure() -> None:
    world = World(tree(Strategy.ONE_FOR_ALL, intensity=1)).begin()
    world.exit("a")
    world.exit("b")
    world.obey()
    world.settle()
    assert set(world.live) == {"a", "b", "c"}
    assert not world.finished


def test_one_that_finished_starts_again_with_its_group() -> None:
    children = (spec("a", Restart.TRANSIENT), spec("b"))
    world = World(SupervisorSpec(children, Strategy.ONE_FOR_ALL, backoff=AT_ONCE)).begin()
    world.exit("a", normal=True)
    assert set(world.live) == {"b"}
    world.exit("b")
    world.settle()
    assert set(world.live) == {"a", "b"}


def test_a_group_that_is_told_to_stop_while_it_restarts_stays_down() -> None:
    world = World(tree(Strategy.ONE_FOR_ALL)).begin()
    world.take_log()
    world.exit("b")
    world.feed(StopAll("enough"))
    world.obey()
    assert world.take_log() == ["stop c", "stop a"]
    assert [finished.normal for finished in world.finished] == [True]


def test_out_of_order_they_stop_together() -> None:
    world = World(tree(in_order=False)).begin()
    world.take_log()
    world.feed(StopAll("enough"))
    assert world.take_log() == ["stop c", "stop b", "stop a"]
    world.exit("a", normal=True)
    assert not world.finished
    world.obey()
    assert len(world.finished) == 1


def test_the_end_is_told_once() -> None:
    world = World(tree()).begin()
    world.feed(StopAll("enough"))
    world.obey()
    for event in (StopAll("again"), Ponged("a", 1), ChildExited("a", 1, "late", normal=False)):
        world.feed(event)
    world.wait(10.0)
    assert len(world.finished) == 1


# -- coming and going ----------------------------------------------------------------------------------------------


def test_a_name_that_comes_again_does_not_inherit_late_news() -> None:
    world = World(SupervisorSpec()).begin()
    world.feed(AddChild(spec("x")))
    old = world.live["x"]
    world.feed(RemoveChild("x"))
    world.obey()
    world.feed(AddChild(spec("x")))
    before = world.state
    for late in (ChildReady("x", old, 1), ChildExited("x", old, "late", normal=False)):
        world.feed(late)
    assert world.state == before
    assert world.phase("x") is Phase.STARTING
    child = world.state.child("x")
    assert child is not None
    assert child.starts == 1


def test_temporary_children_are_forgotten_when_they_end() -> None:
    world = World(SupervisorSpec((spec("a"),))).begin()
    for number in range(3):
        name = f"job-{number}"
        world.feed(AddChild(spec(name, Restart.TEMPORARY)))
        world.settle()
        world.exit(name, normal=number != 0)
    assert [child.spec.name for child in world.state.children] == ["a"]


def test_one_removed_while_its_group_stops_does_not_come_back() -> None:
    world = World(tree(Strategy.ONE_FOR_ALL)).begin()
    world.exit("a")
    world.feed(RemoveChild("b"))
    world.obey()
    world.settle()
    assert set(world.live) == {"a", "c"}


def test_a_group_restarts_without_the_one_in_quarantine() -> None:
    world = World(tree(Strategy.ONE_FOR_ALL, intensity=1, excess=Excess.QUARANTINE)).begin()
    for _ in range(2):
        world.exit("b")
        world.obey()
        world.settle()
    assert set(world.live) == {"a", "c"}
    world.exit("a")
    world.obey()
    world.settle()
    assert set(world.live) == {"a", "c"}


def test_one_that_is_being_removed_holds_nobody_up() -> None:
    world = World(SupervisorSpec((spec("a"), spec("b")), backoff=AT_ONCE))
    world.feed(Begin())
    world.feed(RemoveChild("a"))
    assert world.take_log() == ["start a", "stop a", "start b"]


# -- pauses --------------------------------------------------------------------------------------------------------


def test_kills_that_are_well_apart_are_each_answered_at_once() -> None:
    pacing = Backoff(free=20, base=0.05, factor=1.5, cap=1.0)
    world = World(SupervisorSpec((spec("a"),), intensity=None, backoff=pacing)).begin()
    for _ in range(20):
        world.now += 0.2
        world.exit("a")
        child = world.state.child("a")
        assert child is not None
        assert child.deadline == world.now
        world.settle()


def test_a_crash_loop_settles() -> None:
    """The pause is longest where the window holds as many failures as it has room for."""
    world = World(SupervisorSpec((spec("a"),), intensity=None, period=10.0)).begin()
    while world.now < 600.0:
        world.exit("a")
        world.settle()
    child = world.state.child("a")
    assert child is not None
    assert child.starts < 600

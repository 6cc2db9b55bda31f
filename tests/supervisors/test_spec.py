"""Specs are checked when they are made, with a specific reason."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from springline.errors import Misuse
from springline.supervisors.backoff import Backoff
from springline.supervisors.spec import ChildSpec, Strategy, SupervisorSpec
from springline.tests.actors.workers import Worker


@pytest.mark.parametrize(
    ("wrong", "reason"),
    [
        ({"name": "Big"}, "name"),
        ({"name": ""}, "name"),
        ({"name": "x" * 49}, "name"),
        ({"actor": "Worker"}, "class"),
        ({"restart": "permanent"}, "Restart"),
        ({"start_deadline": 0}, "start_deadline"),
        ({"stop_deadline": -1}, "stop_deadline"),
        ({"ping_every": 0}, "ping_every"),
        ({"ping_misses": 0}, "ping_misses"),
    ],
)
def test_a_child_that_makes_no_sense(wrong: dict[str, Any], reason: str) -> None:
    with pytest.raises(Misuse, match=reason):
        ChildSpec(**{"name": "a", "actor": Worker, **wrong})


def test_a_supervisor_that_makes_no_sense() -> None:
    child = ChildSpec("a", Worker)
    for wrong in ({"children": (child, child)}, {"intensity": -1}, {"period": 0}):
        with pytest.raises(Misuse):
            SupervisorSpec(**wrong)
    with pytest.raises(Misuse, match="in_order"):
        SupervisorSpec((child,), Strategy.ONE_FOR_ALL, in_order=False)


def test_args_do_not_show() -> None:
    assert "secret" not in repr(ChildSpec("a", Worker, args="secret"))


@given(st.integers(1, 10_000), st.floats(0, 1, exclude_max=True))
def test_backoff_is_bounded_and_grows(failures: int, random: float) -> None:
    backoff = Backoff()
    assert 0 <= backoff.delay(failures, random) <= backoff.cap
    assert backoff.delay(failures, 0.0) <= backoff.delay(failures + 1, 0.0)
    assert backoff.delay(backoff.free, 0.0) == 0.0


@pytest.mark.parametrize("wrong", [{"free": -1}, {"base": -1}, {"factor": 0.5}, {"cap": -1}, {"jitter": 2}])
def test_a_backoff_that_makes_no_sense(wrong: dict[str, float]) -> None:
    with pytest.raises(Misuse):
        Backoff(**wrong)  # type: ignore[arg-type]


def test_a_backoff_that_grows_beyond_all_numbers_stays_at_its_cap() -> None:
    assert Backoff(factor=1e6, cap=30.0).delay(500, 0.0) == 30.0


def test_a_subtree_is_given_time_for_its_children_to_stop() -> None:
    leaves = tuple(ChildSpec(name, Worker, stop_deadline=2.0) for name in "abc")
    assert ChildSpec("leaf", Worker, stop_deadline=2.0).stop_patience == 2.0
    assert ChildSpec("tree", Worker, SupervisorSpec(leaves), stop_deadline=2.0).stop_patience == 7.0
    assert ChildSpec("tree", Worker, SupervisorSpec(leaves, in_order=False)).stop_patience == 5.0
    assert ChildSpec("tree", Worker, SupervisorSpec(leaves), stop_deadline=60.0).stop_patience == 60.0
    assert ChildSpec("empty", Worker, SupervisorSpec(), stop_deadline=2.0).stop_patience == 2.0


def test_a_subtree_has_at_least_its_childrens_time_to_start() -> None:
    leaves = tuple(ChildSpec(name, Worker, start_deadline=3.0) for name in ("a", "b"))
    inner = ChildSpec("inner", Worker, SupervisorSpec(leaves), start_deadline=2.0)
    assert leaves[0].start_patience == 3.0
    assert inner.start_patience == 7.0
    assert ChildSpec("outer", Worker, SupervisorSpec((inner, *leaves))).start_patience == 14.0
    assert ChildSpec("tree", Worker, SupervisorSpec(leaves, in_order=False), start_deadline=1.0).start_patience == 4.0
    assert ChildSpec("tree", Worker, SupervisorSpec(leaves), start_deadline=60.0).start_patience == 60.0

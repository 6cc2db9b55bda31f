"""The supervisor where processes and messages cross: a farewell read late, no process left, timers."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import psutil

from springline.actors.datagram import Fd
from springline.actors.lifecycle import Exiting, Stop
from springline.supervisors.asking import Children, ChildStatus, Supervise
from springline.supervisors.backoff import Backoff
from springline.supervisors.spec import ChildSpec, Excess, Restart, SupervisorSpec
from springline.supervisors.supervisor import Supervisor
from springline.tests.actors.workers import Do
from springline.tests.supervisors.cast import Diary, Glass
from springline.tests.supervisors.test_supervisor import Stage, stage, worker

__all__ = ["stage"]

AT_ONCE = Backoff(free=0, base=0.001, cap=0.001)


def inner(stage: Stage, kind: type[Supervisor], *children: ChildSpec) -> None:
    """A supervisor ``top.inner`` of that kind, which no one takes for hung."""
    tree = SupervisorSpec(children, intensity=None, backoff=AT_ONCE)
    stage.raise_curtain(SupervisorSpec((ChildSpec("inner", kind, tree, ping_every=None),)))


def only_child(stage: Stage) -> ChildStatus:
    (child,) = stage.client.ask("top.inner", Children())
    assert isinstance(child, ChildStatus)
    return child


def process(stage: Stage, name: str) -> psutil.Process:
    pid = stage.pid(name)
    assert pid is not None
    return psutil.Process(pid)


def test_what_a_child_said_before_it_ended_counts_however_late_it_is_read(stage: Stage) -> None:
    inner(stage, Glass, worker("one", restart=Restart.TRANSIENT))
    child = process(stage, "top.inner.one")
    read, write = os.pipe()
    stage.client.tell("top.inner", Do("wait", Fd(read)))
    assert stage.news() == "waiting"
    stage.client.tell("top.inner.one", Do("exit"))
    stage.eventually(lambda: child.status() == psutil.STATUS_ZOMBIE)
    os.write(write, b"!")
    stage.eventually(lambda: only_child(stage).phase != "up")
    assert (only_child(stage).reason, only_child(stage).restarts) == ("done", 0)
    os.close(read)
    os.close(write)


def test_timers_do_not_pile_up(stage: Stage) -> None:
    inner(stage, Glass, worker("one", ping_every=0.1, start_deadline=2.0))
    for _ in range(10):
        former = process(stage, "top.inner.one").pid
        os.kill(former, signal.SIGKILL)
        stage.back("top.inner.one", former)
    stage.eventually(lambda: stage.ask("top.inner", "timers") <= 2)


def test_a_supervisor_outlives_a_lack_of_processes(stage: Stage) -> None:
    inner(stage, Glass, worker("one"), worker("two"))
    supervisor, one, two = (process(stage, name).pid for name in ("top.inner", "top.inner.one", "top.inner.two"))
    stage.ask("top.inner", "fork", False)
    os.kill(one, signal.SIGKILL)
    stage.eventually(lambda: "no process" in stage.client.ask("top.inner", Children())[0].reason)
    stage.ask("top.inner", "fork", True)
    stage.back("top.inner.one", one)
    assert (stage.pid("top.inner"), stage.pid("top.inner.two")) == (supervisor, two)


def test_a_subtree_is_given_the_time_its_children_may_take(stage: Stage, tmp_path: Path) -> None:
    diary = str(tmp_path / "diary")
    children = tuple(
        ChildSpec(name, Diary, (diary, name == "stubborn"), stop_deadline=0.5) for name in ("one", "two", "stubborn")
    )
    subtree = ChildSpec("inner", Supervisor, SupervisorSpec(children), stop_deadline=0.5)
    stage.raise_curtain(SupervisorSpec((subtree,)))
    stage.client.tell("top", Stop())
    news = stage.news()
    assert isinstance(news, Exiting)
    assert Path(diary).read_text().split("\n")[:-1] == [
        "one starts",
        "two starts",
        "stubborn starts",
        "two stops",
        "one stops",
    ]


def test_a_class_that_is_no_actor_is_a_failing_child(stage: Stage) -> None:
    stage.raise_curtain(SupervisorSpec((worker("good"),), intensity=1, excess=Excess.QUARANTINE, backoff=AT_ONCE))
    good = stage.pid("top.good")
    stage.client.ask("top", Supervise(ChildSpec("bad", int)))
    stage.eventually(lambda: stage.children()["bad"].quarantined)
    assert stage.pid("top.good") == good

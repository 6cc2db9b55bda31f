"""The supervisor with real processes: killed, crashed, hung, quarantined, escalated, stopped."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import tempfile
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from springline.actors import bus
from springline.actors.addresses import path_of
from springline.actors.endpoint import Client
from springline.actors.lifecycle import Exiting, Ready, Start, Stop
from springline.actors.names import is_registered, registered
from springline.errors import InternalFault, Lost, Misuse, SpringlineError
from springline.supervisors.asking import Children, ChildStatus, Dismiss, Supervise
from springline.supervisors.backoff import Backoff
from springline.supervisors.spec import ChildSpec, Excess, Restart, Strategy, SupervisorSpec
from springline.supervisors.state import Phase
from springline.supervisors.supervisor import Supervisor
from springline.tests.actors.workers import Do, IoWorker, Worker

PATIENCE = 20.0


class Stage:
    """An actor system with one supervisor on it, and a client that is its parent."""

    def __init__(self) -> None:
        self.directory = tempfile.mkdtemp(prefix="springline-test-", dir="/tmp")
        self.system = bus.start_system(self.directory)
        self.client = Client(self.directory)

    def raise_curtain(self, spec: SupervisorSpec) -> object:
        root = path_of(self.system.createActor(Supervisor))
        self.client.tell(root, Start("top", 1, spec, self.client.path))
        return self.news()

    def news(self) -> object:
        received = self.client.listen(PATIENCE)
        assert received is not None
        return received[1]

    def pid(self, name: str) -> int | None:
        return next((entry.pid for entry in registered(self.directory) if entry.name == name and entry.alive), None)

    def ask(self, name: str, what: str, value: Any = None) -> Any:
        return self.client.ask(name, Do(what, value), 10.0)

    def eventually(self, holds: Callable[[], object]) -> None:
        end = time.monotonic() + PATIENCE
        while time.monotonic() < end:
            try:
                if holds():
                    return
            except SpringlineError:
                pass
            time.sleep(0.005)
        raise AssertionError("not in time")

    def back(self, name: str, former: int) -> None:
        """Wait until ``name`` is another process that answers."""
        self.eventually(lambda: self.pid(name) not in (None, former))

    def children(self) -> dict[str, ChildStatus]:
        return {child.name: child for child in self.client.ask("top", Children())}


@pytest.fixture
def stage() -> Iterator[Stage]:
    made = Stage()
    yield made
    pids = {entry.pid for entry in registered(made.directory)}
    made.client.close()
    made.system.shutdown()
    made.eventually(lambda: not any(alive(pid) for pid in pids))
    shutil.rmtree(made.directory, ignore_errors=True)


def alive(pid: int) -> bool:
    try:
        with open(f"/proc/{pid}/stat") as file:
            return file.read().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def worker(name: str, **more: Any) -> ChildSpec:
    return ChildSpec(name, Worker, **more)


@pytest.mark.parametrize("kind", [Worker, IoWorker])
@pytest.mark.parametrize("sig", [signal.SIGKILL, signal.SIGSEGV])
def test_a_killed_child_is_back_under_its_name(stage: Stage, kind: type, sig: signal.Signals) -> None:
    assert isinstance(stage.raise_curtain(SupervisorSpec((ChildSpec("one", kind), worker("two")))), Ready)
    killed, sibling = stage.pid("top.one"), stage.pid("top.two")
    assert killed is not None
    os.kill(killed, sig)
    stage.back("top.one", killed)
    assert stage.ask("top.one", "pid") == stage.pid("top.one")
    assert stage.pid("top.two") == sibling
    assert stage.children()["one"].restarts == 1
    assert not [name for name in os.listdir(stage.directory) if name.startswith(f"{killed}.")]


@pytest.mark.parametrize("kind", [Worker, IoWorker])
def test_a_crash_is_told_to_the_asker_and_costs_the_state(stage: Stage, kind: type) -> None:
    stage.raise_curtain(SupervisorSpec((ChildSpec("one", kind),)))
    stage.ask("top.one", "count")
    former = stage.pid("top.one")
    assert former is not None
    with pytest.raises((InternalFault, Lost)):
        stage.ask("top.one", "raise")
    with pytest.raises(SpringlineError):
        stage.ask("top.one", "refuse")
    stage.back("top.one", former)
    stage.eventually(lambda: stage.ask("top.one", "pid") != former)
    assert "RuntimeError" in stage.children()["one"].reason


def test_a_refusal_is_no_crash(stage: Stage) -> None:
    stage.raise_curtain(SupervisorSpec((worker("one"),)))
    before = stage.pid("top.one")
    with pytest.raises(Misuse, match="told to refuse"):
        stage.ask("top.one", "refuse")
    assert stage.pid("top.one") == before


@pytest.mark.parametrize("kind", [Worker, IoWorker])
def test_a_hung_child_is_replaced(stage: Stage, kind: type) -> None:
    stage.raise_curtain(SupervisorSpec((ChildSpec("one", kind, ping_every=0.1),)))
    hung = stage.pid("top.one")
    assert hung is not None
    os.kill(hung, signal.SIGSTOP)
    stage.back("top.one", hung)
    assert stage.children()["one"].reason == "hung"


def test_an_asyncio_loop_that_blocks_is_hung(stage: Stage) -> None:
    stage.raise_curtain(SupervisorSpec((ChildSpec("one", IoWorker, ping_every=0.1),)))
    hung = stage.pid("top.one")
    assert hung is not None
    stage.client.tell("top.one", Do("block", 60.0))
    stage.back("top.one", hung)


def test_a_killed_supervisor_takes_its_subtree_and_brings_it_back(stage: Stage) -> None:
    inner = SupervisorSpec((worker("deep"),))
    stage.raise_curtain(SupervisorSpec((ChildSpec("inner", Supervisor, inner),)))
    supervisor, deep = stage.pid("top.inner"), stage.pid("top.inner.deep")
    assert supervisor is not None
    assert deep is not None
    os.kill(supervisor, signal.SIGKILL)
    stage.eventually(lambda: not alive(deep))
    stage.back("top.inner.deep", deep)
    assert stage.ask("top.inner.deep", "name") == "top.inner.deep"


def test_one_for_all_restarts_the_siblings(stage: Stage) -> None:
    stage.raise_curtain(SupervisorSpec((worker("one"), worker("two")), Strategy.ONE_FOR_ALL))
    one, two = stage.pid("top.one"), stage.pid("top.two")
    assert one is not None
    assert two is not None
    os.kill(two, signal.SIGKILL)
    stage.back("top.one", one)
    stage.back("top.two", two)


def test_escalation_reaches_the_top(stage: Stage) -> None:
    pacing = Backoff(free=100)
    inner = SupervisorSpec((worker("bad", args="fail"),), intensity=2, backoff=pacing)
    outer = SupervisorSpec((ChildSpec("inner", Supervisor, inner),), intensity=1, backoff=pacing)
    news = stage.raise_curtain(outer)
    assert isinstance(news, Exiting)
    assert not news.normal
    assert "inner keeps failing" in news.reason
    assert "told to fail" in news.reason


def test_quarantine_leaves_the_others_alone(stage: Stage) -> None:
    spec = SupervisorSpec((worker("good"),), intensity=1, excess=Excess.QUARANTINE)
    stage.raise_curtain(spec)
    good = stage.pid("top.good")
    stage.client.ask("top", Supervise(worker("bad", args="fail")))
    stage.eventually(lambda: stage.children()["bad"].quarantined)
    assert "told to fail" in stage.children()["bad"].reason
    assert stage.pid("top.good") == good
    assert "top.bad" not in os.listdir(stage.directory)
    stage.client.ask("top", Supervise(worker("bad")))
    stage.eventually(lambda: stage.ask("top.bad", "pid"))


@pytest.mark.parametrize("what", ["raise", "exit"])
def test_who_comes_back_keeps_its_name_meanwhile(stage: Stage, what: str) -> None:
    """So that whoever asks for it waits, and is not told that there is none."""
    stage.raise_curtain(SupervisorSpec((worker("one"),), backoff=Backoff(free=0, base=3600.0, cap=3600.0)))
    with contextlib.suppress(InternalFault, Lost):
        stage.ask("top.one", what)
    stage.eventually(lambda: stage.children()["one"].phase == Phase.PAUSED.value)
    assert is_registered(stage.directory, "top.one")


def test_who_stays_down_gives_its_name_back(stage: Stage) -> None:
    stage.raise_curtain(SupervisorSpec((worker("one", restart=Restart.TRANSIENT),)))
    stage.ask("top.one", "exit")
    stage.eventually(lambda: stage.children()["one"].phase == Phase.DOWN.value)
    assert not is_registered(stage.directory, "top.one")


def test_children_come_and_go(stage: Stage) -> None:
    stage.raise_curtain(SupervisorSpec())
    stage.client.ask("top", Supervise(worker("late")))
    stage.eventually(lambda: stage.ask("top.late", "pid"))
    late = stage.pid("top.late")
    assert late is not None
    with pytest.raises(Misuse):
        stage.client.ask("top", Supervise(worker("late")))
    stage.client.ask("top", Dismiss("late"))
    stage.eventually(lambda: not alive(late) and not stage.children())
    assert "top.late" not in os.listdir(stage.directory)


def test_stop_is_graceful_and_leaves_nothing(stage: Stage) -> None:
    stage.raise_curtain(SupervisorSpec((worker("one"), ChildSpec("two", IoWorker))))
    pids = [stage.pid("top.one"), stage.pid("top.two")]
    stage.client.tell("top", Stop())
    news = stage.news()
    assert isinstance(news, Exiting)
    assert news.normal
    stage.eventually(lambda: not any(alive(pid) for pid in pids if pid))
    stage.eventually(lambda: not [e for e in registered(stage.directory) if e.alive])

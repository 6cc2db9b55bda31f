"""The monitor as an actor: its clocks are the test's, its network is this machine's, which stays as it is."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import pytest

from springline.actors.addresses import path_of
from springline.actors.endpoint import Client
from springline.actors.finding import DHT, MDNS, NETWORK, PORTS, Health, HowItGoes, NetworkChanged
from springline.actors.lifecycle import Ready, Start
from springline.actors.messages import CONNECTIONS, TRANSPORT
from springline.actors.names import register
from springline.actors.network import NetworkArgs, NetworkMonitor, WayOut
from springline.actors.shell import Sender, receives
from springline.tests.actors.stage import PATIENCE, Stage
from springline.transport.interfaces import look_around
from springline.transport.network import Clocks

EVERYBODY = {TRANSPORT, CONNECTIONS, MDNS, DHT, PORTS}


@dataclass(frozen=True)
class Pass:
    """Let that much time pass for each clock, beside what passes anyway."""

    now: float = 0.0
    boot: float = 0.0
    wall: float = 0.0


class Dreamer(NetworkMonitor):
    """Its clocks are moved by whoever says so."""

    _passed = Pass()

    def clocks(self) -> Clocks:
        real, moved = super().clocks(), self._passed
        boot = real.now if real.boot is None else real.boot
        return replace(real, now=real.now + moved.now, boot=boot + moved.boot, wall=real.wall + moved.wall)

    @receives(Pass)
    def pass_time(self, message: Pass, sender: Sender) -> None:
        self._passed = message


class Scene:
    """A monitor, and somebody under each name that it tells."""

    def __init__(self, stage: Stage, args: NetworkArgs) -> None:
        self.client = stage.client
        self.ears = {name: Client(stage.directory) for name in EVERYBODY}
        for name, ear in self.ears.items():
            register(stage.directory, name, ear.path)
        monitor = stage.system.createActor(Dreamer)
        self.client.tell(path_of(monitor), Start(NETWORK, 1, args, self.client.path))
        started = self.client.listen(PATIENCE)
        assert started is not None
        assert isinstance(started[1], Ready)
        assert {change.what for change in self.told().values()} == {"nobody watched the network until now"}

    def told(self, names: set[str] = EVERYBODY) -> dict[str, NetworkChanged]:
        """The next thing that each of them hears."""
        found = {}
        for name in names:
            heard = self.ears[name].listen(PATIENCE)
            assert heard is not None, f"{name} hears nothing"
            assert isinstance(heard[1], NetworkChanged)
            found[name] = heard[1]
        return found

    def ask(self, question: object) -> Any:
        return self.client.ask(NETWORK, question, PATIENCE)

    def close(self) -> None:
        for ear in self.ears.values():
            ear.close()


@pytest.fixture(params=[True, False], ids=["kernel", "looks"])
def scene(request: pytest.FixtureRequest, stage: Stage) -> Iterator[Scene]:
    scene = Scene(stage, NetworkArgs(kernel=request.param))
    yield scene
    scene.close()


def test_sleep_is_told_to_everybody_and_a_clock_set_back_to_finders(scene: Scene) -> None:
    scene.ask(Pass(boot=480, wall=480))
    assert {change.what for change in scene.told().values()} == {"woke after 8 min of sleep"}
    scene.ask(Pass(boot=480, wall=480 - 10800))
    assert {change.what for change in scene.told({MDNS, DHT}).values()} == {"the clock was set back by 3 h"}
    scene.ask(Pass(boot=480, wall=480))
    told = scene.told()  # links and ports have heard nothing in between
    assert {change.what.partition(";")[0] for change in told.values()} == {"the clock was set 3 h ahead"}
    assert {change.addresses for change in told.values()} == {look_around().addresses}
    assert not any(change.gone for change in told.values())


def test_a_stop_is_noticed(scene: Scene) -> None:
    scene.ask(Pass(now=600, boot=600, wall=600))
    assert all(change.what.startswith("this process stood still") for change in scene.told().values())


def test_it_tells_how_it_goes(scene: Scene) -> None:
    way = look_around().way(4)
    found = scene.ask(WayOut())
    assert (found and found.interface) == (way and way.interface)
    health: Health = scene.ask(HowItGoes())
    assert health.works is bool(look_around().carrying)
    assert "addresses, the way out is" in health.seen
    assert health.seen.endswith("nobody watched the network until now")

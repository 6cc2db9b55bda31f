"""Supervisor: the actor that starts, watches and restarts its children as its spec says.

The rule: this is a thin shell. Messages and the ends of processes become events, ``policy.step`` decides, and its
actions become forks, messages and signals. It keeps no threads, because it forks; and it handles no message of its
children's trade, so nothing they do can hang it.

Anybody's actors can be supervised with it, with no device in sight::

    ChildSpec("workers", Supervisor, SupervisorSpec((ChildSpec("one", Worker), ChildSpec("two", Worker))))

On the bus a child is called ``<supervisor>.<child>``; the children of the node's root go by their own names.
"""

from __future__ import annotations

import contextlib
import logging
import os
import random
import signal
import time
from dataclasses import dataclass
from typing import Any

from springline.actors import bus, forking
from springline.actors.lifecycle import Exiting, Ping, Pong, Ready, Start, Stop
from springline.actors.names import sweep, unregister
from springline.actors.shell import LATER, Sender, Shell, receives
from springline.errors import LocalFault
from springline.supervisors import policy, signals, state
from springline.supervisors.asking import ROOT, Children, ChildStatus, Dismiss, Supervise
from springline.supervisors.signals import What
from springline.supervisors.spec import ChildSpec, SupervisorSpec

log = logging.getLogger("springline.supervisor")

_OUTSIDE = (-signal.SIGKILL, -signal.SIGTERM, -signal.SIGINT, -signal.SIGHUP)


@dataclass(frozen=True, slots=True)
class _Tick:
    """The timer for that moment has run out; only the one last armed counts."""

    at: float


@dataclass(frozen=True, slots=True)
class _Ended:
    """A child's process has ended, or could not be started, and all that it had to say has been read."""

    name: str
    generation: int
    failed: str = ""


@dataclass(slots=True)
class _Running:
    """A child's process: how to talk to it and how to see its end."""

    address: Any
    generation: int
    process: Any
    farewell: Exiting | None = None


class Supervisor(Shell):
    """Supervises the children of the :class:`SupervisorSpec` it is started with."""

    # -- to override -----------------------------------------------------------------------------------------------

    def announce(self, news: signals.Announce) -> None:
        """Something has become of a child."""
        level = logging.INFO if news.what in (What.READY, What.REMOVED) else logging.WARNING
        log.log(level, "%s: %s %s%s", self.name, news.name, news.what.value, f": {news.detail}" if news.detail else "")

    # -- life ------------------------------------------------------------------------------------------------------

    def start(self, args: SupervisorSpec) -> object:
        """Start the children; the supervisor is ready when they are."""
        self._state = policy.initial(args)
        self._running: dict[str, _Running] = {}
        self._armed = float("inf")
        self._feed(signals.Begin())
        return LATER

    def stop(self) -> object:
        """Stop the children, last started first; the supervisor ends when they have."""
        self._feed(signals.StopAll("told to stop"))
        return LATER

    def bus_name(self, child: str) -> str:
        """What that child is called on the bus."""
        return child if self.name == ROOT else f"{self.name}.{child}"

    # -- events ----------------------------------------------------------------------------------------------------

    def _feed(self, event: signals.Event) -> None:
        now = time.monotonic()
        self._state, actions = policy.step(self._state, event, now, random.random())  # noqa: S311 - jitter
        for action in actions:
            self._perform(action, now)

    @receives(Ready)
    def _ready(self, message: Ready, sender: Sender) -> None:
        name = self._own_name(message.name)
        self._feed(signals.ChildReady(name, message.generation, message.pid))

    @receives(Pong)
    def _pong(self, message: Pong, sender: Sender) -> None:
        self._feed(signals.Ponged(self._own_name(message.name), message.generation))

    @receives(Exiting)
    def _exiting(self, message: Exiting, sender: Sender) -> None:
        running = self._running.get(self._own_name(message.name))
        if running is not None and running.generation == message.generation:
            running.farewell = message

    def child_exited(self, path: str) -> None:
        """See whose process has ended; the engine may tell it too early, twice, or of several at once."""
        ended = [(name, running) for name, running in self._running.items() if not running.process.is_alive()]
        if ended:
            bus.catch_up(self)  # what they said before they ended may still be in the mailbox
        for name, running in ended:
            self.send(self.myAddress, _Ended(name, running.generation))

    @receives(_Ended)
    def _ended(self, message: _Ended, sender: Sender) -> None:
        name, generation = message.name, message.generation
        running = self._running.get(name)
        if message.failed:
            self._feed(signals.ChildExited(name, generation, message.failed, normal=False, outside=True))
        elif running is not None and running.generation == generation:
            del self._running[name]
            sweep(self.bus_directory, running.process.pid)
            reason, normal = _why(running)
            outside = running.farewell is None and running.process.exitcode in _OUTSIDE
            self._feed(signals.ChildExited(name, generation, reason, normal, outside))
            left = self._state.child(name)
            if left is not None and not left.wanted:  # it stays down; whoever comes back keeps its name meanwhile
                unregister(self.bus_directory, self.bus_name(name))

    @receives(_Tick)
    def _tick(self, message: _Tick, sender: Sender) -> None:
        if message.at == self._armed:
            self._armed = float("inf")
            self.child_exited("")  # should a death ever go untold, it is seen here
            self._feed(signals.TimerDue())

    @receives(Supervise)
    def _supervise(self, message: Supervise, sender: Sender) -> None:
        self._feed(signals.AddChild(message.spec))

    @receives(Dismiss)
    def _dismiss(self, message: Dismiss, sender: Sender) -> None:
        self._feed(signals.RemoveChild(message.name))

    @receives(Children)
    def _children(self, message: Children, sender: Sender) -> tuple[ChildStatus, ...]:
        return tuple(_status(child) for child in self._state.children)

    def _own_name(self, bus_name: str) -> str:
        return bus_name if self.name == ROOT else bus_name.removeprefix(f"{self.name}.")

    # -- actions ---------------------------------------------------------------------------------------------------

    def _perform(self, action: signals.Action, now: float) -> None:
        match action:
            case signals.StartChild(spec=spec, generation=generation):
                self._start(spec, generation)
            case signals.StopChild(name=name):
                self._send(name, Stop())
            case signals.KillChild(name=name):
                self._kill(name)
            case signals.PingChild(name=name):
                self._send(name, Ping(0))
            case signals.ArmTimer(at=at):
                self._arm(at, now)
            case signals.Announce():
                self._note(action)
            case signals.AllReady():
                self.ready()
            case signals.Finished(reason=reason, normal=normal):
                self.exit(reason, normal=normal)

    def _start(self, spec: ChildSpec, generation: int) -> None:
        try:
            address, process = forking.start_child(self, spec.actor)
        except LocalFault as error:
            self.send(self.myAddress, _Ended(spec.name, generation, error.message))
            return
        self._running[spec.name] = _Running(address, generation, process)
        self.send(address, Start(self.bus_name(spec.name), generation, spec.args, self.bus_path))

    def _send(self, name: str, message: object) -> None:
        running = self._running.get(name)
        if running is not None:
            self.send(running.address, message)

    def _kill(self, name: str) -> None:
        running = self._running.get(name)
        if running is not None and running.process.is_alive():  # else its number may be somebody else's by now
            os.kill(running.process.pid, signal.SIGKILL)

    def _arm(self, at: float, now: float) -> None:
        """The engine's timers can't be cancelled: only an earlier one is added, and the one it replaces ignored."""
        if at < self._armed:
            self._armed = at
            self.wake(at - now, _Tick(at))

    def _note(self, news: signals.Announce) -> None:
        if news.what in (What.QUARANTINED, What.REMOVED):
            unregister(self.bus_directory, self.bus_name(news.name))
        self.announce(news)


def _status(child: state.Child) -> ChildStatus:
    restarts = max(0, child.starts - 1)
    return ChildStatus(child.spec.name, child.phase.value, child.pid, restarts, child.quarantined, child.reason)


def _why(running: _Running) -> tuple[str, bool]:
    """Why a process has ended: what it said before, or else its exit code."""
    if running.farewell is not None:
        return running.farewell.reason, running.farewell.normal
    code = running.process.exitcode
    if code is not None and code < 0:
        with contextlib.suppress(ValueError):
            return f"killed by {signal.Signals(-code).name}", False
    return f"exited with code {code}", False

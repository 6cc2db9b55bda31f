"""What every actor is built on: a thin shell that turns messages into method calls.

The rule: an actor decides in pure code and acts here. A handler method is named by the message type it takes
(``@receives(Subscribe)``); what it returns is the answer to an ``Ask``. The shell does the rest of an actor's life:
start, registration under its name, readiness, pings, timers, stop, and what happens when a handler raises.

Two kinds:

* :class:`Shell` runs its handlers in the engine's own loop. It may have children, and therefore never has threads
  (a fork in a threaded process deadlocks).
* :class:`IoShell` runs its handlers in an asyncio loop in one background thread, with its own endpoint on the bus that
  carries its name. It does I/O and has no children. Only start, ping and stop pass through the engine's loop; a ping is
  answered *by the asyncio loop*, so that a hung loop is a hung actor.

Why a crash is on purpose: Thespian runs a message that raised a second time, on a copy, and lets the actor live on with
whatever state it has. Here every exception is caught at the first run. A ``SpringlineError`` is an answer; anything
else is a bug: it is logged, the parent is told the reason, and the process ends, to be started anew with clean state.
"""

from __future__ import annotations

import asyncio
import inspect
import logging
import os
import signal
import threading
import time
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, ClassVar, TypeVar

from setproctitle import setproctitle
from thespian.actors import Actor, ActorAddress, ActorExitRequest, ActorSystemMessage, WakeupMessage

from springline.actors import bus
from springline.actors.addresses import address_of, path_of
from springline.actors.endpoint import AsyncEndpoint
from springline.actors.lifecycle import Ask, Exiting, Ping, Pong, Ready, Reply, Start, Stop
from springline.actors.logs import log_to
from springline.actors.names import LOOK, alive, incarnation, register
from springline.errors import InternalFault, Lost, NotRunning, SpringlineError, TimedOut

log = logging.getLogger("springline.actor")

STOP_PATIENCE = 3.0
"""Seconds an I/O actor gives its own ``stop`` before it leaves anyway; its supervisor's deadline is longer."""


FATAL = (signal.SIGSEGV, signal.SIGBUS, signal.SIGFPE, signal.SIGILL, signal.SIGABRT)
"""The engine catches these in Python, which turns a crash in C into an endless loop: a crash must be a crash."""


class _Later:
    """The type of :data:`LATER`."""


LATER = _Later()
"""Returned by a handler that will answer its ``Ask`` later, with ``sender.reply``."""


class Sender:
    """Who sent the message being handled.

    :param path: bus path to answer to.
    :param ask_id: id of the ``Ask``, or None if the message was only told.
    """

    __slots__ = ("_tell", "ask_id", "path")

    def __init__(self, path: str, ask_id: int | None, tell: Callable[[str, object], object]) -> None:
        self.path = path
        self.ask_id = ask_id
        self._tell = tell

    def reply(self, value: object) -> None:
        """Answer the ``Ask``; does nothing if the message was only told."""
        if self.ask_id is not None:
            self._tell(self.path, Reply(self.ask_id, value))


Then = Callable[[Any], None]
"""Called with an answer, or with the ``SpringlineError`` that came instead."""


@dataclass(frozen=True, slots=True)
class _Look:
    """Look after an ask: is its time up, or whom it was put to dead?

    :param asked: the very socket it went to. :param until: monotonic seconds.
    """

    ask_id: int
    asked: str
    until: float


Handler = TypeVar("Handler", bound=Callable[..., object])


def receives(*types: type) -> Callable[[Handler], Handler]:
    """Mark a method ``(self, message, sender: Sender)`` as the handler of these message types."""

    def mark(method: Handler) -> Handler:
        method._receives = types  # type: ignore[attr-defined]
        return method

    return mark


class _Dispatch:
    """Shared by both kinds of shell: which method takes which message, and what an exception means."""

    _handlers: ClassVar[dict[type, str]] = {}
    name = ""
    generation = 0
    parent = ""

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        handlers = dict(cls._handlers)
        for attribute, value in vars(cls).items():
            handlers.update(dict.fromkeys(getattr(value, "_receives", ()), attribute))
        cls._handlers = handlers

    def unhandled(self, message: object, sender: Sender) -> object:
        """A message no method is marked for. Override to accept more."""
        log.warning("%s: nobody handles %s", self.name or type(self).__name__, type(message).__name__)
        return InternalFault(f"{self.name} does not handle {type(message).__name__}") if sender.ask_id else None

    def _method(self, message: object) -> Callable[[Any, Sender], object]:
        attribute = self._handlers.get(type(message))
        return getattr(self, attribute) if attribute else self.unhandled

    def _adopt(self, start: Start, directory: str) -> None:
        self.name, self.generation, self.parent = start.name, start.generation, start.parent
        log_to(directory)
        for fatal in FATAL:
            signal.signal(fatal, signal.SIG_DFL)
        setproctitle(f"springline: {start.name}")


class Shell(_Dispatch, Actor):  # type: ignore[misc]  # thespian is untyped
    """An actor that handles its messages one at a time in the engine's loop. See the module's header."""

    _crashed = False

    def __init__(self) -> None:
        super().__init__()
        self._asks = 0
        self._asked: dict[int, Then] = {}

    # -- to override ---------------------------------------------------------------------------------------------------

    def start(self, args: Any) -> object:
        """Begin; return :data:`LATER` to call :meth:`ready` when it is time."""

    def stop(self) -> object:
        """Finish; return :data:`LATER` to call :meth:`exit` when it is time."""

    def child_exited(self, path: str) -> None:
        """A child of this actor has ended; may be told twice."""

    # -- to use --------------------------------------------------------------------------------------------------------

    @property
    def bus_path(self) -> str:
        """This actor's own bus path."""
        return path_of(self.myAddress)

    @property
    def bus_directory(self) -> str:
        """The bus directory."""
        return os.path.dirname(self.bus_path)

    def tell(self, target: str, message: object) -> None:
        """Send ``message`` to a registered name or a bus path."""
        bus.tell(self, target, message)

    def ask(self, target: str, body: object, then: Then, timeout: float = 5.0) -> None:
        """Ask an actor; ``then`` gets the answer.

        Or it gets ``NotRunning`` or ``Lost`` if nobody is there or it dies, ``TimedOut`` after ``timeout`` seconds.
        """
        self._asks += 1
        self._asked[self._asks] = then
        asked = incarnation(self.bus_directory, target)
        self.tell(target, Ask(self._asks, body))
        self._look(_Look(self._asks, asked, time.monotonic() + timeout), first=True)

    def _look(self, look: _Look, *, first: bool = False) -> None:
        if look.ask_id not in self._asked:
            return
        left = look.until - time.monotonic()
        if not alive(look.asked):
            gone = NotRunning("it is not running") if first else Lost("it died before it answered")
            self.wake(0, Reply(look.ask_id, gone))
        elif left <= 0:
            self._resolve(look.ask_id, TimedOut("no answer in time"))
        else:
            self.wake(min(left, LOOK), look)

    def _resolve(self, ask_id: int, answer: object) -> None:
        then = self._asked.pop(ask_id, None)
        if then is not None:  # else it came too late, or its time ran out after it came
            then(answer)

    def wake(self, after: float, message: object) -> None:
        """Have ``message`` handled in ``after`` seconds. It can't be cancelled: give it a generation."""
        self.wakeupAfter(timedelta(seconds=max(0.0, after)), payload=message)

    def ready(self) -> None:
        """Register under the name and tell the parent that the work has begun."""
        register(self.bus_directory, self.name, self.bus_path)
        self.tell(self.parent, Ready(self.name, self.generation, os.getpid()))

    def exit(self, reason: str = "done", *, normal: bool = True) -> None:
        """Tell the parent why, then end this process."""
        if self.parent:
            self.tell(self.parent, Exiting(self.name, self.generation, reason, normal))
        self.send(self.myAddress, ActorExitRequest())

    # -- the engine's side ---------------------------------------------------------------------------------------------

    def receiveMessage(self, message: Any, sender: ActorAddress) -> None:
        """Called by Thespian; never lets an exception out."""
        try:
            self._receive(message, sender)
        except Exception as error:  # noqa: BLE001 - whatever it was, this actor is done
            self._crash(error)

    def _receive(self, message: Any, address: ActorAddress) -> None:
        if self._crashed:
            return
        match message:
            case Ask(id=ask_id, body=body):
                self._handle(body, Sender(path_of(address), ask_id, self.tell))
            case Reply(id=ask_id, value=value):
                self._resolve(ask_id, value)
            case WakeupMessage(payload=_Look() as look):
                self._look(look)
            case WakeupMessage(payload=Reply(id=ask_id, value=value)):
                self._resolve(ask_id, value)
            case WakeupMessage():
                self._handle(message.payload, Sender(self.bus_path, None, self.tell))
            case ActorSystemMessage():
                self._engine(message)
            case Ping(seq=seq):
                self.tell(path_of(address), Pong(self.name, self.generation, seq))
            case Start():
                self._adopt(message, self.bus_directory)
                if self.start(message.args) is not LATER:
                    self.ready()
            case Stop():
                if self.stop() is not LATER:
                    self.exit("told to stop")
            case _:
                self._handle(message, Sender(path_of(address), None, self.tell))

    def _engine(self, message: Any) -> None:
        child = getattr(message, "childAddress", None)
        if child is not None:
            self.child_exited(path_of(child))

    def _handle(self, message: object, sender: Sender) -> None:
        try:
            value = self._method(message)(message, sender)
        except SpringlineError as error:
            if sender.ask_id is None:
                raise
            value = error
        except Exception as error:
            sender.reply(InternalFault(f"{self.name} failed: {_brief(error)}"))
            raise
        if value is not LATER:
            sender.reply(value)

    def _crash(self, error: Exception) -> None:
        log.exception("%s crashed", self.name or type(self).__name__)
        self._crashed = True
        self.exit(_brief(error), normal=False)


class IoShell(_Dispatch, Actor):  # type: ignore[misc]  # thespian is untyped
    """An actor whose handlers run in an asyncio loop of its own thread. See the module's header."""

    endpoint: AsyncEndpoint
    loop: asyncio.AbstractEventLoop
    _stopping = False

    # -- to override: all in the asyncio thread ------------------------------------------------------------------------

    async def start(self, args: Any) -> None:
        """Begin; readiness is told when this returns."""

    async def stop(self) -> None:
        """Finish; has :data:`STOP_PATIENCE` seconds."""

    # -- to use: all in the asyncio thread -----------------------------------------------------------------------------

    @property
    def bus_path(self) -> str:
        """Bus path of this actor's endpoint."""
        return self.endpoint.path

    @property
    def bus_directory(self) -> str:
        """The bus directory."""
        return os.path.dirname(self.endpoint.path)

    def tell(self, target: str, message: object) -> bool:
        """Send ``message`` to a registered name or a bus path; False if nobody is there."""
        return self.endpoint.tell(target, message)

    async def ask(self, target: str, body: object, timeout: float = 5.0) -> Any:
        """Ask and await the answer; raises what :meth:`AsyncEndpoint.ask` raises."""
        return await self.endpoint.ask(target, body, timeout)

    def spawn(self, work: Coroutine[Any, Any, object]) -> asyncio.Task[object]:
        """Run ``work`` in the background; an exception in it ends the actor, as one in a handler does."""
        task = self.loop.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._finished)
        return task

    # -- the asyncio thread --------------------------------------------------------------------------------------------

    def _finished(self, task: asyncio.Task[object]) -> None:
        self._tasks.discard(task)
        error = None if task.cancelled() else task.exception()
        if error is not None:
            self._crash(error)

    def _run(self, start: Start, directory: str) -> None:
        try:
            with asyncio.Runner(loop_factory=lambda: self.loop) as runner:
                runner.run(self._main(start, directory))
        except BaseException as error:  # noqa: BLE001 - a dead loop is a dead actor
            self._crash(error)

    async def _main(self, start: Start, directory: str) -> None:
        self._tasks: set[asyncio.Task[object]] = set()
        self._done = asyncio.Event()
        self.endpoint = AsyncEndpoint(directory, self._received)
        await self.start(start.args)
        register(directory, self.name, self.endpoint.path)
        self.tell(self.parent, Ready(self.name, self.generation, os.getpid()))
        await self._done.wait()
        try:
            async with asyncio.timeout(STOP_PATIENCE):
                await self.stop()
        except TimeoutError:
            log.warning("%s did not finish in %s s", self.name, STOP_PATIENCE)
        for task in list(self._tasks):
            task.remove_done_callback(self._finished)
            task.cancel()
        self.endpoint.close()

    def _received(self, path: str, message: object) -> None:
        ask_id = None
        if isinstance(message, Ask):
            ask_id, message = message.id, message.body
        sender = Sender(path, ask_id, self.endpoint.tell)
        try:
            value = self._method(message)(message, sender)
        except SpringlineError as error:
            if ask_id is None:
                self._crash(error)
            value = error
        except Exception as error:  # noqa: BLE001 - whatever it was, this actor is done
            sender.reply(InternalFault(f"{self.name} failed: {_brief(error)}"))
            self._crash(error)
            return
        if inspect.iscoroutine(value):
            self.spawn(self._answer(value, sender))
        elif value is not LATER:
            sender.reply(value)

    async def _answer(self, work: Coroutine[Any, Any, object], sender: Sender) -> None:
        try:
            value = await work
        except SpringlineError as error:
            if sender.ask_id is None:
                raise
            value = error
        except Exception as error:
            sender.reply(InternalFault(f"{self.name} failed: {_brief(error)}"))
            raise
        if value is not LATER:
            sender.reply(value)

    def _crash(self, error: BaseException) -> None:
        """End the process at once: it has no children, and nobody must talk to half an actor."""
        log.error("%s crashed", self.name, exc_info=error)
        endpoint = getattr(self, "endpoint", None)
        if endpoint is not None:
            endpoint.tell(self.parent, Exiting(self.name, self.generation, _brief(error), normal=False))
        os._exit(1)

    # -- the engine's thread -------------------------------------------------------------------------------------------

    def receiveMessage(self, message: Any, sender: ActorAddress) -> None:
        """Called by Thespian; passes on to the asyncio thread what is not about the process itself."""
        match message:
            case Start():
                directory = os.path.dirname(path_of(self.myAddress))
                self._adopt(message, directory)
                self.loop = asyncio.new_event_loop()
                self._thread = threading.Thread(target=self._run, args=(message, directory), name="io", daemon=True)
                self._thread.start()
            case Ping(seq=seq):
                path = path_of(sender)
                self.loop.call_soon_threadsafe(self._pong, path, seq)
            case Stop() | ActorExitRequest():
                self._leave(told=isinstance(message, Stop))
            case ActorSystemMessage():
                pass
            case _:
                self.loop.call_soon_threadsafe(self._received, path_of(sender), message)

    def _pong(self, path: str, seq: int) -> None:
        if hasattr(self, "endpoint"):
            self.tell(path, Pong(self.name, self.generation, seq))

    def _leave(self, *, told: bool) -> None:
        if self._stopping:
            return
        self._stopping = True
        if hasattr(self, "_thread"):
            self.loop.call_soon_threadsafe(self._finish)
            self._thread.join(STOP_PATIENCE + 1)
        if told:
            self.send(address_of(self.parent, ""), Exiting(self.name, self.generation, "told to stop", normal=True))
            self.send(self.myAddress, ActorExitRequest())

    def _finish(self) -> None:
        if hasattr(self, "_done"):
            self._done.set()


def _brief(error: BaseException) -> str:
    return f"{type(error).__name__}: {error}"[:300]

"""The actor engine's transport over our own bus: Thespian's actors, our mailboxes.

The rule: Thespian decides what is sent to whom and when an actor's method runs; this file carries it. The engine's own
network bases are never used: they listen on all interfaces and unpickle what strangers send.

What differs from a stock base, and why:

* One mailbox per actor (``wire.Mailbox``), no connections; a full target delays only what is sent to it.
* A message to the dead vanishes, as the kernel says at once that nobody is there. The engine is not told: it would
  remember the address as dead for good, and a *name* is reborn. Parents hear of a child's end by SIGCHLD.
* Children are forked on a lifeline (``forking``), and not by multiprocessing.
* The app is told at once when the whole tree is gone, and a request to a dead admin fails at once, not after 50 s.
* The engine forgets children that die while it notes another one's death, and those that die before they said hello;
  their parents were never told, and waited for them when they ended. Here every death is told.
"""

from __future__ import annotations

import collections
import contextlib
import os
import select
import sys
import time
import weakref
from typing import Any

from thespian.actors import ActorAddress, ActorExitRequest, ActorSystem
from thespian.system.addressManager import ActorLocalAddress
from thespian.system.messages.multiproc import ChildMayHaveDied
from thespian.system.multiprocCommon import MultiProcReplicator, multiprocessCommon
from thespian.system.timing import currentTime
from thespian.system.transport import (
    ExternalInterfaceTransportInit,
    ReceiveEnvelope,
    SendStatus,
    Thespian__Run_Expired,
    Thespian__Run_HandlerResult,
    Thespian__Run_Terminated,
    Thespian__UpdateWork,
    TransmitOnly,
    TransportInit__Base,
)
from thespian.system.transport.asyncTransportBase import asyncTransportBase
from thespian.system.transport.wakeupTransportBase import wakeupTransportBase

from springline.actors import forking, guard, hardening
from springline.actors.addresses import BusAddress, address_of, path_of
from springline.actors.datagram import Datagram, Sent, encode
from springline.actors.names import alive
from springline.actors.wire import Mailbox, check_directory
from springline.errors import NotRunning

BASE = "springlineBus"
"""Name of this system base, as given to ``ActorSystem``."""

DIRECTORY = "springline bus directory"
"""The capability that says where the bus is."""

ADMIN = "admin"

LAST_PATIENCE = 2.0
"""Seconds a shutdown waits for the last process to end, after the engine has said that it is done, or given up."""

_BATCH = 64
"""Datagrams taken at a time, so that a flood can't keep a process from its timers."""


def tell(actor: Any, target: str, message: object) -> None:
    """Send ``message`` from ``actor`` to a registered name or a bus path.

    Past the engine, which would wrap it, queue it and write it out for a log that nobody reads: half a millisecond on a
    slow machine, as much as the rest of an answer takes. Only a child that has not said hello yet needs the engine.
    """
    actor._myRef.transport.tell(target, message)


def catch_up(actor: Any) -> None:
    """Take in what has reached ``actor``, so that it comes before what the actor now sends itself."""
    actor._myRef.transport._take()


# -- the transport -------------------------------------------------------------------------------------------------


class _Endpoint(TransportInit__Base):  # type: ignore[misc]
    """What a new process needs to make its transport."""

    def __init__(self, instance: int | None, own: Any, parent: ActorAddress, admin: ActorAddress) -> None:
        self.addrInst = instance
        self.own = own
        self.parent = parent
        self.admin = admin


_open: weakref.WeakSet[BusTransport] = weakref.WeakSet()

_TO_SELF = Datagram(b"", [], 0)


class BusTransport(asyncTransportBase, wakeupTransportBase):  # type: ignore[misc]
    """Thespian's transport interface over one :class:`Mailbox`."""

    def __init__(self, init: Any, *args: Any) -> None:
        super().__init__()
        own = None
        self.tree_end = -1
        if isinstance(init, ExternalInterfaceTransportInit):
            self._adminAddr = self.getAdminAddr(args[0])
        elif isinstance(init, _Endpoint):
            own, self._adminAddr = init.own, init.admin
            guard.watch(adopted=own is not None)  # the admin is forked twice
            hardening.harden()
        else:
            self._adminAddr = init
        directory = os.path.dirname(path_of(self._adminAddr))
        if own is not None and not alive(path_of(own)):
            with contextlib.suppress(FileNotFoundError):
                os.unlink(path_of(own))
        self._mailbox: Mailbox | None = Mailbox(directory, os.path.basename(path_of(own)) if own else None)
        self.myAddress = own or address_of(self._mailbox.path, directory)
        self._wake_r, self._wake_w = os.pipe()
        os.set_blocking(self._wake_r, False)
        os.set_blocking(self._wake_w, False)
        self._received: collections.deque[Any] = collections.deque()
        self._check_children = self._shut_down = False
        self._aborting: Any = None
        _open.add(self)

    # -- addresses -------------------------------------------------------------------------------------------------

    @staticmethod
    def getAdminAddr(capabilities: dict[str, Any]) -> ActorAddress:
        """Where the admin of that system is."""
        check_directory(capabilities[DIRECTORY])
        return address_of(ADMIN, capabilities[DIRECTORY])

    @staticmethod
    def getConventionAddress(_capabilities: dict[str, Any]) -> None:
        """There is no convention of several systems."""

    @staticmethod
    def getAddressFromString(spec: str, **_: Any) -> ActorAddress:
        """The address with that path."""
        return ActorAddress(BusAddress(spec))

    @staticmethod
    def probeAdmin(admin: ActorAddress) -> bool:
        """Whether the admin is there."""
        return alive(path_of(admin))

    def external_transport_clone(self) -> BusTransport:
        """A further endpoint for the app."""
        clone = BusTransport(self._adminAddr)
        clone.tree_end = self.tree_end
        return clone

    def prepEndpoint(self, actor: ActorAddress, _capabilities: dict[str, Any]) -> _Endpoint:
        """What a child at ``actor`` needs."""
        local = isinstance(actor.addressDetails, ActorLocalAddress)
        instance = actor.addressDetails.addressInstanceNum if local else None
        return _Endpoint(instance, None if local else actor, self.myAddress, self._adminAddr)

    def connectEndpoint(self, _endpoint: _Endpoint) -> None:
        """Nothing to do: there are no connections."""

    def protectedFileNumList(self) -> list[int]:
        """Descriptors that must stay open."""
        return [self.mailbox.fileno(), self._wake_r, self._wake_w]

    def childResetFileNumList(self) -> list[int]:
        """None: :func:`_in_child` has closed them."""
        return []

    def deadAddress(self, _manager: Any, _address: ActorAddress) -> None:
        """Not remembered: the kernel knows who is alive, and names are reborn."""

    @property
    def mailbox(self) -> Mailbox:
        """This process's own. :raises NotRunning: it is closed."""
        if self._mailbox is None:
            raise NotRunning("the actor bus is closed")
        return self._mailbox

    def close(self) -> None:
        """Close the mailbox and the pipe."""
        if self._mailbox is not None:
            self._mailbox.close()
            self._drop()

    def _drop(self) -> None:
        self._mailbox = None
        os.close(self._wake_r)
        os.close(self._wake_w)
        self._wake_r = self._wake_w = -1  # a late signal must not write into what gets the number next

    # -- sending ---------------------------------------------------------------------------------------------------

    def tell(self, target: str, message: object) -> None:
        """Send at once; what a full target can't take yet leaves when it can."""
        if self.mailbox.send(target, message) is Sent.QUEUED:
            self._bump()

    def _canSendNow(self) -> bool:
        return True  # a full target has a backlog of its own and blocks nobody else

    def serializer(self, intent: Any) -> Datagram:
        """The message as a datagram.

        Not if it is to this actor itself: the note that a child has died before it said hello names it by an address
        that can't be pickled, and the engine would drop it; the parent would never know.
        """
        if intent.targetAddr == self.myAddress:
            return _TO_SELF
        return encode(intent.message, self.mailbox.directory)

    def _scheduleTransmitActual(self, intent: Any, has_exclusive_flag: bool = False) -> None:
        datagram: Datagram = intent.serMsg
        if datagram is _TO_SELF:
            self._received.append(ReceiveEnvelope(intent.targetAddr, intent.message))
            self._bump()
            intent.tx_done(SendStatus.Sent)
            return
        sent = self.mailbox.post(path_of(intent.targetAddr), datagram)
        if sent is Sent.QUEUED:
            self._bump()
        intent.tx_done(SendStatus.Failed if sent is Sent.REFUSED else SendStatus.Sent)

    # -- receiving -------------------------------------------------------------------------------------------------

    def _bump(self) -> None:
        with contextlib.suppress(OSError):  # full: a wake-up is pending already
            os.write(self._wake_w, b".")

    def interrupt_wait(self, signal_shutdown: bool = False, check_children: bool = False) -> None:
        """Called by signal handlers and other threads: have the loop look around."""
        self._shut_down |= signal_shutdown
        self._check_children |= check_children
        self._bump()

    def abort_run(self, drain: bool = False) -> None:
        """Leave :meth:`run`."""
        self._aborting = Thespian__Run_Terminated()

    def _runWithExpiry(self, handler: Any) -> Any:
        transmitting = handler is TransmitOnly or isinstance(handler, TransmitOnly)
        self._aborting = None
        while self._aborting is None:
            envelope = None if transmitting else self._next()
            if envelope is None:
                if transmitting and not self.mailbox.pending():
                    return 0
                left = self.run_time.view(currentTime())
                if left.expired():
                    return Thespian__Run_Expired()
                if self._wait(left.remainingSeconds()) and not self._busy():
                    return Thespian__UpdateWork()
                continue
            if handler is None:
                return envelope
            result = Thespian__Run_HandlerResult(handler(envelope))
            if not result:
                return result
        return self._aborting

    def _busy(self) -> bool:
        return bool(self._received or self._check_children or self._shut_down or self.mailbox.pending())

    def _next(self) -> Any:
        if self._check_children:
            self._check_children = False
            return ReceiveEnvelope(self.myAddress, ChildMayHaveDied())
        if self._shut_down:
            self._shut_down = False
            return ReceiveEnvelope(self.myAddress, ActorExitRequest())
        return self._received.popleft() if self._received else None

    def _wait(self, seconds: float | None) -> bool:
        """Wait for something to do, and do the bus's part of it; True if somebody bumped.

        :raises NotRunning: in the app, when every process of the system has ended.
        """
        poll = select.poll()
        poll.register(self.mailbox.fileno(), select.POLLIN)
        poll.register(self._wake_r, select.POLLIN)
        if self.tree_end >= 0:
            poll.register(self.tree_end, select.POLLIN)
        for fd in self.mailbox.pending():
            poll.register(fd, select.POLLOUT)
        bumped = False
        for fd, _ in poll.poll(None if seconds is None else max(0.0, seconds) * 1000):
            if fd == self._wake_r:
                bumped = True
                with contextlib.suppress(BlockingIOError):
                    os.read(self._wake_r, 4096)
            elif fd == self.mailbox.fileno():
                self._take()
            elif fd == self.tree_end:
                if not self._received:
                    raise NotRunning("the actor system is gone")
            else:
                self.mailbox.flush(fd)
        return bumped

    def _take(self) -> None:
        for _ in range(_BATCH):
            received = self.mailbox.receive()
            if received is None:
                return
            sender, message = received
            self._received.append(ReceiveEnvelope(ActorAddress(BusAddress(sender)), message))


def _in_child() -> None:
    """Close what a fork has copied; the mailboxes see to themselves."""
    for transport in list(_open):
        if transport._mailbox is not None:
            transport._drop()
    _open.clear()


os.register_at_fork(after_in_child=_in_child)


# -- the system base -----------------------------------------------------------------------------------------------


class ActorSystemBase(multiprocessCommon):  # type: ignore[misc]
    """What ``ActorSystem('springlineBus', …)`` looks up in this module."""

    transportType = BusTransport  # noqa: N815 - the engine's name
    mpcontext = property(lambda _self: forking.Context(), lambda _self, _value: None)

    def __init__(self, system: Any, logDefs: Any = None) -> None:
        system.capabilities.update({"Thespian ActorSystem Name": BASE, "Thespian ActorSystem Version": 1})
        self._tree: guard.Tree | None = None
        super().__init__(system, logDefs)

    def _startAdmin(self, *args: Any) -> None:
        """The engine's, with a guard around the tree, and the admin's short-lived first process seen off."""
        self._forget_tree()
        try:
            with guard.Tree() as self._tree:
                super()._startAdmin(*args)
        except BaseException:
            self._forget_tree()
            raise
        self.transport.tree_end = self._tree.end
        if forking.Popen.latest is not None:
            forking.Popen.latest.wait()

    def shutdown(self) -> None:
        """The engine's; after that every process of the tree is at its end, and the directory free again."""
        try:
            with contextlib.suppress(NotRunning):
                super().shutdown()
        finally:
            self.transport.close()
            self._forget_tree()

    def _forget_tree(self) -> None:
        tree, self._tree, self.transport.tree_end = self._tree, None, -1
        if tree is None:
            return
        if not tree.is_over(LAST_PATIENCE):
            tree.cut()
        if tree.is_over(LAST_PATIENCE):
            while alive(path_of(self.adminAddr)):  # a process that ends closes one thing after another
                time.sleep(0.0005)
        tree.close()


def _child_exited(_parent: Any, _child: ActorAddress) -> None:
    """In place of the engine's, which drops every child found dead from its list, though one alone has been told."""


MultiProcReplicator._childExited = _child_exited  # SIGCHLD keeps the list, and tells of each

sys.modules[f"thespian.system.{BASE}"] = sys.modules[__name__]  # where the engine looks for its bases


def start_system(directory: str) -> ActorSystem:
    """Start an actor system on the bus in ``directory`` (private, empty); forks, so call it before starting threads.

    Its ``shutdown()`` ends every process of it.

    :param directory: see ``wire.check_directory``.
    :raises LocalFault: it is not private, or its path is too long.
    """
    directory = os.path.realpath(directory)
    os.environ["THESPLOG_FILE"] = os.path.join(directory, "engine.log")
    return ActorSystem(BASE, {DIRECTORY: directory}, transientUnique=True)


def tree_end(system: ActorSystem) -> int:
    """A descriptor that becomes readable when the last process of the system has ended, however it ended.

    Valid until ``system.shutdown()``, which closes it.
    """
    return int(system._systemBase.transport.tree_end)

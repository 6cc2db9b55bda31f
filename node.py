"""Node: a running springline inside the core app. It starts the actor system, owns it, and ends it.

The rule: the app is no actor. It holds what must outlive every process of the tree — the lock on the data directory,
the listening socket, the cell with the data key — and hands descriptors of them down. If the whole tree is lost (its
root was killed), the node builds it again from what it holds, without a question to the user.

Open a node before starting threads or an asyncio loop: the actor system is forked from this process.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import logging
import os
import select
import shutil
import signal
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from springline.actors import bus, cell
from springline.actors.addresses import path_of
from springline.actors.cell import Passphrase, holding
from springline.actors.datagram import Fd
from springline.actors.endpoint import Client
from springline.actors.finding import Discovery
from springline.actors.keystore import KeystoreArgs
from springline.actors.lifecycle import Exiting, Ready, Start, Stop
from springline.actors.logs import FILE as LOG
from springline.actors.logs import turn_over
from springline.actors.names import registered
from springline.actors.tcp import TcpArgs
from springline.actors.unlock import Create, Unlock, Unlocker
from springline.control import Control
from springline.errors import InUse, LocalFault, Misuse, PortTaken
from springline.protocols.echo.handler import Echo
from springline.protocols.files.handler import Files
from springline.protocols.files.inbox import usable
from springline.protocols.handler import ProtocolHandler
from springline.protocols.plugins import installed
from springline.protocols.trust.handler import Trust
from springline.protocols.where.handler import Where
from springline.store import config
from springline.store.envelope import Strength
from springline.store.identity import DeviceInfo
from springline.store.layout import Layout
from springline.supervisors.asking import ROOT
from springline.supervisors.supervisor import Supervisor
from springline.supervisors.tree import NodeArgs, node_tree
from springline.transport.address import Address
from springline.transport.listening import Listener, bound

log = logging.getLogger("springline.node")

START_TIMEOUT = 30.0
"""Seconds for the whole tree to be ready; Argon2id at high strength on a slow machine takes some of them."""

MOST_KEY_LIFETIME = 36500 * 86400.0
"""Seconds: a hundred years, which any clock can tell."""

STOP_TIMEOUT = 15.0
"""Seconds for the tree to stop in order before the actor system is shut down over it."""

EVERYWHERE = "0.0.0.0"  # noqa: S104 - being reachable is the point; strangers get no answer
"""Listen on all interfaces."""

BUILT_IN = {Echo.protocol, Files.protocol, Trust.protocol, Where.protocol}
"""Protocols a node has anyway."""

Handlers = Sequence[tuple[type[ProtocolHandler], Any]]
"""Protocol handlers, and what each is begun with."""


class Node(Control):
    """A running node. Open one with :meth:`open`; it is a context manager."""

    def __init__(self, owner: _Owner) -> None:
        self._owner = owner
        super().__init__(owner.layout.root)

    @classmethod
    def create(
        cls,
        data_dir: str | os.PathLike[str],
        name: str,
        passphrase: Passphrase,
        strength: Strength = Strength.MODERATE,
    ) -> DeviceInfo:
        """Make this device's identity in ``data_dir``; once in a device's life.

        :param name: what other devices show, 1 to 64 characters.
        :param passphrase: None for none: whoever can read the data directory is this device then.
        :param strength: how hard the passphrase is to guess; moderate takes under a second.
        :raises Misuse: there is one already, or the passphrase is empty.
        """
        hard = Strength.NONE if passphrase is None else strength
        with unlocking(data_dir) as ask, holding(passphrase) as fd:
            made: DeviceInfo = ask(Create(os.fspath(Layout(data_dir).root), fd, name, hard))
            return made

    @classmethod
    def open(
        cls,
        data_dir: str | os.PathLike[str],
        passphrase: Passphrase,
        *,
        listen: str = EVERYWHERE,
        incoming: str | os.PathLike[str] | None = None,
        handlers: Handlers = (),
        discovery: Discovery | None = None,
        key_lifetime: float | None = None,
    ) -> Node:
        """Start the node of ``data_dir``; returns when it is ready.

        :param passphrase: bytes, text, or a callable that asks for it; None if there is none. A ``bytearray`` is wiped
            once it is used.
        :param listen: ``HOST`` or ``HOST:PORT``; without a port one is chosen once and kept, if the disk takes it.
        :param incoming: folder for received files; by default ``incoming`` in the data directory.
        :param handlers: protocol handlers to start with, each with what its ``begin`` gets.
        :param discovery: how devices are found beside the addresses that are known; every way if None.
        :param key_lifetime: seconds after which a key shared with a device opens nothing that has not been renewed by a
            connection; the recovery key does then. None: it never ends.
        :raises Misuse: no identity is there, ``incoming`` is no folder, or no key can serve that long.
        :raises InUse: another node runs on it. :raises WrongPassphrase: it opens nothing.
        :raises PortTaken: somebody else listens there.
        """
        layout = Layout(data_dir)
        if not layout.device.exists():
            raise Misuse(f"no identity in {layout.root}", "make one with 'springline init'")
        if key_lifetime is not None and not 0 < key_lifetime <= MOST_KEY_LIFETIME:
            raise Misuse(f"keys can't serve for {key_lifetime:g} s", "give more than 0 and at most a hundred years")
        owner = _Owner(layout)
        try:
            owner.claim()
            owner.cell = cell.cell_of(passphrase)
            owner.listen(listen)
            folder = usable(incoming) if incoming else str(layout.root / "incoming")
            owner.start(folder, handlers, discovery or Discovery(), key_lifetime)
            return cls(owner)
        except BaseException:
            owner.close()
            raise

    @staticmethod
    def attach(data_dir: str | os.PathLike[str]) -> Control:
        """Reach a node that runs in another process. :raises NotRunning: none does."""
        return Control(data_dir)

    def wait(self, timeout: float | None = None) -> bool:
        """Block until the node is lost for good (True) or ``timeout`` seconds have passed (False)."""
        return self._owner.lost.wait(timeout)

    def close(self) -> None:
        """Stop every process of the node, in order; returns when they are gone."""
        super().close()
        self._owner.close()

    def __enter__(self) -> Node:
        return self


@contextlib.contextmanager
def unlocking(data_dir: str | os.PathLike[str]) -> Iterator[Callable[..., Any]]:
    """Claim a data directory on which no node runs, to ask passing Unlockers: ``ask(body, timeout)``.

    :raises InUse: a node runs on it.
    """
    owner = _Owner(Layout(data_dir))
    try:
        owner.claim()
        yield owner.ask_unlocker
    finally:
        owner.close()


class _Owner:
    """What the app's process holds for the tree, and how it brings the tree back."""

    def __init__(self, layout: Layout) -> None:
        self.layout = layout
        self.cell = -1
        self.lost = threading.Event()
        self._listeners: list[Listener] = []
        self._lock: int | None = None
        self._directory = ""
        self._system: Any = None
        self._watcher: threading.Thread | None = None
        self._closing = threading.Event()
        self._stop_r, self._stop_w = os.pipe()

    # -- the data directory ----------------------------------------------------------------------------------------

    def claim(self) -> None:
        """Lock the data directory, make the bus's directory and start the actor system on it.

        The system is forked before there is a secret in this process, so none is inherited. The lock is inherited on
        purpose: the directory is in use until the last process of the tree has ended.
        """
        if sys.platform not in ("linux", "darwin"):
            raise LocalFault(f"springline does not run on {sys.platform}", "use Linux or macOS")
        self.layout.prepare()
        self._lock = self._open_lock()
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise InUse(f"another node is running on {self.layout.root}", "use its commands, or stop it") from None
        self._directory = self._bus_directory()
        turn_over(self._directory)
        self._system = bus.start_system(self._directory)

    def _open_lock(self) -> int:
        path = self.layout.run / "lock"
        try:
            return os.open(path, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
        except OSError as error:
            why = (error.strerror or str(error)).lower()
            raise LocalFault(f"can't use {path}: {why}", "check who owns it") from None

    def _bus_directory(self) -> str:
        """A fresh private directory with a short path, reached through the link ``run/bus``.

        A socket's path has room for about a hundred bytes, a data directory's may be longer.
        """
        link = self.layout.bus
        if link.is_symlink():
            shutil.rmtree(os.path.realpath(link), ignore_errors=True)
            link.unlink()
        directory = tempfile.mkdtemp(prefix="springline-", dir=_short_temporary())
        link.symlink_to(directory)
        return directory

    def listen(self, where: str) -> None:
        """Bind the listening sockets: one, or one of each family if it is to be everywhere."""
        kept = config.load(self.layout).port
        address = Address.parse(where) if _has_port(where) else Address(where.strip("[]"), kept or 0)
        try:
            first = bound(address)
        except OSError as error:
            if error.errno != errno.EADDRINUSE or _has_port(where):
                raise _cannot_listen(address, error) from None
            first = bound(Address(address.host, 0))
        self._listeners.append(Listener.of(first.detach()))
        port = self._listeners[0].address.port
        if address.host == EVERYWHERE:
            try:
                self._listeners.append(Listener.of(bound(Address("::", port), only_v6=True).detach()))
            except OSError as error:  # no IPv6 here, or somebody else has that port of it: IPv4 will do
                log.info("not listening on IPv6: %s", error)
        self._keep_port(port)

    def _keep_port(self, port: int) -> None:
        """Keep it for the next start, if the disk takes it: a node that has moved is found, one that is down is not."""
        try:
            config.keep_port(self.layout, port)
        except LocalFault as error:
            log.warning("the next start may listen on another port than %d, which is not kept: %s", port, error)

    # -- the tree --------------------------------------------------------------------------------------------------

    def ask_unlocker(self, body: object, timeout: float = START_TIMEOUT) -> Any:
        """Ask a passing Unlocker."""
        unlocker = path_of(self._system.createActor(Unlocker))
        client = Client(self._directory)
        try:
            return client.ask(unlocker, body, timeout)
        finally:
            client.tell(unlocker, Stop())
            client.close()

    def start(
        self, incoming: str, handlers: Handlers, discovery: Discovery, key_lifetime: float | None = None
    ) -> None:
        """Unlock the store, start the tree, watch it."""
        root = str(self.layout.root)
        self.ask_unlocker(Unlock(root, Fd(self.cell)))
        sockets = tuple(Fd(listener.sock.fileno()) for listener in self._listeners)
        tcp = TcpArgs(sockets, tuple(listener.address for listener in self._listeners))
        keystore = KeystoreArgs(root, Fd(self.cell), key_lifetime)
        self._args = NodeArgs(keystore, tcp, incoming, self._with_plugins(handlers), discovery)
        pid = self._grow()
        self._watcher = threading.Thread(target=self._watch, args=(pid,), name="node-watch", daemon=True)
        self._watcher.start()

    def _with_plugins(self, handlers: Handlers) -> Handlers:
        """The app's handlers and those of installed packages; the app's come first and win."""
        named = {handler.protocol for handler, _ in handlers} | BUILT_IN
        return (*handlers, *((handler, None) for handler in installed() if handler.protocol not in named))

    def _grow(self) -> int:
        """Start the NodeSupervisor and wait until its tree is ready; returns its pid."""
        client = Client(self._directory)
        try:
            supervisor = path_of(self._system.createActor(Supervisor))
            client.tell(supervisor, Start(ROOT, 1, node_tree(self._args), client.path))
            received = client.listen(START_TIMEOUT)
            message = received[1] if received else None
            if isinstance(message, Ready):
                return message.pid
            why = message.reason if isinstance(message, Exiting) else f"not ready in {START_TIMEOUT:g} s"
            raise LocalFault(f"the node did not start: {why}", f"see {os.path.join(self._directory, LOG)}")
        finally:
            client.close()

    def _watch(self, pid: int) -> None:
        """Grow the tree again whenever its root is gone, until told to stop or the actor system itself is gone."""
        while not self._wait_for_end(pid):
            log.error("the node's root (pid %d) is gone; growing the tree again", pid)
            self._clear()
            try:
                pid = self._grow()
            except Exception as error:  # noqa: BLE001 - the engine raises many; the node is lost whichever it was
                log.error("the node is lost: %s", error)
                self.lost.set()
                return

    def _wait_for_end(self, pid: int) -> bool:
        """Wait until that process has ended (False) or the node is being closed (True)."""
        with _process_end(pid) as ended:
            while True:
                ready, _, _ = select.select([self._stop_r, *ended], [], [], None if ended else 0.2)
                if self._stop_r in ready:
                    return True
                if ready or not _alive(pid):
                    return False

    def _clear(self, patience: float = 3.0) -> None:
        """See the remains of a dead tree off: its guards end them in milliseconds, a hung one is killed."""
        end = time.monotonic() + patience
        while rest := [entry.pid for entry in registered(self._directory) if entry.alive]:
            if time.monotonic() > end:
                for pid in rest:
                    with contextlib.suppress(ProcessLookupError):
                        os.kill(pid, signal.SIGKILL)
            time.sleep(0.005)

    def close(self) -> None:
        """Stop the tree and the actor system, and let go of everything held."""
        os.write(self._stop_w, b".")
        if self._watcher is not None:
            self._watcher.join()
            self._stop_tree()
        if self._system is not None:
            self._system.shutdown()
            shutil.rmtree(self._directory, ignore_errors=True)
            self.layout.bus.unlink(missing_ok=True)
        for listener in self._listeners:
            listener.sock.close()
        if self._lock is not None:
            fcntl.flock(self._lock, fcntl.LOCK_UN)  # closing is not enough: forked processes have it open too
            os.close(self._lock)
        if self.cell >= 0:
            os.close(self.cell)
        os.close(self._stop_r)
        os.close(self._stop_w)

    def _stop_tree(self) -> None:
        client = Client(self._directory)
        client.tell(ROOT, Stop())
        end = time.monotonic() + STOP_TIMEOUT
        while time.monotonic() < end and any(entry.alive for entry in registered(self._directory)):
            time.sleep(0.005)
        client.close()


def _short_temporary() -> str:
    """A folder for the bus's directory: the user's runtime folder if there is one with a short name."""
    own = os.environ.get("XDG_RUNTIME_DIR") or tempfile.gettempdir()
    return own if len(own) <= 32 and os.path.isdir(own) else "/tmp"  # noqa: S108 - the folder made in it is private


def _has_port(where: str) -> bool:
    return where.rpartition("]")[2].count(":") == 1


def _cannot_listen(address: Address, error: OSError) -> LocalFault:
    if error.errno == errno.EADDRINUSE:
        return PortTaken(f"somebody else listens on {address}", "choose another port")
    return LocalFault(f"can't listen on {address}: {(error.strerror or str(error)).lower()}", "check the address")


@contextlib.contextmanager
def _process_end(pid: int) -> Iterator[list[int]]:
    """A descriptor that is readable once process ``pid`` has ended, or none where there is no such thing."""
    try:
        fd = os.pidfd_open(pid)
    except (AttributeError, OSError):
        yield []
        return
    try:
        yield [fd]
    finally:
        os.close(fd)


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True

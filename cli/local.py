"""Nodes as processes of their own on this machine, for the demo, the benchmarks and the tests.

The rule: a :class:`LocalNode` is what a user starts — ``springline init``, then ``springline up`` — with everything in
one temporary folder, listening on 127.0.0.1. It ends with the program that has started it, however that ended: its
standard input does. Its processes carry a token in their environment, so that any left over can be found afterwards.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import TracebackType

from springline.control import Control
from springline.errors import LocalFault
from springline.store.envelope import Strength

TOKEN = "SPRINGLINE_TOKEN"  # noqa: S105 - it marks processes, it opens nothing
START_PATIENCE = 60.0
_CREATE = """
import sys
from collections.abc import Sequence
from pathlib import Path
from springline.node import Node
from springline.store.envelope import Strength
folder, name, passphrase, strength = sys.argv[1:]
Node.create(folder, name, Path(passphrase).read_bytes().strip(), Strength[strength])
"""
STOP_PATIENCE = 30.0
COMMAND_PATIENCE = 120.0
QUIET = ("--no-mdns", "--no-dht", "--no-port-mapping")
"""Options of a node that looks for nobody: whom it knows it reaches."""


class LocalNode:
    """One ``springline up`` process and a :class:`Control` for it; a context manager.

    :param folder: its data directory; made if it does not exist.
    :param name: the device's name.
    :param token: marks its processes, see :func:`left_over`.
    :param strength: of the passphrase's protection; tests take the least.
    :param listen: where it listens. :param prefix: what the node is started by, e.g. in a network namespace.
    :param options: further ones of ``springline up``.
    :param passphrase: one line; kept in the file ``passphrase`` in ``folder``.
    """

    def __init__(
        self,
        folder: Path,
        name: str,
        token: str,
        strength: Strength = Strength.MODERATE,
        *,
        listen: str = "127.0.0.1",
        prefix: Sequence[str] = (),
        options: Sequence[str] = QUIET,
        passphrase: str = "a passphrase for a while",  # noqa: S107 - it guards a temporary folder
    ) -> None:
        self.folder = folder
        self.name = name
        self.listen = ""
        self._strength = strength
        self.where = listen
        self.token = token
        self.prefix = prefix
        self.options = options
        # A process that sets its title would otherwise write it over the environment, and its token.
        self.environment = {**os.environ, TOKEN: token, "SPT_NOENV": "1", "PYTHONUNBUFFERED": "1"}
        self.passphrase = passphrase
        self._passphrase = folder / "passphrase"
        self._process: subprocess.Popen[str] | None = None
        self._control: Control | None = None

    @property
    def control(self) -> Control:
        """The running node. :raises LocalFault: it is not running."""
        if self._control is None:
            raise LocalFault(f"{self.name} is not running")
        return self._control

    @property
    def pid(self) -> int:
        """Process id of ``springline up``."""
        return self._process.pid if self._process else 0

    def __enter__(self) -> LocalNode:
        if not (self.folder / "device.json").exists():
            self.init()
        self.up()
        return self

    def __exit__(self, _kind: type | None, _error: BaseException | None, _trace: TracebackType | None) -> None:
        self.down()

    def run(self, *arguments: str, text: str = "") -> subprocess.CompletedProcess[str]:
        """Run one command on this node's data directory."""
        return self._finish(self._command(*arguments), text)

    def _command(self, *arguments: str) -> list[str]:
        return [sys.executable, "-m", "springline", *arguments, "--data-dir", str(self.folder)]

    def _start(self, command: Sequence[str]) -> subprocess.Popen[str]:
        pipe = subprocess.PIPE
        return subprocess.Popen(command, env=self.environment, stdin=pipe, stdout=pipe, stderr=pipe, text=True)  # noqa: S603 - our own command

    def _finish(self, command: Sequence[str], text: str = "") -> subprocess.CompletedProcess[str]:
        with self._start(command) as process:
            try:
                output, errors = process.communicate(text, timeout=COMMAND_PATIENCE)
            except BaseException:
                process.kill()
                raise
        return subprocess.CompletedProcess(command, process.returncode, output, errors)

    def init(self) -> None:
        """Make the identity."""
        self.folder.mkdir(parents=True, exist_ok=True)
        fd = os.open(self._passphrase, os.O_CREAT | os.O_WRONLY | os.O_TRUNC, 0o600)
        with os.fdopen(fd, "w") as file:
            file.write(f"{self.passphrase}\n")
        made = self._finish(
            [sys.executable, "-c", _CREATE, str(self.folder), self.name, str(self._passphrase), self._strength.name]
        )
        if made.returncode != 0:
            raise LocalFault(f"{self.name} could not be made: {made.stderr.strip()}")

    def up(self) -> None:
        """Start the node and wait for its ready line."""
        up = self._command(
            "up", "--listen", self.where, "--passphrase-file", str(self._passphrase), "--until-eof", "--json"
        )
        self._process = self._start([*self.prefix, *up, *self.options])
        assert self._process.stdout is not None  # noqa: S101 - piped above
        line = self._process.stdout.readline()
        if not line:
            _, errors = self._process.communicate(timeout=START_PATIENCE)
            raise LocalFault(f"{self.name} did not start: {errors.strip()}")
        self.listen = str(json.loads(line)["listen"])
        self._control = Control(self.folder)

    def kill(self) -> None:
        """SIGKILL for the command; what runs below it ends by itself."""
        self._forget()
        if self._process is not None:
            self._process.kill()
            self._process.communicate()
            self._process = None

    def _forget(self) -> None:
        if self._control is not None:
            self._control.close()
            self._control = None

    def down(self) -> None:
        """Stop the node as a user would, and wait until it has ended."""
        self._forget()
        if self._process is not None:
            self._process.send_signal(signal.SIGTERM)
            try:
                self._process.communicate(timeout=STOP_PATIENCE)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.communicate()
            self._process = None


@contextlib.contextmanager
def ended_in_order() -> Iterator[None]:
    """Within it, SIGTERM ends this program as Ctrl-C does: what it has begun is taken away. A second one is ignored.

    Call in the main thread. :raises SystemExit: with the exit code that shells give for it.
    """

    def told(number: int, _frame: object) -> None:
        signal.signal(number, signal.SIG_IGN)
        raise SystemExit(128 + number)

    former = signal.signal(signal.SIGTERM, told)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, former)


def left_over(token: str) -> list[int]:
    """Process ids, this process's aside, that carry ``token`` and still run."""
    mark = f"{TOKEN}={token}".encode()
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if mark in (entry / "environ").read_bytes().split(b"\0") and int(entry.name) != os.getpid():
                found.append(int(entry.name))
    return found

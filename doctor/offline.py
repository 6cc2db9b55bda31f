"""What can be looked at while no node runs: the data directory, and the port the node would listen on.

The rule: look, and change nothing; no passphrase is asked for.
"""

from __future__ import annotations

import errno
import os
import shutil
import socket
import stat
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path

from springline.doctor import advice
from springline.doctor.report import Check
from springline.errors import LocalFault, Misuse, SpringlineError
from springline.store import config
from springline.store.config import DeviceConfig
from springline.store.layout import Layout

LEAST_FREE = 64 << 20
"""Bytes free on the disk; with less there is no telling for how long the store can be written."""


def look(data_dir: str | os.PathLike[str]) -> Iterator[Check]:
    """The checks of a node that does not run. :raises Misuse: no identity was made there."""
    layout = Layout(data_dir)
    if not layout.device.exists():
        raise Misuse(f"no identity in {layout.root}", "make one with 'springline init'")
    left = "its processes were ended from outside" if layout.bus.is_symlink() else "it was stopped, or never started"
    yield Check("node", works=False, needed=True, seen=f"not running: {left}", advice="start it: springline up")
    found: list[DeviceConfig] = []
    yield _done("identity", lambda: _identity(layout, found))
    yield _done("data directory", lambda: _directory(layout))
    if found:
        yield _clock(found[0])
        if found[0].port is not None:
            yield _done("port", lambda: _port(found[0].port or 0))


def _done(what: str, work: Callable[[], str]) -> Check:
    """:param work: what was seen, if all is well; raises what is wrong."""
    try:
        return Check(what, works=True, needed=True, seen=work())
    except SpringlineError as error:
        return Check(what, works=False, needed=True, seen=error.message, advice=error.hint)
    except OSError as error:
        said = (error.strerror or str(error)).lower()
        return Check(what, works=False, needed=True, seen=said, advice="see who owns the data directory")


def _identity(layout: Layout, found: list[DeviceConfig]) -> str:
    found.append(config.load(layout))
    sealed = layout.identity(found[0].device_id)
    if not sealed.exists():
        raise LocalFault("the sealed identity is missing", "bring it back from an export: springline import")
    return f"{found[0].name}, {found[0].device_id}"


def _directory(layout: Layout) -> str:
    for folder in (layout.root, layout.network, layout.connections, layout.run):
        if folder.exists() and not os.access(folder, os.R_OK | os.W_OK | os.X_OK):
            raise LocalFault(f"{folder} can't be written", "see who owns it")
    free = shutil.disk_usage(layout.root).free
    if free < LEAST_FREE:
        raise LocalFault(f"only {free >> 20} MiB are free on the disk of {layout.root}", "make room")
    return f"{layout.root}{_open_to_others(layout.root)}, {free >> 30} GiB free"


def _open_to_others(root: Path) -> str:
    """What is worth saying of who else may look into it."""
    return " (others may look into it until 'up')" if stat.S_IMODE(root.stat().st_mode) & 0o077 else ""


def _port(port: int) -> str:
    """Whether the port that was chosen once can be bound. Nothing listens on it meanwhile."""
    with socket.socket() as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            sock.bind(("0.0.0.0", port))  # noqa: S104 - it is not listened on
        except OSError as error:
            if error.errno != errno.EADDRINUSE:
                raise
            hint = "'up' takes another one then, and other devices have to find it: stop that program first"
            raise LocalFault(f"another program has port {port}", hint) from None
    return f"{port} is free"


def _clock(found: DeviceConfig) -> Check:
    now = datetime.now(UTC)
    wrong = advice.about_clock(now, (found.created_at,))
    if wrong:
        return Check("clock", works=False, seen=wrong, advice="set the clock")
    return Check("clock", works=True, seen=f"{now.astimezone():%Y-%m-%d %H:%M:%S %Z}, which nothing contradicts")

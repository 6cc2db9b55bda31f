"""Names on the bus: who is the keystore now, and who is still alive.

The rule: a name is a symbolic link beside the sockets (``keystore → 4711.a1b2c3``), replaced by an atomic rename. The
kernel follows it when a datagram is sent, so a sender needs no registry, and an actor born again under its name is
found at once. The kernel also says who is alive: a mailbox whose process has ended refuses.
"""

from __future__ import annotations

import contextlib
import os
import socket
from dataclasses import dataclass

LOOK = 0.25
"""Seconds after which whoever waits for an answer looks whether the one asked is still alive."""


@dataclass(frozen=True, slots=True)
class Registered:
    """A name on the bus, and who has it.

    :param pid: of the process that registered, from its socket's file name.
    :param alive: whether its mailbox is open.
    """

    name: str
    path: str
    pid: int
    alive: bool


def register(directory: str, name: str, path: str) -> None:
    """Let ``name`` lead to the mailbox at ``path`` from now on, whoever had it before."""
    temporary = os.path.join(directory, f"{os.path.basename(path)}.new")
    os.symlink(os.path.basename(path), temporary)
    os.replace(temporary, os.path.join(directory, name))


def unregister(directory: str, name: str, path: str | None = None) -> None:
    """Forget ``name``; with ``path``, only if it still leads there."""
    link = os.path.join(directory, name)
    with contextlib.suppress(OSError):
        if path is None or os.readlink(link) == os.path.basename(path):
            os.unlink(link)


def incarnation(directory: str, target: str) -> str:
    """The path of the very socket that a registered name or a path leads to now."""
    path = target if "/" in target else os.path.join(directory, target)
    try:
        return os.path.join(directory, os.readlink(path))
    except OSError:
        return path


def is_registered(directory: str, name: str) -> bool:
    """Whether somebody has taken ``name`` and not given it back; whoever has it may be dead at the moment."""
    return os.path.islink(os.path.join(directory, name))


def registered(directory: str) -> list[Registered]:
    """Every name on the bus, in order; none if there is no such directory."""
    found = []
    with contextlib.suppress(FileNotFoundError):
        for name in sorted(os.listdir(directory)):
            with contextlib.suppress(OSError):
                target = os.readlink(os.path.join(directory, name))
                pid = target.partition(".")[0]
                if pid.isdigit() and not name.endswith(".new"):
                    path = os.path.join(directory, target)
                    found.append(Registered(name, path, int(pid), alive(path)))
    return found


def alive(path: str) -> bool:
    """Whether somebody has the mailbox at ``path`` open."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(path)
        except OSError:
            return False
        return True


def sweep(directory: str, pid: int) -> None:
    """Remove the sockets a dead process has left behind; its names stay until somebody takes them."""
    with contextlib.suppress(FileNotFoundError):
        for name in os.listdir(directory):
            if name.startswith(f"{pid}."):
                with contextlib.suppress(OSError):
                    os.unlink(os.path.join(directory, name))

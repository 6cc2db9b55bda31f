"""Who and what the store's tests are about: devices made from numbers, and system calls that stop or fail in turn."""

from __future__ import annotations

import os
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

from springline.store import atomic, opening
from springline.store.atomic import Calls
from springline.store.devices import PairedDevice
from springline.store.envelope import Strength
from springline.store.identity import DeviceInfo, NetworkIdentity
from springline.store.layout import Layout
from springline.store.vault import Vault

PASSPHRASE = b"correct horse battery staple"
NOW = datetime(2026, 1, 2, 3, 4, 5, 678901, tzinfo=UTC)
LATER = NOW + timedelta(days=1)


def identity(number: int) -> NetworkIdentity:
    """The private side of the device with that number."""
    return NetworkIdentity(number.to_bytes(32, "big"), (number + 1000).to_bytes(32, "big"))


def info(number: int, name: str = "") -> DeviceInfo:
    """The public side of the device with that number."""
    return identity(number).info(name or f"device {number}")


def key(number: int) -> bytes:
    """A relationship key."""
    return number.to_bytes(32, "little")


def new_vault(folder: Path) -> Vault:
    """A store nobody has written to yet."""
    return opening.create(Layout(folder), PASSPHRASE, "anchor", Strength.MINIMAL, NOW)


def reopened(vault: Vault) -> Vault:
    """The same store, as another process finds it."""
    return opening.unlock_with(vault.layout, vault.data_key)


ONE, TWO = info(1).device_id, info(2).device_id
HERE, THERE = "10.0.0.1:7000", "host-of-a-friend.example:7001"


def pair(vault: Vault, number: int, secret: int | None = None, *addresses: str) -> PairedDevice:
    """Pair the device with that number."""
    return vault.pair(info(number), key(number if secret is None else secret), addresses, NOW)


def folder_of(vault: Vault, peer: UUID) -> Path:
    """The folder that appears for a peer, without asking the vault for its keys."""
    return vault.layout.connection(vault._data_key, peer)


def damage(path: Path, at: int = -1) -> None:
    """Flip one bit."""
    data = bytearray(path.read_bytes())
    data[at] ^= 1
    path.write_bytes(data)


def files(folder: Path) -> dict[str, bytes]:
    """Every file below ``folder``."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


class Stopped(BaseException):
    """The process is gone: nothing of it runs any more, no ``except OSError`` either."""


class InTurn:
    """Lets ``count`` system calls through, then does ``then`` at the next one; after that all go through again.

    A write that is stopped has written half of its data before, as a torn one would.
    """

    def __init__(self, count: int, then: Callable[[], None]) -> None:
        self.left = count
        self.then = then
        self.happened = False

    def calls(self) -> Calls:
        plain = Calls()
        return Calls(**{name: self._watched(name, getattr(plain, name)) for name in vars(plain)})

    def _watched(self, name: str, call: Callable[..., Any]) -> Callable[..., Any]:
        def watched(*args: Any) -> Any:
            self.left -= 1
            if self.left == -1:
                self.happened = True
                if name == "write":
                    os.write(args[0], bytes(args[1])[: len(args[1]) // 2])
                self.then()
            return call(*args)

        return watched


def stop() -> None:
    """End of the world."""
    raise Stopped


def interrupted(action: Callable[[], object], count: int, then: Callable[[], None] = stop) -> bool:
    """Run ``action`` and let ``then`` happen instead of its system call number ``count``; False if it has fewer."""
    turn = InTurn(count, then)
    plain, atomic.calls = atomic.calls, turn.calls()
    try:
        action()
    except Stopped:
        pass
    finally:
        atomic.calls = plain
    return turn.happened

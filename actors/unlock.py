"""Unlocker: opens, or first makes, the store before a node starts; then it is gone.

The rule: a wrong passphrase is the user's to hear, at once and by name, not a supervisor's to restart. So a node asks
this actor once before it starts its tree. What it leaves behind is the secret cell, which from then on holds the unlock
key instead of the passphrase.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime

from springline.actors import cell
from springline.actors.shell import Sender, Shell, receives
from springline.actors.wire import Fd
from springline.store.envelope import Strength
from springline.store.identity import DeviceInfo
from springline.store.layout import Layout
from springline.store.vault import Vault


@dataclass(frozen=True, slots=True)
class Unlock:
    """Open the store with what the cell holds. → ``DeviceInfo``."""

    data_dir: str
    cell: Fd


@dataclass(frozen=True, slots=True)
class Create:
    """Make a new identity, sealed with the passphrase in the cell. → ``DeviceInfo``."""

    data_dir: str
    cell: Fd
    name: str
    strength: Strength


class Unlocker(Shell):
    """Answers one :class:`Unlock` or :class:`Create`."""

    @receives(Unlock)
    def unlock(self, message: Unlock, sender: Sender) -> DeviceInfo:
        """Derive the key, leave it in the cell."""
        layout, fd = Layout(message.data_dir), message.cell.fileno()
        key = cell.key_in(fd)
        vault = Vault.unlock_with(layout, key) if key else Vault.unlock(layout, cell.passphrase_in(fd) or b"")
        if key is None:
            cell.keep_key(fd, vault.unlock_key)
        return vault.identity.info(vault.config.name)

    @receives(Create)
    def create(self, message: Create, sender: Sender) -> DeviceInfo:
        """Make the identity and write it."""
        passphrase = cell.passphrase_in(message.cell.fileno()) or b""
        now = datetime.now(UTC)
        vault = Vault.create(Layout(message.data_dir), passphrase, message.name, message.strength, now)
        cell.keep_key(message.cell.fileno(), vault.unlock_key)
        return vault.identity.info(vault.config.name)

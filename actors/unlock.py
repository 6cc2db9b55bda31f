"""Unlocker: opens, or first makes, the store before a node starts; then it is gone.

The rule: a wrong passphrase is the user's to hear, at once and by name, not a supervisor's to restart. So a node asks
this actor once before it starts its tree. What it leaves behind is the secret cell, which from then on holds the
data key instead of the passphrase.
"""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from datetime import UTC, datetime

from springline.actors import cell
from springline.actors.datagram import Fd
from springline.actors.keeping import ReadAudit, VerifyAudit
from springline.actors.recordkeeping import write_down
from springline.actors.shell import Sender, Shell, receives
from springline.actors.upkeep import AUDITED, Request, perform, secret
from springline.store import moving, opening, seed
from springline.store.audit import AuditLog
from springline.store.chain import Entry, Verdict
from springline.store.envelope import Strength
from springline.store.identity import DeviceInfo
from springline.store.layout import Layout


@dataclass(frozen=True, slots=True)
class Unlock:
    """Open the store with what the cell holds. → ``DeviceInfo``."""

    data_dir: str
    cell: Fd


@dataclass(frozen=True, slots=True)
class Upkeep:
    """Open the store and do what a running Keystore would be asked for. → what that answers.

    :param body: a ``CheckPassphrase``, ``ChangePassphrase`` or ``Export``.
    """

    data_dir: str
    body: Request


@dataclass(frozen=True, slots=True)
class Inspect:
    """Open the store with the passphrase in the cell and look at its audit trail. → what the question is answered."""

    data_dir: str
    cell: Fd
    question: ReadAudit | VerifyAudit


@dataclass(frozen=True, slots=True)
class Import:
    """Make a store of an exported identity. → ``DeviceInfo``.

    :param passphrase: a cell with the exported file's. :param cell: one with the new store's.
    :param seed: the file is of the former program's format (``store/seed.py``).
    """

    data_dir: str
    sealed: bytes
    passphrase: Fd
    cell: Fd
    name: str
    strength: Strength
    seed: bool = False


@dataclass(frozen=True, slots=True)
class Create:
    """Make a new identity, sealed with the passphrase in the cell. → ``DeviceInfo``."""

    data_dir: str
    cell: Fd
    name: str
    strength: Strength


class Unlocker(Shell):
    """Answers one :class:`Unlock`, :class:`Create`, :class:`Upkeep`, :class:`Inspect` or :class:`Import`."""

    @receives(Unlock)
    def unlock(self, message: Unlock, sender: Sender) -> DeviceInfo:
        """Derive the key, leave it in the cell."""
        layout, fd = Layout(message.data_dir), message.cell.fileno()
        key = cell.key_in(fd)
        vault = opening.unlock_with(layout, key) if key else opening.unlock(layout, cell.passphrase_in(fd) or b"")
        if key is None:
            cell.keep_key(fd, vault.data_key)
        write_down(vault, datetime.now(UTC))
        return vault.identity.info(vault.config.name)

    @receives(Create)
    def create(self, message: Create, sender: Sender) -> DeviceInfo:
        """Make the identity and write it."""
        layout, passphrase = Layout(message.data_dir), secret(message.cell)
        vault = opening.create(layout, passphrase, message.name, message.strength, datetime.now(UTC))
        write_down(vault, datetime.now(UTC), "identity made", str(vault.identity.device_id))
        return vault.identity.info(vault.config.name)

    @receives(Upkeep)
    def upkeep(self, message: Upkeep, sender: Sender) -> object:
        """Open with the present passphrase, which is a check at once."""
        vault = opening.unlock(Layout(message.data_dir), secret(message.body.present))
        done = perform(vault, message.body, datetime.now(UTC))
        write_down(vault, datetime.now(UTC), AUDITED.get(type(message.body), ""), "while no node ran")
        return done

    @receives(Inspect)
    def inspect(self, message: Inspect, sender: Sender) -> list[Entry] | Verdict:
        """What a running Keystore would be asked for."""
        vault, now = opening.unlock(Layout(message.data_dir), secret(message.cell)), datetime.now(UTC)
        with contextlib.closing(AuditLog(vault.layout.audit, vault.data_key, now)) as trail:
            if isinstance(message.question, VerifyAudit):
                return trail.verify()
            return trail.entries(message.question.limit, device=message.question.device)

    @receives(Import)
    def take_in(self, message: Import, sender: Sender) -> DeviceInfo:
        """Open what was exported, and write it."""
        passphrase = secret(message.passphrase)
        if message.seed:
            moved: moving.Moved = seed.opened(message.sealed, passphrase, datetime.now(UTC))
        else:
            moved = moving.opened(message.sealed, passphrase)
        layout = Layout(message.data_dir)
        vault = moving.settle(layout, moved, secret(message.cell), message.strength, message.name)
        write_down(vault, datetime.now(UTC), "identity imported", str(vault.identity.device_id))
        return vault.identity.info(vault.config.name)

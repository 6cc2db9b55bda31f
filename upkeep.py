"""The passphrase of a store, and its move to another disk: asked of the running node, or done while none runs.

The rule: secrets go from the user into cells (``actors/cell.py``) and nowhere else in this process; what is done with
them is done by the Keystore of the running node or, if there is none, by a passing Unlocker. Both want the store's
present passphrase first.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator
from typing import Any

from springline.actors.cell import Passphrase, holding
from springline.actors.keeping import ChangePassphrase, CheckPassphrase, Export, ReadAudit, VerifyAudit
from springline.actors.messages import KEYSTORE
from springline.actors.unlock import Import, Inspect, Upkeep
from springline.actors.upkeep import Request
from springline.control import Control
from springline.errors import Misuse, NotRunning
from springline.node import unlocking
from springline.store import config
from springline.store.envelope import Strength
from springline.store.identity import DeviceInfo
from springline.store.layout import Layout
from springline.store.moving import Exported

PATIENCE = 60.0
"""Seconds; Argon2id at high strength on a slow machine takes some of them."""

MOST_PATIENCE = 600.0
"""Seconds to write an imported store: two files for each device, each written durably."""

Path = str | os.PathLike[str]


def check_passphrase(data_dir: Path, passphrase: Passphrase) -> None:
    """:raises WrongPassphrase: it is not that of the store. :raises Misuse: there is no identity."""
    with _asking(data_dir) as ask, holding(passphrase) as present:
        ask(CheckPassphrase(present))


def change_passphrase(data_dir: Path, present: Passphrase, new: Passphrase) -> None:
    """Lock the store with another passphrase; a node that runs is not disturbed.

    :param present: None if there is none. :param new: None if there is to be none.
    :raises WrongPassphrase: it is not the present one. :raises Misuse: there is no identity, or the new one is empty.
    :raises LocalFault: it could not be written; the present one counts.
    """
    with _asking(data_dir) as ask, holding(present) as old, holding(new) as other:
        ask(ChangePassphrase(old, other))


def export_identity(data_dir: Path, present: Passphrase, passphrase: Passphrase) -> Exported:
    """This device's identity, its paired devices and their keys, sealed with a passphrase of its own.

    :raises WrongPassphrase: ``present`` is not the store's. :raises Misuse: there is no identity.
    """
    with _asking(data_dir) as ask, holding(present) as old, holding(passphrase) as other:
        made: Exported = ask(Export(old, other))
        return made


def import_identity(
    data_dir: Path,
    sealed: bytes,
    exported_with: Passphrase,
    passphrase: Passphrase,
    name: str = "",
    strength: Strength = Strength.MODERATE,
    *,
    seed: bool = False,
) -> DeviceInfo:
    """Make a store of an exported identity, where there is none.

    :param passphrase: the new store's; None for none. :param name: by default the one it had.
    :param seed: the file is of the former program's format: its identity is replaced by a new one, which remembers
        whom it was paired with.
    :raises Misuse: there is an identity. :raises WrongPassphrase: it was not exported with that.
    :raises Damaged: the file is, or is none. :raises Newer: it is of a newer version.
    """
    layout = Layout(data_dir)
    if layout.device.exists():
        raise Misuse(f"there is an identity in {layout.root} already", "choose another --data-dir")
    hard = Strength.NONE if passphrase is None else strength
    with unlocking(data_dir) as ask, holding(exported_with) as opens, holding(passphrase) as fd:
        made: DeviceInfo = ask(Import(os.fspath(layout.root), sealed, opens, fd, name, hard, seed), MOST_PATIENCE)
        return made


def inspect_audit(data_dir: Path, passphrase: Passphrase, question: ReadAudit | VerifyAudit) -> Any:
    """Ask about the audit trail; the passphrase is asked for only if no node runs.

    :raises WrongPassphrase: it is not the store's. :raises Misuse: there is no identity.
    """
    layout = Layout(data_dir)
    config.load(layout)
    try:
        with Control(data_dir) as node:
            return node.ask(KEYSTORE, question, PATIENCE)
    except NotRunning:
        with unlocking(data_dir) as ask, holding(passphrase) as fd:
            return ask(Inspect(os.fspath(layout.root), fd, question), PATIENCE)


@contextlib.contextmanager
def _asking(data_dir: Path) -> Iterator[Callable[[Request], Any]]:
    """Something to put a request to: the running node's Keystore, or a passing Unlocker."""
    layout = Layout(data_dir)
    config.load(layout)
    try:
        node = Control(data_dir)
    except NotRunning:
        with unlocking(data_dir) as ask:
            yield lambda request: ask(Upkeep(os.fspath(layout.root), request), PATIENCE)
        return
    with node:
        yield lambda request: node.ask(KEYSTORE, request, PATIENCE)

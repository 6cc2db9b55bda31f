"""What is done to an open store besides its daily work: another passphrase, a copy to move with.

The rule: a running Keystore and, while no node runs, a passing Unlocker do the same, in the same words.
"""

from __future__ import annotations

from datetime import datetime

from springline.actors import cell
from springline.actors.datagram import Fd
from springline.actors.keeping import ChangePassphrase, CheckPassphrase, Export
from springline.store import moving, opening
from springline.store.envelope import Strength
from springline.store.moving import Exported
from springline.store.vault import Vault

Request = CheckPassphrase | ChangePassphrase | Export

AUDITED: dict[type, str] = {ChangePassphrase: "passphrase changed", Export: "identity exported"}
"""What the audit trail calls them."""


def secret(fd: Fd) -> bytes:
    """The passphrase in a cell; empty if there is none."""
    return cell.passphrase_in(fd.fileno()) or b""


def checked(vault: Vault, request: Request, now: datetime) -> Exported | None:
    """Do it if the present passphrase is right. :raises WrongPassphrase: it is not; what it takes to find out is done.

    :raises LocalFault: it could not be written; nothing has changed.
    """
    opening.check(vault, secret(request.present))
    return perform(vault, request, now)


def perform(vault: Vault, request: Request, now: datetime) -> Exported | None:
    """Do it; the present passphrase is known to be right."""
    match request:
        case ChangePassphrase(new=new):
            passphrase = secret(new)
            opening.change(vault, passphrase, None if passphrase else Strength.NONE)
        case Export(passphrase=fd):
            return moving.export(vault, secret(fd), now)
        case CheckPassphrase():
            pass
    return None

"""What is said to the Keystore and to the approvals about trust, beside a link's life (``actors/messages.py``).

The rule is the same: frozen, typed, picklable, one thing each.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from uuid import UUID

from springline.actors.datagram import Fd

APPROVALS = "approvals"
"""The bus name of the actor that keeps what waits for the user's word."""

# -- revocations: between the handler of ``trust`` and the Keystore --------------------------------------------------


@dataclass(frozen=True, slots=True)
class KnownFacts:
    """→ ``tuple[bytes, ...]``: the ids of all facts that need not be told to this device."""


@dataclass(frozen=True, slots=True)
class Untold:
    """Who lacks a fact? → ``tuple[UUID, ...]``: those of the trusted devices."""


@dataclass(frozen=True, slots=True)
class FactsFor:
    """What has this device not acknowledged? → ``tuple[bytes, ...]``, at most ``most`` facts; ``Refused`` if it is
    not trusted."""

    device: UUID
    most: int


@dataclass(frozen=True, slots=True)
class TakeFacts:
    """This device tells these facts. → ``tuple[bytes, ...]``: the ids of those known now; ``Refused`` if the device is
    not trusted, ``Malformed`` if one is no fact."""

    device: UUID
    facts: tuple[bytes, ...]


@dataclass(frozen=True, slots=True)
class FactsAcked:
    """This device has these facts. → None.

    :param all_of_them: and no others.
    """

    device: UUID
    ids: tuple[bytes, ...]
    all_of_them: bool = False


@dataclass(frozen=True, slots=True)
class FactsChanged:
    """Keystore to the handler of ``trust``: there is something that others do not know yet."""


@dataclass(frozen=True, slots=True)
class RevocationSpread:
    """Who knows of revocations? → ``dict[UUID, tuple[int, int]]``: by revoked device, how many of the trusted devices
    know, and how many there are."""


@dataclass(frozen=True, slots=True)
class ListKnownBefore:
    """Who was known under a former program's identity, and is to be paired again? → ``tuple[KnownBefore, ...]``."""


# -- approvals -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class WantApproval:
    """Connection to approvals: a device that is only verified wants something sensitive.

    → None once the user has said yes; ``Refused`` if not, or not in time.

    :param what: what the handler would do, for the user's eyes. :param token: the same for the same request.
    """

    device: UUID
    protocol: str
    what: str
    token: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class UnusedApproval:
    """Connection to approvals: the link was lost before the yes to this could be used; it may be asked for again."""

    request: WantApproval


@dataclass(frozen=True, slots=True)
class PendingApproval:
    """What waits for the user's word, until ``expires_at``."""

    id: str
    device: UUID
    protocol: str
    what: str
    expires_at: datetime


@dataclass(frozen=True, slots=True)
class ListApprovals:
    """→ ``tuple[PendingApproval, ...]``, oldest first."""


@dataclass(frozen=True, slots=True)
class Decide:
    """The user's word. → the ``PendingApproval`` it was about; ``Misuse`` if none has that id (any more)."""

    id: str
    yes: bool


# -- the audit trail -------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Audit:
    """To the Keystore, told: put this into the audit trail.

    :param kind: what kind of thing has happened, e.g. ``pairing failed``. :param device: whom it is about, if known.
    """

    kind: str
    device: UUID | None
    detail: str


@dataclass(frozen=True, slots=True)
class ReadAudit:
    """→ ``list[Entry]``: at most so many of the latest entries, newest first; about that device, if one is given."""

    limit: int
    device: UUID | None = None


@dataclass(frozen=True, slots=True)
class VerifyAudit:
    """Is all of it there, and as it was written? → ``Verdict``."""


# -- sessions that were --------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class SessionNoted:
    """Connection to Keystore, told: a session is up; and the same again, with the rest, once it has ended.

    :param dialled: by this device. :param remote: where the other end is. :param ended: None while it is up.
    :param received, sent: bytes on the wire; 0 if they are not known.
    """

    device: UUID
    began: datetime
    dialled: bool
    remote: str
    ended: datetime | None = None
    reason: str = ""
    received: int = 0
    sent: int = 0


@dataclass(frozen=True, slots=True)
class ReadHistory:
    """→ ``list[Session]``: the device's sessions that have ended, newest first."""

    device: UUID


# -- the passphrase, and moving away ---------------------------------------------------------------------------------
#
# Each names the store's present passphrase, in a secret cell: having the node's user id is not enough for what outlives
# the node. An empty cell stands for no passphrase. ``WrongPassphrase`` if it is not the one.


@dataclass(frozen=True, slots=True)
class CheckPassphrase:
    """Is it this one? → None."""

    present: Fd


@dataclass(frozen=True, slots=True)
class ChangePassphrase:
    """From now on it is the one in the cell ``new``; if that is empty, there is none. → None."""

    present: Fd
    new: Fd


@dataclass(frozen=True, slots=True)
class Export:
    """This device's identity, sealed with another passphrase. → ``store.moving.Exported``.

    :param passphrase: a cell with that.
    """

    present: Fd
    passphrase: Fd

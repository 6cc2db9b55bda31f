"""Keystore: the only process that holds long-term secrets.

The rule: others bring bytes and get bytes back. It does the static-key part of every handshake, signs and commits
pairings, and reads and writes everything that is sealed at rest. No long-term key ever leaves it; what leaves are the
keys of one session.
"""

from __future__ import annotations

import contextlib
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from uuid import UUID

from nacl.bindings import crypto_scalarmult

from springline.actors import cell, hardening
from springline.actors.datagram import Fd
from springline.actors.doorkeeper import Doorkeeper
from springline.actors.finding import Announcement, AnswersAt, FindingKeys, Lookout, SealRecords
from springline.actors.findkeeping import Findkeeper
from springline.actors.inviting import BeginPairing, CommitPairing, PairingStep, PairingStepped, SignPairing
from springline.actors.keeping import (
    Audit,
    ChangePassphrase,
    CheckPassphrase,
    Export,
    FactsAcked,
    FactsFor,
    KnownFacts,
    ListKnownBefore,
    ReadAudit,
    ReadHistory,
    RevocationSpread,
    SessionNoted,
    TakeFacts,
    Untold,
    VerifyAudit,
)
from springline.actors.messages import (
    Answered,
    AnswerHandshake,
    Authenticated,
    BeginHandshake,
    Begun,
    Confirmed,
    Contact,
    FinishHandshake,
    HowTuned,
    ListDevices,
    RecoverHandshake,
    RotateKeys,
    SawAt,
    SetAutoConnect,
    SetTrust,
    Tuned,
    TuneLink,
    WhoAmI,
    connection_name,
)
from springline.actors.recordkeeping import Due, Recordkeeper, Turn
from springline.actors.rotation import Rotation
from springline.actors.shell import LATER, Sender, Shell, receives
from springline.actors.trustkeeping import TrustDue, Trustkeeper
from springline.actors.upkeep import AUDITED, Request, checked
from springline.errors import LocalFault, Malformed, Misuse, UnknownDevice, WrongPassphrase
from springline.store import opening
from springline.store.before import KnownBefore
from springline.store.devices import PairedDevice
from springline.store.history import Session
from springline.store.identity import PAIRING_CONTEXT, DeviceInfo
from springline.store.layout import Layout
from springline.store.moving import Exported
from springline.store.preferences import Tuning
from springline.store.sessions import relationship_key
from springline.transport.address import Address

log = logging.getLogger("springline.keystore")

SAVE_AFTER = 30.0
"""Seconds that a device's last sighting may be unwritten."""


class _Save:
    """Time to write the sightings."""


@dataclass(frozen=True, slots=True)
class KeystoreArgs:
    """Where the store is, and the cell that opens it.

    :param data_dir: path of the data directory.
    :param cell: descriptor of a secret cell (``actors/cell.py``). :param key_lifetime: as of ``Rotation``.
    """

    data_dir: str
    cell: Fd
    key_lifetime: float | None = None


class Keystore(Shell):
    """Answers the handshake, pairing and device messages of ``actors/messages.py``."""

    def start(self, args: KeystoreArgs) -> None:
        """Open the store with what the cell holds."""
        layout = Layout(args.data_dir)
        key = cell.key_in(args.cell.fileno())
        if key is None:
            passphrase = cell.passphrase_in(args.cell.fileno())
            self._vault = opening.unlock(layout, passphrase or b"")
            cell.keep_key(args.cell.fileno(), self._vault.data_key)
        else:
            self._vault = opening.unlock_with(layout, key)
        hardening.keep_in_memory()
        self._sightings: dict[UUID, datetime] = {}
        self._records = Recordkeeper(self._vault, self.tell, self.wake, _now)
        self._note = self._records.note
        self._rotation = Rotation(self._vault, self._note, args.key_lifetime)
        self._doorkeeper = Doorkeeper(self._vault, self._rotation, time.time())
        self._trust = Trustkeeper(self._vault, self.tell, self.wake, self._note)
        self._trust.look(_now())
        self._finding = Findkeeper(self._vault)

    @receives(Audit)
    def audit(self, message: Audit, sender: Sender) -> None:
        """Somebody reports what the audit trail is to hold."""
        self._note(message.kind, message.device, message.detail)

    @receives(ReadAudit, VerifyAudit)
    def ask_audit(self, message: ReadAudit | VerifyAudit, sender: Sender) -> object:
        """What has happened, or whether the trail is whole; answered in turns."""
        self._records.answer(message, sender)
        return LATER

    @receives(SessionNoted)
    def session_noted(self, message: SessionNoted, sender: Sender) -> None:
        """A session is up, or has ended."""
        self._records.session(message, sender.path)

    @receives(ReadHistory)
    def read_history(self, message: ReadHistory, sender: Sender) -> list[Session]:
        """A device's ended sessions."""
        return self._records.history(message.device)

    @receives(Due)
    def records_due(self, message: Due, sender: Sender) -> None:
        """Something is to be written, or tidied up."""
        self._records.due(message)

    @receives(Turn)
    def records_turn(self, message: Turn, sender: Sender) -> None:
        """What takes long goes on."""
        self._records.turn(message)

    @receives(CheckPassphrase, ChangePassphrase, Export)
    def upkeep(self, message: Request, sender: Sender) -> Exported | None:
        """Another passphrase, or a copy to move with; handshakes wait for as long as the passphrase takes."""
        try:
            answer = checked(self._vault, message, _now())
        except WrongPassphrase:
            self._note("wrong passphrase", None, type(message).__name__)
            raise
        if type(message) in AUDITED:
            self._note(AUDITED[type(message)], None, "")
        return answer

    # -- who is who ------------------------------------------------------------------------------------------------

    @receives(WhoAmI)
    def who_am_i(self, message: WhoAmI, sender: Sender) -> DeviceInfo:
        """The public side of this device."""
        return self._vault.identity.info(self._vault.config.name)

    @receives(ListDevices)
    def list_devices(self, message: ListDevices, sender: Sender) -> tuple[PairedDevice, ...]:
        """Every paired device, revoked ones included."""
        return tuple(self._vault.devices())

    @receives(Contact)
    def contact(self, message: Contact, sender: Sender) -> tuple[Address, ...]:
        """The device's known addresses, last good first."""
        self._device(message.device)
        known = []
        for text in self._vault.preferences(message.device).known_addresses:
            with contextlib.suppress(Malformed):  # what a peer once claimed must not keep it from being dialled
                known.append(Address.parse_untrusted(text))
        return tuple(known)

    @receives(SawAt)
    def saw_at(self, message: SawAt, sender: Sender) -> None:
        """Remember where the device can be dialled, and that it was there.

        The second is written later, several at a time: a device that comes and goes must not keep a disk busy, and a
        handshake must not wait for it.
        """
        if message.address is not None:
            self._keep_address(self._vault.remember_address, message.device, message.address)
        if not self._sightings:
            self.wake(SAVE_AFTER, _Save())
        self._sightings[message.device] = _now()

    @receives(HowTuned)
    def how_tuned(self, message: HowTuned, sender: Sender) -> Tuning:
        """How eagerly the link to a device is kept up."""
        self._device(message.device)
        return self._vault.preferences(message.device).tuning

    @receives(TuneLink)
    def tune_link(self, message: TuneLink, sender: Sender) -> Tuning:
        """The user wants it otherwise: first it is kept, then its connection hears of it."""
        self._vault.welcome(message.device, _now())
        chosen = {"keepalive": message.keepalive, "retry_first": message.retry_first, "retry_cap": message.retry_cap}
        present = self._vault.preferences(message.device)
        tuning = replace(present.tuning, **{name: value for name, value in chosen.items() if value is not None})
        self._vault.save_preferences(message.device, present.tuned(tuning))
        self.tell(connection_name(message.device), Tuned(tuning))
        return tuning

    @receives(AnswersAt)
    def answers_at(self, message: AnswersAt, sender: Sender) -> None:
        """Remember where the device can be dialled, too."""
        self._keep_address(self._vault.add_address, message.device, message.address)

    def _keep_address(self, keep: Callable[[UUID, str], None], device: UUID, address: Address) -> None:
        try:
            keep(device, str(address))
        except LocalFault as error:
            log.warning("where a device answers is not kept: %s", error)

    @receives(_Save)
    def save_due(self, message: _Save, sender: Sender) -> None:
        """Write the sightings; what a disk refuses, later."""
        self._save()
        if self._sightings:
            self.wake(SAVE_AFTER, _Save())

    def _save(self) -> None:
        try:
            self._vault.all_seen(self._sightings, _now())
        except LocalFault as error:
            log.warning("when devices were seen is not kept yet: %s", error)
        else:
            self._sightings = {}

    def stop(self) -> None:
        """Write what is not written yet."""
        self._save()
        self._records.stop()

    @receives(SetAutoConnect)
    def set_auto_connect(self, message: SetAutoConnect, sender: Sender) -> None:
        """Keep what the user wants of this link."""
        self._vault.set_auto_connect(message.device, message.wanted, _now())

    @receives(SetTrust)
    def set_trust(self, message: SetTrust, sender: Sender) -> PairedDevice:
        """Change the trust in a device."""
        self._save()  # a limit is counted from when the device was seen last
        return self._trust.set_trust(message, _now())

    @receives(TrustDue)
    def trust_due(self, message: TrustDue, sender: Sender) -> None:
        """Somebody's trust may end now; who was seen since is written down first."""
        self._save()
        self._trust.due(message, _now())

    @receives(KnownFacts)
    def known_facts(self, message: KnownFacts, sender: Sender) -> tuple[bytes, ...]:
        """Which revocations need not be told to us."""
        return self._vault.known_facts()

    @receives(Untold)
    def untold(self, message: Untold, sender: Sender) -> tuple[UUID, ...]:
        """Which devices do not know of all revocations."""
        return self._vault.untold()

    @receives(FactsFor)
    def facts_for(self, message: FactsFor, sender: Sender) -> tuple[bytes, ...]:
        """Which revocations a device does not know."""
        return self._trust.facts_for(message, _now())

    @receives(TakeFacts)
    def take_facts(self, message: TakeFacts, sender: Sender) -> tuple[bytes, ...]:
        """Revocations that a device tells."""
        return self._trust.take(message, _now())

    @receives(FactsAcked)
    def facts_acked(self, message: FactsAcked, sender: Sender) -> None:
        """Revocations that a device knows."""
        self._trust.acked(message, _now())

    @receives(RevocationSpread)
    def revocation_spread(self, message: RevocationSpread, sender: Sender) -> dict[UUID, tuple[int, int]]:
        """How many know of which revocation."""
        return self._vault.spread()

    @receives(ListKnownBefore)
    def known_before(self, message: ListKnownBefore, sender: Sender) -> tuple[KnownBefore, ...]:
        """Whom to pair again."""
        return self._vault.known_before()

    def _device(self, device: UUID) -> PairedDevice:
        found = self._vault.device(device)
        if found is None:
            raise UnknownDevice(f"no device {device} is paired")
        return found

    # -- find ------------------------------------------------------------------------------------------------------

    @receives(FindingKeys)
    def finding_keys(self, message: FindingKeys, sender: Sender) -> tuple[Lookout, ...]:
        """What to look out for."""
        return self._finding.lookouts(message, _now())

    @receives(SealRecords)
    def seal_records(self, message: SealRecords, sender: Sender) -> tuple[Announcement, ...]:
        """Where this device is, for these others only."""
        return self._finding.announcements(message, _now())

    # -- connect ---------------------------------------------------------------------------------------------------

    @receives(BeginHandshake)
    def begin(self, message: BeginHandshake, sender: Sender) -> Begun:
        """Noise message 1 to a device we dial."""
        return self._doorkeeper.begin(message, _now())

    @receives(RecoverHandshake)
    def recover(self, message: RecoverHandshake, sender: Sender) -> Begun | None:
        """Noise message 1 to a device that hangs up on us, if it is time for that."""
        return self._doorkeeper.recover(message, _now())

    @receives(FinishHandshake)
    def finish(self, message: FinishHandshake, sender: Sender) -> Authenticated:
        """Noise message 2 from the device we dialled."""
        return self._doorkeeper.finish(message, _now())

    @receives(AnswerHandshake)
    def answer(self, message: AnswerHandshake, sender: Sender) -> Answered:
        """Noise message 1 from a device that dials us."""
        return self._doorkeeper.answer(message, _now())

    @receives(Confirmed)
    def confirmed(self, message: Confirmed, sender: Sender) -> None:
        """A device that dialled us is who it says."""
        self._doorkeeper.confirmed(message.session, _now())

    @receives(RotateKeys)
    def rotate(self, message: RotateKeys, sender: Sender) -> bytes | None:
        """A step of rotating the relationship key."""
        self._vault.welcome(message.device, _now())
        if message.message is None:
            return self._rotation.begin(message.device, message.session)
        return self._rotation.step(message.device, message.session, message.message, _now())

    # -- pair ------------------------------------------------------------------------------------------------------

    @receives(BeginPairing)
    def begin_pairing(self, message: BeginPairing, sender: Sender) -> int:
        """Open an XXpsk0 handshake for the Pairing actor."""
        return self._doorkeeper.begin_pairing(message)

    @receives(PairingStep)
    def pairing_step(self, message: PairingStep, sender: Sender) -> PairingStepped:
        """One message in, one message out, until both are through."""
        return self._doorkeeper.pairing_step(message)

    @receives(SignPairing)
    def sign_pairing(self, message: SignPairing, sender: Sender) -> bytes:
        """Sign a pairing statement, and nothing else: the context keeps the signature from meaning anything more."""
        return self._vault.identity.sign(message.statement, PAIRING_CONTEXT)

    @receives(CommitPairing)
    def commit_pairing(self, message: CommitPairing, sender: Sender) -> PairedDevice:
        """Derive the relationship key and store the device.

        The key needs the static-static secret, which only the two Keystores can compute: whoever runs the
        conversation learns nothing that opens a later connection.
        """
        handshake = self._doorkeeper.take(message.handle).handshake
        info = message.info
        if not handshake.finished or handshake.remote_static != info.static_key:
            raise Misuse("the pairing's device is not the one the handshake has authenticated")
        own = self._vault.identity
        shared = crypto_scalarmult(own.static_private, info.static_key)
        key = relationship_key(shared, handshake.hash, {own.device_id: message.mine, info.device_id: message.theirs})
        record = self._vault.pair(info, key, info.addresses, _now())
        self._doorkeeper.forget(info.device_id)
        self._trust.paired(info.device_id, _now())
        self._note("paired", info.device_id, info.name)
        return record


def _now() -> datetime:
    return datetime.now(UTC)

"""Keystore: the only process that holds long-term secrets.

The rule: others bring bytes and get bytes back. It does the static-key part of every handshake, signs and commits
pairings, and reads and writes everything that is sealed at rest. No long-term key ever leaves it; what leaves are the
keys of one session.

Why a replayed first message gets no answer twice: the tags of recent ones are remembered. One older than that gets an
answer but no session, because the transport waits for a message that only the true initiator can make.
"""

from __future__ import annotations

import contextlib
import itertools
import logging
import time
from collections import OrderedDict
from dataclasses import dataclass, field
from datetime import UTC, datetime
from uuid import UUID

from nacl.bindings import crypto_scalarmult

from springline.actors import cell, hardening
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
    BeginPairing,
    Begun,
    CommitPairing,
    Contact,
    FinishHandshake,
    ListDevices,
    PairingStep,
    PairingStepped,
    RotateKeys,
    SawAt,
    SetAutoConnect,
    SetTrust,
    SignPairing,
    WhoAmI,
)
from springline.actors.recordkeeping import Due, Recordkeeper, Turn
from springline.actors.rotation import Rotation
from springline.actors.shell import LATER, Sender, Shell, receives
from springline.actors.trustkeeping import TrustDue, Trustkeeper
from springline.actors.upkeep import AUDITED, Request, checked
from springline.actors.wire import Fd
from springline.errors import InternalFault, Malformed, Misuse, Refused, UnknownDevice, WrongPassphrase
from springline.store import opening
from springline.store.before import KnownBefore
from springline.store.devices import PairedDevice
from springline.store.history import Session
from springline.store.identity import PAIRING_CONTEXT, DeviceInfo
from springline.store.layout import Layout
from springline.store.moving import Exported
from springline.store.sessions import key_id, relationship_key
from springline.transport import hello
from springline.transport.address import Address
from springline.transport.hello import Hello
from springline.transport.noise import CONNECT, MAC_SIZE, PAIR, Handshake, mac1, mac1_key, unpad_untrusted

log = logging.getLogger("springline.keystore")

MOST_HANDSHAKES = 512
"""Handshakes begun and not finished; beyond that the oldest is forgotten."""

MOST_SEEN = 4096
"""First messages remembered against replay."""


SAVE_AFTER = 30.0
"""Seconds that a device's last sighting may be unwritten."""


class _Save:
    """Time to write the sightings."""


@dataclass(frozen=True, slots=True)
class KeystoreArgs:
    """Where the store is, and the cell that opens it.

    :param data_dir: path of the data directory.
    :param cell: descriptor of a secret cell (``actors/cell.py``).
    """

    data_dir: str
    cell: Fd


@dataclass(slots=True)
class _Open:
    """A handshake under way: with a device we dial, or (device None) with whoever knows the words."""

    handshake: Handshake = field(repr=False)
    device: UUID | None
    within: bytes = b""


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
        self._handles = itertools.count(1)
        self._open: OrderedDict[int, _Open] = OrderedDict()
        self._seen: OrderedDict[bytes, None] = OrderedDict()
        # Above what a former life of this process has assigned, unless the clock was set back: then the older session
        # is found dead by its probe instead of being replaced at once.
        self._epoch_floor = int(time.time() * 1000)
        self._epochs: dict[UUID, int] = {}
        self._sightings: dict[UUID, datetime] = {}
        self._records = Recordkeeper(self._vault, self.tell, self.wake, _now)
        self._note = self._records.note
        self._rotation = Rotation(self._vault, self._note)
        self._trust = Trustkeeper(self._vault, self.tell, self.wake, self._note)
        self._trust.look(_now())

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
            self._vault.remember_address(message.device, str(message.address))
        if not self._sightings:
            self.wake(SAVE_AFTER, _Save())
        self._sightings[message.device] = _now()

    @receives(_Save)
    def save(self, message: object, sender: object) -> None:
        """Write the sightings."""
        sightings, self._sightings = self._sightings, {}
        for device, when in sightings.items():
            self._vault.seen(device, when)

    def stop(self) -> None:
        """Write what is not written yet."""
        self.save(None, None)
        self._records.stop()

    @receives(SetAutoConnect)
    def set_auto_connect(self, message: SetAutoConnect, sender: Sender) -> None:
        """Keep what the user wants of this link."""
        self._vault.set_auto_connect(message.device, message.wanted, _now())

    @receives(SetTrust)
    def set_trust(self, message: SetTrust, sender: Sender) -> PairedDevice:
        """Change the trust in a device."""
        self.save(None, None)  # a limit is counted from when the device was seen last
        return self._trust.set_trust(message, _now())

    @receives(TrustDue)
    def trust_due(self, message: TrustDue, sender: Sender) -> None:
        """Somebody's trust may end now; who was seen since is written down first."""
        self.save(None, None)
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

    # -- connect ---------------------------------------------------------------------------------------------------

    @receives(BeginHandshake)
    def begin(self, message: BeginHandshake, sender: Sender) -> Begun:
        """Noise message 1 to a device we dial."""
        device = self._welcome(self._device(message.device))
        psk = self._rotation.to_dial(message.device)
        handshake = Handshake.initiate(
            CONNECT,
            self._vault.identity.static_private,
            remote_static=device.info.static_key,
            psk=psk,
            within=message.within,
        )
        current = self._rotation.current(message.device)
        said = Hello(epoch=self._epoch(message.device), used=key_id(psk), current=current)
        first = handshake.write(said.encode())
        frame = mac1(mac1_key(device.info.static_key), first) + first
        return Begun(self._keep(handshake, message.device, message.within), frame)

    @receives(FinishHandshake)
    def finish(self, message: FinishHandshake, sender: Sender) -> Authenticated:
        """Noise message 2 from the device we dialled."""
        under_way = self._take(message.handle)
        device = under_way.device
        if device is None:
            raise InternalFault("a pairing handshake cannot end as a connection")
        theirs = hello.decode_untrusted(under_way.handshake.read(message.frame))
        if Hello().agree(theirs) is None:
            raise Refused(f"the device speaks version {theirs.lowest} only", "update the older of the two")
        self._epochs[device] = max(self._epoch(device), theirs.epoch)
        keys = under_way.handshake.keys()
        self._rotation.proved(device, theirs.current, now=_now())
        if not under_way.within:
            self._rotation.finished(device, keys.hash, under_way.handshake.secret)
        return Authenticated(device, keys, theirs.epoch)

    @receives(AnswerHandshake)
    def answer(self, message: AnswerHandshake, sender: Sender) -> Answered:
        """Noise message 1 from a device that dials us: who is it, and what do we answer?"""
        tag, first = message.frame[:MAC_SIZE], message.frame[MAC_SIZE:]
        if tag in self._seen:
            raise Refused("this first message has been seen before")
        self._seen[tag] = None
        if len(self._seen) > MOST_SEEN:
            self._seen.popitem(last=False)
        handshake = Handshake.respond(CONNECT, self._vault.identity.static_private, within=message.within)
        theirs = hello.decode_untrusted(handshake.read(first))
        found = self._vault.by_static_key(handshake.remote_static)
        if found is None:
            raise Refused("the caller is not paired")
        device = self._welcome(found).info.device_id
        version = Hello().agree(theirs)
        if version is None:
            raise Refused(f"the caller speaks versions {theirs.lowest} to {theirs.highest} only")
        epoch = max(theirs.epoch, self._epoch(device)) + 1
        self._epochs[device] = epoch
        handshake.set_psk(self._rotation.accept(device, theirs.used))
        self._rotation.proved(device, theirs.used, theirs.current, now=_now())
        said = Hello(version, version, epoch, current=self._rotation.current(device))
        frame = handshake.write(said.encode())
        keys = handshake.keys()
        if not message.within:
            self._rotation.finished(device, keys.hash, handshake.secret)
        return Answered(frame, Authenticated(device, keys, epoch))

    @receives(RotateKeys)
    def rotate(self, message: RotateKeys, sender: Sender) -> bytes | None:
        """A step of rotating the relationship key."""
        self._welcome(self._device(message.device))
        if message.message is None:
            return self._rotation.begin(message.device, message.session)
        return self._rotation.step(message.device, message.session, message.message, _now())

    def _welcome(self, device: PairedDevice) -> PairedDevice:
        return self._vault.welcome(device.info.device_id, _now())

    def _epoch(self, device: UUID) -> int:
        return self._epochs.get(device, self._epoch_floor)

    def _keep(self, handshake: Handshake, device: UUID | None, within: bytes = b"") -> int:
        handle = next(self._handles)
        self._open[handle] = _Open(handshake, device, within)
        if len(self._open) > MOST_HANDSHAKES:
            self._open.popitem(last=False)
        return handle

    def _take(self, handle: int) -> _Open:
        under_way = self._open.pop(handle, None)
        if under_way is None:
            raise Refused("the handshake was forgotten", "try again")
        return under_way

    # -- pair ------------------------------------------------------------------------------------------------------

    @receives(BeginPairing)
    def begin_pairing(self, message: BeginPairing, sender: Sender) -> int:
        """Open an XXpsk0 handshake for the Pairing actor."""
        make = Handshake.initiate if message.initiator else Handshake.respond
        handshake = make(PAIR, self._vault.identity.static_private, psk=message.psk)
        return self._keep(handshake, None)

    @receives(PairingStep)
    def pairing_step(self, message: PairingStep, sender: Sender) -> PairingStepped:
        """One message in, one message out, until both are through."""
        under_way = self._pairing(message.handle)
        handshake = under_way.handshake
        said = b""
        try:
            if message.message is not None:
                said = unpad_untrusted(handshake.read(message.message))
            reply = None if handshake.finished else handshake.write(handshake.padding(message.content))
        except Malformed:
            del self._open[message.handle]
            raise
        if not handshake.finished:
            return PairingStepped(reply, content=said)
        return PairingStepped(reply, handshake.keys(), handshake.remote_static, said)

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
        handshake = self._take(message.handle).handshake
        info = message.info
        if not handshake.finished or handshake.remote_static != info.static_key:
            raise Misuse("the pairing's device is not the one the handshake has authenticated")
        own = self._vault.identity
        shared = crypto_scalarmult(own.static_private, info.static_key)
        key = relationship_key(
            shared, handshake.hash, {own.device_id: message.mine, info.device_id: message.theirs}
        )
        record = self._vault.pair(info, key, info.addresses, _now())
        self._rotation.forget(info.device_id)
        self._trust.paired(info.device_id, _now())
        self._note("paired", info.device_id, info.name)
        return record

    def _pairing(self, handle: int) -> _Open:
        under_way = self._open.get(handle)
        if under_way is None or under_way.device is not None:
            raise Refused("the pairing was forgotten", "start it again with new words")
        return under_way


def _now() -> datetime:
    return datetime.now(UTC)

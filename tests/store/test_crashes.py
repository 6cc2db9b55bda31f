"""The power fails at any system call, and the disk keeps what it likes of what was not fsynced: the store opens, with
the state before or after, and with everything that was acknowledged.

``tests/store/disk.py`` is that disk. What a single operation may leave is enumerated; sequences of them, with crashes
between and within, are hypothesis's.
"""

from __future__ import annotations

import contextlib
import shutil
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule

from springline.errors import Damaged, Misuse, Refused, UnknownDevice, WrongPassphrase
from springline.store import atomic, config, history, opening, revocation
from springline.store.config import DeviceConfig
from springline.store.devices import PairedDevice, TrustLevel
from springline.store.envelope import Strength
from springline.store.history import History, Session
from springline.store.layout import Layout
from springline.store.preferences import ConnectionConfig
from springline.store.revocation import Revocations
from springline.store.trust import BARRED, Policy
from springline.store.vault import Vault
from springline.tests.store.cast import HERE, LATER, NOW, ONE, PASSPHRASE, THERE, TWO, damage, identity, info, key, pair
from springline.tests.store.disk import Disk, Outcome, leave

OTHER = b"another passphrase"
HISTORY = history.ROLE
SESSIONS = History((Session(NOW, LATER, "it said goodbye", True, HERE),))
PEERS = {info(number).device_id: number for number in (1, 2, 3)}


@dataclass(frozen=True)
class View:
    """What a store says.

    :param recorded: the devices, the revocations, this device's config. :param keys: by peer, the relationship keys
        that are accepted. :param preferences: by peer.
    """

    recorded: tuple[list[PairedDevice], Revocations, DeviceConfig]
    keys: dict[UUID, tuple[bytes, ...]]
    preferences: dict[UUID, ConnectionConfig]
    histories: dict[UUID, bytes | None]
    passphrases: tuple[bytes, ...]
    folders: int


def view(vault: Vault) -> View:
    """All of it, read as another process would."""
    linked = [device.info.device_id for device in vault.devices() if device.trust is not TrustLevel.REVOKED]
    revoked = [device.info.device_id for device in vault.devices() if device.trust is TrustLevel.REVOKED]
    for peer in revoked:
        with pytest.raises(Damaged):
            vault.relationship_key(peer)
    return View(
        (vault.devices(), vault.state.revocations, config.load(vault.layout)),
        {peer: accepted(vault, peer) for peer in linked},
        {peer: vault.preferences(peer) for peer in (*linked, *revoked)},
        {peer: vault.files.read(peer, HISTORY, history.checked) for peer in (*linked, *revoked)},
        tuple(passphrase for passphrase in (PASSPHRASE, OTHER) if opens(vault, passphrase)),
        len(list(vault.layout.connections.iterdir())),
    )


def accepted(vault: Vault, peer: UUID) -> tuple[bytes, ...]:
    """The keys that open a handshake with it."""
    keys = vault.keys(peer)
    return tuple(filter(None, (keys.relationship_key, keys.previous, *keys.pending)))


def opens(vault: Vault, passphrase: bytes) -> bool:
    """Whether that is the passphrase."""
    try:
        return opening.unlock(vault.layout, passphrase).data_key == vault.data_key
    except WrongPassphrase:
        return False


def same(found: View, old: View, new: View) -> bool:
    """One state or the other.

    Pairing again writes preferences, then keys, then the record that counts. Until it does, addresses may be there
    already; and the keys of a device that may not connect, which does no harm, or of one that still has the old ones.
    """
    if found in (old, new):
        return True
    if replace(found, keys=old.keys, preferences=old.preferences) != old:
        return False
    barred = {device.info.device_id for device in found.recorded[0] if device.trust in BARRED}
    keys = all(mine == old.keys[peer] or (mine == new.keys[peer] and (peer in barred or old.keys[peer][0] in mine))
               for peer, mine in found.keys.items())  # fmt: skip
    return keys and all(
        each in (old.preferences[peer], new.preferences[peer]) for peer, each in found.preferences.items()
    )


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is looked at afterwards need not survive the next crash."""
    monkeypatch.setattr(atomic, "calls", atomic.Calls(fsync=lambda _fd: None))


def prepared(folder: Path) -> Vault:
    """A store with a bit of everything."""
    vault = opening.create(Layout(folder), PASSPHRASE, "anchor", Strength.MINIMAL, NOW)
    pair(vault, 1, 1, HERE)
    pair(vault, 2, 2, THERE)
    vault.save_preferences(ONE, ConnectionConfig((HERE, THERE)))
    for number, trust in ((4, TrustLevel.EXPIRED), (5, TrustLevel.REVOKED)):
        pair(vault, number)
        vault.set_trust(info(number).device_id, trust, NOW)
    vault.seen(TWO, NOW)
    return vault


def fact_about(number: int, by: int) -> bytes:
    """A revocation."""
    signer = identity(by)
    return revocation.revoke(info(number), signer.signing_key, 1, 1, signer.sign).encode()


def again(vault: Vault) -> Vault:
    """Opened by another process."""
    return opening.unlock_with(vault.layout, vault.data_key)


def damaged(*paths: Path) -> None:
    for path in paths:
        damage(path)


Change = Callable[[Vault], object]
CHANGES: dict[str, Change] = {
    "pair": lambda vault: pair(vault, 3, 3, HERE, THERE),
    "renew": lambda vault: pair(vault, 1, 9, "10.0.0.9:9"),
    "pair an expired one": lambda vault: pair(vault, 4, 9, "10.0.0.9:9"),
    "pair a revoked one": lambda vault: pair(vault, 5, 9, "10.0.0.9:9"),
    "trust": lambda vault: vault.set_trust(ONE, TrustLevel.VERIFIED, LATER, Policy(unseen_limit=10**7)),
    "revoke": lambda vault: vault.revoke(ONE, LATER),
    "wish": lambda vault: vault.set_auto_connect(ONE, False, LATER),
    "seen": lambda vault: vault.seen(ONE, LATER),
    "address": lambda vault: vault.remember_address(ONE, "10.0.0.9:9"),
    "preferences": lambda vault: vault.save_preferences(TWO, ConnectionConfig((), ("tcp",), 1.0)),
    "history": lambda vault: vault.files.write(ONE, HISTORY, SESSIONS.encode(), bytes),
    "prepare a key": lambda vault: vault.change_keys(ONE, vault.keys(ONE).prepare(key(7))),
    "take up a key": lambda vault: vault.change_keys(ONE, vault.keys(ONE).adopt(key(7), LATER)),
    "all seen": lambda vault: vault.all_seen({ONE: LATER, TWO: LATER}, LATER),
    "another address": lambda vault: vault.add_address(ONE, "10.0.0.9:9"),
    "port": lambda vault: config.keep_port(vault.layout, 5),
    "passphrase": lambda vault: opening.change(vault, OTHER),
    "facts": lambda vault: vault.take_facts(TWO, [fact_about(1, 2), fact_about(5, 2)], LATER),
    "acked": lambda vault: vault.acked(TWO, [bytes(16)], LATER, all_of_them=True),
    "open": again,
}
BEFORE: dict[str, Change] = {
    "nothing": lambda vault: None,
    "the identity is damaged": lambda vault: damaged(vault.layout.identity(vault.identity.device_id)),
    "device.json is damaged": lambda vault: damaged(vault.layout.device),
}


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize("before", list(BEFORE))
@pytest.mark.parametrize("change", list(CHANGES))
def test_a_crash_at_any_call_leaves_the_old_or_the_new_state(tmp_path: Path, change: str, before: str) -> None:
    vault = prepared(tmp_path / "data")
    BEFORE[before](vault)
    shutil.copytree(vault.layout.root, tmp_path / "old")
    old = view(opening.unlock_with(Layout(tmp_path / "old"), vault.data_key))
    outcomes, last = run_noting(again(vault) if change != "open" else vault, CHANGES[change])
    shutil.copytree(vault.layout.root, tmp_path / "new")
    new = view(opening.unlock_with(Layout(tmp_path / "new"), vault.data_key))
    for outcome in outcomes:
        found = view_of(outcome, tmp_path, vault.data_key)
        assert same(found, old, new), f"neither: {found}, but {old} or {new}"
    for outcome in last:
        assert view_of(outcome, tmp_path, vault.data_key) == new, "what was acknowledged is gone"


def run_noting(vault: Vault, change: Change) -> tuple[list[Outcome], list[Outcome]]:
    """Make a change. What crashes on the way can leave, each once; and one after it."""
    outcomes: dict[tuple[tuple[str, Any], ...], Outcome] = {}

    def note(_number: int) -> None:
        for outcome in disk.outcomes():
            outcomes[tuple(sorted(outcome.items()))] = outcome

    with Disk(vault.layout.root, note) as disk:
        change(vault)
    return list(outcomes.values()), list(disk.outcomes())


def view_of(outcome: Outcome, folder: Path, data_key: bytes) -> View:
    """What the store says after that crash."""
    place = folder / "after"
    shutil.rmtree(place, ignore_errors=True)
    leave(outcome, place)
    return view(opening.unlock_with(Layout(place), data_key))


@pytest.mark.usefixtures("quick")
def test_a_crash_while_it_is_made_leaves_no_identity_or_one(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    outcomes: list[Outcome] = []
    with Disk(tmp_path / "data", lambda _number: outcomes.extend(disk.outcomes())) as disk:
        opening.create(Layout(tmp_path / "data"), PASSPHRASE, "anchor", Strength.MINIMAL, NOW)
    for number, outcome in enumerate([*outcomes, *disk.outcomes()]):
        place = tmp_path / str(number)
        leave(outcome, place)
        if (place / "device.json").exists():
            assert opening.unlock(Layout(place), PASSPHRASE).config.name == "anchor"
        else:  # what may be left of its file is no way to tell a crash from a device.json that somebody has lost
            assert number < len(outcomes), "what was acknowledged is gone"
            opening.create(Layout(place), PASSPHRASE, "second", Strength.MINIMAL, NOW)
            assert opening.unlock(Layout(place), PASSPHRASE).config.name == "second"


@pytest.mark.usefixtures("quick")
def test_a_crash_while_a_crash_is_being_cleared_away(tmp_path: Path) -> None:
    vault = prepared(tmp_path / "data")
    seen = set()
    for at, change in enumerate((CHANGES["revoke"], CHANGES["pair"], CHANGES["passphrase"])):
        shutil.copytree(vault.layout.root, tmp_path / f"data{at}")
        first, last = run_noting(opening.unlock_with(Layout(tmp_path / f"data{at}"), vault.data_key), change)
        for number, outcome in enumerate((*first, *last)):
            place = tmp_path / f"{at}-{number}"
            leave(outcome, place)
            with Disk(place) as disk:
                settled = view(opening.unlock_with(Layout(place), vault.data_key))
            if disk.made == 0:
                continue  # nothing was to be cleared away
            seen.add(at)
            shutil.rmtree(place)
            leave(outcome, place)
            halfway, _ = run_noting(replace_root(vault, place), again)
            for later in halfway:
                assert view_of(later, tmp_path, vault.data_key) == settled
    assert seen == {0, 1, 2}


def replace_root(vault: Vault, place: Path) -> Vault:
    """The same vault, were it kept somewhere else; not opened."""
    return Vault(Layout(place), vault.config, vault.lock, vault.data_key, vault.state)


# -- any sequence ------------------------------------------------------------------------------------------------------


class CrashMachine(RuleBasedStateMachine):
    """Operations one after the other, as they come, on a disk that fails between and within them."""

    @initialize()
    def begin(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="springline-test-"))
        self.lives = 0
        self.now = NOW
        self.vault = prepared(self.folder / "0")
        self.disk = Disk(self.folder / "0")
        self.state = view(self.vault)

    def teardown(self) -> None:
        if hasattr(self, "folder"):
            shutil.rmtree(self.folder)

    @rule(
        data=st.data(),
        number=st.sampled_from(list(PEERS.values())),
        name=st.sampled_from(["pair", *CHANGES]),
        stop=st.none() | st.integers(0, 40),
    )
    def change(self, data: st.DataObject, number: int, name: str, stop: int | None) -> None:
        peer = info(number).device_id
        self.now += timedelta(seconds=1)
        crash: list[Outcome] = []

        def note(made: int) -> None:
            if made == end:
                crash.append(self._fail(data))

        end = None if stop is None else self.disk.made + stop
        self.disk._stop_before = note
        with self.disk:
            self._do(data, name, peer)
        if end is not None and not crash:
            crash.append(self._fail(data))
            end = None
        old, self.state = self.state, self._look()
        if crash:
            self._begin_again(crash[0])
            found = view(self.vault)
            assert same(found, old, self.state) if end is not None else found == self.state, name
            self.state = found

    def _do(self, data: st.DataObject, name: str, peer: Any) -> None:
        secret = data.draw(st.integers(10, 20))
        later: dict[str, Callable[[], object]] = {
            "pair": lambda: self.vault.pair(info(PEERS[peer]), key(secret), (f"10.0.0.{secret}:1",), self.now),
            "trust": lambda: self.vault.set_trust(peer, data.draw(st.sampled_from(TrustLevel)), self.now),
            "wish": lambda: self.vault.set_auto_connect(peer, data.draw(st.booleans()), self.now),
            "seen": lambda: self.vault.seen(peer, self.now),
            "address": lambda: self.vault.remember_address(peer, f"10.0.0.{secret}:1"),
            "port": lambda: config.keep_port(self.vault.layout, secret),
            "passphrase": lambda: opening.change(self.vault, data.draw(st.sampled_from([PASSPHRASE, OTHER]))),
            "open": lambda: setattr(self, "vault", again(self.vault)),
        }
        with contextlib.suppress(UnknownDevice, Misuse, Refused, Damaged):  # of whom there are no keys (any more)
            later.get(name, lambda: CHANGES[name](self.vault))()

    def _fail(self, data: st.DataObject) -> Outcome:
        return self.disk.outcome(tuple(data.draw(st.tuples(*(st.integers(0, n - 1) for n in self.disk.options())))))

    def _look(self) -> View:
        plain, atomic.calls = atomic.calls, atomic.Calls(fsync=lambda _fd: None)
        try:
            place = self.folder / "look"
            shutil.rmtree(place, ignore_errors=True)
            shutil.copytree(self.vault.layout.root, place)
            return view(opening.unlock_with(Layout(place), self.vault.data_key))
        finally:
            atomic.calls = plain

    def _begin_again(self, outcome: Outcome) -> None:
        self.lives += 1
        place = self.folder / str(self.lives)
        leave(outcome, place)
        self.disk = Disk(place)
        with self.disk:
            self.vault = opening.unlock_with(Layout(place), self.vault.data_key)


TestCrashes = CrashMachine.TestCase
TestCrashes.settings = settings(max_examples=20, stateful_step_count=12, deadline=None)

"""The Keystore on a disk that is full: it goes on, and writes what it has to write when there is room again."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from springline.actors import cell, keystore
from springline.actors.datagram import Fd
from springline.actors.keystore import Keystore, KeystoreArgs
from springline.actors.messages import SawAt
from springline.actors.shell import Sender
from springline.actors.trustkeeping import LOOK, TrustDue
from springline.store import atomic
from springline.store.devices import TrustLevel
from springline.store.trust import Policy, effective
from springline.store.vault import Vault
from springline.tests.store.cast import HERE, NOW, ONE, TWO, new_vault, pair, reopened
from springline.transport.address import Address


class Alone(Keystore):
    """One without an engine: nobody hears it, and time passes when the test says so."""

    def __init__(self) -> None:
        super().__init__()
        self.wakes: list[tuple[float, object]] = []

    def tell(self, target: str, message: object) -> None:
        """Nobody is there."""

    def wake(self, after: float, message: object) -> None:
        """The test's to do."""
        self.wakes.append((after, message))

    def take(self, message: object) -> None:
        """As the engine would: an error in what was only told ends the process."""
        self._method(message)(message, Sender("", None, lambda *_: None))

    def due(self, kind: type) -> float:
        """The latest timer of that kind runs out; how long it was to wait."""
        found = [wake for wake in self.wakes if type(wake[1]) is kind][-1]
        self.wakes.remove(found)
        self.take(found[1])
        return found[0]


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Vault:
    monkeypatch.setattr(keystore, "_now", lambda: NOW + timedelta(hours=1))
    vault = new_vault(tmp_path / "data")
    pair(vault, 1)
    pair(vault, 2)
    return vault


@pytest.fixture
def alone(store: Vault) -> Iterator[Alone]:
    made = _alone(store)
    yield made
    made._records.stop()


def _alone(store: Vault) -> Alone:
    made = Alone()
    opened = cell.new_cell(b"x")
    cell.keep_key(opened, store.data_key)
    made.start(KeystoreArgs(os.fspath(store.layout.root), Fd(opened)))
    os.close(opened)
    return made


def full(*_: object) -> None:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def test_when_devices_were_seen_is_written_at_once_for_all_of_them(
    alone: Alone, monkeypatch: pytest.MonkeyPatch
) -> None:
    for device in (ONE, TWO, ONE):
        alone.take(SawAt(device, None))
    written: list[Path] = []
    plain = atomic.write

    def write(path: Path, data: bytes, *, keep: bool = True) -> None:
        written.append(path)
        plain(path, data, keep=keep)

    monkeypatch.setattr(atomic, "write", write)
    assert alone.due(keystore._Save) == keystore.SAVE_AFTER
    assert len(written) == 1
    assert all(device.last_connected == keystore._now() for device in reopened(alone._vault).devices())
    assert not [wake for wake in alone.wakes if type(wake[1]) is keystore._Save]


def test_what_a_full_disk_refuses_is_written_later(alone: Alone, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(atomic, "calls", atomic.Calls(write=full))
        alone.take(SawAt(ONE, Address.parse(HERE)))
        alone.due(keystore._Save)
    assert reopened(alone._vault).device(ONE).last_connected is None  # type: ignore[union-attr]
    alone.due(keystore._Save)
    assert reopened(alone._vault).device(ONE).last_connected == keystore._now()  # type: ignore[union-attr]


def test_it_stops_and_starts_on_a_full_disk_whosever_trust_has_ended(
    store: Vault, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.set_trust(ONE, TrustLevel.TRUSTED, NOW, Policy(expires_at=NOW + timedelta(minutes=1)))
    with monkeypatch.context() as patch:
        patch.setattr(atomic, "calls", atomic.Calls(write=full))
        made = _alone(store)
        made.take(SawAt(TWO, None))
        assert effective(made._vault.device(ONE), keystore._now()) is TrustLevel.EXPIRED  # type: ignore[arg-type]
        assert made.due(TrustDue) == LOOK
        made.stop()
    made = _alone(store)
    assert reopened(store).device(ONE).trust is TrustLevel.EXPIRED  # type: ignore[union-attr]
    made.stop()

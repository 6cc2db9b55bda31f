"""A file in another's place, or nobody's: refused by name, whatever kind it is, and left as it is."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from springline.errors import Damaged, WrongPassphrase
from springline.store import before, config, history, opening, preferences, sessions
from springline.store.before import KnownBefore
from springline.store.devices import TrustLevel
from springline.store.history import History, Session
from springline.store.layout import Layout
from springline.store.vault import Vault
from springline.tests.store.cast import (
    HERE,
    LATER,
    NOW,
    ONE,
    PASSPHRASE,
    THERE,
    TWO,
    files,
    folder_of,
    new_vault,
    pair,
    reopened,
)

PER_DEVICE = {"session_keys": sessions.decode, "preferences": preferences.decode, "history": history.checked}
ROLES = ["device.json", "identity", "known_before", *PER_DEVICE]


def full(folder: Path) -> Vault:
    """A store with a file of each kind, and no previous versions."""
    vault = new_vault(folder)
    for number, peer, address in ((1, ONE, HERE), (2, TWO, THERE)):
        pair(vault, number, number, address)
        kept = History((Session(NOW, LATER, "it said goodbye", True, address),))
        vault.files.write(peer, "history", kept.encode(), bytes)
    known = KnownBefore(ONE, "desk", NOW, None, TrustLevel.TRUSTED, True)
    before.save(vault.layout, vault.data_key, (known,))
    for path in folder.rglob("*.previous"):
        path.unlink()
    return vault


def place(vault: Vault, role: str, peer: object = ONE) -> Path:
    """Where that kind of file is."""
    if role in PER_DEVICE:
        return folder_of(vault, peer) / f"{role}.json"  # type: ignore[arg-type]
    layout = vault.layout
    fixed = {"device.json": layout.device, "known_before": layout.known_before}
    return fixed.get(role) or layout.identity(vault.identity.device_id)


def read(vault: Vault, role: str) -> object:
    """What another process finds there, the previous version aside."""
    if role in PER_DEVICE:
        return reopened(vault).files.read(ONE, role, PER_DEVICE[role])
    if role == "known_before":
        return before.load(vault.layout, vault.data_key)
    return config.load(vault.layout) if role == "device.json" else reopened(vault).devices()


Forgery = Callable[[Vault, Vault, str], bytes]
FORGERIES: dict[str, Forgery] = {
    "nothing": lambda _ours, _theirs, _role: b"",
    "text": lambda _ours, _theirs, _role: b"hello\n",
    "a picture": lambda _ours, _theirs, _role: b"\x89PNG\r\n\x1a\n" + bytes(range(256)),
    "half of it": lambda ours, _theirs, role: place(ours, role).read_bytes()[: place(ours, role).stat().st_size // 2],
    "a bit flipped": lambda ours, _theirs, role: flipped(place(ours, role).read_bytes()),
    "another device's": lambda ours, _theirs, role: place(ours, role, TWO).read_bytes(),
    "another store's": lambda _ours, theirs, role: place(theirs, role).read_bytes(),
    **{
        f"our {kind}": lambda ours, _theirs, _role, kind=kind: place(ours, kind).read_bytes()  # type: ignore[misc]
        for kind in ROLES
    },
}


def flipped(data: bytes) -> bytes:
    """One bit of it, in the middle of what is sealed."""
    at = len(data) - 20
    return data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :]


@pytest.mark.parametrize("forgery", list(FORGERIES))
@pytest.mark.parametrize("role", ROLES)
def test_it_is_refused_by_name_and_left_as_it_is(tmp_path: Path, role: str, forgery: str) -> None:
    ours, theirs = full(tmp_path / "ours"), full(tmp_path / "theirs")
    good = read(ours, role)
    assert good
    bad = FORGERIES[forgery](ours, theirs, role)
    if bad == place(ours, role).read_bytes():
        return  # its own place
    place(ours, role).write_bytes(bad)
    at_first = files(ours.layout.root)
    if role == "known_before":
        assert read(ours, role) == (), "a reminder that does not open is none"
    elif role == "device.json" and forgery in ("another store's", "a bit flipped"):  # readable, so it can be edited
        with pytest.raises(Damaged):
            opening.unlock(ours.layout, PASSPHRASE)
    else:
        with pytest.raises((Damaged, WrongPassphrase)) as told:
            read(ours, role)
        assert role in str(told.value) or role == "identity"
    assert files(ours.layout.root) == at_first


def test_a_device_folder_of_another_store_is_nobodys(tmp_path: Path) -> None:
    ours, theirs = full(tmp_path / "ours"), full(tmp_path / "theirs")
    shutil.rmtree(folder_of(ours, ONE))
    shutil.copytree(folder_of(theirs, ONE), folder_of(ours, ONE))
    with pytest.raises(Damaged, match="session_keys"):
        reopened(ours).relationship_key(ONE)
    assert Layout(tmp_path / "ours").connections.is_dir()

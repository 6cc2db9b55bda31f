"""How a store is made, opened, and locked with another passphrase.

The rule: everything sealed hangs on one random data key, which never changes; what a passphrase opens is the lock
around that key, in the header of the identity's file. So changing the passphrase rewrites this one file, whoever holds
the data key (the secret cell of a running node) is not disturbed, and a crash on the way leaves the old passphrase or
the new one. The kept previous version is rewritten as well, or the old passphrase would open that for ever; if a crash
prevents it, the next opening does it.

What this can't undo: whoever has a former copy of the file, and the passphrase of then, has the data key.
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable
from datetime import datetime

import nacl.utils

from springline.errors import Damaged, LocalFault, Misuse
from springline.store import atomic, config, devices
from springline.store.config import DeviceConfig
from springline.store.device_files import REPAIRED, or_previous
from springline.store.devices import PersistentNetworkIdentity
from springline.store.envelope import KEY_SIZE, Lock, Strength, lock_of, new_lock, subkey, unseal
from springline.store.identity import NetworkIdentity, clean_name
from springline.store.layout import Layout
from springline.store.vault import IDENTITY, Vault

log = logging.getLogger("springline.store")


def create(layout: Layout, passphrase: bytes, name: str, strength: Strength, now: datetime) -> Vault:
    """Make a new identity.

    :param passphrase: empty if, and only if, ``strength`` is ``NONE``.
    :raises Misuse: there is one already, or the passphrase is empty.
    """
    if atomic.read(layout.device) is not None:
        raise Misuse(f"there is an identity in {layout.root} already", "choose another --data-dir")
    identity = NetworkIdentity.new()
    made = DeviceConfig(identity.device_id, clean_name(name), now)
    return establish(layout, made, PersistentNetworkIdentity(identity, now), passphrase, strength)


def establish(
    layout: Layout,
    made: DeviceConfig,
    state: PersistentNetworkIdentity,
    passphrase: bytes,
    strength: Strength,
    fill: Callable[[Vault], object] = lambda _vault: None,
) -> Vault:
    """Write a store that is not there yet, with a new data key.

    :param fill: puts in what belongs to devices; it runs before the identity is written, which is what opens it.
    """
    data_key = nacl.utils.random(KEY_SIZE)
    lock = _locked(data_key, passphrase, strength)
    layout.prepare()
    vault = Vault(layout, made, lock, data_key, state)
    fill(vault)
    vault.save()
    made.save(layout)  # last: it is what says that there is an identity
    return vault


def unlock(layout: Layout, passphrase: bytes) -> Vault:
    """Open with the passphrase; takes Argon2id's time, once, whether it is right or wrong.

    If this version asks for more work than the file's did, the file is locked anew.

    :param passphrase: empty if there is none.
    :raises WrongPassphrase: it is not the one. :raises Damaged: a file is. :raises Misuse: there is no identity.
    """
    vault = _open(layout, lambda lock: lock.open(lock.derive(passphrase)))
    if vault.lock.is_outdated:
        try:
            change(vault, passphrase)
        except LocalFault as error:  # it opens as before
            log.warning("the passphrase's protection could not be raised: %s", error)
        else:
            log.info("the passphrase's protection was raised to what '%s' means now", vault.lock.level)
    return vault


def unlock_with(layout: Layout, data_key: bytes) -> Vault:
    """Open with the data key (32 bytes) that an earlier opening has left; errors as of :func:`unlock`."""
    return _open(layout, lambda _lock: data_key)


def check(vault: Vault, passphrase: bytes) -> None:
    """:raises WrongPassphrase: this is not the passphrase of the open store."""
    vault.lock.open(vault.lock.derive(passphrase))


def change(vault: Vault, passphrase: bytes, strength: Strength | None = None) -> None:
    """Lock an open store with another passphrase.

    :param passphrase: empty for ``Strength.NONE``, and for nothing else.
    :param strength: by default as strong as it was; moderate if it had none.
    :raises Misuse: the passphrase is empty. :raises LocalFault: it could not be written; the former passphrase counts.
    """
    vault.relock(_locked(vault.data_key, passphrase, strength or guarded(vault.lock)))


def protection(layout: Layout) -> Strength | None:
    """How hard the passphrase is to guess, ``NONE`` if there is none; None if the file does not say.

    Needs no passphrase. :raises Misuse: there is no identity. :raises Damaged: its file is.
    """
    blob = atomic.read(layout.identity(config.load(layout).device_id))
    return None if blob is None else Strength.__members__.get(lock_of(blob, IDENTITY).level.upper())


def guarded(like: Lock) -> Strength:
    """The strength of another lock like this one; moderate if it has none, or does not say."""
    strength = Strength.__members__.get(like.level.upper(), Strength.NONE)
    return Strength.MODERATE if strength is Strength.NONE else strength


def _locked(data_key: bytes, passphrase: bytes, strength: Strength) -> Lock:
    if not passphrase and strength is not Strength.NONE:
        raise Misuse("an empty passphrase protects nothing", "choose another, or say that there is to be none")
    lock, _ = new_lock(passphrase, data_key, strength)
    return lock


def _open(layout: Layout, key_for: Callable[[Lock], bytes]) -> Vault:
    repaired: list[str] = []
    found = config.load(layout, lambda: repaired.append("device.json was damaged"))
    path = layout.identity(found.device_id)
    blob = atomic.read(path)
    if blob is None:
        raise Damaged(f"the identity {path.name} is missing", "restore it from a backup")

    def opened(blob: bytes) -> Vault:
        lock = lock_of(blob, IDENTITY)
        data_key = key_for(lock)
        state = devices.decode(unseal(subkey(data_key, IDENTITY), blob, IDENTITY))
        return Vault(layout, found, lock, data_key, state)

    vault = or_previous(path, blob, opened, lambda: repaired.append("the identity was damaged"))
    for what in repaired:
        vault.note(REPAIRED, None, f"{what}: its previous version counts")
    if vault.identity.device_id != found.device_id:
        raise Damaged("device.json and the identity belong to different devices")
    atomic.tidy(layout.network)
    _finish_changing(vault)
    vault.sweep()
    return vault


def _finish_changing(vault: Vault) -> None:
    """Do what a crash between the two writes of :func:`change` has left: the previous version has the former lock."""
    former = atomic.read(atomic.previous(vault.layout.identity(vault.identity.device_id)))
    with contextlib.suppress(LocalFault):  # it is damaged or newer, and no matter; or there is no room: next time
        if former is not None and lock_of(former, IDENTITY) != vault.lock:
            vault.relock(vault.lock)

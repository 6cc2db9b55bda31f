"""Makes ``tests/store/fixtures/<generation>/``: a whole data directory as the code of this day writes it.

The rule: a generation is committed once and never changed. Whenever the version of a stored file rises, run
``python -m springline.tests.store.make_fixture`` and commit the new folder; ``test_migrate.py`` then opens it for ever.
Whose it is, and the passphrase, are fixed; it is sealed at the least strength.
"""

from __future__ import annotations

import shutil
from datetime import timedelta
from pathlib import Path
from unittest.mock import patch

from springline.store import atomic, before, config, history, moving
from springline.store.audit import AuditLog
from springline.store.before import KnownBefore
from springline.store.devices import TrustLevel
from springline.store.history import History, Session
from springline.store.identity import NetworkIdentity
from springline.store.preferences import ConnectionConfig
from springline.store.vault import Vault
from springline.tests.store.cast import HERE, LATER, NOW, PASSPHRASE, THERE, identity, info, key, new_vault

FIXTURES = Path(__file__).parent / "fixtures"
OWNER = 900
PORT = 4711
EXPORTED = "exported"
KNOWN = (KnownBefore(info(7).device_id, "shelf", NOW, LATER, TrustLevel.VERIFIED, False, ConnectionConfig((HERE,))),)
SESSIONS = History((Session(NOW, LATER, "it said goodbye", True, HERE, 1, 2),))
PREFERENCES = ConnectionConfig((THERE, HERE), ("tcp",), 12.5, 0.2, 60.0)


def fill(vault: Vault) -> None:
    """Something of everything that generation 1 could hold."""
    for number, name in ((1, "desk"), (2, "phone"), (3, "tablet"), (4, "lost laptop")):
        vault.pair(info(number, name), key(number), (HERE,), NOW + timedelta(seconds=number))
    vault.save_preferences(info(1).device_id, PREFERENCES)
    vault.seen(info(1).device_id, LATER)
    vault.set_trust(info(2).device_id, TrustLevel.VERIFIED, LATER)
    vault.set_auto_connect(info(2).device_id, False, LATER)
    vault.set_trust(info(3).device_id, TrustLevel.EXPIRED, LATER)
    vault.set_trust(info(4).device_id, TrustLevel.REVOKED, LATER)
    config.keep_port(vault.layout, PORT)


def fill_more(vault: Vault) -> None:
    """What generation 2 has beside it."""
    vault.files.write(info(1).device_id, history.ROLE, SESSIONS.encode(), bytes)
    before.save(vault.layout, vault.data_key, KNOWN)
    trail = AuditLog(vault.layout.network / "audit.log", vault.data_key, NOW)
    trail.append("connected", info(1).device_id, "for the fixture", NOW)
    trail.sync()
    trail.close()
    atomic.write(vault.layout.root / EXPORTED, moving.export(vault, PASSPHRASE, NOW).sealed)


def make(folder: Path) -> None:
    """A data directory with that in it."""
    with patch.object(NetworkIdentity, "new", lambda: identity(OWNER)):
        vault = new_vault(folder)
    fill(vault)
    fill_more(vault)
    for gone in (vault.layout.run, vault.layout.root / "incoming"):
        shutil.rmtree(gone, ignore_errors=True)


if __name__ == "__main__":
    made = FIXTURES / str(1 + sum(path.is_dir() for path in FIXTURES.iterdir()))
    make(made)
    print(made)

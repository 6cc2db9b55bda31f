"""Many devices: what opening and changing a store does not do. Times are in ``bench/store.py``."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from springline.store import atomic, devices
from springline.store.layout import Layout
from springline.store.vault import Vault
from springline.tests.store.cast import LATER, ONE, TWO, info, new_vault, pair

MANY = 100

OPENED = """
import json, sys
from pathlib import Path
from springline.store import opening
from springline.store.layout import Layout
from springline.tests.store.cast import ONE, PASSPHRASE

root, opened = Path(sys.argv[1]), []
sys.addaudithook(lambda event, args: event == "open" and opened.append(str(args[0])))
vault = opening.unlock(Layout(root), PASSPHRASE)
assert len(vault.devices()) == int(sys.argv[2]), len(vault.devices())
assert vault.by_static_key(vault.device(ONE).info.static_key)
print(json.dumps(sorted({Path(path).name for path in opened if path.startswith(sys.argv[1])})))
opened.clear()
vault.relationship_key(ONE)
vault.relationship_key(ONE)
print(json.dumps([Path(path).relative_to(root).as_posix() for path in opened]))
"""


@pytest.fixture
def crowd(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Vault:
    """A store with many devices, of none of which a record has been encoded by an earlier test."""
    devices._encoded.cache_clear()
    monkeypatch.setattr(atomic, "calls", atomic.Calls(fsync=lambda _fd: None))
    vault = new_vault(tmp_path / "data")
    for number in range(1, MANY + 1):
        pair(vault, number)
    return vault


def test_no_devices_files_are_opened_before_they_are_needed(crowd: Vault) -> None:
    root = crowd.layout.root
    done = subprocess.run(
        [sys.executable, "-c", OPENED, str(root), str(MANY)], capture_output=True, text=True, timeout=60
    )
    assert done.stderr == ""
    at_once, then = map(json.loads, done.stdout.splitlines())
    identity = crowd.layout.identity(crowd.identity.device_id).name
    assert at_once == sorted([identity, identity + atomic.PREVIOUS, "device.json"])
    folder = Layout(root).connection(crowd.data_key, ONE)
    assert then == [(folder / "session_keys.json").relative_to(root).as_posix()]


def test_a_change_of_one_device_encodes_one_device(crowd: Vault) -> None:
    before = devices._encoded.cache_info().misses
    crowd.seen(TWO, LATER)
    assert devices._encoded.cache_info().misses == before + 1
    assert (devices._encoded.cache_info().maxsize or 0) >= 4 * 1000
    assert crowd.device(TWO) != crowd.device(info(3).device_id)

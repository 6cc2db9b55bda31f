"""Every generation of files that was ever written opens with the newest code; a newer one is left as it is."""

from __future__ import annotations

import json
import shutil
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from springline.errors import Damaged, Newer
from springline.store import history, migrate, moving, opening
from springline.store.audit import AuditLog
from springline.store.devices import PairedDevice, TrustLevel
from springline.store.envelope import Strength
from springline.store.layout import Layout
from springline.store.preferences import ConnectionConfig
from springline.store.vault import Vault
from springline.tests.store.cast import HERE, LATER, NOW, PASSPHRASE, files, identity, info, key
from springline.tests.store.make_fixture import EXPORTED, FIXTURES, KNOWN, OWNER, PORT, PREFERENCES, SESSIONS, make

GENERATIONS = sorted(path.name for path in FIXTURES.iterdir() if path.is_dir())
DESK, PHONE, TABLET, LOST = (info(n, name) for n, name in enumerate(("desk", "phone", "tablet", "lost laptop"), 1))
TODAY = "made today"


@pytest.fixture(params=[*GENERATIONS, TODAY])
def folder(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """A data directory of each generation; of today's code, too, so that no maker of fixtures writes anything else."""
    if request.param == TODAY:
        make(tmp_path / "data")
    else:
        shutil.copytree(FIXTURES / request.param, tmp_path / "data")
    return tmp_path / "data"


def test_every_generation_opens(folder: Path) -> None:
    vault = opening.unlock(Layout(folder), PASSPHRASE)
    assert vault.identity == identity(OWNER)
    assert (vault.config.name, vault.config.created_at, vault.config.port) == ("anchor", NOW, PORT)
    found = {device.info: device for device in vault.devices()}
    paired = {known: NOW + timedelta(seconds=n) for n, known in enumerate((DESK, PHONE, TABLET, LOST), 1)}
    assert found == {
        DESK: PairedDevice(DESK, paired[DESK], LATER, TrustLevel.TRUSTED),
        PHONE: PairedDevice(PHONE, paired[PHONE], None, TrustLevel.VERIFIED, auto_connect=False),
        TABLET: PairedDevice(TABLET, paired[TABLET], None, TrustLevel.EXPIRED),
        LOST: PairedDevice(LOST, paired[LOST], None, TrustLevel.REVOKED, auto_connect=False),
    }
    for number, known in enumerate((DESK, PHONE, TABLET), 1):
        assert vault.relationship_key(known.device_id) == key(number)
    assert vault.preferences(DESK.device_id) == PREFERENCES
    assert vault.preferences(PHONE.device_id) == ConnectionConfig((HERE,))


def test_what_came_with_generation_2_opens(folder: Path) -> None:
    vault = opening.unlock(Layout(folder), PASSPHRASE)
    packed = vault.files.read(DESK.device_id, history.ROLE, history.checked)
    if packed is None:
        assert not (folder / "network" / "audit.log").exists(), "this is generation 1"
        return
    assert history.decode(packed) == SESSIONS
    assert vault.known_before() == KNOWN
    trail = AuditLog(vault.layout.network / "audit.log", vault.data_key, LATER)
    assert [entry.detail for entry in trail.entries(1)] == ["for the fixture"]
    assert trail.verify().sound
    trail.close()
    moved = moving.opened((folder / EXPORTED).read_bytes(), PASSPHRASE)
    assert moved.state.identity == vault.identity
    assert moved.devices.keys() == {known.device_id for known in (DESK, PHONE, TABLET)}
    settled = moving.settle(Layout(folder.parent / "settled"), moved, PASSPHRASE, Strength.MINIMAL)
    assert settled.preferences(DESK.device_id) == PREFERENCES


def test_every_generation_is_written_anew_in_todays_form(folder: Path) -> None:
    vault = opening.unlock(Layout(folder), PASSPHRASE)
    vault.pair(PHONE, key(9), (), LATER)
    vault.revoke(DESK.device_id, LATER)
    again = opening.unlock(Layout(folder), PASSPHRASE)
    assert again.devices() == vault.devices()
    assert again.relationship_key(PHONE.device_id) == key(9)
    assert again.known_facts() == vault.known_facts() != ()


def test_the_newest_generation_is_todays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Else: ``python -m springline.tests.store.make_fixture``, and commit what it has made."""
    seen: set[tuple[str, int]] = set()
    parse = migrate.parse

    def watched(role: str, data: bytes) -> dict[str, Any]:
        seen.add((role, json.loads(data)["version"]))
        return parse(role, data)

    monkeypatch.setattr(migrate, "parse", watched)
    shutil.copytree(FIXTURES / GENERATIONS[-1], tmp_path / "data")
    _read_everything(opening.unlock(Layout(tmp_path / "data"), PASSPHRASE))
    assert seen == {(role, migrate.newest(role)) for role, _ in seen}
    assert {role for role, _ in seen} == set(migrate.MIGRATIONS)


def _read_everything(vault: Vault) -> None:
    vault.relationship_key(DESK.device_id)
    vault.preferences(DESK.device_id)
    vault.files.read(DESK.device_id, history.ROLE, history.checked)
    assert vault.known_before()
    AuditLog(vault.layout.network / "audit.log", vault.data_key, LATER).close()
    moving.opened((vault.layout.root / EXPORTED).read_bytes(), PASSPHRASE)


@pytest.mark.parametrize("role", list(migrate.MIGRATIONS))
def test_the_table_has_no_gap(role: str) -> None:
    assert list(migrate.MIGRATIONS[role]) == list(range(1, migrate.newest(role)))


@pytest.mark.parametrize("role", list(migrate.MIGRATIONS))
def test_a_newer_version_is_called_so(role: str) -> None:
    with pytest.raises(Newer, match="untouched"):
        migrate.parse(role, json.dumps({"version": migrate.newest(role) + 1}).encode())


def test_a_newer_device_json_is_left_as_it_is(tmp_path: Path) -> None:
    shutil.copytree(FIXTURES / "1", tmp_path / "data")
    device = Layout(tmp_path / "data").device
    newer = migrate.newest("device.json") + 1
    device.write_text(device.read_text().replace('"version": 1', f'"version": {newer}'))
    before = files(tmp_path)
    with pytest.raises(Newer):
        opening.unlock(Layout(tmp_path / "data"), PASSPHRASE)
    assert files(tmp_path) == before


values = st.recursive(
    st.none() | st.booleans() | st.integers(-1, 9) | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)


@given(
    st.sampled_from(list(migrate.MIGRATIONS)),
    st.binary(max_size=50)
    | values.map(lambda value: json.dumps(value).encode())
    | st.fixed_dictionaries({"version": values, "paired_devices": values}).map(lambda value: json.dumps(value).encode())
    | st.just(b"[" * 100_000),
)
def test_anything_else_is_damaged(role: str, data: bytes) -> None:
    try:
        found = migrate.parse(role, data)
    except Damaged:
        return
    assert found["version"] == migrate.newest(role)

"""The sealed identity's inside: devices come back as they were, anything else is refused."""

from __future__ import annotations

import json
from datetime import UTC
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from springline.errors import Damaged, Newer
from springline.store.devices import PairedDevice, PersistentNetworkIdentity, TrustLevel, decode
from springline.tests.store.cast import NOW, identity, info

times = st.datetimes(timezones=st.just(UTC))
paired = st.builds(
    PairedDevice,
    st.builds(info, st.integers(1, 9), st.text(st.characters(codec="utf-8"), min_size=1, max_size=10)),
    times,
    st.none() | times,
    st.sampled_from(TrustLevel),
    st.booleans(),
)


@given(st.lists(paired, max_size=4), times)
def test_an_identity_comes_back(devices: list[PairedDevice], now: Any) -> None:
    state = PersistentNetworkIdentity(identity(0), now, {device.info.device_id: device for device in devices})
    assert decode(state.encode()) == state


def test_the_fields_of_the_file() -> None:
    state = PersistentNetworkIdentity(identity(0), NOW, {info(1).device_id: PairedDevice(info(1), NOW)})
    fields = json.loads(state.encode())
    assert set(fields) == {"version", "identity", "paired_devices", "updated_at"}
    assert fields["version"] == 1
    assert set(fields["identity"]) == {"seed", "static"}
    assert set(fields["paired_devices"][0]) == {
        *("id", "name", "sign", "static", "cert", "paired_at", "last_connected", "trust", "auto_connect")
    }


def test_a_newer_version_is_told_apart_from_damage() -> None:
    with pytest.raises(Newer):
        decode(b'{"version": 2, "identity": "in another form"}')


@pytest.mark.parametrize("data", [b"", b"{}", b"[]", b"null", b"\xff", b'{"version": "1"}', b'{"version": 1}'])
def test_anything_else_is_damaged(data: bytes) -> None:
    with pytest.raises(Damaged, match="identity"):
        decode(data)


@pytest.mark.parametrize("field", ["id", "sign", "paired_at", "trust", "last_connected"])
@pytest.mark.parametrize("value", [1, "x", [], {}])
def test_a_record_that_makes_no_sense_is_damaged(field: str, value: object) -> None:
    state = PersistentNetworkIdentity(identity(0), NOW, {info(1).device_id: PairedDevice(info(1), NOW)})
    fields = json.loads(state.encode())
    fields["paired_devices"][0][field] = value
    if field == "last_connected" and not value:
        return
    with pytest.raises(Damaged):
        decode(json.dumps(fields).encode())


def test_private_keys_do_not_show() -> None:
    state = PersistentNetworkIdentity(identity(0), NOW)
    assert repr(identity(0).seed)[2:-1] not in repr(state)

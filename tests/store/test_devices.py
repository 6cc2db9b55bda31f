"""The sealed identity's inside: devices come back as they were, anything else is refused."""

from __future__ import annotations

import json
from datetime import UTC
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from springline.errors import Damaged, Newer
from springline.store import migrate, revocation
from springline.store.devices import ROLE, PairedDevice, PersistentNetworkIdentity, TrustLevel, decode
from springline.store.revocation import Revocations
from springline.tests.store.cast import NOW, identity, info

times = st.datetimes(timezones=st.just(UTC))
paired = st.builds(
    PairedDevice,
    st.builds(info, st.integers(1, 9), st.text(st.characters(codec="utf-8"), min_size=1, max_size=10)),
    times,
    st.none() | times,
    st.sampled_from(TrustLevel),
    st.booleans(),
    st.none() | times,
    st.none() | st.integers(1, 10**9),
)
ids = st.binary(min_size=16, max_size=16)
facts = st.builds(lambda one, by, at: revocation.revoke(info(one), identity(by).signing_key, at, 1, identity(by).sign),
                  st.integers(1, 9), st.integers(1, 9), st.integers(0, 10**10))  # fmt: skip
revocations = st.builds(
    lambda facts, void, acks: Revocations({fact.id: fact for fact in facts}, tuple(void), acks),
    st.lists(facts, max_size=3),
    st.lists(ids, max_size=3),
    st.dictionaries(st.uuids(), st.frozensets(ids, max_size=3), max_size=3),
)


@given(st.lists(paired, max_size=4), times, revocations)
def test_an_identity_comes_back(devices: list[PairedDevice], now: Any, known: Revocations) -> None:
    state = PersistentNetworkIdentity(identity(0), now, {device.info.device_id: device for device in devices}, known)
    assert decode(state.encode()) == state
    assert list(decode(state.encode()).revocations.facts) == list(known.facts)


def test_the_fields_of_the_file() -> None:
    state = PersistentNetworkIdentity(identity(0), NOW, {info(1).device_id: PairedDevice(info(1), NOW)})
    fields = json.loads(state.encode())
    assert set(fields) == {"version", "identity", "paired_devices", "revocations", "updated_at"}
    assert fields["version"] == migrate.newest(ROLE)
    assert set(fields["identity"]) == {"seed", "static"}
    assert set(fields["paired_devices"][0]) == {
        *("id", "name", "sign", "static", "cert", "paired_at", "last_connected", "trust", "auto_connect"),
        *("expires_at", "unseen_limit"),
    }
    assert set(fields["revocations"]) == {"facts", "superseded", "acks"}


def test_a_newer_version_is_told_apart_from_damage() -> None:
    with pytest.raises(Newer):
        decode(b'{"version": %d, "identity": "in another form"}' % (migrate.newest(ROLE) + 1))


@pytest.mark.parametrize("data", [b"", b"{}", b"[]", b"null", b"\xff", b'{"version": "1"}', b'{"version": 1}'])
def test_anything_else_is_damaged(data: bytes) -> None:
    with pytest.raises(Damaged, match="identity"):
        decode(data)


@pytest.mark.parametrize("field", ["id", "sign", "paired_at", "trust", "last_connected", "expires_at"])
@pytest.mark.parametrize("value", [1, "x", [], {}])
def test_a_record_that_makes_no_sense_is_damaged(field: str, value: object) -> None:
    state = PersistentNetworkIdentity(identity(0), NOW, {info(1).device_id: PairedDevice(info(1), NOW)})
    fields = json.loads(state.encode())
    fields["paired_devices"][0][field] = value
    if field in ("last_connected", "expires_at") and not value:
        return
    with pytest.raises(Damaged):
        decode(json.dumps(fields).encode())


def test_private_keys_do_not_show() -> None:
    state = PersistentNetworkIdentity(identity(0), NOW)
    assert repr(identity(0).seed)[2:-1] not in repr(state)

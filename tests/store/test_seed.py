"""Files of the former format: what can be kept of them is, and anything else is refused by name."""

from __future__ import annotations

import copy
import hashlib
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from hypothesis import given, settings
from hypothesis import strategies as st

from springline.errors import Damaged, WrongPassphrase
from springline.store import before, moving, opening, seed
from springline.store.before import KnownBefore
from springline.store.devices import TrustLevel
from springline.store.envelope import Strength
from springline.store.layout import Layout
from springline.store.preferences import ConnectionConfig
from springline.store.seed import SeedIdentity, open_seed
from springline.tests.store.cast import NOW, PASSPHRASE, damage, files, info, key

THEIRS = b"the former passphrase"
DESK, PHONE = (UUID(int=number) for number in (1, 2))
CONTENT: dict[str, Any] = {
    "identity": {"device_id": str(UUID(int=9)), "device_name": "old anchor", "private_key": [1, 2, 3]},
    "paired_devices": {
        str(DESK): {
            "device_info": {"device_id": str(DESK), "device_name": "desk", "public_key": [7] * 32},
            "paired_at": "2025-06-19T12:00:00.123456789Z",
            "last_connected": "2025-06-20T12:00:00Z",
            "trust_level": "Verified",
            "session_keys": {"ciphertext": [1], "salt": [0] * 32, "nonce": [0] * 12},
            "connection_config": {
                "preferred_transports": ["Quic", "Tcp"],
                "known_addresses": [
                    "/ip4/10.0.0.1/tcp/7000",
                    "/ip6/fe80::1/tcp/7001/p2p/12D3KooW",
                    "/dns4/host.example/tcp/7002",
                    "/ip4/10.0.0.1/udp/7000/quic-v1",
                    "/ip4/10.0.0.300/tcp/1",
                ],
                "retry_policy": {
                    "initial_delay": {"secs": 0, "nanos": 250000000},
                    "max_delay": {"secs": 60, "nanos": 0},
                },
                "keepalive_interval": {"secs": 40, "nanos": 500000000},
            },
            "auto_connect": True,
        },
        str(PHONE): {
            "device_info": {"device_id": str(PHONE), "device_name": "phone"},
            "paired_at": "2025-06-19T12:00:00Z",
            "last_connected": None,
            "trust_level": "Revoked",
            "session_keys": None,
            "connection_config": {"preferred_transports": [], "known_addresses": []},
            "auto_connect": False,
        },
    },
    "active_sessions": {},
    "connection_history": [],
    "updated_at": "2025-06-21T00:00:00Z",
}
REACHED = ConnectionConfig(("10.0.0.1:7000", "[fe80::1]:7001", "host.example:7002"), ("quic", "tcp"), 40.5, 0.25, 60.0)


def sealed(content: bytes, passphrase: bytes = THEIRS) -> bytes:
    """As the former program writes it."""
    salt, nonce = os.urandom(32), os.urandom(12)
    opens = hashlib.pbkdf2_hmac("sha256", passphrase, salt, 100_000)
    return salt + nonce + AESGCM(opens).encrypt(nonce, content, None)


def with_content(change: Callable[[dict[str, Any]], object] = lambda _content: None) -> bytes:
    """A file with that changed."""
    content = copy.deepcopy(CONTENT)
    change(content)
    return sealed(json.dumps(content).encode())


def test_what_makes_sense_here_is_kept() -> None:
    found = open_seed(with_content(), THEIRS)
    assert (found.device_id, found.name) == (UUID(int=9), "old anchor")
    desk, phone = found.devices
    assert (desk.device_id, desk.name, desk.trust, desk.auto_connect) == (DESK, "desk", TrustLevel.VERIFIED, True)
    assert desk.paired_at.isoformat() == "2025-06-19T12:00:00.123456+00:00"
    assert desk.last_connected is not None
    assert desk.preferences == REACHED
    assert (phone.name, phone.trust, phone.auto_connect) == ("phone", TrustLevel.REVOKED, False)
    assert phone.last_connected is None
    assert phone.preferences == ConnectionConfig()


def test_a_wrong_passphrase_and_a_changed_file_are_one_error_that_says_so() -> None:
    blob = with_content()
    for bad, passphrase in ((blob, b"guess"), (blob[:-1], THEIRS), (blob[:50] + b"x" + blob[51:], THEIRS)):
        with pytest.raises(WrongPassphrase, match="or the file is damaged"):
            open_seed(bad, passphrase)


def test_what_cannot_be_such_a_file_is_refused_before_the_passphrase_is_worked_on(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(hashlib, "pbkdf2_hmac", None)
    monkeypatch.setattr(seed, "MOST_BYTES", 1000)
    for blob in (b"", b"x" * 60, b"x" * 1001):
        with pytest.raises(Damaged, match="size"):
            open_seed(blob, THEIRS)


def changed(path: str, value: Any) -> Callable[[dict[str, Any]], None]:
    """Something else in that place."""

    def change(content: dict[str, Any]) -> None:
        *outer, last = path.split("/")
        for name in outer:
            content = next(iter(content.values())) if name == "*" else content[name]
        content[last] = value

    return change


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("identity", None),
        ("identity/device_id", "x"),
        ("paired_devices", []),
        ("paired_devices/x", {}),
        ("paired_devices/*/paired_at", 5),
        ("paired_devices/*/paired_at", "soon"),
        ("paired_devices/*/trust_level", "Friend"),
        ("paired_devices/*/trust_level", ["Trusted"]),
        ("paired_devices/*/device_info", None),
        ("updated_at", None),
    ],
)
def test_content_that_makes_no_sense_is_damaged(path: str, value: Any) -> None:
    with pytest.raises(Damaged, match="makes no sense"):
        open_seed(with_content(changed(path, value)), THEIRS)


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("known_addresses", [5, "", "/", "//", "/ip4//tcp/1", "/dns4/a b/tcp/1", "/ip4/1.2.3.4/tcp/70000", None]),
        ("known_addresses", {"a": 1}),
        ("preferred_transports", ["Pigeon", 5]),
        ("retry_policy", {"initial_delay": {"secs": -1, "nanos": 0}, "max_delay": 5}),
        ("keepalive_interval", {"secs": True}),
    ],
)
def test_a_preference_that_makes_no_sense_is_left_out(path: str, value: Any) -> None:
    found = open_seed(with_content(changed(f"paired_devices/*/connection_config/{path}", value)), THEIRS)
    assert found.devices[0].preferences != REACHED
    assert found.devices[0].name == "desk"


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)
PLACES = ["", "/device_info", "/connection_config", "/connection_config/retry_policy"]
NAMES = ["device_name", "known_addresses", "keepalive_interval", "initial_delay", "last_connected", "trust_level"]


@settings(max_examples=50, deadline=None)
@given(st.sampled_from(PLACES), st.sampled_from(NAMES), values)
def test_whatever_is_inside_it_is_an_identity_or_damaged(place: str, name: str, value: Any) -> None:
    try:
        found = open_seed(with_content(changed(f"paired_devices/*{place}/{name}", value)), THEIRS)
    except Damaged:
        return
    assert isinstance(found, SeedIdentity)
    assert before.decode(before.encode(found.devices)) == found.devices


# -- the store that follows --------------------------------------------------------------------------------------------


@pytest.fixture
def begun(tmp_path: Path) -> Layout:
    """A store made of such a file."""
    layout = Layout(tmp_path / "data")
    moving.settle(layout, seed.opened(with_content(), THEIRS, NOW), PASSPHRASE, Strength.MINIMAL)
    return layout


def names(known: tuple[KnownBefore, ...]) -> list[str]:
    return [one.name for one in known]


def test_a_store_begins_with_the_name_and_remembers_whom_to_pair_again(begun: Layout) -> None:
    vault = opening.unlock(begun, PASSPHRASE)
    assert vault.config.name == "old anchor"
    assert vault.devices() == []
    assert names(vault.known_before()) == ["desk", "phone"]
    for data in files(begun.root).values():
        assert b"desk" not in data
        assert b"10.0.0.1" not in data


def test_pairing_a_device_of_that_name_takes_over_how_to_reach_it(begun: Layout) -> None:
    vault = opening.unlock(begun, PASSPHRASE)
    paired = vault.pair(info(1, "desk"), key(1), ("192.0.2.1:5",), NOW)
    again = opening.unlock(begun, PASSPHRASE)
    kept = again.preferences(paired.info.device_id)
    assert kept.known_addresses == ("192.0.2.1:5", *REACHED.known_addresses)
    assert kept.keepalive_interval == 40.5
    assert names(again.known_before()) == ["phone"]
    other = vault.pair(info(2, "somebody"), key(2), (), NOW)
    assert vault.preferences(other.info.device_id) == ConnectionConfig()


def test_a_reminder_that_does_not_open_is_no_reason_not_to(begun: Layout) -> None:
    damage(begun.known_before)
    vault = opening.unlock(begun, PASSPHRASE)
    assert vault.known_before() == ()
    vault.pair(info(1, "desk"), key(1), (), NOW)

"""``device.json``: readable, edited by people, believed with care."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from springline.errors import Damaged, LocalFault, Misuse, Newer
from springline.store import atomic, config
from springline.store.config import DeviceConfig
from springline.store.layout import Layout
from springline.tests.store.cast import NOW, info

CONFIG = DeviceConfig(info(1).device_id, "anchor", NOW, 4711)


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    return Layout(tmp_path)


@pytest.mark.parametrize("port", [None, 1, 65535])
def test_it_comes_back(layout: Layout, port: int | None) -> None:
    replace(CONFIG, port=port).save(layout)
    assert config.load(layout) == replace(CONFIG, port=port)


def test_a_person_can_read_it(layout: Layout) -> None:
    CONFIG.save(layout)
    assert json.loads(layout.device.read_text()) == {
        "version": 1,
        "id": str(CONFIG.device_id),
        "name": "anchor",
        "created_at": "2026-01-02T03:04:05.678901+00:00",
        "port": 4711,
    }


def test_a_port_is_kept_and_written_once(layout: Layout) -> None:
    CONFIG.save(layout)
    config.keep_port(layout, 5)
    written = layout.device.stat().st_ino
    config.keep_port(layout, 5)
    assert config.load(layout) == replace(CONFIG, port=5)
    assert layout.device.stat().st_ino == written


@pytest.mark.parametrize("port", ["0", "-1", "65536", "true", "1.0", '"1"', "[]"])
def test_a_port_that_is_none_is_damaged(layout: Layout, port: str) -> None:
    CONFIG.save(layout)
    atomic.previous(layout.device).unlink()
    layout.device.write_text(layout.device.read_text().replace("4711", port))
    with pytest.raises(Damaged):
        config.load(layout)


def test_a_damaged_one_loses_nothing_and_is_put_back_by_who_may_write(layout: Layout) -> None:
    CONFIG.save(layout)
    config.keep_port(layout, 5)
    good = layout.device.read_bytes()
    layout.device.write_bytes(b"junk")
    assert config.load(layout) == replace(CONFIG, port=5)
    assert layout.device.read_bytes() == b"junk"
    told: list[bool] = []
    assert config.load(layout, lambda: told.append(True)) == replace(CONFIG, port=5)
    assert (told, layout.device.read_bytes()) == ([True], good)


def test_writing_clears_away_what_a_crash_has_left(layout: Layout) -> None:
    CONFIG.save(layout)
    left = layout.root / "device.json.new-0123abcd"
    left.write_bytes(b"")
    config.load(layout)  # whoever only reads does not know whether somebody is writing it
    assert left.exists()
    config.keep_port(layout, 5)
    assert not left.exists()


def test_none_is_no_identity(layout: Layout) -> None:
    with pytest.raises(Misuse, match="no identity"):
        config.load(layout)


def test_a_name_that_a_person_has_edited_is_cleaned(layout: Layout) -> None:
    fields = {"version": 1, "id": str(CONFIG.device_id), "created_at": NOW.isoformat(), "port": None}
    layout.device.write_text(json.dumps({**fields, "name": " my\u0000 e\u0301" + "x" * 100}))
    assert config.load(layout).name == "my é" + "x" * 60
    layout.device.write_text(json.dumps({**fields, "name": "\u0000"}))
    with pytest.raises(Damaged):
        config.load(layout)


def test_what_cannot_be_read_is_said_plainly(layout: Layout) -> None:
    layout.device.mkdir()
    with pytest.raises(LocalFault, match=r"device\.json"):
        config.load(layout)


def test_a_newer_version_is_left_alone(layout: Layout) -> None:
    layout.device.write_text('{"version": 2}')
    with pytest.raises(Newer):
        config.load(layout)


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.binary(max_size=100)
    | st.just(b"[" * 100_000)
    | st.tuples(st.sampled_from(["version", "id", "name", "created_at", "port"]), values).map(
        lambda changed: json.dumps(
            {"version": 1, "id": str(CONFIG.device_id), "name": "n", "created_at": NOW.isoformat(), "port": 1}
            | {changed[0]: changed[1]}
        ).encode()
    )
)
def test_anything_is_a_config_or_damaged_and_nothing_else(layout: Layout, data: bytes) -> None:
    layout.device.write_bytes(data)
    try:
        found = config.load(layout)
    except Damaged:
        return
    assert found.port is None or 0 < found.port < 65536

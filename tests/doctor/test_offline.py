"""What is looked at while no node runs."""

from __future__ import annotations

import socket
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from springline.doctor.offline import look
from springline.doctor.report import Check
from springline.errors import Misuse
from springline.store import config, opening
from springline.store.envelope import Strength
from springline.store.layout import Layout


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    found = Layout(tmp_path / "data")
    found.prepare()
    opening.create(found, b"secret", "blue", Strength.MINIMAL, datetime.now(UTC))
    return found


def looked(layout: Layout) -> dict[str, Check]:
    return {check.what: check for check in look(layout.root)}


def test_a_node_that_is_only_not_running(layout: Layout) -> None:
    found = looked(layout)
    assert [what for what, check in found.items() if check.fails] == ["node"]
    assert "springline up" in found["node"].advice
    assert "blue" in found["identity"].seen
    assert set(found) == {"node", "identity", "data directory", "clock"}  # no port was chosen yet


def test_no_identity(tmp_path: Path) -> None:
    with pytest.raises(Misuse, match="springline init"):
        list(look(tmp_path))


def test_what_is_wrong_with_the_store(layout: Layout) -> None:
    layout.bus.symlink_to("/nowhere")
    layout.identity(config.load(layout).device_id).unlink()
    found = looked(layout)
    assert "ended from outside" in found["node"].seen
    assert "missing" in found["identity"].seen
    assert "import" in found["identity"].advice
    for file in layout.root.glob("device.json*"):
        file.write_text("{")
    assert "device.json" in looked(layout)["identity"].seen


def test_the_port_that_was_chosen(layout: Layout) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        config.keep_port(layout, port)
        found = looked(layout)["port"]
        assert found.fails
        assert str(port) in found.seen
        assert found.advice
    assert looked(layout)["port"].works


def test_a_clock_that_is_behind_the_identity(layout: Layout) -> None:
    known = config.load(layout)
    replace(known, created_at=datetime.now(UTC) + timedelta(days=365)).save(layout)
    found = looked(layout)["clock"]
    assert found.works is False
    assert "set the clock" in found.advice

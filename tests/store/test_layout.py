"""Where things are, and whom they belong to."""

from __future__ import annotations

import re
import stat
from pathlib import Path

import pytest

from springline.errors import LocalFault, Misuse
from springline.store.layout import Layout
from springline.tests.store.cast import info, key


def test_the_places(tmp_path: Path) -> None:
    layout, device = Layout(tmp_path), info(1).device_id
    assert layout.device == tmp_path / "device.json"
    assert layout.identity(device) == tmp_path / "network" / f"{device}.json"
    assert layout.connection(key(1), device).parent == tmp_path / "network" / "connections"


def test_a_peers_folder_tells_nothing_and_stays(tmp_path: Path) -> None:
    layout = Layout(tmp_path)
    made = {layout.connection(key(k), info(n).device_id).name for k in (1, 2) for n in (1, 2)}
    assert len(made) == 4
    assert all(re.fullmatch("[0-9a-f]{32}", name) for name in made)
    assert layout.connection(key(1), info(1).device_id).name == "d71087b1f725ea22f40bc53e9bf9ece3"


def test_all_folders_are_their_owners_alone_even_if_they_were_not(tmp_path: Path) -> None:
    root = tmp_path / "deep" / "data"
    (root / "network").mkdir(parents=True, mode=0o755)
    layout = Layout(root)
    layout.prepare()
    layout.prepare()
    for folder in (layout.root, layout.network, layout.connections, layout.run):
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700


def test_a_place_that_is_no_folder_is_said_plainly(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for root in (tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(LocalFault, match="data directory"):
            Layout(root).prepare()


def test_a_home_that_nobody_has_is_said_plainly() -> None:
    with pytest.raises(Misuse, match="home"):
        Layout("~nobody-of-that-name/data")

"""The audit trail on a disk that forgets (``tests/store/disk.py``): it opens, and what was synced is in it."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from springline.store import atomic
from springline.store.audit import AuditLog
from springline.tests.store.cast import NOW, ONE
from springline.tests.store.disk import Disk, Outcome, leave

KEY = bytes(range(32))
LATEST = 4
"""Entries that no rotation may have dropped."""


def details(folder: Path) -> list[str]:
    """What the trail says, oldest first."""
    trail = AuditLog(folder / "audit.log", KEY, NOW, 700, 2)
    try:
        return [entry.detail for entry in reversed(trail.entries(100)) if entry.kind == "seen"]
    finally:
        trail.close()


@pytest.mark.parametrize("before", [0, 1, 6])
def test_what_was_synced_is_there_after_a_crash_at_any_call(
    tmp_path: Path, before: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(atomic, "calls", atomic.Calls(fsync=lambda _fd: None))
    place = tmp_path / "trail"
    place.mkdir()
    synced: list[str] = []
    crashes: dict[tuple[object, ...], tuple[Outcome, list[str]]] = {}

    def note(_number: int) -> None:
        for outcome in disk.outcomes():
            crashes[tuple(sorted(outcome.items()))] = outcome, list(synced)

    with Disk(place, note) as disk:
        trail = AuditLog(place / "audit.log", KEY, NOW, 700, 2)
        for number in range(before + 3):
            if number >= before:
                trail.append("seen", ONE, f"a{number}", NOW)
            trail.append("seen", ONE, f"b{number}", NOW)
            trail.sync()
            synced += [f"a{number}"] * (number >= before) + [f"b{number}"]
        trail.close()
        note(0)
    assert details(place)[-LATEST:] == synced[-LATEST:]
    for outcome, expected in crashes.values():
        after = tmp_path / "after"
        leave(outcome, after)
        assert [one for one in details(after) if one in expected][-LATEST:] == expected[-LATEST:]
        shutil.rmtree(after)

"""Examining a bus on which nobody is: all is told, and the examiner's own thread ends quietly."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from springline.doctor import examine as module
from springline.doctor.examine import examine


class Slow(threading.Thread):
    """One that has done its work and only ends when somebody waits for that."""

    awaited = threading.Event()

    def run(self) -> None:
        super().run()
        self.awaited.wait()

    def join(self, timeout: float | None = None) -> None:
        self.awaited.set()
        super().join(timeout)


@pytest.fixture
def bus(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setattr(module, "RESTART", 0.0)
    tmp_path.chmod(0o700)
    return str(tmp_path)


def test_a_thread_that_has_not_quite_ended_is_waited_for(bus: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(threading, "Thread", Slow)
    checks = [check for check in examine(bus, None) if check.done]
    assert {check.what for check in checks} >= {"processes", "keystore", "listener", "own addresses", "devices"}
    assert not any(check.works for check in checks)


def test_who_stops_listening_ends_it(bus: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "RESTART", 3600.0)
    checks = examine(bus, None)
    assert not next(checks).done
    checks.close()
    assert "doctor" not in {thread.name for thread in threading.enumerate()}

"""``springline up --until-eof``: how the end of standard input is seen. That nodes end by it, ``tests/bench`` shows."""

from __future__ import annotations

import os
import pty
from pathlib import Path

import pytest

from springline.cli.running import _is_at_end
from springline.errors import Misuse
from springline.node import Node


def test_what_is_written_is_thrown_away_and_the_end_is_seen() -> None:
    read, write = os.pipe()
    with os.fdopen(read) as stream:
        assert not _is_at_end(stream)
        os.write(write, b"something\n" * 1000)
        for _ in range(10):
            assert not _is_at_end(stream)
        os.close(write)
        assert _is_at_end(stream)
        assert _is_at_end(stream)


def test_what_was_closed_from_the_beginning_is_at_its_end() -> None:
    assert _is_at_end(None)


def test_a_terminal_that_has_hung_up_is_at_its_end() -> None:
    ours, theirs = pty.openpty()
    with open(theirs) as terminal:
        assert not _is_at_end(terminal)
        os.close(ours)
        assert _is_at_end(terminal)


@pytest.mark.parametrize("days", [0.0, -1.0, float("nan"), float("inf"), 1e9])
def test_how_long_keys_may_serve(days: float, tmp_path: Path) -> None:
    (tmp_path / "device.json").touch()
    with pytest.raises(Misuse, match="keys can't serve"):
        Node.open(tmp_path, None, key_lifetime=days * 86400)

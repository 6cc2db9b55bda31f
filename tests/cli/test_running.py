"""``springline up --until-eof``: how the end of standard input is seen. That nodes end by it, ``tests/bench`` shows."""

from __future__ import annotations

import os

from springline.cli.running import _is_at_end


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

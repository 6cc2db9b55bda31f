"""Tests of ``springline.transport.framing``."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from springline.errors import Malformed, Misuse
from springline.transport.framing import MOST_BODY, MOST_FRAME, FrameBuffer, frame

BODIES = st.lists(st.binary(max_size=300) | st.integers(0, MOST_BODY).map(bytes), max_size=12)


def feed(buffer: FrameBuffer, data: bytes, chunk: int) -> list[bytes]:
    """Everything that comes out when ``data`` arrives in pieces of at most ``chunk`` bytes."""
    out: list[bytes] = []
    while data:
        writable = buffer.writable()
        size = min(len(writable), len(data), chunk)
        assert size > 0
        writable[:size] = data[:size]
        buffer.wrote(size)
        data = data[size:]
        out += [bytes(body) for body in buffer.frames()]
    return out


@given(BODIES, st.integers(1, 3 * MOST_FRAME), st.integers(MOST_FRAME, 3 * MOST_FRAME))
def test_frames_come_out_as_they_went_in(bodies: list[bytes], chunk: int, capacity: int) -> None:
    buffer = FrameBuffer(capacity=capacity)
    wire = b"".join(frame(body) for body in bodies)
    if len(wire) > 5000:
        chunk = max(chunk, 997)
    assert feed(buffer, wire, chunk) == bodies
    assert buffer.held == 0


@given(st.binary(max_size=2000), st.integers(1, 2000), st.integers(0, 40))
def test_arbitrary_bytes_give_frames_or_malformed(data: bytes, chunk: int, least: int) -> None:
    buffer = FrameBuffer(least)
    try:
        bodies = feed(buffer, data, chunk)
    except Malformed:
        return
    assert all(len(body) >= least for body in bodies)
    assert b"".join(frame(body) for body in bodies) == data[: len(data) - buffer.held]


def test_a_frame_can_be_changed_in_place() -> None:
    buffer = FrameBuffer()
    wire = frame(b"abc") + frame(b"def")
    buffer.writable()[: len(wire)] = wire
    buffer.wrote(len(wire))
    first, second = buffer.frames()
    first[:] = b"xyz"
    assert (bytes(first), bytes(second)) == (b"xyz", b"def")


def test_too_small_a_frame_is_malformed_before_it_is_whole() -> None:
    buffer = FrameBuffer(least=16)
    buffer.writable()[:2] = b"\0\x0f"
    buffer.wrote(2)
    with pytest.raises(Malformed):
        list(buffer.frames())


def test_wrong_sizes_are_misuse() -> None:
    with pytest.raises(Misuse):
        FrameBuffer(capacity=MOST_FRAME - 1)
    with pytest.raises(Misuse):
        frame(bytes(MOST_BODY + 1))
    buffer = FrameBuffer()
    for size in (-1, len(buffer.writable()) + 1):
        with pytest.raises(Misuse):
            buffer.wrote(size)


def test_what_is_not_used_costs_no_memory() -> None:
    def own_pages() -> int:
        text = Path("/proc/self/smaps_rollup").read_text()
        return int(re.search(r"Private_Dirty:\s+(\d+) kB", text)[1])  # type: ignore[index]

    if not Path("/proc/self/smaps_rollup").exists():
        pytest.skip("only Linux tells")
    before = own_pages()
    buffer = FrameBuffer(capacity=256 << 20)
    assert own_pages() - before < 64 << 10
    assert bytes(buffer.writable()[:4]) == bytes(4)

"""The QR code, read back by a decoder from the characters that are printed."""

from __future__ import annotations

import io

import pytest
import zxingcpp
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.console import Console

from springline.cli.pairing import show_qr
from springline.cli.qr import half_blocks, modules_of
from springline.protocols.pairing.uri import build
from springline.transport.address import Address

URI = build(bytes(range(16)), [Address("192.168.1.5", 40123), Address("fe80::1%eth0", 40123)])
INK = {" ": (False, False), "▀": (True, False), "▄": (False, True), "█": (True, True)}
SCALE, AROUND = 4, 8


def read(lines: list[str], *, ink_is_dark: bool) -> str:
    """What a scanner sees: a dark terminal unless there are colours, the characters' halves as dots."""
    rows = [[INK[character][half] for character in line] for line in lines for half in (0, 1)]
    shades = [[255 if ink != ink_is_dark else 0 for ink in row] for row in rows]
    dots = [[shade for shade in row for _ in range(SCALE)] for row in shades for _ in range(SCALE)]
    ground, width = (255 if ink_is_dark else 0), len(dots[0]) + 2 * AROUND
    empty = [[ground] * width] * AROUND
    image = [*empty, *([ground] * AROUND + row + [ground] * AROUND for row in dots), *empty]
    pixels = memoryview(b"".join(map(bytes, image))).cast("B", (len(image), width))
    return str(zxingcpp.read_barcodes(pixels)[0].text)


@pytest.mark.parametrize("ink_is_dark", [True, False])
def test_a_scanner_reads_the_uri(ink_is_dark: bool) -> None:
    lines = half_blocks(modules_of(URI), ink_is_dark=ink_is_dark)
    assert read(lines, ink_is_dark=ink_is_dark) == URI
    assert len({len(line) for line in lines}) == 1
    assert len(lines) <= 27


@settings(max_examples=20, deadline=None)
@given(st.binary(min_size=16, max_size=16), st.integers(0, 16))
def test_any_invitation(secret: bytes, addresses: int) -> None:
    uri = build(secret, [Address("192.168.100.100", 40000 + number) for number in range(addresses)])
    assert read(half_blocks(modules_of(uri), ink_is_dark=True), ink_is_dark=True) == uri


def printed(**terminal: object) -> str:
    console = Console(file=io.StringIO(), highlight=False, **terminal)  # type: ignore[arg-type]
    show_qr(console, URI)
    said = console.file
    assert isinstance(said, io.StringIO)
    return said.getvalue()


def test_without_colours_the_light_modules_are_printed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NO_COLOR", raising=False)
    said = printed(width=100, color_system=None)
    assert "\x1b" not in said
    lines = [line.ljust(len(modules_of(URI))) for line in said.splitlines() if line]
    assert read(lines, ink_is_dark=False) == URI


@pytest.mark.parametrize("system", ["standard", "256", "truecolor"])
def test_with_colours_both_are_set(system: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("TERM", "xterm")
    said = printed(width=100, force_terminal=True, color_system=system)
    lines = [line for line in said.splitlines() if "\x1b" in line]
    assert all(line.startswith("\x1b[") and line.endswith("\x1b[0m") for line in lines)
    bare = [line.partition("m")[2].removesuffix("\x1b[0m") for line in lines]
    assert read(bare, ink_is_dark=True) == URI


def test_a_narrow_terminal_is_told_so() -> None:
    said = printed(width=20, color_system=None)
    assert "columns" in said
    assert "█" not in said

"""Tests of ``springline.protocols.files.naming``."""

from __future__ import annotations

import os
import unicodedata
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from springline.errors import Malformed
from springline.protocols.files.naming import MOST_BYTES, MOST_NUMBERED, checked_name, numbered

GOOD = [
    "a",
    "report.pdf",
    "archive.tar.gz",
    "no ending",
    "-rf",
    "~",
    "100%.txt",
    "Ünïcödé.txt",
    "می\u200cخواهم.txt",  # Persian, with a non-joiner
    "👩\u200d🚀.png",  # an emoji of several
    "日本語",
    "conman.txt",
    "a..b",
    "x" * MOST_BYTES,
]
BAD = {
    "nothing": "",
    "a dot": ".",
    "the parent": "..",
    "a path": "a/b",
    "an absolute path": "/etc/passwd",
    "a path upwards": "../../.ssh/authorized_keys",
    "a path of Windows": "..\\a",
    "a drive": "C:a",
    "hidden": ".bashrc",
    "our own partial file": f".{'0' * 32}.part",
    "a NUL": "a\0b",
    "a line end": "a\nb",
    "an escape": "a\x1b[2Jb",
    "a C1 control": "a\x9bb",
    "text turned around": "a\u202egnp.exe",
    "an invisible character": "a\u200bb",
    "a line separator": "a\u2028b",
    "half a character": "a\ud800",
    "a space before": " a",
    "a space after": "a ",
    "an exotic space after": "a\u00a0",
    "a dot after": "a.",
    "a wildcard": "a*",
    "a question": "a?",
    "a pipe": "a|b",
    "a device": "CON",
    "a device with an ending": "nul.tar.gz",
    "a device with a space": "aux .txt",
    "a port": "lpt1",
    "too long": "x" * (MOST_BYTES + 1),
    "too long in UTF-8": "ü" * (MOST_BYTES // 2 + 1),
}


@pytest.mark.parametrize("name", GOOD)
def test_a_plain_name_stays_as_it_is(name: str) -> None:
    assert checked_name(name) == name


@pytest.mark.parametrize("name", BAD.values(), ids=BAD.keys())
def test_anything_else_is_refused_not_repaired(name: str) -> None:
    with pytest.raises(Malformed):
        checked_name(name)


@pytest.mark.parametrize("name", [None, 5, b"a", ["a"]])
def test_what_is_no_text_is_malformed(name: object) -> None:
    with pytest.raises(Malformed):
        checked_name(name)


def test_a_name_is_put_in_normal_form() -> None:
    """What macOS spells in two characters is the same name."""
    assert checked_name("u\u0308.txt") == "ü.txt"


def test_a_name_this_python_does_not_know_yet_is_fine() -> None:
    unassigned = next(chr(c) for c in range(0x1FA00, 0x1FFFE) if unicodedata.category(chr(c)) == "Cn")
    assert checked_name(unassigned) == unassigned


@given(st.text(max_size=100) | st.text("./\\ aC:ON", max_size=8))
@example("\u0958.")
def test_what_passes_is_one_plain_component(name: str) -> None:
    try:
        checked = checked_name(name)
    except Malformed:
        return
    assert checked_name(checked) == checked
    assert os.path.basename(checked) == checked == Path(checked).name
    assert checked not in ("", ".", "..")
    assert len(os.fsencode(checked)) <= MOST_BYTES


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("report.pdf", "report (2).pdf"),
        ("archive.tar.gz", "archive.tar (2).gz"),
        ("no ending", "no ending (2)"),
        ("a..b", "a. (2).b"),
    ],
)
def test_namesakes_are_numbered_before_the_ending(name: str, expected: str) -> None:
    assert numbered(name, 0) == name
    assert numbered(name, 2) == expected


@pytest.mark.parametrize("name", ["x" * MOST_BYTES, "a." + "x" * (MOST_BYTES - 2), "é" * (MOST_BYTES // 2)])
def test_a_numbered_name_still_fits(name: str) -> None:
    longest = numbered(name, 999)
    assert checked_name(longest, MOST_NUMBERED) == longest

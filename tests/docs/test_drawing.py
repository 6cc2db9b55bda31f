"""What the pages show of the link machine is what the machine does."""

from __future__ import annotations

from pathlib import Path
from xml.etree import ElementTree

import pytest

import springline
from springline.docs.__main__ import made
from springline.docs.drawing import FRAMED, draw
from springline.docs.exploring import Survey, survey
from springline.docs.table import insert, moves_table, simple_table
from springline.errors import InternalFault, Misuse
from springline.transport import link
from springline.transport.link import DIAL_DEADLINE, TABLE, WATCH, Hint, Phase, Retry, Unwanted, Wanted


@pytest.mark.parametrize("name", ["link.svg", "staying-connected.rst"])
def test_what_is_kept_is_what_the_machine_does(name: str) -> None:
    kept = (Path(springline.__file__).parent / "docs" / name).read_text(encoding="utf-8")
    assert made()[name] == kept, "run 'make docs'"


def test_every_entry_of_the_table_is_walked_through() -> None:
    """And nothing can happen that is not in it: ``survey`` would raise."""
    assert {(move.before, move.event) for move in survey().moves} == set(TABLE)


def test_what_can_happen_and_is_not_in_the_table_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(TABLE, (Phase.RECONNECTING, Hint))
    with pytest.raises(InternalFault, match="Hint while Reconnecting"):
        survey()


def test_deadlines_are_those_of_the_machine() -> None:
    longest = {phase: pytest.approx(seconds) for phase, seconds in survey().longest.items()}
    dialling = {Phase.CONNECTING: DIAL_DEADLINE, Phase.AUTHENTICATING: DIAL_DEADLINE}
    assert longest == {**dialling, Phase.CONNECTED: WATCH, Phase.RECONNECTING: Retry().cap}


def test_a_change_of_the_machine_changes_picture_and_table(monkeypatch: pytest.MonkeyPatch) -> None:
    before = survey()
    monkeypatch.setitem(TABLE, (Phase.RECONNECTING, Wanted), link._disconnect)
    after = survey()
    assert draw(after) != draw(before)
    assert moves_table(after) != moves_table(before)


def test_what_not_all_of_the_frame_share_is_drawn_from_each(monkeypatch: pytest.MonkeyPatch) -> None:
    assert words(survey()).count("unwanted") == 1
    monkeypatch.setitem(TABLE, (Phase.CONNECTED, Unwanted), link._ignore)
    assert words(survey()).count("unwanted") == len(FRAMED) - 1


def test_the_picture_is_a_picture() -> None:
    picture = ElementTree.fromstring(draw(survey()))
    assert picture.tag == "{http://www.w3.org/2000/svg}svg"
    assert {phase.value for phase in Phase} <= set(words(survey()))


def words(found: Survey) -> list[str]:
    texts = ElementTree.fromstring(draw(found)).iter("{http://www.w3.org/2000/svg}text")
    return [text.text or "" for text in texts]


# -- tables ------------------------------------------------------------------------------------------------------------


def test_a_table_is_put_where_it_belongs_and_again() -> None:
    page = "a\n\n.. made: x\n\nold\nolder\n\n.. end\n\nb\n\n.. made: y\n\n.. end\n"
    once = insert(page, "x", "new")
    assert once == "a\n\n.. made: x\n\nnew\n\n.. end\n\nb\n\n.. made: y\n\n.. end\n"
    assert insert(once, "x", "new") == once
    assert insert(once, "y", "too").endswith(".. made: y\n\ntoo\n\n.. end\n")


def test_a_page_without_a_place_is_refused() -> None:
    with pytest.raises(Misuse, match="no place for x"):
        insert("a\n", "x", "new")


def test_a_table_s_first_cell_is_never_empty() -> None:
    assert simple_table(("a", "b"), [("1", "2"), ("", "3")]).splitlines()[4] == "\\  3"



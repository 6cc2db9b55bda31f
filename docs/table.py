"""Tables for the pages, in reStructuredText that is readable as it is.

The rule: what is made stands between two comments of the page, so the page is one file that a forge shows as a whole,
and making it again changes nothing but that.
"""

from __future__ import annotations

from collections.abc import Sequence

from springline.docs.drawing import label
from springline.docs.exploring import Move, Survey
from springline.errors import Misuse

NOTHING = "–"


def moves_table(found: Survey) -> str:
    """Every move of the link machine."""
    rows = []
    before = None
    for move in found.moves:
        state = "" if move.before is before else f"**{move.before.value}**"
        before = move.before
        rows.append((state, label(move), "stays" if move.before is move.after else move.after.value, _does(move)))
    return simple_table(("in", "on", "→", "does"), rows)


def _does(move: Move) -> str:
    words = (f"{word}, if need be" if word in move.perhaps else word for word in move.does)
    return "; ".join(words) or NOTHING


def simple_table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A simple table. A cell may be empty, but in the first column that would go on with the row above."""
    rows = [["\\" if not row[0] else row[0], *row[1:]] for row in rows]
    widths = [max(len(row[column]) for row in (head, *rows)) for column in range(len(head))]
    rule = "  ".join("=" * width for width in widths)
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) for row in (head, *rows)]
    return "\n".join(line.rstrip() for line in (rule, lines[0], rule, *lines[1:], rule))


def insert(page: str, name: str, text: str) -> str:
    """The page with that text between the comments of that name.

    :raises Misuse: the page has no such comments.
    """
    begin, end = f".. made: {name}\n", ".. end\n"
    before, found, after = page.partition(begin)
    _, ended, rest = after.partition(end)
    if not (found and ended):
        raise Misuse(f"there is no place for {name}", f"put '.. made: {name}', an empty line and '.. end' there")
    return f"{before}{begin}\n{text}\n\n{end}{rest}"

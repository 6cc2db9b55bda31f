"""``python -m springline.docs``: draws the link machine anew, and writes its table into the page about it."""

from __future__ import annotations

import sys
from pathlib import Path

from springline.docs.drawing import draw
from springline.docs.exploring import survey
from springline.docs.table import insert, moves_table

FOLDER = Path(__file__).parent
PAGE = "staying-connected.rst"
PICTURE = "link.svg"


def made() -> dict[str, str]:
    """What the files are to contain, by their names in this folder."""
    found = survey()
    page = (FOLDER / PAGE).read_text(encoding="utf-8")
    return {PICTURE: draw(found), PAGE: insert(page, "moves", moves_table(found))}


def main() -> int:
    """Write them; 0."""
    for name, text in made().items():
        (FOLDER / name).write_text(text, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())

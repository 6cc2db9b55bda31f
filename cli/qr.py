"""An invitation as a QR code made of characters: two modules above each other in each, so that it fits a terminal.

The rule: a scanner wants dark modules on a light ground, with a light border. Where there are colours, both are set,
and the code is right on any terminal. Where there are none, what is printed are the *light* modules, because most
terminals are dark; on a light one the code is inverted, which many scanners take all the same.
"""

from __future__ import annotations

from itertools import zip_longest

import segno

BORDER = 2
"""Light modules around the code. The standard (ISO/IEC 18004) wants 4; scanners do with 2, and the code is smaller."""

_BLOCKS = {(False, False): " ", (True, False): "▀", (False, True): "▄", (True, True): "█"}

Modules = list[list[bool]]
"""Rows of modules; True is dark."""


def modules_of(text: str) -> Modules:
    """The code of ``text``, border included, with the least error correction: a screen has no scratches."""
    code = segno.make(text, error="l", micro=False)
    return [[bool(module) for module in row] for row in code.matrix_iter(border=BORDER)]


def half_blocks(modules: Modules, *, ink_is_dark: bool) -> list[str]:
    """Lines of text, half as many as rows.

    :param ink_is_dark: whether what is printed is darker than the ground, as black on white is.
    """
    ground = [not ink_is_dark] * len(modules[0])  # below an odd last row: nothing is printed
    rows = iter(modules)
    pairs = zip_longest(rows, rows, fillvalue=ground)
    return [_line(upper, lower, ink_is_dark) for upper, lower in pairs]


def _line(upper: list[bool], lower: list[bool], ink_is_dark: bool) -> str:
    both = zip(upper, lower, strict=True)
    return "".join(_BLOCKS[above is ink_is_dark, below is ink_is_dark] for above, below in both)

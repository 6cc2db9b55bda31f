"""The picture of the link machine, as SVG.

The rule: which arrows there are, what is written on them, and what a state does within itself comes from the survey;
here is only where things stand and how an arrow bends. An arrow that is not known here is drawn straight, so what is
new in the machine is in the picture, if not prettily. What all states within the frame have in common is one arrow
from the frame.
"""

from __future__ import annotations

import math
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass
from html import escape

from springline.docs.exploring import Move, Survey
from springline.transport import link
from springline.transport.link import Phase

WIDTH, HEIGHT = 1160, 700
LINE = 17
LETTER = 6.6
"""Pixels a letter takes of what a state does within itself."""

Point = tuple[float, float]


@dataclass(frozen=True, slots=True)
class Look:
    """How a state is drawn. :param x: of its middle. :param y: of its top."""

    x: float
    y: float
    colour: str
    meaning: str
    width: float = 210


@dataclass(frozen=True, slots=True)
class Way:
    """How an arrow goes: from there on its box to there on the other one, as shares of width and height.

    :param bend: pixels by which its middle is off the straight line, to the left of its direction.
    :param text: where along it its words stand. :param off: and so many pixels from there.
    """

    start: Point = (0.5, 0.5)
    end: Point = (0.5, 0.5)
    bend: float = 0.0
    text: float = 0.5
    off: Point = (0.0, 0.0)


FRAME = None
FRAMED = (Phase.CONNECTING, Phase.AUTHENTICATING, Phase.CONNECTED, Phase.RECONNECTING)
AROUND = 30, 30, 1100, 475  # x, y, width, height

LOOKS = {
    Phase.CONNECTING: Look(190, 225, "#2f6f9f", "a dial is in flight", 260),
    Phase.AUTHENTICATING: Look(555, 70, "#2f6f9f", "the handshake is running", 270),
    Phase.CONNECTED: Look(962, 195, "#2e7d4f", "a session carries the link", 305),
    Phase.RECONNECTING: Look(555, 275, "#b4690e", "waits for the next dial", 250),
    Phase.DISCONNECTED: Look(240, 600, "#5c6770", "not wanted"),
    Phase.FAILED: Look(920, 600, "#a63a3a", "over for good"),
}
WAYS: dict[tuple[Phase | None, Phase], Way] = {
    (Phase.CONNECTING, Phase.AUTHENTICATING): Way((0.35, 0), (0, 0.3), 35, 0.5, (-20, -10)),
    (Phase.AUTHENTICATING, Phase.CONNECTING): Way((0.05, 1), (0.75, 0), -8, 0.5, (35, 8)),
    (Phase.AUTHENTICATING, Phase.CONNECTED): Way((1, 0.3), (0.5, 0), 35, 0.5, (0, -8)),
    (Phase.AUTHENTICATING, Phase.RECONNECTING): Way((0.5, 1), (0.5, 0)),
    (Phase.CONNECTING, Phase.RECONNECTING): Way((1, 0.3), (0, 0.2), 4, 0.45, (0, -12)),
    (Phase.RECONNECTING, Phase.CONNECTING): Way((0, 0.8), (1, 0.85), 8, 0.5, (0, 18)),
    (Phase.CONNECTED, Phase.RECONNECTING): Way((0, 0.45), (1, 0.2), -4, 0.5, (-4, -22)),
    (Phase.RECONNECTING, Phase.CONNECTED): Way((1, 0.8), (0, 0.8), -4, 0.5, (0, 4)),
    (Phase.CONNECTING, Phase.CONNECTED): Way((0.4, 1), (0.55, 1), -150),
    (Phase.CONNECTED, Phase.CONNECTING): Way((0.25, 1), (0.75, 1), 70),
    (Phase.DISCONNECTED, Phase.CONNECTING): Way((0.1, 0), (0.1, 1), 6),
    (Phase.DISCONNECTED, Phase.FAILED): Way((1, 0.5), (0, 0.5)),
    (FRAME, Phase.DISCONNECTED): Way((0.24, 1), (0.85, 0)),
    (FRAME, Phase.FAILED): Way((0.809, 1), (0.5, 0)),
}
EVENTS: dict[type, str] = {
    link.Wanted: "wanted",
    link.Unwanted: "unwanted",
    link.Revoked: "revoked",
    link.SocketUp: "socket up",
    link.DialFailed: "dial failed",
    link.Established: "session",
    link.SessionLost: "session lost",
    link.Hint: "hint",
    link.Tuned: "tuned",
    link.DeadlineDue: "deadline",
}


def label(move: Move) -> str:
    """Its event in few words."""
    name = EVENTS.get(move.event, move.event.__name__)
    return f"{name}: {move.note}" if move.note else name


def draw(found: Survey) -> str:
    """The whole picture."""
    boxes = {phase: _Box.of(found, phase) for phase in Phase}
    parts = [_HEAD, *_frame(), *(part for box in boxes.values() for part in box.draw())]
    for (before, after), words in _arrows(found).items():
        corner = AROUND if before is FRAME else boxes[before].corner
        parts += _arrow(WAYS.get((before, after), Way()), corner, boxes[after].corner, words)
    return "\n".join([*parts, "</svg>", ""])


# -- what is drawn -----------------------------------------------------------------------------------------------------


def _arrows(found: Survey) -> dict[tuple[Phase | None, Phase], list[str]]:
    """What leads from where to where, and on which events."""
    arrows: dict[tuple[Phase | None, Phase], list[str]] = {}
    for move in found.moves:
        before = FRAME if _is_common(found, move) else move.before
        if move.before is not move.after:
            words = arrows.setdefault((before, move.after), [])
            words += [label(move)] if label(move) not in words else []
    return arrows


def _is_common(found: Survey, move: Move) -> bool:
    """True if every state within the frame goes there on that event."""
    same = {one.before for one in found.moves if (one.event, one.after) == (move.event, move.after)}
    return move.before in FRAMED and move.after not in FRAMED and same.issuperset(FRAMED)


@dataclass(frozen=True, slots=True)
class _Box:
    """A state. :param deadline: seconds at most, or None. :param own: what it does within itself."""

    phase: Phase
    deadline: float | None
    own: tuple[str, ...]

    @classmethod
    def of(cls, found: Survey, phase: Phase) -> _Box:
        own = [move for move in found.moves if move.before is move.after is phase and move.does]
        columns = int(LOOKS[phase].width / LETTER)
        lines = [textwrap.wrap(f"{label(move)} → {', '.join(move.does)}", columns) for move in own]
        first = [f"• {line}" for text in lines for line in text]
        rest = {f"• {line}" for text in lines for line in text[1:]}
        return cls(phase, found.longest.get(phase), tuple(f"  {line[2:]}" if line in rest else line for line in first))

    @property
    def corner(self) -> tuple[float, float, float, float]:
        """x, y, width, height."""
        look = LOOKS[self.phase]
        height = 52 + (LINE * len(self.own) + 12 if self.own else 0)
        return look.x - look.width / 2, look.y, look.width, height

    def draw(self) -> Iterator[str]:
        look, (x, y, width, height) = LOOKS[self.phase], self.corner
        yield f'<rect x="{x:g}" y="{y:g}" width="{width:g}" height="{height:g}" rx="9" fill="{look.colour}"/>'
        if self.own:
            inner = f'x="{x + 2:g}" y="{y + 52:g}" width="{width - 4:g}" height="{height - 54:g}" rx="7"'
            yield f'<rect {inner} fill="#ffffff"/>'
        yield _text(look.x, y + 21, self.phase.value, "name")
        limit = "" if self.deadline is None else f" · at most {self.deadline:.0f} s"
        yield _text(look.x, y + 40, look.meaning + limit, "meaning")
        for number, line in enumerate(self.own):
            indent = 10 if line.startswith(" ") else 0
            yield _text(x + 12 + indent, y + 71 + LINE * number, line.strip(), "own")


# -- how it is drawn ---------------------------------------------------------------------------------------------------

_HEAD = f"""<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" width="{WIDTH}" height="{HEIGHT}">
<title>The life of a link</title>
<style>
text {{ font: 14px Helvetica, Arial, "DejaVu Sans", sans-serif; fill: #1d2b36; text-anchor: middle }}
text.name {{ font-size: 17px; font-weight: bold; fill: #ffffff }}
text.meaning {{ font-size: 12.5px; fill: #ffffff }}
text.own {{ font-size: 12.5px; text-anchor: start }}
text.word {{ paint-order: stroke; stroke: #f4f8fa; stroke-width: 6px; stroke-linejoin: round }}
path.arrow {{ fill: none; stroke: #4c5d6a; stroke-width: 1.7 }}
</style>
<defs><marker id="tip" viewBox="0 0 10 10" refX="9" refY="5" markerWidth="8" markerHeight="8" orient="auto">
<path d="M0 0.8 L10 5 L0 9.2 z" fill="#4c5d6a"/></marker></defs>
<rect width="{WIDTH}" height="{HEIGHT}" fill="#f4f8fa"/>"""


def _frame() -> Iterator[str]:
    x, y, width, height = AROUND
    yield (
        f'<rect x="{x}" y="{y}" width="{width}" height="{height}" rx="18" fill="none" stroke="#9db4c0" '
        f'stroke-width="1.5" stroke-dasharray="7 5"/>'
    )
    yield _text(x + 24, y + 29, "wanted: each of these has a deadline", "own")


def _text(x: float, y: float, words: str, kind: str) -> str:
    return f'<text x="{x:g}" y="{y:g}" class="{kind}">{escape(words)}</text>'


def _arrow(way: Way, here: tuple[float, ...], there: tuple[float, ...], words: list[str]) -> Iterator[str]:
    (x0, y0), (x1, y1) = _on(here, way.start), _on(there, way.end)
    length = math.hypot(x1 - x0, y1 - y0) or 1.0
    left = (y1 - y0) / length, (x0 - x1) / length
    bent = (x0 + x1) / 2 + 2 * way.bend * left[0], (y0 + y1) / 2 + 2 * way.bend * left[1]
    yield (
        f'<path d="M{x0:.0f} {y0:.0f} Q{bent[0]:.0f} {bent[1]:.0f} {x1:.0f} {y1:.0f}" class="arrow" '
        f'marker-end="url(#tip)"/>'
    )
    along = way.text
    x = (1 - along) ** 2 * x0 + 2 * along * (1 - along) * bent[0] + along**2 * x1 + way.off[0]
    y = (1 - along) ** 2 * y0 + 2 * along * (1 - along) * bent[1] + along**2 * y1 + way.off[1]
    lines = [line for word in words for line in word.replace(": ", ":\n").split("\n")]
    for number, line in enumerate(lines):
        yield _text(round(x), round(y + 5 + LINE * (number - (len(lines) - 1) / 2)), line, "word")


def _on(box: tuple[float, ...], share: Point) -> Point:
    x, y, width, height = box
    return x + width * share[0], y + height * share[1]

"""What is measured, said the same way everywhere: a figure, its limit, and how it was come by.

The rule: a figure is a median, or the share below which 95 of 100 lie, of ``runs`` runs; machines are shared and noisy.
Nothing here fails because it is slow. What could not be measured is a figure too, with the reason.
"""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Figure:
    """One line of the table.

    :param name: for programs. :param what: for people. :param value: None if it could not be measured: ``why_not``.
    :param most: the value is to be no more; :param least: it is to be no less; None if there is no such limit.
    :param runs: how many it was made from.
    """

    name: str
    what: str
    value: float | None
    unit: str
    most: float | None = None
    least: float | None = None
    runs: int = 1
    why_not: str = ""

    @property
    def limit(self) -> str:
        """For people."""
        parts = [f"{sign} {value:g}" for sign, value in (("≥", self.least), ("≤", self.most)) if value is not None]
        return " and ".join(parts)

    @property
    def met(self) -> bool | None:
        """None if there is no limit, or no value."""
        if self.value is None or not self.limit:
            return None
        return (self.most is None or self.value <= self.most) and (self.least is None or self.value >= self.least)


def median(
    name: str, what: str, values: Sequence[float], unit: str, *, most: float | None = None, least: float | None = None
) -> Figure:
    """The figure in the middle of ``values``."""
    return Figure(name, what, statistics.median(values), unit, most, least, len(values))


def p95(name: str, what: str, values: Sequence[float], unit: str, *, most: float | None = None) -> Figure:
    """The figure that 95 of 100 are no more than; of fewer than twenty runs that is the worst."""
    ordered = sorted(values)
    return Figure(name, f"{what}, p95", ordered[int((len(ordered) - 1) * 0.95 + 0.999)], unit, most, None, len(values))


def not_measured(name: str, what: str, unit: str, why_not: str) -> Figure:
    """Why there is none."""
    return Figure(name, what, None, unit, why_not=why_not)

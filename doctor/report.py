"""What an examination has found, as values: one :class:`Check` for each thing that was looked at."""

from __future__ import annotations

from dataclasses import dataclass
from uuid import UUID


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that is, or was, looked at.

    :param what: e.g. ``listener``, ``mDNS``, ``link``, or an address. :param device: whom it is about, or None.
    :param done: False while it is being looked at; nothing else is known then.
    :param works: None if that can't be said, or if it is not wanted.
    :param needed: whether the node is not well without it.
    :param seen: what was seen, one line. :param advice: what would help, or ``""``.
    :param steps: ``(step, seconds, error)`` of a trial, as of ``actors.finding.Tried``.
    """

    what: str
    device: UUID | None = None
    done: bool = True
    works: bool | None = None
    needed: bool = False
    seen: str = ""
    advice: str = ""
    steps: tuple[tuple[str, float, str], ...] = ()

    @property
    def fails(self) -> bool:
        """True if the node is not well because of it."""
        return self.needed and self.works is False


@dataclass(frozen=True, slots=True)
class Report:
    """Everything that was looked at, in the order in which that was begun."""

    checks: tuple[Check, ...]

    @property
    def failures(self) -> tuple[Check, ...]:
        """What the node is not well for."""
        return tuple(check for check in self.checks if check.fails)

    @property
    def works(self) -> bool:
        """True if everything works that is needed."""
        return not self.failures

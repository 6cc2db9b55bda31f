"""Finders for the tests: one that works, one that does not start, one that never says how it goes."""

from __future__ import annotations

from typing import Any

from springline.actors.finding import Health, HowItGoes
from springline.actors.shell import LATER, Sender, Shell, receives


class Hale(Shell):
    """Says how it goes."""

    @receives(HowItGoes)
    def how(self, message: HowItGoes, sender: Sender) -> Health:
        return Health(True, "3 devices heard", "")


class Stillborn(Shell):
    """Never lives."""

    def start(self, args: Any) -> object:
        raise RuntimeError("there is no such socket")


class Silent(Shell):
    """Lives, and answers nothing."""

    @receives(HowItGoes)
    def how(self, message: HowItGoes, sender: Sender) -> object:
        return LATER

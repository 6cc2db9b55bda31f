"""Nodes whose links refresh their keys all the time, and which, if they are deaf, miss that somebody is revoked.

Run as a module it is ``springline`` with these changes; every process of a node is a fork of it and has them too.
"""

from __future__ import annotations

import functools
import os
import sys
from pathlib import Path

import pytest

from springline.actors.connection import ConnectionArgs, DeviceConnection
from springline.actors.messages import LinkWanted
from springline.actors.shell import Sender
from springline.cli import main
from springline.store.devices import TrustLevel
from springline.store.envelope import Strength
from springline.supervisors import connections
from springline.tests.nodes import QuickNode
from springline.transport.refresh import RefreshLimits

LIMITS = RefreshLimits(age=0.05, size=1 << 20, end=60.0, retry=0.05)
DEAF = "SPRINGLINE_DEAF"
REFRESHED, HINDERED = "springline.refresh: keys refreshed", "springline.refresh: the keys are not refreshed yet"


class HastyNode(QuickNode):
    """A node that says in its log when it has refreshed keys."""

    def __init__(
        self, folder: Path, name: str, token: str, strength: Strength = Strength.MODERATE, *, deaf: bool = False
    ) -> None:
        super().__init__(folder, name, token, strength)
        self.environment["SPRINGLINE_LOG"] = "debug"
        if deaf:
            self.environment[DEAF] = "1"

    def _command(self, *arguments: str) -> list[str]:
        return [sys.executable, "-m", "springline.tests.hasty", *arguments, "--data-dir", str(self.folder)]

    def refreshes(self) -> int:
        """How many it has seen."""
        return self._log().count(REFRESHED)

    def hindrances(self) -> int:
        """How often one has come to nothing."""
        return self._log().count(HINDERED)

    def _log(self) -> str:
        return (self.folder / "run" / "bus" / "springline.log").read_text()


class DeafNode(HastyNode):
    """Its links stay up whatever happens to the trust in the other side."""

    def __init__(self, folder: Path, name: str, token: str, strength: Strength = Strength.MODERATE) -> None:
        super().__init__(folder, name, token, strength, deaf=True)


def _not_told(*_: object) -> None:
    """What a deaf link makes of the news."""


def _told_to_connect(link: DeviceConnection, message: LinkWanted, sender: Sender) -> None:
    """A deaf link hears that it is wanted, and no more."""
    if message.wanted:
        _wanted(link, message, sender)


_wanted = DeviceConnection.wanted


def change() -> None:
    """Make this process, and what it forks, hasty; and deaf if it is to be."""
    patch = pytest.MonkeyPatch()
    patch.setattr(connections, "ConnectionArgs", functools.partial(ConnectionArgs, refresh=LIMITS))
    if DEAF in os.environ:
        patch.setattr(DeviceConnection, "revoked", _not_told)
        patch.setattr(DeviceConnection, "wanted", _told_to_connect)
        patch.setattr(connections, "LINKED", tuple(TrustLevel))


if __name__ == "__main__":
    change()
    main()

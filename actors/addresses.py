"""Where actors are, in the engine's words: an address is a path on the bus.

The rule: it says which mailbox, or which name, and nothing of a process or a host. So the engine's addresses stay good
across the bus without a table of them, and one made of a name leads to whoever has the name when it is used.
"""

from __future__ import annotations

import os

from thespian.actors import ActorAddress


class BusAddress:
    """Inside of an ``ActorAddress``: the path of a mailbox, or of a name."""

    def __init__(self, path: str) -> None:
        self.path = path

    def __eq__(self, other: object) -> bool:
        return isinstance(other, BusAddress) and self.path == other.path

    def __hash__(self) -> int:
        return hash(self.path)

    def __str__(self) -> str:
        return os.path.basename(self.path)

    def isLocalAddr(self) -> bool:
        """All of the bus is on this machine."""
        return True

    def isSameSystem(self, _other: object) -> bool:
        """And one system."""
        return True


def address_of(target: str, directory: str) -> ActorAddress:
    """The engine's address of a registered name or a bus path."""
    return ActorAddress(BusAddress(target if "/" in target else os.path.join(directory, target)))


def path_of(actor: ActorAddress) -> str:
    """The bus path of an actor's address; ``""`` for a child that has not said hello yet."""
    return str(getattr(actor.addressDetails, "path", ""))

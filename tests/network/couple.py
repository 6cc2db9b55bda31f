"""Two paired nodes on hosts of their own, and what is asked of them after each disaster."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from uuid import UUID

from springline.errors import SpringlineError
from springline.protocols.message import Custom
from springline.tests.network.host import Host
from springline.tests.network.lab import running
from springline.tests.nodes import echo, eventually

PATIENCE = 60.0


@dataclass
class Couple:
    """``red`` has invited ``blue``."""

    red: Host
    blue: Host
    red_id: UUID
    blue_id: UUID

    def sides(self) -> tuple[tuple[Host, UUID], tuple[Host, UUID]]:
        """Each host, and whom its node talks to."""
        return (self.red, self.blue_id), (self.blue, self.red_id)

    def talk(self) -> None:
        """Both reach each other."""
        for host, other in self.sides():
            eventually(lambda: echo(host.node.control, other), f"{host.name} gets an echo", PATIENCE)  # noqa: B023

    def say(self, *hosts: Host) -> None:
        """Both, or these, say something, whether it gets through or not: from now on silence is suspicious."""
        for host, other in self.sides():
            if hosts and host not in hosts:
                continue
            with contextlib.suppress(SpringlineError):
                host.node.control.send(other, Custom("echo", 1, b"?"), protocol="echo", timeout=0.3)

    def notices(self, host: Host, since: float) -> None:
        """That host's node finds the session dead by itself.

        :param since: wall-clock seconds, for those it has found dead before.
        """
        other = self.blue_id if host is self.red else self.red_id

        def dead() -> bool:
            told = host.node.control.why(other).entries
            return any("no sign of life" in entry.evidence and entry.at >= since for entry in told)

        eventually(dead, f"{host.name} notices", PATIENCE)


@contextlib.contextmanager
def couple(red: Host, blue: Host) -> Iterator[Couple]:
    """They run, are paired and connected."""
    with running(red, blue):
        yield paired(red, blue)


def paired(red: Host, blue: Host, bent: Callable[[str], str] = str) -> Couple:
    """Pair two that run. :param bent: what becomes of the invitation's URI on its way."""
    blue.node.control.join(bent(red.node.control.invite().uri))
    made = Couple(red, blue, red.node.control.whoami().device_id, blue.node.control.whoami().device_id)
    made.talk()
    return made

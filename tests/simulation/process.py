"""A process of a simulated node: a loop of its own, questions to the Keystore, and an end that comes without a word."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from springline.errors import SpringlineError, Unreachable
from springline.tests.simulation.clock import Loop

if TYPE_CHECKING:
    from springline.tests.simulation.keystore import Keystore
    from springline.tests.simulation.node import Node


class Process:
    """One of a node's."""

    def __init__(self, node: Node) -> None:
        self.node = node
        self.loop = Loop(node.clock)

    def kill(self) -> None:
        """SIGKILL: nothing of it happens any more, but what its kernel does."""
        self.loop.close()
        self.killed()

    def killed(self) -> None:
        """What the kernel does."""

    def ask(self, question: Callable[[Keystore], Any], then: Callable[[Any], object]) -> None:
        """Ask the Keystore; ``then`` gets the answer, or a SpringlineError, unless this process dies before."""

        def answered(keystore: Keystore | None) -> None:
            try:
                if keystore is None:
                    raise Unreachable("the keystore is being restarted")
                answer = question(keystore)
            except SpringlineError as error:
                answer = error
            self.node.later(("keystore", self), lambda: None if self.loop.closed else then(answer))

        self.node.tell((self, "keystore"), lambda: self.node.keystore, answered, lost=answered)

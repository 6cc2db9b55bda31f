"""A process of a simulated node: a loop of its own, questions to others, and an end that comes without a word.

The rule: what an actor awaits is written here as a generator that yields it: a question to another process of its node,
or seconds to wait. So a simulated process reads like the actor it follows, and anything may happen in between.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from typing import TYPE_CHECKING, Any

from springline.errors import SpringlineError, Unreachable
from springline.tests.simulation.clock import Loop

if TYPE_CHECKING:
    from springline.tests.simulation.keystore import Keystore
    from springline.tests.simulation.node import Node

Question = Callable[[Any], Any]

Work = Generator[tuple[str, Question] | float, Any, None]
"""Yields ``(name, question)`` and gets the answer, or has a SpringlineError raised; or seconds."""


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
        self.ask_of("keystore", question, then)

    def ask_of(self, name: str, question: Question, then: Callable[[Any], object]) -> None:
        """The same, of the process with that name."""
        node = self.node

        def answered(process: Any) -> None:
            try:
                if process is None:
                    raise Unreachable(f"the {name} is being restarted")
                answer = question(process)
            except SpringlineError as error:
                answer = error
            node.later((name, self), lambda: None if self.loop.closed else then(answer))

        node.tell((self, name), lambda: getattr(node, name), answered, lost=answered)

    def go(self, work: Work) -> None:
        """Do something that waits in between."""

        def on(answer: Any) -> None:
            try:
                due = work.throw(answer) if isinstance(answer, SpringlineError) else work.send(answer)
            except StopIteration:
                return
            if isinstance(due, tuple):
                self.ask_of(*due, on)
            else:
                self.loop.call_later(due, on, None)

        on(None)

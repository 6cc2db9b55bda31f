"""The messages every actor understands, whatever it does: asked and answered, started, watched, stopped.

They are what makes an actor supervisable, and nothing else; what particular actors say to each other is in
``actors/messages.py``. An actor's life: ``Start`` → (work) ``Ready`` → ``Ping``/``Pong`` … → ``Stop`` → gone. A child
that is ending on its own account says ``Exiting`` first, because the engine tells a parent *that* a child ended but
never why.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Ask:
    """A question that wants a :class:`Reply` with the same ``id``; the body says what is asked."""

    id: int
    body: object


@dataclass(frozen=True, slots=True)
class Reply:
    """The answer to the :class:`Ask` of that ``id``. A ``SpringlineError`` as value is raised where it was asked."""

    id: int
    value: object


@dataclass(frozen=True, slots=True)
class Start:
    """Begin to work. Sent once, by the parent, right after the process exists.

    :param name: the name to register on the bus.
    :param generation: which of the processes the parent has started under this name; grows, and is never used twice.
    :param args: what the child's spec says; the actor's own type.
    :param parent: bus path of the parent, for ``Ready``, ``Pong`` and ``Exiting``.
    """

    name: str
    generation: int
    args: object
    parent: str


@dataclass(frozen=True, slots=True)
class Ready:
    """The child has finished starting; the next sibling may start."""

    name: str
    generation: int
    pid: int


@dataclass(frozen=True, slots=True)
class Ping:
    """Are you still handling messages?"""

    seq: int


@dataclass(frozen=True, slots=True)
class Pong:
    """Yes."""

    name: str
    generation: int
    seq: int


@dataclass(frozen=True, slots=True)
class Stop:
    """Finish what must be finished and exit; a deadline and SIGKILL follow."""


@dataclass(frozen=True, slots=True)
class Exiting:
    """The child is about to end.

    :param reason: one line for people.
    :param normal: True if it ended because its work was done or it was told to.
    """

    name: str
    generation: int
    reason: str
    normal: bool

"""The stages, as fixtures."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from springline.actors.wire import Mailbox
from springline.tests.actors.stage import App, NewMailbox, Stage, all_end, private_directory


@pytest.fixture
def directory() -> Iterator[str]:
    with private_directory() as directory:
        yield directory


@pytest.fixture
def stage(directory: str) -> Iterator[Stage]:
    stage = Stage(directory)
    try:
        yield stage
    finally:
        stage.close()


@pytest.fixture
def app(directory: str) -> Iterator[App]:
    app = App(directory)
    everybody = app.tree()
    try:
        yield app
    finally:
        app.close()
        all_end(everybody)


@pytest.fixture
def mailbox(directory: str) -> Iterator[NewMailbox]:
    """Makes mailboxes in the directory, and closes them."""
    made: list[Mailbox] = []

    def make(name: str | None = None) -> Mailbox:
        made.append(Mailbox(directory, name))
        return made[-1]

    yield make
    for each in made:
        each.close()

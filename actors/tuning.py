"""How a DeviceConnection learns how eagerly its link is kept up: the Keystore has it in the device's preferences.

The rule: a link does not wait for it. It begins with what is usual, and is retuned within a moment, as it is when the
user chooses something else. Whoever changes it tells; so it is asked once in a life of the connection.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any
from uuid import UUID

from springline.actors.messages import KEYSTORE, HowTuned
from springline.errors import NotRunning, SpringlineError, Unreachable
from springline.store.preferences import Tuning
from springline.transport.link import Retry

RETRY = 0.5
"""Seconds after which a Keystore that is just being restarted is asked again."""


async def learn(ask: Callable[[str, object], Awaitable[Any]], device: UUID) -> Tuning | None:
    """How the user wants the link to ``device``; None if that is not to be known."""
    while True:
        try:
            found: Tuning = await ask(KEYSTORE, HowTuned(device))
            return found
        except (NotRunning, Unreachable):
            await asyncio.sleep(RETRY)
        except SpringlineError:
            return None


def retry_of(tuning: Tuning) -> Retry:
    """The link machine's part of it."""
    return Retry(first=tuning.retry_first, cap=tuning.retry_cap)

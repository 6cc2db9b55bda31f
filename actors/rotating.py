"""The link's part in rotating relationship keys: it carries what the two Keystores say to each other.

The rule: once a session is ``SETTLED`` seconds old its leader's Keystore is asked whether there is something to say;
answers go back to it until it has nothing more. Whatever goes wrong costs this rotation and nothing else: the keys
there are stay good, and the next session tries again. Sessions of a moment rotate nothing, so that a link that flaps
does not wear out a disk.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from uuid import UUID

from springline.actors.messages import KEYSTORE, RotateKeys
from springline.actors.shell import IoShell
from springline.errors import SpringlineError

PROTOCOL = "keys"
"""Messages of this protocol are for the Keystore."""

SETTLED = 3.0
"""Seconds after which a session's keys are worth a rotation."""

MOST_STEPS = 4
"""Messages of ours in one rotation, at most: the Keystore's rules need two."""

log = logging.getLogger("springline.rotation")


async def rotate(actor: IoShell, device: UUID, session: bytes, request: Callable[[bytes], Awaitable[object]]) -> None:
    """Rotate the keys shared with ``device``, if it is ours to begin.

    :param session: its handshake's hash. :param request: sends a message over the link; its answer.
    """
    await asyncio.sleep(SETTLED)
    try:
        said = await actor.ask(KEYSTORE, RotateKeys(device, session))
        for _ in range(MOST_STEPS):
            if said is None:
                return
            answer = await request(said)
            if not isinstance(answer, bytes):
                return
            said = await actor.ask(KEYSTORE, RotateKeys(device, session, answer))
    except SpringlineError as error:
        log.info("the keys are not rotated this time: %s", error)

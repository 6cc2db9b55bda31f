"""What a link asks the Keystore when its keys are to be refreshed, and what the answers mean for it.

The rule: a Keystore that can't answer is being restarted, so that is worth another try; one that says no means it.
There are two exceptions. The handshake of a second frame may have died with a Keystore. And while the relationship key
rotates a dialler may try with one that the peer has wiped already; it takes another one the next time.
Both ways, what is agreed upon must be with the very device the link is to.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any
from uuid import UUID

from springline.actors import messages
from springline.actors.messages import KEYSTORE, AnswerHandshake, Authenticated, BeginHandshake, FinishHandshake
from springline.errors import KeyUnknown, Malformed, Misuse, RemoteFault, SpringlineError
from springline.transport.refresh import (
    Answer,
    Answered,
    Ask,
    AskAnswer,
    AskBegin,
    AskFinish,
    Begun,
    Denied,
    Failed,
    Finished,
)

Asker = Callable[[str, object], Awaitable[Any]]
"""``ask`` of an actor."""


async def consult(ask: Asker, device: UUID, question: Ask) -> Answer:
    """Ask the Keystore about the link to ``device``."""
    try:
        return await _ask(ask, device, question)
    except Malformed:
        return Denied("the other side could not show again who it is")
    except (RemoteFault, Misuse) as error:
        if isinstance(question, AskFinish) or isinstance(error, KeyUnknown):
            return Failed(error.message)
        return Denied(f"the keys may not be refreshed: {error.message}")
    except SpringlineError as error:
        return Failed(error.message)


async def _ask(ask: Asker, device: UUID, question: Ask) -> Answer:
    match question:
        case AskBegin(within=within):
            begun: messages.Begun = await ask(KEYSTORE, BeginHandshake(device, within))
            return Begun(begun.handle, begun.frame)
        case AskAnswer(frame=frame, within=within):
            answered: messages.Answered = await ask(KEYSTORE, AnswerHandshake(frame, within))
            if answered.session.device != device:
                return Denied("another device tried to take this one's place")
            return Answered(answered.frame, answered.session.keys)
        case AskFinish(handle=handle, frame=frame):
            session: Authenticated = await ask(KEYSTORE, FinishHandshake(handle, frame))
            return Finished(session.keys)

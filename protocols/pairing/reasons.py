"""Why a pairing came to nothing, as its user is told it: what happened, where, and what to do about it. Pure.

The rule: whoever joins is told the address and what seems to be there, because a wrong address is the likeliest cause;
whoever invites is told no more than that a caller did not come through.
"""

from __future__ import annotations

from springline.errors import Lost, Malformed, Misuse, PairingFailed, SpringlineError, TimedOut, Unreachable
from springline.transport.address import Address
from springline.transport.trouble import Foreign, HungUp, Mute

WHERE = "'springline status' on the inviting device shows where it listens"


def told(error: Exception, *, met: bool) -> SpringlineError:
    """What a user makes of an error in a pairing. :param met: the two had told each other who they are."""
    if isinstance(error, (Malformed, Misuse)):
        return PairingFailed(f"the other device said what it may not: {error.message}")
    if isinstance(error, Lost):
        return PairingFailed("a part of this node was restarted meanwhile", "try again with new words")
    if isinstance(error, SpringlineError):
        return error
    if isinstance(error, TimeoutError):
        return TimedOut("the other device gave no answer in time")
    if met:
        return PairingFailed("the other device has hung up", "try again with new words")
    return PairingFailed("the other device gave no answer", "are the words right, and still good?")


def told_of(address: Address, error: Exception, *, met: bool) -> SpringlineError:
    """As :func:`told`, of a call to that address."""
    if isinstance(error, HungUp):
        right = "are the words right and still good, and is it the device that gave them?"
        return PairingFailed(f"whoever is at {address} gave no answer", f"{right} {WHERE}")
    if isinstance(error, (Foreign, Mute)):
        return PairingFailed(f"{address}: {error.message}", f"is the port right? {WHERE}")
    return told(error, met=met)


def unreached(error: SpringlineError) -> SpringlineError:
    """What a user makes of an address at which nobody takes the call; no words were tried."""
    if isinstance(error, Unreachable) and not error.hint:
        there = "is the inviting device there, and is 'springline up' running on it?"
        return type(error)(error.message, f"{there} {WHERE}; the words are still good")
    return error


def not_found(seconds: float, last: str) -> PairingFailed:
    """Nobody was reached by a search. :param last: what went wrong where the inviter was said to be, or ``""``."""
    elsewhere = "use the URI it shows, or --address HOST:PORT"
    if last:
        return PairingFailed(f"whoever gave these words was found, and not reached ({last})", elsewhere)
    return PairingFailed(
        f"nobody who gave these words was found in {seconds:.0f} s",
        f"are they right, and is 'springline invite' open there, on the same network? If not, {elsewhere}",
    )


def why_over(*, expired: bool, closed: bool) -> PairingFailed:
    """Why nobody has come by an invitation. :param closed: to make room for newer ones."""
    if expired:
        return PairingFailed("the invitation has expired", "ask for a new one")
    if closed:
        return PairingFailed("the invitation was closed by newer ones", "ask for a new one")
    return PairingFailed("none of those who called came through", "ask for a new invitation; its words are void")

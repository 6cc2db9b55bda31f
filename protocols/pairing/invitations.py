"""The open invitations: one use, five minutes, a few attempts. Pure; the time is an argument.

An attempt is a caller that knows the doorbell (so it knows the words) and still does not come through: a link that
broke, or somebody who has learned the words and plays with them. After three the door stays shut, but whoever is
already inside may finish. Of two who are inside at a time, the first who is believed uses the invitation up.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from springline.errors import Refused
from springline.protocols.pairing.keys import InvitationKeys, keys_of

LIFETIME = 300.0
"""Seconds an invitation is good for."""

ATTEMPTS = 3
MOST_OPEN = 8
"""Invitations open at a time; a further one closes the oldest."""


@dataclass(frozen=True, slots=True)
class OpenInvitation:
    """:param expires_at: wall-clock seconds."""

    keys: InvitationKeys
    expires_at: float
    attempts_left: int = ATTEMPTS


@dataclass(frozen=True, slots=True)
class Invitations:
    """Those that are open, oldest first."""

    open: tuple[OpenInvitation, ...] = field(default=())

    def invite(self, secret: bytes, now: float) -> tuple[Invitations, OpenInvitation]:
        """Open a new one."""
        made = OpenInvitation(keys_of(secret), now + LIFETIME)
        return Invitations((*self.current(now).open, made)[-MOST_OPEN:]), made

    def current(self, now: float) -> Invitations:
        """Without those whose time is up."""
        return Invitations(tuple(one for one in self.open if one.expires_at > now))

    def knock(self, doorbell: bytes, now: float) -> tuple[Invitations, OpenInvitation]:
        """Somebody calls with these words: count the attempt.

        :raises Refused: no such invitation is open (any more).
        """
        current = self.current(now)
        for one in current.open:
            if one.keys.doorbell == doorbell and one.attempts_left > 0:
                less = replace(one, attempts_left=one.attempts_left - 1)
                return Invitations(tuple(less if other is one else other for other in current.open)), less
        raise _gone()

    def use(self, doorbell: bytes) -> Invitations:
        """Somebody who called with these words is believed: nobody else will be.

        :raises Refused: somebody else was, or its time is up.
        """
        rest = tuple(one for one in self.open if one.keys.doorbell != doorbell)
        if len(rest) == len(self.open):
            raise _gone()
        return Invitations(rest)

    @property
    def doorbells(self) -> tuple[bytes, ...]:
        """The mac1 keys of those that somebody may call with."""
        return tuple(one.keys.doorbell for one in self.open if one.attempts_left > 0)


def _gone() -> Refused:
    return Refused("no such invitation is open", "it may have expired or been used")

"""Every error springline raises on purpose, sorted by whose fault it is.

The rule: the class says who must act, the message says what happened, ``hint`` says what to do about it.

* :class:`Misuse` — the caller: an unknown device, a bad argument. Change the call.
* :class:`LocalFault` — this machine: a wrong passphrase, a damaged file, a taken port. Fix it here.
* :class:`RemoteFault` — the other device: it refused, or its handler failed. Fix it there.
* :class:`Unreachable` — the way between: not connected, no answer in time. Waiting may help.
* :class:`Malformed` — bytes from outside that are not what they claim; the only error a parser may raise.
* :class:`InternalFault` — a bug of ours.

The split by cause follows trio's and h11's (``LocalProtocolError`` / ``RemoteProtocolError``). Errors travel between
processes inside replies, so each must survive pickling: they hold strings only, and never a secret.
"""

from __future__ import annotations


class SpringlineError(Exception):
    """Base of all of them.

    :param message: one line, without a trailing full stop, that tells what happened.
    :param hint: one line that tells what to do, or ``""``.
    """

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.message}; {self.hint}" if self.hint else self.message

    def __reduce__(self) -> tuple[type[SpringlineError], tuple[str, str]]:
        return type(self), (self.message, self.hint)


class Misuse(SpringlineError):
    """The call cannot be right; nothing was done."""


class UnknownDevice(Misuse):
    """No paired device, or more than one, answers to that id, prefix or name."""


class LocalFault(SpringlineError):
    """Something on this machine stands in the way."""


class WrongPassphrase(LocalFault):
    """The passphrase does not open this identity."""


class Damaged(LocalFault):
    """A stored file is not what was written: truncated, edited, foreign, or of a newer version."""

    def __init__(self, message: str, hint: str = "restore it from a backup") -> None:
        super().__init__(message, hint)


class Newer(Damaged):
    """A file of a newer version: it is left alone, and no former version is used in its place."""

    def __init__(self, message: str, hint: str = "update springline; the file is untouched") -> None:
        super().__init__(message, hint)


class InUse(LocalFault):
    """Another running node owns the data directory."""


class NotRunning(LocalFault):
    """No node is running for the data directory, or the part asked for is gone."""


class PortTaken(LocalFault):
    """The address to listen on belongs to somebody else."""


class StorageFull(LocalFault):
    """The disk is full or over quota; the previous state is intact."""


class RemoteFault(SpringlineError):
    """The other device said no, or failed."""


class Refused(RemoteFault):
    """The other device closed the door: not paired, revoked, or it does not want this."""


class KeyUnknown(Refused):
    """The other device has used a key that is not, or no longer, shared with it; it may have another one."""


class PairingFailed(RemoteFault):
    """The pairing did not come about: wrong, expired or used words, or the other side gave up."""


class NoHandler(RemoteFault):
    """No handler is registered there for that protocol, or it is quarantined."""


class HandlerFailed(RemoteFault):
    """The handler there raised, died or did not answer in time."""


class Unreachable(SpringlineError):
    """There is no way to the other side at the moment."""


class NotConnected(Unreachable):
    """The device is not connected now."""


class Busy(Unreachable):
    """More waits to be sent to the device than may; try again when some of it has left."""


class Lost(Unreachable):
    """Whoever was asked is gone before it answered: what was asked for may have happened or not."""


class TimedOut(Unreachable):
    """No answer came within the time allowed."""


class Malformed(SpringlineError):
    """Bytes from outside that are not what they claim to be."""


class InternalFault(SpringlineError):
    """A bug of ours: an actor crashed on what it should have handled."""

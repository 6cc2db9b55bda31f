"""What kind of thing went wrong."""

from __future__ import annotations

import errno
import pickle

import pytest

from springline.errors import NotRunning, Refused, Unreachable
from springline.transport.address import Address
from springline.transport.trouble import Foreign, HungUp, Impostor, Itself, Mute, Silent, Trouble, trouble_of

V4 = Address("192.0.2.1", 7)


@pytest.mark.parametrize(
    ("host", "kind"),
    [
        ("phone.example", Trouble.NAME),
        ("fe80::1%eth9", Trouble.INTERFACE),
        ("fe80::1", Trouble.INTERFACE),
        ("0.0.0.0", Trouble.NOWHERE),
        ("ff02::1", Trouble.NOWHERE),
    ],
)
def test_what_leads_nowhere(host: str, kind: Trouble) -> None:
    assert trouble_of("resolve", Unreachable("x"), Address(host, 7)) is kind


@pytest.mark.parametrize(
    ("step", "error", "kind"),
    [
        ("connect", ConnectionRefusedError(errno.ECONNREFUSED, "x"), Trouble.REFUSED),
        ("connect", OSError(errno.EHOSTUNREACH, "x"), Trouble.NO_ROUTE),
        ("connect", PermissionError(errno.EPERM, "x"), Trouble.FORBIDDEN),
        ("connect", OSError(errno.EMFILE, "x"), Trouble.HERE),
        ("connect", Silent("x"), Trouble.SILENT),
        ("connect", Itself("x"), Trouble.ITSELF),
        ("connect", Unreachable("a: refused; b: refused"), Trouble.SEVERAL),
        ("handshake", ConnectionResetError(errno.ECONNRESET, "x"), Trouble.HANGS_UP),
        ("handshake", Mute("x"), Trouble.MUTE),
        ("handshake", HungUp("x"), Trouble.HANGS_UP),
        ("handshake", Foreign("x"), Trouble.FOREIGN),
        ("handshake", Impostor("x"), Trouble.IMPOSTOR),
        ("handshake", Refused("red is revoked", "pair it again"), Trouble.HERE),
        ("handshake", NotRunning("keystore is not running"), Trouble.HERE),
    ],
)
def test_what_went_wrong_where(step: str, error: Exception, kind: Trouble) -> None:
    assert trouble_of(step, error, V4) is kind


def test_they_travel_between_processes() -> None:
    for kind in (Silent, Itself, Mute, HungUp, Foreign, Impostor):
        error = pickle.loads(pickle.dumps(kind("what happened", "what helps")))
        assert (type(error), error.message, error.hint) == (kind, "what happened", "what helps")

"""Our own file formats through time: every version ever written opens, a newer one is refused and left as it is.

The rule: a change to what a stored file says raises its version by one and adds one function here, from the parsed JSON
of the version before to that of the new one. So each decoder knows the newest form alone, and a function written once
is never changed again. A file is written in its new form when it is next written at all.

Each generation of files is kept in ``tests/store/fixtures`` and opened by the tests for ever. The seal around a file
has a version of its own (``store/envelope.py``).
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

from springline.errors import Damaged, Newer

Fields = dict[str, Any]
"""What a JSON object says."""


def _identity_1(fields: Fields) -> Fields:
    """Trust that ends by itself, and revocations, came with version 2."""
    devices = [{**device, "expires_at": None, "unseen_limit": None} for device in fields["paired_devices"]]
    known: Fields = {"facts": [], "superseded": [], "acks": {}}
    return {**fields, "paired_devices": devices, "revocations": known}


def _session_keys_1(fields: Fields) -> Fields:
    """Rotation came with version 2; the recovery key follows from the only key there was."""
    return {**fields, "previous": "", "pending": [], "recovery": "", "stale": False, "renewed": False}


MIGRATIONS: Mapping[str, Mapping[int, Callable[[Fields], Fields]]] = {
    "device.json": {},
    "identity": {1: _identity_1},
    "session_keys": {1: _session_keys_1},
    "preferences": {},
    "history": {},
    "audit_head": {},
    "export": {},
    "known_before": {},
}
"""For each role: what leads from a version to the next."""


def newest(role: str) -> int:
    """The version that is written today."""
    return max(MIGRATIONS[role], default=0) + 1


def parse(role: str, data: bytes) -> Fields:
    """What a file says, in the newest version's form.

    :param role: a key of :data:`MIGRATIONS`. :param data: JSON, with ``"version"``.
    :raises Newer: it is of a version we do not know. :raises Damaged: it is none of ours.
    """
    try:
        fields = json.loads(data)
        version = fields["version"]
        if type(version) is not int or version < 1:
            raise ValueError(version)
        if version > newest(role):
            raise Newer(f"the file '{role}' was written by a newer version")
        for step in range(version, newest(role)):
            fields = {**MIGRATIONS[role][step](fields), "version": step + 1}
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        raise Damaged(f"the file '{role}' is not what was written") from None
    found: Fields = fields
    return found

"""The passphrase in the system's keyring: GNOME's or KDE's, macOS's keychain, or whatever ``keyring`` finds.

The rule: one entry per device id, made and removed on the user's word only. The package is an extra
(``pip install 'springline[keyring]'``) and imported when it is needed: it looks for all backends there are, which takes
a while. Reading is a convenience: whatever is wrong with the keyring, there is a prompt.
"""

from __future__ import annotations

import importlib.util
from types import ModuleType
from uuid import UUID

from springline.cli.console import err
from springline.errors import LocalFault, Misuse

SERVICE = "springline"


def find(device: UUID) -> bytearray | None:
    """The passphrase kept for that device, or None."""
    if importlib.util.find_spec("keyring") is None:
        return None
    ring = _package()
    try:
        found: str | None = ring.get_password(SERVICE, str(device))
    except ring.errors.NoKeyringError:
        return None
    except ring.errors.KeyringError as error:
        err.print(f"[dim]The keyring gives no answer: {_brief(error)}[/]", soft_wrap=True)
        return None
    return None if found is None else bytearray(found.encode())


def has(device: UUID) -> bool:
    """Whether there is an entry."""
    found = find(device)
    if found is not None:
        found[:] = bytes(len(found))
    return found is not None


def keep(device: UUID, passphrase: bytearray) -> None:
    """Make or replace the entry. :raises LocalFault: there is no keyring, or it refuses. :raises Misuse: not text."""
    ring = _package()
    try:
        text = passphrase.decode()
    except UnicodeDecodeError:
        raise Misuse("a keyring keeps text only, and the passphrase is none", "use a passphrase file") from None
    try:
        ring.set_password(SERVICE, str(device), text)
    except ring.errors.KeyringError as error:
        raise _refused(ring, error) from None


def forget(device: UUID) -> bool:
    """Remove the entry; whether there was one. :raises LocalFault: there is no keyring, or it refuses."""
    ring = _package()
    try:
        if ring.get_password(SERVICE, str(device)) is None:
            return False
        ring.delete_password(SERVICE, str(device))
    except ring.errors.KeyringError as error:
        raise _refused(ring, error) from None
    return True


def _package() -> ModuleType:
    try:
        import keyring
        import keyring.errors
    except ImportError:
        raise Misuse("the package 'keyring' is not installed", "pip install 'springline[keyring]'") from None
    return keyring


def _refused(ring: ModuleType, error: Exception) -> LocalFault:
    if isinstance(error, ring.errors.NoKeyringError):
        return LocalFault("this system has no keyring", "use --passphrase-file, or the prompt")
    return LocalFault(f"the keyring refuses: {_brief(error)}", "is it locked?")


def _brief(error: Exception) -> str:
    return str(error).partition("\n")[0][:200] or type(error).__name__

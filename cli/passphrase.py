"""Where the passphrase comes from: a file, a file named by the environment, or a prompt. Never argv.

The rule: the first that is given wins, in that order. One trailing line break is not part of a passphrase in a file. A
file that others may read is refused, because a passphrase there is no secret.
"""

from __future__ import annotations

import os
import stat
import sys
from pathlib import Path

import typer

from springline.errors import LocalFault, Misuse

VARIABLE = "SPRINGLINE_PASSPHRASE_FILE"


def read_passphrase(file: Path | None, *, confirm: bool = False) -> bytes:
    """The passphrase.

    :param file: from ``--passphrase-file``, or None.
    :param confirm: ask twice, for a new one.
    :raises LocalFault: the file can't be read. :raises Misuse: there is neither file nor terminal.
    """
    named = file or (Path(os.environ[VARIABLE]) if os.environ.get(VARIABLE) else None)
    if named is not None:
        return _from_file(named)
    if not sys.stdin.isatty():
        raise Misuse("no passphrase is given and there is no terminal to ask on", "use --passphrase-file")
    asked: str = typer.prompt("Passphrase", hide_input=True, confirmation_prompt=confirm, err=True)
    return asked.encode()


def _from_file(path: Path) -> bytes:
    try:
        mode = path.stat().st_mode
        content = path.read_bytes()
    except OSError as error:
        raise LocalFault(f"can't read the passphrase file: {(error.strerror or '').lower()}", str(path)) from None
    if stat.S_ISREG(mode) and mode & 0o077:
        raise LocalFault(f"others may read the passphrase file {path}", f"chmod 600 {path}")
    return content.removesuffix(b"\n").removesuffix(b"\r")

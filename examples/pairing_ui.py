"""An app with a pairing dialogue of its own: what it shows, what it asks, what comes of it. Run it twice:

    python -m springline.examples.pairing_ui first
    python -m springline.examples.pairing_ui second 'springline://pair?…'

Each side shows the other's name and six digits, and asks before anything is stored.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from springline import Node, PairingUI
from springline.actors.inviting import Invitation
from springline.errors import PairingFailed, SpringlineError
from springline.events import PairingEnded, PairingProgress
from springline.store.devices import PairedDevice
from springline.store.envelope import Strength

PASSPHRASE = b"of an app that has its own safe place for it"


class Dialogue(PairingUI):
    """Lines instead of windows."""

    def invited(self, invitation: Invitation) -> None:
        """An app would draw this as a QR code."""
        print(invitation.uri, flush=True)

    def progress(self, progress: PairingProgress) -> None:
        """Also a place for a spinner."""
        print(f"{progress.stage.value}: {progress.name} {progress.sas}".rstrip(": "), flush=True)

    def confirm(self, progress: PairingProgress) -> bool:
        """The user compares; what is not yes is no."""
        print(f"does {progress.name} show {progress.sas}, too?", flush=True)
        return sys.stdin.readline().strip() == "yes"

    def paired(self, device: PairedDevice, ended: PairingEnded) -> None:
        """The dialogue may close."""
        print("renewed:" if ended.known else "paired:", device.info.name, flush=True)

    def failed(self, error: SpringlineError) -> None:
        """Its message tells what happened, its hint what to do."""
        print("failed:", error, flush=True)


def run(folder: Path, invitation: str | None, strength: Strength) -> int:
    """Open (or first make) the node in ``folder``, and pair. → exit code."""
    if not (folder / "device.json").exists():
        Node.create(folder, folder.name, PASSPHRASE, strength)
    with Node.open(folder, PASSPHRASE, listen="127.0.0.1") as node:
        try:
            if invitation:
                node.join_with(Dialogue(), invitation, confirm=True)
            else:
                node.invite_with(Dialogue(), confirm=True)
        except PairingFailed:
            return 1
    return 0


def main() -> None:
    """Parse the command line."""
    options = argparse.ArgumentParser()
    options.add_argument("folder", type=Path)
    options.add_argument("invitation", nargs="?", help="another device's URI; without it, this one invites")
    options.add_argument("--strength", default="MODERATE", choices=[strength.name for strength in Strength])
    chosen = options.parse_args()
    raise SystemExit(run(chosen.folder, chosen.invitation, Strength[chosen.strength]))


if __name__ == "__main__":
    main()

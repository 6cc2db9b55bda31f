"""A core app: starts a node, gives it a plug-in, pairs, talks. Run it twice, with two folders:

python -m springline.examples.core_app first --invite
python -m springline.examples.core_app second --join 'springline://pair?…'
"""

from __future__ import annotations

import argparse
from pathlib import Path

from springline import Custom, Node
from springline.events import DeviceConnected, MessageReceived
from springline.examples.notes import Notes
from springline.store.envelope import Strength

PASSPHRASE = b"of an app that has its own safe place for it"


def run(folder: Path, join: str | None, listen: str, strength: Strength) -> None:
    """Open (or first make) the node in ``folder``, invite or join, and react to what happens."""
    if not (folder / "device.json").exists():
        Node.create(folder, folder.name, PASSPHRASE, strength)
    with Node.open(folder, PASSPHRASE, listen=listen) as node:
        node.register(Notes, str(folder / "notes.txt"))
        if join:
            device = node.join(join).info.device_id
            node.await_state(device, "Connected", timeout=15)
            answer = node.send(device, Custom("notes", 1, b"milk, bread"), protocol="notes")
            print("notes over there:", answer.payload.decode() if isinstance(answer, Custom) else answer, flush=True)
            node.send(device, Custom("text", 1, b"bye"))
            return
        print(node.invite().uri, flush=True)
        for event in node.events():
            match event:
                case DeviceConnected(device_id=device):
                    print("connected:", node.find(device).device.info.name, flush=True)
                case MessageReceived(message=Custom(payload=text)):
                    print("heard:", text.decode(), flush=True)
                    return


def main() -> None:
    """Parse the command line."""
    options = argparse.ArgumentParser()
    options.add_argument("folder", type=Path)
    options.add_argument("--invite", action="store_true", help="print an invitation (the default)")
    options.add_argument("--join", help="an invitation's URI")
    options.add_argument("--listen", default="127.0.0.1")
    options.add_argument("--strength", default="MODERATE", choices=[strength.name for strength in Strength])
    chosen = options.parse_args()
    run(chosen.folder, chosen.join, chosen.listen, Strength[chosen.strength])


if __name__ == "__main__":
    main()

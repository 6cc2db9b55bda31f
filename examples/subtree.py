"""A subtree of one's own inside a node: it is started, watched and restarted with everything else.

python -m springline.examples.subtree FOLDER
"""

from __future__ import annotations

import sys
from pathlib import Path

from springline import Node
from springline.examples.counter import Add, Counter
from springline.store.envelope import Strength
from springline.supervisors.spec import ChildSpec, SupervisorSpec
from springline.supervisors.supervisor import Supervisor

PASSPHRASE = b"of an app that has its own safe place for it"


def main(folder: Path) -> None:
    """Hang two counters into a node."""
    if not (folder / "device.json").exists():
        Node.create(folder, "counting", PASSPHRASE, Strength.INTERACTIVE)
    with Node.open(folder, PASSPHRASE, listen="127.0.0.1") as node:
        counters = SupervisorSpec((ChildSpec("visits", Counter), ChildSpec("errors", Counter)))
        node.supervise(ChildSpec("counters", Supervisor, counters))
        print("visits:", node.ask("counters.visits", Add(1)))


if __name__ == "__main__":
    main(Path(sys.argv[1]))

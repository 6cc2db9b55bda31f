"""A core app for the tests: starts an actor system, says the path of its first actor, and when the tree is gone.

Run as ``python -m springline.tests.actors.app DIRECTORY``; a line on stdin makes it shut the system down.
"""

from __future__ import annotations

import select
import sys

from springline.actors import bus
from springline.actors.addresses import path_of
from springline.tests.actors.cast import Peer


def main(directory: str) -> None:
    system = bus.start_system(directory)
    ended = bus.tree_end(system)
    print(path_of(system.createActor(Peer)), flush=True)
    ready, _, _ = select.select([ended, sys.stdin], [], [])
    if ended in ready:
        print("gone", flush=True)
        sys.stdin.readline()
    system.shutdown()
    print("shut down", flush=True)


if __name__ == "__main__":
    main(sys.argv[1])

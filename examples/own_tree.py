"""Supervision for its own sake: two counters under a supervisor, no device in sight. One crashes and is back.

python -m springline.examples.own_tree
"""

from __future__ import annotations

import tempfile

from springline.actors import bus
from springline.actors.addresses import path_of
from springline.actors.endpoint import Client
from springline.actors.lifecycle import Start
from springline.errors import SpringlineError
from springline.examples.counter import Add, Counter
from springline.supervisors.spec import ChildSpec, SupervisorSpec
from springline.supervisors.supervisor import Supervisor

TREE = SupervisorSpec((ChildSpec("apples", Counter, 5), ChildSpec("pears", Counter)))


def main() -> None:
    """Start the tree, use it, break it, use it again."""
    with tempfile.TemporaryDirectory(prefix="springline-") as directory:
        system = bus.start_system(directory)
        client = Client(directory)
        try:
            root = path_of(system.createActor(Supervisor))
            client.tell(root, Start("shop", 1, TREE, client.path))
            client.listen(timeout=10)  # Ready
            print("apples:", client.ask("shop.apples", Add(2)))
            print("pears:", client.ask("shop.pears", Add(1)))
            try:
                client.ask("shop.pears", Add(13))
            except SpringlineError as error:
                print("pears crashed:", error)
            print("pears again:", ask_when_back(client, "shop.pears", Add(1)))
            print("apples never noticed:", client.ask("shop.apples", Add(1)))
        finally:
            client.close()
            system.shutdown()


def ask_when_back(client: Client, name: str, body: object) -> object:
    """Ask an actor that is just being restarted."""
    while True:
        try:
            return client.ask(name, body)
        except SpringlineError:
            continue


if __name__ == "__main__":
    main()

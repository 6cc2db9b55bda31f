"""Several real nodes on 127.0.0.1, paired with each other as a test wants it."""

from __future__ import annotations

import contextlib
import secrets
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from uuid import UUID

from springline.cli.local import left_over
from springline.control import Control
from springline.errors import SpringlineError
from springline.store.devices import PairedDevice, TrustLevel
from springline.store.envelope import Strength
from springline.tests.nodes import QuickNode, echo, eventually


class Company:
    """Nodes by name."""

    def __init__(self, folder: Path, token: str, names: tuple[str, ...]) -> None:
        self.folder = folder
        self.nodes = {name: QuickNode(folder / name, name, token, Strength.MINIMAL) for name in names}
        self.ids: dict[str, UUID] = {}

    def up(self, name: str) -> None:
        """Start that node."""
        node = self.nodes[name]
        if not (node.folder / "device.json").exists():
            node.init()
        node.up()
        self.ids[name] = node.control.whoami().device_id

    def down(self, name: str) -> None:
        """Stop that node."""
        self.nodes[name].down()

    def __getitem__(self, name: str) -> Control:
        return self.nodes[name].control

    def pair(self, one: str, other: str) -> None:
        """Pair these two, and see them connected."""
        self[one].join(self[other].invite().uri)
        self.await_link(one, other)

    def await_link(self, one: str, other: str) -> None:
        """Both sides get an answer."""
        eventually(lambda: echo(self[one], self.ids[other]), f"{one} gets an echo of {other}")
        eventually(lambda: echo(self[other], self.ids[one]), f"{other} gets an echo of {one}")

    def record(self, here: str, there: str) -> PairedDevice:
        """What one keeps of the other."""
        return self[here].find(self.ids[there]).device

    def trust(self, here: str, there: str) -> TrustLevel:
        """How far one trusts the other."""
        return self.record(here, there).trust

    def state(self, here: str, there: str) -> str:
        """How one's link to the other is."""
        return self[here].find(self.ids[there]).link.state

    def tell_logs(self) -> None:
        """What the nodes have logged last; pytest shows it beside the failure."""
        for name, node in self.nodes.items():
            with contextlib.suppress(OSError, SpringlineError):
                log = node.folder / "run" / "bus" / "springline.log"
                print(f"--- {name}:", *log.read_text().splitlines()[-60:], sep="\n")


@contextlib.contextmanager
def company(*names: str) -> Iterator[Company]:
    """Running nodes of these names; afterwards nothing of them is left."""
    token = secrets.token_hex(8)
    folder = Path(tempfile.mkdtemp(prefix="springline-test-"))
    them = Company(folder, token, names)
    try:
        try:
            for name in names:
                them.up(name)
            yield them
        except BaseException:
            them.tell_logs()
            raise
        finally:
            for name in names:
                them.down(name)
        rest = left_over(token)
        assert not rest, f"processes left over: {rest}"
    finally:
        shutil.rmtree(folder, ignore_errors=True)

"""Where secrets and the names of others are not: on the disk, and in the memory of any process but the Keystore.

Two nodes that have talked are searched for what is known to be theirs: the disk for everything a stranger could learn
from, the memory for what opens the store or a later connection.
"""

from __future__ import annotations

import base64
import json
import os
import re
import resource
import secrets
import shutil
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from uuid import UUID

import pytest
from nacl.bindings import crypto_scalarmult

from springline.actors.messages import KEYSTORE
from springline.cli.local import TOKEN, LocalNode, left_over
from springline.store import opening
from springline.store.envelope import Strength
from springline.store.layout import Layout
from springline.store.vault import Vault
from springline.tests.nodes import Pair, eventually, pid_of, rotated
from springline.transport.discovery.tags import finding_secret

LINUX = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
NAMES = {"blue": "blaue-kombüse-7381", "red": "rote-kombüse-9472"}
MARKERS = {side: f"{secrets.token_hex(8)}-{side}" for side in NAMES}
PASSPHRASES = {side: " ".join([marker] * 40) for side, marker in MARKERS.items()}
"""Long ones: memory that is given back is used again from its beginning, and a piece is as good as the whole."""


class Marked(Pair):
    """Two nodes with names and passphrases that nothing else contains."""

    def __init__(self, folder: Path, token: str) -> None:
        super().__init__(folder, token)
        self.blue, self.red = (
            LocalNode(folder / side, NAMES[side], token, Strength.MINIMAL, passphrase=PASSPHRASES[side])
            for side in ("blue", "red")
        )


@pytest.fixture(scope="module")
def pair() -> Iterator[Marked]:
    token = secrets.token_hex(8)
    folder = Path(tempfile.mkdtemp(prefix="springline-test-"))
    running = Marked(folder, token)
    with running.blue, running.red:
        running.join()
        sent = folder / "sent.bin"
        sent.write_bytes(os.urandom(3_000_000))
        running.blue.control.send_file(running.red_id, sent).wait()
        for node in (running.blue, running.red):
            eventually(lambda node=node: rotated(node.control), "the key rotates")  # type: ignore[misc]
        yield running
    assert not left_over(token)
    shutil.rmtree(folder)


def vault_of(node: LocalNode) -> Vault:
    return opening.unlock(Layout(node.folder), node.passphrase.encode())


def secrets_of(node: LocalNode, peer: UUID) -> dict[str, bytes]:
    """What must be nowhere but in the Keystore."""
    vault = vault_of(node)
    ring = vault.keys(peer)
    device = vault.device(peer)
    assert device is not None
    shared = crypto_scalarmult(vault.identity.static_private, device.info.static_key)
    rest = {f"key {number} of the rotation": key for number, key in enumerate((ring.previous, *ring.pending)) if key}
    return rest | {
        "passphrase": node.passphrase.split()[0].encode(),
        "data key": vault.data_key,
        "Ed25519 seed": vault.identity.seed,
        "X25519 private key": vault.identity.static_private,
        "relationship key": ring.relationship_key,
        "recovery key": ring.recovery,
        "finding secret": finding_secret(shared),
    }


def forms(value: bytes) -> Iterator[bytes]:
    """The ways bytes may be written."""
    yield value
    yield value.hex().encode()
    yield base64.b64encode(value)
    yield base64.b64encode(value).rstrip(b"=").translate(bytes.maketrans(b"+/", b"-_"))


# -- the disk ----------------------------------------------------------------------------------------------------------


def marks(pair: Marked, side: str) -> dict[str, set[bytes]]:
    """What the disk of one side must not show: secrets, and who the other one is and where."""
    here, there = (pair.blue, pair.red) if side == "blue" else (pair.red, pair.blue)
    peer = pair.red_id if side == "blue" else pair.blue_id
    info = there.control.whoami()
    found = {what: set(forms(secret)) for what, secret in secrets_of(here, peer).items()}
    found["name"] = {there.name.encode(), json.dumps(there.name).strip('"').encode()}
    found["id"] = {str(peer).encode(), str(peer).upper().encode(), *forms(peer.bytes)}
    found["keys"] = {*forms(info.signing_key), *forms(info.static_key)}
    found["address"] = {there.listen.encode(), there.listen.rpartition(":")[2].encode()}
    return found


@pytest.mark.parametrize("side", ["blue", "red"])
def test_no_byte_on_the_disk_tells_a_secret_or_who_the_others_are(pair: Marked, side: str) -> None:
    root = pair.folder / side
    wanted = marks(pair, side)
    own = {root / "passphrase"}  # the user's own file
    looked = 0
    for path in root.rglob("*"):
        places = [str(path.relative_to(root)).encode()]
        if path.is_file() and path not in own:
            places.append(path.read_bytes())
        looked += len(places)
        for what, written in wanted.items():
            for place in places:
                assert not [form for form in written if form in place], f"{what} in {path.relative_to(root)}"
    assert looked > 10


def test_the_search_of_the_disk_finds_what_is_there(pair: Marked) -> None:
    wanted = marks(pair, "blue")
    planted = b"x" + pair.red_id.bytes + b"y" + base64.b64encode(vault_of(pair.blue).data_key)
    assert [what for what, written in wanted.items() if any(form in planted for form in written)] == ["data key", "id"]


# -- memory ------------------------------------------------------------------------------------------------------------


def memory(pid: int) -> Iterator[bytes]:
    """What a process has written, mapping by mapping. :raises PermissionError: it is not for us to read."""
    with open(f"/proc/{pid}/maps") as maps, open(f"/proc/{pid}/mem", "rb", buffering=0) as mem:
        for line in maps:
            found = re.match(r"([0-9a-f]+)-([0-9a-f]+) rw", line)
            if found:
                start, end = (int(number, 16) for number in found.groups())
                try:
                    mem.seek(start)
                    yield mem.read(end - start)
                except (OSError, ValueError, OverflowError):
                    continue


def found_in(pid: int, wanted: dict[str, bytes]) -> set[str]:
    """Which of them a process has in memory."""
    found: set[str] = set()
    for area in memory(pid):
        found |= {what for what, secret in wanted.items() if secret in area}
    return found


@LINUX
@pytest.mark.parametrize("side", ["blue", "red"])
def test_no_process_but_the_keystore_has_a_long_term_secret_in_memory(pair: Marked, side: str) -> None:
    node, peer = (pair.blue, pair.red_id) if side == "blue" else (pair.red, pair.blue_id)
    wanted = secrets_of(node, peer)
    keystore = pid_of(node.control, KEYSTORE)
    names = {process.pid: process.actor for process in node.control.processes()}
    processes = [pid for pid in left_over(node.environment[TOKEN]) if pid in names or _belongs(pid, node)]
    assert keystore in processes
    assert node.pid in processes
    try:
        found = {names.get(pid, f"process {pid}"): found_in(pid, wanted) for pid in processes}
    except PermissionError:
        pytest.skip("the memory of the node's processes is not for us to read")
    assert {"data key", "Ed25519 seed", "X25519 private key"} <= found.pop(KEYSTORE)
    assert {who: what for who, what in found.items() if what} == {}


def _belongs(pid: int, node: LocalNode) -> bool:
    """The app and the engine's own processes have no name on the bus."""
    parents = {node.pid}
    while pid > 1:
        if pid in parents:
            return True
        pid = int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
    return False


@LINUX
def test_no_process_of_a_node_leaves_a_core_dump(pair: Marked) -> None:
    processes = left_over(pair.blue.environment[TOKEN])
    assert len(processes) > len(pair.blue.control.processes())
    assert {pid: resource.prlimit(pid, resource.RLIMIT_CORE) for pid in processes} == dict.fromkeys(processes, (0, 0))

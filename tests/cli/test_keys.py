"""``springline passphrase``, ``export`` and ``import``, with and without a running node."""

from __future__ import annotations

import json
import os
import secrets
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import keyring
import pytest
from typer.testing import CliRunner

from springline.actors.messages import KEYSTORE
from springline.cli.app import app
from springline.cli.local import LocalNode, left_over
from springline.cli.passphrase import Present
from springline.store import opening
from springline.store.envelope import Strength
from springline.store.layout import Layout
from springline.tests.cli.test_cli import bad, good
from springline.tests.cli.test_passphrase import Memory
from springline.tests.nodes import Pair, QuickNode, eventually, kill_and_await, paired, rotated
from springline.tests.store.test_seed import with_content


@pytest.fixture
def lone() -> Iterator[LocalNode]:
    folder = Path(tempfile.mkdtemp(prefix="springline-test-"))
    node = QuickNode(folder / "lone", "lone", secrets.token_hex(8), Strength.MINIMAL)
    node.init()
    yield node
    node.down()
    assert not left_over(node.environment["SPRINGLINE_TOKEN"])
    shutil.rmtree(folder)


@pytest.fixture(scope="module")
def pair() -> Iterator[Pair]:
    with paired() as running:
        yield running


def secret_file(path: Path, text: str) -> str:
    path.write_text(f"{text}\n")
    path.chmod(0o600)
    return str(path)


def present(node: LocalNode) -> tuple[str, str]:
    """How a command is given the store's passphrase."""
    return "--passphrase-file", str(node.folder / "passphrase")


def change(node: LocalNode, text: str) -> None:
    """Change the passphrase, and from now on give the new one."""
    new = secret_file(node.folder / "new", text)
    assert good(node, "passphrase", "change", *present(node), "--new-passphrase-file", new)["passphrase"] == "changed"
    os.replace(new, node.folder / "passphrase")


# -- the passphrase ------------------------------------------------------------------------------------------------


def test_the_passphrase_changes_while_the_node_runs_and_while_it_does_not(lone: LocalNode) -> None:
    former = secret_file(lone.folder / "former", lone.passphrase)
    change(lone, "the second")
    lone.up()
    change(lone, "the third")
    kill_and_await(lone.control, KEYSTORE)  # it comes back by what the cell holds
    eventually(lone.control.whoami, "it is unlocked")
    change(lone, "the fourth")
    new = secret_file(lone.folder / "new", "never")
    for _ in ("running", "not running"):
        said = bad(lone, 1, "passphrase", "change", "--passphrase-file", former, "--new-passphrase-file", new)
        assert "passphrase is wrong" in said
        assert former in said.replace("\n", "")
        lone.down()
    assert "passphrase is wrong" in bad(lone, 1, "up", "--passphrase-file", former)
    lone.up()


def test_links_stay_up_meanwhile(pair: Pair) -> None:
    before = [process.pid for process in pair.blue.control.processes()]
    change(pair.blue, "another")
    pair.await_link(1.0)
    assert [process.pid for process in pair.blue.control.processes()] == before


def test_no_passphrase_is_a_stated_choice(lone: LocalNode) -> None:
    folder = lone.folder.with_name("open")
    node = QuickNode(folder, "open", lone.environment["SPRINGLINE_TOKEN"])
    made = node.run("init", "--name", "open", "--no-passphrase", "--json")
    assert made.returncode == 0
    assert json.loads(made.stdout)["device"]["name"] == "open"
    assert "no passphrase" in made.stderr
    secret = secret_file(folder / "passphrase", "a passphrase for a while")
    assert "no passphrase" in bad(node, 1, "up", "--passphrase-file", secret)
    assert "no passphrase" in bad(node, 2, "passphrase", "keep")
    assert "choose one" in bad(node, 2, "init", "--no-passphrase", "--passphrase-file", secret)
    assert good(node, "passphrase", "change", "--new-passphrase-file", secret)["passphrase"] == "changed"
    node.up()
    assert good(node, "status")["passphrase"] == "moderate"
    gone = node.run("passphrase", "change", *present(node), "--no-passphrase", "--json")
    assert json.loads(gone.stdout)["passphrase"] == "none"
    assert "no passphrase" in gone.stderr
    assert good(node, "status")["passphrase"] == "none"
    assert "no passphrase" in node.run("status").stdout
    node.down()
    assert opening.protection(Layout(folder)) is Strength.NONE


def test_an_empty_passphrase_is_none_of_both(lone: LocalNode) -> None:
    empty = secret_file(lone.folder / "empty", "")
    assert "empty" in bad(lone, 2, "passphrase", "change", *present(lone), "--new-passphrase-file", empty)
    fresh = QuickNode(lone.folder.with_name("fresh"), "fresh", "x")
    assert "empty" in bad(fresh, 2, "init", "--passphrase-file", empty)


def test_there_has_to_be_a_store(tmp_path: Path) -> None:
    node = QuickNode(tmp_path / "none", "none", "x")
    for arguments in (["passphrase", "change"], ["passphrase", "keep"], ["passphrase", "forget"], ["export", "x"]):
        assert "springline init" in bad(node, 2, *arguments)
    assert not (tmp_path / "none").exists()


# -- moving --------------------------------------------------------------------------------------------------------


def test_a_reinstalled_device_needs_no_pairing(tmp_path: Path) -> None:
    way = secret_file(tmp_path / "way", "for the way")
    moved = tmp_path / "moved"
    with paired() as pair:
        made = pair.blue.run("export", str(moved), *present(pair.blue), "--export-passphrase-file", way, "--json")
        assert json.loads(made.stdout) == {"path": str(moved), "devices": 1, "incomplete": []}, made.stderr
        assert "One device, one place" in made.stderr
        assert moved.stat().st_mode & 0o777 == 0o600
        port = pair.blue.listen
        before = pair.red.control.audit(1)[0].seq
        pair.red.control.disconnect(pair.blue_id)  # what there was until now may have rotated before the export
        pair.red.control.connect(pair.blue_id)
        eventually(lambda: rotated(pair.red.control, before), "the relationship's key has rotated since")
        pair.blue.down()
        shutil.rmtree(pair.blue.folder)
        pair.blue.folder.mkdir()
        secret_file(pair.blue.folder / "passphrase", "a new place")
        arguments = ("import", str(moved), *present(pair.blue), "--export-passphrase-file", way)
        back = pair.blue.run(*arguments, "--json")
        assert back.returncode == 0, back.stderr
        assert json.loads(back.stdout)["device"] == {"id": str(pair.blue_id), "name": "blue"}
        assert "One device, one place" in back.stderr
        pair.blue.up()
        assert pair.blue.listen == port
        pair.await_link()
        assert "already" in bad(pair.blue, 2, *arguments)
        pair.red.down()
        pair.red.up()
        pair.await_link()


def test_what_is_wrong_with_an_export_is_told(lone: LocalNode, tmp_path: Path) -> None:
    way = secret_file(tmp_path / "way", "for the way")
    moved = tmp_path / "moved"
    export = ("export", str(moved), "--export-passphrase-file", way)
    assert "passphrase is wrong" in bad(lone, 1, *export, "--passphrase-file", way)
    assert not moved.exists()
    good(lone, *export, *present(lone))
    sealed = moved.read_bytes()
    assert "exists" in bad(lone, 2, *export, *present(lone))
    good(lone, *export, *present(lone), "--force")
    assert moved.read_bytes() != sealed
    assert list(tmp_path.iterdir()) == [way_ for way_ in tmp_path.iterdir() if way_ in (moved, Path(way))]
    fresh = QuickNode(tmp_path / "fresh", "fresh", lone.environment["SPRINGLINE_TOKEN"])
    take = ("import", str(moved), *present(lone))
    assert "exported with" in bad(fresh, 1, *take, "--export-passphrase-file", str(lone.folder / "passphrase"))
    for content, said in (
        (sealed[:-1], "damaged"),
        (b"\x89PNG\r\n\x1a\n", "the exported identity has no header: it is damaged, or another program's"),
        (sealed.replace(b'"version": 1', b'"version": 9', 1), "newer version"),
    ):
        moved.write_bytes(content)
        assert said in bad(fresh, 1, *take, "--export-passphrase-file", way)
    assert "no file" in bad(fresh, 2, "import", str(tmp_path / "nothing"))
    assert not (fresh.folder / "device.json").exists()
    moved.write_bytes(sealed)
    assert good(fresh, *take, "--export-passphrase-file", way, "--name", "other")["device"]["name"] == "other"


def test_a_file_of_the_former_format_is_begun_anew_from(tmp_path: Path, lone: LocalNode) -> None:
    moved, way = tmp_path / "former.json", secret_file(tmp_path / "way", "the former passphrase")
    moved.write_bytes(with_content())
    fresh = QuickNode(tmp_path / "fresh", "fresh", lone.environment["SPRINGLINE_TOKEN"])
    take = ("import", str(moved), "--seed", *present(lone), "--export-passphrase-file")
    assert "or the file is damaged" in bad(fresh, 1, *take, str(lone.folder / "passphrase"))
    assert good(fresh, *take, way)["device"]["name"] == "old anchor"
    secret_file(fresh.folder / "passphrase", lone.passphrase)
    with fresh:
        assert good(fresh, "status")["pair_again"] == ["desk", "phone"]
        assert "To be paired again: desk, phone." in fresh.run("devices").stdout


# -- the keyring ---------------------------------------------------------------------------------------------------


def test_the_keyring_keeps_what_opens_the_store_and_nothing_else(lone: LocalNode, tmp_path: Path) -> None:
    ring, before = Memory(), keyring.get_keyring()
    keyring.set_keyring(ring)
    try:
        root = lone.folder
        wrong, new = secret_file(tmp_path / "wrong", "wrong"), secret_file(tmp_path / "new", "the second")
        assert spring("keep", root, "--passphrase-file", wrong) == 1
        assert ring.entries == {}
        assert spring("keep", root, *present(lone)) == 0
        assert list(ring.entries.values()) == [lone.passphrase]
        assert Present(root, None)() == bytearray(lone.passphrase.encode())
        assert spring("change", root, "--new-passphrase-file", new) == 0  # the present one comes from the keyring
        assert ring.entries == {}
        assert spring("forget", root) == 0
        assert spring("keep", root, "--passphrase-file", new) == 0
        assert spring("forget", root) == 0
        assert ring.entries == {}
    finally:
        keyring.set_keyring(before)


def spring(command: str, root: Path, *arguments: str) -> int:
    """Run ``springline passphrase`` in this process, which has the keyring."""
    return CliRunner().invoke(app, ["passphrase", command, "--data-dir", str(root), *arguments]).exit_code

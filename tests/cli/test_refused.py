"""What the system refuses: files nobody may read, disks that are full or only to be read. One line, nothing lost."""

from __future__ import annotations

import hashlib
import json
import os
import secrets
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from springline.cli.local import QUIET, LocalNode, left_over
from springline.store.envelope import Strength

NOT_HERE = 77
READ_ONLY = f'mount --bind "$0" "$0" && mount -o remount,ro,bind "$0" || exit {NOT_HERE}; exec "$@"'
SMALL = f'mount -t tmpfs -o size=96k none "$0" || exit {NOT_HERE}; '
FILL = 'dd if=/dev/zero of="$0/filling" bs=1k 2>/dev/null; '
OBEYING = ("setpriv", "--inh-caps=-all", "--bounding-set=-all")
"""Files' modes count for root, too, without its capabilities."""


@pytest.fixture(scope="module")
def node() -> Iterator[LocalNode]:
    """One that was made and has never run. Afterwards it is as it was."""
    folder = Path(tempfile.mkdtemp(prefix="springline-test-"))
    made = LocalNode(folder / "node", "node", secrets.token_hex(8), Strength.MINIMAL)
    made.init()
    before = contents(made.folder)
    yield made
    assert contents(made.folder) == before
    assert not left_over(made.token)
    shutil.rmtree(folder)


def contents(folder: Path) -> dict[str, str]:
    """What each file holds, but for the lock, which holds nothing."""
    files = (path for path in folder.rglob("*") if path.is_file() and path.name != "lock")
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def springline(node: LocalNode, *arguments: str, folder: Path | None = None) -> list[str]:
    passphrase = ("--passphrase-file", str(node.folder / "passphrase"))
    command = [sys.executable, "-m", "springline", *arguments, "--data-dir", str(folder or node.folder), *passphrase]
    return command + (["--listen", "127.0.0.1", "--until-eof", *QUIET] if arguments[0] == "up" else [])


def run(node: LocalNode, prefix: Sequence[str], command: Sequence[str]) -> subprocess.CompletedProcess[str]:
    if prefix and shutil.which(prefix[0]) is None:
        pytest.skip(f"there is no '{prefix[0]}' here")
    done = subprocess.run(
        [*prefix, *command], env=node.environment, input="", capture_output=True, text=True, timeout=100, check=False
    )
    if done.returncode == NOT_HERE or done.stderr.startswith(tuple(prefix[:1])):
        pytest.skip(f"that can't be had here: {done.stderr}")
    return done


def mounted(script: str, folder: Path) -> tuple[str, ...]:
    """In a mount namespace of its own, which goes with the process."""
    return ("unshare", "-m", "sh", "-c", script, str(folder))


def is_refused(done: subprocess.CompletedProcess[str], *texts: str) -> None:
    assert (done.returncode, done.stdout) == (1, ""), done.stderr
    assert done.stderr.startswith("springline: ")
    assert done.stderr.count("\n") == 1, done.stderr
    for text in texts:
        assert text in done.stderr


@pytest.mark.parametrize("which", ["device.json", "network/*.json", "run/lock"])
def test_a_file_that_nobody_may_read(node: LocalNode, which: str) -> None:
    (path,) = node.folder.glob(which)
    path.chmod(0)
    try:
        done = run(node, OBEYING if os.geteuid() == 0 else (), springline(node, "up"))
    finally:
        path.chmod(0o600)
    is_refused(done, path.name, "permission denied")


@pytest.mark.parametrize("command", ["up", "audit", "passphrase change", "export /nowhere/file"])
def test_a_disk_that_may_only_be_read(node: LocalNode, command: str) -> None:
    done = run(node, mounted(READ_ONLY, node.folder), springline(node, *command.split()))
    is_refused(done, str(node.folder), "read-only", "check who owns it")


def test_a_place_that_may_only_be_read(node: LocalNode, tmp_path: Path) -> None:
    done = run(node, mounted(READ_ONLY, tmp_path), springline(node, "init", folder=tmp_path / "new"))
    is_refused(done, str(tmp_path / "new"), "read-only", "another --data-dir")


def test_a_full_disk_is_no_place_for_an_identity(node: LocalNode, tmp_path: Path) -> None:
    script = SMALL + FILL + '"$@"; code=$?; test -e "$0/new/device.json" && exit 99; exit $code'
    is_refused(run(node, mounted(script, tmp_path), springline(node, "init", folder=tmp_path / "new")), "no room")


def test_a_node_starts_on_a_full_disk_and_says_that_its_port_is_not_kept(node: LocalNode, tmp_path: Path) -> None:
    """With room it keeps the next one."""
    copy = tmp_path / "node"
    script = SMALL + f'cp -a "{node.folder}" "$0/node"; {FILL} "$@" || exit; rm "$0/filling"; "$@" || exit; exec "$@"'
    done = run(node, mounted(script, tmp_path), [*springline(node, "up", folder=copy), "--json"])
    assert done.returncode == 0, done.stderr
    ports = [json.loads(line)["listen"].rsplit(":", 1)[1] for line in done.stdout.splitlines()]
    assert len(ports) == 3
    assert ports[1] == ports[2]
    assert done.stderr.startswith(f"springline: warning: the next start may listen on another port than {ports[0]}, ")
    assert "no room to write device.json" in done.stderr
    assert done.stderr.count("\n") == 1, done.stderr


def test_an_export_that_a_full_disk_has_no_room_for(node: LocalNode, tmp_path: Path) -> None:
    export = ["export", str(tmp_path / "export"), "--export-passphrase-file", str(node.folder / "passphrase")]
    script = SMALL + f'cp -a "{node.folder}" "$0/node"; {FILL} exec "$@"'
    done = run(node, mounted(script, tmp_path), springline(node, *export, folder=tmp_path / "node"))
    assert (done.returncode, done.stdout) == (1, "")
    warned, failed = done.stderr.splitlines()
    assert warned.startswith("springline: warning: in the audit trail, and not sure to outlast a power cut: identity")
    assert failed.startswith(f"springline: no room to write {tmp_path / 'export'}")

"""A disk that refuses, as the kernel does it: the Keystore's process may write no byte more to any file."""

from __future__ import annotations

import contextlib
import resource
from collections.abc import Iterator

import pytest

from springline.actors.messages import KEYSTORE
from springline.cli.local import LocalNode
from springline.errors import LocalFault, SpringlineError, StorageFull
from springline.store.devices import TrustLevel
from springline.tests.nodes import Pair, echo, eventually, paired, process_of

pytestmark = pytest.mark.skipif(not hasattr(resource, "prlimit"), reason="there is no prlimit(2) here")


@pytest.fixture(scope="module")
def pair() -> Iterator[Pair]:
    with paired() as running:
        yield running


@contextlib.contextmanager
def full(node: LocalNode) -> Iterator[None]:
    """The disk of that node's store is full: writes end with EFBIG, which is what a limit says instead of ENOSPC."""
    pid = process_of(node.control, KEYSTORE)
    try:
        former = resource.prlimit(pid, resource.RLIMIT_FSIZE, (0, resource.RLIM_INFINITY))
    except PermissionError:
        pytest.skip("another process's limits can't be set here")
    try:
        yield
    finally:
        resource.prlimit(pid, resource.RLIMIT_FSIZE, former)


def paired_at(node: LocalNode) -> list[tuple[str, object]]:
    return [(link.device.info.name, link.device.paired_at) for link in node.control.devices()]


def test_a_joiner_without_room_says_so_and_the_words_stay_good(pair: Pair) -> None:
    invitation, before = pair.red.control.invite(), paired_at(pair.red)
    with full(pair.blue), pytest.raises(StorageFull, match="no room"):
        pair.blue.control.join(invitation.uri)
    assert paired_at(pair.red) == before
    assert pair.blue.control.join(invitation.uri).info.device_id == pair.red_id
    pair.await_link()


def test_an_inviter_without_room_says_so_and_the_words_stay_good(pair: Pair) -> None:
    invitation = pair.red.control.invite()
    with full(pair.red), pytest.raises(SpringlineError) as caught:
        pair.blue.control.join(invitation.uri)
    assert not isinstance(caught.value, LocalFault), "it is not our disk"
    assert pair.blue.control.join(invitation.uri).info.device_id == pair.red_id
    pair.await_link()


def refused(node: LocalNode, *command: str) -> None:
    done = node.run(*command)
    assert (done.returncode, done.stdout) == (1, ""), (command, done.stdout)
    assert done.stderr.count("\n") == 1, done.stderr
    assert "no room" in done.stderr


def test_what_can_not_be_kept_is_refused_and_nothing_changes(pair: Pair) -> None:
    with full(pair.blue):
        refused(pair.blue, "trust", "red", "verified")
        refused(pair.blue, "tune", "red", "--keepalive", "60")
        assert echo(pair.blue.control, pair.red_id)
    assert pair.blue.control.find("red").device.trust is TrustLevel.TRUSTED
    assert pair.blue.control.tuning(pair.red_id).keepalive == 25.0
    eventually(lambda: echo(pair.red.control, pair.blue_id), "red gets an echo")


def test_a_revocation_that_can_not_be_kept_closes_the_link_all_the_same(pair: Pair) -> None:
    with full(pair.blue):
        refused(pair.blue, "revoke", "red")
        with pytest.raises(SpringlineError, match="not connected"):
            echo(pair.blue.control, pair.red_id)
    assert pair.blue.run("revoke", "red").returncode == 0
    assert pair.blue.control.find("red").device.trust is TrustLevel.REVOKED

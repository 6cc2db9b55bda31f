"""What strangers can do to a listening node: nothing. No answer or a close, no crash, no delay for the others."""

from __future__ import annotations

import os
import pickle
import socket
from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from springline.actors.messages import KEYSTORE, BeginHandshake, Begun
from springline.tests.nodes import Pair, echo, eventually, pid_of
from springline.transport.address import Address
from springline.transport.framing import LENGTH_SIZE
from springline.transport.hello import Hello
from springline.transport.noise import CONNECT, FIRST_FRAME, SECOND_FRAME, Handshake, mac1, mac1_key

PATIENCE = 10.0


@pytest.fixture
def where(pair: Pair) -> Iterator[tuple[str, int]]:
    """red's address; afterwards its transport is the process it was, and its link works."""
    address = Address.parse(pair.red.listen)
    before = pid_of(pair.red.control, "transports.tcp")
    yield address.host, address.port
    assert pid_of(pair.red.control, "transports.tcp") == before
    assert echo(pair.blue.control, pair.red_id)


def answer_to(where: tuple[str, int], data: bytes) -> bytes:
    """Whatever comes back until the other side closes."""
    with socket.create_connection(where, timeout=PATIENCE) as sock:
        try:
            sock.sendall(data)
            sock.shutdown(socket.SHUT_WR)
            return sock.recv(4096)
        except TimeoutError:
            raise
        except OSError:  # it has hung up on us before we were through
            return b""


def frame(body: bytes) -> bytes:
    return len(body).to_bytes(2, "big") + body


class Boom:
    """Runs a command where it is unpickled."""

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.system, ("touch /tmp/springline-was-here",)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\0",
        b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
        b"\xff\xff" + bytes(70_000),
        b"-5>",
        pickle.dumps(Boom()),
        frame(bytes(FIRST_FRAME)),
        frame(os.urandom(FIRST_FRAME)),
        frame(os.urandom(FIRST_FRAME))[:100],
        frame(b""),
    ],
    ids=["nothing", "a byte", "http", "oversized", "negative", "pickle", "zeros", "noise", "truncated", "empty frame"],
)
def test_garbage_gets_no_answer(where: tuple[str, int], data: bytes) -> None:
    assert answer_to(where, data) == b""
    assert not os.path.exists("/tmp/springline-was-here")


def first_frame(pair: Pair, private: bytes) -> bytes:
    """A flawless first frame to red, from whoever has that static key."""
    static = pair.red.control.whoami().static_key
    handshake = Handshake.initiate(CONNECT, private, remote_static=static, psk=os.urandom(32))
    message = handshake.write(Hello(epoch=2**62).encode())
    return frame(mac1(mac1_key(static), message) + message)


def test_an_unpaired_device_gets_no_answer(pair: Pair, where: tuple[str, int]) -> None:
    assert answer_to(where, first_frame(pair, os.urandom(32))) == b""


def test_a_replayed_first_message_goes_nowhere(pair: Pair, where: tuple[str, int]) -> None:
    begun: Begun = pair.blue.control.ask(KEYSTORE, BeginHandshake(pair.red_id))
    link = pid_of(pair.red.control, f"connections.{pair.blue_id.hex}")
    since = pair.red.control.find(pair.blue_id).link.since
    assert len(answer_to(where, frame(begun.frame))) == LENGTH_SIZE + SECOND_FRAME  # but nobody confirms
    for _ in range(3):
        assert answer_to(where, frame(begun.frame)) == b""
    assert pair.red.control.find(pair.blue_id).link.since == since
    assert pid_of(pair.red.control, f"connections.{pair.blue_id.hex}") == link


def test_half_open_callers_do_not_keep_others_out(pair: Pair, where: tuple[str, int]) -> None:
    with ExitStack() as stack:
        for _ in range(500):
            stack.enter_context(socket.create_connection(where, timeout=PATIENCE))
        pair.blue.control.disconnect(pair.red_id)
        pair.blue.control.await_state(pair.red_id, "Disconnected", PATIENCE)
        pair.blue.control.connect(pair.red_id)
        pair.blue.control.await_state(pair.red_id, "Connected", PATIENCE)
        eventually(lambda: echo(pair.blue.control, pair.red_id), "an echo in spite of 500 half-open callers")


def test_a_revoked_device_is_not_let_in_again(pair: Pair) -> None:
    """Last in this file: the pair is joined anew afterwards."""
    pair.red.control.revoke(pair.blue_id)
    eventually(
        lambda: pair.blue.control.find(pair.red_id).link.state in ("Connecting", "Authenticating", "Reconnecting"),
        "blue has lost the link",
    )
    for _ in range(3):
        pair.blue.control.connect(pair.red_id)
    assert pair.red.control.find(pair.blue_id).link.state == "Failed(revoked)"
    assert pid_of(pair.red.control, f"connections.{pair.blue_id.hex}") is None
    pair.join()

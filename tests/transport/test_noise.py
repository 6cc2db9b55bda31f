"""Tests of ``springline.transport.noise``."""

from __future__ import annotations

import hashlib
import json
import pickle
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from springline.errors import Malformed, Misuse
from springline.transport import noise
from springline.transport.framing import LENGTH_SIZE
from springline.transport.noise import CONNECT, FIRST_FRAME, FIRST_PAYLOAD, MAC_SIZE, PAIR, Handshake, SessionKeys
from springline.transport.session import Session

VECTORS: list[dict[str, Any]] = json.loads(
    (Path(__file__).parent / "vectors" / "noise.json").read_text(encoding="utf-8")
)["vectors"]

INITIATOR, RESPONDER, PSK = (bytes([n]) * 32 for n in (1, 2, 3))

# Points of small order on Curve25519 and on its twist, with non-canonical forms (https://cr.yp.to/ecdh.html#validate).
SMALL_ORDER = [
    (0).to_bytes(32, "little"),
    (1).to_bytes(32, "little"),
    (325606250916557431795983626356110631294008115727848805560023387167927233504).to_bytes(32, "little"),
    (39382357235489614581723060781553021112529911719440698176882885853963445705823).to_bytes(32, "little"),
    *((2**255 - 19 + n).to_bytes(32, "little") for n in (-1, 0, 1)),
]


def connect_pair() -> tuple[Handshake, Handshake]:
    remote = noise.public_key(RESPONDER)
    return Handshake.initiate(CONNECT, INITIATOR, remote_static=remote, psk=PSK), Handshake.respond(CONNECT, RESPONDER)


def pairing_pair() -> tuple[Handshake, Handshake]:
    return Handshake.initiate(PAIR, INITIATOR, psk=PSK), Handshake.respond(PAIR, RESPONDER, psk=PSK)


def finish(initiator: Handshake, responder: Handshake, psk: bytes | None) -> list[bytes]:
    """Run a handshake of either kind; the messages as they were on the wire."""
    wire: list[bytes] = []
    sides = [initiator, responder]
    while not (initiator.finished and responder.finished):
        wire.append(sides[0].write(sides[0].padding()))
        sides[1].read(wire[-1])
        if psk is not None and len(wire) == 1:
            responder.set_psk(psk)
        sides.reverse()
    return wire


def from_hex(vector: dict[str, Any], name: str) -> bytes:
    return bytes.fromhex(vector[name])


@pytest.mark.parametrize(
    ("vector", "late_psk"),
    [
        pytest.param(v, late, id=f"{v['source']}-{v['protocol_name']}-{'late' if late else 'early'}")
        for v in VECTORS
        for late in (False, True)
        if not late or v["protocol_name"].encode() == CONNECT
    ],
)
def test_published_vectors(vector: dict[str, Any], late_psk: bool) -> None:
    name = vector["protocol_name"].encode()
    psk, prologue = from_hex(vector, "psk"), from_hex(vector, "prologue")
    initiator = Handshake(
        name,
        True,
        from_hex(vector, "init_static"),
        noise.public_key(from_hex(vector, "resp_static")) if name == CONNECT else None,
        psk,
        prologue=prologue,
        ephemeral=from_hex(vector, "init_ephemeral"),
    )
    responder = Handshake(
        name,
        False,
        from_hex(vector, "resp_static"),
        None,
        None if late_psk else psk,
        prologue=prologue,
        ephemeral=from_hex(vector, "resp_ephemeral"),
    )
    sides = [initiator, responder]
    messages = [(bytes.fromhex(m["payload"]), bytes.fromhex(m["ciphertext"])) for m in vector["messages"]]
    handshake_messages = len(noise.PAYLOADS[name])
    for payload, ciphertext in messages[:handshake_messages]:
        assert sides[0].write(payload) == ciphertext
        assert sides[1].read(ciphertext) == payload
        if late_psk and not responder.finished:
            responder.set_psk(psk)
        sides.reverse()

    assert initiator.finished
    assert responder.finished
    assert initiator.hash == responder.hash == vector_hash(vector, initiator.hash)
    assert initiator.remote_static == noise.public_key(from_hex(vector, "resp_static"))
    assert responder.remote_static == noise.public_key(from_hex(vector, "init_static"))

    sessions = [Session(side.keys()) for side in (initiator, responder)]  # the initiator speaks first again
    assert len(messages) > handshake_messages
    for payload, ciphertext in messages[handshake_messages:]:
        frame = sessions[0].seal(payload)
        assert frame[LENGTH_SIZE:] == ciphertext
        assert sessions[1].open(memoryview(bytearray(ciphertext))) == payload
        sessions.reverse()


def vector_hash(vector: dict[str, Any], default: bytes) -> bytes:
    return bytes.fromhex(vector["handshake_hash"]) if "handshake_hash" in vector else default


def test_the_vectors_cover_both_protocols_and_a_hash() -> None:
    assert {v["protocol_name"].encode() for v in VECTORS} == {CONNECT, PAIR}
    assert any("handshake_hash" in v for v in VECTORS)


def test_both_handshakes_look_alike_in_length() -> None:
    connect = finish(*connect_pair(), PSK)
    pair = finish(*pairing_pair(), None)
    assert MAC_SIZE + len(connect[0]) == MAC_SIZE + len(pair[0]) == FIRST_FRAME
    assert len(connect[1]) == len(pair[1]) == noise.SECOND_FRAME
    assert len(pair[2]) == noise.THIRD_FRAME


@pytest.mark.parametrize("make", [connect_pair, pairing_pair])
def test_both_sides_end_with_the_same_keys(make: Any) -> None:
    initiator, responder = make()
    finish(initiator, responder, PSK if make is connect_pair else None)
    ours, theirs = initiator.keys(), responder.keys()
    assert (ours.send, ours.receive, ours.hash) == (theirs.receive, theirs.send, theirs.hash)
    assert ours.send != ours.receive
    assert initiator.hash == ours.hash


def test_no_two_handshakes_are_alike() -> None:
    first, second = connect_pair(), connect_pair()
    assert finish(*first, PSK)[0] != finish(*second, PSK)[0]
    assert first[0].keys().hash != second[0].keys().hash


def test_the_responder_learns_who_calls_before_it_needs_the_psk() -> None:
    initiator, responder = connect_pair()
    with pytest.raises(Misuse):
        _ = responder.remote_static
    responder.read(initiator.write(b"hello"))
    assert responder.remote_static == noise.public_key(INITIATOR)
    with pytest.raises(Misuse, match="missing"):
        responder.write()
    responder.set_psk(PSK)
    assert initiator.read(responder.write(b"welcome")) == b"welcome"


def test_another_psk_ends_connect_at_the_second_message() -> None:
    initiator, responder = connect_pair()
    responder.read(initiator.write())
    responder.set_psk(bytes(32))
    with pytest.raises(Malformed):
        initiator.read(responder.write())


def test_another_psk_ends_pair_at_the_first_message() -> None:
    initiator = Handshake.initiate(PAIR, INITIATOR, psk=PSK)
    with pytest.raises(Malformed):
        Handshake.respond(PAIR, RESPONDER, psk=bytes(32)).read(initiator.write())


def test_another_responder_key_ends_connect_at_the_first_message() -> None:
    initiator, _ = connect_pair()
    with pytest.raises(Malformed):
        Handshake.respond(CONNECT, INITIATOR).read(initiator.write())


def test_another_prologue_ends_connect() -> None:
    initiator = Handshake(CONNECT, True, INITIATOR, noise.public_key(RESPONDER), PSK, prologue=b"springline/2")
    with pytest.raises(Malformed):
        Handshake.respond(CONNECT, RESPONDER).read(initiator.write())


@pytest.mark.parametrize("elsewhere", [b"", b"o" * 32])
def test_a_handshake_inside_a_session_is_worth_nothing_elsewhere(elsewhere: bytes) -> None:
    here = b"h" * 32
    first = Handshake.initiate(CONNECT, INITIATOR, noise.public_key(RESPONDER), PSK, here).write()
    Handshake.respond(CONNECT, RESPONDER, PSK, here).read(first)
    with pytest.raises(Malformed):
        Handshake.respond(CONNECT, RESPONDER, PSK, elsewhere).read(first)
    with pytest.raises(Misuse):
        Handshake.respond(CONNECT, RESPONDER, PSK, b"not a hash")


def test_a_psk_that_comes_too_late_is_refused() -> None:
    initiator, responder = connect_pair()
    finish(initiator, responder, PSK)
    with pytest.raises(Misuse, match="too late"):
        responder.set_psk(PSK)
    pairing, _ = pairing_pair()
    pairing.write()
    with pytest.raises(Misuse, match="too late"):
        pairing.set_psk(PSK)


def test_out_of_turn_is_misuse() -> None:
    initiator, responder = connect_pair()
    with pytest.raises(Misuse):
        initiator.read(b"")
    with pytest.raises(Misuse):
        responder.write()
    with pytest.raises(Misuse):
        initiator.keys()
    with pytest.raises(Misuse):
        _ = initiator.hash
    finish(initiator, responder, PSK)
    for late in (initiator.write, responder.write, initiator.padding):
        with pytest.raises(Misuse):
            late()


@pytest.mark.parametrize(
    ("pattern", "initiator", "remote", "psk", "private"),
    [
        (b"Noise_NN_25519_ChaChaPoly_BLAKE2s", True, None, PSK, INITIATOR),
        (CONNECT, True, None, PSK, INITIATOR),
        (CONNECT, False, RESPONDER, PSK, INITIATOR),
        (PAIR, True, RESPONDER, PSK, INITIATOR),
        (CONNECT, True, RESPONDER[:31], PSK, INITIATOR),
        (PAIR, True, None, PSK[:31], INITIATOR),
        (PAIR, True, None, PSK, INITIATOR + b"x"),
    ],
)
def test_wrong_arguments_are_misuse(
    pattern: bytes, initiator: bool, remote: bytes | None, psk: bytes, private: bytes
) -> None:
    with pytest.raises(Misuse):
        Handshake(pattern, initiator, private, remote, psk)


# -- hostile bytes -------------------------------------------------------------------------------------------------


@given(st.binary(max_size=400))
def test_arbitrary_first_messages_are_malformed(message: bytes) -> None:
    for responder in (connect_pair()[1], pairing_pair()[1]):
        with pytest.raises(Malformed):
            responder.read(message)


@given(st.binary(max_size=400))
def test_arbitrary_second_messages_are_malformed(message: bytes) -> None:
    for initiator in (connect_pair()[0], pairing_pair()[0]):
        initiator.write()
        with pytest.raises(Malformed):
            initiator.read(message)


@given(st.integers(0, 223), st.integers(1, 255))
def test_every_byte_of_the_first_message_counts(position: int, change: int) -> None:
    initiator, responder = connect_pair()
    message = bytearray(initiator.write(initiator.padding()))
    message[position] ^= change
    with pytest.raises(Malformed):
        responder.read(bytes(message))


def test_the_bit_of_a_public_key_that_x25519_ignores_counts() -> None:
    initiator, responder = connect_pair()
    message = bytearray(initiator.write())
    message[31] ^= 0x80
    with pytest.raises(Malformed):
        responder.read(bytes(message))


def test_a_failed_handshake_stays_failed() -> None:
    initiator, responder = connect_pair()
    message = initiator.write()
    with pytest.raises(Malformed):
        responder.read(message[:-1])
    with pytest.raises(Misuse, match="failed"):
        responder.read(message)
    assert "failed" in repr(responder)


def test_a_message_beyond_noise_s_limit_is_malformed() -> None:
    initiator, responder = connect_pair()
    with pytest.raises(Malformed):
        responder.read(initiator.write(bytes(65536)))


@pytest.mark.parametrize("point", SMALL_ORDER, ids=lambda p: p.hex()[:8])
def test_small_order_keys_are_refused(point: bytes) -> None:
    # As the peer's ephemeral key: in Connect at once …
    with pytest.raises(Malformed):
        connect_pair()[1].read(point + bytes(192))
    # … in Pair, where a knower of the words sends it, when we would answer.
    responder = pairing_pair()[1]
    evil = Handshake.initiate(PAIR, INITIATOR, psk=PSK)
    evil._state.e = type("Point", (), {"public_bytes": point})()
    responder.read(evil.write())
    with pytest.raises(Malformed):
        responder.write()
    # As the static key of the device to be dialled.
    with pytest.raises(Malformed):
        Handshake.initiate(CONNECT, INITIATOR, remote_static=point, psk=PSK).write()


# -- keys, MACs, padding -------------------------------------------------------------------------------------------


def test_session_keys_travel_and_tell_nothing() -> None:
    keys = SessionKeys(b"s" * 32, b"r" * 32, b"h" * 32)
    assert pickle.loads(pickle.dumps(keys)) == keys
    assert repr(keys) == "SessionKeys()"
    assert "PSK" not in repr(connect_pair()[0])
    with pytest.raises(Misuse):
        SessionKeys(b"short", b"r" * 32, b"h" * 32)


def test_public_key_of_rfc_7748() -> None:
    # RFC 7748 §6.1, Alice.
    private = bytes.fromhex("77076d0a7318a57d3c16c17251b26645df4c2f87ebc0992ab177fba51db92c2a")
    public = bytes.fromhex("8520f0098930a754748b7ddcb43ef75a0dbf3a0d26381af4eba4a98eaa9b4e6a")
    assert noise.public_key(private) == public


def test_mac1_is_the_responder_s_and_the_message_s() -> None:
    key = noise.mac1_key(noise.public_key(RESPONDER))
    assert key == hashlib.blake2s(b"mac1----" + noise.public_key(RESPONDER)).digest()
    tag = noise.mac1(key, b"message")
    assert len(tag) == MAC_SIZE
    assert noise.check_mac1(key, b"message", tag)
    assert not noise.check_mac1(key, b"massage", tag)
    assert not noise.check_mac1(noise.mac1_key(noise.public_key(INITIATOR)), b"message", tag)
    assert not noise.check_mac1(key, b"message", tag[:-1])
    assert not noise.check_mac1(key, b"message", b"")


def test_the_confirmation_is_the_initiator_s_first_transport_message() -> None:
    initiator, responder = connect_pair()
    finish(initiator, responder, PSK)
    body = noise.confirm(initiator.keys())
    assert len(body) == noise.CONFIRM_FRAME
    noise.open_confirm(responder.keys(), body)
    opened = Session(responder.keys()).open(memoryview(bytearray(body)))
    assert bytes(opened) == b""
    not_empty = Session(initiator.keys()).seal(b"x")[LENGTH_SIZE:]
    for wrong in (b"", body[:-1], body + b"x", noise.confirm(responder.keys()), not_empty):
        with pytest.raises(Malformed):
            noise.open_confirm(responder.keys(), wrong)


@given(st.binary(max_size=126))
def test_padding_comes_off_again(payload: bytes) -> None:
    padded = noise.pad(payload, FIRST_PAYLOAD)
    assert len(padded) == FIRST_PAYLOAD
    assert noise.unpad_untrusted(padded) == payload


@given(st.binary(max_size=64))
def test_unpad_raises_malformed_only(padded: bytes) -> None:
    try:
        payload = noise.unpad_untrusted(padded)
    except Malformed:
        return
    assert noise.pad(payload, len(padded)) == padded


@pytest.mark.parametrize("padded", [b"", b"\0", b"\0\1", b"\0\1xy", b"\0\1x\0\0y", b"\xff\xffx"])
def test_padding_that_lies_is_malformed(padded: bytes) -> None:
    with pytest.raises(Malformed):
        noise.unpad_untrusted(padded)


def test_what_does_not_fit_is_misuse() -> None:
    with pytest.raises(Misuse):
        noise.pad(bytes(127), FIRST_PAYLOAD)

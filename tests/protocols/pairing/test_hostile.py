"""What a hostile peer that knows the words, or does not, can do to a pairing: nothing, and it is written down.

Real sockets, real nodes; the other side is ``tests/hostile.py``.
"""

from __future__ import annotations

import os
import signal
import socket
import struct
import threading
from collections.abc import Callable, Iterator

import cbor2
import pytest

from springline.actors.messages import KEYSTORE, PAIRING
from springline.control import Control
from springline.errors import PairingFailed, SpringlineError
from springline.protocols.pairing.exchange import AGREED, REFUSED, Role, statement, stored
from springline.protocols.pairing.failures import MOST
from springline.protocols.pairing.invitations import ATTEMPTS
from springline.protocols.pairing.keys import keys_of
from springline.protocols.pairing.offer import Offer
from springline.protocols.pairing.uri import build, parse
from springline.store.identity import PAIRING_CONTEXT
from springline.tests.hostile import PATIENCE, HungUp, Line, Mallory, Met, close_all
from springline.tests.nodes import Pair, eventually, kill_and_await, paired, process_of
from springline.transport.address import Address
from springline.transport.hello import Hello
from springline.transport.noise import CONNECT, PAIR, Handshake, mac1, mac1_key


@pytest.fixture(scope="module")
def pair() -> Iterator[Pair]:
    with paired() as running:
        yield running


@pytest.fixture
def red(pair: Pair) -> Iterator[Control]:
    """A node that nobody has paired with by the end, and whose door is open."""
    before = {status.device.info.device_id for status in pair.red.control.devices()}
    yield pair.red.control
    assert {status.device.info.device_id for status in pair.red.control.devices()} == before
    for node in (pair.red.control, pair.blue.control):
        reborn(node)


@pytest.fixture(autouse=True)
def hung_up() -> Iterator[None]:
    yield
    close_all()


def reborn(node: Control) -> None:
    """A Pairing process that has forgotten everything."""
    kill_and_await(node, PAIRING)


def noted(node: Control, text: str) -> None:
    """It is in the audit trail."""
    eventually(lambda: any(text in entry.detail for entry in node.audit(500)), text)


def hangs_up(met: Met) -> bool:
    """It says nothing more. What it had said before is no answer."""
    try:
        while True:
            met.hear()
    except HungUp:
        return True


# -- versions ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("said", [Offer(0, 0), Offer(2, 9)], ids=["older", "newer"])
def test_a_joiner_of_other_versions_is_refused(red: Control, said: Offer) -> None:
    met = Mallory().join(red.invite().uri, said)
    assert (met.theirs.lowest, met.theirs.highest) == (1, 1)  # so that it can tell its user why
    assert met.line.is_closed()
    noted(red, "speaks version 0 only" if said.highest == 0 else "speaks other versions only")


def test_an_inviter_of_an_older_version_is_refused(pair: Pair, red: Control) -> None:
    def inviter(mallory: Mallory, listener: socket.socket, secret: bytes) -> None:
        with pytest.raises(HungUp):
            mallory.answer(listener, keys_of(secret), Offer(0, 0, bytes(32)))

    assert "speaks version 0 only" in joined_by(pair.blue.control, inviter)
    noted(pair.blue.control, "speaks version 0 only")


def test_nobody_in_between_can_change_what_a_handshake_says(red: Control) -> None:
    """Not even who knows the key of the doorbell: the payload is sealed with the words."""

    def flipped(knock: bytes) -> bytes:
        return knock[:40] + bytes([knock[40] ^ 1]) + knock[41:]

    with pytest.raises(HungUp):
        Mallory().join(red.invite().uri, tamper=flipped)
    noted(red, "not from whom it should be, or damaged")


def test_a_paired_device_that_claims_an_older_version_is_refused(pair: Pair) -> None:
    red, mallory = pair.red.control, Mallory("old mallory")
    mallory.complete(mallory.join(red.invite().uri))
    eventually(lambda: red.find("old mallory"), "it is paired")
    static = red.whoami().static_key
    handshake = Handshake.initiate(CONNECT, mallory.identity.static_private, static, bytes(32))
    message = handshake.write(Hello(0, 0).encode())
    with socket.create_connection(where(red), timeout=PATIENCE) as sock:
        line = Line(sock)
        line.send_frame(mac1(mac1_key(static), message) + message)
        assert line.is_closed()
    noted(red, "speaks versions 0 to 0 only")
    red.revoke(mallory.info.device_id)


# -- identities ----------------------------------------------------------------------------------------------------


def test_an_identity_can_not_be_swapped(pair: Pair, red: Control) -> None:
    """Mallory, who knows the words, passes itself off as blue."""
    mallory, blue = Mallory(), pair.blue.control.whoami()
    met = mallory.join(red.invite().uri)
    met.say(mallory.who(met, Role.JOINER, info=blue))
    assert hangs_up(met)
    noted(red, "claims a key it has not shown")
    met = mallory.join(red.invite().uri)
    said = statement(Role.JOINER, met.hash, mallory.info, mallory.contribution)
    stolen = {**mallory.info.to_dict(), "name": "blue"}
    met.say(cbor2.dumps(["who", stolen, mallory.contribution, mallory.identity.sign(said, PAIRING_CONTEXT)]))
    assert hangs_up(met)
    noted(red, "a signature does not hold")


def test_what_was_signed_for_one_pairing_is_worth_nothing_in_another(red: Control) -> None:
    mallory = Mallory()
    invitation = red.invite().uri
    first, second = mallory.join(invitation), mallory.join(invitation)
    second.say(mallory.who(first, Role.JOINER))
    assert hangs_up(second)
    noted(red, "a signature does not hold")
    first.line.sock.close()


def test_the_joiner_hears_nobody_before_it_has_spoken(red: Control) -> None:
    """The inviter shows its contribution only after it knows the joiner's: else the digits could be steered."""
    met = Mallory().join(red.invite().uri)
    met.line.sock.settimeout(0.5)
    with pytest.raises(TimeoutError):
        met.hear()


def joined_by(node: Control, inviter: Callable[[Mallory, socket.socket, bytes], None]) -> str:
    """What ``node`` says of joining an inviter that behaves like that."""
    mallory, secret = Mallory(), os.urandom(16)
    failures: list[BaseException] = []

    def run() -> None:
        try:
            inviter(mallory, listener, secret)
        except (AssertionError, SpringlineError, OSError, HungUp, pytest.fail.Exception) as error:
            failures.append(error)

    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(PATIENCE)
        thread = threading.Thread(target=run)
        thread.start()
        with pytest.raises(SpringlineError) as caught:
            node.join(build(secret, [Address("127.0.0.1", listener.getsockname()[1])]))
        thread.join(PATIENCE)
    assert not failures, failures
    return str(caught.value)


def test_an_inviter_that_changes_its_contribution_is_refused(pair: Pair, red: Control) -> None:
    """Whoever sits in between would choose it so that the digits agree."""

    def inviter(mallory: Mallory, listener: socket.socket, secret: bytes) -> None:
        met = mallory.answer(listener, keys_of(secret))
        met.hear()
        met.say(mallory.who(met, Role.INVITER, contribution=os.urandom(32)))
        assert hangs_up(met)

    assert "not the one it has committed to" in joined_by(pair.blue.control, inviter)
    noted(pair.blue.control, "not the one it has committed to")


def test_an_inviter_that_commits_to_nothing_is_refused(pair: Pair, red: Control) -> None:
    def inviter(mallory: Mallory, listener: socket.socket, secret: bytes) -> None:
        with pytest.raises(HungUp):
            mallory.answer(listener, keys_of(secret), Offer())

    assert "commitment is missing" in joined_by(pair.blue.control, inviter)


def test_a_joiner_that_has_stored_knows_it_even_if_its_last_word_is_not_heard(pair: Pair) -> None:
    """Else it would have no connection to a device that it is paired with, until it starts anew."""
    blue = pair.blue.control

    def inviter(mallory: Mallory, listener: socket.socket, secret: bytes) -> None:
        met = mallory.answer(listener, keys_of(secret))
        met.hear()
        met.say(mallory.who(met, Role.INVITER))
        assert met.hear() == AGREED
        keystore = process_of(blue, KEYSTORE)
        os.kill(keystore, signal.SIGSTOP)  # until the joiner has nobody left to talk to
        try:
            met.say(stored(Role.INVITER))
            met.line.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            met.line.sock.close()
        finally:
            os.kill(keystore, signal.SIGCONT)

    assert "hung up" in joined_by(blue, inviter)
    eventually(lambda: blue.find("mallory"), "it is listed")
    blue.revoke(blue.find("mallory").device.info.device_id)


# -- reflection and replay -----------------------------------------------------------------------------------------


def test_what_a_device_says_is_not_taken_from_others(pair: Pair, red: Control) -> None:
    def plaintext_back(mallory: Mallory, listener: socket.socket, secret: bytes) -> None:
        met = mallory.answer(listener, keys_of(secret))
        met.say(met.hear())
        assert hangs_up(met)

    def ciphertext_back(mallory: Mallory, listener: socket.socket, secret: bytes) -> None:
        met = mallory.answer(listener, keys_of(secret))
        body = met.line.receive()
        met.line.send_frame(body)
        assert met.line.is_closed()

    def first_back(mallory: Mallory, listener: socket.socket, secret: bytes) -> None:
        sock, _ = listener.accept()
        line = Line(sock)
        body = line.receive()
        line.send_frame(body[:176])
        assert line.is_closed()

    assert "a key it has not shown" in joined_by(pair.blue.control, plaintext_back)
    assert "not genuine" in joined_by(pair.blue.control, ciphertext_back)
    assert "not from whom it should be" in joined_by(pair.blue.control, first_back)
    noted(pair.blue.control, "not genuine")


def test_every_message_of_an_earlier_pairing_is_worth_nothing(red: Control) -> None:
    """Recorded up to the last word before anything is stored, then played again as long as somebody listens."""
    mallory, invitation = Mallory(), red.invite().uri
    met = mallory.join(invitation)
    whole = [*met.line.sent, met.session.seal(mallory.who(met, Role.JOINER))]
    met.line.sock.close()  # the words are still good: nobody was believed
    again = mallory.dial(invitation)
    again.send(whole[0])
    assert again.is_closed()
    noted(red, "its first message has been seen before")
    fresh = Mallory().dial(invitation)
    handshake = Handshake.initiate(PAIR, os.urandom(32), psk=keys_of(parse(invitation).secret).psk)
    knock = handshake.write(handshake.padding(Offer().encode()))
    fresh.send_frame(mac1(keys_of(parse(invitation).secret).doorbell, knock) + knock)
    assert len(fresh.receive()) == 176  # an answer which the recorded third message does not fit
    for raw in whole[1:]:
        try:
            fresh.send(raw)
        except HungUp:
            break
    assert fresh.is_closed()
    noted(red, "not from whom it should be, or damaged")


def test_who_only_listens_can_not_use_up_an_invitation(red: Control) -> None:
    """By repeating what it has heard somebody else begin with."""
    mallory, invitation = Mallory(), red.invite().uri
    met = mallory.join(invitation)
    met.line.sock.close()
    for _ in range(ATTEMPTS + 1):
        again = mallory.dial(invitation)
        again.send(met.line.sent[0])
        assert again.is_closed()
    assert Mallory().join(invitation).theirs.commitment


def test_words_that_were_used_get_no_answer(pair: Pair) -> None:
    red, mallory = pair.red.control, Mallory("used")
    invitation = red.invite().uri
    met = mallory.join(invitation)
    mallory.complete(met)
    eventually(lambda: red.find("used"), "it is paired")
    again = mallory.dial(invitation)
    again.send(met.line.sent[0])
    assert again.is_closed()
    red.revoke(mallory.info.device_id)


# -- guessing ------------------------------------------------------------------------------------------------------


def where(node: Control) -> tuple[str, int]:
    address = node.listening_at()
    return address.host, address.port


def test_guessed_words_get_no_answer(red: Control) -> None:
    invitation = red.invite()
    at = parse(invitation.uri).addresses
    for _ in range(40):
        with pytest.raises(HungUp):
            Mallory().join(build(os.urandom(16), at))
    noted(red, "it has no key to this door")
    assert Mallory().join(invitation.uri).theirs.commitment  # and they have cost the honest caller nothing


def test_who_knows_the_words_has_few_attempts(red: Control) -> None:
    invitation = red.invite().uri
    for _ in range(ATTEMPTS):
        met = Mallory().join(invitation)
        met.say(REFUSED)
        assert hangs_up(met)
    with pytest.raises(HungUp):
        Mallory().join(invitation)
    noted(red, "a pairing message that is not due")


def test_a_burst_of_failures_shuts_the_door(red: Control) -> None:
    invitations = [red.invite().uri for _ in range(MOST // ATTEMPTS + 2)]
    for number in range(MOST):
        met = Mallory().join(invitations[number // ATTEMPTS])
        met.say(b"nonsense")
        assert hangs_up(met)
    noted(red, "too many have failed")
    with pytest.raises(HungUp):
        Mallory().join(invitations[-1])
    with pytest.raises(PairingFailed, match="too many pairings have failed"):
        red.invite()


def test_a_burst_of_wrong_words_is_stopped_at_the_joiner(pair: Pair, red: Control) -> None:
    at = [Address(*where(red))]
    for _ in range(MOST):
        with pytest.raises(PairingFailed, match="gave no answer"):
            pair.blue.control.join(build(os.urandom(16), at))
    with pytest.raises(PairingFailed, match="too many pairings have failed"):
        pair.blue.control.join(build(os.urandom(16), at))
    noted(pair.blue.control, "too many have failed")


def test_nobody_is_there_costs_no_attempt(pair: Pair, red: Control) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        at = [Address("127.0.0.1", listener.getsockname()[1])]
    for _ in range(MOST + 1):
        with pytest.raises(SpringlineError, match="connection refused"):
            pair.blue.control.join(build(os.urandom(16), at))


def test_where_somebody_else_answers_is_passed_over(pair: Pair) -> None:
    invited = parse(pair.red.control.invite().uri)
    with socket.create_server(("127.0.0.1", 0)) as mute, socket.create_server(("127.0.0.1", 0)) as rude:

        def hang_up() -> None:
            rude.accept()[0].close()

        hanging_up = threading.Thread(target=hang_up)
        hanging_up.start()
        elsewhere = [Address("127.0.0.1", listener.getsockname()[1]) for listener in (rude, mute)]
        device = pair.blue.control.join(build(invited.secret, [*elsewhere, *invited.addresses]))
        hanging_up.join()
    assert device.info.device_id == pair.red_id

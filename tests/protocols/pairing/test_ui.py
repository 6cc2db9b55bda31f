"""Two real nodes pair before their users' eyes: what each side is shown, asked and told."""

from __future__ import annotations

import contextlib
import secrets
import shutil
import socket
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path

import cbor2
import pytest

from springline.actors.inviting import Invitation
from springline.actors.messages import PAIRING
from springline.cli.local import left_over
from springline.control import Control
from springline.errors import Misuse, PairingFailed, SpringlineError
from springline.events import PairingEnded, PairingProgress, PairingStage
from springline.protocols.pairing import exchange, uri
from springline.protocols.pairing.exchange import Exchange, Role
from springline.protocols.pairing.invitations import MOST_OPEN
from springline.protocols.pairing.keys import keys_of
from springline.protocols.pairing.ui import PairingUI
from springline.protocols.pairing.watching import ConfirmPairing, FollowPairing
from springline.store.devices import PairedDevice, TrustLevel
from springline.store.envelope import Strength
from springline.tests.hostile import Mallory, close_all
from springline.tests.nodes import PATIENCE, QuickNode, eventually, kill_and_await
from springline.transport.address import Address

HURRY = """
from springline.protocols.pairing import conversation, invitations
{}
from springline.cli import main
main()
"""


class HastyNode(QuickNode):
    """A node whose people have less time. :param hurry: Python that says so, before it starts."""

    hurry = ""

    def _command(self, *arguments: str) -> list[str]:
        command = super()._command(*arguments)
        return [command[0], "-c", HURRY.format(self.hurry), *command[3:]] if arguments[0] == "up" else command


@contextlib.contextmanager
def strangers(hurry: str = "") -> Iterator[tuple[Control, Control]]:
    """Two nodes, red and blue, that have never met; afterwards nothing of them is left."""
    token = secrets.token_hex(8)
    folder = Path(tempfile.mkdtemp(prefix="springline-test-"))
    red, blue = (HastyNode(folder / name, name, token, Strength.MINIMAL) for name in ("red", "blue"))
    red.hurry = blue.hurry = hurry
    try:
        with red, blue:
            yield red.control, blue.control
        assert not left_over(token)
    finally:
        shutil.rmtree(folder)


@pytest.fixture(scope="module")
def patient() -> Iterator[tuple[Control, Control]]:
    with strangers() as nodes:
        yield nodes


@pytest.fixture
def both(patient: tuple[Control, Control]) -> Iterator[tuple[Control, Control]]:
    """red and blue; what went wrong before is forgotten."""
    yield patient
    close_all()
    for node in patient:
        kill_and_await(node, PAIRING)


class Shown(PairingUI):
    """Notes what it is told. :param answer: called when it is asked."""

    def __init__(self, answer: Callable[[PairingProgress], bool] = lambda _: True) -> None:
        self.answer = answer
        self.invitations: list[Invitation] = []
        self.seen: list[PairingProgress] = []
        self.done: list[tuple[PairedDevice, PairingEnded]] = []
        self.errors: list[SpringlineError] = []
        self.opened = threading.Event()
        self.asked = threading.Event()

    def invited(self, invitation: Invitation) -> None:
        self.invitations.append(invitation)
        self.opened.set()

    def progress(self, progress: PairingProgress) -> None:
        self.seen.append(progress)

    def confirm(self, progress: PairingProgress) -> bool:
        self.asked.set()
        return self.answer(progress)

    def paired(self, device: PairedDevice, ended: PairingEnded) -> None:
        self.done.append((device, ended))

    def failed(self, error: SpringlineError) -> None:
        self.errors.append(error)

    @property
    def uri(self) -> str:
        assert self.opened.wait(PATIENCE)
        return self.invitations[0].uri

    @property
    def sas(self) -> str:
        (sas,) = {progress.sas for progress in self.seen if progress.sas}
        return sas

    @property
    def stages(self) -> list[PairingStage]:
        return [progress.stage for progress in self.seen]


class Inviting(threading.Thread):
    """``invite_with`` in a thread of its own."""

    def __init__(self, node: Control, ui: Shown, *, confirm: bool = False) -> None:
        super().__init__()
        self.node, self.ui, self.asks = node, ui, confirm
        self.raised: SpringlineError | None = None
        self.start()

    def run(self) -> None:
        try:
            self.node.invite_with(self.ui, confirm=self.asks)
        except SpringlineError as error:
            self.raised = error

    def ended(self) -> Shown:
        self.join(PATIENCE)
        assert not self.is_alive()
        assert self.ui.errors == ([self.raised] if self.raised else [])  # the caller and the app hear the same
        return self.ui


def nobody_paired(nodes: tuple[Control, Control]) -> bool:
    return not any(node.devices() for node in nodes)


# -- somebody says no ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("who", Role)
def test_a_no_ends_it_on_both_sides(both: tuple[Control, Control], who: Role) -> None:
    red, blue = both
    here, there = Shown(lambda _: who is Role.JOINER), Shown(lambda _: who is Role.INVITER)
    inviting = Inviting(red, here, confirm=True)
    with pytest.raises(PairingFailed):
        blue.join_with(there, here.uri, confirm=True)
    inviting.ended()
    own, other = (here, there) if who is Role.INVITER else (there, here)
    assert "not confirmed here" in own.errors[0].message
    assert "not confirmed on the other device" in other.errors[0].message
    assert here.sas == there.sas
    assert nobody_paired(both)
    with pytest.raises(PairingFailed, match="gave no answer"):  # and the words are used up
        blue.join(here.uri)


def test_silence_is_a_no() -> None:
    late: list[bool] = []

    def silent(progress: PairingProgress) -> bool:
        assert progress.until is not None
        while datetime.now(UTC) < progress.until:
            time.sleep(0.01)
        eventually(lambda: over(progress.pairing), "the node does not wait any more")
        late.append(True)
        return True

    def over(pairing: str) -> bool:
        try:
            red.ask(PAIRING, ConfirmPairing(pairing, yes=True))
        except Misuse:
            return True
        return False

    with strangers("conversation.DECISION = 1.0") as (red, blue):
        ui = Shown(silent)
        inviting = Inviting(red, ui, confirm=True)
        with pytest.raises(PairingFailed, match="not confirmed on the other"):
            blue.join(ui.uri)
        assert "not confirmed here" in inviting.ended().errors[0].message
        assert late
        assert nobody_paired((red, blue))


def test_the_other_side_hangs_up_while_our_user_is_asked(both: tuple[Control, Control]) -> None:
    red, mallory = both[0], Mallory()
    gone = threading.Event()
    ui = Shown(lambda _: gone.wait(PATIENCE))
    inviting = Inviting(red, ui, confirm=True)
    met = mallory.join(ui.uri)
    met.say(mallory.who(met, Role.JOINER))
    assert ui.asked.wait(PATIENCE)
    met.line.sock.shutdown(socket.SHUT_RDWR)
    over = FollowPairing(ui.invitations[0].pairing)
    eventually(lambda: isinstance(red.ask(PAIRING, over).events[-1], PairingEnded), "it is over without an answer")
    gone.set()
    assert "hung up" in inviting.ended().errors[0].message
    assert nobody_paired(both)


def test_somebody_in_between_is_seen_by_the_digits(both: tuple[Control, Control]) -> None:
    """Mallory has come by the words, calls itself what each side expects, and passes on what it can."""
    red, blue = both
    here, there = Shown(lambda _: False), Shown(lambda _: False)
    inviting = Inviting(red, here, confirm=True)
    words = uri.parse(here.uri).secret
    to_red, to_blue = Mallory("blue"), Mallory("red")

    def between() -> None:
        left = to_blue.answer(listener, keys_of(words))
        right = to_red.join(here.uri)
        exchange.receive(Exchange(Role.INVITER, to_blue.info, left.hash, left.remote_static), joiner := left.hear())
        to_red.contribution = cbor2.loads(joiner)[2]  # the same contributions on both ways, as far as may be
        right.say(to_red.who(right, Role.JOINER))
        left.say(to_blue.who(left, Role.INVITER))
        for met in (left, right):
            assert b"refused" in met.hear() or b"refused" in met.hear()

    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(PATIENCE)
        thread = threading.Thread(target=between)
        thread.start()
        with pytest.raises(PairingFailed, match="not confirmed here"):
            blue.join_with(there, uri.build(words, [Address("127.0.0.1", listener.getsockname()[1])]), confirm=True)
        thread.join(PATIENCE)
    inviting.ended()
    assert (here.seen[-1].name, there.seen[-1].name) == ("blue", "red")
    assert here.sas != there.sas
    assert nobody_paired(both)


# -- it ends by itself ---------------------------------------------------------------------------------------------


def test_an_invitation_expires_before_ones_eyes() -> None:
    with strangers("invitations.LIFETIME = 0.5") as (red, _):
        ui = Shown()
        with pytest.raises(PairingFailed, match="the invitation has expired"):
            red.invite_with(ui)
        assert ui.errors


def test_the_words_of_a_killed_process_are_void(both: tuple[Control, Control]) -> None:
    red, blue = both
    ui = Shown()
    inviting = Inviting(red, ui)
    uri = ui.uri
    kill_and_await(red, PAIRING)
    assert "restarted" in inviting.ended().errors[0].message
    with pytest.raises(PairingFailed, match="gave no answer"):
        blue.join(uri)


def test_without_a_finder_words_alone_say_nothing(both: tuple[Control, Control]) -> None:
    red, blue = both
    with pytest.raises(Misuse, match="words alone"):
        blue.join(red.invite().words)


def test_newer_invitations_close_the_oldest(both: tuple[Control, Control]) -> None:
    red, _ = both
    ui = Shown()
    inviting = Inviting(red, ui)
    assert ui.uri
    for _ in range(MOST_OPEN):
        red.invite()
    assert "closed by newer ones" in inviting.ended().errors[0].message


def test_callers_who_break_off_are_shown_until_there_were_too_many(both: tuple[Control, Control]) -> None:
    red, _ = both
    ui = Shown()
    inviting = Inviting(red, ui)
    for _ in range(3):
        met = Mallory().join(ui.uri)
        met.say(b"nonsense")
        assert met.line.is_closed()
    assert "none of those who called" in inviting.ended().errors[0].message
    assert ui.stages == [PairingStage.CALLED, PairingStage.BROKEN_OFF] * 3


# -- it succeeds: last, because the two know each other from now on --------------------------------------------------


@pytest.mark.parametrize("known", [None, TrustLevel.TRUSTED], ids=["new", "renewed"])
def test_both_see_the_same_digits(both: tuple[Control, Control], known: TrustLevel | None) -> None:
    red, blue = both
    here, there = Shown(), Shown()
    inviting = Inviting(red, here, confirm=True)
    device = blue.join_with(there, here.uri, confirm=True)
    inviting.ended()
    assert device.info.name == "red"
    assert here.sas == there.sas
    assert here.stages == there.stages
    assert here.stages == [PairingStage.CALLED, PairingStage.MET, PairingStage.ASKING, PairingStage.AGREED]
    for ui, name in ((here, "blue"), (there, "red")):
        (paired, ended) = ui.done[0]
        assert paired.info.name == ended.name == name
        assert ended.known is known
        assert not ui.errors
    assert [len(node.devices()) for node in both] == [1, 1]


def test_who_is_not_asked_sees_it_all_the_same(both: tuple[Control, Control]) -> None:
    red, blue = both
    here = Shown(lambda _: pytest.fail("nobody wanted to be asked"))
    there = Shown()
    inviting = Inviting(red, here)
    blue.join_with(there, here.uri, confirm=True)
    assert inviting.ended().sas == there.sas
    assert PairingStage.ASKING not in here.stages


def test_what_happens_is_an_event_without_the_words(both: tuple[Control, Control]) -> None:
    red, blue = both
    heard: list[object] = []
    listening = threading.Event()

    def listen() -> None:
        events = red.events(timeout=PATIENCE)
        listening.set()
        for event in events:
            heard.append(event)
            if isinstance(event, PairingEnded):
                return

    thread = threading.Thread(target=listen)
    thread.start()
    listening.wait()
    while not heard:  # until the listener is subscribed, they pass it by
        invitation = red.invite()
        blue.join(invitation.uri)
        thread.join(0.3)
    thread.join(PATIENCE)
    ended = heard[-1]
    assert isinstance(ended, PairingEnded)
    assert ended.paired
    assert ended.name == "blue"
    assert not any(word in repr(heard).split() for word in invitation.words.split())


def test_nobody_waits_for_that_answer(both: tuple[Control, Control]) -> None:
    red, _ = both
    with pytest.raises(Misuse, match="no such pairing"):
        red.ask(PAIRING, ConfirmPairing("nonsense", yes=True))
    with pytest.raises(Misuse, match="does not wait"):
        red.ask(PAIRING, ConfirmPairing(red.invite().pairing, yes=True))

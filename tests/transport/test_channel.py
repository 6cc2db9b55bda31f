"""Tests of ``springline.transport.channel`` and its refresher: two ends, a real socket, real handshakes."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import os
import socket
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from blake3 import blake3

from springline.errors import SpringlineError
from springline.transport.channel import Channel
from springline.transport.noise import CONNECT, FIRST_FRAME, MAC_SIZE, Handshake, SessionKeys, public_key
from springline.transport.records import Ping, Refresh, RefreshStep
from springline.transport.refresh import (
    Answer,
    Answered,
    Ask,
    AskAnswer,
    AskBegin,
    AskFinish,
    Begun,
    Denied,
    Failed,
    Finished,
    RefreshLimits,
)
from springline.transport.session import Session
from springline.transport.splice import StreamEnd

DIALLER, LISTENER = b"d" * 32, b"l" * 32
"""Static private keys."""

PSK = b"p" * 32
PAYLOAD = bytes(128)
MIB = 1 << 20
SOON = RefreshLimits(age=0.05, end=60.0, retry=0.01)
NEVER = RefreshLimits(age=1e6, size=1 << 60, end=2e6)


class Keys:
    """What the two Keystores do for a link, with real handshakes."""

    def __init__(self) -> None:
        self.begun: dict[int, Handshake] = {}

    def __call__(self, question: Ask) -> Answer:
        match question:
            case AskBegin(within=within):
                handshake = Handshake.initiate(CONNECT, DIALLER, public_key(LISTENER), PSK, within)
                handle = len(self.begun)
                self.begun[handle] = handshake
                return Begun(handle, bytes(MAC_SIZE) + handshake.write(PAYLOAD))
            case AskAnswer(frame=frame, within=within):
                handshake = Handshake.respond(CONNECT, LISTENER, PSK, within)
                handshake.read(frame[MAC_SIZE:])
                return Answered(handshake.write(PAYLOAD), handshake.keys())
            case AskFinish(handle=handle, frame=frame):
                self.begun[handle].read(frame)
                return Finished(self.begun[handle].keys())


@dataclass
class End:
    """One end of a session, and everything its user is told."""

    keys: Keys
    channel: Channel = field(init=False)
    asked: list[Ask] = field(default_factory=list)
    lost: list[str] = field(default_factory=list)
    answers: dict[int, object] = field(default_factory=dict)
    ended: list[StreamEnd] = field(default_factory=list)
    sink: int = -1
    hold: Callable[[Ask], Awaitable[None]] | None = None
    tasks: set[asyncio.Task[None]] = field(default_factory=set)

    def channel_lost(self, tag: int, reason: str) -> None:
        self.lost.append(reason)

    def requested(self, tag: int, request: int, protocol: str, payload: bytes) -> None:
        self.channel.send_answer(request, payload)

    def answered(self, tag: int, request: int, answer: bytes | SpringlineError | None) -> None:
        self.answers[request] = answer

    def stream_offered(self, tag: int, stream: int, protocol: str, header: bytes) -> None:
        self.channel.accept_stream(stream, os.dup(self.sink), 0, 1 << 40, blake3())

    def stream_moved(self, tag: int, stream: int, done: int) -> None:
        pass

    def stream_ended(self, tag: int, end: StreamEnd) -> None:
        self.ended.append(end)

    def refresh_asks(self, tag: int, question: Ask) -> None:
        self.asked.append(question)
        task = asyncio.get_running_loop().create_task(self._consult(question))
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)

    async def _consult(self, question: Ask) -> None:
        try:
            if self.hold is not None:
                await self.hold(question)
            answer = self.keys(question)
        except SpringlineError as error:
            answer = Denied(str(error))
        except ConnectionError as error:
            answer = Failed(str(error))
        self.channel.refresh_told(answer)


class Link:
    """Two ends and the session between them."""

    def __init__(self, dialler: End, listener: End) -> None:
        self.dialler, self.listener = dialler, listener
        self.ends = (dialler, listener)

    @property
    def refreshes(self) -> int:
        """As many as both ends have seen."""
        return min(end.channel.refreshes for end in self.ends)


def first_keys() -> tuple[SessionKeys, SessionKeys]:
    """The keys of a first Connect."""
    ours = Handshake.initiate(CONNECT, DIALLER, public_key(LISTENER), PSK)
    theirs = Handshake.respond(CONNECT, LISTENER, PSK)
    theirs.read(ours.write(PAYLOAD))
    ours.read(theirs.write(PAYLOAD))
    return ours.keys(), theirs.keys()


async def tcp_pair() -> tuple[socket.socket, socket.socket]:
    """Two ends of a real TCP connection."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        one = socket.create_connection(server.getsockname())
        other, _ = server.accept()
    for sock in (one, other):
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return one, other


@contextlib.asynccontextmanager
async def linked(limits: RefreshLimits, of_listener: RefreshLimits | None = None) -> AsyncIterator[Link]:
    """A session at work; closed afterwards."""
    keystore = Keys()
    link = Link(End(keystore), End(keystore))
    for end, sock, keys, dialled in zip(link.ends, await tcp_pair(), first_keys(), (True, False), strict=True):
        chosen = limits if dialled or of_listener is None else of_listener
        end.channel = Channel(sock, keys, dialled=dialled, keepalive=25.0, user=end, tag=0, refresh=chosen)
        end.channel.begin()
    try:
        yield link
    finally:
        for end in link.ends:
            end.channel.goodbye("the test is over")
            for task in end.tasks:
                task.cancel()


async def until(holds: Callable[[], object], what: str) -> None:
    """Look until ``holds()`` is true."""
    end = asyncio.get_running_loop().time() + 60
    while not holds():
        assert asyncio.get_running_loop().time() < end, f"never: {what}"
        await asyncio.sleep(0.001)


def run(work: Coroutine[Any, Any, None]) -> None:
    """Run it with the exceptions of callbacks as failures."""
    failures: list[dict[str, Any]] = []

    async def main() -> None:
        asyncio.get_running_loop().set_exception_handler(lambda _, context: failures.append(context))
        await work

    asyncio.run(main())
    assert not failures, failures


async def echo(end: End, payload: bytes = b"hello") -> None:
    """A message to the other side and back."""
    request = end.channel.send_request("echo", payload, 1)
    await until(lambda: request in end.answers or end.lost, "an answer")
    assert end.answers.get(request) == payload, end.lost


# -- it works ------------------------------------------------------------------------------------------------------


def test_keys_are_refreshed_by_age_on_an_idle_link() -> None:
    async def main() -> None:
        async with linked(SOON) as link:
            await until(lambda: link.refreshes >= 5, "five refreshes")
            await echo(link.dialler)
            await echo(link.listener)
            assert not any(end.lost for end in link.ends)
            assert {type(question) for question in link.listener.asked} == {AskAnswer}

    run(main())


async def swap_files(link: Link, folder: Path, content: bytes) -> None:
    """A file each way, and messages all the while."""
    done = [len(end.ended) + 2 for end in link.ends]
    with contextlib.ExitStack() as files:
        for end in link.ends:
            end.sink = files.enter_context(tempfile.TemporaryFile(dir=folder)).fileno()
            source = files.enter_context(tempfile.TemporaryFile(dir=folder))
            source.write(content)
            source.flush()
            end.channel.open_stream("files", b"", os.dup(source.fileno()), 0, len(content), blake3())
        while any(len(end.ended) < due for end, due in zip(link.ends, done, strict=True)):
            for end in link.ends:
                await echo(end, os.urandom(8))
        for end in link.ends:
            assert os.pread(end.sink, len(content), 0) == content


def test_big_files_and_messages_do_not_notice(tmp_path: Path) -> None:
    async def main() -> None:
        async with linked(RefreshLimits(size=MIB)) as link:
            rounds = 0
            while link.refreshes < 24:
                await swap_files(link, tmp_path, os.urandom(MIB) * 64)
                rounds += 1
            assert not any(stream.error for end in link.ends for stream in end.ended)
            assert link.refreshes >= rounds * 2, "more than once a file"

    run(main())


def test_traffic_flows_while_the_keystores_take_their_time() -> None:
    async def main() -> None:
        async with linked(RefreshLimits(size=MIB)) as link:
            flowed: dict[type, int] = {}

            def held(end: End) -> Callable[[Ask], Awaitable[None]]:
                async def hold(question: Ask) -> None:
                    """Answer only after a hundred messages were answered since the question."""
                    before = len(end.answers)
                    await until(lambda: len(end.answers) >= before + 100, "messages flow during a refresh")
                    flowed[type(question)] = len(end.answers) - before

                return hold

            for end in link.ends:
                end.hold = held(end)
            while link.refreshes < 3:
                for end in link.ends:
                    await echo(end, os.urandom(60_000))
            assert set(flowed) == {AskBegin, AskAnswer, AskFinish}

    run(main())


def test_a_dying_keystore_does_not_end_the_session() -> None:
    async def main() -> None:
        async with linked(SOON) as link:
            fates = {AskBegin: 2, AskAnswer: 2, AskFinish: 2}

            async def dies(question: Ask) -> None:
                if fates[type(question)]:
                    fates[type(question)] -= 1
                    raise ConnectionError("it died before it answered")

            for end in link.ends:
                end.hold = dies
            await until(lambda: link.refreshes >= 2, "refreshed after all")
            assert not any(fates.values())
            await echo(link.listener)

    run(main())


def test_former_keys_are_referred_to_by_nobody() -> None:
    async def main() -> None:
        given = first_keys()
        keystore = Keys()
        link = Link(End(keystore), End(keystore))
        for end, sock, keys, dialled in zip(link.ends, await tcp_pair(), given, (True, False), strict=True):
            end.channel = Channel(sock, keys, dialled=dialled, keepalive=25.0, user=end, tag=0, refresh=SOON)
            end.channel.begin()
        await until(lambda: link.refreshes >= 1, "refreshed")
        former = [key for keys in given for key in (keys.send, keys.receive)]
        del keys
        gc.collect()
        for key in former:
            holders = [holder for holder in gc.get_referrers(key) if holder is not former]
            assert [type(holder) for holder in holders] == [SessionKeys], "only what this test itself was given"
        for end in link.ends:
            end.channel.goodbye("the test is over")

    run(main())


# -- it ends -------------------------------------------------------------------------------------------------------


def test_a_session_that_can_not_be_refreshed_ends_on_both_sides() -> None:
    async def main() -> None:
        async with linked(RefreshLimits(age=0.05, end=0.4, retry=0.01)) as link:

            async def dead(question: Ask) -> None:
                raise ConnectionError("it is not running")

            link.dialler.hold = dead
            await echo(link.dialler)
            await until(lambda: all(end.lost for end in link.ends), "over on both sides")
            for end in link.ends:  # the one that is first tells the other
                assert "the keys were not refreshed for 0.4 s" in end.lost[0]
            assert len(link.dialler.asked) > 2

    run(main())


def test_a_dialler_that_never_refreshes_is_left_by_the_listener() -> None:
    async def main() -> None:
        async with linked(NEVER, RefreshLimits(age=0.1, end=0.2)) as link:
            await until(lambda: all(end.lost for end in link.ends), "over on both sides")
            assert link.listener.lost == ["the keys were not refreshed for 0.2 s"]
            assert link.dialler.lost == ["the other side says: the keys were not refreshed for 0.2 s"]

    run(main())


def test_an_answer_that_comes_too_late_starts_nothing() -> None:
    async def main() -> None:
        async with linked(SOON) as link:
            end = link.dialler
            await until(lambda: end.asked, "a question")
            end.channel.goodbye("over")
            before = len(end.asked)
            end.channel.refresh_told(Failed("it died"))
            await asyncio.sleep(3 * SOON.retry)
            assert len(end.asked) == before

    run(main())


def test_who_is_not_trusted_any_more_is_not_refreshed() -> None:
    async def main() -> None:
        async with linked(SOON) as link:

            async def revoked(question: Ask) -> None:
                raise SpringlineError("it is revoked")

            link.listener.hold = revoked
            await until(lambda: all(end.lost for end in link.ends), "over on both sides")
            assert link.listener.lost == ["it is revoked"]
            assert link.dialler.lost == ["the other side says: it is revoked"]
            assert link.refreshes == 0

    run(main())


# -- strangers and liars -------------------------------------------------------------------------------------------


@dataclass
class Attacker:
    """Sits in the dialler's place with the session's keys, and with nothing else."""

    sock: socket.socket
    session: Session
    hash: bytes

    def send(self, *records: Refresh | Ping) -> None:
        self.sock.sendall(self.session.seal(b"".join(record.encode() for record in records)))


@contextlib.asynccontextmanager
async def attacked() -> AsyncIterator[tuple[End, Attacker]]:
    """A listener, and somebody who has come by the session's keys."""
    dialled, accepted = await tcp_pair()
    ours, theirs = first_keys()
    end = End(Keys())
    end.channel = Channel(accepted, theirs, dialled=False, keepalive=25.0, user=end, tag=0, refresh=NEVER)
    end.channel.begin()
    try:
        yield end, Attacker(dialled, Session.after_confirm(ours, initiator=True), ours.hash)
    finally:
        end.channel.goodbye("the test is over")
        dialled.close()


def first_frame(psk: bytes, within: bytes) -> Refresh:
    """What the dialler would say if it had these."""
    handshake = Handshake.initiate(CONNECT, DIALLER, public_key(LISTENER), psk, within)
    return Refresh(RefreshStep.FIRST, bytes(MAC_SIZE) + handshake.write(PAYLOAD))


def test_the_session_keys_alone_do_not_complete_a_refresh() -> None:
    """A genuine first frame of another session does not do, and neither does anything made up.

    That nobody uses a static key of his own is the Keystore's to see: ``tests/actors/test_refreshing.py``.
    """

    async def main() -> None:
        async with attacked() as (end, attacker):
            attacker.send(first_frame(PSK, within=b"o" * 32))
            await until(lambda: end.lost, "over")
            assert end.channel.refreshes == 0
        async with attacked() as (end, attacker):
            attacker.send(Refresh(RefreshStep.FIRST, os.urandom(FIRST_FRAME)))
            await until(lambda: end.lost, "over")
            assert end.channel.refreshes == 0

    run(main())


def test_without_the_psk_nobody_reads_what_comes_after_the_switch() -> None:
    """Even with the device's static key: the second frame, and all that follows, is opaque without the psk."""

    async def main() -> None:
        async with attacked() as (end, attacker):
            attacker.send(first_frame(b"?" * 32, attacker.hash))
            await until(lambda: end.asked and not end.tasks, "the first frame was answered")
            attacker.send(Refresh(RefreshStep.SWITCH))
            attacker.send(Ping(1))  # under the old key: all the attacker has
            await until(lambda: end.lost, "over")
            assert "what it may not: a frame is not genuine" in end.lost[0]

    run(main())


def test_steps_out_of_turn_or_in_company_end_the_session() -> None:
    switch = Refresh(RefreshStep.SWITCH)

    async def main() -> None:
        for records, why in (
            ((switch,), "out of turn"),
            ((Refresh(RefreshStep.SECOND),), "out of turn"),
            ((Refresh(RefreshStep.FIRST, b"short"),), "bytes where"),
            ((switch, Ping(1)), "shares its frame"),
            ((Ping(1), switch), "shares its frame"),
        ):
            async with attacked() as (end, attacker):
                attacker.send(*records)
                await until(lambda end=end: end.lost, "over")  # type: ignore[misc]
                assert why in end.lost[0]

    run(main())


def test_two_first_frames_at_a_time_end_the_session() -> None:
    async def main() -> None:
        async with attacked() as (end, attacker):
            first = first_frame(PSK, attacker.hash).encode()
            attacker.sock.sendall(attacker.session.seal(first) + attacker.session.seal(first))
            await until(lambda: end.lost, "over")
            assert "FIRST out of turn" in end.lost[0]

    run(main())

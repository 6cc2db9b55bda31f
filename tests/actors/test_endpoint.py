"""Clients and asyncio endpoints on real mailboxes, with somebody at the other end in a thread or in the same loop."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import os
import select
import threading
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from typing import Any

import pytest
from thespian.actors import PoisonMessage

from springline.actors import endpoint, wire
from springline.actors.datagram import Sent
from springline.actors.endpoint import AsyncEndpoint, Client
from springline.actors.lifecycle import Ask, Reply
from springline.actors.names import alive, register
from springline.actors.wire import Mailbox
from springline.errors import Lost, NotConnected, NotRunning, TimedOut

PATIENCE = 30.0
Heard = tuple[str, Any]


def nobody(_sender: str, message: object) -> None:
    raise AssertionError(f"not expected: {message}")


def wait_for(mailbox: Mailbox) -> Heard:
    """The next message."""
    while (heard := mailbox.receive()) is None:
        assert select.select([mailbox], [], [], PATIENCE)[0], "nothing came"
    return heard


@pytest.fixture
def other(directory: str) -> Iterator[Mailbox]:
    """The other end."""
    mailbox = Mailbox(directory)
    yield mailbox
    mailbox.close()


@pytest.fixture
def client(directory: str) -> Iterator[Client]:
    client = Client(directory)
    yield client
    client.close()


@contextlib.contextmanager
def meanwhile(work: Callable[[], object]) -> Iterator[None]:
    """Have ``work`` done in a thread, to its end."""
    failed: list[BaseException] = []

    def run() -> None:
        try:
            work()
        except BaseException as error:  # noqa: BLE001 - told below
            failed.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield
    finally:
        thread.join()
    assert not failed, failed


# -- the blocking client -------------------------------------------------------------------------------------------


def test_an_ask_is_answered(client: Client, other: Mailbox) -> None:
    def answer() -> None:
        sender, ask = wait_for(other)
        assert isinstance(ask, Ask)
        other.send(sender, Reply(ask.id, [ask.body]))

    with meanwhile(answer):
        assert client.ask(other.path, 21, PATIENCE) == [21]


def test_an_error_as_answer_is_raised(client: Client, other: Mailbox) -> None:
    def answer() -> None:
        sender, ask = wait_for(other)
        other.send(sender, Reply(ask.id, NotConnected("not now", "wait")))

    with meanwhile(answer), pytest.raises(NotConnected, match="not now; wait"):
        client.ask(other.path, "?", PATIENCE)


def test_a_late_answer_is_not_taken_for_the_next(client: Client, other: Mailbox) -> None:
    with pytest.raises(TimedOut, match="no answer"):
        client.ask(other.path, "first", 0.001)
    sender, first = wait_for(other)

    def answer() -> None:
        other.send(sender, Reply(first.id, "late"))
        other.send(sender, Reply(wait_for(other)[1].id, "in time"))

    with meanwhile(answer):
        assert client.ask(other.path, "second", PATIENCE) == "in time"
    assert client.listen(0) is None


def test_nobody_is_there(client: Client, other: Mailbox, directory: str) -> None:
    register(directory, "service", other.path)
    other.close()
    assert not client.tell("service", "hello")
    for target in ("service", "unheard-of", other.path):
        with pytest.raises(NotRunning, match=os.path.basename(target)):
            client.ask(target, "?")


def test_the_one_asked_dies(client: Client, other: Mailbox) -> None:
    def die() -> None:
        wait_for(other)
        other.close()

    with meanwhile(die), pytest.raises(Lost, match="died before"):
        client.ask(other.path, "?", PATIENCE)


def test_the_one_asked_dies_and_its_name_is_taken_over(client: Client, other: Mailbox, directory: str) -> None:
    register(directory, "service", other.path)
    heir = Mailbox(directory)

    def die() -> None:
        wait_for(other)
        register(directory, "service", heir.path)
        other.close()

    with meanwhile(die), pytest.raises(Lost):
        client.ask("service", "?", PATIENCE)
    heir.close()


@pytest.fixture
def last_words(other: Mailbox, monkeypatch: pytest.MonkeyPatch) -> None:
    """The other end answers and dies between the asker's look into its mailbox and its look after the other."""
    monkeypatch.setattr(endpoint, "LOOK", 0.0)

    def look(path: str) -> bool:
        heard = other.receive() if alive(path) else None
        if heard is not None:
            sender, ask = heard
            assert isinstance(ask, Ask)
            other.send(sender, Reply(ask.id, "farewell"))
            other.close()
        return alive(path)

    monkeypatch.setattr(endpoint, "alive", look)


@pytest.mark.usefixtures("last_words")
def test_last_words_are_heard(client: Client, other: Mailbox) -> None:
    assert client.ask(other.path, "?", PATIENCE) == "farewell"


def test_other_messages_during_an_ask_are_kept_for_later(client: Client, other: Mailbox) -> None:
    def answer() -> None:
        sender, ask = wait_for(other)
        other.send(sender, "news")
        other.send(sender, "more news")
        other.send(sender, Reply(ask.id, "answer"))
        other.send(sender, "latest")

    with meanwhile(answer):
        assert client.ask(other.path, "?", PATIENCE) == "answer"
    assert [client.listen(PATIENCE) for _ in range(3)] == [(other.path, n) for n in ("news", "more news", "latest")]
    assert client.listen(0) is None


def test_the_engines_own_messages_are_not_for_us(client: Client, other: Mailbox) -> None:
    for message in (PoisonMessage("bad"), "good"):
        other.send(client.path, message)
    assert client.listen(PATIENCE) == (other.path, "good")


def test_a_client_sends_its_backlog_while_it_waits(client: Client, other: Mailbox) -> None:
    for number in range(100):
        assert client.tell(other.path, number)

    def read() -> None:
        assert [wait_for(other)[1] for _ in range(100)] == list(range(100))
        other.send(client.path, "done")

    with meanwhile(read):
        assert client.listen(PATIENCE) == (other.path, "done")


def test_what_was_sent_before_the_close_arrives(directory: str, other: Mailbox) -> None:
    client = Client(directory)
    for number in range(100):
        client.tell(other.path, number)

    def read() -> None:
        assert [wait_for(other)[1] for _ in range(100)] == list(range(100))

    with meanwhile(read):
        client.close()


def test_a_close_does_not_wait_for_a_hung_target_for_ever(
    directory: str, other: Mailbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(endpoint, "LINGER", 0.01)
    client = Client(directory)
    for number in range(100):
        client.tell(other.path, number)
    client.close()
    assert os.listdir(directory) == [os.path.basename(other.path)]


# -- the asyncio endpoint ------------------------------------------------------------------------------------------


def in_loop(test: Callable[..., Coroutine[Any, Any, None]]) -> Callable[..., None]:
    """Run the test in a loop of its own."""

    @functools.wraps(test)
    def run(**fixtures: Any) -> None:
        asyncio.run(test(**fixtures))

    return run


async def next_for(mailbox: Mailbox) -> Heard:
    """The next message, while the loop runs."""
    while (heard := mailbox.receive()) is None:
        ready = asyncio.Event()
        loop = asyncio.get_running_loop()
        loop.add_reader(mailbox.fileno(), ready.set)
        try:
            await ready.wait()
        finally:
            loop.remove_reader(mailbox.fileno())
    return heard


@contextlib.asynccontextmanager
async def endpoint_in(
    directory: str, on_message: Callable[[str, object], None] = nobody
) -> AsyncIterator[AsyncEndpoint]:
    made = AsyncEndpoint(directory, on_message)
    try:
        yield made
    finally:
        made.close()


@contextlib.asynccontextmanager
async def echoing(directory: str) -> AsyncIterator[AsyncEndpoint]:
    """An endpoint that answers each ask with its body."""

    def answer(sender: str, message: object) -> None:
        assert isinstance(message, Ask)
        echo.tell(sender, Reply(message.id, message.body))

    async with endpoint_in(directory, answer) as echo:
        yield echo


@in_loop
async def test_many_asks_at_once(directory: str) -> None:
    async with endpoint_in(directory) as asker, echoing(directory) as echo:
        answers = await asyncio.gather(*(asker.ask(echo.path, number, PATIENCE) for number in range(200)))
    assert answers == list(range(200))


@in_loop
async def test_answers_in_any_order(directory: str, other: Mailbox) -> None:
    async with endpoint_in(directory) as asker:
        asks = [asyncio.create_task(asker.ask(other.path, number, PATIENCE)) for number in range(5)]
        await asyncio.sleep(0)
        heard = [wait_for(other) for _ in asks]
        for sender, ask in reversed(heard):
            other.send(sender, Reply(ask.id, ask.body + 100))
        assert await asyncio.gather(*asks) == [100, 101, 102, 103, 104]


@in_loop
async def test_errors_of_an_ask(directory: str, other: Mailbox) -> None:
    async with endpoint_in(directory) as asker:
        with pytest.raises(NotRunning):
            await asker.ask("nobody", "?")
        with pytest.raises(TimedOut):
            await asker.ask(other.path, "?", 0.001)
        sender, late = wait_for(other)
        other.send(sender, Reply(late.id, "late"))
        refused = asyncio.create_task(asker.ask(other.path, "?", PATIENCE))
        await asyncio.sleep(0)
        sender, ask = wait_for(other)
        other.send(sender, Reply(ask.id, NotConnected("not now")))
        with pytest.raises(NotConnected):
            await refused
        dying = asyncio.create_task(asker.ask(other.path, "?", PATIENCE))
        await asyncio.sleep(0)
        other.close()
        with pytest.raises(Lost):
            await dying


@pytest.mark.usefixtures("last_words")
@in_loop
async def test_last_words_are_heard_in_a_loop(directory: str, other: Mailbox) -> None:
    async with endpoint_in(directory) as asker:
        assert await asker.ask(other.path, "?", PATIENCE) == "farewell"


@in_loop
async def test_messages_reach_the_callback_but_not_the_engines(directory: str, other: Mailbox) -> None:
    heard: asyncio.Queue[Heard] = asyncio.Queue()
    async with endpoint_in(directory, lambda sender, message: heard.put_nowait((sender, message))) as made:
        for message in ("news", PoisonMessage("bad"), Reply(99, "nobody asked"), Ask(1, "?")):
            other.send(made.path, message)
        assert await heard.get() == (other.path, "news")
        assert await heard.get() == (other.path, Ask(1, "?"))


@in_loop
async def test_a_flood_arrives_in_order(directory: str) -> None:
    heard: list[object] = []
    done = asyncio.Event()

    def hear(_sender: str, message: object) -> None:
        heard.append(message)
        if message == 1999:
            done.set()

    async with endpoint_in(directory) as sender, endpoint_in(directory, hear) as receiver:
        for number in range(2000):
            assert sender.tell(receiver.path, number)
        async with asyncio.timeout(PATIENCE):
            await done.wait()
    assert heard == list(range(2000))


@in_loop
async def test_a_target_that_hung_until_its_backlog_expired_is_reached_again(
    directory: str, other: Mailbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with endpoint_in(directory) as sender:
        for number in range(50):
            sender.tell(other.path, number)
        monkeypatch.setattr(wire, "BACKLOG_PATIENCE", -1.0)
        assert not sender.tell(other.path, "dropped")
        monkeypatch.setattr(wire, "BACKLOG_PATIENCE", 30.0)
        assert sender.tell(other.path, "again")  # still full: a new backlog, watched for on the same number
        async with asyncio.timeout(PATIENCE):
            while (await next_for(other))[1] != "again":
                pass


@in_loop
async def test_a_message_to_the_dead(directory: str, other: Mailbox) -> None:
    async with endpoint_in(directory) as sender:
        other.close()
        assert not sender.tell(other.path, "hello")


@in_loop
async def test_a_closed_endpoint_leaves_nothing(directory: str, other: Mailbox) -> None:
    fds = len(os.listdir("/dev/fd"))
    async with endpoint_in(directory) as sender:
        for _ in range(50):
            sender.tell(other.path, bytes(30_000))
    assert len(os.listdir("/dev/fd")) == fds
    assert os.listdir(directory) == [os.path.basename(other.path)]
    assert other.send(sender.path, "hello") is Sent.DEAD

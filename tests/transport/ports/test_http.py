"""One question over HTTP to a server on 127.0.0.1 that answers well, badly, or without end."""

from __future__ import annotations

import asyncio
import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from springline.errors import Malformed, Refused, SpringlineError, TimedOut
from springline.transport.ports import http
from springline.transport.ports.http import MOST_BODY, Answer, fetch, head_from_untrusted

HOST = "127.0.0.1"


def asked(answer: bytes, *, endless: bytes = b"", hold: bool = False, **question: str) -> tuple[Answer, bytes]:
    """What comes of a question to a server that says ``answer``, and what the server has heard.

    :param endless: said for ever after that. :param hold: the server does not hang up.
    """

    async def play() -> tuple[Answer, bytes]:
        heard = b""

        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            nonlocal heard
            with contextlib.suppress(OSError, asyncio.CancelledError, asyncio.IncompleteReadError):
                heard = await reader.readuntil(b"\r\n\r\n")
                heard += await reader.readexactly(len(question.get("body", "")))
                writer.write(answer)
                while endless:
                    writer.write(endless * 100)
                    await writer.drain()
                await writer.drain()
                if hold:
                    await reader.read()
            writer.close()

        server = await asyncio.start_server(serve, HOST, 0)
        async with server:
            port = server.sockets[0].getsockname()[1]
            return await fetch(f"http://{HOST}:{port}/rootDesc.xml?a=b", HOST, **question), heard  # type: ignore[arg-type]

    return asyncio.run(play())


OK = b"HTTP/1.1 200 OK\r\n"


def test_a_question_and_its_answer() -> None:
    answer = OK + b"Content-Length: 5\r\nX-Y:  z \r\n\r\nhello"
    (status, headers, body), heard = asked(answer, method="POST", body="<a/>")
    assert (status, headers["x-y"], body) == (200, "z", "hello")
    assert heard.startswith(b"POST /rootDesc.xml?a=b HTTP/1.1\r\nHost: 127.0.0.1:")
    assert heard.endswith(b"Content-Length: 4\r\n\r\n<a/>")


@pytest.mark.parametrize(
    ("answer", "hold"),
    [
        (b"Content-Length: 5\r\n\r\nhello, and more", True),
        (b"Transfer-Encoding: chunked\r\n\r\n2\r\nhe\r\n3;x=y\r\nllo\r\n0\r\n\r\n", True),
        (b"\r\nhello", False),
    ],
)
def test_where_an_answer_ends(answer: bytes, hold: bool) -> None:
    assert asked(OK + answer, hold=hold)[0][2] == "hello"


@pytest.mark.parametrize(
    "answer",
    [
        b"SSH-2.0-x\r\n\r\n",
        b"",
        OK + b"Content-Length: 9\r\n\r\nhello",
        OK + b"Content-Length: -1\r\n\r\nhello",
        OK + b"Content-Length: 999999999999\r\n\r\nhello",
        OK + b"Content-Length: " + str(MOST_BODY + 1).encode() + b"\r\n\r\n",
        OK + b"Transfer-Encoding: chunked\r\n\r\nhello\r\n",
        OK + b"Transfer-Encoding: chunked\r\n\r\nffffff\r\nhello",
        OK + b"Transfer-Encoding: chunked\r\n\r\n5\r\nhel",
    ],
)
def test_answers_that_make_no_sense(answer: bytes) -> None:
    with pytest.raises(Malformed):
        asked(answer)


@pytest.mark.parametrize(
    ("answer", "endless"),
    [
        (b"", b"x" * 1000),
        (OK, b"A: b\r\n"),
        (OK + b"\r\n", b"x" * 1000),
        (OK + b"Transfer-Encoding: chunked\r\n\r\n", b"1\r\nx\r\n"),
        (OK + b"Transfer-Encoding: chunked\r\n\r\n", b"3"),
    ],
)
def test_answers_without_end(answer: bytes, endless: bytes) -> None:
    with pytest.raises(Malformed):
        asked(answer, endless=endless)


def test_one_that_says_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http, "PATIENCE", 0.1)
    with pytest.raises(TimedOut):
        asked(b"", hold=True)


@pytest.mark.parametrize("url", ["http://127.0.0.2:9/", "https://127.0.0.1:9/", "file:///x", "http://[::1/", ""])
def test_nobody_else_is_asked(url: str) -> None:
    with pytest.raises((Refused, Malformed)):
        asyncio.run(fetch(url, HOST))


@pytest.mark.parametrize("path", ["/a b\r\nX: y", "/\u20ac", "/a\tb"])
def test_a_path_is_one(path: str) -> None:
    """urlsplit takes some of these characters away, others are refused; none is a line of its own."""
    with pytest.raises((Refused, Malformed)):
        asyncio.run(fetch(f"http://{HOST}:1{path}", HOST))


@given(st.binary(max_size=200))
def test_any_head(data: bytes) -> None:
    with contextlib.suppress(SpringlineError):
        head_from_untrusted(OK + data)
        head_from_untrusted(data)

"""One question to a router over HTTP/1.1, and its answer: of a bounded size, within a bounded time, from one host.

The rule: nothing that an answer says makes this ask anybody else: there are no redirections, no proxies, no cookies. A
router that sends without end or a byte a minute is left after :data:`PATIENCE` or :data:`MOST_BODY`.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Mapping
from urllib.parse import urlsplit

from springline.errors import Malformed, Refused, TimedOut

MOST_HEAD = 16 << 10
MOST_BODY = 256 << 10
"""Bytes; descriptions of routers have some ten thousand."""

PATIENCE = 5.0
"""Seconds for the whole of it."""

_STATUS = re.compile(rb"HTTP/1\.[0-9] ([1-5][0-9]{2})(?: .*)?")
_SIZE = re.compile(rb"([0-9A-Fa-f]{1,6})(?:[;\s].*)?")
_LENGTH = re.compile(r"[0-9]{1,9}")

Answer = tuple[int, dict[str, str], str]
"""Status, headers by lower-case name, body."""


async def fetch(
    url: str, host: str, method: str = "GET", headers: Mapping[str, str] | None = None, body: str = ""
) -> Answer:
    """Ask. :param host: the only one that may be asked, as an address in figures.

    :raises SpringlineError: it is another host's URL, there is no answer, or none that makes sense.
    """
    try:
        parts = urlsplit(url)
        port = parts.port or 80
    except ValueError:
        raise Malformed("the router's URL is none") from None
    if parts.scheme != "http" or parts.hostname != host:
        raise Refused("the router sends us to somebody else")
    path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    named = {"Host": parts.netloc, "Connection": "close", **(headers or {})}
    if body:
        named["Content-Length"] = str(len(body.encode()))
    lines = [f"{method} {path} HTTP/1.1", *(f"{name}: {value}" for name, value in named.items())]
    if any(ord(letter) < 32 or ord(letter) > 126 for line in lines for letter in line):
        raise Malformed("the router's URL is none")
    try:
        async with asyncio.timeout(PATIENCE):
            return await _converse(host, port, ("\r\n".join(lines) + "\r\n\r\n" + body).encode())
    except TimeoutError:
        raise TimedOut("no answer in time") from None
    except OSError as error:
        raise Refused((error.strerror or str(error)).lower()) from None
    except (asyncio.IncompleteReadError, asyncio.LimitOverrunError, ValueError) as error:
        raise Malformed("the router's answer breaks off, or never ends") from error


async def _converse(host: str, port: int, question: bytes) -> Answer:
    reader, writer = await asyncio.open_connection(host, port, limit=MOST_HEAD)
    try:
        writer.write(question)
        await writer.drain()
        status, headers = head_from_untrusted(await reader.readuntil(b"\r\n\r\n"))
        body = await _body(reader, headers)
    finally:
        writer.transport.abort()
    return status, headers, body.decode("utf-8", "replace")


def head_from_untrusted(data: bytes) -> tuple[int, dict[str, str]]:
    """Status and headers. :raises Malformed: it is no answer."""
    first, *lines = data.removesuffix(b"\r\n\r\n").split(b"\r\n")
    status = _STATUS.fullmatch(first)
    if status is None:
        raise Malformed("whoever answers there does not speak HTTP")
    headers = {}
    for line in lines:
        name, _, value = line.decode("latin-1").partition(":")
        headers[name.strip().lower()] = value.strip()
    return int(status[1]), headers


async def _body(reader: asyncio.StreamReader, headers: Mapping[str, str]) -> bytes:
    if "chunked" in headers.get("transfer-encoding", "").lower():
        return await _chunks(reader)
    length = headers.get("content-length", "")
    if length:
        if not _LENGTH.fullmatch(length) or int(length) > MOST_BODY:
            raise Malformed("the router's answer is too long")
        return await reader.readexactly(int(length))
    body = b""
    while part := await reader.read(MOST_HEAD):
        body += part
        _check(body)
    return body


async def _chunks(reader: asyncio.StreamReader) -> bytes:
    parts: list[bytes] = []
    left = MOST_BODY
    while True:
        size = _SIZE.fullmatch((await reader.readuntil(b"\n")).strip())
        if size is None:
            raise Malformed("the router's answer is badly divided")
        length = int(size[1], 16)
        left -= length + 16  # many small ones are long, too
        if left < 0:
            raise Malformed("the router's answer is too long")
        if length == 0:
            return b"".join(parts)
        parts.append(await reader.readexactly(length))
        await reader.readexactly(2)


def _check(body: bytes) -> None:
    if len(body) > MOST_BODY:
        raise Malformed("the router's answer is too long")



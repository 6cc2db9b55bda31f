"""Whose answer to a search counts, and what it may say."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from springline.errors import Malformed
from springline.transport.ports.ssdp import location_from_untrusted

ROUTER = "10.0.0.1"


def answer(url: str, first: str = "HTTP/1.1 200 OK") -> bytes:
    return f"{first}\r\nST: urn:x\r\nLocation:  {url} \r\n\r\n".encode()


URL = f"http://{ROUTER}:5000/rootDesc.xml"


def test_the_routers_word_about_itself() -> None:
    assert location_from_untrusted(answer(URL), ROUTER, ROUTER) == URL
    assert location_from_untrusted(answer(URL), ROUTER, "") == URL


@pytest.mark.parametrize(
    ("data", "sender", "gateway"),
    [
        (answer(URL), "10.0.0.66", ROUTER),
        (answer("http://10.0.0.66/x"), ROUTER, ROUTER),
        (answer("http://10.0.0.66/x"), ROUTER, ""),
        (answer("http://93.184.216.34/x"), "93.184.216.34", ""),  # nobody on this network
        (answer("http://router.example/x"), ROUTER, ROUTER),
        (answer("https://10.0.0.1/x"), ROUTER, ROUTER),
        (answer("http://10.0.0.1:99999/x"), ROUTER, ROUTER),
        (answer("http://[10.0.0.1/x"), ROUTER, ROUTER),
        (answer("http://10.0.0.1/" + "x" * 1000), ROUTER, ROUTER),
        (answer(URL, "NOTIFY * HTTP/1.1"), ROUTER, ROUTER),
        (b"HTTP/1.1 200 OK\r\n\r\n", ROUTER, ROUTER),
        (b"", ROUTER, ROUTER),
    ],
)
def test_what_does_not_count(data: bytes, sender: str, gateway: str) -> None:
    with pytest.raises(Malformed):
        location_from_untrusted(data, sender, gateway)


@given(st.binary(max_size=300))
def test_any_bytes(data: bytes) -> None:
    with contextlib.suppress(Malformed):
        location_from_untrusted(b"HTTP/1.1 200 OK\r\nLOCATION:" + data, ROUTER, ROUTER)
        location_from_untrusted(data, ROUTER, ROUTER)

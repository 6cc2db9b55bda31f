"""What may answer at an address instead of a device: servers of other protocols, and worse ones. All on 127.0.0.1."""

from __future__ import annotations

import contextlib
import datetime
import http.server
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from springline.transport.address import Address

Talk = Callable[[socket.socket], object]


@contextlib.contextmanager
def serving(talk: Talk) -> Iterator[Address]:
    """A server that does that with each caller, and then hangs up."""
    listener = socket.create_server(("127.0.0.1", 0), backlog=512)
    callers: list[socket.socket] = []
    threads: list[threading.Thread] = []

    def one(sock: socket.socket) -> None:
        with sock, contextlib.suppress(OSError, ssl.SSLError):
            talk(sock)

    def serve() -> None:
        while True:
            try:
                sock, _ = listener.accept()
            except OSError:
                return
            callers.append(sock)
            threads.append(threading.Thread(target=one, args=(sock,)))
            threads[-1].start()

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        yield Address(*listener.getsockname())
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        thread.join()
        listener.close()
        for sock in callers:
            with contextlib.suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)
        for each in threads:
            each.join()


def mute(sock: socket.socket) -> None:
    """Listens until the caller is tired of it."""
    while sock.recv(4096):
        pass


def curt(sock: socket.socket) -> None:
    """Hangs up when it has heard something."""
    sock.recv(4096)


def saying(banner: bytes) -> Talk:
    """Speaks first, as SSH and mail servers do."""

    def talk(sock: socket.socket) -> None:
        sock.sendall(banner)
        mute(sock)

    return talk


ssh = saying(b"SSH-2.0-OpenSSH_9.6\r\n")
babble = saying(b"\xde\xad\xbe\xef" * 1000)


def web(sock: socket.socket) -> None:
    """A web server, told at once that what it has heard is no request."""
    head = sock.recv(4096)
    if b"\n" not in head:
        sock.sendall(b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n")


@contextlib.contextmanager
def tls(folder: Path) -> Iterator[Address]:
    """A real TLS server."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "localhost")])
    now = datetime.datetime.now(datetime.UTC)
    day = datetime.timedelta(days=1)
    signed = x509.CertificateBuilder(name, name, key.public_key(), 1, now - day, now + day).sign(key, hashes.SHA256())
    pem, plain = serialization.Encoding.PEM, serialization.NoEncryption()
    (folder / "tls.pem").write_bytes(
        key.private_bytes(pem, serialization.PrivateFormat.PKCS8, plain) + signed.public_bytes(pem)
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "tls.pem")
    with serving(lambda sock: context.wrap_socket(sock, server_side=True).close()) as address:
        yield address


class _Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        """Nothing."""


@contextlib.contextmanager
def python_web() -> Iterator[Address]:
    """A real web server, which waits for the end of a line before it answers."""
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Quiet)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield Address(*server.server_address[:2])  # type: ignore[arg-type]
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@contextlib.contextmanager
def nobody() -> Iterator[Address]:
    """A port that refuses: taken, and not listened to."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        yield Address(*sock.getsockname())


@contextlib.contextmanager
def swallowing() -> Iterator[Address]:
    """A port whose queue of calls is full: a further SYN gets no answer, as at an address where nobody is."""
    with contextlib.ExitStack() as stack:
        listener = stack.enter_context(socket.socket())
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        for _ in range(4):  # the queue holds a few
            sock = stack.enter_context(socket.socket())
            sock.setblocking(False)
            sock.connect_ex(listener.getsockname())
        yield Address(*listener.getsockname())

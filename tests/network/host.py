"""A machine in the lab: one cable, its addresses, a filter, and a node that can run on it.

The rule: each method does to a host what happens to real ones, and says what is *not* done: a cable that is pulled
leaves the addresses, a filter drops and never refuses, a host that sleeps answers nothing at all.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence

from springline.cli.local import LocalNode
from springline.tests.network.tools import ip, nft, run, within

_MUTE = """
import socket, sys, time
port = int(sys.argv[1])
for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM):
    sock = socket.socket(socket.AF_INET, kind)
    sock.bind(("0.0.0.0", port))
    if kind == socket.SOCK_STREAM:
        sock.listen(64)
    globals()[kind.name] = sock
print("here", flush=True)
time.sleep(600)
"""


_ANNOUNCE = """
import socket, sys
own = bytes.fromhex(open("/sys/class/net/eth0/address").read().strip().replace(":", ""))
ip = socket.inet_aton(sys.argv[1])
with socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(0x0806)) as sock:
    sock.bind(("eth0", 0x0806))
    sock.send(b"\\xff" * 6 + own + bytes.fromhex("08060001080006040001") + own + ip + bytes(6) + ip)
"""


class Host:
    """A namespace with one cable.

    :param port: the other end of the cable, (namespace, interface). :param node: runs in the namespace when started.
    """

    def __init__(self, namespace: str, port: tuple[str, str], node: LocalNode) -> None:
        self.namespace = namespace
        self.addresses: list[str] = []
        self.node = node
        self._port = port

    @property
    def address(self) -> str:
        """The first of its addresses."""
        return self.addresses[0]

    @property
    def name(self) -> str:
        """Of its node."""
        return self.node.name

    def ip(self, *arguments: str) -> None:
        """``ip`` inside the host."""
        ip("-n", self.namespace, *arguments)

    def add(self, address: str) -> None:
        """One address more."""
        self.ip("address", "add", _cidr(address), "dev", "eth0")
        self.addresses.append(address)

    def move(self, address: str) -> None:
        """Get another address; the former one is gone."""
        former = self.addresses.pop(0)  # first: it would take a second one with it
        self.ip("address", "delete", _cidr(former), "dev", "eth0")
        self.add(address)

    def announce(self) -> None:
        """Say that the first address is here now, as DHCP clients do (RFC 5227): the others may have known another."""
        within(self.namespace, sys.executable, "-c", _ANNOUNCE, self.address)

    def unplug(self) -> None:
        """Pull the cable: the host sees that there is no carrier, and keeps its address."""
        namespace, interface = self._port
        ip("-n", namespace, "link", "set", interface, "down")

    def plug(self) -> None:
        """Put it back."""
        namespace, interface = self._port
        ip("-n", namespace, "link", "set", interface, "up")

    def deafen(self) -> None:
        """Drop every TCP packet that comes in; what goes out goes out."""
        self._drop("input")

    def silence(self) -> None:
        """Drop every TCP packet that goes out; what comes in comes in."""
        self._drop("output")

    def _drop(self, hook: str) -> None:
        chain = f"chain at {{ type filter hook {hook} priority 0; meta l4proto tcp drop; }}"
        nft(self.namespace, f"table inet lab {{ {chain}; }}")

    def narrow(self, rate: str, queue: str) -> None:
        """Let no more than that out through the cable; what waits stands in a queue. Needs ``tc`` (iproute2).

        :param rate: e.g. ``400kbit``. :param queue: how long it may become, e.g. ``8s``.
        """
        shape = ("tbf", "rate", rate, "burst", "16kb", "latency", queue)
        within(self.namespace, "tc", "qdisc", "replace", "dev", "eth0", "root", *shape)

    def unfilter(self) -> None:
        """Let everything through again."""
        nft(self.namespace, "")

    @contextlib.contextmanager
    def mute(self, port: int) -> Iterator[None]:
        """Somebody here takes every call at that port, and every datagram, and never says anything."""
        command = ("ip", "netns", "exec", self.namespace, sys.executable, "-c", _MUTE, str(port))
        with subprocess.Popen(command, stdout=subprocess.PIPE, env=self.node.environment) as process:
            try:
                assert process.stdout is not None
                assert process.stdout.readline() == b"here\n"
                yield
            finally:
                process.kill()

    def name_server(self, address: str) -> None:
        """Names are asked of that address from the next start of the node on. Only its own processes see the change."""
        conf = self.node.folder.parent / f"{self.name}.resolv.conf"
        conf.write_text(f"nameserver {address}\n")
        mount = 'mount --bind "$0" /etc/resolv.conf && exec "$@"'  # ip gives each command a mount namespace of its own
        self.node.prefix = ("ip", "netns", "exec", self.namespace, "sh", "-c", mount, str(conf))

    @contextlib.contextmanager
    def asleep(self) -> Iterator[None]:
        """The machine sleeps: none of its processes runs, and its network answers nothing.

        Its clocks go on, as they do for a virtual machine that is paused; a namespace can't stop them.
        """
        everybody = [int(pid) for pid in run("ip", "netns", "pids", self.namespace).split()]
        self.unplug()
        _signal(everybody, signal.SIGSTOP)
        try:
            yield
        finally:
            self.plug()
            _signal(everybody, signal.SIGCONT)


def _cidr(address: str) -> str:
    return f"{address}/{64 if ':' in address else 24}"


def _signal(processes: Sequence[int], what: signal.Signals) -> None:
    for pid in processes:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, what)

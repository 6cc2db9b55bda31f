"""A small network on one machine: hosts in namespaces, joined by a switch, with cables that can be pulled.

The rule: everything is made under names with a random part, and goes when the lab is left, whatever happened in it. It
needs ``ip`` (iproute2) and the right to make namespaces; filters need ``nft`` too. Where that is missing tests are
skipped, and say so.
"""

from __future__ import annotations

import contextlib
import functools
import secrets
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from springline.cli.local import LocalNode, left_over
from springline.store.envelope import Strength

SWITCH = "switch"


def ip(*arguments: str) -> None:
    """Run iproute2's ``ip``."""
    _run("ip", *arguments)


def _run(*command: str) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=30)
    if done.returncode != 0:
        raise RuntimeError(f"{' '.join(command)}: {done.stderr.strip()}")


@functools.cache
def missing() -> str:
    """Why there can be no lab here, or ``""``."""
    for tool in ("ip", "nft"):
        if shutil.which(tool) is None:
            return f"there is no '{tool}' here"
    name = f"sl-{secrets.token_hex(3)}"
    try:
        ip("netns", "add", name)
        ip("netns", "delete", name)
    except (RuntimeError, subprocess.SubprocessError) as error:
        return f"namespaces can't be made here ({error})"
    return ""


class Host:
    """A namespace with one cable to the switch, and a node that can run in it."""

    def __init__(self, lab: Lab, name: str, address: str) -> None:
        self.namespace = f"{lab.name}-{name}"
        self.address = address
        self.node = LocalNode(
            lab.folder / name,
            name,
            lab.token,
            Strength.MINIMAL,
            listen="0.0.0.0",
            prefix=("ip", "netns", "exec", self.namespace),
        )

    def ip(self, *arguments: str) -> None:
        """``ip`` inside the host."""
        ip("-n", self.namespace, *arguments)

    def nft(self, rules: str) -> None:
        """Replace the host's packet filter. ``""`` takes it away."""
        script = "flush ruleset\n" + rules
        subprocess.run(
            ["ip", "netns", "exec", self.namespace, "nft", "-f", "-"],
            input=script, text=True, check=True, capture_output=True, timeout=30,
        )  # fmt: skip

    def unplug(self) -> None:
        """Pull the cable."""
        self.ip("link", "set", "eth0", "down")

    def plug(self) -> None:
        """Put it back; the address stays."""
        self.ip("link", "set", "eth0", "up")

    def move(self, address: str) -> None:
        """Get another address; the former one is gone."""
        self.ip("address", "delete", f"{self.address}/24", "dev", "eth0")  # first: it would take a second one with it
        self.ip("address", "add", f"{address}/24", "dev", "eth0")
        self.address = address

    def deafen(self) -> None:
        """Drop every TCP packet that comes in; what goes out goes out."""
        self.nft("table inet lab { chain in { type filter hook input priority 0; meta l4proto tcp drop; }; }")

    def hear(self) -> None:
        """Undo :meth:`deafen`."""
        self.nft("")


class Lab:
    """Hosts on one switch (10.77.0.0/24)."""

    def __init__(self) -> None:
        self.token = secrets.token_hex(8)
        self.name = f"sl-{secrets.token_hex(3)}"
        self.folder = Path(tempfile.mkdtemp(prefix="springline-lab-"))
        self._namespaces: list[str] = []
        self._space(SWITCH)
        ip("-n", f"{self.name}-{SWITCH}", "link", "add", "bridge", "type", "bridge")
        ip("-n", f"{self.name}-{SWITCH}", "link", "set", "bridge", "up")

    def _space(self, name: str) -> str:
        full = f"{self.name}-{name}"
        ip("netns", "add", full)
        self._namespaces.append(full)
        ip("-n", full, "link", "set", "lo", "up")
        return full

    def host(self, name: str, address: str) -> Host:
        """A new host with that address."""
        self._space(name)
        host = Host(self, name, address)
        self.cable(host.namespace, "eth0", f"{self.name}-{SWITCH}", f"to-{name}")
        ip("-n", f"{self.name}-{SWITCH}", "link", "set", f"to-{name}", "master", "bridge")
        host.ip("address", "add", f"{address}/24", "dev", "eth0")
        return host

    def host_behind_nat(self, name: str, router_address: str) -> Host:
        """A new host in a network of its own (10.78.0.0/24), behind a router that translates and lets nothing in."""
        router = self._space(f"{name}-gw")
        self.cable(router, "outside", f"{self.name}-{SWITCH}", f"to-{name}")
        ip("-n", f"{self.name}-{SWITCH}", "link", "set", f"to-{name}", "master", "bridge")
        self._space(name)
        host = Host(self, name, "10.78.0.2")
        self.cable(host.namespace, "eth0", router, "inside")
        ip("-n", router, "address", "add", f"{router_address}/24", "dev", "outside")
        ip("-n", router, "address", "add", "10.78.0.1/24", "dev", "inside")
        host.ip("address", "add", "10.78.0.2/24", "dev", "eth0")
        host.ip("route", "add", "default", "via", "10.78.0.1")
        rules = (
            "table ip nat { chain post { type nat hook postrouting priority 100; oifname outside masquerade; }; }\n"
            "table inet wall { chain in { type filter hook forward priority 0; "
            'iifname "outside" ct state new drop; }; }'
        )
        forward = "echo 1 > /proc/sys/net/ipv4/ip_forward"
        _run("ip", "netns", "exec", router, "sh", "-c", forward)
        subprocess.run(
            ["ip", "netns", "exec", router, "nft", "-f", "-"],
            input=rules, text=True, check=True, capture_output=True, timeout=30,
        )  # fmt: skip
        return host

    @staticmethod
    def cable(one: str, one_end: str, other: str, other_end: str) -> None:
        """Join two namespaces."""
        ip("link", "add", one_end, "netns", one, "type", "veth", "peer", "name", other_end, "netns", other)
        ip("-n", one, "link", "set", one_end, "up")
        ip("-n", other, "link", "set", other_end, "up")

    def close(self) -> None:
        """Take everything away."""
        for namespace in reversed(self._namespaces):
            with contextlib.suppress(RuntimeError):
                ip("netns", "delete", namespace)
        shutil.rmtree(self.folder, ignore_errors=True)


@contextlib.contextmanager
def lab() -> Iterator[Lab]:
    """A lab; skips the test where there can be none. Afterwards nothing of it is left."""
    if why := missing():
        pytest.skip(why)
    made = Lab()
    try:
        yield made
        rest = left_over(made.token)
        assert not rest, f"processes left over: {rest}"
    finally:
        made.close()

"""A small network on one machine: hosts in namespaces, joined by a switch, with cables that can be pulled.

The rule: everything is made under names with a random part, and goes when the lab is left, whatever happened in it; no
packet leaves it. It needs ``ip`` (iproute2) and the right to make namespaces; filters and routers need ``nft`` too.
Where that is missing, :class:`NoLab` says so.
"""

from __future__ import annotations

import contextlib
import functools
import secrets
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from springline.cli.local import QUIET, LocalNode, left_over
from springline.store.envelope import Strength
from springline.tests.network.host import Host
from springline.tests.network.router import Router
from springline.tests.network.tools import ip, within

SWITCH = "switch"


class NoLab(Exception):
    """There can be no lab here; the text says why."""


@functools.cache
def missing(*tools: str) -> str:
    """Why there can be no lab here, or ``""``. :param tools: what is needed beside ``ip``."""
    for tool in ("ip", *tools):
        if shutil.which(tool) is None:
            return f"there is no '{tool}' here"
    name = f"sl-{secrets.token_hex(3)}"
    try:
        ip("netns", "add", name)
        try:
            for tool in tools:
                within(name, tool, "list", "ruleset")
        finally:
            ip("netns", "delete", name)
    except (RuntimeError, subprocess.SubprocessError) as error:
        return f"namespaces can't be made here ({error})"
    return ""


class Lab:
    """Hosts on one switch (10.77.0.0/24 and fd77::/64)."""

    def __init__(self) -> None:
        self.token = secrets.token_hex(8)
        self.name = f"sl-{secrets.token_hex(3)}"
        self.folder = Path(tempfile.mkdtemp(prefix="springline-lab-"))
        self._namespaces: list[str] = []
        try:
            switch = self._space(SWITCH)
            ip("-n", switch, "link", "add", "bridge", "type", "bridge")
            ip("-n", switch, "link", "set", "bridge", "up")
        except BaseException:
            self.close()
            raise

    def _space(self, name: str, *, ipv6: bool = False) -> str:
        full = f"{self.name}-{name}"
        ip("netns", "add", full)
        self._namespaces.append(full)
        ip("-n", full, "link", "set", "lo", "up")
        # Nobody else is here, so nobody needs to be asked whether an IPv6 address is taken: it would take two seconds.
        setting = "accept_dad" if ipv6 else "disable_ipv6"
        within(full, "sh", "-c", f"echo {int(not ipv6)} > /proc/sys/net/ipv6/conf/default/{setting}")
        return full

    def _to_switch(self, namespace: str, end: str, name: str) -> None:
        switch = f"{self.name}-{SWITCH}"
        _cable(namespace, end, switch, f"to-{name}")
        ip("-n", switch, "link", "set", f"to-{name}", "master", "bridge")

    def host(self, name: str, *addresses: str, options: Sequence[str] = QUIET) -> Host:
        """A new host. :param addresses: IPv4 or IPv6. :param options: of its ``springline up``.

        Without IPv6 addresses it has no link-local one either: links would outlive every change of the others on it.
        """
        space = self._space(name, ipv6=any(":" in address for address in addresses))
        self._to_switch(space, "eth0", name)
        host = Host(space, (f"{self.name}-{SWITCH}", f"to-{name}"), self._node(name, space, options))
        for address in addresses:
            host.add(address)
        return host

    def cable_again(self, host: Host) -> None:
        """A new cable to the switch, and a new interface on it, for one whose ``eth0`` was taken away."""
        self._to_switch(host.namespace, "eth0", host.name)

    def host_behind(self, router: Router, name: str, address: str = "10.78.0.2") -> Host:
        """A new host behind that router."""
        space = self._space(name)
        _cable(space, "eth0", router.namespace, router.inside)
        ip("-n", router.namespace, "address", "add", "10.78.0.1/24", "dev", router.inside)
        host = Host(space, (router.namespace, router.inside), self._node(name, space, QUIET))
        host.add(address)
        host.ip("route", "add", "default", "via", "10.78.0.1")
        return host

    def router(self, name: str, address: str) -> Router:
        """A router with that address outside, which translates, and lets nothing in that was not asked for."""
        space = self._space(name)
        self._to_switch(space, Router.outside, name)
        ip("-n", space, "address", "add", f"{address}/24", "dev", Router.outside)
        return Router(space)

    def _node(self, name: str, space: str, options: Sequence[str]) -> LocalNode:
        prefix = ("ip", "netns", "exec", space)
        folder = self.folder / name
        return LocalNode(
            folder, name, self.token, Strength.MINIMAL, listen="0.0.0.0", prefix=prefix, options=options,
        )  # fmt: skip

    def close(self) -> None:
        """Take everything away."""
        for namespace in reversed(self._namespaces):
            with contextlib.suppress(RuntimeError):
                ip("netns", "delete", namespace)
        shutil.rmtree(self.folder, ignore_errors=True)


def _cable(one: str, one_end: str, other: str, other_end: str) -> None:
    """Join two namespaces."""
    ip("link", "add", one_end, "netns", one, "type", "veth", "peer", "name", other_end, "netns", other)
    ip("-n", one, "link", "set", one_end, "up")
    ip("-n", other, "link", "set", other_end, "up")


@contextlib.contextmanager
def lab(*tools: str) -> Iterator[Lab]:
    """A lab. Afterwards nothing of it is left. :param tools: as of :func:`missing`. :raises NoLab: it can't be."""
    if why := missing(*tools):
        raise NoLab(why)
    made = Lab()
    try:
        yield made
        rest = left_over(made.token)
        assert not rest, f"processes left over: {rest}"
    finally:
        made.close()


@contextlib.contextmanager
def running(*hosts: Host) -> Iterator[None]:
    """Their nodes run, all started and stopped at once."""
    with ThreadPoolExecutor(len(hosts)) as pool:
        try:
            list(pool.map(lambda host: host.node.__enter__(), hosts))
            yield
        finally:
            list(pool.map(lambda host: host.node.down(), hosts))

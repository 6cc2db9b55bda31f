"""Hosts that find each other by multicast on a network of their own; and a node that keeps to its machine."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from uuid import UUID

import psutil
import pytest

from springline.actors.finding import MDNS
from springline.tests.network.couple import PATIENCE, Couple, couple
from springline.tests.network.host import Host
from springline.tests.network.lab import Lab
from springline.tests.network.tools import nft, within
from springline.tests.nodes import eventually, pid_of
from springline.tests.seekers import BY_MDNS, forget

FLOOD = """
import os, socket, struct, sys
from zeroconf import DNSOutgoing, DNSPointer, DNSText
sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
sock.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, socket.inet_aton(sys.argv[1]))
for _ in range(int(sys.argv[2])):
    out = DNSOutgoing(0x8400)
    for _ in range(2):
        name = f"{os.urandom(16).hex()}._springline._tcp.local."
        out.add_answer_at_time(DNSPointer("_springline._tcp.local.", 12, 1, 4500, name), 0)
        out.add_answer_at_time(DNSText(name, 16, 1, 4500, bytes([255]) + os.urandom(255)), 0)
    for packet in out.packets():
        sock.sendto(packet, ("224.0.0.251", 5353))
"""
ASK = """
import socket, sys
from zeroconf import DNSOutgoing, DNSQuestion
out = DNSOutgoing(0)
out.add_question(DNSQuestion("_springline._tcp.local.", 12, 1))
sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
sock.settimeout(1.0)
sock.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, socket.inet_aton(sys.argv[1]))
for packet in out.packets():
    sock.sendto(packet, ("224.0.0.251", 5353))
    sock.sendto(packet, (sys.argv[2], 5353))
try:
    print("answered:", sock.recv(9000))
except TimeoutError:
    print("silence")
"""
COUNT = """
table inet lab {
  counter said { }
  chain out { type filter hook output priority 0; oifname "eth0" udp sport 5353 counter name said; };
}
"""


@pytest.fixture(scope="module")
def pair(filtering_lab: Lab) -> Iterator[Couple]:
    """Without IPv6: its link-local addresses would stay when others go."""
    red = filtering_lab.host("red", "10.77.0.1", options=BY_MDNS)
    blue = filtering_lab.host("blue", "10.77.0.2", options=BY_MDNS)
    with couple(red, blue) as made:
        yield made


def both_forget(pair: Couple) -> None:
    """Both are down, and know no address of each other."""
    for host, other in pair.sides():
        host.node.down()
        forget(host.node, other)


def test_two_that_know_no_address_find_each_other(pair: Couple) -> None:
    both_forget(pair)
    pair.blue.node.up()
    pair.red.node.up()
    pair.talk()


def test_two_that_move_at_once_find_each_other_again(pair: Couple) -> None:
    pair.red.move("10.77.0.11")
    pair.blue.move("10.77.0.12")
    pair.talk()


def test_two_that_move_while_a_cable_is_out_find_each_other_when_it_is_back(pair: Couple) -> None:
    pair.blue.unplug()
    pair.blue.move("10.77.0.22")
    pair.red.move("10.77.0.21")
    pair.say()
    for host, other in pair.sides():
        eventually(lambda: state(host, other) != "Connected", f"{host.name} has noticed", PATIENCE)  # noqa: B023
    pair.blue.plug()
    pair.talk()


def state(host: Host, device: UUID) -> str:
    return host.node.control.find(device).link.state


def said(host: Host) -> int:
    """Packets of multicast that have left the host."""
    listed = json.loads(within(host.namespace, "nft", "-j", "list", "counters"))
    return int(next(one["counter"]["packets"] for one in listed["nftables"] if "counter" in one))


def has_opened(host: Host) -> bool:
    """Its finder has sockets."""
    return ":14E9 " in Path(f"/proc/{pid_of(host.node.control, MDNS)}/net/udp").read_text()


def test_a_node_that_listens_on_loopback_says_nothing_to_the_network(pair: Couple) -> None:
    red = pair.red
    both_forget(pair)
    nft(red.namespace, COUNT)
    red.node.where = "127.0.0.1"
    red.node.up()
    eventually(lambda: has_opened(red), "red looks for blue on its own machine")
    assert within(pair.blue.namespace, sys.executable, "-c", ASK, pair.blue.address, red.address).strip() == "silence"
    assert said(red) == 0
    red.node.down()
    red.node.where = "0.0.0.0"
    red.node.up()
    eventually(lambda: said(red) > 0, "it would be seen", PATIENCE)
    red.unfilter()
    pair.blue.node.up()
    pair.talk()


def test_a_flood_costs_no_memory_and_they_find_each_other_after_it(pair: Couple) -> None:
    both_forget(pair)
    pair.red.node.up()
    eventually(lambda: has_opened(pair.red), "red looks for blue")
    process = psutil.Process(pid_of(pair.red.node.control, MDNS))
    before = process.memory_info().rss
    within(pair.blue.namespace, sys.executable, "-c", FLOOD, pair.blue.address, "10000")
    assert process.memory_info().rss - before < 20 << 20
    pair.blue.node.up()
    pair.talk()

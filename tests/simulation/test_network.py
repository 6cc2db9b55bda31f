"""Who reaches whom in the simulated network, and by which address."""

from __future__ import annotations

from springline.tests.simulation.clock import Clock, Queue
from springline.tests.simulation.network import Host, Network, Quality, Site


class Lab:
    """A network, and hosts in it."""

    def __init__(self) -> None:
        self.queue = Queue(1)
        self.net = Network(self.queue)
        self._count = 0

    def host(self, site: Site) -> Host:
        self._count += 1
        host = Host(self._count, Clock(self.queue))
        self.net.join(host, site)
        host.mapped = site.maps  # it has asked
        return host

    def reaches(self, one: Host, other: Host) -> bool:
        return any(self.net.leads(one, address, other) for address in other.addresses)


def test_a_nat_lets_nobody_in_unless_it_maps_a_port() -> None:
    lab = Lab()
    hidden = lab.host(lab.net.add_site(nat=True))
    mapped = lab.host(lab.net.add_site(nat=True, maps=True))
    server = lab.host(lab.net.add_site(nat=False))
    assert lab.reaches(hidden, server)
    assert lab.reaches(hidden, mapped)
    assert lab.reaches(server, mapped)
    assert not lab.reaches(server, hidden)
    assert not lab.reaches(mapped, hidden)


def test_at_home_everybody_is_reached() -> None:
    lab = Lab()
    home = lab.net.add_site(nat=True)
    one, other = lab.host(home), lab.host(home)
    assert lab.reaches(one, other)
    home.up = False
    assert lab.net.passes(one, other)


def test_a_private_address_means_somebody_else_elsewhere() -> None:
    lab = Lab()
    here, there = lab.net.add_site(nat=True), lab.net.add_site(nat=True)
    visitor = lab.host(there)
    hosts = [lab.host(here) for _ in range(6)]
    meant = [lab.net.resolve(visitor, host.addresses[-1]) for host in hosts]
    assert not set(meant) & set(hosts)


def test_a_port_of_one_s_own_router_only_with_hairpin() -> None:
    lab = Lab()
    for hairpin in (False, True):
        home = lab.net.add_site(nat=True, maps=True, hairpin=hairpin)
        one, other = lab.host(home), lab.host(home)
        assert lab.net.leads(one, other.addresses[0], other) is hairpin


def test_another_public_address_leads_there_and_the_former_does_not() -> None:
    lab = Lab()
    home, away = lab.net.add_site(nat=True, maps=True), lab.net.add_site(nat=False)
    mapped, server = lab.host(home), lab.host(away)
    before = mapped.addresses[0]
    lab.net.renumber(home)
    assert not lab.net.leads(server, before, mapped)
    assert lab.net.leads(server, mapped.addresses[0], mapped)


def test_ways_are_cut_one_way_at_a_time() -> None:
    lab = Lab()
    home, away = lab.net.add_site(nat=False), lab.net.add_site(nat=False)
    one, other = lab.host(home), lab.host(away)
    for cut, there, back in (("mute", False, True), ("deaf", True, False)):
        setattr(home, cut, True)
        assert (lab.net.passes(one, other), lab.net.passes(other, one)) == (there, back)
        assert not lab.net.is_good(one, other)
        setattr(home, cut, False)
    lab.net.holes.add((one.number, other.number))
    assert (lab.net.passes(one, other), lab.net.passes(other, one)) == (False, True)


def test_a_bad_way_promises_nothing() -> None:
    lab = Lab()
    home, away = lab.net.add_site(nat=False), lab.net.add_site(nat=False)
    one, other = lab.host(home), lab.host(away)
    assert lab.net.is_good(one, other)
    for bad in (Quality(loss=0.1), Quality(delay=0.6)):
        home.weather = [bad]
        assert not lab.net.is_good(one, other)


def test_datagrams_are_lost_doubled_and_overtake_each_other() -> None:
    lab = Lab()
    home, away = lab.net.add_site(nat=False), lab.net.add_site(nat=False)
    one, other = lab.host(home), lab.host(away)
    home.weather = [Quality(loss=0.1)]
    heard: list[int] = []
    other.hear = heard.append
    for number in range(1000):
        lab.queue.at(number * 0.05, lab.net.datagram, one, other, number)
    lab.queue.run(100.0)
    assert 850 < len(set(heard)) < 950
    assert len(heard) > len(set(heard))
    assert heard != sorted(heard)

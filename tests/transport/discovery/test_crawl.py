"""Whom a search asks, and what hostile nodes can do to it. The network is a graph of who tells of whom."""

from __future__ import annotations

import random

from springline.transport.discovery.crawl import MOST_ASKED, MOST_EACH, Crawl
from springline.transport.discovery.datagrams import MOST_CONTACTS, Contact
from springline.transport.discovery.routes import NEAR, Routes

OWN = bytes([255]) * 20
PLACE = bytes(20)


def contact(node: int, ip: str = "", port: int = 7400) -> Contact:
    return Contact(node.to_bytes(20, "big"), ip or f"9.{node >> 16 & 255}.{node >> 8 & 255}.{node & 255}", port)


def run(crawl: Crawl, network: dict[tuple[str, int], tuple[Contact, list[Contact]]]) -> list[Contact]:
    """Ask until it is done; who was asked. Who is not in the network gives no answer."""
    asked = []
    while (one := crawl.next()) is not None:
        asked.append(one)
        there = network.get(one.at)
        if there is None:
            crawl.failed(one)
        else:
            crawl.answered(one, there[0].node, there[1])
    return asked


def honest(count: int, seed: int) -> dict[tuple[str, int], tuple[Contact, list[Contact]]]:
    """A network whose nodes have heard of half of each other; what each tells of is nearest to the place."""
    chance = random.Random(seed)
    nodes = [contact(chance.getrandbits(160)) for _ in range(count)]
    told = {}
    for one in nodes:
        routes = Routes(one.node)
        for other in chance.sample(nodes, count // 2):
            routes.add(other)
        told[one.at] = one, list(routes.nearest(PLACE, MOST_CONTACTS))
    return told


def nearest(network: dict[tuple[str, int], tuple[Contact, list[Contact]]]) -> list[Contact]:
    return sorted((one for one, _ in network.values()), key=lambda one: one.node)[:NEAR]


def test_the_nearest_are_found() -> None:
    missed = 0
    for seed in range(10):
        network = honest(120, seed)
        crawl = Crawl(PLACE, OWN, [one for one, _ in list(network.values())[:3]])
        run(crawl, network)
        missed += len(set(nearest(network)) - set(crawl.nearest))
    assert missed <= NEAR


def test_those_that_give_no_answer_are_passed_over() -> None:
    network = honest(60, 5)
    begin = [one for one, _ in list(network.values())[:4]]
    dead = set(random.Random(2).sample(list(network), 20)) - {one.at for one in begin}
    alive = {at: told for at, told in network.items() if at not in dead}
    crawl = Crawl(PLACE, OWN, begin)
    run(crawl, alive)
    assert len(set(nearest(alive)) & set(crawl.nearest)) >= NEAR - 1


def test_nodes_that_do_not_exist_cost_a_bounded_number_of_questions() -> None:
    network = honest(20, 1)
    number = iter(range(1, 10**6))

    def invent() -> list[Contact]:
        return [contact(next(number)) for _ in range(MOST_CONTACTS)]

    liars = {at: (one, invent()) for at, (one, _) in network.items()}
    asked = run(Crawl(PLACE, OWN, [one for one, _ in liars.values()][:NEAR]), liars)
    assert len(asked) <= MOST_ASKED


def test_who_was_known_is_asked_whatever_others_invent() -> None:
    network = honest(NEAR, 1)
    known = [one for one, _ in network.values()]
    liar = known[0]
    hostile = [contact(number) for number in range(1, 1 + MOST_CONTACTS)]  # nearer than anybody, and there
    network |= {one.at: (one, []) for one in hostile}
    network[liar.at] = liar, hostile
    assert set(known) <= set(run(Crawl(PLACE, OWN, known), network))


def test_an_invented_id_does_not_hide_who_is_there() -> None:
    honest_one, liar = contact(1 << 100, "9.9.9.9"), contact(1 << 150, "9.9.9.10")
    fake = Contact(contact(1).node, honest_one.ip, honest_one.port)
    crawl = Crawl(PLACE, OWN, [liar])
    run(crawl, {liar.at: (liar, [fake]), honest_one.at: (honest_one, [])})
    assert crawl.nearest == (honest_one, liar)


def test_an_invented_address_does_not_hide_who_is_there() -> None:
    honest_one, liar, other = contact(5, "9.9.9.9"), contact(1 << 150, "9.9.9.10"), contact(1 << 151, "9.9.9.11")
    fake = Contact(honest_one.node, "9.9.9.66", 1)
    crawl = Crawl(PLACE, OWN, [liar, other])
    run(crawl, {liar.at: (liar, [fake]), other.at: (other, [honest_one]), honest_one.at: (honest_one, [])})
    assert honest_one in crawl.nearest


def test_one_host_is_heard_a_few_times() -> None:
    liar = contact(1, "9.9.9.9", 1)
    network: dict[tuple[str, int], tuple[Contact, list[Contact]]]
    network = {("9.9.9.9", port): (contact(port, "9.9.9.9", port), []) for port in range(1, 60)}
    network[liar.at] = liar, [contact(port, "9.9.9.9", port) for port in range(2, 10)]
    crawl = Crawl(PLACE, OWN, [liar])
    run(crawl, network)
    assert len(crawl.nearest) == MOST_EACH


def test_nobody_leads_a_search_into_our_own_network() -> None:
    liar = contact(1, "9.9.9.9")
    inside = [contact(2, "127.0.0.1", 22), contact(3, "192.168.1.1", 53), contact(4, "224.0.0.251", 5353)]
    assert run(Crawl(PLACE, OWN, [liar]), {liar.at: (liar, inside)}) == [liar]


def test_it_neither_asks_nor_finds_itself() -> None:
    liar = contact(1)
    own = Contact(OWN, "9.9.9.9", 7400)
    crawl = Crawl(PLACE, OWN, [liar])
    assert run(crawl, {liar.at: (liar, [own])}) == [liar]

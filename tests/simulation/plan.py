"""What is going to happen in a simulation, drawn from its seed: crashes, sleep, moves, cuts, wrong clocks, users.

The rule: each kind of trouble comes as often as :data:`TROUBLES` says, for each node, site or pair, at times of its own
(a Poisson process, made more or less stormy by the seed), and lasts as long as it draws, from moments to weeks; it may
bring others with it, to the same node or one that it talks to. What has an end plans it. So it is always known when the
next thing happens to a pair, which ``resting.py`` builds on.
"""

from __future__ import annotations

import heapq
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from springline.tests.simulation.network import Quality

if TYPE_CHECKING:
    from springline.tests.simulation.node import Node
    from springline.tests.simulation.watch import Pair
    from springline.tests.simulation.world import World

DAY = 86400.0
EVERYBODY = -1

TOGETHER = 0.2
"""The chance that one trouble brings another with it, and that one another."""

AFTER = 8.0
"""Seconds at most between one and the next it brings: less than it takes to get over it."""

IN_TIME = 30.0
"""Seconds in which a rotation begins after a link was killed, if it is going to."""

Action = Callable[[], None]


class Plan:
    """What is going to happen in one world."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._due: dict[int, list[float]] = {EVERYBODY: []}

    def add(self, when: float, action: Action, *numbers: int) -> None:
        """Have something happen then to the nodes of those numbers."""
        for number in numbers:
            heapq.heappush(self._due.setdefault(number, []), when)
        self._world.queue.at(when, action)

    def next_for(self, pair: Pair) -> float:
        """When something happens next that may concern this pair."""
        return min(self._next(number) for number in (EVERYBODY, pair.one.number, pair.other.number))

    def _next(self, number: int) -> float:
        due = self._due.get(number, [])
        while due and due[0] < self._world.queue.now:
            heapq.heappop(due)
        return due[0] if due else math.inf


@dataclass(frozen=True, slots=True)
class Trouble:
    """One kind. :param daily: how often it comes, to each. :param happens: given the world and whom it comes to."""

    name: str
    daily: float
    happens: Callable[[World, Node], None]


def spread(world: World, least: float, most: float) -> float:
    """Seconds, as often of one size as of another."""
    most = max(least, min(most, (world.ends - world.queue.now) / 3))
    return math.exp(world.fate.uniform(math.log(least), math.log(most)))


def schedule(world: World, storm: float, only: tuple[str, ...]) -> None:
    """Plan everything up to the world's end.

    :param storm: how much more often than usual. :param only: the troubles of those names; none: all of them.
    """
    troubles = [one for one in TROUBLES if (not only or one.name in only) and one.daily]
    for node in world.nodes:
        for trouble in troubles:
            for when in _times(world, trouble.daily * storm):
                _plan(world, trouble, node, when)
                for another, victim, later in _brought_along(world, troubles, node, when):
                    _plan(world, another, victim, later)


def _brought_along(
    world: World, troubles: list[Trouble], node: Node, when: float
) -> Iterator[tuple[Trouble, Node, float]]:
    draw = world.fate
    while draw.random() < TOGETHER:
        pair = draw.choice(world.pairs_of(node))
        when += draw.uniform(0.0, AFTER)
        yield draw.choice(troubles), draw.choice((node, pair.one, pair.other)), when


def _times(world: World, daily: float) -> Iterator[float]:
    when = world.begins
    while daily > 0:
        when += world.fate.expovariate(daily / DAY)
        if when >= world.ends:
            return
        yield when


def _plan(world: World, trouble: Trouble, node: Node, when: float) -> None:
    concerns = EVERYBODY if trouble in _SITES else node.number
    world.plan.add(when, lambda: trouble.happens(world, node), concerns)


def later(world: World, node: Node, seconds: float, cause: str, action: Action) -> None:
    """The end of a trouble of one node."""

    def ends() -> None:
        action()
        world.disturbed(cause, node)

    world.plan.add(world.queue.now + seconds, ends, node.number)


# -- processes ---------------------------------------------------------------------------------------------------------


def _kill(name: str) -> Callable[[World, Node], None]:
    def happens(world: World, node: Node) -> None:
        if node.running and node.host.awake:
            node.kill(name)
            world.disturbed(f"process killed: {name}", node)

    return happens


def _kill_connection(world: World, node: Node) -> None:
    if node.connections and node.host.awake:
        other = world.by_id[world.fate.choice(sorted(node.connections))]
        _kill_one(world, node, other)


def _kill_one(world: World, node: Node, other: Node) -> None:
    node.kill_connection(other.book.id)
    world.disturbed("process killed: connection", node, other)


def _restart(world: World, node: Node) -> None:
    if node.running and node.host.awake:
        node.stop(orderly=world.fate.random() < 0.5)
        world.disturbed("node restarted", node)
        later(world, node, spread(world, 0.5, 3600), "node restarted", lambda: _start(node))


def _start(node: Node) -> None:
    if node.host.on and not node.running:
        node.start()


def _crash(world: World, node: Node) -> None:
    if node.host.on:
        node.power_off()
        world.disturbed("machine crashed", node)
        later(world, node, spread(world, 5, 2 * DAY), "machine crashed", lambda: _power_on(node))


def _power_on(node: Node) -> None:
    if not node.host.on:
        node.power_on()


def _set_back(world: World, node: Node) -> None:
    """Its disk is restored from a backup: of some device it has keys that were replaced since.

    Not after a pairing that only one side had to renew: then their recovery keys differ, and they must pair again.
    """
    other = _some_peer(world, node)
    if other is None or not node.running or not node.host.awake:
        return
    if node.book.recovery_of(other.book.id) != other.book.recovery_of(node.book.id):
        return
    node.stop(orderly=False)
    node.book.set_back(other.book.id, world.fate.randrange(1, 7))
    world.disturbed("set back by a backup", node)
    later(world, node, spread(world, 0.5, 3600), "set back by a backup", lambda: _start(node))


def _interrupt(world: World, node: Node) -> None:
    """A session is begun anew, so that its key rotates; in the midst of that something breaks, here or there."""
    other = _some_peer(world, node)
    if other is None or not node.running or not other.running or not (node.host.awake and other.host.awake):
        return
    draw = world.fate
    victim, what, steps = draw.choice((node, other)), draw.choice(("app", "keystore", "link")), draw.randrange(3)
    until = world.queue.now + IN_TIME

    def step() -> None:
        nonlocal steps
        steps -= 1
        if steps >= 0:
            victim.interrupt = step
        elif world.queue.now < until:
            world.queue.after(0.0, breaks)

    def breaks() -> None:
        if what == "app" and victim.running and victim.host.awake:
            world.rest.rouse_node(victim)
            victim.stop(orderly=False)
            world.queue.after(draw.uniform(0.2, 20.0), starts)
        elif what == "keystore":
            victim.kill("keystore")
        else:
            victim.kill_connection((other if victim is node else node).book.id)
        world.disturbed("interrupted while keys rotate", victim)

    def starts() -> None:
        _start(victim)
        world.disturbed("interrupted while keys rotate", victim)

    victim.interrupt = step
    world.plan.add(until, lambda: None, node.number, other.number)
    _kill_one(world, node, other)


# -- machines ----------------------------------------------------------------------------------------------------------


def _sleep(world: World, node: Node) -> None:
    if node.host.awake:
        node.fall_asleep()
        world.disturbed("sleep", node)
        later(world, node, spread(world, 60, 21 * DAY), "sleep", lambda: _wake(node))


def _wake(node: Node) -> None:
    if node.host.on and node.clock.asleep:
        node.clock.wake()


def _jump(world: World, node: Node) -> None:
    ahead = spread(world, 1, 365 * DAY) if world.fate.random() < 0.5 else -spread(world, 1, 365 * DAY)
    node.set_clock(node.clock.wrong + ahead)
    world.disturbed("wall clock jumped", node)
    later(world, node, spread(world, 60, 2 * DAY), "wall clock set right", lambda: node.set_clock(0.0))


def _move(world: World, node: Node) -> None:
    sites = [site for site in world.network.sites if site is not node.host.site]
    if not sites:
        return
    there = world.fate.choice(sites)
    node.move(None)
    world.disturbed("moved to another network", node)

    def arrives() -> None:
        if node.host.site is None:
            node.move(there)

    later(world, node, spread(world, 0.5, 600), "moved to another network", arrives)


def _new_address(world: World, node: Node) -> None:
    site = node.host.site
    if site is not None:
        node.move(site)
        world.disturbed("address changed", node)


# -- sites: whatever happens to one concerns everybody in it, and whoever talks to them --------------------------------


def _later_there(world: World, node: Node, seconds: float, cause: str, action: Action) -> None:
    site = node.host.site

    def ends() -> None:
        action()
        world.disturbed_at(cause, site)

    world.plan.add(world.queue.now + seconds, ends, EVERYBODY)


def _cut(world: World, node: Node) -> None:
    site = node.host.site
    if site is None:
        return
    which = world.fate.choice(("up", "up", "deaf", "mute"))
    setattr(site, which, which != "up")
    cause = "outage of a site" if which == "up" else "one-way outage of a site"
    world.disturbed_at(cause, site)
    _later_there(world, node, spread(world, 0.5, DAY), cause, lambda: setattr(site, which, which == "up"))


def _forget(world: World, node: Node) -> None:
    site = node.host.site
    if site is not None and site.nat:
        world.network.rebind(site)
        world.disturbed_at("NAT forgot its connections", site)


def _renumber(world: World, node: Node) -> None:
    site = node.host.site
    if site is not None and site.nat:
        world.network.renumber(site)
        world.disturbed_at("public address changed", site)


def _weather(world: World, node: Node) -> None:
    site, draw = node.host.site, world.fate
    if site is None:
        return
    bad = Quality(draw.random() ** 4 * 0.5, spread(world, 0.001, 2.0), spread(world, 0.001, 1.0))
    site.weather.append(bad)
    world.disturbed_at("bad weather", site)

    def clears() -> None:
        if bad in site.weather:
            site.weather.remove(bad)

    _later_there(world, node, spread(world, 60, DAY / 4), "bad weather", clears)


def _hush(world: World, node: Node) -> None:
    site = node.host.site
    if site is None:
        return
    site.multicast = not site.multicast
    world.disturbed_at("multicast switched", site)

    def switches_back() -> None:
        site.multicast = not site.multicast

    _later_there(world, node, spread(world, 600, DAY), "multicast switched", switches_back)


# -- pairs and users ---------------------------------------------------------------------------------------------------


def _some_peer(world: World, node: Node) -> Node | None:
    peers = sorted(node.book.devices)
    return world.by_id[world.fate.choice(peers)] if peers else None


def _hole(world: World, node: Node) -> None:
    other = _some_peer(world, node)
    if other is None:
        return
    holes = {(node.number, other.number)}
    if world.fate.random() < 0.4:
        holes.add((other.number, node.number))
    cause = "one-way blackhole" if len(holes) == 1 else "blackhole"
    world.network.holes |= holes
    world.disturbed(cause, node, other)
    later(world, node, spread(world, 2, 7200), cause, lambda: world.network.holes.difference_update(holes))
    world.plan.add(world.queue.now, lambda: None, other.number)


def _chat(world: World, node: Node) -> None:
    other = _some_peer(world, node)
    if other is None:
        return
    draw = world.fate
    for turn in range(draw.randrange(5, 60)):
        world.queue.after(turn * draw.uniform(0.1, 2.0), _say, node, other)


def _say(node: Node, other: Node) -> None:
    connection = node.connections.get(other.book.id)
    if connection is not None and node.host.awake:
        connection.say(("note",), lambda _answer: None)


def _disconnect(world: World, node: Node) -> None:
    other = _some_peer(world, node)
    if other is None or not node.running or not node.host.awake:
        return
    device = other.book.id
    _want(node, device, wanted=False)
    world.disturbed("user disconnects and connects", node, other)

    def again() -> None:
        _want(node, device, wanted=True)

    later(world, node, spread(world, 5, DAY), "user disconnects and connects", again)


def _want(node: Node, device: object, *, wanted: bool) -> None:
    known = next((peer for peer in node.book.devices if peer == device), None)
    if known is not None:
        node.book.want(known, wanted)
        if node.manager is not None:
            node.manager.want(known)


def _revoke(world: World, node: Node) -> None:
    other = _some_peer(world, node)
    if other is None or not node.running or not node.host.awake:
        return
    node.revoke(other.book.id)
    world.disturbed_everywhere("revoked and paired again")
    if world.fate.random() < 0.8:
        again = world.queue.now + spread(world, 60, 3 * DAY)
        world.plan.add(again, lambda: _pair_again(world, other), EVERYBODY)


def _pair_again(world: World, outcast: Node) -> None:
    """The user pairs it with everybody it was paired with, as far as they are there."""
    for pair in world.pairs_of(outcast):
        if all(node.running and node.host.awake for node in (pair.one, pair.other)):
            world.pair(pair.one, pair.other)
    world.disturbed_everywhere("revoked and paired again")


def _renew(world: World, node: Node) -> None:
    """Two who are paired are paired again; the last word of it may not get through."""
    other = _some_peer(world, node)
    if other is None or not all(one.running and one.host.awake for one in (node, other)):
        return
    if world.watch.trusted(node, other) and world.watch.trusted(other, node):
        world.pair(node, other, lost=world.fate.random() < 0.5)
        world.disturbed("paired anew", node, other)


TROUBLES = (
    Trouble("kill connection", 1.0, _kill_connection),
    Trouble("kill transport", 0.3, _kill("transport")),
    Trouble("kill keystore", 0.3, _kill("keystore")),
    Trouble("kill manager", 0.2, _kill("manager")),
    Trouble("kill mDNS", 0.15, _kill("mdns")),
    Trouble("kill DHT", 0.15, _kill("dht")),
    Trouble("kill monitor", 0.15, _kill("monitor")),
    Trouble("kill port mapper", 0.1, _kill("ports")),
    Trouble("set back", 0.05, _set_back),
    Trouble("interrupt", 0.3, _interrupt),
    Trouble("restart node", 0.3, _restart),
    Trouble("crash", 0.15, _crash),
    Trouble("sleep", 1.0, _sleep),
    Trouble("wall clock", 0.15, _jump),
    Trouble("move", 0.6, _move),
    Trouble("new address", 0.3, _new_address),
    Trouble("hole", 0.3, _hole),
    Trouble("chat", 2.0, _chat),
    Trouble("disconnect", 0.15, _disconnect),
    Trouble("revoke", 0.02, _revoke),
    Trouble("renew", 0.05, _renew),
    cut := Trouble("cut", 0.5, _cut),
    forget := Trouble("forget", 0.4, _forget),
    renumber := Trouble("renumber", 0.15, _renumber),
    weather := Trouble("weather", 0.3, _weather),
    hush := Trouble("hush", 0.1, _hush),
)
_SITES = (cut, forget, renumber, weather, hush)

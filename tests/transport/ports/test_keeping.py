"""When a router is asked, what is believed, and that it stays bounded whatever the router does."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from springline.transport.address import Address
from springline.transport.network import Way
from springline.transport.ports.keeping import (
    FIRST_RETRY,
    LEAST_LIFETIME,
    LIFETIME,
    LOOK,
    MOST_LIFETIME,
    MOST_RETRY,
    SETTLED,
    Denied,
    Due,
    Event,
    Grant,
    Granted,
    Keeping,
    Look,
    Looked,
    Map,
    Routed,
    Router,
    Tell,
    describe,
    has_forgotten,
    is_behind_another,
    needs_no_router,
    objection,
    step,
)

HOME = Router("10.0.0.5", Way(4, "eth0", "10.0.0.1"))
ELSEWHERE = Router("10.1.0.5", Way(4, "wlan0", "10.1.0.1"))
OUTSIDE = Address("93.184.216.34", 7400)
GRANT = Grant("NAT-PMP", OUTSIDE, True, LIFETIME, 100.0)


class Scene:
    """A keeping, its clock, and what it has wanted."""

    def __init__(self, router: Router | None = HOME) -> None:
        self.now = 1000.0
        self.keeping = Keeping()
        self.questions: list[Map | Look] = []
        self.told: list[Address | None] = []
        self.feed(Routed(router, "" if router else "no way out"))

    def feed(self, event: Event) -> None:
        self.keeping, effects = step(self.keeping, event, self.now)
        for effect in effects:
            if isinstance(effect, Tell):
                self.told.append(effect.address)
            else:
                self.questions.append(effect)

    def until_asked(self) -> Map | Look:
        """Let time pass until the router is asked; at most a day."""
        before = len(self.questions)
        while len(self.questions) == before:
            assert self.keeping.due_at is not None
            self.now = max(self.now, self.keeping.due_at)
            self.feed(Due())
        return self.questions[-1]

    def grant(self, grant: Grant = GRANT) -> None:
        self.feed(Granted(self.until_asked().number, grant))

    def look(self, ip: str = OUTSIDE.host, epoch: float | None = None, *, there: bool = True) -> None:
        question = self.until_asked()
        assert isinstance(question, Look)
        self.feed(Looked(question.number, ip, epoch, there))

    def deny(self, why: str = "no answer") -> None:
        self.feed(Denied(self.until_asked().number, why))


def test_it_asks_once_the_network_has_settled_and_tells_what_is_granted() -> None:
    scene = Scene()
    question = scene.until_asked()
    assert scene.now == 1000 + SETTLED
    assert question == Map(1, HOME, None)
    assert scene.keeping.due_at is None  # one question at a time
    scene.feed(Granted(1, GRANT))
    assert scene.told == [OUTSIDE]
    assert describe(scene.keeping, scene.now) == f"{OUTSIDE} (TCP and UDP) by NAT-PMP, for 2 h more"


def test_it_looks_in_between_and_renews_at_half_its_time_the_same_way() -> None:
    scene = Scene()
    scene.grant()
    began = scene.now
    epoch = 100.0
    while isinstance(scene.until_asked(), Look):
        epoch = 100 + scene.now - began
        scene.feed(Looked(scene.keeping.asking, OUTSIDE.host, epoch))
    assert scene.now == pytest.approx(began + LIFETIME / 2)
    assert len(scene.questions) == pytest.approx(LIFETIME / 2 / LOOK + 1, abs=1)
    last = scene.questions[-1]
    assert isinstance(last, Map)
    assert last.known == GRANT
    assert scene.told == [OUTSIDE]


@pytest.mark.parametrize("news", ["address", "epoch", "gone"])
def test_a_router_that_has_changed_or_forgotten_is_asked_again_at_once(news: str) -> None:
    scene = Scene()
    scene.grant()
    question = scene.until_asked()
    other = Address("93.184.216.99", 7400)
    ip = other.host if news == "address" else OUTSIDE.host
    epoch = 3.0 if news == "epoch" else 100 + LOOK
    scene.feed(Looked(question.number, ip, epoch, there=news != "gone"))
    assert isinstance(scene.questions[-1], Map)
    assert scene.told == [OUTSIDE]
    scene.feed(Granted(scene.keeping.asking, Grant("NAT-PMP", other, False, LIFETIME, 3.0)))
    assert scene.told == [OUTSIDE, other]


def test_a_change_of_the_network_asks_again_and_another_router_is_another_life() -> None:
    scene = Scene()
    scene.grant()
    scene.now += 60
    scene.feed(Routed(HOME))
    assert scene.told == [OUTSIDE]
    scene.look(epoch=170)
    scene.feed(Routed(ELSEWHERE))
    assert scene.told == [OUTSIDE, None]
    question = scene.until_asked()
    assert question == Map(question.number, ELSEWHERE, None)
    scene.feed(Granted(question.number - 1, GRANT))  # the former router answers late
    assert scene.told == [OUTSIDE, None]


def test_without_a_way_out_nobody_is_asked_and_what_was_told_is_taken_back() -> None:
    scene = Scene()
    scene.grant()
    scene.feed(Routed(None, "this machine has no way out"))
    assert scene.told == [OUTSIDE, None]
    assert scene.keeping.due_at is None
    assert describe(scene.keeping, scene.now) == "this machine has no way out"


def test_an_answer_that_nobody_has_asked_for_is_nothing() -> None:
    scene = Scene(None)
    scene.feed(Denied(0, "no"))
    scene.feed(Granted(0, GRANT))
    assert scene.keeping == Keeping(trouble="no way out")


def test_a_router_that_says_no_is_asked_ever_more_rarely() -> None:
    scene = Scene()
    pauses = []
    for _ in range(12):
        scene.deny()
        assert scene.keeping.due_at
        pauses.append(scene.keeping.due_at - scene.now)
    assert pauses[:3] == [FIRST_RETRY, 2 * FIRST_RETRY, 4 * FIRST_RETRY]
    assert pauses[-1] == MOST_RETRY
    assert scene.told == []
    assert describe(scene.keeping, scene.now) == "no answer"
    scene.feed(Routed(HOME))
    scene.until_asked()
    assert scene.now - (scene.keeping.due_at or scene.now) <= SETTLED


def test_a_router_that_falls_silent_is_believed_for_as_long_as_it_has_promised() -> None:
    scene = Scene()
    scene.grant()
    ends_at = scene.now + LIFETIME
    while scene.told == [OUTSIDE]:
        scene.deny()
    assert scene.told == [OUTSIDE, None]
    assert ends_at <= scene.now <= ends_at + 1


@pytest.mark.parametrize(
    "host", ["0.0.0.0", "127.0.0.1", "224.0.0.1", "169.254.1.1", "255.255.255.255", "10.0.0.5"]
)  # fmt: skip
def test_lies_that_can_be_seen_are_not_told(host: str) -> None:
    scene = Scene()
    scene.grant(Grant("UPnP", Address(host, 7400), False, LIFETIME))
    assert scene.told == []
    assert host in describe(scene.keeping, scene.now)
    assert scene.keeping.kept is None


def test_a_lie_in_place_of_a_grant_takes_it_back() -> None:
    scene = Scene()
    scene.grant()
    scene.look("93.184.216.99", 400)
    scene.feed(Granted(scene.keeping.asking, Grant("NAT-PMP", Address("0.0.0.0", 1), False, LIFETIME)))
    assert scene.told == [OUTSIDE, None]


def test_ports_that_are_none() -> None:
    assert objection(Grant("UPnP", Address(OUTSIDE.host, 0), False, 60), HOME)
    assert not objection(GRANT, HOME)


def test_what_stands_in_front_of_what() -> None:
    assert is_behind_another(Address("192.168.1.2", 1))
    assert is_behind_another(Address("100.64.0.9", 1))
    assert not is_behind_another(OUTSIDE)
    scene = Scene()
    scene.grant(Grant("UPnP", Address("192.168.1.2", 7400), False, LIFETIME))
    assert "behind another" in describe(scene.keeping, scene.now)
    assert needs_no_router("93.184.216.34")
    assert not needs_no_router("10.0.0.5")


def test_a_clock_that_runs_a_little_slow_has_forgotten_nothing() -> None:
    scene = Scene()
    scene.grant()
    kept = scene.keeping.kept
    assert kept
    assert not has_forgotten(kept, 100 + 0.9 * 600, scene.now + 600)
    assert has_forgotten(kept, 100 + 0.8 * 600, scene.now + 600)
    assert not has_forgotten(kept, None, scene.now + 600)


EVENTS = st.one_of(
    st.just(Due()),
    st.builds(Routed, st.sampled_from([HOME, ELSEWHERE, None]), st.just("no way out")),
    st.builds(Denied, st.integers(0, 9), st.just("no")),
    st.builds(
        Granted,
        st.integers(0, 9),
        st.builds(
            Grant,
            st.just("UPnP"),
            st.builds(Address, st.ip_addresses(v=4).map(str), st.integers(0, 65535)),
            st.booleans(),
            st.floats(0, 2**32),
            st.one_of(st.none(), st.floats(0, 2**32)),
        ),
    ),
    st.builds(
        Looked, st.integers(0, 9), st.ip_addresses(v=4).map(str), st.one_of(st.none(), st.floats(0, 1e9)), st.booleans()
    ),
)


@given(st.lists(st.tuples(EVENTS, st.floats(0, 10_000)), max_size=60))
def test_it_is_never_stuck_and_never_asks_twice_at_once(life: list[tuple[Event, float]]) -> None:
    scene = Scene()
    for event, pause in life:
        scene.now += pause
        before = len(scene.questions)
        scene.feed(event)
        keeping = scene.keeping
        assert len(scene.questions) - before <= 1
        assert (keeping.router is not None) == bool(keeping.asking or keeping.due_at is not None)
        assert not (keeping.asking and keeping.due_at is not None)
        kept = keeping.kept
        if kept is not None:
            assert LEAST_LIFETIME <= kept.ends_at - kept.at <= MOST_LIFETIME + 0.001
            assert not objection(kept.grant, keeping.router)
        assert keeping.told == (None if kept is None else kept.grant.outside)
        assert describe(keeping, scene.now)


@given(st.sampled_from(["grants a second", "says no", "forgets", "moves", "lies"]))
def test_a_day_with_any_router_costs_a_few_hundred_questions_at_most(router: str) -> None:
    scene = Scene()
    end = scene.now + 86400
    turn = 0
    while scene.now < end:
        question = scene.questions[-1] if scene.keeping.asking else scene.until_asked()
        turn += 1
        if router == "says no":
            scene.feed(Denied(question.number, "no"))
        elif isinstance(question, Look):
            moved = f"93.184.216.{turn % 200}" if router == "moves" else OUTSIDE.host
            scene.feed(Looked(question.number, moved, 0.0 if router == "forgets" else None))
        else:
            host = "0.0.0.0" if router == "lies" else f"93.184.216.{turn % 200}" if router == "moves" else OUTSIDE.host
            lifetime = 1.0 if router == "grants a second" else LIFETIME
            scene.feed(Granted(question.number, Grant("UPnP", Address(host, 7400), True, lifetime, 500.0)))
    assert len(scene.questions) <= 86400 / (LEAST_LIFETIME / 2) + 2

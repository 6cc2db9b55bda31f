"""What a link's transitions mean in words."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from springline.transport.link import (
    DeadlineDue,
    DialFailed,
    Established,
    Event,
    LinkState,
    Phase,
    Revoked,
    SessionLost,
    SessionRef,
    SocketUp,
    Unwanted,
    Wanted,
    step,
)
from springline.transport.story import MOST_ENTRIES, Cause, Entry, Next, Story, begun, tell

WALL = 1_000_000.0


def told(event: Event, state: LinkState, now: float = 0.0) -> tuple[LinkState, Entry]:
    after, _ = step(state, event, now, 1.0)
    return after, tell(event, state, after, now, WALL + now)


def test_a_life_in_words() -> None:
    state, entry = told(Wanted(), LinkState())
    assert (entry.before, entry.after, entry.cause, entry.next) == (
        "Disconnected", "Connecting", Cause.ASKED, Next.DIALS,
    )  # fmt: skip
    assert entry.next_at == WALL + 15.0
    state, entry = told(SocketUp(1), state)
    assert (entry.cause, entry.next) == (Cause.REACHED, Next.SHAKES_HANDS)
    state, entry = told(Established(SessionRef(1, 1, True), 1), state)
    assert (entry.cause, entry.next, entry.next_at) == (Cause.REACHED, Next.WATCHES, None)
    state, entry = told(SessionLost(1, "closed by the other side"), state, 5.0)
    assert (entry.cause, entry.evidence, entry.next) == (Cause.LOST, "closed by the other side", Next.RETRIES)
    assert entry.next_at == WALL + 5.1
    state, entry = told(DeadlineDue(), state, 5.1)
    assert entry.cause is Cause.TIME
    state, entry = told(DialFailed(2, "192.0.2.1:7: connection refused"), state, 6.0)
    assert (entry.cause, entry.evidence) == (Cause.UNREACHED, "192.0.2.1:7: connection refused")
    state, entry = told(Established(SessionRef(2, 9, False), None), state, 6.1)
    assert entry.cause is Cause.CALLED
    state, entry = told(Unwanted(), state, 7.0)
    assert (entry.cause, entry.next) == (Cause.UNWANTED, Next.WAITS)
    state, entry = told(Revoked(), state, 7.0)
    assert (entry.after, entry.cause, entry.next) == ("Failed", Cause.TRUST, Next.NOTHING)


def test_where_is_told() -> None:
    state, _ = step(LinkState(), Wanted(), 0.0)
    state, entry = told(SocketUp(1, "192.0.2.1:7"), state)
    assert "192.0.2.1:7" in entry.evidence
    state, entry = told(Established(SessionRef(1, 1, True), 1, "192.0.2.1:7"), state)
    assert entry.evidence == "connected to 192.0.2.1:7"
    state, entry = told(Established(SessionRef(2, 2, False), None, "192.0.2.9"), state)
    assert entry.evidence == "it called from 192.0.2.9, by a newer session"


def test_while_it_is_dialled_again_it_is_known_why() -> None:
    state, _ = step(LinkState(), Wanted(), 0.0)
    for attempt in (1, 2, 3):
        state, _ = step(state, DialFailed(attempt, "a:1: connection refused"), 0.0, 1.0)
        state, _ = step(state, DeadlineDue(), 100.0)
        assert state.reason == f"attempt {attempt + 1}, after a:1: connection refused"


@pytest.mark.parametrize("again", [False, True])
def test_a_story_says_when_it_begins(again: bool) -> None:
    entry = begun(WALL, again=again)
    assert (entry.at, entry.cause) == (WALL, Cause.BEGAN)
    assert ("history" in entry.evidence) == again


def test_a_dial_without_answer_is_no_matter_of_time() -> None:
    state, _ = step(LinkState(), Wanted(), 0.0)
    _, entry = told(DeadlineDue(), state, 15.0)
    assert entry.cause is Cause.UNREACHED


def test_a_week_of_failures_is_a_few_entries() -> None:
    state, story = LinkState(), Story()
    now = 0.0
    events: list[Event] = [Wanted()]
    for attempt in range(1, 500):
        events += [DialFailed(attempt, "192.0.2.1:7: no route to host"), DeadlineDue()]
    for event in events:
        now = max(now, state.deadline or 0.0) if isinstance(event, DeadlineDue) else now
        state, entry = told(event, state, now)
        story = story.add(entry)
    assert state.phase is Phase.CONNECTING
    assert len(story.entries) <= 4
    assert max(entry.count for entry in story.entries) > 400


entries = st.builds(
    Entry, st.floats(0, 9), st.floats(0, 9), st.sampled_from("ab"), st.sampled_from("cd"),
    st.sampled_from(Cause), st.sampled_from("xyz"), st.sampled_from(Next),
)  # fmt: skip


@given(st.lists(entries, max_size=300))
def test_bounded_and_nothing_is_uncounted(given_entries: list[Entry]) -> None:
    story = Story()
    for entry in given_entries:
        story = story.add(entry)
    assert len(story.entries) <= MOST_ENTRIES
    assert sum(entry.count for entry in story.entries) <= len(given_entries)
    if given_entries:
        assert story.entries[-1].repeats(given_entries[-1])
        assert story.entries[-1].at == given_entries[-1].at

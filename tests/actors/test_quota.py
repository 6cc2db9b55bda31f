"""How what is too much is summed up."""

from __future__ import annotations

from math import inf

from hypothesis import given
from hypothesis import strategies as st

from springline.actors.quota import FREE, WINDOW, Quota, Sum
from springline.tests.store.cast import ONE, TWO


def test_the_first_are_written_and_the_rest_is_summed_up_for_each_device_and_kind() -> None:
    quota = Quota()
    assert all(quota.take("connected", ONE, "", 0.0) for _ in range(FREE))
    assert not quota.take("connected", ONE, "a", 1.0)
    assert not quota.take("connected", ONE, "b", 2.0)
    assert quota.take("connected", TWO, "", 3.0)
    assert quota.take("disconnected", ONE, "", 3.0)
    assert quota.due(WINDOW - 1) == ()
    assert quota.due(WINDOW) == (Sum("connected", ONE, 2, "b"),)
    assert quota.take("connected", ONE, "anew", WINDOW)
    assert quota.due(inf) == ()


@given(st.lists(st.tuples(st.sampled_from("ab"), st.sampled_from([None, ONE]), st.floats(0, 500)), max_size=400))
def test_everything_counts_and_little_is_written(events: list[tuple[str, object, float]]) -> None:
    quota, now, sums, written = Quota(), 0.0, list[Sum](), 0
    for kind, device, pause in events:
        now += pause
        sums += quota.due(now)
        written += quota.take(kind, device, "", now)  # type: ignore[arg-type]
    sums += quota.due(inf)
    assert written + sum(one.more for one in sums) == len(events)
    assert written <= 4 * FREE * (1 + now // WINDOW)
    assert quota._counts == {}

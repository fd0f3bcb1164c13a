"""The token bucket: what it lets through, and what it remembers."""

from hypothesis import given
from hypothesis import strategies as st

from webhook.enrollment.rate_limit import RateLimit


@given(
    st.integers(1, 20),
    st.lists(st.tuples(st.sampled_from(["wait", "spend", "refund"]), st.integers(0, 40))),
)
def test_it_behaves_like_a_bucket(burst: int, steps: list[tuple[str, int]]) -> None:
    now = 1000.0
    limit, level = RateLimit(burst, 60, lambda: now), float(burst)
    for action, seconds in steps:
        now += seconds
        level = min(float(burst), level + seconds * burst / 60)
        if action == "spend":
            limit.spend("pod")
            level = max(0.0, level - 1)
        elif action == "refund":
            limit.refund("pod")
            level = min(float(burst), level + 1)
        expected = max(0.0, 1 - level) * 60 / burst
        assert -0.001 <= limit.wait("pod") - expected < 1.001
        assert limit.wait("another") == 0


def test_full_buckets_are_forgotten() -> None:
    now = 0.0
    limit = RateLimit(10, 60, lambda: now)
    for number in range(5000):
        limit.spend(number)
        now += 0.01
    assert len(limit) <= 601, "each charge is paid back after six seconds"
    limit.refund(4999)
    assert limit.wait(4999) == 0 and len(limit) <= 600
    now += 60
    for _ in range(600):
        limit.spend("one")
        now += 6
    assert len(limit) == 1


def test_memory_is_bounded_and_the_last_callers_are_remembered() -> None:
    limit = RateLimit(1, 60, lambda: 0.0)
    for number in range(100_100):
        limit.spend(number)
    assert len(limit) == 100_000
    assert limit.wait(100_099) == 60 and limit.wait(0) == 0

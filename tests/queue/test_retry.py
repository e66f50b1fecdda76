"""Whether and when a job runs again."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobqueue_bridge.retry import Backoff, FailureKind, Retry, after_failure, after_loss

BACKOFF = Backoff(base_s=60, cap_s=3600)


def test_retries_wait_two_four_and_eight_minutes() -> None:
    assert [BACKOFF.wait_s(retry) / 60 for retry in (1, 2, 3)] == [2, 4, 8]


@pytest.mark.parametrize("retry", [6, 30, 100, 10_000])
def test_no_wait_is_longer_than_the_cap(retry: int) -> None:
    assert BACKOFF.wait_s(retry) == 3600


def test_a_base_of_zero_does_not_wait() -> None:
    assert Backoff(0, 3600).wait_s(3) == 0


def test_a_transient_failure_uses_up_one_retry_after_another() -> None:
    assert [after_failure("transient", used, 3, BACKOFF) for used in range(5)] == [
        Retry(1, 120),
        Retry(2, 240),
        Retry(3, 480),
        None,
        None,
    ]


@pytest.mark.parametrize("used", [0, 3])
def test_a_permanent_failure_is_final(used: int) -> None:
    assert after_failure("permanent", used, 3, BACKOFF) is None


@pytest.mark.parametrize(("used", "wait_s"), [(0, 120), (2, 480), (3, 960), (9, 3600)])
def test_a_capacity_failure_waits_and_uses_up_nothing(used: int, wait_s: float) -> None:
    assert after_failure("capacity", used, 3, BACKOFF) == Retry(used, wait_s)


@pytest.mark.parametrize(("used", "expected"), [(0, Retry(1, 0)), (2, Retry(3, 0)), (3, None)])
def test_a_lost_job_starts_again_at_once_until_its_retries_are_used_up(used: int, expected: Retry | None) -> None:
    assert after_loss(used, 3) == expected
    assert after_failure("lost", used, 3, BACKOFF) == expected


@pytest.mark.parametrize("kind", ["transient", "permanent", "lost"])
def test_without_retries_every_failure_but_a_capacity_one_is_final(kind: FailureKind) -> None:
    assert after_failure(kind, 0, 0, BACKOFF) is None


# Whatever the numbers

BACKOFFS = st.builds(Backoff, st.floats(0, 1e6), st.floats(0, 1e9))
COUNTS = st.integers(0, 200)
KINDS: st.SearchStrategy[FailureKind] = st.sampled_from(["transient", "capacity", "permanent", "lost"])


@given(kind=KINDS, used=COUNTS, allowed=COUNTS, backoff=BACKOFFS)
def test_no_failure_ever_uses_more_retries_than_are_allowed(
    kind: FailureKind, used: int, allowed: int, backoff: Backoff
) -> None:
    again = after_failure(kind, used, allowed, backoff)
    if again is None:
        assert kind == "permanent" or (kind != "capacity" and used >= allowed)
    else:
        assert again.retry_count == used + (kind != "capacity")
        assert again.retry_count <= max(allowed, used)
        assert 0 <= again.wait_s <= backoff.cap_s
        assert again.wait_s == 0 or kind != "lost"


@given(kinds=st.lists(KINDS, min_size=1, max_size=60), allowed=st.integers(0, 20), backoff=BACKOFFS)
def test_a_job_ends_after_as_many_retries_as_it_has_and_waits_no_shorter_each_time(
    kinds: list[FailureKind], allowed: int, backoff: Backoff
) -> None:
    used, waits_s = 0, [0.0]
    for kind in kinds:
        again = after_failure(kind, used, allowed, backoff)
        if again is None:
            assert kind == "permanent" or used == allowed
            return
        used = again.retry_count
        if kind == "transient":
            assert again.wait_s >= waits_s[-1]
            waits_s.append(again.wait_s)
    assert used == sum(kind != "capacity" for kind in kinds) <= allowed

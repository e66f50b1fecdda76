"""What drains may admit, when their end comes, and why they are over."""

from dataclasses import replace
from datetime import UTC, datetime, time, timedelta
from uuid import UUID, uuid4
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobqueue_bridge.admission import Admitted, Plan, ReadyJob
from jobqueue_bridge.limits import STUCK_AFTER_S, Drain, Look, may_be_weighed, next_wall_time, share_out, why_over
from jobqueue_bridge.vocabulary import JobType, ResourceCategory


def drain(**values: object) -> Drain:
    return replace(Drain(uuid4(), "`jobs start`", limited=True, over=False), **values)  # type: ignore[arg-type]


def ready(count: int) -> list[ReadyJob]:
    return [ReadyJob(uuid4(), JobType.SCAN, ResourceCategory.CPU, 0, 1.0) for _ in range(count)]


def plan_of(jobs: list[ReadyJob]) -> Plan:
    return Plan(tuple(Admitted(job.id, ()) for job in jobs), ())


def admitted(plan: Plan) -> list[UUID]:
    return [entry.id for entry in plan.admitted]


# Who may be admitted


def test_without_a_drain_nothing_is_held_back() -> None:
    jobs = ready(3)
    assert may_be_weighed(jobs, []) == (jobs, [])
    assert share_out(plan_of(jobs), []) == (plan_of(jobs), {})


def test_a_drain_admits_no_more_than_its_limit_and_says_so() -> None:
    jobs, limited = ready(5), drain(max_jobs=3, counted=1)
    plan, shares = share_out(plan_of(jobs), [limited])
    assert admitted(plan) == [job.id for job in jobs[:2]]
    assert shares == dict.fromkeys(admitted(plan), limited.id)
    assert [entry.id for entry in plan.waiting] == [job.id for job in jobs[2:]]
    assert plan.waiting[0].reason == "`jobs start` admits no more jobs: its limit of 3 is reached"


def test_a_job_that_comes_back_needs_no_room() -> None:
    jobs = ready(3)
    full = drain(max_jobs=1, counted=1, jobs=frozenset({jobs[2].id}))
    weighed, waiting = may_be_weighed(jobs, [full])
    assert weighed == [jobs[2]]
    assert [entry.id for entry in waiting] == [job.id for job in jobs[:2]]
    plan, shares = share_out(plan_of(weighed), [full])
    assert (admitted(plan), shares) == ([jobs[2].id], {jobs[2].id: full.id})


def test_a_job_that_comes_back_leaves_the_room_to_others() -> None:
    jobs = ready(3)
    one_more = drain(max_jobs=2, counted=1, jobs=frozenset({jobs[0].id}))
    plan, _ = share_out(plan_of(jobs), [one_more])
    assert admitted(plan) == [jobs[0].id, jobs[1].id]


def test_a_drain_that_is_over_admits_nothing_not_even_what_comes_back() -> None:
    jobs = ready(2)
    over = drain(over=True, jobs=frozenset({jobs[0].id}))
    weighed, waiting = may_be_weighed(jobs, [over])
    assert weighed == []
    assert waiting[0].reason == "`jobs start` admits no more jobs: it is ending"


def test_each_of_two_drains_counts_its_own_jobs() -> None:
    jobs, first, second = ready(4), drain(max_jobs=1), drain(max_jobs=2)
    plan, shares = share_out(plan_of(jobs), [first, second])
    assert list(shares.values()) == [first.id, second.id, second.id]
    assert len(plan.waiting) == 1


def test_a_drain_that_only_watches_holds_nothing_back_and_counts() -> None:
    jobs, watching = ready(2), drain(limited=False)
    plan, shares = share_out(plan_of(jobs), [watching])
    assert set(shares.values()) == {watching.id}
    assert admitted(plan) == [job.id for job in jobs]


def test_the_end_of_one_that_only_watched_holds_nothing_back() -> None:
    jobs = ready(2)
    over = [drain(limited=False, over=True)]
    assert may_be_weighed(jobs, over) == (jobs, [])
    assert share_out(plan_of(jobs), over) == (plan_of(jobs), {})


DRAINS = st.lists(
    st.builds(
        Drain,
        st.uuids(),
        st.just("d"),
        limited=st.booleans(),
        over=st.booleans(),
        max_jobs=st.none() | st.integers(1, 5),
        counted=st.integers(0, 6),
    ),
    max_size=4,
    unique_by=lambda drain: drain.id,
)


@given(DRAINS, st.integers(0, 12))
def test_no_mix_of_drains_admits_more_than_they_have_room_for(drains: list[Drain], count: int) -> None:
    jobs = ready(count)
    weighed, held = may_be_weighed(jobs, drains)
    plan, shares = share_out(plan_of(weighed), drains)
    for each in drains:
        assert list(shares.values()).count(each.id) <= each.room
    free = not any(each.limited for each in drains)
    room = sum(each.room for each in drains)
    assert len(plan.admitted) == (count if free else min(count, room))
    assert len(plan.admitted) + len(plan.waiting) + len(held) == count


# When it is over


GOING = Look(ready=True, active=1, own_active=1, counted=0, past_end=False, idle_s=0)


@pytest.mark.parametrize(
    ("look", "max_jobs", "timed", "why"),
    [
        (GOING, None, False, None),
        (replace(GOING, ready=False), None, False, None),
        (replace(GOING, active=0, own_active=0), None, False, None),
        (replace(GOING, ready=False, active=0, own_active=0), None, False, "empty"),
        (replace(GOING, ready=False, own_active=0), None, False, None),
        (replace(GOING, ready=False, own_active=0), 5, False, "empty"),
        (replace(GOING, counted=4), 5, False, None),
        (replace(GOING, counted=5), 5, False, "max_files"),
        (replace(GOING, past_end=True), 5, True, "time"),
        (replace(GOING, active=0, own_active=0, idle_s=STUCK_AFTER_S + 1), None, False, "stuck"),
        (replace(GOING, active=0, own_active=0, idle_s=STUCK_AFTER_S + 1), None, True, None),
        (replace(GOING, idle_s=STUCK_AFTER_S + 1), None, False, None),
    ],
)
def test_a_drain_is_over_for_one_reason(look: Look, max_jobs: int | None, timed: bool, why: str | None) -> None:
    assert why_over(look, max_jobs=max_jobs, timed=timed) == why


# The end by the clock on the wall

BERLIN = ZoneInfo("Europe/Berlin")  # forward on 29 March 2026 at 01:00 UTC, back on 25 October at 01:00 UTC


@pytest.mark.parametrize(
    ("now", "wanted", "end"),
    [
        ("2026-07-01 20:00", "05:59", "2026-07-02 03:59"),
        ("2026-07-01 20:00", "23:00", "2026-07-01 21:00"),
        ("2026-07-02 03:59", "05:59", "2026-07-03 03:59"),
        ("2026-01-01 22:59", "00:00", "2026-01-01 23:00"),
        # the night in which 02:00 to 03:00 is missing
        ("2026-03-28 21:00", "05:59", "2026-03-29 03:59"),
        ("2026-03-28 21:00", "02:30", "2026-03-29 01:00"),
        ("2026-03-28 21:00", "02:00", "2026-03-29 01:00"),
        ("2026-03-28 21:00", "03:00", "2026-03-29 01:00"),
        ("2026-03-29 01:00", "02:30", "2026-03-30 00:30"),
        # the night in which 02:00 to 03:00 comes twice
        ("2026-10-24 20:00", "05:59", "2026-10-25 04:59"),
        ("2026-10-24 20:00", "02:30", "2026-10-25 00:30"),
        ("2026-10-25 00:45", "02:30", "2026-10-25 01:30"),
        ("2026-10-25 01:45", "02:30", "2026-10-26 01:30"),
    ],
)
def test_the_end_is_the_next_time_that_the_wall_shows_it(now: str, wanted: str, end: str) -> None:
    found = next_wall_time(time.fromisoformat(wanted), datetime.fromisoformat(now).replace(tzinfo=UTC), BERLIN)
    assert found == datetime.fromisoformat(end).replace(tzinfo=UTC)


def test_a_day_that_a_country_left_out_is_passed_over() -> None:
    found = next_wall_time(time(12), datetime(2011, 12, 29, 23, tzinfo=UTC), ZoneInfo("Pacific/Apia"))
    assert found.astimezone(ZoneInfo("Pacific/Apia")).strftime("%Y-%m-%d %H:%M") == "2011-12-31 00:00"


@given(
    st.integers(0, 10 * 365 * 24 * 60).map(
        lambda minutes: datetime(2020, 1, 1, tzinfo=UTC) + timedelta(minutes=minutes)
    ),
    st.times().map(lambda each: each.replace(second=0, microsecond=0, fold=0)),
    st.sampled_from(["Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Asia/Kolkata", "UTC"]),
)
def test_the_end_comes_within_a_day_and_shows_what_was_asked_for(after: datetime, wanted: time, zone: str) -> None:
    found = next_wall_time(wanted, after, ZoneInfo(zone))
    assert after < found <= after + timedelta(hours=25)
    shown = found.astimezone(ZoneInfo(zone))
    jumped = (found - timedelta(seconds=1)).astimezone(ZoneInfo(zone)).utcoffset() != shown.utcoffset()
    assert shown.time() == wanted or jumped

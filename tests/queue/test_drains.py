"""Drains in the database: what they hold back, what counts for them, how they end and expire."""

from collections.abc import Callable
from uuid import UUID, uuid4

import pytest
import sqlalchemy as sa

from jobqueue_bridge import drains, lease, queue
from jobqueue_bridge.drains import EXPIRES_AFTER_S, Terms
from jobqueue_bridge.settings import Settings
from jobqueue_bridge.tables import drains as drains_table
from jobqueue_bridge.tables import jobs
from media_pipelines.resources.gpu import Gpu
from media_pipelines.sensors.dispatch import admit_ready

Add = Callable[..., UUID]


@pytest.fixture
def open_drain(connection: sa.Connection) -> Callable[..., UUID]:
    def begin(**values: object) -> UUID:
        terms = Terms(uuid4(), "`jobs start`", **{"limited": True, **values})  # type: ignore[arg-type]
        drains.open_drain(connection, terms)
        return terms.id

    return begin


@pytest.fixture
def scans(add_job: Add) -> Callable[[int], list[UUID]]:
    def add(count: int) -> list[UUID]:
        return [add_job("scan", {"path": f"library/videos/{number}.mp4"}) for number in range(count)]

    return add


def dispatched(settings: Settings) -> list[UUID]:
    return [entry.job.id for entry in admit_ready(settings, Gpu())]


def reasons(connection: sa.Connection) -> list[str]:
    found = connection.scalars(sa.select(jobs.c.waiting_reason).where(jobs.c.status == "pending"))
    return [reason for reason in found if reason]


def let_expire(connection: sa.Connection, seconds: float = EXPIRES_AFTER_S) -> None:
    age = sa.func.make_interval(0, 0, 0, 0, 0, 0, seconds + 1)
    connection.execute(sa.update(drains_table).values(heartbeat_at=drains_table.c.heartbeat_at - age))


def run(connection: sa.Connection, job_id: UUID) -> lease.Lease:
    job = queue.get(connection, job_id)
    held = lease.claim(connection, job_id, job.attempt, run_id=str(uuid4()), host="here")
    assert held is not None
    return held


def test_the_dispatcher_admits_as_many_as_a_drain_allows(
    connection: sa.Connection, settings: Settings, open_drain: Add, scans: Callable[[int], list[UUID]]
) -> None:
    wanted, drain_id = scans(4), open_drain(max_jobs=2)

    assert dispatched(settings) == wanted[:2]
    assert dispatched(settings) == []

    assert reasons(connection) == ["`jobs start` admits no more jobs: its limit of 2 is reached"] * 2
    state = drains.beat(connection, drain_id)
    assert state is not None
    assert (state.counted, state.own_active, state.ready, state.waiting) == (2, 2, True, 2)


def test_a_job_that_comes_back_is_admitted_and_counts_once(
    connection: sa.Connection, settings: Settings, open_drain: Add, scans: Callable[[int], list[UUID]]
) -> None:
    (first, _), drain_id = scans(2), open_drain(max_jobs=1)
    assert dispatched(settings) == [first]
    lease.release(connection, run(connection, first), "the run was told to stop")

    assert dispatched(settings) == [first]

    state = drains.beat(connection, drain_id)
    assert state is not None
    assert state.counted == 1


def test_after_its_end_a_drain_admits_nothing(
    connection: sa.Connection, settings: Settings, open_drain: Add, scans: Callable[[int], list[UUID]]
) -> None:
    scans(1)
    drain_id = open_drain()
    drains.end_within(connection, drain_id, 0)

    assert dispatched(settings) == []
    state = drains.beat(connection, drain_id)
    assert state is not None
    assert state.past_end


def test_the_earlier_of_two_ends_counts(connection: sa.Connection, open_drain: Add) -> None:
    drain_id = open_drain(ends_in_s=0)
    drains.end_within(connection, drain_id, 3600)
    state = drains.beat(connection, drain_id)
    assert state is not None
    assert state.past_end


@pytest.mark.parametrize(("hand_back", "status"), [(True, "pending"), (False, "queued")])
def test_a_closed_drain_hands_back_what_has_not_begun(
    connection: sa.Connection,
    settings: Settings,
    open_drain: Add,
    scans: Callable[[int], list[UUID]],
    hand_back: bool,
    status: str,
) -> None:
    wanted, drain_id = scans(2), open_drain(max_jobs=2)
    assert dispatched(settings) == wanted
    run(connection, wanted[0])

    drains.close(connection, drain_id, hand_back=hand_back)

    assert [queue.get(connection, job_id).status for job_id in wanted] == ["running", status]
    assert queue.get(connection, wanted[1]).retry_count == 0
    assert dispatched(settings) == []


def test_nothing_is_held_back_once_a_drain_is_removed(
    connection: sa.Connection, settings: Settings, open_drain: Add, scans: Callable[[int], list[UUID]]
) -> None:
    wanted, drain_id = scans(1), open_drain()
    drains.close(connection, drain_id, hand_back=True)
    assert dispatched(settings) == []
    drains.remove(connection, drain_id)
    assert dispatched(settings) == wanted


def test_a_drain_whose_process_was_killed_blocks_nobody(
    connection: sa.Connection, settings: Settings, open_drain: Add, scans: Callable[[int], list[UUID]]
) -> None:
    wanted = scans(1)
    open_drain(ends_in_s=0)
    assert dispatched(settings) == []
    let_expire(connection)
    assert dispatched(settings) == wanted


def test_what_a_killed_drain_left_is_forgotten_after_a_day(connection: sa.Connection, open_drain: Add) -> None:
    open_drain()
    let_expire(connection, drains.FORGOTTEN_AFTER_S)
    kept = open_drain()
    assert connection.scalars(sa.select(drains_table.c.id)).all() == [kept]


def test_a_platform_that_starts_again_forgets_its_own_drains(connection: sa.Connection, open_drain: Add) -> None:
    open_drain(platform="here:/home")
    kept = open_drain(platform="there:/home")
    drains.remove_of(connection, "here:/home")
    assert connection.scalars(sa.select(drains_table.c.id)).all() == [kept]


def test_on_shutdown_no_drain_admits_anything_and_nothing_begins(
    connection: sa.Connection, settings: Settings, open_drain: Add, scans: Callable[[int], list[UUID]]
) -> None:
    wanted = scans(3)
    assert dispatched(settings) == wanted
    run(connection, wanted[0])
    open_drain()
    open_drain(limited=False)

    drains.close_all(connection)

    assert [queue.get(connection, job_id).status for job_id in wanted] == ["running", "pending", "pending"]
    assert dispatched(settings) == []


def test_a_drain_that_only_watches_counts_what_runs_already(
    connection: sa.Connection, settings: Settings, open_drain: Add, scans: Callable[[int], list[UUID]]
) -> None:
    wanted = scans(1)
    assert dispatched(settings) == wanted
    drain_id = open_drain(limited=False)
    ((number, job_id),) = drains.newer(connection, drain_id, 0)
    assert job_id == wanted[0]
    assert drains.newer(connection, drain_id, number) == []


def test_jobs_that_another_drain_has_begun_are_not_counted_twice(
    connection: sa.Connection, settings: Settings, open_drain: Add, scans: Callable[[int], list[UUID]]
) -> None:
    scans(1)
    open_drain()
    dispatched(settings)
    assert drains.newer(connection, open_drain(limited=False), 0) == []


def test_a_row_that_can_never_run_is_told_as_failed_and_takes_no_room(
    connection: sa.Connection, settings: Settings, open_drain: Add, scans: Callable[[int], list[UUID]]
) -> None:
    drain_id = open_drain(max_jobs=1)
    connection.execute(sa.insert(jobs).values(type="scan", params={"typo": 1}, resource_category="cpu"))
    wanted = scans(1)

    assert dispatched(settings) == wanted

    ends = drains.ends(connection, drain_id)
    assert (ends.failed, ends.unfinished) == (1, 1)
    assert "typo" in (ends.errors[0].error or "")


def test_the_ends_of_its_jobs_are_counted_by_kind(
    connection: sa.Connection, settings: Settings, open_drain: Add, scans: Callable[[int], list[UUID]]
) -> None:
    wanted, drain_id = scans(4), open_drain()
    assert dispatched(settings) == wanted
    values = [{"status": "completed"}, {"status": "cancelled"}, {"status": "pending", "error": "once more"}, {}]
    for job_id, change in zip(wanted, values, strict=True):
        if change:
            connection.execute(sa.update(jobs).where(jobs.c.id == job_id).values(**change))

    ends = drains.ends(connection, drain_id)

    assert (ends.completed, ends.failed, ends.cancelled, ends.retrying, ends.unfinished) == (1, 0, 1, 1, 1)
    assert [job.error for job in ends.errors] == ["once more"]


def test_jobs_of_a_drain_may_use_as_many_cores_as_it_allows(
    connection: sa.Connection, settings: Settings, open_drain: Add, scans: Callable[[int], list[UUID]]
) -> None:
    (wanted,) = scans(1)
    open_drain(cpu_cores=3)
    assert drains.cores_for(connection, wanted) is None
    dispatched(settings)
    assert drains.cores_for(connection, wanted) == 3


def test_what_waits_is_told_apart(
    connection: sa.Connection, settings: Settings, open_drain: Add, add_job: Add, scans: Callable[[int], list[UUID]]
) -> None:
    drain_id = open_drain()
    later = sa.func.timezone("utc", sa.func.now()) + sa.func.make_interval(0, 0, 0, 0, 1)
    add_job("compile_random", retry_after=later)
    add_job("public_scan", status="paused")

    state = drains.beat(connection, drain_id)

    assert state is not None
    assert (state.ready, state.active, state.waiting, state.retrying, state.paused) == (False, 0, 1, 1, 1)
    assert state.next_retry_at is not None


def test_a_beat_tells_that_a_drain_is_gone(connection: sa.Connection) -> None:
    assert drains.beat(connection, uuid4()) is None

"""Jobs that wait for another: held until it has completed, told why where it has not, never left hanging."""

import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import psycopg
import pytest
import sqlalchemy as sa

from jobqueue_bridge import (
    archive,
    condition,
    dispatching,
    drains,
    lease,
    lifecycle,
    listing,
    logs,
    metrics,
    queue,
    retention,
    stats,
)
from jobqueue_bridge.database import listen
from jobqueue_bridge.drains import Terms
from jobqueue_bridge.errors import FieldProblem, InvalidJob, ParentLost
from jobqueue_bridge.lifecycle import Action
from jobqueue_bridge.limits import Look, why_over
from jobqueue_bridge.queue import NewJob
from jobqueue_bridge.retry import Backoff
from jobqueue_bridge.settings import Settings
from jobqueue_bridge.tables import jobs
from jobqueue_bridge.vocabulary import LIVE, JobStatus, JobType, Origin
from media_pipelines.resources.gpu import Gpu
from media_pipelines.sensors.dispatch import admit_ready
from tests.queue.conftest import MakeJob

Row = Callable[[UUID], Any]
BACKOFF = Backoff(60, 3600)


def name(job_id: UUID, kind: str = "scan") -> str:
    return f"{kind} {str(job_id)[:8]}"


def waits_for(job_id: UUID, kind: str = "scan") -> str:
    return f"waits for its parent: {name(job_id, kind)}"


def set_status(connection: sa.Connection, job_id: UUID, status: str, **values: Any) -> None:
    """As another program does it."""
    connection.execute(sa.update(jobs).where(jobs.c.id == job_id).values(status=status, **values))


def ready(connection: sa.Connection) -> set[UUID]:
    return {job.id for job in dispatching.ready(connection)}


@pytest.fixture
def family(make_job: MakeJob) -> tuple[UUID, UUID, UUID]:
    """A job, its child and its grandchild."""
    parent = make_job()
    child = make_job(parent_id=parent)
    return parent, child, make_job(parent_id=child)


# Waiting


def test_a_child_waits_and_says_for_what(connection: sa.Connection, family: tuple[UUID, UUID, UUID], row: Row) -> None:
    parent, child, grandchild = family
    assert ready(connection) == {parent}
    assert (row(child).held, row(child).waiting_reason) == (True, waits_for(parent))
    assert (row(grandchild).held, row(grandchild).waiting_reason) == (True, waits_for(child))
    assert dispatching.position(connection, queue.get(connection, child)) is None
    assert dispatching.position(connection, queue.get(connection, parent)) == 1


@pytest.mark.parametrize("status", ["queued", "running", "paused"])
def test_it_waits_for_any_parent_that_lives(connection: sa.Connection, make_job: MakeJob, status: str) -> None:
    parent = make_job(status=JobStatus(status))
    assert queue.get(connection, make_job(parent_id=parent)).held


def test_with_a_parent_that_has_completed_it_is_ready_at_once(connection: sa.Connection, make_job: MakeJob) -> None:
    child = make_job(parent_id=make_job(status=JobStatus.COMPLETED))
    assert ready(connection) == {child}


def test_it_is_lifted_with_its_parents_completion_and_the_dispatcher_wakes(
    connection: sa.Connection, settings: Settings, make_job: MakeJob, start: Callable[..., lease.Lease], row: Row
) -> None:
    parent = make_job()
    child, grandchild = make_job(parent_id=parent), make_job(parent_id=parent)
    later = make_job(parent_id=child)
    held = start(parent)
    with listen(settings) as heard:
        lease.complete(connection, held, {})
        assert next(heard.notifies(timeout=5)).channel == "jobs_changed"
    assert ready(connection) == {child, grandchild}
    assert (row(child).held, row(child).held_by_parent, row(child).waiting_reason) == (False, False, None)
    assert row(later).waiting_reason == waits_for(child)


def test_what_is_undone_lifts_nothing(database: sa.Engine, connection: sa.Connection, make_job: MakeJob) -> None:
    parent = make_job()
    child = make_job(parent_id=parent)
    with database.connect() as other:
        set_status(other, parent, "completed")
        assert not queue.get(other, child).held
        other.rollback()
    assert queue.get(connection, child).held


def test_the_dispatcher_admits_a_chain_one_after_the_other(
    connection: sa.Connection, settings: Settings, add_job: Callable[..., UUID]
) -> None:
    first = add_job("scan")
    second = queue.enqueue(connection, NewJob("compile_random", {}, parent_id=first), settings)
    assert (second.held, second.waiting_reason) == (True, waits_for(first))
    assert [entry.job.id for entry in admit_ready(settings, Gpu())] == [first]
    assert admit_ready(settings, Gpu()) == []
    assert queue.get(connection, second.id).waiting_reason == waits_for(first)
    set_status(connection, first, "completed")
    assert [entry.job.id for entry in admit_ready(settings, Gpu())] == [second.id]


def test_nobody_admits_what_is_held(
    connection: sa.Connection, family: tuple[UUID, UUID, UUID], admit: Callable[..., queue.Job]
) -> None:
    with pytest.raises(AssertionError):
        admit(family[1])
    assert queue.get(connection, family[1]).status == JobStatus.PENDING


# Whoever inserts a held row lifts it himself


def test_a_row_that_somebody_holds_himself_waits_until_he_lifts_it(
    connection: sa.Connection, settings: Settings, make_job: MakeJob, row: Row
) -> None:
    held = make_job(held=True, waiting_reason="waits for its run")
    assert ready(connection) == set()
    with listen(settings) as heard:
        connection.execute(sa.update(jobs).where(jobs.c.id == held).values(held=False))
        assert next(heard.notifies(timeout=5)).channel == "jobs_changed"
    assert ready(connection) == {held}
    assert row(held).waiting_reason is None


def test_a_parent_does_not_lift_what_somebody_else_holds(
    connection: sa.Connection, make_job: MakeJob, row: Row
) -> None:
    parent = make_job()
    child = make_job(parent_id=parent, held=True, waiting_reason="waits for its run")
    assert (row(child).held_by_parent, row(child).waiting_reason) == (False, "waits for its run")
    set_status(connection, parent, "completed")
    assert row(child).held
    connection.execute(sa.update(jobs).where(jobs.c.id == child).values(held=False))
    assert ready(connection) == {child}


def test_who_lifts_it_before_its_parent_has_completed_leaves_it_to_the_parent(
    connection: sa.Connection, make_job: MakeJob, row: Row
) -> None:
    parent = make_job()
    child = make_job(parent_id=parent, held=True)
    connection.execute(sa.update(jobs).where(jobs.c.id == child).values(held=False))
    assert (row(child).held, row(child).waiting_reason) == (True, waits_for(parent))
    set_status(connection, parent, "completed")
    assert ready(connection) == {child}


@pytest.mark.parametrize("status", [status for status in JobStatus if status not in ("pending", "paused")])
def test_nothing_but_what_waits_is_held(
    connection: sa.Connection, make_job: MakeJob, row: Row, status: JobStatus
) -> None:
    born = make_job(status=status, held=True)
    moved, child = make_job(held=True), make_job(parent_id=make_job())
    for job_id in (moved, child):
        set_status(connection, job_id, status.value)
    assert [(row(each).held, row(each).held_by_parent) for each in (born, moved, child)] == [(False, False)] * 3


# Parents that end otherwise


@pytest.mark.parametrize(
    ("status", "error", "fate"),
    [
        ("failed", "ffmpeg ended with 1\nand said more", "failed: ffmpeg ended with 1"),
        ("failed", "x" * 500, f"failed: {'x' * 200}"),
        ("failed", None, "failed"),
        ("failed", "", "failed"),
        ("cancelled", "an older error", "was cancelled"),
    ],
)
def test_children_and_grandchildren_of_a_failed_job_wait_and_say_so(
    connection: sa.Connection, family: tuple[UUID, UUID, UUID], row: Row, status: str, error: str | None, fate: str
) -> None:
    parent, child, grandchild = family
    set_status(connection, parent, status, error=error)
    assert [row(each).status for each in (child, grandchild)] == ["pending"] * 2
    assert row(child).waiting_reason == f"its parent {name(parent)} {fate}; retry it, or cancel this"
    assert row(grandchild).waiting_reason == (
        f"{name(parent)}, for which its parent waits, {fate}; retry it, or cancel this"
    )
    assert ready(connection) == set()


def test_a_child_that_comes_later_is_told_the_same(
    connection: sa.Connection, make_job: MakeJob, family: tuple[UUID, UUID, UUID], row: Row
) -> None:
    parent, child, grandchild = family
    set_status(connection, parent, "failed", error="broken")
    late, later = make_job(parent_id=parent), make_job(parent_id=child)
    assert row(late).waiting_reason == row(child).waiting_reason
    assert row(later).waiting_reason == row(grandchild).waiting_reason


def test_with_the_parents_retry_the_reason_goes_back_and_with_its_completion_they_run(
    connection: sa.Connection, family: tuple[UUID, UUID, UUID], row: Row
) -> None:
    parent, child, grandchild = family
    set_status(connection, parent, "failed", error="broken")
    lifecycle.retry(connection, parent)
    assert [row(child).waiting_reason, row(grandchild).waiting_reason] == [waits_for(parent), waits_for(child)]
    set_status(connection, parent, "completed")
    assert ready(connection) == {child}


def test_an_attempt_that_fails_and_is_made_again_changes_nothing_for_children(
    connection: sa.Connection, make_job: MakeJob, start: Callable[..., lease.Lease], row: Row
) -> None:
    parent = make_job()
    child = make_job(parent_id=parent)
    held = start(parent)
    assert lease.fail(connection, held, "for now", "transient", BACKOFF) is not None
    assert row(child).waiting_reason == waits_for(parent)


def test_in_the_middle_of_a_chain_each_names_what_it_really_waits_for(
    connection: sa.Connection, make_job: MakeJob, family: tuple[UUID, UUID, UUID], row: Row
) -> None:
    parent, child, grandchild = family
    set_status(connection, child, "cancelled")
    assert row(grandchild).waiting_reason == f"its parent {name(child)} was cancelled; retry it, or cancel this"
    set_status(connection, parent, "failed")
    assert "cancelled" in row(grandchild).waiting_reason
    lifecycle.retry(connection, child)
    assert row(child).waiting_reason == f"its parent {name(parent)} failed; retry it, or cancel this"
    assert row(grandchild).waiting_reason.startswith(f"{name(parent)}, for which its parent waits, failed")
    set_status(connection, parent, "completed")  # as another program may say
    assert ready(connection) == {child}
    assert row(grandchild).waiting_reason == waits_for(child)


def test_a_long_chain_hears_of_the_end_of_its_first(connection: sa.Connection, make_job: MakeJob, row: Row) -> None:
    chain = [make_job()]
    for _ in range(400):
        chain.append(make_job(parent_id=chain[-1]))
    set_status(connection, chain[0], "failed")
    assert row(chain[-1]).waiting_reason.startswith(f"{name(chain[0])}, for which its parent waits, failed")
    lifecycle.retry(connection, chain[0])
    assert row(chain[-1]).waiting_reason == waits_for(chain[-2])


def test_a_paused_child_waits_on_when_it_is_resumed(
    connection: sa.Connection, family: tuple[UUID, UUID, UUID], row: Row
) -> None:
    parent, child, grandchild = family
    for job_id in (child, grandchild):
        lifecycle.pause(connection, job_id)
        assert (row(job_id).waiting_reason, row(job_id).held) == (None, True)
    set_status(connection, parent, "failed", error="broken")
    assert lifecycle.resume(connection, grandchild).waiting_reason == (
        f"{name(parent)}, for which its parent waits, failed: broken; retry it, or cancel this"
    )
    lifecycle.retry(connection, parent)
    set_status(connection, parent, "completed")
    assert (row(child).held, ready(connection)) == (False, set()), "paused still"
    lifecycle.resume(connection, child)
    assert ready(connection) == {child}


# Coming back


def test_a_child_that_is_retried_waits_again_and_by_force_it_does_not(
    connection: sa.Connection, family: tuple[UUID, UUID, UUID], row: Row
) -> None:
    parent, child, _ = family
    set_status(connection, parent, "failed", error="broken")
    lifecycle.cancel(connection, child)
    again = lifecycle.retry(connection, child)
    assert (again.held, again.waiting_reason) == (True, row(child).waiting_reason)
    assert "broken" in str(again.waiting_reason)
    lifecycle.cancel(connection, child)
    assert not lifecycle.retry(connection, child, force=True).held
    assert ready(connection) == {child}
    assert "By force it runs without its parent" in logs.text(connection, child)
    lifecycle.retry(connection, parent)
    assert not row(child).held, "once forced, it is not taken back"


def test_force_does_not_overtake_a_parent_that_may_still_complete(
    connection: sa.Connection, family: tuple[UUID, UUID, UUID]
) -> None:
    _, child, _ = family
    lifecycle.cancel(connection, child)
    assert lifecycle.retry(connection, child, force=True).held


def test_all_of_a_chain_that_are_retried_at_once_run_in_their_order(
    database: sa.Engine, connection: sa.Connection, family: tuple[UUID, UUID, UUID]
) -> None:
    for job_id in family:
        set_status(connection, job_id, "failed")
    applied = list(lifecycle.apply_to_all(database, Action.RETRY, queue.Filters(), force=True))
    assert [one.refusal for one in applied] == [None] * 3
    assert ready(connection) == {family[0]}


def test_a_job_that_was_handed_back_is_not_held_again(
    connection: sa.Connection, make_job: MakeJob, start: Callable[..., lease.Lease]
) -> None:
    parent = make_job(status=JobStatus.FAILED)
    child = make_job(status=JobStatus.CANCELLED, parent_id=parent)
    lifecycle.retry(connection, child, force=True)
    lease.release(connection, start(child), "the run was told to stop")
    assert ready(connection) == {child}


# Parents that are not there


def archived_parent(database: sa.Engine, make_job: MakeJob, status: JobStatus) -> UUID:
    parent = make_job(status=status)
    assert sum(retention.archive_finished(database)) == 1
    return parent


def test_an_archived_parent_that_had_completed_is_as_good_as_any(
    database: sa.Engine, connection: sa.Connection, settings: Settings, make_job: MakeJob
) -> None:
    parent = archived_parent(database, make_job, JobStatus.COMPLETED)
    asked = queue.enqueue(connection, NewJob("scan", {}, parent_id=parent), settings)
    inserted = make_job(parent_id=parent)
    assert ready(connection) == {asked.id, inserted}


@pytest.mark.parametrize("status", [JobStatus.FAILED, JobStatus.CANCELLED])
def test_who_asks_for_a_job_after_one_that_will_never_complete_is_refused(
    database: sa.Engine, connection: sa.Connection, settings: Settings, make_job: MakeJob, status: JobStatus
) -> None:
    parent, unknown = archived_parent(database, make_job, status), uuid4()
    for job_id, problem in (
        (parent, f"job {parent} is {status} and in the archive, where it stays so"),
        (unknown, f"there is no job {unknown}"),
    ):
        with pytest.raises(InvalidJob) as refused:
            queue.enqueue(connection, NewJob("scan", {}, parent_id=job_id), settings)
        assert refused.value.problems == (FieldProblem("parentId", problem),)
    assert queue.count(connection, queue.Filters()) == 0


def test_a_row_whose_parent_is_nowhere_fails_at_once_and_says_why(
    database: sa.Engine, connection: sa.Connection, make_job: MakeJob, row: Row
) -> None:
    for parent in (uuid4(), archived_parent(database, make_job, JobStatus.FAILED)):
        child = row(make_job(parent_id=parent))
        assert (child.status, child.held, child.waiting_reason) == ("failed", False, None)
        assert child.error == f"parentId: there is no job {parent} that could still complete"
        assert child.completed_at is not None
    assert stats.read(connection).by_status[JobStatus.FAILED] == 2


def test_a_history_that_names_parents_that_are_gone_may_still_be_written(make_job: MakeJob, row: Row) -> None:
    for status in (JobStatus.COMPLETED, JobStatus.CANCELLED, JobStatus.RUNNING):
        assert row(make_job(status=status, parent_id=uuid4())).status == status


@pytest.mark.parametrize("status", [status.value for status in JobStatus if status != JobStatus.COMPLETED])
def test_the_children_of_a_deleted_job_are_cancelled_and_say_why(
    connection: sa.Connection, make_job: MakeJob, row: Row, status: str
) -> None:
    parent = make_job(status=JobStatus(status))
    child, paused = make_job(parent_id=parent), make_job(parent_id=parent, status=JobStatus.PAUSED)
    grandchild, other = make_job(parent_id=child), make_job()
    connection.execute(sa.delete(jobs).where(jobs.c.id == parent))
    for job_id in (child, paused):
        assert row(job_id).status == "cancelled"
        assert row(job_id).error == f"its parent {name(parent)} was deleted before it had completed"
        assert f"Cancelled: {row(job_id).error}" in logs.text(connection, job_id)
    assert row(grandchild).waiting_reason == f"its parent {name(child)} was cancelled; retry it, or cancel this"
    assert ready(connection) == {other}


def test_the_children_of_a_completed_job_outlive_it(connection: sa.Connection, make_job: MakeJob) -> None:
    parent = make_job(status=JobStatus.COMPLETED)
    child = make_job(parent_id=parent)
    connection.execute(sa.delete(jobs).where(jobs.c.id == parent))
    assert ready(connection) == {child}


def test_a_job_without_its_parent_is_retried_by_force_alone(
    connection: sa.Connection, make_job: MakeJob, row: Row
) -> None:
    parent = make_job()
    child = make_job(parent_id=parent)
    connection.execute(sa.delete(jobs).where(jobs.c.id == parent))
    with pytest.raises(ParentLost, match=f"there is no job {parent}: only by force"):
        lifecycle.retry(connection, child)
    set_status(connection, child, "pending")  # by another program
    assert row(child).waiting_reason == f"its parent {str(parent)[:8]} is gone; cancel this"
    lifecycle.cancel(connection, child)
    lifecycle.retry(connection, child, force=True)
    assert ready(connection) == {child}


def test_a_failed_parent_stays_in_the_queue_as_long_as_children_wait_for_it(
    database: sa.Engine, connection: sa.Connection, make_job: MakeJob
) -> None:
    parent = make_job(status=JobStatus.FAILED)
    child = make_job(parent_id=parent)
    assert sum(retention.archive_finished(database)) == 0
    lifecycle.cancel(connection, child)
    assert sum(retention.archive_finished(database)) == 2
    assert not archive.get(connection, child).job.held


# Whose child a job is


def test_no_job_waits_for_itself(
    connection: sa.Connection, make_job: MakeJob, family: tuple[UUID, UUID, UUID], row: Row
) -> None:
    own = uuid4()
    assert row(make_job(id=own, parent_id=own)).error == "parentId: a job cannot wait for itself"
    parent, child, grandchild = family
    for bottom in family:
        with pytest.raises(sa.exc.IntegrityError, match="would wait for itself"):
            connection.execute(sa.update(jobs).where(jobs.c.id == parent).values(parent_id=bottom))
    assert [row(each).parent_id for each in family] == [None, parent, child]
    assert grandchild


def test_a_job_may_get_another_parent_or_lose_it(
    connection: sa.Connection, make_job: MakeJob, family: tuple[UUID, UUID, UUID], row: Row
) -> None:
    parent, child, _ = family
    other, done = make_job(), make_job(status=JobStatus.COMPLETED)

    def adopt(job_id: UUID | None) -> tuple[bool, str | None]:
        connection.execute(sa.update(jobs).where(jobs.c.id == child).values(parent_id=job_id))
        return row(child).held, row(child).waiting_reason

    assert adopt(other) == (True, waits_for(other))
    set_status(connection, parent, "completed")
    assert row(child).held
    assert adopt(None) == (False, None)
    assert adopt(other) == (True, waits_for(other))
    assert adopt(done) == (False, None)
    with pytest.raises(sa.exc.IntegrityError, match="There is no job"):
        adopt(uuid4())


def test_two_that_would_close_a_circle_at_the_same_time_do_not(
    database: sa.Engine, connection: sa.Connection, make_job: MakeJob, row: Row
) -> None:
    one, two = make_job(), make_job()
    with database.connect() as first, database.connect() as second, ThreadPoolExecutor() as pool:
        first.execute(sa.update(jobs).where(jobs.c.id == one).values(parent_id=two))
        late = pool.submit(second.execute, sa.update(jobs).where(jobs.c.id == two).values(parent_id=one))
        assert blocked(late)
        first.commit()
        with pytest.raises(sa.exc.IntegrityError, match="would wait for itself"):
            late.result(10)
    assert (row(one).parent_id, row(two).parent_id) == (two, None)


# At the same time


def blocked(future: "Future[Any]") -> bool:
    time.sleep(0.3)
    return not future.done()


@pytest.mark.parametrize("end", ["completed", "failed"])
def test_a_child_that_comes_while_its_parent_ends_hears_of_it(
    database: sa.Engine, connection: sa.Connection, make_job: MakeJob, row: Row, end: str
) -> None:
    """Whichever of the two is first: the second waits for it."""
    inserted = sa.insert(jobs).values(type="scan", params={}, resource_category="cpu").returning(jobs.c.id)
    parents = [make_job(), make_job()]
    with database.connect() as one, database.connect() as other, ThreadPoolExecutor() as pool:
        before = one.execute(inserted.values(parent_id=parents[0])).scalar_one()
        ending = pool.submit(set_status, other, parents[0], end)
        assert blocked(ending)
        one.commit()
        ending.result(10)
        other.commit()

        set_status(one, parents[1], end)
        coming = pool.submit(other.execute, inserted.values(parent_id=parents[1]))
        assert blocked(coming)
        one.commit()
        after = coming.result(10).scalar_one()
        other.commit()
    for child, parent in zip((before, after), parents, strict=True):
        if end == "completed":
            assert not row(child).held
        else:
            assert row(child).waiting_reason == f"its parent {name(parent)} failed; retry it, or cancel this"


def test_a_child_that_is_retried_while_its_parent_completes_is_not_left_behind(
    database: sa.Engine, connection: sa.Connection, make_job: MakeJob
) -> None:
    parent = make_job()
    child = make_job(status=JobStatus.CANCELLED, parent_id=parent)
    with database.connect() as one, database.connect() as other, ThreadPoolExecutor() as pool:
        assert lifecycle.retry(one, child).held
        ending = pool.submit(set_status, other, parent, "completed")
        assert blocked(ending)
        one.commit()
        ending.result(10)
        other.commit()
    assert ready(connection) == {child}


@pytest.mark.parametrize("ask", [lifecycle.pause, lifecycle.cancel])
def test_what_is_asked_of_a_child_and_the_end_of_its_parent_wait_for_each_other_in_one_order(
    database: sa.Engine, connection: sa.Connection, make_job: MakeJob, row: Row, ask: Any
) -> None:
    parent = make_job()
    child = make_job(parent_id=parent)
    with database.connect() as one, database.connect() as other, ThreadPoolExecutor() as pool:
        ask(one, child)
        ending = pool.submit(set_status, other, parent, "completed")
        assert blocked(ending)
        one.commit()
        ending.result(10)
        other.commit()
    assert not row(child).held


def test_of_many_that_come_and_end_at_once_none_is_held_for_ever(
    database: sa.Engine, connection: sa.Connection, make_job: MakeJob, at_once: Callable[..., list[Any]]
) -> None:
    parents = [make_job() for _ in range(30)]

    def act(worker: int) -> None:
        for parent in parents if worker % 2 else reversed(parents):
            with database.begin() as mine:
                if worker < 2:
                    set_status(mine, parent, "completed")
                else:
                    mine.execute(
                        sa.insert(jobs).values(type="scan", params={}, resource_category="cpu", parent_id=parent)
                    )

    at_once(8, act)
    left = sa.select(sa.func.count()).where(jobs.c.held)
    assert connection.scalar(left) == 0
    assert connection.scalar(sa.select(sa.func.count()).where(jobs.c.parent_id.is_not(None))) == 6 * 30


def test_many_that_are_cancelled_while_their_parents_end_block_nobody_for_ever(
    database: sa.Engine, connection: sa.Connection, make_job: MakeJob
) -> None:
    """All that moves many jobs takes the eldest first, and so does a parent with its children."""
    for _ in range(15):
        parents = [make_job() for _ in range(5)]
        children = [make_job(parent_id=parent) for parent in parents for _ in range(4)]
        together = threading.Barrier(2)

        def end(parents: list[UUID] = parents, together: threading.Barrier = together) -> None:
            together.wait()
            for parent in parents:
                with database.begin() as mine:
                    set_status(mine, parent, "failed")

        def cancel(wanted: list[UUID], together: threading.Barrier = together) -> None:
            together.wait()
            with database.begin() as mine:
                lifecycle.apply(mine, Action.CANCEL, wanted)

        with ThreadPoolExecutor() as pool:
            for done in (pool.submit(end), pool.submit(cancel, [*children[::-1], *parents])):
                done.result(20)


# What else looks at the queue


def test_a_held_job_is_no_ready_one_for_anybody(
    connection: sa.Connection, settings: Settings, make_job: MakeJob
) -> None:
    parent = make_job(status=JobStatus.RUNNING)
    past = datetime.now(UTC).replace(tzinfo=None) - timedelta(days=2)
    make_job(parent_id=parent, created_at=past)
    make_job(held=True, created_at=past, retry_after=datetime.now(UTC) + timedelta(hours=1))
    assert condition.waiting(connection).oldest_ready_s is None
    assert stats.waits(connection).oldest_s is None
    assert metrics.look(connection, settings, {}).ready == {}
    assert dispatching.seconds_to_next_retry(connection) is None
    assert stats.read(connection).by_status[JobStatus.PENDING] == 2


def test_a_drain_ends_when_only_children_of_failed_jobs_are_left(
    connection: sa.Connection, family: tuple[UUID, UUID, UUID]
) -> None:
    terms = Terms(uuid4(), "`jobs start`", limited=True)
    drains.open_drain(connection, terms)

    def look() -> str | None:
        state = drains.beat(connection, terms.id)
        assert state is not None
        seen = Look(state.ready, state.active, state.own_active, state.counted, state.past_end, idle_s=0)
        return why_over(seen, max_jobs=None, timed=False)

    parent = family[0]
    assert look() is None
    set_status(connection, parent, "running")
    assert look() is None, "its child may still have its turn"
    set_status(connection, parent, "failed")
    assert look() == "empty"
    state = drains.beat(connection, terms.id)
    assert state is not None
    assert (state.waiting, state.held) == (2, 2)


def test_children_are_found_by_their_parent(connection: sa.Connection, make_job: MakeJob) -> None:
    parent = make_job()
    children = [make_job(parent_id=parent) for _ in range(3)]
    assert [job.id for job in queue.children(connection, parent, limit=2)] == children[:2]
    found = listing.page(connection, listing.Wanted(parent_id=parent), listing.Order.OLDEST, limit=2)
    assert ([job.id for job in found.jobs], found.total, found.is_exact) == (children[:2], 3, True)


# Chains


def chain_of(video: UUID, *kinds: str) -> list[NewJob]:
    return [NewJob(kind, {"videoId": str(video)}, priority=7, origin=Origin.CHAIN) for kind in kinds]


@pytest.fixture
def library_of(connection: sa.Connection, add_video: Callable[..., UUID]) -> Callable[[int], list[UUID]]:
    return lambda count: [add_video(f"library/videos/{number}.mp4") for number in range(count)]


def test_each_job_of_a_chain_is_the_child_of_the_one_before(
    connection: sa.Connection, settings: Settings, library_of: Callable[[int], list[UUID]]
) -> None:
    kinds = ("validate", "thumbnail_generate", "reencode_streaming")
    library = library_of(3)
    assert queue.enqueue_chains(connection, [chain_of(video, *kinds) for video in library], settings) == 9
    for video in library:
        made = listing.page(connection, listing.Wanted(video_id=video), listing.Order.OLDEST, limit=10).jobs
        assert tuple(job.type for job in made) == kinds
        assert [job.parent_id for job in made] == [None, made[0].id, made[1].id]
        assert [job.held for job in made] == [False, True, True]
        assert {(job.origin, job.priority, job.video_id) for job in made} == {("chain", 7, video)}
    assert {job.type for job in dispatching.ready(connection)} == {"validate"}


def test_what_is_live_already_takes_its_place_in_the_chain(
    connection: sa.Connection, settings: Settings, library_of: Callable[[int], list[UUID]]
) -> None:
    (video,) = library_of(1)
    twin = queue.enqueue(connection, NewJob("thumbnail_generate", {"videoId": str(video)}), settings)
    chain = chain_of(video, "validate", "thumbnail_generate", "reencode_streaming")
    assert queue.enqueue_chains(connection, [chain], settings) == 2
    (last,) = [job for job in dispatching.ready(connection) if job.type == "thumbnail_generate"]
    assert (last.id, last.parent_id) == (twin.id, None)
    encode = listing.page(
        connection, listing.Wanted(types=(JobType.REENCODE_STREAMING,)), listing.Order.NEWEST, limit=1
    ).jobs[0]
    assert encode.parent_id == twin.id
    assert queue.enqueue_chains(connection, [chain, chain], settings) == 0


def test_a_chain_that_cannot_be_is_refused_whole(
    connection: sa.Connection, settings: Settings, library_of: Callable[[int], list[UUID]]
) -> None:
    (video,) = library_of(1)
    unknown = uuid4()
    with pytest.raises(InvalidJob) as refused:
        queue.enqueue_chains(connection, [chain_of(video, "validate"), chain_of(unknown, "validate")], settings)
    assert refused.value.problems == (FieldProblem("params.videoId", f"there is no video {unknown}"),)
    assert queue.count(connection, queue.Filters()) == 0
    assert queue.enqueue_chains(connection, [], settings) == 0
    assert queue.enqueue_chains(connection, [[]], settings) == 0


def test_thousands_of_chains_take_seconds(database: sa.Engine, connection: sa.Connection, settings: Settings) -> None:
    """One transaction for five hundred videos, as a scan writes them."""
    library = connection.scalars(
        sa.text("""
        INSERT INTO videos (path, filename) SELECT 'library/videos/' || n, n FROM generate_series(1, 2000) AS n
        RETURNING id""")
    ).all()
    kinds = ("validate", "thumbnail_generate", "reencode_streaming")
    began_s = time.monotonic()
    for start in range(0, len(library), 500):
        with database.begin() as mine:
            wanted = [chain_of(video, *kinds) for video in library[start : start + 500]]
            assert queue.enqueue_chains(mine, wanted, settings) == 1500
    assert time.monotonic() - began_s < 30, "a few milliseconds a job would be hours for a large library"
    assert connection.scalar(sa.select(sa.func.count()).where(jobs.c.held_by_parent)) == 4000


# Other programs


def test_a_program_with_few_rights_may_move_parents(
    connection: sa.Connection, settings: Settings, make_job: MakeJob, row: Row
) -> None:
    """The admin app's own role may write `jobs` and nothing else."""
    parent, gone = make_job(), make_job()
    child, orphan = make_job(parent_id=parent), make_job(parent_id=gone)
    connection.execute(sa.text("DROP ROLE IF EXISTS few_rights"))
    connection.execute(sa.text("CREATE ROLE few_rights"))
    connection.execute(sa.text("GRANT SELECT, INSERT, UPDATE, DELETE ON jobs TO few_rights"))
    try:
        url = settings.queue_url.set(drivername="postgresql").render_as_string(hide_password=False)
        with psycopg.connect(url, autocommit=True) as other:
            other.execute("SET ROLE few_rights")
            other.execute("SET search_path = pg_temp")
            other.execute("UPDATE public.jobs SET status = 'completed' WHERE id = %s", [parent])
            other.execute("DELETE FROM public.jobs WHERE id = %s", [gone])
            other.execute(
                "INSERT INTO public.jobs (type, params, resource_category, parent_id) VALUES ('scan', '{}', 'cpu', %s)",
                [child],
            )
    finally:
        connection.execute(sa.text("DROP OWNED BY few_rights"))
        connection.execute(sa.text("DROP ROLE few_rights"))
    assert (row(child).held, row(orphan).status) == (False, "cancelled")
    assert connection.scalar(sa.select(jobs.c.held).where(jobs.c.parent_id == child))


def test_what_lives_is_what_may_be_waited_for() -> None:
    """The migration names the statuses that are over; a new one must be put where it belongs."""
    assert {*LIVE} == {JobStatus.PENDING, JobStatus.QUEUED, JobStatus.RUNNING, JobStatus.PAUSED}

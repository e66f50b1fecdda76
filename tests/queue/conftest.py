"""Rows to begin with: a video, a job in any state, an attempt that holds its job."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from uuid import UUID

import pytest
import sqlalchemy as sa

from jobqueue_bridge import admission, dispatching, lease, params, queue, videos
from jobqueue_bridge.tables import job_attempts, job_leases, job_logs, jobs
from jobqueue_bridge.vocabulary import NEEDS, JobStatus, JobType

MakeJob = Callable[..., UUID]


@pytest.fixture
def make_job(connection: sa.Connection) -> MakeJob:
    """Inserts a row as another program would, whatever its state; returns its id."""

    def make(kind: str = JobType.SCAN, status: JobStatus = JobStatus.PENDING, **columns: Any) -> UUID:
        category = NEEDS[JobType(kind)].category.value if kind in set(JobType) else "cpu"
        values = {"params": {}, "resource_category": category, **columns}
        statement = sa.insert(jobs).values(type=str(kind), status=status.value, **values)
        made: UUID = connection.execute(statement.returning(jobs.c.id)).scalar_one()
        return made

    return make


@pytest.fixture
def row(connection: sa.Connection) -> Callable[[UUID], Any]:
    """Every column of a job, as it is in the table now."""
    return lambda job_id: connection.execute(sa.select(jobs).where(jobs.c.id == job_id)).one()


@pytest.fixture
def video(connection: sa.Connection) -> UUID:
    return videos.upsert(connection, [{"path": "library/videos/a.mp4", "filename": "a.mp4"}])["library/videos/a.mp4"]


@pytest.fixture
def admit(connection: sa.Connection) -> Callable[..., queue.Job]:
    """pending → queued."""

    def act(job_id: UUID, units: tuple[int, ...] = ()) -> queue.Job:
        checked = queue.Checked(JobType.SCAN, params.Scan(), None)
        admitted = dispatching.admit(connection, admission.Admitted(job_id, units), checked)
        assert admitted is not None
        return admitted

    return act


@pytest.fixture
def start(connection: sa.Connection, admit: Callable[..., queue.Job]) -> Callable[..., lease.Lease]:
    """pending → queued → running."""

    def act(job_id: UUID, units: tuple[int, ...] = ()) -> lease.Lease:
        attempt = admit(job_id, units).attempt
        held = lease.claim(connection, job_id, attempt, run_id=f"run-{attempt}", host="here")
        assert held is not None
        return held

    return act


@pytest.fixture
def held(make_job: MakeJob, start: Callable[..., lease.Lease]) -> lease.Lease:
    """The lease of a running job that has 4000 MB."""
    return start(make_job(JobType.REENCODE_STREAMING), (0, 1, 2, 3))


@pytest.fixture
def everything(connection: sa.Connection) -> Callable[[], list[Any]]:
    """All that the queue has stored, to see that nothing changed."""
    tables = (jobs, job_leases, job_attempts, job_logs)
    return lambda: [connection.execute(sa.select(table).order_by(*table.primary_key)).all() for table in tables]


@pytest.fixture
def at_once() -> Callable[[int, Callable[[int], Any]], list[Any]]:
    """Calls a function in so many threads at the same time; returns what each returned."""

    def run(count: int, act: Callable[[int], Any]) -> list[Any]:
        with ThreadPoolExecutor(count) as pool:
            return list(pool.map(act, range(count)))

    return run

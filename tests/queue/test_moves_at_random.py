"""Any sequence of moves, legal or not, through the queue's own functions and by plain UPDATEs: the rows stay whole.

`HYPOTHESIS_PROFILE=thorough` tries ten thousand sequences.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from uuid import UUID

import pytest
import sqlalchemy as sa
from hypothesis import settings as examples
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, invariant, multiple, rule, run_state_machine_as_test

from jobqueue_bridge import admission, lease, params, queue
from jobqueue_bridge.errors import JobAlreadyLive, LeaseLost, MoveForbidden
from jobqueue_bridge.lease import Lease
from jobqueue_bridge.retry import Backoff, FailureKind
from jobqueue_bridge.tables import jobs
from jobqueue_bridge.vocabulary import FINAL, LIVE, MOVES, JobStatus, JobType

CHECKED = queue.Checked(JobType.SCAN, params.Scan(), None)
BACKOFF = Backoff(60, 3600)
STATUSES = st.sampled_from(list(JobStatus))
KINDS: st.SearchStrategy[FailureKind] = st.sampled_from(["transient", "capacity", "permanent", "lost"])

# One question for all that must hold of every row and of the tables around it; each column names what it counts.
_BROKEN = sa.text(
    """
    SELECT count(*) FILTER (WHERE lease_token IS NOT NULL AND status NOT IN ('running', 'paused')) AS stray_token,
        count(*) FILTER (WHERE (completed_at IS NOT NULL) <> (status IN ('completed', 'failed', 'cancelled')))
            AS wrong_end,
        count(*) FILTER (WHERE (waiting_reason IS NOT NULL OR queue_position IS NOT NULL) AND status <> 'pending')
            AS stray_waiting_text,
        count(*) FILTER (WHERE vram_units IS NOT NULL AND status <> 'queued' AND lease_token IS NULL) AS stray_units,
        count(*) FILTER (WHERE retry_count > max_retries) AS too_many_retries,
        (SELECT count(*) FROM (
            SELECT status, type, resource_category, sum(n) FROM (
                SELECT status, type, resource_category, jobs AS n FROM job_tallies
                UNION ALL SELECT status, type, resource_category, -1 FROM jobs) AS difference
            GROUP BY 1, 2, 3 HAVING sum(n) <> 0) AS wrong) AS wrong_tallies,
        (SELECT count(*) FROM (
            SELECT unique_key FROM jobs WHERE status IN ('pending', 'queued', 'running', 'paused')
            GROUP BY unique_key HAVING count(*) > 1 AND unique_key IS NOT NULL) AS doubled) AS live_twins,
        (SELECT count(*) FROM job_attempts a JOIN jobs j ON j.id = a.job_id WHERE a.attempt > j.attempt)
            AS attempts_from_the_future
    FROM jobs
    """
)
_OPEN = sa.text(
    """
    SELECT (SELECT count(*) FROM job_leases l JOIN jobs j ON j.id = l.job_id
            WHERE j.lease_token IS DISTINCT FROM l.token OR j.status NOT IN ('running', 'paused')) AS stray_leases,
        (SELECT count(*) FROM job_attempts a WHERE ended_at IS NULL AND NOT EXISTS
            (SELECT FROM job_leases l WHERE (l.job_id, l.attempt) = (a.job_id, a.attempt))) AS open_attempts
    """
)


class Moves(RuleBasedStateMachine):
    """Four jobs at most, two of them alike; runs that hold them, and runs that believe they do."""

    job_ids = Bundle("jobs")
    leases = Bundle("leases")

    def __init__(self, connection: sa.Connection) -> None:
        super().__init__()
        self.connection = connection
        self.attempts: dict[UUID, int] = {}
        self.begun: set[tuple[UUID, int]] = set()
        with self.transaction() as session:
            session.execute(sa.text("TRUNCATE jobs, job_leases, job_attempts, job_logs"))

    @contextmanager
    def transaction(self) -> Iterator[sa.Connection]:
        with self.connection.begin():
            yield self.connection

    def status_of(self, job_id: UUID) -> JobStatus:
        with self.transaction() as session:
            return queue.get(session, job_id).status

    @rule(target=job_ids, allowed=st.integers(0, 3), key=st.sampled_from([None, "alike"]))
    def insert(self, allowed: int, key: str | None) -> Any:
        if len(self.attempts) >= 4:
            return multiple()
        values = {"type": "scan", "params": {}, "resource_category": "cpu", "max_retries": allowed, "unique_key": key}
        try:
            with self.transaction() as session:
                job_id: UUID = session.scalar(sa.insert(jobs).values(values).returning(jobs.c.id))
        except sa.exc.IntegrityError:
            assert key, "only a live twin is refused"
            return multiple()
        self.attempts[job_id] = 0
        return job_id

    @rule(job_id=job_ids, wanted=STATUSES)
    def move(self, job_id: UUID, wanted: JobStatus) -> None:
        before = self.status_of(job_id)
        try:
            with self.transaction() as session:
                after = queue.move(session, job_id, wanted).status
        except MoveForbidden:
            assert wanted not in MOVES[before]
            assert self.status_of(job_id) == before
        except JobAlreadyLive:
            assert before in FINAL
            assert wanted in LIVE
            assert self.status_of(job_id) == before
        else:
            assert after == wanted
            assert wanted in MOVES[before]

    @rule(job_id=job_ids, wanted=STATUSES)
    def move_from_outside(self, job_id: UUID, wanted: JobStatus) -> None:
        """Another program's plain UPDATE, which asks nobody, legal or not."""
        try:
            with self.transaction() as session:
                session.execute(sa.update(jobs).where(jobs.c.id == job_id).values(status=wanted.value))
        except sa.exc.IntegrityError:
            assert wanted in LIVE, "only a live twin is refused"

    @rule(job_id=job_ids, units=st.sampled_from([(), (0, 1)]))
    def admit(self, job_id: UUID, units: tuple[int, ...]) -> None:
        before = self.status_of(job_id)
        with self.transaction() as session:
            admitted = queue.admit(session, admission.Admitted(job_id, units), CHECKED)
        assert (admitted is not None) == (before == JobStatus.PENDING)
        if admitted is not None:
            assert admitted.attempt == self.attempts[job_id] + 1

    @rule(job_id=job_ids)
    def note_waiting(self, job_id: UUID) -> None:
        with self.transaction() as session:
            queue.note_waiting(session, [], [admission.Waiting(job_id, "waits")])

    @rule(target=leases, job_id=job_ids, behind=st.integers(0, 1))
    def claim(self, job_id: UUID, behind: int) -> Any:
        """By the run of the newest attempt, or by one that comes too late."""
        attempt, before = self.attempts[job_id] - behind, self.status_of(job_id)
        with self.transaction() as session:
            held = lease.claim(session, job_id, attempt, run_id="r", host="h")
        may = before == JobStatus.QUEUED and not behind and (job_id, attempt) not in self.begun
        assert (held is not None) == may, "an attempt begins once, however often its job is set back to queued"
        return self.noted(held)

    def noted(self, held: Lease | None) -> Any:
        if held is None:
            return multiple()
        self.begun.add((held.job_id, held.attempt))
        return held

    @rule(target=leases, job_id=job_ids)
    def start(self, job_id: UUID) -> Any:
        """The whole way to a run, as far as it goes."""
        with self.transaction() as session:
            admitted = queue.admit(session, admission.Admitted(job_id, (0,)), CHECKED)
            if admitted is None:
                return multiple()
            held = lease.claim(session, job_id, admitted.attempt, run_id="r", host="h")
        assert held is not None
        return self.noted(held)

    @rule(held=leases)
    def beat(self, held: Lease) -> None:
        self.fenced(held, lambda session: lease.beat(session, held, 50, None), JobStatus.RUNNING)

    @rule(held=leases)
    def complete(self, held: Lease) -> None:
        self.fenced(held, lambda session: lease.complete(session, held, {}), JobStatus.COMPLETED)

    @rule(held=leases, kind=KINDS)
    def fail(self, held: Lease, kind: FailureKind) -> None:
        self.fenced(
            held, lambda session: lease.fail(session, held, "e", kind, BACKOFF), JobStatus.FAILED, JobStatus.PENDING
        )

    @rule(held=leases)
    def release(self, held: Lease) -> None:
        self.fenced(held, lambda session: lease.release(session, held, "r"), JobStatus.PENDING)

    def fenced(self, held: Lease, act: Any, *after: JobStatus) -> None:
        """A run that holds its job does it; any other gets LeaseLost and changes nothing."""
        with self.transaction() as session:
            row = session.execute(sa.select(jobs).where(jobs.c.id == held.job_id)).one()
        holds = (row.status, row.lease_token, row.attempt) == ("running", held.token, held.attempt)
        try:
            with self.transaction() as session:
                act(session)
        except LeaseLost:
            assert not holds
            assert self.status_of(held.job_id) == row.status
        else:
            assert holds
            assert self.status_of(held.job_id) in after

    @rule(job_id=job_ids)
    def rescue(self, job_id: UUID) -> None:
        stale = queue.StaleJob(job_id, self.attempts[job_id], "r", "h", 100)
        with self.transaction() as session:
            after = lease.rescue(session, stale, "died")
        assert after in (None, JobStatus.PENDING, JobStatus.FAILED)

    @rule(job_id=job_ids)
    def return_to_pending(self, job_id: UUID) -> None:
        before = self.status_of(job_id)
        with self.transaction() as session:
            assert queue.return_to_pending(session, job_id, self.attempts[job_id]) == (before == JobStatus.QUEUED)

    @rule()
    def tidy(self) -> None:
        """After it no lease and no attempt is open that no run can hold."""
        with self.transaction() as session:
            queue.tidy_after_outside_moves(session)
            found = session.execute(_OPEN).one()._asdict()
        assert not any(found.values()), found

    @invariant()
    def every_row_is_whole(self) -> None:
        with self.transaction() as session:
            found = session.execute(_BROKEN).one()._asdict()
        assert not any(found.values()), found

    @invariant()
    def no_attempt_number_goes_back(self) -> None:
        with self.transaction() as session:
            now = dict(session.execute(sa.select(jobs.c.id, jobs.c.attempt)).all())  # type: ignore[arg-type]
        assert now.keys() == self.attempts.keys()
        assert all(now[job_id] >= attempt for job_id, attempt in self.attempts.items())
        self.attempts = now


@pytest.fixture
def unhurried(database: sa.Engine) -> Iterator[sa.Connection]:
    """A session that doesn't wait for the disk."""
    with database.connect() as connection:
        with connection.begin():
            connection.execute(sa.text("SET synchronous_commit = off"))
        yield connection


def test_no_sequence_of_moves_breaks_a_row(unhurried: sa.Connection) -> None:
    count = examples().max_examples
    sequences = examples(max_examples=count if count > 1000 else count // 3, stateful_step_count=30)
    run_state_machine_as_test(lambda: Moves(unhurried), settings=sequences)

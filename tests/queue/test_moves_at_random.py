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

from jobqueue_bridge import admission, dispatching, lease, lifecycle, params, queue
from jobqueue_bridge.errors import (
    JobAlreadyLive,
    JobHasEnded,
    JobPaused,
    LeaseLost,
    MoveForbidden,
    RetriesUsedUp,
)
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
        count(*) FILTER (WHERE (waiting_reason IS NOT NULL OR queue_position IS NOT NULL) AND status <> 'pending'
            AND NOT (status = 'paused' AND lease_token IS NOT NULL AND queue_position IS NULL)) AS stray_waiting_text,
        count(*) FILTER (WHERE status = 'paused' AND lease_token IS NOT NULL AND waiting_reason IS NULL)
            AS silent_holders,
        count(*) FILTER (WHERE held AND status NOT IN ('pending', 'paused') OR held_by_parent AND NOT held)
            AS stray_holds,
        count(*) FILTER (WHERE held_by_parent AND status = 'pending' AND waiting_reason IS NULL) AS silent_children,
        count(*) FILTER (WHERE held_by_parent AND EXISTS (
            SELECT FROM jobs AS parent WHERE parent.id = jobs.parent_id AND parent.status = 'completed'))
            AS left_behind,
        count(*) FILTER (WHERE held_by_parent AND status = 'pending'
            AND waiting_reason IS DISTINCT FROM jobs_why_held(parent_id)) AS wrong_reasons,
        count(*) FILTER (WHERE vram_units IS NOT NULL AND status <> 'queued' AND lease_token IS NULL) AS stray_units,
        (SELECT count(*) FROM (
            SELECT status, type, resource_category, sum(n) FROM (
                SELECT status, type, resource_category, jobs AS n FROM job_tallies
                UNION ALL SELECT status, type, resource_category, -1 FROM jobs) AS difference
            GROUP BY 1, 2, 3 HAVING sum(n) <> 0) AS wrong) AS wrong_tallies,
        (SELECT count(*) FROM (
            SELECT unique_key FROM jobs WHERE status IN ('pending', 'queued', 'running', 'paused')
            GROUP BY unique_key HAVING count(*) > 1 AND unique_key IS NOT NULL) AS doubled) AS live_twins,
        (SELECT count(*) FROM job_attempts a JOIN jobs j ON j.id = a.job_id WHERE a.attempt > j.attempt)
            AS attempts_from_the_future,
        coalesce(jsonb_agg(jsonb_build_array(id, attempt, retry_count - max_retries)), '[]') AS numbers
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
    """Five jobs at most, some alike, some children of others; runs that hold them, and runs that believe they do."""

    job_ids = Bundle("jobs")
    leases = Bundle("leases")

    def __init__(self, writer: sa.Connection, reader: sa.Connection) -> None:
        super().__init__()
        self.writer = writer
        self.reader = reader
        self.attempts: dict[UUID, int] = {}
        self.begun: set[tuple[UUID, int]] = set()
        self.forced: dict[UUID, int] = {}
        with self.transaction() as session:
            session.execute(sa.text("TRUNCATE jobs, job_leases, job_attempts, job_logs"))

    @contextmanager
    def transaction(self) -> Iterator[sa.Connection]:
        with self.writer.begin():
            yield self.writer

    def status_of(self, job_id: UUID) -> JobStatus:
        return JobStatus(self.reader.scalar(sa.select(jobs.c.status).where(jobs.c.id == job_id)))

    @rule(target=job_ids, allowed=st.integers(0, 3), key=st.sampled_from([None, "alike"]))
    def insert(self, allowed: int, key: str | None) -> Any:
        return self.inserted(max_retries=allowed, unique_key=key)

    @rule(target=job_ids, parent=job_ids, held=st.booleans())
    def insert_child(self, parent: UUID, held: bool) -> Any:
        child = self.inserted(parent_id=parent, held=held)
        if isinstance(child, UUID):
            assert self.is_held(child) == (held or self.status_of(parent) != JobStatus.COMPLETED)
        return child

    def inserted(self, **columns: Any) -> Any:
        if len(self.attempts) >= 5:
            return multiple()
        values = {"type": "scan", "params": {}, "resource_category": "cpu", **columns}
        try:
            with self.transaction() as session:
                job_id: UUID = session.scalar(sa.insert(jobs).values(values).returning(jobs.c.id))
        except sa.exc.IntegrityError:
            assert columns.get("unique_key"), "only a live twin is refused"
            return multiple()
        self.attempts[job_id] = 0
        return job_id

    def is_held(self, job_id: UUID) -> bool:
        return bool(self.reader.scalar(sa.select(jobs.c.held).where(jobs.c.id == job_id)))

    @rule(job_id=job_ids)
    def lift(self, job_id: UUID) -> None:
        """By whoever holds it, or by force."""
        with self.transaction() as session:
            session.execute(sa.update(jobs).where(jobs.c.id == job_id).values(held=False))

    @rule(job_id=job_ids, parent=st.one_of(st.none(), job_ids))
    def adopt(self, job_id: UUID, parent: UUID | None) -> None:
        circle = job_id in self.line_above(parent) and parent != self.parent_of(job_id)
        with self.transaction() as session:
            adoption = sa.update(jobs).where(jobs.c.id == job_id).values(parent_id=parent)
            if circle:
                with pytest.raises(sa.exc.IntegrityError, match="would wait for itself"), session.begin_nested():
                    session.execute(adoption)
            else:
                session.execute(adoption)

    def parent_of(self, job_id: UUID) -> UUID | None:
        return self.reader.scalar(sa.select(jobs.c.parent_id).where(jobs.c.id == job_id))

    def line_above(self, job_id: UUID | None) -> list[UUID]:
        line = []
        while job_id is not None:
            line.append(job_id)
            job_id = self.parent_of(job_id)
        return line

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
        before, held = self.status_of(job_id), self.is_held(job_id)
        with self.transaction() as session:
            admitted = dispatching.admit(session, admission.Admitted(job_id, units), CHECKED)
        assert (admitted is not None) == (before == JobStatus.PENDING and not held)
        if admitted is not None:
            assert admitted.attempt == self.attempts[job_id] + 1

    @rule(job_id=job_ids)
    def note_waiting(self, job_id: UUID) -> None:
        with self.transaction() as session:
            dispatching.note_waiting(session, [], [admission.Waiting(job_id, "waits")])

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
            admitted = dispatching.admit(session, admission.Admitted(job_id, (0,)), CHECKED)
            if admitted is None:
                return multiple()
            held = lease.claim(session, job_id, admitted.attempt, run_id="r", host="h")
        assert held is not None
        return self.noted(held)

    @rule(held=leases)
    def beat(self, held: Lease) -> None:
        self.fenced(held, lambda session: lease.beat(session, held, 50, None), JobStatus.RUNNING, JobStatus.PAUSED)

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
        self.fenced(held, lambda session: lease.release(session, held, "r"), JobStatus.PENDING, JobStatus.PAUSED)

    @rule(held=leases)
    def let_go(self, held: Lease) -> None:
        """A run that lost its job says that nothing of it is left."""
        if not self.holds(held):
            with self.transaction() as session:
                queue.let_go(session, held.job_id, held.token)

    def holds(self, held: Lease) -> bool:
        row = self.reader.execute(sa.select(jobs).where(jobs.c.id == held.job_id)).one()
        token, attempt = row.lease_token, row.attempt
        return row.status in ("running", "paused") and (token, attempt) == (held.token, held.attempt)

    def fenced(self, held: Lease, act: Any, *after: JobStatus) -> None:
        """A run that holds its job does it; any other gets LeaseLost and changes nothing. A paused one does not end."""
        holds, before = self.holds(held), self.status_of(held.job_id)
        try:
            with self.transaction() as session:
                act(session)
        except LeaseLost:
            assert not holds
            assert self.status_of(held.job_id) == before
        except JobPaused:
            assert holds
            assert before == self.status_of(held.job_id) == JobStatus.PAUSED
            assert JobStatus.PAUSED not in after
        else:
            assert holds
            assert self.status_of(held.job_id) in after
            assert before == JobStatus.RUNNING or JobStatus.PAUSED in after

    @rule(job_id=job_ids)
    def rescue(self, job_id: UUID) -> None:
        stale = queue.StaleJob(job_id, self.attempts[job_id], "r", "h", 100)
        with self.transaction() as session:
            after = lease.rescue(session, stale, "died")
        assert after in (None, JobStatus.PENDING, JobStatus.PAUSED, JobStatus.FAILED)

    @rule(job_id=job_ids, ask=st.sampled_from([lifecycle.cancel, lifecycle.pause, lifecycle.resume]))
    def ask(self, job_id: UUID, ask: Any) -> None:
        before = self.status_of(job_id)
        try:
            with self.transaction() as session:
                after = ask(session, job_id).status
        except MoveForbidden:
            assert self.status_of(job_id) == before
            assert before not in lifecycle.APPLIES[lifecycle.Action(ask.__name__)]
        else:
            assert after in MOVES[before]
            assert self.status_of(job_id) == after

    @rule(job_id=job_ids, force=st.booleans())
    def retry(self, job_id: UUID, force: bool) -> None:
        before = self.status_of(job_id)
        try:
            with self.transaction() as session:
                after = lifecycle.retry(session, job_id, force=force)
        except RetriesUsedUp:
            assert not force
            assert self.status_of(job_id) == before
        except (MoveForbidden, JobAlreadyLive):
            assert self.status_of(job_id) == before
        else:
            assert before in (JobStatus.FAILED, JobStatus.CANCELLED)
            assert (after.status, after.retry_after) == (JobStatus.PENDING, None)
            self.forced[job_id] = self.forced.get(job_id, 0) + force

    @rule(job_id=job_ids, priority=st.integers(1, 10))
    def reprioritise(self, job_id: UUID, priority: int) -> None:
        before = self.status_of(job_id)
        try:
            with self.transaction() as session:
                lifecycle.reprioritise(session, job_id, priority)
        except JobHasEnded:
            assert before in FINAL
        else:
            assert before in LIVE
        assert self.status_of(job_id) == before

    @rule()
    def pause_and_resume_the_queue(self) -> None:
        with self.transaction() as session:
            lifecycle.pause_queue(session, "somebody")
            queued = session.scalar(sa.select(sa.func.count()).where(jobs.c.status == "queued"))
            lifecycle.resume_queue(session)
        assert queued == 0

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
        """Nothing is counted that must not be; no attempt number goes back, and no retry is given away."""
        found = self.reader.execute(_BROKEN).one()._asdict()
        numbers = {UUID(job_id): (attempt, beyond) for job_id, attempt, beyond in found.pop("numbers")}
        assert not any(found.values()), found
        assert numbers.keys() == self.attempts.keys()
        assert all(beyond <= self.forced.get(job_id, 0) for job_id, (_, beyond) in numbers.items()), numbers
        assert all(numbers[job_id][0] >= attempt for job_id, attempt in self.attempts.items()), numbers
        self.attempts = {job_id: attempt for job_id, (attempt, _) in numbers.items()}


@pytest.fixture
def sessions(database: sa.Engine) -> Iterator[tuple[sa.Connection, sa.Connection]]:
    """One that writes and doesn't wait for the disk, and one that sees what is committed."""
    with database.connect() as writer, database.connect() as reader:
        with writer.begin():
            writer.execute(sa.text("SET synchronous_commit = off"))
        yield writer, reader.execution_options(isolation_level="AUTOCOMMIT")


def test_no_sequence_of_moves_breaks_a_row(sessions: tuple[sa.Connection, sa.Connection]) -> None:
    count = examples().max_examples
    sequences = examples(max_examples=count if count > 1000 else count // 3, stateful_step_count=20)
    run_state_machine_as_test(lambda: Moves(*sessions), settings=sequences)

"""What a running attempt may write, and that it may write nothing once its job is somebody else's."""

from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest
import sqlalchemy as sa

from jobqueue_bridge import dispatching, lease, logs, queue, stats
from jobqueue_bridge.errors import JobPaused, LeaseLost
from jobqueue_bridge.lease import Lease
from jobqueue_bridge.queue import StaleJob
from jobqueue_bridge.retry import Backoff, FailureKind, Retry
from jobqueue_bridge.tables import job_leases, job_logs, jobs
from jobqueue_bridge.vocabulary import JobStatus, JobType

MakeJob = Callable[..., UUID]
Row = Callable[[UUID], Any]
Start = Callable[..., Lease]
Everything = Callable[[], list[Any]]
AtOnce = Callable[[int, Callable[[int], Any]], list[Any]]

BACKOFF = Backoff(base_s=60, cap_s=3600)

# Everything an attempt may do with its lease.
ACTS: dict[str, Callable[[sa.Connection, Lease], Any]] = {
    "peak": lambda connection, held: lease.record_peak_vram(connection, held, 1),
    "raise": lambda connection, held: lease.raise_vram(connection, held, 1),
    "beat": lambda connection, held: lease.beat(connection, held, None, None),
    "beat with progress": lambda connection, held: lease.beat(connection, held, 50, {"fps": 25}),
    "log": lambda connection, held: lease.log(connection, held, ["late"]),
    "record_encoder": lambda connection, held: lease.record_encoder(connection, held, "libx264"),
    "announce_output": lambda connection, held: lease.announce_output(connection, held, "playback/a.mp4", 7),
    "complete": lambda connection, held: lease.complete(connection, held, {"size": 1}),
    "fail": lambda connection, held: lease.fail(connection, held, "bad", "transient", BACKOFF),
    "fail for good": lambda connection, held: lease.fail(connection, held, "bad", "permanent", BACKOFF),
    "release": lambda connection, held: lease.release(connection, held, "shutdown"),
}


def stale(held: Lease) -> StaleJob:
    return StaleJob(held.job_id, held.attempt, "run-1", "here", 100)


def log_lines(connection: sa.Connection, job_id: UUID) -> list[str]:
    return list(
        connection.scalars(sa.select(job_logs.c.line).where(job_logs.c.job_id == job_id).order_by(job_logs.c.seq))
    )


# Claiming


def test_a_claim_starts_the_job(
    connection: sa.Connection, make_job: MakeJob, admit: Callable[..., queue.Job], row: Row
) -> None:
    job_id = make_job(
        error="earlier", progress=40, progress_detail={"fps": 1}, cancel_requested_at=datetime.now(UTC), retry_count=1
    )
    attempt = admit(job_id, (3,)).attempt
    held = lease.claim(connection, job_id, attempt, run_id="r", host="h")
    assert held is not None
    after = row(job_id)
    assert (after.status, after.run_id, after.host, after.lease_token) == ("running", "r", "h", held.token)
    assert (after.progress, after.progress_detail, after.error, after.cancel_requested_at) == (0, None, None, None)
    assert (after.vram_units, after.retry_count, after.started_at is not None) == ([3], 1, True)
    (opened,) = queue.attempts(connection, job_id)
    assert (opened["attempt"], opened["run_id"], opened["host"], opened["ended_at"]) == (attempt, "r", "h", None)
    assert connection.execute(sa.select(job_leases.c.token)).scalar_one() == held.token


@pytest.mark.parametrize("status", [status for status in JobStatus if status != JobStatus.QUEUED])
def test_only_a_queued_job_can_be_claimed(
    connection: sa.Connection, make_job: MakeJob, everything: Everything, status: JobStatus
) -> None:
    job_id = make_job(status=status, attempt=1)
    before = everything()
    assert lease.claim(connection, job_id, 1, run_id="r", host="h") is None
    assert everything() == before


@pytest.mark.parametrize("wrong", [0, 1, 3])
def test_only_the_attempt_that_was_admitted_can_claim(
    connection: sa.Connection, make_job: MakeJob, everything: Everything, wrong: int
) -> None:
    job_id = make_job(status=JobStatus.QUEUED, attempt=2)
    before = everything()
    assert lease.claim(connection, job_id, wrong, run_id="r", host="h") is None
    assert lease.claim(connection, uuid4(), 2, run_id="r", host="h") is None
    assert everything() == before


def test_of_twenty_who_claim_at_once_one_wins(
    connection: sa.Connection, database: sa.Engine, make_job: MakeJob, at_once: AtOnce
) -> None:
    job_id = make_job(status=JobStatus.QUEUED, attempt=1)

    def claim(number: int) -> Lease | None:
        with database.begin() as own:
            return lease.claim(own, job_id, 1, run_id=f"r{number}", host="h")

    winners = [won for won in at_once(20, claim) if won]
    assert len(winners) == 1
    assert connection.execute(sa.select(job_leases.c.token)).scalar_one() == winners[0].token
    assert len(queue.attempts(connection, job_id)) == 1


def test_a_thousand_jobs_run_exactly_once_each(connection: sa.Connection, database: sa.Engine, at_once: AtOnce) -> None:
    connection.execute(
        sa.text(
            "INSERT INTO jobs (type, params, status, attempt)"
            " SELECT 'validate', '{}', 'queued', 1 FROM generate_series(1, 1000)"
        )
    )
    ids = list(connection.scalars(sa.select(jobs.c.id)))

    def run_all(number: int) -> list[UUID]:
        """Each job is tried by two threads, which meet in the middle of what they share."""
        ran = []
        shared = ids[number // 2 * 250 : number // 2 * 250 + 250]
        for job_id in reversed(shared) if number % 2 else shared:
            with database.begin() as own:
                held = lease.claim(own, job_id, 1, run_id=f"r{number}", host="h")
                if held:
                    lease.complete(own, held, {"by": number})
                    ran.append(job_id)
        return ran

    ran = [job_id for thread in at_once(8, run_all) for job_id in thread]
    assert Counter(ran) == Counter(ids)
    assert stats.read(connection).by_status[JobStatus.COMPLETED] == 1000


# The fence


def _set_failed(connection: sa.Connection, held: Lease, start: Start) -> None:
    connection.execute(sa.text("UPDATE jobs SET status = 'failed' WHERE status = 'running'"))


def _cancel(connection: sa.Connection, held: Lease, start: Start) -> None:
    connection.execute(sa.text("UPDATE jobs SET status = 'cancelled'"))


def _rescue(connection: sa.Connection, held: Lease, start: Start) -> None:
    lease.rescue(connection, stale(held), "its host vanished")


def _next_attempt(connection: sa.Connection, held: Lease, start: Start) -> None:
    lease.release(connection, held, "shutdown")
    start(held.job_id)


def _complete(connection: sa.Connection, held: Lease, start: Start) -> None:
    lease.complete(connection, held, {})


def _delete(connection: sa.Connection, held: Lease, start: Start) -> None:
    connection.execute(sa.delete(jobs))


TAKEN_AWAY = {
    _set_failed: "the job was set to failed from outside",
    _cancel: "the job was set to cancelled from outside",
    _rescue: "the job was set to pending from outside",
    _next_attempt: "another attempt holds the job",
    _complete: "the job was set to completed from outside",
    _delete: "the job was deleted",
}


@pytest.mark.parametrize("act", ACTS)
@pytest.mark.parametrize(("take_away", "reason"), TAKEN_AWAY.items())
def test_an_attempt_that_lost_its_job_writes_nothing(
    connection: sa.Connection,
    held: Lease,
    start: Start,
    everything: Everything,
    take_away: Callable[[sa.Connection, Lease, Start], None],
    reason: str,
    act: str,
) -> None:
    take_away(connection, held, start)
    before = everything()
    with pytest.raises(LeaseLost, match=reason) as lost:
        ACTS[act](connection, held)
    assert (lost.value.job_id, lost.value.attempt) == (held.job_id, held.attempt)
    assert everything() == before


@pytest.mark.parametrize("act", ACTS)
def test_an_attempt_with_another_token_writes_nothing(
    connection: sa.Connection, held: Lease, everything: Everything, act: str
) -> None:
    before = everything()
    with pytest.raises(LeaseLost, match="another attempt holds the job"):
        ACTS[act](connection, Lease(held.job_id, held.attempt, uuid4()))
    assert everything() == before


@pytest.mark.parametrize("act", ACTS)
def test_an_attempt_that_holds_its_job_may_do_everything(connection: sa.Connection, held: Lease, act: str) -> None:
    ACTS[act](connection, held)


# While it runs


def test_a_beat_keeps_the_lease_alive(connection: sa.Connection, held: Lease, row: Row) -> None:
    connection.execute(sa.update(job_leases).values(heartbeat_at=datetime.now(UTC) - timedelta(hours=1)))
    (silent,) = queue.running(connection)
    assert silent.silent_s > 3000
    lease.beat(connection, held, None, None)
    (alive,) = queue.running(connection)
    assert alive.silent_s < 600
    assert row(held.job_id).progress == 0


@pytest.mark.parametrize(("told", "shown"), [(0, 0), (45, 45), (100, 100), (101, 100), (-3, 0)])
def test_progress_is_shown_in_per_cent(connection: sa.Connection, held: Lease, row: Row, told: int, shown: int) -> None:
    lease.beat(connection, held, told, {"fps": 25.5})
    assert (row(held.job_id).progress, row(held.job_id).progress_detail) == (shown, {"fps": 25.5})


def test_detail_is_shown_when_the_length_is_unknown(connection: sa.Connection, held: Lease, row: Row) -> None:
    lease.beat(connection, held, 10, None)
    lease.beat(connection, held, None, {"fps": 25})
    assert (row(held.job_id).progress, row(held.job_id).progress_detail) == (10, {"fps": 25})


def test_what_cannot_be_stored_is_replaced_and_stops_no_run(connection: sa.Connection, held: Lease, row: Row) -> None:
    lease.beat(connection, held, 10, {"speed": float("nan"), "file": "a\0\udcff", "all": [float("inf"), ("b\0",)]})
    assert row(held.job_id).progress_detail == {"speed": None, "file": "a\ufffd?", "all": [None, ["b\ufffd"]]}
    lease.log(connection, held, ["nul \0 half \udcff"])
    lease.record_encoder(connection, held, "x\0")
    lease.announce_output(connection, held, "playback/\udcff.mp4", 1)
    lease.fail(connection, held, "broke at \0 in \udcff", "permanent", BACKOFF)
    assert log_lines(connection, held.job_id)[0] == "nul \ufffd half ?"
    assert row(held.job_id).error == "broke at \ufffd in ?"


def test_log_lines_are_kept_in_order_and_cut_at_a_sane_length(connection: sa.Connection, held: Lease) -> None:
    lease.log(connection, held, [])
    lease.log(connection, held, ["one", "two", "x" * 100_000])
    lease.log(connection, held, ["three"])
    assert log_lines(connection, held.job_id) == ["one", "two", "x" * 4000, "three"]
    followed = logs.after(connection, held.job_id, 0)
    assert [line.partition("] ")[2][:5] for _, line in followed] == ["one", "two", "xxxxx", "three"]
    assert logs.after(connection, held.job_id, followed[1][0]) == followed[2:]
    assert logs.text(connection, held.job_id, tail=1).endswith("] three")


def test_a_line_that_was_noted_earlier_keeps_its_time(connection: sa.Connection, held: Lease) -> None:
    lease.log(connection, held, ["an hour ago", "now"], ages_s=[3600, 0])
    earlier, now = connection.scalars(sa.select(job_logs.c.at).order_by(job_logs.c.seq))
    assert timedelta(minutes=50) < now - earlier < timedelta(minutes=70)


def test_the_encoder_is_recorded_with_its_attempt(connection: sa.Connection, held: Lease) -> None:
    lease.record_encoder(connection, held, "h264_nvenc: a test encode passed")
    assert queue.attempts(connection, held.job_id)[0]["encoder"] == "h264_nvenc: a test encode passed"


# The end


def _ended(connection: sa.Connection, held: Lease) -> tuple[str, str | None]:
    """The outcome and error of the attempt, whose lease must be gone."""
    assert connection.execute(sa.select(job_leases)).all() == []
    attempt = queue.attempts(connection, held.job_id)[-1]
    assert attempt["ended_at"] is not None
    return attempt["outcome"], attempt["error"]


def _assert_let_go(after: Any) -> None:
    assert (after.lease_token, after.vram_units, after.waiting_reason) == (None, None, None)


def test_a_completed_job_keeps_its_result(connection: sa.Connection, held: Lease, row: Row) -> None:
    lease.log(connection, held, ["done"])
    lease.complete(connection, held, {"sizeBytes": 7})
    after = row(held.job_id)
    assert (after.status, after.progress, after.result) == ("completed", 100, {"sizeBytes": 7})
    assert after.completed_at >= after.started_at
    assert after.log.endswith("] done")
    _assert_let_go(after)
    assert _ended(connection, held) == ("completed", None)


def test_a_permanent_failure_is_final(connection: sa.Connection, held: Lease, row: Row) -> None:
    assert lease.fail(connection, held, "no video stream\nin a.mp4", "permanent", BACKOFF) is None
    after = row(held.job_id)
    assert (after.status, after.error, after.retry_count) == ("failed", "no video stream\nin a.mp4", 0)
    assert after.completed_at is not None
    assert log_lines(connection, held.job_id) == ["--- ERROR ---", "no video stream", "in a.mp4"]
    _assert_let_go(after)
    assert _ended(connection, held) == ("failed", "no video stream\nin a.mp4")


@pytest.mark.parametrize(
    ("kind", "retry", "said", "outcome"),
    [
        ("transient", Retry(1, 120), "Retry 1 of 3 in 120 s", "failed"),
        ("capacity", Retry(0, 120), "Again, as no retry, in 120 s", "failed"),
        ("lost", Retry(1, 0), "Retry 1 of 3 in 0 s", "lost"),
    ],
)
def test_a_failure_that_may_pass_is_tried_again_later(
    connection: sa.Connection, held: Lease, row: Row, kind: FailureKind, retry: Retry, said: str, outcome: str
) -> None:
    lease.beat(connection, held, 60, {"fps": 1})
    assert lease.fail(connection, held, "disk full", kind, BACKOFF) == retry
    after = row(held.job_id)
    assert (after.status, after.error, after.retry_count, after.progress) == (
        "pending",
        "disk full",
        retry.retry_count,
        0,
    )
    assert (after.progress_detail, after.completed_at) == (None, None)
    assert log_lines(connection, held.job_id)[-1] == said
    seconds = dispatching.seconds_to_next_retry(connection)
    assert seconds is None if not retry.wait_s else 60 < (seconds or 0) <= 120
    _assert_let_go(after)
    assert _ended(connection, held) == (outcome, "disk full")


def test_the_last_transient_failure_is_final(
    connection: sa.Connection, make_job: MakeJob, start: Start, row: Row
) -> None:
    held = start(make_job(retry_count=3))
    assert lease.fail(connection, held, "bad", "transient", BACKOFF) is None
    assert (row(held.job_id).status, row(held.job_id).retry_count) == ("failed", 3)


def test_a_job_that_keeps_failing_runs_once_and_three_times_more(
    connection: sa.Connection, make_job: MakeJob, start: Start, row: Row
) -> None:
    job_id = make_job()
    for _ in range(4):
        assert row(job_id).status == "pending"
        lease.fail(connection, start(job_id), "bad", "transient", BACKOFF)
    assert row(job_id).status == "failed"
    assert [attempt["outcome"] for attempt in queue.attempts(connection, job_id)] == ["failed"] * 4


def test_old_rows_without_retry_counts_have_the_defaults(
    connection: sa.Connection, make_job: MakeJob, start: Start, row: Row
) -> None:
    held = start(make_job(retry_count=None, max_retries=None))
    assert lease.fail(connection, held, "bad", "transient", BACKOFF) == Retry(1, 120)


def test_a_job_handed_back_is_as_good_as_before(connection: sa.Connection, held: Lease, row: Row) -> None:
    lease.release(connection, held, "shutdown")
    after = row(held.job_id)
    assert (after.status, after.retry_count, after.retry_after, after.error) == ("pending", 0, None, None)
    assert log_lines(connection, held.job_id) == ["Handed back: shutdown"]
    _assert_let_go(after)
    assert _ended(connection, held) == ("released", "shutdown")
    assert [job.id for job in dispatching.ready(connection)] == [held.job_id]


@pytest.mark.parametrize(
    ("status", "then"), [(JobStatus.RUNNING, JobStatus.PENDING), (JobStatus.PAUSED, JobStatus.PAUSED)]
)
def test_a_rescued_job_is_free_at_once_and_that_counts(
    connection: sa.Connection, held: Lease, row: Row, status: JobStatus, then: JobStatus
) -> None:
    """What somebody has paused does not start because its run died."""
    connection.execute(sa.update(jobs).values(status=status.value))
    assert lease.rescue(connection, stale(held), "its process died") == then
    after = row(held.job_id)
    assert (after.status, after.retry_count, after.retry_after) == (then, 1, None)
    assert after.waiting_reason is None
    assert log_lines(connection, held.job_id) == ["Attempt 1 lost: its process died"]
    assert after.log.endswith("Attempt 1 lost: its process died")
    _assert_let_go(after)
    assert _ended(connection, held) == ("lost", "its process died")
    assert lease.rescue(connection, stale(held), "again") is None


def test_a_job_whose_ffmpeg_is_killed_for_the_last_time_says_so_in_its_first_line(
    connection: sa.Connection, make_job: MakeJob, start: Start, row: Row
) -> None:
    held = start(make_job(max_retries=0))
    assert lease.fail(connection, held, "ffmpeg was killed by SIGKILL\ncommand: ffmpeg", "lost", BACKOFF) is None
    said = "ffmpeg was killed by SIGKILL; this was the last of 1 attempts\ncommand: ffmpeg"
    assert row(held.job_id).error == said
    assert _ended(connection, held) == ("lost", said)


def test_a_job_that_kills_its_last_run_has_failed(
    connection: sa.Connection, make_job: MakeJob, start: Start, row: Row
) -> None:
    job_id = make_job(max_retries=1)
    assert lease.rescue(connection, stale(start(job_id)), "its process died") == JobStatus.PENDING
    held = start(job_id)
    assert lease.rescue(connection, stale(held), "its process died") == JobStatus.FAILED
    after = row(job_id)
    assert (after.status, after.retry_count) == ("failed", 1)
    assert after.error == "its process died; this was the last of 2 attempts"
    assert after.completed_at is not None
    _assert_let_go(after)
    assert _ended(connection, held) == ("lost", "its process died")


def test_an_attempt_whose_run_ended_before_its_claim_is_rescued(
    connection: sa.Connection, make_job: MakeJob, admit: Callable[..., queue.Job], row: Row
) -> None:
    job_id = make_job()
    attempt = admit(job_id, (1,)).attempt
    rescued = lease.rescue(connection, StaleJob(job_id, attempt, None, None, 0), "its run ended before it began")
    assert rescued == JobStatus.PENDING
    assert row(job_id).retry_count == 1


@pytest.mark.parametrize("status", [JobStatus.PENDING, JobStatus.PAUSED, JobStatus.COMPLETED, JobStatus.CANCELLED])
def test_a_job_that_is_no_longer_its_attempts_is_not_rescued(
    connection: sa.Connection, held: Lease, everything: Everything, status: JobStatus
) -> None:
    """It was handed back and then paused, say, between the look and the rescue."""
    lease.release(connection, held, "shutdown")
    connection.execute(sa.update(jobs).values(status=status.value))
    before = everything()
    assert lease.rescue(connection, stale(held), "silent") is None
    assert everything() == before


# Paused in mid-run


@pytest.fixture
def paused(connection: sa.Connection, held: Lease) -> Lease:
    connection.execute(sa.text("UPDATE jobs SET status = 'paused'"))
    return held


def test_a_paused_attempt_keeps_its_job_and_hears_that_it_is_paused(
    connection: sa.Connection, held: Lease, row: Row
) -> None:
    assert lease.beat(connection, held, 10, None) == JobStatus.RUNNING
    connection.execute(sa.text("UPDATE jobs SET status = 'paused'"))
    assert lease.beat(connection, held, 11, None) == JobStatus.PAUSED
    lease.log(connection, held, ["suspended"])
    after = row(held.job_id)
    assert (after.status, after.progress, after.vram_units) == ("paused", 11, [0, 1, 2, 3])
    assert after.waiting_reason == "paused in mid-run: still holds a gpu_encode slot and 4000 MB of VRAM"
    connection.execute(sa.text("UPDATE jobs SET status = 'running'"))
    assert row(held.job_id).waiting_reason is None
    lease.complete(connection, held, {})


@pytest.mark.parametrize("act", ["complete", "fail", "fail for good"])
def test_a_paused_job_does_not_end(database: sa.Engine, paused: Lease, everything: Everything, act: str) -> None:
    before = everything()
    with pytest.raises(JobPaused), database.begin() as connection:
        ACTS[act](connection, paused)
    assert everything() == before


def test_a_paused_job_that_is_handed_back_stays_paused_and_holds_nothing(
    connection: sa.Connection, paused: Lease, row: Row
) -> None:
    lease.release(connection, paused, "shutdown")
    after = row(paused.job_id)
    assert (after.status, after.retry_count, after.progress, after.waiting_reason) == ("paused", 0, 0, None)
    _assert_let_go(after)
    assert dispatching.active(connection) == []
    assert _ended(connection, paused) == ("released", "shutdown")


# The log in the row


def test_the_log_in_the_row_is_the_tail_of_at_most_ten_kilobytes(
    connection: sa.Connection, held: Lease, row: Row
) -> None:
    lease.log(connection, held, [f"line {number} ëñ" for number in range(2000)])
    lease.complete(connection, held, {})
    tail = row(held.job_id).log
    assert 9_900 < len(tail.encode()) <= 10_000
    assert logs.text(connection, held.job_id).endswith(tail)
    assert tail.endswith("line 1999 ëñ")


def test_what_another_program_logged_is_kept(
    connection: sa.Connection, make_job: MakeJob, admit: Callable[..., queue.Job], start: Start, row: Row
) -> None:
    """Also when the first run that was asked for never came."""
    job_id = make_job(log="Starting re-encode\nProgress: 25%")
    queue.return_to_pending(connection, job_id, admit(job_id).attempt)
    held = start(job_id)
    lease.fail(connection, held, "bad", "transient", BACKOFF)
    again = start(job_id)
    lease.log(connection, again, ["new"])
    lease.complete(connection, again, {})
    lines = [line.rpartition("] ")[2] for line in logs.text(connection, job_id).splitlines()]
    expected = ["Starting re-encode", "Progress: 25%", "--- ERROR ---", "bad", "Retry 1 of 3 in 120 s", "new"]
    assert lines == expected
    assert "Progress: 25%" in row(job_id).log


def test_what_another_program_logged_survives_a_rescue(connection: sa.Connection, make_job: MakeJob, row: Row) -> None:
    job_id = make_job(JobType.REENCODE_STREAMING, JobStatus.RUNNING, log="Progress: 25%")
    lease.rescue(connection, StaleJob(job_id, 0, None, None, float("inf")), "no run holds it")
    assert log_lines(connection, job_id) == ["Progress: 25%", "Attempt 0 lost: no run holds it"]
    assert "Progress: 25%" in row(job_id).log


def test_an_attempt_that_was_made_is_not_made_again(connection: sa.Connection, held: Lease, row: Row) -> None:
    """Another program set the running job back to queued; the next attempt will take it."""
    connection.execute(sa.text("UPDATE jobs SET status = 'queued'"))
    assert lease.claim(connection, held.job_id, held.attempt, run_id="again", host="here") is None
    assert row(held.job_id).status == "queued"

"""Asking for work, looking at it, handing it out, and putting right what others moved."""

import time
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import product
from typing import Any
from uuid import UUID, uuid4

import psycopg
import pytest
import sqlalchemy as sa

from jobqueue_bridge import admission, dispatching, lease, logs, queue, stats, videos
from jobqueue_bridge.admission import Waiting
from jobqueue_bridge.database import listen
from jobqueue_bridge.errors import (
    AmbiguousJob,
    AmbiguousVideo,
    FieldProblem,
    InvalidJob,
    JobAlreadyLive,
    JobNotFound,
    VideoNotFound,
)
from jobqueue_bridge.params import MODELS
from jobqueue_bridge.queue import Filters, NewJob
from jobqueue_bridge.settings import Settings
from jobqueue_bridge.tables import job_leases, job_tallies, jobs
from jobqueue_bridge.tables import videos as videos_table
from jobqueue_bridge.vocabulary import NEEDS, JobStatus, JobType, Origin, ResourceCategory
from tests.job_params import least

MakeJob = Callable[..., UUID]
Row = Callable[[UUID], Any]
AtOnce = Callable[[int, Callable[[int], Any]], list[Any]]
AN_HOUR = timedelta(hours=1)


@pytest.fixture
def heard(settings: Settings, connection: sa.Connection) -> Callable[[], int]:
    """How many wake-ups came since the last look."""
    del connection  # emptied the tables before anybody listens
    ears = listen(settings)

    def since() -> int:
        return len(list(ears.notifies(timeout=0.1)))

    since()
    return since


def ask(kind: JobType, video: UUID) -> NewJob:
    return NewJob(kind.value, least(kind, video))


def field_problems(refused: pytest.ExceptionInfo[InvalidJob]) -> dict[str, str]:
    return {problem.field: problem.problem for problem in refused.value.problems}


# Asking


@pytest.mark.parametrize("kind", list(MODELS))
def test_a_job_gets_its_types_category_and_vram(
    connection: sa.Connection, settings: Settings, video: UUID, kind: JobType
) -> None:
    job = queue.enqueue(connection, ask(kind, video), settings)
    assert (job.type, job.status, job.resource_category, job.vram_required) == (
        kind.value,
        JobStatus.PENDING,
        NEEDS[kind].category.value,
        NEEDS[kind].vram_mb,
    )
    assert (job.priority, job.progress, job.retry_count, job.max_retries, job.attempt) == (5, 0, 0, 3, 0)
    assert abs(job.created_at - datetime.now(UTC)) < AN_HOUR
    assert queue.get(connection, job.id) == job


def test_what_is_asked_for_is_kept(connection: sa.Connection, settings: Settings) -> None:
    parent = queue.enqueue(connection, NewJob("scan", {}), settings).id
    asked = NewJob("compile_random", {"count": 3}, 1, "gpu_ai", 1500, 7, Origin.SCHEDULE, parent)
    job = queue.enqueue(connection, asked, settings)
    assert (job.priority, job.resource_category, job.vram_required, job.max_retries) == (1, "gpu_ai", 1500, 7)
    assert (job.origin, job.parent_id) == ("schedule", parent)
    assert job.params == {"count": 3}


def test_params_are_stored_with_their_defaults(connection: sa.Connection, settings: Settings) -> None:
    job = queue.enqueue(connection, NewJob("scan", {}), settings)
    assert job.params == {"directoryType": "videos", "skipExisting": True}


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"priority": 0}, {"priority": "must be 1 (first) to 10 (last), got 0"}),
        ({"priority": 11}, {"priority": "must be 1 (first) to 10 (last), got 11"}),
        ({"resource_category": "gpu"}, {"resourceCategory": "must be one of cpu, gpu_encode, gpu_ai, got 'gpu'"}),
        ({"max_retries": -1}, {"maxRetries": "must be 0 to 100, got -1"}),
        ({"max_retries": 101}, {"maxRetries": "must be 0 to 100, got 101"}),
        ({"vram_required": -1}, {"vramRequired": "must not be negative, got -1"}),
        ({"vram_required": 16001}, {"vramRequired": "16001 MB is more than the whole budget of 16000 MB"}),
        ({"params": []}, {"params": "must be a JSON object, got an array"}),
    ],
)
def test_a_request_that_can_never_run_is_refused(
    connection: sa.Connection, settings: Settings, change: dict[str, Any], problem: dict[str, str]
) -> None:
    with pytest.raises(InvalidJob) as refused:
        queue.enqueue(connection, replace(NewJob("scan", {}), **change), settings)
    assert field_problems(refused) == problem
    assert queue.page(connection, Filters(), limit=1).total == 0


def test_every_problem_of_a_request_is_named_at_once(connection: sa.Connection, settings: Settings) -> None:
    with pytest.raises(InvalidJob) as refused:
        queue.enqueue(connection, NewJob("scan", {"x": 1, "path": "/"}, priority=0, vram_required=99_999), settings)
    assert set(field_problems(refused)) == {"priority", "vramRequired", "params.x", "params.path"}


def test_the_whole_budget_is_allowed_and_a_types_own_need_counts(connection: sa.Connection, settings: Settings) -> None:
    assert queue.enqueue(connection, NewJob("scan", {}, vram_required=16000), settings).vram_required == 16000
    small = settings.model_copy(update={"total_vram_mb": 1999})
    with pytest.raises(InvalidJob, match="2000 MB is more than the whole budget of 1999 MB"):
        queue.enqueue(connection, NewJob("compile_random", {}), small)


def test_a_video_that_is_missing_is_named(connection: sa.Connection, settings: Settings) -> None:
    missing = uuid4()
    with pytest.raises(InvalidJob, match=rf"params\.videoId: there is no video {missing}"):
        queue.enqueue(connection, NewJob("validate", {"videoId": str(missing)}), settings)
    with pytest.raises(InvalidJob, match=r"params\.inputPath: there is no video at 'inbox/a.mp4': scan its folder"):
        queue.enqueue(connection, NewJob("reencode_streaming", {"inputPath": "inbox/a.mp4"}), settings)


def test_a_video_may_be_named_by_id_or_by_path(connection: sa.Connection, settings: Settings, video: UUID) -> None:
    by_path = queue.enqueue(connection, NewJob("reencode_streaming", {"inputPath": "library//videos/a.mp4"}), settings)
    assert by_path.video_id == video
    with pytest.raises(JobAlreadyLive):
        queue.enqueue(connection, NewJob("reencode_streaming", {"videoId": str(video)}), settings)


@pytest.mark.parametrize("how", ["videoId", "inputPath"])
def test_a_reencode_never_overwrites_its_source(
    connection: sa.Connection, settings: Settings, video: UUID, how: str
) -> None:
    source = {"videoId": str(video), "inputPath": "library/videos/a.mp4"}[how]
    asked = NewJob("reencode_streaming", {how: source, "outputPath": "library/./videos/a.mp4"})
    with pytest.raises(InvalidJob, match=r"params\.outputPath: must not be the source itself"):
        queue.enqueue(connection, asked, settings)


@pytest.mark.parametrize("status", [status for status in JobStatus if status != JobStatus.PENDING])
def test_only_a_live_job_forbids_another_that_does_the_same(
    connection: sa.Connection, settings: Settings, make_job: MakeJob, status: JobStatus
) -> None:
    first = queue.enqueue(connection, NewJob("scan", {}), settings)
    connection.execute(sa.update(jobs).values(status=status.value))
    if status in {JobStatus.COMPLETED, JobStatus.FAILED, JobStatus.CANCELLED}:
        assert queue.enqueue(connection, NewJob("scan", {}), settings).id != first.id
    else:
        with pytest.raises(JobAlreadyLive) as refused:
            queue.enqueue(connection, NewJob("scan", {}), settings)
        assert refused.value.job_id == first.id


def test_twenty_who_ask_for_the_same_at_once_get_one_job(
    connection: sa.Connection, database: sa.Engine, settings: Settings, at_once: AtOnce
) -> None:
    def enqueue(_: int) -> UUID:
        with database.begin() as own:
            try:
                return queue.enqueue(own, NewJob("scan", {}), settings).id
            except JobAlreadyLive as live:
                return live.job_id

    assert len(set(at_once(20, enqueue))) == 1
    assert connection.scalar(sa.select(sa.func.count()).select_from(jobs)) == 1


# Looking


def test_a_job_is_found_by_its_id_or_the_beginning_of_it(connection: sa.Connection, make_job: MakeJob) -> None:
    first = make_job(id=UUID("aaaaaaaa-1111-4000-8000-000000000001"))
    make_job(id=UUID("aaaaaaaa-2222-4000-8000-000000000002"))
    for reference in (str(first), str(first).upper(), first.hex, "aaaaaaaa-1", "aaaaaaaa1111"):
        assert queue.find(connection, reference).id == first


def test_the_beginning_of_two_ids_is_ambiguous(connection: sa.Connection, make_job: MakeJob) -> None:
    both = {make_job(id=UUID(f"aaaaaaaa-{digit * 4}-4000-8000-000000000001")) for digit in "12"}
    with pytest.raises(AmbiguousJob) as ambiguous:
        queue.find(connection, "aaaaaaaa")
    assert set(ambiguous.value.matches) == both


@pytest.mark.parametrize(
    "reference",
    [
        "",
        "-",
        "b",
        "xyz",
        "0x12",
        "+a",
        "1_0",
        " a",
        "a\0",
        "a\ud800",
        "１",
        "{a}",
        "urn:uuid:a",
        "a" * 33,
        "00000000-0000-4000-8000-000000000000",
    ],
)
def test_what_is_no_id_finds_nothing(connection: sa.Connection, make_job: MakeJob, reference: str) -> None:
    make_job(id=UUID("aaaaaaaa-1111-4000-8000-000000000001"))
    with pytest.raises(JobNotFound):
        queue.find(connection, reference)


@pytest.fixture
def mixed_jobs(make_job: MakeJob) -> None:
    """Forty jobs, a minute apart."""
    kinds = [JobType.SCAN, JobType.VALIDATE, JobType.REENCODE_STREAMING, JobType.DIGEST_GENERATE]
    for number in range(40):
        statuses = list(JobStatus)
        created = datetime(2026, 1, 1, tzinfo=UTC) + timedelta(minutes=number)
        make_job(kinds[number % 4], statuses[number % 7], created_at=created)


@pytest.mark.usefixtures("mixed_jobs")
def test_pages_show_what_fits_the_filters_newest_first_with_the_exact_total(connection: sa.Connection) -> None:
    every = queue.page(connection, Filters(), limit=100).jobs
    kinds = [None, JobType.SCAN.value, JobType.COMPILE_GIF.value]
    for status, kind, category in product([None, *JobStatus], kinds, [None, *ResourceCategory]):
        wanted = {"status": status, "type": kind, "resource_category": category}
        expected = [job for job in every if all(value in (None, getattr(job, name)) for name, value in wanted.items())]
        filters = Filters(status, kind, category)
        pages = [queue.page(connection, filters, limit=7, offset=offset) for offset in range(0, 42, 7)]
        assert [job for page in pages for job in page.jobs] == expected
        assert {page.total for page in pages} == {len(expected)}


@pytest.mark.usefixtures("mixed_jobs")
def test_a_page_is_newest_first_and_ends(connection: sa.Connection) -> None:
    page = queue.page(connection, Filters(), limit=100)
    assert [job.created_at for job in page.jobs] == sorted((job.created_at for job in page.jobs), reverse=True)
    assert (len(page.jobs), page.total) == (40, 40)
    assert queue.page(connection, Filters(), limit=5, offset=10**15).jobs == []


def test_jobs_of_one_video_are_listed(connection: sa.Connection, settings: Settings, video: UUID) -> None:
    job = queue.enqueue(connection, NewJob("validate", {"videoId": str(video)}), settings)
    queue.enqueue(connection, NewJob("scan", {}), settings)
    assert queue.page(connection, Filters(video_id=video), limit=5) == queue.Page([job], 1)


@pytest.mark.usefixtures("mixed_jobs")
def test_totals_stay_exact_through_every_kind_of_change(connection: sa.Connection, database: sa.Engine) -> None:
    """They are sums of changes: inserts, moves by anybody, deletes, what was rolled back, before and after folding."""

    def assert_exact() -> None:
        kind = (jobs.c.status, jobs.c.type, jobs.c.resource_category)
        counted = connection.execute(sa.select(*kind, sa.func.count()).group_by(*kind)).all()
        tally = (job_tallies.c.status, job_tallies.c.type, job_tallies.c.resource_category)
        total = sa.func.sum(job_tallies.c.jobs)
        summed = connection.execute(sa.select(*tally, total).group_by(*tally).having(total != 0)).all()
        assert sorted(map(tuple, summed)) == sorted(map(tuple, counted))

    assert_exact()
    connection.execute(sa.text("UPDATE jobs SET status = 'failed' WHERE status = 'running'"))
    connection.execute(sa.text("UPDATE jobs SET type = 'compile_gif', progress = 1 WHERE type = 'scan'"))
    connection.execute(sa.text("UPDATE jobs SET resource_category = 'cpu' WHERE status = 'paused'"))
    connection.execute(sa.text("DELETE FROM jobs WHERE status = 'cancelled'"))
    assert_exact()
    with database.connect() as undecided:
        undecided.execute(sa.text("DELETE FROM jobs"))
        assert_exact()
    assert_exact()
    for number in range(300):
        connection.execute(sa.text("UPDATE jobs SET status = :to"), {"to": ["pending", "queued"][number % 2]})
    queue.tidy_after_outside_moves(connection)
    assert (connection.scalar(sa.select(sa.func.count()).select_from(job_tallies)) or 0) < 50
    assert_exact()
    connection.execute(sa.text("TRUNCATE jobs CASCADE"))
    assert_exact()


@pytest.mark.usefixtures("mixed_jobs")
def test_statistics_count_by_status_and_type(connection: sa.Connection) -> None:
    found = stats.read(connection)
    assert sum(found.by_status.values()) == sum(found.by_type.values()) == 40
    assert set(found.by_status) == set(JobStatus)
    assert found.by_type == {"scan": 10, "validate": 10, "reencode_streaming": 10, "digest_generate": 10}
    running = queue.page(connection, Filters(JobStatus.RUNNING), limit=50).jobs
    assert found.vram_used_mb == sum(job.vram_required for job in running) > 0


def test_the_average_is_that_of_completed_jobs(connection: sa.Connection, make_job: MakeJob) -> None:
    assert stats.read(connection).average_processing_s == 0
    began = datetime(2026, 1, 1, tzinfo=UTC)
    for status, minutes in ((JobStatus.COMPLETED, 1), (JobStatus.COMPLETED, 3), (JobStatus.FAILED, 90)):
        make_job(status=status, started_at=began, completed_at=began + timedelta(minutes=minutes))
    assert stats.read(connection).average_processing_s == 120


def test_the_log_of_another_programs_job_is_its_text(connection: sa.Connection, make_job: MakeJob) -> None:
    job_id = make_job("compilation", JobStatus.COMPLETED, log="one\ntwo\nthree")
    assert logs.text(connection, job_id) == "one\ntwo\nthree"
    assert logs.text(connection, job_id, tail=2) == "two\nthree"
    assert logs.text(connection, make_job()) == ""


# Dispatching


def test_ready_jobs_come_by_priority_then_age_then_id(connection: sa.Connection, make_job: MakeJob) -> None:
    old, new = datetime(2026, 1, 1, tzinfo=UTC), datetime(2026, 1, 2, tzinfo=UTC)
    low, high = UUID(int=1), UUID(int=2)
    expected = [
        make_job(JobType.DIGEST_GENERATE, priority=1, created_at=new),
        make_job(priority=2, created_at=old),
        make_job(JobType.REENCODE_STREAMING, priority=2, created_at=new, id=low),
        make_job(priority=2, created_at=new, id=high),
        make_job(priority=10, created_at=old),
    ]
    assert [job.id for job in dispatching.ready(connection)] == expected


@pytest.mark.parametrize("status", [status for status in JobStatus if status != JobStatus.PENDING])
def test_only_pending_jobs_are_ready(connection: sa.Connection, make_job: MakeJob, status: JobStatus) -> None:
    make_job(status=status)
    assert dispatching.ready(connection) == []


def test_a_job_is_ready_only_when_its_retry_time_has_come(connection: sa.Connection, make_job: MakeJob) -> None:
    now = datetime.now(UTC)
    assert dispatching.seconds_to_next_retry(connection) is None
    due, waiting, later = (make_job(retry_after=now + hours * AN_HOUR) for hours in (-1, 1, 2))
    assert [job.id for job in dispatching.ready(connection)] == [due]
    seconds = dispatching.seconds_to_next_retry(connection)
    assert seconds is not None
    assert 3000 < seconds <= 3600
    connection.execute(sa.update(jobs).where(jobs.c.id.in_([waiting, later])).values(status="paused"))
    assert dispatching.seconds_to_next_retry(connection) is None


def test_a_long_line_of_one_category_hides_no_other(connection: sa.Connection, make_job: MakeJob) -> None:
    connection.execute(
        sa.text(
            "INSERT INTO jobs (type, params, resource_category, priority)"
            " SELECT 'scan', '{}', 'cpu', 1 FROM generate_series(1, 500)"
        )
    )
    last = make_job(JobType.DIGEST_GENERATE, priority=10)
    stray = make_job("scan", resource_category="gpu", priority=10)
    assert {last, stray} <= {job.id for job in dispatching.ready(connection)}


@pytest.mark.parametrize(
    "params", ["null", "[]", '"text"', "3", '{"count": 1e5000}', "[" * 3000 + "]" * 3000, "1.5e400"]
)
def test_no_params_of_another_program_stop_the_dispatcher(
    connection: sa.Connection, settings: Settings, params: str
) -> None:
    connection.execute(
        sa.text("INSERT INTO jobs (type, params) VALUES ('compile_random', CAST(:params AS jsonb))"), {"params": params}
    )
    (job,) = dispatching.ready(connection)
    with pytest.raises(InvalidJob) as refused:
        queue.check(connection, NewJob(job.type, job.params), settings)
    dispatching.refuse(connection, job.id, refused.value)
    assert queue.get(connection, job.id).status == JobStatus.FAILED


def test_one_dispatcher_at_a_time(database: sa.Engine) -> None:
    with database.begin() as first, database.begin() as second:
        assert dispatching.lock_dispatch(first)
        assert not dispatching.lock_dispatch(second)
        first.commit()
        assert dispatching.lock_dispatch(second)


def test_an_admitted_job_is_queued_with_the_next_attempt(
    connection: sa.Connection, make_job: MakeJob, admit: Callable[..., queue.Job], row: Row
) -> None:
    job_id = make_job(JobType.REENCODE_STREAMING, waiting_reason="w", queue_position=3, run_id="old", attempt=4)
    job = admit(job_id, (2, 5))
    assert (job.status, job.attempt, job.waiting_reason, job.queue_position, job.run_id) == (
        JobStatus.QUEUED,
        5,
        None,
        None,
        None,
    )
    assert row(job_id).vram_units == [2, 5]
    assert [(entry.id, entry.units) for entry in dispatching.active(connection)] == [(job_id, (2, 5))]


@pytest.mark.parametrize("status", [status for status in JobStatus if status != JobStatus.PENDING])
def test_a_job_that_was_moved_meanwhile_is_not_admitted(
    connection: sa.Connection, make_job: MakeJob, status: JobStatus, everything: Callable[[], Any]
) -> None:
    job_id = make_job(status=status)
    before = everything()
    checked = queue.Checked(JobType.SCAN, MODELS[JobType.SCAN](), None)
    assert dispatching.admit(connection, admission.Admitted(job_id, ()), checked) is None
    assert everything() == before


def test_a_row_that_somebody_holds_open_stops_nobody(
    connection: sa.Connection, database: sa.Engine, make_job: MakeJob, row: Row
) -> None:
    """An operator's forgotten transaction: the dispatcher passes over its rows and goes on."""
    job_id = make_job(queue_position=9)
    checked = queue.Checked(JobType.SCAN, MODELS[JobType.SCAN](), None)
    with database.begin() as forgotten:
        forgotten.execute(sa.text("UPDATE jobs SET priority = 1"))
        connection.execute(sa.text("SET lock_timeout = '1s'"))
        assert dispatching.admit(connection, admission.Admitted(job_id, ()), checked) is None
        dispatching.refuse(connection, job_id, InvalidJob([]))
        dispatching.note_waiting(connection, [], [Waiting(job_id, "why")])
        dispatching.note_waiting(connection, [], [])
        connection.execute(sa.text("RESET lock_timeout"))
    assert (row(job_id).status, row(job_id).waiting_reason) == ("pending", None)


def test_active_jobs_are_those_that_hold_a_slot(
    connection: sa.Connection,
    make_job: MakeJob,
    admit: Callable[..., queue.Job],
    start: Callable[..., lease.Lease],
) -> None:
    queued, running, paused = (make_job(JobType.REENCODE_STREAMING) for _ in range(3))
    admit(queued, (0,))
    start(running, (1,))
    start(paused, (2,))
    queue.move(connection, paused, JobStatus.PAUSED)
    make_job(status=JobStatus.PAUSED)
    make_job(status=JobStatus.COMPLETED)
    assert [(job.id, job.units) for job in dispatching.active(connection)] == [
        (running, (1,)),
        (paused, (2,)),
        (queued, (0,)),
    ]
    assert {job.id for job in queue.running(connection)} == {running, paused}


def test_a_job_that_can_never_run_is_failed_and_says_why(
    connection: sa.Connection, make_job: MakeJob, row: Row
) -> None:
    job_id = make_job(log="from before", waiting_reason="w")
    dispatching.refuse(connection, job_id, InvalidJob([FieldProblem("params.x", "unknown parameter")]))
    after = row(job_id)
    assert (after.status, after.error) == ("failed", "params.x: unknown parameter")
    assert after.completed_at is not None
    assert after.waiting_reason is None
    text = logs.text(connection, job_id)
    assert [line.partition("] ")[2] for line in text.splitlines()] == [
        "from before",
        "--- ERROR ---",
        "params.x: unknown parameter",
    ]
    assert after.log == text


def test_only_a_pending_job_is_refused(
    connection: sa.Connection, make_job: MakeJob, everything: Callable[[], Any]
) -> None:
    job_id = make_job(status=JobStatus.RUNNING)
    before = everything()
    dispatching.refuse(connection, job_id, InvalidJob([]))
    assert everything() == before


def test_reasons_and_positions_are_written_where_they_changed(
    connection: sa.Connection, make_job: MakeJob, row: Row
) -> None:
    ids = [make_job(priority=1 + number // 10) for number in range(60)]
    dispatching.note_waiting(connection, dispatching.ready(connection), [Waiting(job_id, "why") for job_id in ids])
    noted = [(row(job_id).waiting_reason, row(job_id).queue_position) for job_id in ids]
    assert noted == [("why", position) for position in range(1, 51)] + [(None, None)] * 10
    versions = _row_versions(connection)
    dispatching.note_waiting(connection, dispatching.ready(connection), [Waiting(job_id, "why") for job_id in ids])
    assert _row_versions(connection) == versions


def test_a_job_that_is_pushed_back_from_the_head_keeps_no_stale_position(
    connection: sa.Connection, make_job: MakeJob, row: Row
) -> None:
    first = make_job()
    dispatching.note_waiting(connection, dispatching.ready(connection), [Waiting(first, "why")])
    urgent = [make_job(priority=1) for _ in range(50)]
    waiting = [Waiting(job_id, "why") for job_id in [*urgent, first]]
    dispatching.note_waiting(connection, dispatching.ready(connection), waiting)
    assert (row(first).queue_position, row(first).waiting_reason) == (None, None)
    assert dispatching.position(connection, queue.get(connection, first)) == 51


def _row_versions(connection: sa.Connection) -> list[Any]:
    return list(connection.execute(sa.text("SELECT id, ctid::text FROM jobs ORDER BY id")))


def test_a_position_is_counted_among_all_that_are_ready(connection: sa.Connection, make_job: MakeJob) -> None:
    urgent, first, second = make_job(priority=1), make_job(JobType.DIGEST_GENERATE), make_job()
    make_job(priority=1, retry_after=datetime.now(UTC) + AN_HOUR)
    running = make_job(status=JobStatus.RUNNING)
    positions = [
        dispatching.position(connection, queue.get(connection, job_id)) for job_id in (urgent, first, second, running)
    ]
    assert positions == [1, 2, 3, None]


# Other programs


@pytest.mark.parametrize("kind", list(JobType))
def test_a_plain_insert_gets_what_its_type_needs(connection: sa.Connection, row: Row, kind: JobType) -> None:
    inserted = connection.execute(
        sa.text("INSERT INTO jobs (type, params) VALUES (:type, '{}') RETURNING id"), {"type": kind.value}
    ).scalar_one()
    after = row(inserted)
    assert (after.resource_category, after.vram_required) == (NEEDS[kind].category.value, NEEDS[kind].vram_mb)
    assert (after.status, after.priority, after.origin, after.attempt) == ("pending", 5, "sql", 0)


def test_what_a_plain_insert_says_is_kept(connection: sa.Connection, row: Row) -> None:
    inserted = connection.execute(
        sa.text(
            "INSERT INTO jobs (type, params, resource_category, vram_required, priority, created_at)"
            " VALUES ('reencode_streaming', '{}', 'gpu_ai', 0, NULL, NULL) RETURNING id"
        )
    ).scalar_one()
    after = row(inserted)
    assert (after.resource_category, after.vram_required, after.priority) == ("gpu_ai", 0, 5)
    assert after.created_at is not None


def test_an_insert_wakes_who_listens(connection: sa.Connection, heard: Callable[[], int]) -> None:
    connection.execute(sa.text("INSERT INTO jobs (type, params) SELECT 'scan', '{}' FROM generate_series(1, 100)"))
    assert heard() == 1


def test_admission_and_start_wake_nobody(
    connection: sa.Connection, make_job: MakeJob, start: Callable[..., lease.Lease], heard: Callable[[], int]
) -> None:
    job_id = make_job()
    assert heard() == 1
    dispatching.note_waiting(connection, dispatching.ready(connection), [Waiting(job_id, "why")])
    held = start(job_id)
    lease.beat(connection, held, 50, {"fps": 1})
    assert heard() == 0


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE jobs SET status = 'completed'",
        "UPDATE jobs SET status = 'failed'",
        "UPDATE jobs SET status = 'cancelled'",
        "UPDATE jobs SET status = 'paused'",
        "UPDATE jobs SET status = 'pending'",
        "UPDATE jobs SET priority = 1",
    ],
)
def test_whatever_frees_a_slot_or_changes_the_order_wakes_who_listens(
    connection: sa.Connection, make_job: MakeJob, heard: Callable[[], int], statement: str
) -> None:
    make_job(status=JobStatus.RUNNING)
    heard()
    connection.execute(sa.text(statement))
    assert heard() == 1


# Putting right


def test_a_queued_job_whose_run_never_comes_is_pending_again(
    connection: sa.Connection, make_job: MakeJob, admit: Callable[..., queue.Job], row: Row
) -> None:
    job_id = make_job(JobType.REENCODE_STREAMING)
    attempt = admit(job_id, (1, 2)).attempt
    assert queue.queued_for_longer_than(connection, 3600) == []
    connection.execute(sa.update(jobs).values(admitted_at=datetime.now(UTC) - AN_HOUR))
    (stale,) = queue.queued_for_longer_than(connection, 60)
    assert (stale.id, stale.attempt) == (job_id, attempt)
    assert not queue.return_to_pending(connection, job_id, attempt + 1)
    assert queue.return_to_pending(connection, job_id, attempt)
    assert not queue.return_to_pending(connection, job_id, attempt)
    after = row(job_id)
    assert (after.status, after.vram_units, after.retry_count) == ("pending", None, 0)
    assert admit(job_id).attempt == attempt + 1


def test_a_queued_row_of_another_program_is_overdue_at_once(connection: sa.Connection, make_job: MakeJob) -> None:
    job_id = make_job(status=JobStatus.QUEUED)
    assert [stale.id for stale in queue.queued_for_longer_than(connection, 3600)] == [job_id]


def test_a_running_row_without_a_lease_has_been_silent_for_ever(connection: sa.Connection, make_job: MakeJob) -> None:
    job_id = make_job(status=JobStatus.RUNNING)
    (stale,) = queue.running(connection)
    assert (stale.id, stale.silent_s) == (job_id, float("inf"))


@pytest.mark.parametrize(
    ("status", "outcome"),
    [
        (JobStatus.FAILED, "failed"),
        (JobStatus.CANCELLED, "cancelled"),
        (JobStatus.COMPLETED, "lost"),
        (JobStatus.PENDING, "lost"),
        (JobStatus.QUEUED, "lost"),
    ],
)
def test_an_attempt_that_another_program_ended_is_closed(
    connection: sa.Connection, held: lease.Lease, row: Row, status: JobStatus, outcome: str
) -> None:
    connection.execute(sa.text("UPDATE jobs SET status = :to"), {"to": status.value})
    queue.tidy_after_outside_moves(connection)
    after, (attempt,) = row(held.job_id), queue.attempts(connection, held.job_id)
    assert connection.execute(sa.select(job_leases)).all() == []
    why = "the job was cancelled" if status == JobStatus.CANCELLED else f"the job was set to {status} from outside"
    assert (attempt["outcome"], attempt["error"]) == (outcome, why)
    assert attempt["ended_at"] is not None
    assert (after.status, after.lease_token) == (status, None)
    assert (after.vram_units is None) == (status != JobStatus.QUEUED)


def test_an_attempt_whose_place_the_next_one_took_is_closed_and_the_next_one_is_not(
    connection: sa.Connection, held: lease.Lease, start: Callable[..., lease.Lease], everything: Callable[[], Any]
) -> None:
    connection.execute(sa.text("UPDATE jobs SET status = 'pending'"))
    second = start(held.job_id)
    queue.tidy_after_outside_moves(connection)
    first, now = queue.attempts(connection, held.job_id)
    assert (first["outcome"], first["error"]) == ("lost", "another attempt took its place")
    assert (now["attempt"], now["outcome"]) == (second.attempt, None)
    lease.beat(connection, second, None, None)
    before = everything()
    queue.tidy_after_outside_moves(connection)
    assert everything() == before


@pytest.mark.parametrize("status", [JobStatus.RUNNING, JobStatus.PAUSED])
def test_a_lease_that_is_in_order_is_left_alone(
    connection: sa.Connection, held: lease.Lease, everything: Callable[[], Any], status: JobStatus
) -> None:
    connection.execute(sa.update(jobs).values(status=status.value))
    before = everything()
    queue.tidy_after_outside_moves(connection)
    assert everything() == before


def test_a_deleted_job_leaves_nothing_behind(
    connection: sa.Connection, held: lease.Lease, everything: Callable[[], Any]
) -> None:
    lease.log(connection, held, ["a line"])
    connection.execute(sa.delete(jobs))
    assert everything() == [[], [], [], []]


# Videos


def video_row(path: str, **columns: Any) -> dict[str, Any]:
    return {"path": path, "filename": path.rpartition("/")[2], **columns}


def test_a_video_is_stored_once_for_each_path_and_refreshed(connection: sa.Connection) -> None:
    first = videos.upsert(connection, [video_row("a.mp4", width=1), video_row("b.mp4", width=2)])
    again = videos.upsert(connection, [video_row("a.mp4", width=3), video_row("a.mp4", width=4)])
    assert again == {"a.mp4": first["a.mp4"]}
    assert videos.get(connection, first["a.mp4"]).width == 4
    assert videos.upsert(connection, []) == {}


def test_thousands_of_videos_are_stored_in_one_call(connection: sa.Connection) -> None:
    columns = dict.fromkeys(["title", "producer", "creator", "orientation", "quality"], "x")
    stored = videos.upsert(connection, [video_row(f"library/{number}.mp4", **columns) for number in range(9_000)])
    assert len(stored) == 9_000
    assert videos.page(connection, limit=1).total == 9_000
    assert set(videos.known_at(connection, ["library/7.mp4", "none.mp4"])) == {"library/7.mp4"}


def test_a_video_is_found_by_path_id_or_the_beginning_of_it(connection: sa.Connection, video: UUID) -> None:
    for reference in ("library/videos/a.mp4", str(video), str(video)[:8]):
        assert videos.find(connection, reference).id == video


@pytest.mark.parametrize("reference", ["", "zz", "a\0", "a\ud800", "+1", "00000000-0000-4000-8000-000000000000"])
def test_what_names_no_video_finds_none(connection: sa.Connection, reference: str) -> None:
    videos.upsert(connection, [video_row("a.mp4"), video_row("b.mp4")])
    with pytest.raises(VideoNotFound):
        videos.find(connection, reference)


def test_the_beginning_of_two_videos_is_ambiguous(connection: sa.Connection) -> None:
    rows = [video_row(f"{digit}.mp4", id=UUID(f"aaaaaaaa-{digit * 4}-4000-8000-000000000001")) for digit in "12"]
    connection.execute(sa.insert(videos_table), rows)
    with pytest.raises(AmbiguousVideo):
        videos.find(connection, "aaaaaaaa")


@pytest.mark.parametrize(
    ("search", "found"),
    [("ACTION", 1), ("100%", 1), ("%", 1), ("_", 0), ("night", 1), (None, 2), ("", 2), ("\0", 0), ("\ud800", 0)],
)
def test_videos_are_searched_by_title_and_path(connection: sa.Connection, search: str | None, found: int) -> None:
    videos.upsert(connection, [video_row("a/action.mp4", title="100%"), video_row("b/c.mp4", title="Night")])
    assert videos.page(connection, search=search, limit=10).total == found


def test_only_valid_originals_are_compiled(connection: sa.Connection) -> None:
    fits = {"is_valid": True, "source_video_id": None, "directory_type": None, "duration_seconds": 60.0}
    changes: list[dict[str, Any]] = [
        {},
        {"is_valid": False},
        {"is_valid": None},
        {"source_video_id": uuid4()},
        {"directory_type": "compilations"},
        {"duration_seconds": 5.0},
        {"duration_seconds": None},
    ]
    rows = [video_row(f"{number}.mp4", **{**fits, **change}) for number, change in enumerate(changes)]
    ids = videos.upsert(connection, rows)
    assert videos.matching(connection, min_duration_s=10, max_duration_s=100) == [ids["0.mp4"]]


def test_a_listener_that_lost_its_connection_says_so(settings: Settings, connection: sa.Connection) -> None:
    ears = listen(settings)
    connection.execute(sa.text("SELECT pg_terminate_backend(:pid)"), {"pid": ears.info.backend_pid})
    with pytest.raises(psycopg.OperationalError):
        list(ears.notifies(timeout=5))


def test_nothing_here_depends_on_the_clock_of_this_process(connection: sa.Connection, make_job: MakeJob) -> None:
    """created_at is the database's, whatever zone this process is in."""
    job = queue.get(connection, make_job())
    assert job.created_at.tzinfo is UTC
    assert abs(job.created_at.timestamp() - time.time()) < 600


@pytest.mark.parametrize(
    ("params", "counts"),
    [({}, True), ({"path": "library"}, True), ({"path": "library/videos/a.mp4"}, False), ({"paths": ["a.mp4"]}, False)],
)
def test_the_last_scan_is_one_of_folders(connection: sa.Connection, add_job: Any, params: Any, counts: bool) -> None:
    add_job("scan", params, status="completed", completed_at=datetime(2026, 1, 2, tzinfo=UTC))
    assert (queue.last_scan_at(connection) is not None) == counts

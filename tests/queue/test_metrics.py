"""What Prometheus is told of jobs that came, waited, ran and ended; read back with its own parser."""

import subprocess
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest
import sqlalchemy as sa
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.parser import text_string_to_metric_families

from jobqueue_bridge import counters, lease, lifecycle, nvml, queue
from jobqueue_bridge.lease import Lease
from jobqueue_bridge.metrics import QueueMetrics
from jobqueue_bridge.queue import StaleJob
from jobqueue_bridge.retry import Backoff
from jobqueue_bridge.settings import Settings
from jobqueue_bridge.tables import job_attempts, job_counters, jobs
from jobqueue_bridge.vocabulary import JobStatus, JobType
from tests.programs import promtool

BACKOFF = Backoff(base_s=60, cap_s=3600)
ENCODE = {"type": "reencode_streaming", "resourceCategory": "gpu_encode"}
Start = Callable[..., Lease]
MakeJob = Callable[..., UUID]


@pytest.fixture
def exposition(database: sa.Engine, settings: Settings) -> Callable[[], str]:
    def scrape(settings: Settings = settings) -> str:
        registry = CollectorRegistry()
        registry.register(QueueMetrics(database, settings))
        return generate_latest(registry).decode()

    return scrape


@pytest.fixture
def read(exposition: Callable[..., str]) -> Callable[..., float | None]:
    """The value of one sample; None: there is none."""

    def value(name: str, settings: Settings | None = None, **labels: str) -> float | None:
        text = exposition(settings) if settings else exposition()
        samples = [sample for family in text_string_to_metric_families(text) for sample in family.samples]
        found = [sample.value for sample in samples if sample.name == name and sample.labels == labels]
        assert len(found) <= 1
        return found[0] if found else None

    return value


def test_the_four_of_the_specification_are_there_with_its_labels(
    connection: sa.Connection, make_job: MakeJob, start: Start, read: Any
) -> None:
    start(make_job(JobType.REENCODE_STREAMING, vram_required=4000), (0, 1, 2, 3))
    start(make_job(JobType.SCAN))
    for _ in range(3):
        make_job(JobType.VALIDATE)
    assert read("media_jobs_pending") == 3
    assert read("media_jobs_running", resourceCategory="gpu_encode") == 1
    assert read("media_jobs_running", resourceCategory="cpu") == 1
    assert read("media_jobs_running", resourceCategory="gpu_ai") == 0
    assert read("media_vram_used_mb") == 4000
    assert read("media_jobs_total", type="validate", status="created") == 3


def test_without_a_driver_there_is_no_live_memory_rather_than_none_of_it(
    exposition: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(nvml, "is_present", lambda: False)
    assert [line for line in exposition().splitlines() if line.startswith("media_gpu_memory")] == []


def test_counters_outlive_the_rows_that_they_counted(
    connection: sa.Connection, held: Lease, read: Any, make_job: MakeJob
) -> None:
    lease.complete(connection, held, {"sizeBytes": 300, "sourceSizeBytes": 1000})
    lifecycle.cancel(connection, make_job(JobType.REENCODE_STREAMING))
    connection.execute(sa.delete(jobs))
    assert read("media_jobs_total", type="reencode_streaming", status="completed") == 1
    assert read("media_jobs_total", type="reencode_streaming", status="cancelled") == 1
    assert read("media_bytes_in_total", **ENCODE) == 1000
    assert read("media_bytes_out_total", **ENCODE) == 300
    assert read("media_bytes_saved", **ENCODE) == 700
    assert read("media_queue_jobs", status="completed", **ENCODE) is None


@pytest.mark.parametrize("result", [{"sizeBytes": "many", "sourceSizeBytes": 5}, {"sizeBytes": 5}, {}, None])
def test_a_result_without_sizes_counts_no_bytes(
    connection: sa.Connection, held: Lease, read: Any, result: dict[str, Any] | None
) -> None:
    connection.execute(sa.update(jobs).values(status="completed", result=result))
    assert read("media_jobs_total", type="reencode_streaming", status="completed") == 1
    assert read("media_bytes_in_total", **ENCODE) is None


def test_a_failure_is_a_retry_and_one_for_want_of_memory_is_a_snooze(
    connection: sa.Connection, make_job: MakeJob, start: Start, read: Any
) -> None:
    lease.fail(connection, start(make_job(JobType.REENCODE_STREAMING)), "bad", "transient", BACKOFF)
    lease.fail(connection, start(make_job(JobType.REENCODE_STREAMING)), "no memory", "capacity", BACKOFF)
    lease.fail(connection, start(make_job(JobType.REENCODE_STREAMING)), "not a video", "permanent", BACKOFF)
    assert read("media_job_retries_total", **ENCODE) == 1
    assert read("media_job_snoozes_total", **ENCODE) == 1
    assert read("media_jobs_total", type="reencode_streaming", status="failed") == 1
    assert read("media_job_run_seconds_count", outcome="failed", **ENCODE) == 3


def test_a_rescue_is_counted_and_is_no_retry(connection: sa.Connection, held: Lease, read: Any) -> None:
    assert lease.rescue(connection, StaleJob(held.job_id, held.attempt, "run-1", "here", 100), "silent")
    assert read("media_job_rescues_total", **ENCODE) == 1
    assert read("media_job_retries_total", **ENCODE) is None


def test_durations_fall_into_their_buckets(
    connection: sa.Connection, make_job: MakeJob, start: Start, read: Any
) -> None:
    came = datetime.now(UTC).replace(tzinfo=None) - timedelta(seconds=100)
    held = start(make_job(JobType.REENCODE_STREAMING, created_at=came))
    began = sa.func.now() - timedelta(seconds=2000)
    connection.execute(sa.update(job_attempts).values(started_at=began))
    lease.complete(connection, held, {})
    waits = [read("media_job_wait_seconds_bucket", le=le, **ENCODE) for le in ("60.0", "300.0", "+Inf")]
    assert waits == [0, 1, 1]
    runs = [
        read("media_job_run_seconds_bucket", le=le, outcome="completed", **ENCODE) for le in ("900.0", "3600.0", "+Inf")
    ]
    assert runs == [0, 1, 1]
    assert read("media_job_run_seconds_sum", outcome="completed", **ENCODE) == pytest.approx(2000, abs=60)


def test_a_job_that_comes_back_waits_since_its_last_attempt(
    connection: sa.Connection, make_job: MakeJob, start: Start, read: Any
) -> None:
    came = datetime.now(UTC).replace(tzinfo=None) - timedelta(days=3)
    job_id = make_job(JobType.REENCODE_STREAMING, created_at=came)
    lease.release(connection, start(job_id), "shutdown")
    start(job_id)
    assert read("media_job_wait_seconds_count", **ENCODE) == 2
    assert read("media_job_wait_seconds_bucket", le="86400.0", **ENCODE) == 1


def test_instants_of_other_programs_stop_no_count(connection: sa.Connection, make_job: MakeJob, start: Start) -> None:
    held = start(make_job(JobType.SCAN, created_at=sa.text("'-infinity'")))
    lease.complete(connection, held, {})
    assert {kind.event for kind in counters.read(connection)} == {"created", "completed", "run completed"}


def test_jobs_are_ready_only_where_they_could_start_now(
    connection: sa.Connection, make_job: MakeJob, settings: Settings, read: Any
) -> None:
    make_job(JobType.SCAN)
    make_job(JobType.REENCODE_STREAMING)
    make_job(JobType.SCAN, retry_after=datetime.now(UTC).replace(tzinfo=None) + timedelta(hours=1))
    assert read("media_jobs_ready", resourceCategory="cpu") == 1
    assert read("media_queue_oldest_wait_seconds", resourceCategory="gpu_ai") == 0
    closed = datetime.now(settings.zone) - timedelta(hours=3)
    hours = f"{closed:%H:%M}-{closed + timedelta(minutes=5):%H:%M}"
    windowed = settings.model_copy(update={"windows": {"cpu": (hours,)}})
    assert read("media_jobs_ready", windowed, resourceCategory="cpu") == 0
    assert read("media_jobs_ready", windowed, resourceCategory="gpu_encode") == 1
    lifecycle.pause_queue(connection, by="a test")
    assert read("media_queue_paused") == 1
    assert read("media_jobs_ready", resourceCategory="gpu_encode") == 0
    assert read("media_jobs_pending") == 3


def test_many_counts_are_folded_into_few_that_say_the_same(
    connection: sa.Connection, make_job: MakeJob, exposition: Callable[[], str]
) -> None:
    connection.execute(
        sa.text(
            "INSERT INTO job_counters (event, type, resource_category, bucket, n, total)"
            " SELECT 'run completed', 'scan', 'cpu', i % 3, 1, 0.5 FROM generate_series(1, 1500) AS i"
        )
    )
    make_job(JobType.SCAN)
    before = counters.read(connection)
    queue.tidy_after_outside_moves(connection)
    assert counters.read(connection) == before
    assert connection.scalar(sa.select(sa.func.count()).select_from(job_counters)) == 4


def test_the_disks_are_told_of_only_where_they_are(settings: Settings, read: Any) -> None:
    settings.media_library_path.mkdir(exist_ok=True)
    assert read("media_disk_free_bytes", place="library") > 0
    away = settings.model_copy(update={"media_library_path": settings.home / "unplugged"})
    assert read("media_disk_free_bytes", away, place="library") is None
    assert read("media_disk_free_bytes", away, place="home") > 0


def test_prometheus_finds_nothing_wrong_with_it(
    connection: sa.Connection, held: Lease, exposition: Callable[[], str]
) -> None:
    lease.complete(connection, held, {"sizeBytes": 300, "sourceSizeBytes": 1000})
    checked = subprocess.run([promtool(), "check", "metrics"], input=exposition(), text=True, capture_output=True)
    of_the_specification = ("_mb ", "camelCase")  # its megabytes, and its label resourceCategory
    complaints = [
        line for line in checked.stderr.splitlines() if not any(text in line for text in of_the_specification)
    ]
    assert complaints == []


def test_every_status_has_its_number(make_job: MakeJob, read: Any) -> None:
    for status in JobStatus:
        make_job(JobType.DIGEST_GENERATE, status)
    for status in JobStatus:
        assert read("media_queue_jobs", status=status.value, type="digest_generate", resourceCategory="gpu_ai") == 1
